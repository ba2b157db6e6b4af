"""Elastic deformation: image and labels bend as one, as far as asked, and the same again for the same seed."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import map_coordinates

from xferlib.data.augment import elastic
from xferlib.data.cells import draw


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def ramps(height, width):
    """An image whose channels are its row and its column, in pixels, and labels that number the pixels."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns]).double(), rows * width + columns


def displacements(height, width, seed, sigma, grid=3):
    """Rows and columns by which a pixel's source is displaced, (2, H, W); nan near the edge, where it is mirrored."""
    moved = elastic(*ramps(height, width), rng(seed), grid=grid, sigma=sigma)[0] - ramps(height, width)[0]
    inner = torch.full_like(moved, math.nan)
    rim = round(4 * sigma)
    inner[:, rim:-rim, rim:-rim] = moved[:, rim:-rim, rim:-rim]
    return inner


def test_sigma_0_changes_nothing():
    image, instances = draw(0, 40, 56)
    bent, numbers = elastic(image, instances, rng(), sigma=0)
    assert torch.allclose(bent, image, atol=1e-6) and torch.equal(numbers, instances)


@pytest.mark.parametrize("grid", [2, 3, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_types_are_kept(grid, channels):
    image, labels = torch.rand(channels, 33, 47), torch.randint(3, (33, 47))
    before = image.clone(), labels.clone()
    bent, numbers = elastic(image, labels, rng(), grid=grid, sigma=4)
    assert bent.shape == image.shape and bent.dtype == image.dtype
    assert numbers.shape == labels.shape and numbers.dtype == torch.int64
    assert bent.min() >= 0 and bent.max() <= 1 and not torch.equal(bent, image)
    assert torch.equal(image, before[0]) and torch.equal(labels, before[1])


@pytest.mark.parametrize("numbers", [(0, 1), (0, 255), (3, 2**40 + 1)])
def test_labels_stay_labels(numbers):
    labels = torch.tensor(numbers)[torch.randint(2, (40, 50), generator=rng(1))]
    bent = elastic(torch.rand(1, 40, 50), labels, rng(2))[1]
    assert set(bent.unique().tolist()) <= set(numbers)


def test_instances_stay_instances():
    image, instances = draw(4, 96, 96)
    bent = elastic(image, instances, rng(3), sigma=5)[1]
    assert set(bent.unique().tolist()) <= set(instances.unique().tolist())
    assert len(bent.unique()) > 0.6 * len(instances.unique())


@pytest.mark.parametrize("seed", range(6))
def test_image_and_labels_move_together(seed):
    height, width = 80, 96
    places, numbers = elastic(*ramps(height, width), rng(seed))
    assert (places[0] - numbers // width).abs().max() <= 1
    assert (places[1] - numbers % width).abs().max() <= 1
    inner = slice(40, 60)
    assert (places[0] - numbers // width)[inner, inner].abs().max() <= 0.5 + 1e-6
    assert (places[1] - numbers % width)[inner, inner].abs().max() <= 0.5 + 1e-6


def test_a_smooth_label_map_as_an_image():
    rows = (torch.arange(64)[:, None] // 4).expand(64, 64)
    bent, numbers = elastic(rows[None] / 16, rows, rng(5), sigma=6)
    assert (16 * bent[0] - numbers).abs().max() < 1


def test_same_generator_same_result():
    image, labels = draw(1, 48, 48)
    first, again, other = (elastic(image, labels, rng(seed)) for seed in (7, 7, 8))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_the_programs_own_randomness_plays_no_part():
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    elastic(*draw(1, 40, 40), rng())
    assert torch.equal(state[0], torch.get_rng_state()) and (state[1] == np.random.get_state()[1]).all()


def test_displacements_at_the_grid_are_normal_with_sigma():
    height = width = 81
    at_node = torch.stack([displacements(height, width, seed, 6)[:, 40, 40] for seed in range(400)])
    assert not at_node.isnan().any()
    assert at_node.std(0).sub(6).abs().max() < 0.75  # standard error 0.21
    assert at_node.mean(0).abs().max() < 1.2  # standard error 0.3
    assert abs(float(torch.corrcoef(at_node.T)[0, 1])) < 0.2


def test_displacements_grow_with_sigma():
    small, large = (displacements(90, 90, 3, sigma)[:, 16:-16, 16:-16] for sigma in (2, 4))
    assert torch.allclose(2 * small, large, atol=1e-6)


def test_displacements_between_the_nodes_are_a_spline_of_them():
    moved = displacements(65, 65, 11, 3).numpy()
    at = np.arange(0, 65, 16)
    for axis in moved:
        nodes = axis[np.ix_(at, at)][1:-1, 1:-1]  # away from the edge; a 3x3 grid allows order 2, which these fix
        whole = RectBivariateSpline(at[1:-1], at[1:-1], nodes, kx=2, ky=2)(np.arange(16, 49), np.arange(16, 49))
        assert np.allclose(whole, axis[16:49, 16:49], atol=1e-6)


def test_the_field_is_smooth():
    for seed in range(10):
        bends = displacements(96, 96, seed, 8).diff(n=2, dim=1)
        assert bends[~bends.isnan()].abs().max() < 0.05


def test_more_nodes_bend_more_finely():
    bends = [displacements(96, 96, 4, 3, grid).diff(n=2, dim=2) for grid in (3, 12)]
    coarse, fine = (float(bend[~bend.isnan()].abs().mean()) for bend in bends)
    assert fine > 5 * coarse


def test_a_picture_is_sampled_where_the_labels_say():
    generator = rng(9)
    image = torch.rand(2, 40, 44, generator=generator).double()
    state = generator.get_state()
    bent = elastic(image, torch.zeros(40, 44).long(), generator, sigma=2)[0]
    generator.set_state(state)
    places = elastic(*ramps(40, 44), generator, sigma=2)[0].numpy()
    for channel, ours in zip(image.numpy(), bent.numpy(), strict=True):
        theirs = map_coordinates(channel, places, order=1)
        assert np.allclose(ours[8:-8, 8:-8], theirs[8:-8, 8:-8], atol=1e-5)


def test_beyond_the_edge_it_is_mirrored():
    image = torch.rand(1, 24, 24, generator=rng())
    bent = elastic(image + 0.5, torch.ones(24, 24).long(), rng(1), sigma=10)
    assert bent[0].min() >= 0.5 and (bent[1] == 1).all()


@pytest.mark.parametrize(("grid", "sigma"), [(1, 10), (0, 10), (3, -1)])
def test_bad_parameters(grid, sigma):
    with pytest.raises(ValueError, match=f"grid {grid} and sigma {sigma}; expected"):
        elastic(torch.rand(1, 20, 20), torch.zeros(20, 20).long(), rng(), grid=grid, sigma=sigma)


def test_no_number_is_no_deviation():
    with pytest.raises(ValueError, match="sigma nan"):
        elastic(torch.rand(3, 8, 8), torch.zeros(8, 8).long(), torch.Generator(), sigma=float("nan"))
