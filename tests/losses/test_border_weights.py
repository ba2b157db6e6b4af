"""The border map of the U-Net and the pixel weights it is for: by hand, by brute force, and against PyTorch."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from xferlib.data.cells import draw
from xferlib.losses.segmentation import border_weights, cross_entropy

maps = arrays.arrays(np.int64, (7, 9), elements=st.sampled_from([0, 0, 0, 1, 2, 3, 4])).map(torch.from_numpy)


def two_walls(gap, height=5, thick=4):
    """Two cells, each of full height, with a gap of some columns between them."""
    instances = torch.zeros(height, 2 * thick + gap, dtype=torch.int64)
    instances[:, :thick], instances[:, thick + gap :] = 1, 2
    return instances


def by_brute_force(instances, w0, sigma):
    """Compare each pixel of background with each pixel of each cell."""
    cells = [torch.nonzero(instances == k).double() for k in instances.unique() if k > 0]
    weights = torch.zeros(instances.shape, dtype=torch.float64)
    if len(cells) > 1:
        for place in torch.nonzero(instances == 0):
            d1, d2 = sorted(float((cell - place).norm(dim=1).min()) for cell in cells)[:2]
            weights[tuple(place)] = w0 * math.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return weights


@pytest.mark.parametrize("gap", [1, 2, 5, 8])
def test_between_two_walls_the_distances_add_up_to_the_gap(gap):
    weights = border_weights(two_walls(gap))
    expected = 10 * math.exp(-((gap + 1) ** 2) / 50)
    assert weights.dtype == torch.float32
    assert torch.allclose(weights[:, 4 : 4 + gap], torch.tensor(expected))
    assert not weights[:, :4].any() and not weights[:, 4 + gap :].any()


def test_two_single_pixels_by_hand():
    instances = torch.zeros(4, 5, dtype=torch.int64)
    instances[0, 0], instances[0, 4] = 1, 2
    weights = border_weights(instances, w0=3, sigma=2)
    for (row, column), distance in {(0, 2): 4, (3, 0): 3 + 5, (2, 2): 2 * math.sqrt(8), (3, 4): 5 + 3}.items():
        assert weights[row, column].item() == pytest.approx(3 * math.exp(-(distance**2) / 8), rel=1e-6)


@pytest.mark.parametrize("instances", [torch.zeros(6, 6), torch.ones(6, 6), torch.eye(6) * 7])
def test_fewer_than_two_cells_weigh_nothing(instances):
    weights = border_weights(instances.long())
    assert weights.shape == (6, 6) and not weights.any()


@given(maps, st.sampled_from([(10.0, 5.0), (4.0, 1.5), (0.0, 5.0), (2.0, 30.0)]))
@settings(max_examples=60, deadline=None)
def test_distances_by_brute_force(instances, parameters):
    w0, sigma = parameters
    weights = border_weights(instances, w0, sigma)
    assert torch.allclose(weights.double(), by_brute_force(instances, w0, sigma), rtol=1e-5, atol=1e-5 * w0)


@pytest.mark.parametrize("kind", ["culture", "tissue"])
def test_distances_on_drawn_cells(kind):
    instances = draw(2, 48, 56, kind=kind)[1]
    weights = border_weights(instances, sigma=2.0)
    assert torch.allclose(weights.double(), by_brute_force(instances, 10.0, 2.0), rtol=1e-5, atol=1e-4)
    assert weights.max() > 3


@given(maps, st.permutations([1, 2, 3, 4]))
@settings(max_examples=40, deadline=None)
def test_numbers_do_not_matter(instances, order):
    other = torch.tensor([0, *order])[instances]
    assert torch.equal(border_weights(other), border_weights(instances))


def test_gaps_between_numbers_do_not_matter():
    instances = two_walls(3)
    assert torch.equal(border_weights(instances * 5000), border_weights(instances))


def test_numbers_may_be_those_of_a_deep_png():
    instances = two_walls(3) * 5000
    assert torch.equal(border_weights(instances.to(torch.uint16)), border_weights(instances))


@given(maps)
@settings(max_examples=40, deadline=None)
def test_mirrored_and_turned_cells_have_mirrored_and_turned_weights(instances):
    weights = border_weights(instances)
    assert torch.equal(border_weights(instances.flip(0)), weights.flip(0))
    assert torch.equal(border_weights(instances.T.contiguous()), weights.T)


@given(maps)
@settings(max_examples=40, deadline=None)
def test_weights_lie_between_0_and_w0_and_only_on_background(instances):
    before = instances.clone()
    weights = border_weights(instances, w0=10)
    assert weights.min() >= 0 and weights.max() < 10
    assert not weights[instances > 0].any()
    assert torch.equal(instances, before)


def test_narrow_gaps_weigh_more():
    peaks = [border_weights(two_walls(gap)).max().item() for gap in (1, 2, 4, 8, 16)]
    assert peaks == sorted(peaks, reverse=True) and peaks[0] > 9 and peaks[-1] < 0.05


@pytest.mark.parametrize("shape", [(4,), (1, 4, 4)])
def test_one_map_at_a_time(shape):
    with pytest.raises(ValueError, match=r"instances of shape .*; expected \(H, W\)"):
        border_weights(torch.zeros(shape, dtype=torch.int64))


def test_negative_numbers():
    with pytest.raises(ValueError, match="numbers from 0 up"):
        border_weights(torch.tensor([[0, -1]]))


@pytest.mark.parametrize("sigma", [0, -1, math.nan])
def test_sigma_is_positive(sigma):
    with pytest.raises(ValueError, match=f"sigma is {sigma}; it must be above 0"):
        border_weights(two_walls(2), sigma=sigma)


# Pixel weights in the loss


def problem(seed=0, classes=3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 4, 5, generator=generator, requires_grad=True)
    labels = torch.randint(classes, (2, 4, 5), generator=generator)
    return logits, labels, torch.rand(2, 4, 5, generator=generator)


def test_weighted_loss_by_hand():
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, :, 0, 1] = torch.tensor([0.0, math.log(3)])  # probabilities 1/2, 1/2 and 1/4, 3/4
    labels, weights = torch.tensor([[[0, 0]]]), torch.tensor([[[1.0, 3.0]]])
    expected = (1 * math.log(2) + 3 * math.log(4)) / (1 + 3)
    assert cross_entropy(logits, labels, pixel_weights=weights).item() == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_weighted_loss_is_pytorchs_weighted_mean(seed):
    logits, labels, weights = problem(seed)
    each = F.cross_entropy(logits, labels, reduction="none")
    assert torch.allclose(cross_entropy(logits, labels, pixel_weights=weights), (each * weights).sum() / weights.sum())


@pytest.mark.parametrize("size", [1.0, 0.01, 70.0])
def test_equal_weights_change_nothing(size):
    logits, labels, _ = problem()
    loss = cross_entropy(logits, labels, pixel_weights=torch.full(labels.shape, size))
    assert torch.allclose(loss, F.cross_entropy(logits, labels))


def test_pixel_and_class_weights_multiply():
    logits, labels, weights = problem()
    shares = torch.tensor([0.5, 2.0, 1.0])
    together = cross_entropy(logits, labels, shares, pixel_weights=weights)
    assert torch.allclose(together, cross_entropy(logits, labels, pixel_weights=weights * shares[labels]))


def test_a_weight_counts_as_so_many_pixels():
    logits, labels, _ = problem()
    weights = torch.ones(labels.shape)
    weights[1] = 3
    repeated = cross_entropy(logits[[0, 1, 1, 1]], labels[[0, 1, 1, 1]])
    assert torch.allclose(cross_entropy(logits, labels, pixel_weights=weights), repeated)


def test_pixels_of_weight_0_and_void_ones_get_no_gradient():
    logits, labels, weights = problem()
    labels[0, 0], weights[1, 0] = 255, 0
    cross_entropy(logits, labels, pixel_weights=weights).backward()
    assert not logits.grad[0, :, 0].any() and not logits.grad[1, :, 0].any()
    assert logits.grad[0, :, 1].any() and logits.grad[1, :, 1].any()
    kept = labels != 255
    each = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    expected = (each * weights)[kept].sum() / weights[kept].sum()
    assert torch.allclose(cross_entropy(logits, labels, pixel_weights=weights), expected)


def test_no_weight_at_all_is_no_loss():
    logits, labels, weights = problem()
    loss = cross_entropy(logits, labels, pixel_weights=torch.zeros_like(weights))
    loss.backward()
    assert loss == 0 and not logits.grad.any()


def test_border_weights_raise_the_share_of_the_gap():
    instances = two_walls(2, thick=8)
    labels = (instances > 0).long()[None]
    logits = torch.zeros(1, 2, *instances.shape)
    logits[:, 1] = 4.0  # all is cell, so the gap is all that is wrong
    plain = cross_entropy(logits, labels)
    weighted = cross_entropy(logits, labels, pixel_weights=1 + border_weights(instances)[None])
    assert weighted > 4 * plain


@pytest.mark.parametrize("shape", [(2, 4, 4), (4, 5), (2, 1, 4, 5)])
def test_pixel_weights_of_another_shape(shape):
    logits, labels, _ = problem()
    with pytest.raises(ValueError, match=r"pixel weights of shape .* for labels of \(2, 4, 5\)"):
        cross_entropy(logits, labels, pixel_weights=torch.ones(shape))
