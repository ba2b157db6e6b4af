"""Drawn cells: exact instances, the same picture for the same seed, and the look of a microscope."""

import hashlib
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from xferlib.data import _cell_tissue
from xferlib.data._cell_fields import (
    FAR,
    borders,
    has_room,
    number_cells,
    smooth_noise,
    spread,
    stamp,
    two_nearest,
    window,
)
from xferlib.data._cell_tissue import _add_mitochondria, _add_vesicles
from xferlib.data.cells import CLASSES, PALETTE, VOID, Cells, draw

KINDS = ("culture", "tissue")
both = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def pictures():
    """Four pictures of each kind, as numpy."""
    return {
        kind: [tuple(part.numpy() for part in draw(seed, 160, 192, kind=kind)) for seed in range(4)] for kind in KINDS
    }


def check_instances(instances):
    """One component a cell, none touching another even by a corner, numbered from 1 in the order of the picture."""
    by_sides, count = ndimage.label(instances > 0)
    assert np.array_equal(by_sides, instances)
    assert ndimage.label(instances > 0, np.ones((3, 3)))[1] == count
    assert count >= 1


def test_classes_and_palette():
    assert CLASSES == ("membrane", "cell") and VOID == 255
    assert PALETTE.dtype == np.uint8 and PALETTE.shape == (2, 3) and (PALETTE[0] != PALETTE[1]).any()


@both
def test_same_seed_same_tensors(kind):
    first, second = draw(5, 64, 96, kind=kind), draw(5, 64, 96, kind=kind)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_every_seed_and_kind_is_another_picture():
    drawn = [draw(seed, 48, 64, kind=kind) for kind in KINDS for seed in (*range(6), 2**32, 2**32 + 1, 2**70)]
    for part in (0, 1):
        assert len({picture[part].numpy().tobytes() for picture in drawn}) == len(drawn)


def test_same_seed_in_another_process():
    code = "import hashlib; from xferlib.data.cells import draw; "
    code += "parts = [p.numpy().tobytes() for k in ('culture', 'tissue') for p in draw(12, 48, 80, kind=k)]; "
    code += "print(hashlib.sha256(b''.join(parts)).hexdigest())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parts = [part.numpy().tobytes() for kind in KINDS for part in draw(12, 48, 80, kind=kind)]
    assert run.stdout.strip() == hashlib.sha256(b"".join(parts)).hexdigest()


def test_random_state_of_the_program_is_untouched():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    for kind in KINDS:
        draw(3, 48, 64, kind=kind)
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all() and torch.equal(torch.get_rng_state(), before[2])


@both
@pytest.mark.parametrize("size", [(32, 32), (33, 97), (131, 60), (40, 300)])
def test_any_size(kind, size):
    for seed in (0, 1):
        image, instances = draw(seed, *size, kind=kind)
        assert image.shape == (1, *size) and image.dtype == torch.float32 and image.is_contiguous()
        assert instances.shape == size and instances.dtype == torch.int64
        assert image.isfinite().all() and image.min() >= 0 and image.max() <= 1
        check_instances(instances.numpy())


@given(st.integers(0, 2**64), st.integers(32, 90), st.integers(32, 90), st.sampled_from(KINDS))
@settings(max_examples=25, deadline=None)
def test_every_cell_is_one_component_apart_from_the_rest(seed, height, width, kind):
    check_instances(draw(seed, height, width, kind=kind)[1].numpy())


@both
def test_no_specks(pictures, kind):
    for _, instances in pictures[kind]:
        assert np.bincount(instances.ravel())[1:].min() >= 16


def test_tissue_fills_the_plane_and_a_culture_does_not(pictures):
    shares = {kind: [np.mean(instances > 0) for _, instances in pictures[kind]] for kind in KINDS}
    assert min(shares["tissue"]) > 0.7 and max(shares["tissue"]) < 0.92
    assert max(shares["culture"]) < 0.7


def test_membranes_are_dark_and_cultured_cells_bright(pictures):
    for kind, contrast in (("tissue", 0.12), ("culture", 0.2)):
        for (image,), instances in pictures[kind]:
            assert image[instances > 0].mean() > image[instances == 0].mean() + contrast


def test_cells_are_of_mixed_sizes(pictures):
    for kind, ratio in (("tissue", 6), ("culture", 2)):
        sizes = np.concatenate([np.bincount(instances.ravel())[1:] for _, instances in pictures[kind]])
        small, large = np.percentile(sizes, (10, 90))
        assert large > ratio * small


