import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from xferlib.losses.segmentation import (
    cascade_loss,
    class_weights,
    cross_entropy,
    pixel_counts,
    soft_iu_loss,
)
from xferlib.metrics.segmentation import class_iu, confusion
from xferlib.nets.backbones import enlarge


def test_two_pixels_by_hand():
    # Logits ln 1 and ln 3: probabilities 1/4 and 3/4.
    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    labels = torch.tensor([[[0, 1]]])
    expected = (math.log(4) + math.log(4 / 3)) / 2
    assert cross_entropy(logits, labels).item() == pytest.approx(expected)


def test_weighted_by_hand():
    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1).expand(1, 2, 1, 3)
    labels = torch.tensor([[[0, 1, 255]]])
    expected = (5 * math.log(4) + 2 * math.log(4 / 3)) / 7
    assert cross_entropy(logits, labels, torch.tensor([5.0, 2.0])).item() == pytest.approx(expected)


def test_the_size_of_the_weights_does_not_matter():
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    weights = torch.tensor([0.001, 0.002, 0.003])
    torch.testing.assert_close(cross_entropy(logits, labels, weights), cross_entropy(logits, labels, 1e4 * weights))
    torch.testing.assert_close(cross_entropy(logits, labels, torch.full((3,), 7.0)), cross_entropy(logits, labels))


def test_it_is_pytorchs_where_something_is_labelled():
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    labels[0, :3] = 255
    expected = F.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(cross_entropy(logits, labels), expected)


@given(fill=st.floats(-1e4, 1e4))
def test_void_pixels_have_no_say(fill):
    logits = torch.arange(24.0).view(1, 2, 3, 4).sin()
    labels = torch.arange(12).view(1, 3, 4) % 2
    labels[0, 1] = 255
    changed = logits.clone()
    changed[:, :, 1] = fill
    assert cross_entropy(changed, labels) == cross_entropy(logits, labels)
    kept = torch.tensor([0, 2])
    torch.testing.assert_close(cross_entropy(logits, labels), cross_entropy(logits[:, :, kept], labels[:, kept]))


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0])])
def test_all_void_is_zero_with_a_gradient_of_zero(weights):
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 3, 3), 255), weights)
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_gradients():
    logits = torch.randn(2, 3, 2, 2, dtype=torch.double, requires_grad=True)
    labels = torch.tensor([[[0, 1], [2, 255]], [[1, 1], [255, 0]]])
    weights = torch.tensor([1.0, 3.0, 0.5], dtype=torch.double)
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, labels), logits)
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, labels, weights), logits)


def test_another_void_label():
    logits, labels = torch.randn(1, 2, 1, 2), torch.tensor([[[0, -1]]])
    assert cross_entropy(logits, labels, ignore=-1) == cross_entropy(logits[..., :1], labels[..., :1])


@pytest.mark.parametrize("shape", [(2, 4, 5), (1, 4, 4), (1, 1, 4, 5), (4, 5)])
def test_shapes_that_do_not_match_are_named(shape):
    with pytest.raises(ValueError, match=r"\(1, 3, 4, 5\) and labels of shape"):
        cross_entropy(torch.zeros(1, 3, 4, 5), torch.zeros(shape, dtype=torch.long))


def test_cascade_by_hand():
    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1)  # probabilities 1/4 and 3/4
    scores = {"main": logits.expand(1, 2, 2, 4), "aux": logits.expand(1, 2, 1, 2)}
    labels = torch.tensor([[[0, 1, 1, 1], [1, 0, 255, 1]]])
    terms = cascade_loss(scores, labels, {"main": 1.0, "aux": 0.4})
    # The small map meets a label of every four: 0 and 1.
    assert terms["aux"].item() == pytest.approx(0.4 * (math.log(4) + math.log(4 / 3)) / 2)
    assert terms["main"].item() == pytest.approx((2 * math.log(4) + 5 * math.log(4 / 3)) / 7)


def test_one_map_at_full_size_is_the_cross_entropy():
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    terms = cascade_loss({"main": logits}, labels, {"main": 1.0})
    assert terms.keys() == {"main"} and torch.equal(terms["main"], cross_entropy(logits, labels))


