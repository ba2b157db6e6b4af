"""Drawn shapes: exact masks, the same again, and a truth that can be seen."""

import hashlib
import pickle
import random
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import euler_number, points_in_poly, regionprops

from xferlib.data import _shape_scene, photos, shapes
from xferlib.data._shape_forms import FORMS
from xferlib.ops.instances import Instances


def test_the_same_seed_draws_the_same_scene():
    for one, two in zip(shapes.draw(5, 60, 90), shapes.draw(5, 60, 90), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(shapes.draw(5)[0], shapes.draw(6)[0])
    assert not torch.equal(shapes.draw(5)[0], shapes.draw(5, split="test")[0])


def test_the_same_seed_in_another_process():
    code = "import hashlib; from xferlib.data.shapes import draw; "
    code += "parts = [p.numpy().tobytes() for p in draw(12, 48, 80)]; "
    code += "print(hashlib.sha256(b''.join(parts)).hexdigest())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parts = [part.numpy().tobytes() for part in shapes.draw(12, 48, 80)]
    assert run.stdout.strip() == hashlib.sha256(b"".join(parts)).hexdigest()


def test_scenes_do_not_depend_on_those_drawn_before():
    first = shapes.draw(1, 64, 64)[0]
    shapes.draw(2, 64, 64)[0].zero_()
    assert torch.equal(shapes.draw(1, 64, 64)[0], first)


def test_random_state_of_the_program_is_untouched():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    shapes.draw(3, 48, 64)
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all() and torch.equal(torch.get_rng_state(), before[2])


def test_every_seed_is_another_scene():
    drawn = [shapes.draw(seed, 48, 64)[0] for seed in (*range(6), 2**32, 2**32 + 1, 2**70)]
    assert len({image.numpy().tobytes() for image in drawn}) == len(drawn)


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
    # The unit disc less its lens with a disc of radius .75 at .5. The circles meet at x = .6875, and the lens is
    # two sectors less the kite between the centres and the meeting points.
    "crescent": np.pi - np.arccos(0.6875) - 0.75**2 * np.arccos(-0.1875 / 0.75) + 0.5 * np.sqrt(1 - 0.6875**2),
    "cross": 4 * 0.95 * 0.6 - 0.6**2,
    "bar": np.pi * 0.2**2 + 1.6 * 0.4,
}


@pytest.mark.parametrize("name", AREAS)
def test_forms_have_the_areas_of_geometry(name):
    x, y = np.meshgrid(*[np.linspace(-1.2, 1.2, 1201)] * 2)
    area = (FORMS[name](x, y) > 0).mean() * 2.402**2
    assert area == pytest.approx(AREAS[name], rel=0.01)


def test_forms_differ_in_holes_and_dents():
    x, y = np.meshgrid(*[np.linspace(-1.2, 1.2, 301)] * 2)
    holes = {name: 1 - euler_number(form(x, y) > 0, connectivity=1) for name, form in FORMS.items()}
    assert holes == {name: int(name == "ring") for name in FORMS}
    solid = {name: regionprops((form(x, y) > 0).astype(int))[0].solidity for name, form in FORMS.items()}
    assert {name for name in FORMS if solid[name] < 0.85} == {"ring", "star", "crescent", "cross"}
    assert {name for name in FORMS if solid[name] > 0.97} == {"disc", "square", "triangle", "bar"}


@pytest.mark.parametrize("name", FORMS)
def test_forms_tell_the_distance_to_their_edge(name):
    x, y = np.meshgrid(*[np.linspace(-1.0, 1.0, 801)] * 2)
    distance = FORMS[name](x, y)
    slope = np.hypot(*np.gradient(distance, 1 / 400))
    near = np.abs(distance) < 0.05
    assert np.quantile(np.abs(slope[near] - 1), 0.9) < 0.05


def place(name, centre, radius, stretch, angle, size=(90, 100)):
    """Place the form `name` as told, instead of at random."""
    rng = Mock()
    rng.integers.return_value = list(FORMS).index(name)
    rng.uniform.side_effect = [np.log(radius), np.log(stretch), angle, np.divide(centre, size)]
    return _shape_scene._place(rng, size)


def painted(each, size=(90, 100)):
    """Give the mask of an object in the whole picture."""
    mask = np.zeros(size, bool)
    mask[each.window] = each.distance > 0
    return mask


def test_the_mask_of_a_disc_is_the_pixels_whose_centres_lie_in_it():
    each = place("disc", (40.3, 51.8), 17.25, 1, 0.4)
    y, x = np.mgrid[:90, :100] + 0.5
    assert each.kind == 1 == shapes.CLASSES.index("disc")
    assert np.array_equal(painted(each), np.hypot(y - 40.3, x - 51.8) < 17.25)


