"""Losses without labels: by hand, and what passes no gradient."""

import math

import pytest
import torch

from xferlib.losses.consistency import VOID, consistency, info_nce, pseudo_labels


def logits_of(*probabilities):
    """Logits (1, C, 1, N) of N pixels with these probabilities."""
    return torch.tensor(probabilities, dtype=torch.float64).T[None, :, None].log()


def test_only_what_is_sure_becomes_a_label():
    logits = logits_of([0.95, 0.03, 0.02], [0.1, 0.3, 0.6], [0.05, 0.9, 0.05])
    assert pseudo_labels(logits, 0.89).tolist() == [[[0, VOID, 1]]]
    assert pseudo_labels(logits, 0.0).tolist() == [[[0, 2, 1]]]
    assert pseudo_labels(logits, 1.0).tolist() == [[[VOID] * 3]]


def test_a_probability_of_the_confidence_is_enough():
    even, uneven = torch.zeros(1, 2, 1, 1), torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)  # one half, exactly
    assert pseudo_labels(even, 0.5).item() == 0
    assert pseudo_labels(even, 0.5 + 1e-6).item() == VOID
    assert consistency(uneven, even, 0.5) == consistency(uneven, even) > 0
    assert consistency(uneven, even, 0.5 + 1e-6) == 0


def test_consistency_by_hand():
    one, other = logits_of([0.8, 0.2], [0.5, 0.5]), logits_of([0.6, 0.4], [0.5, 0.5])
    assert consistency(one, other).item() == pytest.approx((2 * 0.2**2 + 0) / 2)
    assert consistency(one, one).item() == 0
    certain = torch.tensor([50.0, -50.0]).view(1, 2, 1, 1)
    assert consistency(certain, -certain).item() == pytest.approx(2)


def test_an_unsure_teacher_is_heard_less():
    one, other = logits_of([0.5, 0.5], [0.9, 0.1]), logits_of([0.95, 0.05], [0.5, 0.5])
    whole = consistency(one, other)
    assert consistency(one, other, 0.9).item() == pytest.approx(whole.item() / 2)  # sure at one pixel of two
    assert consistency(one, other, 0.99).item() == 0


def test_the_teacher_gets_no_gradient():
    one, other = (torch.randn(2, 3, 4, 5, requires_grad=True) for _ in range(2))
    consistency(one, other).backward()
    assert one.grad.abs().sum() > 0 and other.grad is None
    assert not pseudo_labels(other).requires_grad


def test_consistency_gradient():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(1, 3, 2, 2, dtype=torch.float64, generator=generator) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: consistency(x, other), one.requires_grad_())


def test_info_nce_by_hand():
    same = torch.eye(2, dtype=torch.float64)
    assert info_nce(same, same, 1.0).item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert info_nce(same, same.flip(0), 1.0).item() == pytest.approx(math.log(1 + math.exp(1)))
    alike = torch.ones(8, 3)
    assert info_nce(alike, alike).item() == pytest.approx(math.log(8), rel=1e-6)


def test_info_nce_does_not_depend_on_length_order_or_sides():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(6, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    loss = info_nce(one, other)
    order = torch.randperm(6, generator=generator)
    assert torch.allclose(info_nce(3 * one, 0.1 * other), loss)
    assert torch.allclose(info_nce(one[order], other[order]), loss)
    assert torch.allclose(info_nce(other, one), loss)
    assert not torch.allclose(info_nce(one, other[order]), loss)


def test_info_nce_gradient():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(4, 3, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(info_nce, (one, other))


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("confidence 1.5", lambda: pseudo_labels(torch.zeros(1, 2, 1, 1), 1.5)),
        ("confidence -1", lambda: consistency(torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1), -1)),
        (
            r"\(1, 2, 1, 1\) and a guess of \(1, 3, 1, 1\)",
            lambda: consistency(torch.zeros(1, 2, 1, 1), torch.zeros(1, 3, 1, 1)),
        ),
        *(
            (f"confidence {number} is not a probability", lambda loss=loss, number=number: loss(number))
            for number in (-1e-9, 1 + 1e-9, math.nan)
            for loss in (
                lambda number: pseudo_labels(torch.zeros(1, 2, 1, 1), number),
                lambda number: consistency(torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1), number),
            )
        ),
        (r"\(2, 3, 4\) and \(2, 3, 4\); expected \(N, D\)", lambda: info_nce(torch.ones(2, 3, 4), torch.ones(2, 3, 4))),
        (r"\(3,\) and \(3,\); expected", lambda: info_nce(torch.ones(3), torch.ones(3))),
        ("temperature 0", lambda: info_nce(torch.ones(2, 2), torch.ones(2, 2), 0)),
        (r"\(2, 3\) and \(3, 3\)", lambda: info_nce(torch.ones(2, 3), torch.ones(3, 3))),
    ],
)
def test_bad_input_is_named(words, call):
    with pytest.raises(ValueError, match=words):
        call()