def test_most_cells_of_a_culture_touch_another(pictures):
    for _, instances in pictures["culture"]:
        touching = set()
        for number in range(1, instances.max() + 1):
            around = ndimage.binary_dilation(instances == number, np.ones((3, 3)), iterations=4)
            touching |= {number} if (np.unique(instances[around]) > 0).sum() > 1 else set()
        assert len(touching) > 0.6 * instances.max()


def test_the_gap_between_touching_cells_is_hardly_darker(pictures):
    gaps, cells, ground = [], [], []
    for (image,), instances in pictures["culture"]:
        far = ndimage.distance_transform_edt(instances == 0)
        narrow = ndimage.binary_closing(instances > 0, iterations=2) & (instances == 0)
        gaps.append(image[narrow]), cells.append(image[instances > 0]), ground.append(image[far > 6])
    gap, cell, dark = (np.mean(np.concatenate(parts)) for parts in (gaps, cells, ground))
    assert gap > dark + 0.5 * (cell - dark)


def test_brightness_alone_does_not_find_membranes(pictures):
    for (image,), instances in pictures["tissue"]:
        dark = image < np.quantile(image, np.mean(instances == 0))
        assert 0.15 < np.mean(instances[dark] > 0) < 0.65


def test_the_gap_between_touching_cells_is_rarely_one_pixel_wide(pictures):
    for _, instances in pictures["culture"]:
        widths = []
        for steps in (2, 3):
            left, right = instances[:, :-steps], instances[:, steps:]
            between = sum(instances[:, k : instances.shape[1] - steps + k] for k in range(1, steps))
            widths.append(np.sum((left > 0) & (right > 0) & (left != right) & (between == 0)))
        assert widths[1] > 1.5 * widths[0] > 0


def test_organelles_are_as_dark_as_membranes(pictures):
    shares = []
    for (image,), instances in pictures["tissue"]:
        smooth = ndimage.gaussian_filter(image, 1)
        deep = ndimage.distance_transform_edt(instances) > 5
        shares.append(np.mean(smooth[deep] < smooth[instances == 0].mean()))
    assert 0.005 < np.mean(shares) < 0.1


@pytest.mark.parametrize(("add", "least"), [(_add_mitochondria, 0.1), (_add_vesicles, 0.1)])
def test_organelles_lie_inside_cells(add, least):
    depth = np.full((120, 120), 1.0, np.float32)
    depth[:, 60:] = ndimage.distance_transform_edt(np.pad(np.ones((118, 58)), 1)).astype(np.float32)
    darkest = 0
    for seed in range(6):
        picture = np.zeros((120, 120), np.float32)
        add(np.random.default_rng(seed), picture, depth)
        assert np.abs(picture[:, :58]).max() < 0.01
        darkest = min(darkest, picture.min())
    assert darkest < -least


def test_tissue_has_both_kinds_of_organelles(monkeypatch):
    seen = []
    for name in ("_add_mitochondria", "_add_vesicles"):
        monkeypatch.setattr(_cell_tissue, name, lambda *arguments, name=name: seen.append(name))
    draw(0, 64, 64, kind="tissue")
    assert sorted(seen) == ["_add_mitochondria", "_add_vesicles"]


@both
def test_inside_of_large_cells_is_textured(pictures, kind):
    for (image,), instances in pictures[kind]:
        inside = ndimage.distance_transform_edt(instances) > 4
        assert image[inside].std() > 0.04


@both
def test_negative_seed(kind):
    with pytest.raises(ValueError, match="seed -1 is negative; pictures are counted from 0"):
        draw(-1, kind=kind)


@pytest.mark.parametrize("size", [(31, 64), (64, 31), (0, 64), (-5, 64)])
def test_too_small(size):
    with pytest.raises(ValueError, match=rf"cannot draw cells on {size[0]}x{size[1]} pixels; .* at least 32"):
        draw(0, *size)


def test_unknown_kind():
    for call in (lambda: draw(0, kind="plasma"), lambda: Cells(3, kind="plasma")):
        with pytest.raises(ValueError, match="kind 'plasma' is not known; choose one of culture, tissue"):
            call()


@pytest.mark.parametrize("wrong", [1.5, "3", None])
def test_seed_is_an_integer(wrong):
    with pytest.raises(TypeError):
        draw(wrong)


def test_numpy_integers_are_integers():
    assert torch.equal(draw(np.int64(3), np.int32(40), 48)[1], draw(3, 40, 48)[1])


# The dataset


@both
def test_items_are_drawings(kind):
    dataset = Cells(3, 40, 56, seed=2, kind=kind)
    assert len(dataset) == 3
    for index in range(3):
        image, instances = dataset[index]
        expected = draw(2 * 2**32 + index, 40, 56, kind=kind)
        assert torch.equal(image, expected[0]) and torch.equal(instances, expected[1])


