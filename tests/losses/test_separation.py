"""Losses of separation: values by hand, what each is blind to, and what a right split has over a wrong one."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d

from xferlib.losses import separation
from xferlib.losses.restoration import l1
from xferlib.losses.separation import edge_loss, exclusion, feature_loss, image_loss, separation_loss
from xferlib.nets.vgg import VGG
from xferlib.ops.edges import edges

A = torch.tensor([[[[0.0, 0.5], [0.25, 1.0]]]])
ZERO = torch.zeros(1, 1, 2, 2)
WEIGHTS = {"input": 2.0, "relu1_1": 0.5, "relu2_1": 3.0}


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return VGG(widths=(3, 4), convs=(1, 1), normalise=True).double().requires_grad_(False)


def test_image_loss_by_hand():
    terms = image_loss(A, ZERO)
    assert terms["pixels"].item() == pytest.approx(51 * (0.25 + 0.0625 + 1) / 4)
    assert terms["gradients"].item() == pytest.approx(0.4 * (0.5 + 0.75) / 2 + 0.4 * (0.25 + 0.5) / 2)


def test_image_loss_is_that_of_bytes_divided_by_255():
    one, other = noise(2, 2, 3, 6, 5)
    difference = 255 * (one - other)
    paper = 0.2 * difference.square().mean() + 0.4 * sum(difference.diff(dim=a).abs().mean() for a in (2, 3))
    torch.testing.assert_close(sum(image_loss(one, other).values()), paper / 255)


def test_edge_loss_by_hand():
    # Edges of A: (0.5 + 0.25) / 2, (0.5 + 0.5) / 2, (0.75 + 0.25) / 2, (0.75 + 0.5) / 2.
    squares = 0.375**2 + 0.5**2 + 0.5**2 + 0.625**2
    assert edge_loss(ZERO, A).item() == pytest.approx(0.4 * 255 * squares / 4)


def test_the_truth_is_best():
    image = noise(2, 3, 7, 8)
    assert edge_loss(edges(image), image) == 0
    assert sum(image_loss(image, image).values()) == 0


def test_exclusion_by_hand():
    # One edge of 1 along x in both; the factor is 2 * mean / mean = 2 here, and there is no edge along y.
    step = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]], dtype=torch.double)
    expected = (math.tanh(1 / 2) ** 2 * math.tanh(2 / 2) ** 2) ** 0.25 / 2
    assert exclusion(step, step, scales=1).item() == pytest.approx(expected, abs=1e-4)
    assert exclusion(step, step.mT, scales=1).item() == 0


def paper(one, other, scales):
    """Follow the authors' code, which has sigmoids and no epsilon."""
    total = 0
    for _ in range(scales):
        for axis in (-2, -1):
            x, y = one.diff(dim=axis), other.diff(dim=axis)
            factor = 2 * x.abs().mean() / y.abs().mean()
            x, y = 2 * torch.sigmoid(x) - 1, 2 * torch.sigmoid(factor * y) - 1
            total += (x**2 * y**2).mean() ** 0.25 / scales
        one, other = avg_pool2d(one, 2, ceil_mode=True), avg_pool2d(other, 2, ceil_mode=True)
    return total / 2


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(5, 11), st.integers(5, 11), st.integers(0, 99))
def test_exclusion_is_the_papers(scales, height, width, seed):
    one, other = noise(2, 1, 3, height, width, seed=seed)
    torch.testing.assert_close(exclusion(one, other, scales), paper(one, other, scales), atol=1e-4, rtol=1e-4)


