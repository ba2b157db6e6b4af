"""Losses of restored pictures: values by hand, what each is blind to, and where its best constant lies."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xferlib.losses import restoration
from xferlib.losses.restoration import charbonnier, checkerboard, dissimilarity, gradient, l1, l2, mixed
from xferlib.metrics.restoration import gradient_error, ssim

A = torch.tensor([[[[0.0, 1.0], [2.0, 4.0]]]])
ZERO = torch.zeros(1, 1, 2, 2)


def test_values_by_hand():
    assert l1(A, ZERO).item() == 7 / 4
    assert l2(A, ZERO).item() == 21 / 4
    assert gradient(A, ZERO).item() == (1 + 2) / 2 + (2 + 3) / 2
    assert charbonnier(A, ZERO, 3.0).item() == pytest.approx((3 + 10**0.5 + 13**0.5 + 5) / 4)


def test_charbonnier_lies_between_square_and_corner():
    errors = torch.tensor([1e-6, 10.0]).view(2, 1, 1, 1)
    small, large = (charbonnier(e[None], 0 * e[None], 1e-3).item() for e in errors)
    assert small == pytest.approx(1e-3 + 1e-12 / 2e-3, rel=1e-6)
    assert large == pytest.approx(10, rel=1e-6)


@pytest.mark.parametrize("loss", [l1, l2, gradient, dissimilarity, charbonnier])
def test_the_target_itself_is_best(loss):
    target = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    least = loss(target, target)
    assert least.abs() < 2e-3
    assert loss(target.flip(3), target) > least + 0.01


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.5, 0.5), st.integers(0, 1000))
def test_gradients_are_blind_to_a_constant(offset, seed):
    target = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    assert gradient(target + offset, target).item() == pytest.approx(0, abs=1e-12)
    assert l1(target + offset, target).item() == pytest.approx(abs(offset))


def test_without_signs_an_edge_may_turn_round():
    target = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    negative = 1 - target
    assert gradient(negative, target, signed=False) < 1e-6
    assert gradient(negative, target) > 0.1


def test_the_best_constant_is_the_median_the_mean_and_one_between():
    values = torch.tensor([0.0, 0.1, 0.2, 0.3, 1.0])[:, None, None, None]
    levels = torch.linspace(0, 1, 1001)

    def best(loss):
        losses = [loss(torch.full_like(values, level), values) for level in levels.tolist()]
        return levels[torch.stack(losses).argmin()].item()

    assert best(l1) == pytest.approx(0.2, abs=1e-3)
    assert best(l2) == pytest.approx(0.32, abs=1e-3)
    assert best(lambda x, y: charbonnier(x, y, 1e-3)) == pytest.approx(0.2, abs=2e-3)
    assert best(lambda x, y: charbonnier(x.double(), y.double(), 10.0)) == pytest.approx(0.32, abs=2e-3)


def test_gradient_and_dissimilarity_are_those_of_the_metrics():
    one, other = torch.rand(2, 2, 3, 14, 13, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gradient(one, other), gradient_error(one, other).mean())
    torch.testing.assert_close(dissimilarity(one, other), 1 - ssim(one, other, data_range=1).mean())
    for data_range in (0.5, 255):
        found = dissimilarity(data_range * one, data_range * other, data_range=data_range)
        torch.testing.assert_close(found, dissimilarity(one, other))


def test_mixture_by_hand():
    one, other = torch.rand(2, 2, 3, 14, 13, generator=torch.Generator().manual_seed(0))
    terms = mixed(one, other)
    torch.testing.assert_close(terms["ssim"], 0.84 * dissimilarity(one, other))
    torch.testing.assert_close(terms["l1"], 0.16 * l1(one, other))
    assert mixed(one, other, 0.0)["ssim"] == 0


def test_gradients_of_the_losses():
    generator = torch.Generator().manual_seed(0)
    image, target = torch.rand(2, 1, 2, 5, 6, generator=generator, dtype=torch.double)
    image.requires_grad_()
    for loss in (l1, l2, charbonnier, gradient, lambda x, y: dissimilarity(x, y, window=3)):
        assert torch.autograd.gradcheck(lambda x, loss=loss: loss(x, target), image)
    board = (3 * image[..., :4, :].repeat(1, 1, 2, 1)[..., :6]).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: checkerboard(x, 0 * x.detach(), 2, blocks=2), board)


FLAT = torch.full((1, 1, 64, 48), 0.5, dtype=torch.double)
LIT = 0.1 * (torch.arange(48) % 4 == 3).double().expand(1, 1, 64, 48)  # every fourth column


def test_a_pattern_costs_its_variance():
    rows, columns = torch.arange(64)[:, None], torch.arange(48)
    chess = 0.1 * (1.0 - 2 * ((rows + columns) % 2)).double()
    for period in (2, 4):
        assert checkerboard(FLAT + chess, FLAT, period).item() == pytest.approx(0.01, rel=0.02)
    assert checkerboard(FLAT + LIT, FLAT, 4).item() == pytest.approx(0.01 * 3 / 16, rel=0.05)
    assert checkerboard((FLAT + LIT).mT, FLAT.mT, 4).item() == pytest.approx(0.01 * 3 / 16, rel=0.05)


def test_only_a_pattern_that_the_blocks_of_a_window_share_costs():
    slope = torch.linspace(0, 0.5, 48, dtype=torch.double).expand(1, 1, 64, 48)
    by_turns = LIT * (1.0 - 2 * (torch.arange(48) // 4 % 2))
    grain = 0.1 * torch.randn(64, 3, 64, 48, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    whole = 0.01 * 3 / 16
    assert checkerboard(FLAT + slope, FLAT, 4) < 0.01 * whole
    assert checkerboard(FLAT + by_turns, FLAT, 4) < 0.01 * whole
    assert checkerboard(grain, 0 * grain, 4).item() == pytest.approx(0.01 / 64, rel=0.1)
    assert checkerboard(grain, 0 * grain, 4, blocks=4).item() == pytest.approx(0.01 / 16, rel=0.1)


def test_a_pattern_of_one_window_is_not_made_up_for_by_another():
    left = LIT * (torch.arange(48) < 16)
    assert checkerboard(FLAT + left, FLAT, 4, blocks=4) > 0.2 * 0.01 * 3 / 16
    assert checkerboard(FLAT + left, FLAT + left.flip(3), 4, blocks=4) > 0.2 * 0.01 * 3 / 16


def test_a_pattern_that_the_true_picture_has_is_free():
    assert checkerboard(FLAT + LIT, FLAT + LIT.roll(1, 3), 4) < 0.02 * 0.01 * 3 / 16  # but for the border
    assert checkerboard(FLAT, FLAT + LIT, 4) == 0
    more, whole = checkerboard(FLAT + 2 * LIT, FLAT + LIT, 4), checkerboard(FLAT + LIT, FLAT, 4)
    assert more.item() == pytest.approx(3 * whole.item(), rel=1e-6)


def test_charbonnier_has_a_gradient_where_nothing_is_wrong():
    image = torch.zeros(1, 1, 2, 2, requires_grad=True)
    charbonnier(image, ZERO).backward()
    assert image.grad.abs().max() == 0


def test_errors_say_what_is_wrong():
    one = torch.rand(1, 3, 4, 4)
    for loss in (l1, l2, charbonnier, gradient):
        with pytest.raises(ValueError, match=r"\(1, 3, 4, 4\) and \(1, 1, 4, 4\) differ; nothing is broadcast"):
            loss(one, one[:, :1])
    with pytest.raises(ValueError, match="pictures of 1x4 have no neighbours"):
        gradient(one[..., :1, :], one[..., :1, :])
    with pytest.raises(ValueError, match="epsilon is 0"):
        charbonnier(one, one, 0)
    with pytest.raises(ValueError, match=r"alpha 2 is outside \[0, 1\]"):
        mixed(one, one, 2)
    with pytest.raises(ValueError, match=r"\(1, 3, 4, 4\) and \(1, 1, 4, 4\) differ"):
        checkerboard(one, one[:, :1], 2, 2)
    for size, period, blocks in (
        ((32, 34), 4, 8),
        ((34, 32), 4, 8),
        ((32, 32), 1, 8),
        ((32, 32), 4, 1),
        ((64, 28), 4, 8),
    ):
        images = torch.rand(1, 3, *size)
        what = rf"images of {size[0]}x{size[1]}, period {period}, {blocks} blocks: both must be 2 at least"
        with pytest.raises(ValueError, match=what):
            checkerboard(images, images, period, blocks)
    with pytest.raises(ValueError, match="pictures of 4x4 are smaller than the window of 11"):
        dissimilarity(one, one)


def test_structure_and_grids_are_judged_in_full_under_autocast():
    one, other = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for loss in (dissimilarity, lambda x, y: checkerboard(x, y, 2)):
        gradients, losses = [], []
        for enabled in (False, True):
            image = one.clone().requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                losses.append(loss(image, other))
            gradients += torch.autograd.grad(losses[-1], image)
        assert torch.equal(*losses) and torch.equal(*gradients)


def test_no_loss_changes_its_arguments():
    one, other = torch.rand(2, 1, 3, 12, 12)
    kept = one.clone(), other.clone()
    for name in ("l1", "l2", "charbonnier", "gradient", "dissimilarity", "mixed"):
        getattr(restoration, name)(one, other)
    checkerboard(one, other, 2, blocks=3)
    assert torch.equal(one, kept[0]) and torch.equal(other, kept[1])