@pytest.mark.parametrize("step", [2, 4, 16])
def test_a_cascade_meets_the_labels_of_its_own_pixels(step):
    labels = torch.randint(5, (2, 32, 48))
    labels[0, :16] = 255
    own = labels[:, step // 2 :: step, step // 2 :: step]
    right = 50.0 * F.one_hot(own.where(own != 255, 0), 5).movedim(-1, 1)
    assert cascade_loss({"low": right}, labels, {"low": 1.0})["low"] < 1e-6
    assert cascade_loss({"low": right.roll(1, 1)}, labels, {"low": 1.0})["low"] > 49


@pytest.mark.parametrize("step", [2, 4, 16])
def test_a_map_that_a_cascade_calls_right_lies_where_its_labels_lie_once_enlarged(step):
    """Two classes meet at some column; in the mean over columns they do so in maps of the best scores."""
    borders = torch.arange(16, 48)
    labels = (torch.arange(64) >= borders[:, None, None]).long().expand(-1, 32, -1)
    scores = torch.zeros(32, 2, 32 // step, 64 // step, requires_grad=True)
    cascade_loss({"low": scores}, labels, {"low": 1.0})["low"].backward()
    larger = enlarge(-scores.grad, (32, 64))
    apart = (larger[:, 0] > larger[:, 1]).sum(-1) - borders[:, None]
    assert apart.float().mean().abs() <= 0.5


def test_the_weights_of_a_cascade_scale_its_gradients():
    scores = {name: torch.zeros(1, 2, 2, 2, requires_grad=True) for name in ("low", "high")}
    sum(cascade_loss(scores, torch.tensor([[[0, 1], [1, 1]]]), {"low": 0.25, "high": 1.0}).values()).backward()
    assert torch.equal(4 * scores["low"].grad, scores["high"].grad) and scores["high"].grad.any()


@pytest.mark.parametrize("names", [("main",), ("main", "auxiliary", "third"), ("main", "aux")])
def test_names_without_a_weight_or_without_a_map_are_named(names):
    scores = {name: torch.zeros(1, 2, 2, 2) for name in ("main", "auxiliary")}
    with pytest.raises(ValueError, match=f"scores of main, auxiliary but weights of {', '.join(names)}"):
        cascade_loss(scores, torch.zeros(1, 2, 2, dtype=torch.long), dict.fromkeys(names, 1.0))


def test_pixel_counts_by_hand():
    labels = torch.tensor([[0, 2, 2], [255, 2, 0]])
    assert pixel_counts(labels, 4).tolist() == [2, 0, 3, 0]


@pytest.mark.parametrize("void", [-1, 2, 4, 1000])
def test_counts_and_soft_iu_with_another_void(void):
    generator = torch.Generator().manual_seed(0)
    labels, logits = torch.randint(2, (1, 5, 6), generator=generator), torch.randn(1, 4, 5, 6, generator=generator)
    labels[:, 2:4] = 255
    other = labels.where(labels != 255, void)
    assert torch.equal(pixel_counts(other, 4, void), pixel_counts(labels, 4))
    assert torch.equal(soft_iu_loss(logits, other, void), soft_iu_loss(logits, labels))


@pytest.mark.parametrize("label", [-1, 4, 254])
def test_a_label_that_is_no_class_is_named(label):
    with pytest.raises(ValueError, match=f"label {label} "):
        pixel_counts(torch.tensor([0, label]), 4)


def test_class_weights_by_hand():
    weights = class_weights(torch.tensor([1, 3, 0]))
    expected = [1 / math.log(1.02 + 0.25), 1 / math.log(1.02 + 0.75), 1 / math.log(1.02)]
    assert weights.tolist() == pytest.approx(expected, rel=1e-6)
    assert class_weights(torch.tensor([5]), c=1.2).item() == pytest.approx(1 / math.log(2.2))


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=20).filter(any))
def test_class_weights_are_bounded_and_favour_the_rare(counts):
    weights = class_weights(torch.tensor(counts))
    assert (1 / math.log(2.02) - 1e-6 <= weights).all() and (weights <= 1 / math.log(1.02) + 1e-3).all()
    assert (weights[torch.tensor(counts).argsort()].diff() <= 0).all()