def test_exclusion_is_a_mean_over_pictures():
    one, other = noise(2, 3, 2, 9, 8)
    each = torch.stack([exclusion(one[[i]], other[[i]]) for i in range(3)])
    torch.testing.assert_close(exclusion(one, other), each.mean())


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 4), st.floats(-1, 1))
def test_exclusion_does_not_know_how_strong_a_reflection_is(strength, offset):
    one, other = noise(2, 1, 3, 9, 9)
    torch.testing.assert_close(exclusion(one, strength * other + offset), exclusion(one, other), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("move", [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT])
def test_exclusion_turns_with_the_picture(move):
    # At 8 pixels a side no window of the coarser scales is cut off; such a window stays at the right and below.
    one, other = noise(2, 1, 3, 8, 8)
    torch.testing.assert_close(exclusion(move(one), move(other)), exclusion(one, other))


def test_layers_that_change_places():
    # Where edges are faint tanh(x) is about x, and what is left of the order is the ratio of both contrasts.
    one, other = 0.02 * noise(2, 1, 1, 1, 16).expand(2, 1, 1, 16, 16)
    contrasts = (layer.diff(dim=-1).abs().mean() for layer in (one, other))
    found = exclusion(one, other, scales=1) / next(contrasts), exclusion(other, one, scales=1) / next(contrasts)
    torch.testing.assert_close(found[0], found[1], rtol=0.02, atol=0)


def test_edges_apart_are_better_than_edges_that_meet():
    one, other = torch.zeros(2, 1, 1, 16, 16, dtype=torch.double)
    one[..., :4], other[..., 12:] = 1, 1
    leaking = one + 0.3 * other
    assert exclusion(one, other) < 1e-6 < 0.1 < exclusion(leaking, other)


@pytest.mark.parametrize("flat", [0, 1, (0, 1)])
def test_a_flat_layer_has_a_value_and_a_gradient(flat):
    layers = noise(2, 1, 3, 8, 8)
    layers[flat if isinstance(flat, int) else list(flat)] = 0.5
    layers.requires_grad_()
    value = exclusion(layers[0], layers[1])
    value.backward()
    assert value.item() == 0
    assert layers.grad.isfinite().all()


@pytest.mark.parametrize("flat", [0, 1])
def test_a_flat_layer_in_float16(flat):
    layers = noise(2, 1, 3, 8, 8).half()
    layers[flat] = 0.5
    layers.requires_grad_()
    value = exclusion(layers[0], layers[1])
    value.backward()
    assert value.item() == 0 and layers.grad.isfinite().all()


def test_exclusion_of_float16_is_that_of_float32():
    one, other = noise(2, 2, 3, 16, 16).half()
    torch.testing.assert_close(exclusion(one, other), exclusion(one.float(), other.float()))
    assert exclusion(0.01 * one, other) > 0


def test_features_by_hand(net):
    one, other = noise(2, 2, 3, 8, 8)
    found, true = net(one, ("relu1_1", "relu2_1")), net(other, ("relu1_1", "relu2_1"))
    expected = 2 * l1(one, other) + 0.5 * l1(found["relu1_1"], true["relu1_1"])
    expected = expected + 3 * l1(found["relu2_1"], true["relu2_1"])
    torch.testing.assert_close(feature_loss(net, one, other, WEIGHTS), expected)
    torch.testing.assert_close(feature_loss(net, one, other, {"input": 1.0}), l1(one, other))
    assert feature_loss(net, one, one, WEIGHTS) == 0


def test_separation_is_its_parts(net):
    found, true = noise(2, 1, 3, 8, 8), noise(2, 1, 3, 8, 8, seed=1)
    terms = separation_loss(net, tuple(found), tuple(true), WEIGHTS)
    both = feature_loss(net, found[0], true[0], WEIGHTS) + feature_loss(net, found[1], true[1], WEIGHTS)
    torch.testing.assert_close(terms["perceptual"], 0.2 * both)
    torch.testing.assert_close(terms["reflection"], l1(found[1], true[1]))
    torch.testing.assert_close(terms["exclusion"], exclusion(found[0], found[1]))
    assert len(terms) == 3


def test_gradients(net):
    one, other = noise(2, 1, 2, 5, 6)
    rgb, target = noise(2, 1, 3, 4, 4, seed=1)
    shown = noise(1, 1, 5, 6, seed=2)
    for loss, inputs in (
        (lambda x: sum(image_loss(x, other).values()), (one,)),
        (lambda x: edge_loss(x, other), (shown,)),
        (exclusion, (one, other)),
        (lambda x: feature_loss(net, x, target, WEIGHTS), (rgb,)),
    ):
        assert torch.autograd.gradcheck(loss, tuple(x.clone().requires_grad_() for x in inputs))


def test_the_truth_gets_no_gradient(net):
    one, other = noise(1, 3, 4, 4), noise(1, 3, 4, 4, seed=1).requires_grad_()
    assert not feature_loss(net, one, other, WEIGHTS).requires_grad


def test_errors_say_what_is_wrong(net):
    image = torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match=r"layers of shape \(1, 3, 8, 8\) and \(1, 1, 8, 8\); expected"):
        exclusion(image, image[:, :1])
    with pytest.raises(ValueError, match=r"layers of shape \(3, 8, 8\)"):
        exclusion(image[0], image[0])
    with pytest.raises(ValueError, match="0 scales; 1 compares edges at full size"):
        exclusion(image, image, 0)
    with pytest.raises(ValueError, match="layers of 4x8 are too small for 3 scales; 5 pixels a side at least"):
        exclusion(image[..., :4, :], image[..., :4, :])
    with pytest.raises(ValueError, match=r"weights \{\}; give at least one layer"):
        feature_loss(net, image, image, {})
    with pytest.raises(ValueError, match=r"weights \{'input': -1\}"):
        feature_loss(net, image, image, {"input": -1})
    with pytest.raises(ValueError, match="differ; nothing is broadcast"):
        image_loss(image, image[:, :1])
    with pytest.raises(ValueError, match="differ; nothing is broadcast"):
        edge_loss(image, image)


def test_the_least_size_works():
    smallest = noise(2, 1, 1, 5, 5)
    assert exclusion(smallest[0], smallest[1]).isfinite()


def test_no_loss_changes_its_arguments(net):
    one, other = noise(2, 1, 3, 8, 8)
    kept = one.clone(), other.clone()
    image_loss(one, other)
    edge_loss(one[:, :1], other)
    separation.separation_loss(net, (one, other), (other, one), WEIGHTS)
    assert torch.equal(one, kept[0]) and torch.equal(other, kept[1])