TURNS = np.arange(10) * np.pi / 5
CORNERS = {  # as x, y with y downwards, of radius 1 and not turned
    "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "triangle": [(0, -1), (np.sqrt(3) / 2, 0.5), (-np.sqrt(3) / 2, 0.5)],
    "star": [(r * np.sin(t), -r * np.cos(t)) for r, t in zip([1, 0.45] * 5, TURNS, strict=True)],
    "cross": [
        *[(-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3), (0.3, 0.3)],
        *[(0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3), (-0.3, -0.3)],
    ],
}


@pytest.mark.parametrize("name", CORNERS)
@pytest.mark.parametrize("centre", [(44.2, 47.9), (4.6, 90.1)])
def test_masks_are_the_pixels_whose_centres_lie_between_the_corners(name, centre):
    radius, stretch, angle = 23.4, 1.2, 0.7
    u, v = np.array(CORNERS[name]).T * [[radius * stretch], [radius / stretch]]
    corners = np.stack([np.sin(angle) * u + np.cos(angle) * v, np.cos(angle) * u - np.sin(angle) * v], 1) + centre
    pixels = np.stack(np.mgrid[:90, :100], -1).reshape(-1, 2) + 0.5
    expected = points_in_poly(pixels, corners).reshape(90, 100)
    assert expected.sum() > 300
    assert np.array_equal(painted(place(name, centre, radius, stretch, angle)), expected)


def test_no_object_is_cut_but_by_the_picture():
    rng = np.random.default_rng(0)
    sizes = []
    for each in (_shape_scene._place(rng, (2000, 2000)) for _ in range(200)):
        edge = np.ones(each.distance.shape, bool)
        edge[1:-1, 1:-1] = False
        assert (each.distance[edge] < -0.5).all() or min(s.start for s in each.window) == 0
        down, across = np.nonzero(each.distance > 0)
        sizes.append(max(np.ptp(np.cos(t) * across + np.sin(t) * down) + 1 for t in np.linspace(0, np.pi, 12)))
    assert 7 < min(sizes) < 12 and 70 < max(sizes) < 93


def test_edges_are_soft_and_the_mask_is_where_an_object_covers_half(monkeypatch):
    monkeypatch.setattr(_shape_scene, "_stuff", lambda rng, each, below, names: np.ones_like(below))
    each = place("disc", (20.2, 19.6), 9.3, 1, 0, (40, 40))
    picture = np.zeros((40, 40, 3), np.float32)
    _shape_scene._paint(None, picture, each, ())
    cover = picture[..., 0]
    assert np.array_equal(cover > 0.5, painted(each, (40, 40)))
    y, x = (np.mgrid[: 40 * 8, : 40 * 8] + 0.5) / 8
    share = (np.hypot(y - 20.2, x - 19.6) < 9.3).reshape(40, 8, 40, 8).mean((1, 3))
    assert np.abs(cover - share).max() < 0.15
    assert ((cover > 0.05) & (cover < 0.95)).sum() > 40


def test_shadows_fall_down_to_the_right_and_belong_to_nobody(monkeypatch):
    monkeypatch.setattr(_shape_scene, "_stuff", lambda rng, each, below, names: np.ones_like(below))
    each = place("square", (20, 20), 10, 1, 0, (40, 40))
    picture = np.ones((40, 40, 3), np.float32)
    _shape_scene._paint(None, picture, each, ())
    outside = ~painted(each, (40, 40))
    assert picture[29, 20, 0] < 0.8 and picture[20, 30, 0] < 0.8 and outside[29, 20] and outside[20, 30]
    assert picture[10, 20, 0] > 0.95 and picture[20, 9, 0] > 0.95


def test_the_picture_shows_at_every_pixel_the_object_that_the_map_names(monkeypatch):
    codes = np.array([[n >> bit & 1 for bit in range(3)] for n in range(1, 8)], np.float32)

    def code(rng, each, below, names):
        painted.append(codes[len(painted) % 7])
        return np.broadcast_to(painted[-1], below.shape)

    monkeypatch.setattr(_shape_scene, "_stuff", code)
    monkeypatch.setattr(_shape_scene, "_ground", lambda rng, size, names: np.zeros((*size, 3), np.float32))
    checked = 0
    for seed in range(12):
        painted = []
        image, numbers, classes = (part.numpy() for part in shapes.draw(seed, 96, 96))
        assert len(painted) == len(classes)
        inner = ndimage.minimum_filter(numbers, 5) == ndimage.maximum_filter(numbers, 5)
        expected = np.concatenate([np.zeros((1, 3)), *[c[None] for c in painted]])[numbers]
        seen = image.transpose(1, 2, 0)
        seen = seen > np.maximum(0.15, 0.5 * seen.max(2, keepdims=True))
        assert (seen == expected)[inner].all()
        checked += (inner & (numbers > 0)).sum()
    assert checked > 5000