def test_weights_without_sense_are_refused():
    with pytest.raises(ValueError, match=r"c is 1\.0"):
        class_weights(torch.tensor([1]), c=1.0)
    with pytest.raises(ValueError, match="every count is zero"):
        class_weights(torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="c is nan"):
        class_weights(torch.tensor([1]), c=math.nan)
    with pytest.raises(ValueError, match="class 1 has -2 pixels; counts start at 0"):
        class_weights(torch.tensor([5, -2, 1]))
    with pytest.raises(ValueError, match="class 2 has nan pixels"):
        class_weights(torch.tensor([5, 0, math.nan]))


def test_soft_iu_by_hand():
    # Probabilities 1/4 and 3/4 at both pixels, of classes 0 and 1; class 2 is not shown, and its 0 does not count.
    logits = torch.tensor([0.0, math.log(3), -1e4]).view(1, 3, 1, 1).expand(1, 3, 1, 2)
    first, second = 0.25 / (0.5 + 1 - 0.25), 0.75 / (1.5 + 1 - 0.75)
    assert soft_iu_loss(logits, torch.tensor([[[0, 1]]])).item() == pytest.approx(1 - (first + second) / 2)
    assert soft_iu_loss(logits, torch.tensor([[[0, 255]]])).item() == pytest.approx(1 - 0.25)


@given(st.integers(0, 50))
def test_soft_iu_of_decisions_is_the_measure_over_what_is_shown(seed):
    generator = torch.Generator().manual_seed(seed)
    labels, found = (torch.randint(4, (2, 5, 6), generator=generator) for _ in range(2))
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
    logits = 1e4 * F.one_hot(found, 4).movedim(-1, 1).float()
    iu = class_iu(confusion(found, labels, 4))[labels[labels != 255].unique()]
    assert soft_iu_loss(logits, labels).item() == pytest.approx(1 - iu.mean().item(), abs=1e-6)


def test_soft_iu_of_void_alone_is_zero_with_a_gradient_of_zero():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = soft_iu_loss(logits, torch.full((1, 3, 3), 255))
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_soft_iu_gradients():
    logits = torch.randn(2, 3, 2, 2, dtype=torch.double, requires_grad=True)
    labels = torch.tensor([[[0, 1], [1, 255]], [[1, 1], [255, 0]]])
    assert torch.autograd.gradcheck(lambda x: soft_iu_loss(x, labels), logits)
    (gradient,) = torch.autograd.grad(soft_iu_loss(logits, labels), logits)
    assert torch.equal(gradient[0, :, 1, 1], torch.zeros(3, dtype=torch.double))


def test_soft_iu_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 3\) and labels of shape \(1, 3, 4\) do not match"):
        soft_iu_loss(torch.randn(1, 2, 3, 3), torch.zeros(1, 3, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="label 2 is neither below 2 classes nor void"):
        soft_iu_loss(torch.randn(1, 2, 3, 3), torch.full((1, 3, 3), 2))


@pytest.mark.parametrize("autocast", [False, True])
def test_sums_over_a_picture_do_not_outgrow_float16(autocast):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 400, 400, generator=generator).half()
    labels = torch.randint(2, (1, 400, 400), generator=generator)
    weights, pixel_weights = torch.tensor([1.0, 3.0]).half(), torch.ones(1, 400, 400).half()
    for loss in (
        lambda x: cross_entropy(x, labels),
        lambda x: cross_entropy(x, labels, weights.to(x)),
        lambda x: cross_entropy(x, labels, pixel_weights=pixel_weights.to(x)),
        lambda x: soft_iu_loss(x, labels),
    ):
        with torch.autocast("cpu", torch.float16, enabled=autocast):
            found = loss(logits)
        assert found.item() == pytest.approx(loss(logits.float()).item(), rel=1e-3)


def test_bfloat16_holds_such_sums_and_keeps_its_type():
    logits, labels = torch.randn(1, 2, 400, 400).bfloat16(), torch.randint(2, (1, 400, 400))
    assert cross_entropy(logits, labels).dtype == soft_iu_loss(logits, labels).dtype == torch.bfloat16