def test_culture_by_default():
    assert torch.equal(Cells(1, 40, 40)[0][1], draw(0, 40, 40, kind="culture")[1])
    assert torch.equal(draw(0, 40, 40)[1], draw(0, 40, 40, kind="culture")[1])


def test_a_sequence_that_ends():
    dataset = Cells(2, 32, 32)
    assert len(list(dataset)) == 2
    for index in (2, -1):
        with pytest.raises(IndexError, match=rf"picture {index} is not in 0..1"):
            dataset[index]


@pytest.mark.parametrize("length", [-1, 2**32 + 1])
def test_lengths_that_sets_would_share(length):
    with pytest.raises(ValueError, match=f"length {length} is not between"):
        Cells(length)


def test_loads_in_batches_and_survives_pickling():
    dataset = pickle.loads(pickle.dumps(Cells(4, 32, 48, seed=1, kind="tissue")))
    images, instances = next(iter(torch.utils.data.DataLoader(dataset, batch_size=4)))
    assert images.shape == (4, 1, 32, 48) and instances.shape == (4, 32, 48)


# What they are made of


def test_smooth_noise_is_smooth_and_of_unit_variance():
    rng = np.random.default_rng(0)
    for scale in (3, 12):
        fields = np.stack([smooth_noise(rng, (64, 80), scale) for _ in range(200)])
        assert fields.shape == (200, 64, 80) and fields.dtype == np.float32
        assert np.abs(fields.std(0).mean() - 1) < 0.03 and np.abs(fields.mean()) < 0.1
        steps = np.diff(fields, axis=1).std()
        assert 0.5 / scale < steps < 1.5 / scale


def test_two_nearest_of_two_points():
    x = np.arange(5, dtype=np.float32)[None]
    everywhere = (slice(None), slice(None))
    first, second, owner = two_nearest((1, 5), [(everywhere, np.abs(x - 0)), (everywhere, np.abs(x - 3))])
    assert owner.tolist() == [[1, 1, 2, 2, 2]]
    assert first.tolist() == [[0, 1, 1, 0, 1]] and second.tolist() == [[3, 2, 2, 3, 4]]


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_two_nearest_is_a_sort(seed):
    distances = np.random.default_rng(seed).uniform(0, 9, (5, 4, 6)).astype(np.float32)
    everywhere = (slice(None), slice(None))
    first, second, owner = two_nearest((4, 6), [(everywhere, distance) for distance in distances])
    ordered = np.sort(distances, axis=0)
    assert np.array_equal(first, ordered[0]) and np.array_equal(second, ordered[1])
    assert np.array_equal(owner, distances.argmin(0) + 1)


def test_two_nearest_within_windows():
    first, second, owner = two_nearest((3, 3), [(window((3, 3), 0, 0, 1), np.zeros((2, 2), np.float32))])
    assert owner.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert first[2, 2] == FAR and (second == FAR).all()


def test_borders_are_both_sides_of_a_line():
    owner = np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]])
    assert borders(owner).tolist() == [[False, True, True], [True, True, True], [True, True, True]]


def test_numbering_parts_corners_and_drops_slivers():
    inside = np.array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 1], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0]], bool)
    assert number_cells(inside, 1).tolist() == [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 2, 2, 0]]
    assert number_cells(inside, 3).max() == 1
    assert not number_cells(np.zeros((4, 4), bool), 1).any()


@given(st.integers(0, 10_000), st.floats(0.3, 0.8))
@settings(max_examples=40, deadline=None)
def test_numbering_of_any_mask(seed, share):
    inside = np.random.default_rng(seed).random((12, 15)) < share
    cells = number_cells(inside, 3)
    assert not cells[~inside].any()
    if cells.any():
        check_instances(cells)
        assert np.bincount(cells.ravel())[1:].min() >= 3


def test_discs_keep_their_distance():
    sites = np.random.default_rng(0).uniform((0, 0, 1), (40, 40, 6), (200, 3))
    kept = spread(sites, 0.9)
    assert np.array_equal(kept[0], sites[0])
    for i, one in enumerate(kept):
        others = np.delete(kept, i, axis=0)
        assert (np.hypot(*(others[:, :2] - one[:2]).T) > 0.9 * (others[:, 2] + one[2])).all()
    assert not has_room(sites, kept, 0.9).any()
    assert spread(sites[:0], 0.9).shape == (0, 3)


def test_stamps_add_up_and_are_cut_at_the_edge():
    picture = np.zeros((4, 5))
    stamp(picture, np.array([0, 0, 3]), np.array([0, 1, 4]), np.ones((3, 3, 3)))
    assert picture.tolist() == [[2, 2, 1, 0, 0], [2, 2, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]