def seen(*distances):
    """Lay objects with these distances over each other, the last on top."""
    size = distances[0].shape
    place = tuple(slice(0, n) for n in size)
    objects = [_shape_scene._Object(i, place, d, d, (d, d)) for i, d in enumerate(distances, start=1)]
    objects, numbers = _shape_scene._seen(objects, size)
    return [each.kind for each in objects], numbers


def box(top, left, bottom, right):
    inside = np.full((20, 30), -1.0)
    inside[top:bottom, left:right] = 1
    return inside


def test_the_uppermost_object_has_the_pixel():
    kinds, numbers = seen(box(2, 2, 12, 12), box(5, 8, 9, 20))
    assert kinds == [1, 2]
    assert (numbers[5:9, 8:20] == 2).all() and (numbers == 2).sum() == 48
    assert (numbers == 1).sum() == 100 - 16 and numbers[2:12, 2:8].all()


@pytest.mark.parametrize(("covered", "kinds"), [(7, [1, 2]), (8, [2])])
def test_an_object_stays_if_a_quarter_of_it_is_seen(covered, kinds):
    assert seen(box(0, 0, 10, 10), box(0, 0, 10, covered))[0] == kinds  # of 100 pixels 30 or 20 are seen
    assert seen(box(0, 0, 10, 10), box(0, 0, 10, covered))[1].max() == len(kinds)


@pytest.mark.parametrize(("width", "kinds"), [(11, [2]), (12, [1, 2])])
def test_an_object_stays_if_twelve_pixels_of_it_are_seen(width, kinds):
    assert seen(box(0, 0, 1, width), box(5, 5, 10, 10))[0] == kinds


def test_what_covered_only_an_object_left_out_leaves_no_hole():
    kinds, numbers = seen(box(0, 0, 10, 10), box(0, 0, 10, 4), box(0, 0, 10, 4))
    assert kinds == [1, 3] and (numbers == 2).sum() == 40 and numbers.max() == 2


def test_each_split_is_cut_from_its_own_photographs(monkeypatch):
    used = []
    photo = _shape_scene._photo
    monkeypatch.setattr(_shape_scene, "_photo", lambda name: used.append(name) or photo(name))
    for split, names in (("train", photos.TRAIN), ("test", photos.TEST)):
        used.clear()
        for i in range(80):
            shapes.draw(i, 32, 32, split=split)
        assert set(used) == set(names)


def test_a_seed_lays_out_the_same_objects_in_both_splits():
    for seed in range(5):
        (image, *truth), (other, *same) = (shapes.draw(seed, split=split) for split in ("train", "test"))
        assert all(torch.equal(one, two) for one, two in zip(truth, same, strict=True))
        assert not torch.equal(image, other)


def test_training_and_measuring_share_no_photograph():
    assert not set(shapes._PHOTOS["train"]) & set(shapes._PHOTOS["test"])
    assert set(shapes._PHOTOS["test"]) == set(photos.TEST)


def test_the_dataset_draws_its_own_scenes():
    data = shapes.Shapes(3, 40, 50, seed=2, split="test")
    assert len(data) == 3
    for one, two in zip(data[1], shapes.draw(2 * 2**32 + 1, 40, 50, split="test"), strict=True):
        assert torch.equal(one, two)
    assert len(list(data)) == 3
    for index in (3, -1):
        with pytest.raises(IndexError, match=f"scene {index} is not in 0..2"):
            data[index]


def test_the_dataset_loads_in_batches_and_survives_pickling():
    data = pickle.loads(pickle.dumps(shapes.Shapes(4, 32, 48, seed=1)))
    loader = torch.utils.data.DataLoader(data, batch_size=4, collate_fn=list)
    for index, scene in enumerate(next(iter(loader))):
        assert all(torch.equal(one, two) for one, two in zip(scene, shapes.draw(2**32 + index, 32, 48), strict=True))


@pytest.mark.parametrize("wrong", [1.5, "3", None])
def test_seed_is_an_integer(wrong):
    with pytest.raises(TypeError):
        shapes.draw(wrong)


def test_numpy_integers_are_integers():
    assert torch.equal(shapes.draw(np.int64(3), np.int32(40), 48)[1], shapes.draw(3, 40, 48)[1])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: shapes.draw(-1), "seed -1"),
        (lambda: shapes.draw(0, 31, 64), "31x64"),
        (lambda: shapes.draw(0, split="val"), "'val' is not known; choose one of train, test"),
        (lambda: shapes.draw(0, 64, -5), "64x-5"),
        (lambda: shapes.Shapes(-1), "length -1"),
        (lambda: shapes.Shapes(2**32 + 1), "length 4294967297"),
        (lambda: shapes.Shapes(1, split="val"), "'val' is not known"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_palette_fits_the_classes():
    assert shapes.PALETTE.shape == (len(shapes.CLASSES), 3) and shapes.PALETTE.dtype == np.uint8
    assert len(np.unique(shapes.PALETTE, axis=0)) == len(shapes.CLASSES)
