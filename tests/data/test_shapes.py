"""Drawn shapes: exact masks, the same again, and a truth that can be seen."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xferlib.data import _shape_scene, photos, shapes
from xferlib.data._shape_forms import FORMS
from xferlib.ops.instances import Instances


def test_the_same_seed_draws_the_same_scene():
    for one, two in zip(shapes.draw(5, 60, 90), shapes.draw(5, 60, 90), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(shapes.draw(5)[0], shapes.draw(6)[0])
    assert not torch.equal(shapes.draw(5)[0], shapes.draw(5, split="test")[0])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**9), height=st.integers(32, 150), width=st.integers(32, 150))
def test_every_scene_is_whole(seed, height, width):
    image, numbers, classes = shapes.draw(seed, height, width)
    assert image.shape == (3, height, width) and image.dtype == torch.float32
    assert image.min() >= 0 and image.max() <= 1
    assert numbers.shape == (height, width) and numbers.dtype == classes.dtype == torch.int64
    assert numbers.unique().tolist()[-1] == len(classes)
    assert set(range(1, len(classes) + 1)) <= set(numbers.unique().tolist())
    assert not len(classes) or (classes.min() >= 1 and classes.max() < len(shapes.CLASSES))
    seen = numbers.flatten().bincount(minlength=len(classes) + 1)[1:]
    assert (seen >= 12).all()
    Instances.from_map(numbers, classes).check()


@pytest.mark.parametrize("size", [(32, 32), (200, 33), (257, 300)])
def test_any_size(size):
    image, numbers, _ = shapes.draw(3, *size)
    assert image.shape[1:] == numbers.shape == size


def test_larger_scenes_hold_more_objects_not_larger_ones():
    def typical(side):
        scenes = [shapes.draw(i, side, side) for i in range(12)]
        counts = [len(classes) for _, _, classes in scenes]
        areas = torch.cat([n.flatten().bincount()[1:] for _, n, _ in scenes if n.any()]).double()
        return np.mean(counts), areas.median().item()

    small, large = typical(128), typical(256)
    assert 3 < large[0] / small[0] < 5
    assert 0.5 < large[1] / small[1] < 2


def test_every_class_and_scenes_without_objects_occur():
    scenes = [shapes.draw(i)[2] for i in range(150)]
    assert torch.cat(scenes).unique().tolist() == list(range(1, len(shapes.CLASSES)))
    assert 0 < sum(len(classes) == 0 for classes in scenes) < 15


AREAS = {
    "disc": np.pi,
    "ring": np.pi * (1 - 0.45**2),
    "square": 1.6**2,
    "triangle": 3 * np.sqrt(3) / 4,
    "star": 10 * 0.5 * 0.45 * np.sin(np.pi / 5),
    "cross": 4 * 0.95 * 0.6 - 0.6**2,
    "bar": np.pi * 0.2**2 + 1.6 * 0.4,
}


@pytest.mark.parametrize("name", AREAS)
def test_forms_have_the_areas_of_geometry(name):
    x, y = np.meshgrid(*[np.linspace(-1.2, 1.2, 1201)] * 2)
    area = (FORMS[name](x, y) > 0).mean() * 2.402**2
    assert area == pytest.approx(AREAS[name], rel=0.01)


@pytest.mark.parametrize("name", FORMS)
def test_forms_tell_the_distance_to_their_edge(name):
    x, y = np.meshgrid(*[np.linspace(-1.0, 1.0, 801)] * 2)
    distance = FORMS[name](x, y)
    slope = np.hypot(*np.gradient(distance, 1 / 400))
    near = np.abs(distance) < 0.05
    assert np.quantile(np.abs(slope[near] - 1), 0.9) < 0.05


def test_masks_hold_the_pixels_whose_centres_the_form_holds(monkeypatch):
    scene = _shape_scene._Object(1, (slice(3, 30), slice(5, 32)), None, None, None)
    y, x = np.mgrid[3:30, 5:32] + 0.5
    disc = 8 - np.hypot(y - 15.2, x - 18.7)
    bar = 2 - np.abs(y - 15)
    objects, numbers = _shape_scene._seen([scene._replace(distance=disc), scene._replace(distance=bar)], (40, 40))
    assert len(objects) == 2
    yy, xx = np.mgrid[:40, :40] + 0.5
    above = (np.abs(yy - 15) < 2) & (xx > 5) & (xx < 32)
    below = (np.hypot(yy - 15.2, xx - 18.7) < 8) & ~above
    assert np.array_equal(numbers == 2, above) and np.array_equal(numbers == 1, below)


def test_covered_objects_are_left_out():
    y, x = np.mgrid[:30, :30] + 0.5
    scene = _shape_scene._Object(1, (slice(0, 30), slice(0, 30)), None, None, None)
    hidden, cover = 5 - np.hypot(y - 15, x - 15), 9 - np.hypot(y - 15, x - 15)
    objects, numbers = _shape_scene._seen([scene._replace(distance=hidden), scene._replace(distance=cover)], (30, 30))
    assert len(objects) == 1 and np.array_equal(numbers == 1, cover > 0) and numbers.max() == 1


def test_training_and_measuring_share_no_photograph():
    assert not set(shapes._PHOTOS["train"]) & set(shapes._PHOTOS["test"])
    assert set(shapes._PHOTOS["test"]) == set(photos.TEST)


def test_the_dataset_draws_its_own_scenes():
    data = shapes.Shapes(3, 40, 50, seed=2, split="test")
    assert len(data) == 3
    for one, two in zip(data[1], shapes.draw(2 * 2**32 + 1, 40, 50, split="test"), strict=True):
        assert torch.equal(one, two)
    with pytest.raises(IndexError, match="scene 3"):
        data[3]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: shapes.draw(-1), "seed -1"),
        (lambda: shapes.draw(0, 31, 64), "31x64"),
        (lambda: shapes.draw(0, split="val"), "'val' is not known; choose one of train, test"),
        (lambda: shapes.Shapes(-1), "length -1"),
        (lambda: shapes.Shapes(1, split="val"), "'val' is not known"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_palette_fits_the_classes():
    assert shapes.PALETTE.shape == (len(shapes.CLASSES), 3) and shapes.PALETTE.dtype == np.uint8
    assert len(np.unique(shapes.PALETTE, axis=0)) == len(shapes.CLASSES)
