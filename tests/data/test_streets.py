"""Drawn streets: exact labels, the same scene for the same seed, planes in true perspective."""

import pickle
import random
import subprocess
import sys
from math import hypot

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xferlib.data import photos, streets
from xferlib.data._street_canvas import BUILDING, ROAD, Canvas
from xferlib.data._street_light import choose
from xferlib.data._street_scene import Street
from xferlib.data._street_shading import shade
from xferlib.data._street_textures import SIDE, atlas, masks
from xferlib.data.streets import CLASSES, PALETTE, VOID, Streets, draw

SKY, TREE = CLASSES.index("sky"), CLASSES.index("tree")


@pytest.fixture(scope="module")
def scenes():
    """Twenty scenes in clear daylight."""
    return [draw(seed, weather="clear", time="day") for seed in range(20)]


def test_classes_and_palette_are_camvids():
    assert CLASSES[0] == "sky" and CLASSES[3] == "road" and CLASSES[10] == "bicyclist" and len(CLASSES) == 11
    assert PALETTE.dtype == np.uint8 and PALETTE.shape == (11, 3)
    assert len(np.unique(PALETTE, axis=0)) == 11
    assert PALETTE[CLASSES.index("building")].tolist() == [128, 0, 0]
    assert PALETTE[CLASSES.index("car")].tolist() == [64, 0, 128]


def test_same_seed_same_tensors():
    first, second = draw(5), draw(5)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_every_seed_is_another_scene():
    scenes = [draw(seed, 32, 64) for seed in (*range(12), 2**32, 2**32 + 1, 2**70)]
    for part in (0, 1):
        assert len({scene[part].numpy().tobytes() for scene in scenes}) == len(scenes)


def test_same_seed_in_another_process():
    code = "import hashlib; from xferlib.data.streets import draw; i, l = draw(12, 96, 160); "
    code += "print(hashlib.sha256(i.numpy().tobytes() + l.numpy().tobytes()).hexdigest())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    scope: dict[str, object] = {}
    lines: list[str] = []
    exec(code.replace("print(", "lines.append("), {"lines": lines}, scope)
    assert run.stdout.strip() == lines[0]


@pytest.mark.parametrize("size", [(32, 32), (33, 97), (96, 160), (131, 259), (200, 60), (40, 400)])
def test_any_size(size):
    for seed in (0, 1):
        image, labels = draw(seed, *size)
        assert image.shape == (3, *size) and image.dtype == torch.float32 and image.is_contiguous()
        assert labels.shape == size and labels.dtype == torch.int64
        assert image.isfinite().all() and image.min() >= 0 and image.max() <= 1
        assert labels.min() >= 0 and labels.max() < len(CLASSES) and not (labels == VOID).any()


def test_every_class_is_there_and_thin_things_are_common(scenes):
    counts = torch.stack([torch.bincount(labels.flatten(), minlength=11) for _, labels in scenes])
    assert (counts.sum(0) > 0).all()
    for name in ("pole", "sign", "pedestrian", "car", "road", "building", "sky"):
        assert (counts[:, CLASSES.index(name)] > 0).float().mean() >= 0.8, name


def test_poles_are_thin(scenes):
    runs = []
    for _, labels in scenes:
        for row in (labels == CLASSES.index("pole")).numpy():
            edges = np.flatnonzero(np.diff(np.concatenate(([0], row, [0]))))
            runs += (edges[1::2] - edges[::2]).tolist()
    assert np.median(runs) <= 2 and np.mean(np.array(runs) <= 3) > 0.6


def test_random_state_of_the_program_is_untouched():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    draw(3, 64, 96)
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all() and torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("seed", [0, 9, 17])
def test_weather_and_time_leave_the_labels_alone(seed):
    image, labels = draw(seed)
    seen = [image]
    for weather in ("clear", "overcast", "fog", "rain"):
        for time in ("day", "evening", "dusk"):
            variant, same = draw(seed, weather=weather, time=time)
            assert torch.equal(same, labels)
            seen.append(variant)
    pictures = {picture.numpy().tobytes() for picture in seen}
    assert len(pictures) == 12  # the seed's own weather is one of the twelve


def test_fog_takes_contrast_and_dusk_takes_light():
    for seed in range(4):
        clear, fog, dusk = (
            draw(seed, weather=w, time=t)[0] for w, t in (("clear", "day"), ("fog", "day"), ("clear", "dusk"))
        )
        assert fog.std() < clear.std()
        assert dusk.mean() < clear.mean()


def test_haze_grows_with_depth_as_beer_and_lambert_say():
    light = choose(random.Random(0), "overcast", "day")._replace(noise=0.0, blur=0.0)
    pictures = []
    for density in (0.001, 0.03):
        canvas = Canvas(100, 60, 1.1, 0.45, 1.5, light._replace(density=density))
        canvas.pen.rectangle((0, 0, 59, 99), canvas.level(ROAD, (0.2, 0.2, 0.2), tile="asphalt"))
        pictures.append(shade(canvas, random.Random(0))[:, 60:])
    thin, thick = (picture - np.array(light.haze)[:, None, None] for picture in pictures)
    depth = 1.5 * 110 / (np.arange(60, 100) + 0.5 - 45)
    np.testing.assert_allclose(thick / thin, np.broadcast_to(np.exp(-0.029 * depth)[:, None], thin.shape), rtol=1e-3)


def test_things_are_painted_from_far_to_near():
    street, order = Street(random.Random(0), 64, 96, choose(random.Random(0), None, None)), []
    for z in (8.0, 70.0, 2.0, 30.0):
        street.later(z, lambda canvas, depth: order.append(depth), z)
    street.paint()
    assert order == [70.0, 30.0, 8.0, 2.0]


def test_sky_stands_above_the_road(scenes):
    rows = torch.arange(128)[:, None]
    for _, labels in scenes:
        lowest_sky = torch.where(labels == SKY, rows, -1).amax(0)
        highest_road = torch.where(labels == CLASSES.index("road"), rows, 128).amin(0)
        assert (lowest_sky < highest_road).all()


def test_picture_changes_where_the_labels_change(scenes):
    for image, labels in scenes:
        step = (image[:, :, 2:] - image[:, :, :-2]).abs().mean(0)
        border = labels[:, 2:] != labels[:, :-2]
        assert step[border].mean() > 1.5 * step[~border].mean()


def test_classes_have_their_colours(scenes):
    def colour(index):
        return torch.cat([image[:, labels == index] for image, labels in scenes], 1).mean(1)

    (red, _, blue), (leaf_red, green, leaf_blue) = colour(SKY), colour(TREE)
    assert blue > red + 0.1
    assert green > leaf_blue + 0.03 and green > leaf_red
    assert colour(CLASSES.index("road")).std() < 0.05


def test_a_wider_picture_shows_the_same_scene():
    for seed in (2, 8, 11):
        narrow, wide = draw(seed, 128, 256)[1], draw(seed, 128, 320)[1]
        assert (narrow == wide[:, 32:288]).float().mean() > 0.999  # an edge may round the other way


def test_a_larger_picture_shows_the_same_scene():
    for seed in (2, 8, 11):
        small, large = draw(seed, 96, 160)[1], draw(seed, 192, 320)[1]
        assert (small == large[::2, ::2]).float().mean() > 0.9


@pytest.mark.parametrize(
    ("arguments", "options", "word"),
    [
        ((-1,), {}, "-1"),
        ((0, 31, 256), {}, "31x256"),
        ((0, 128, 0), {}, "128x0"),
        ((0,), {"weather": "snow"}, "snow.*clear, overcast, fog, rain"),
        ((0,), {"time": "noon"}, "noon.*day, evening, dusk"),
    ],
)
def test_errors_name_the_value(arguments, options, word):
    with pytest.raises(ValueError, match=word):
        draw(*arguments, **options)


def test_streets_is_a_fixed_set():
    scenes = Streets(7, 64, 96, seed=3)
    assert len(scenes) == 7
    image, labels = scenes[4]
    again, same = draw(3 * 2**32 + 4, 64, 96)
    assert torch.equal(image, again) and torch.equal(labels, same)
    for index in (-1, 7, 100):
        with pytest.raises(IndexError, match=str(index)):
            scenes[index]
    assert len(list(scenes)) == 7  # plain iteration ends


def test_sets_of_different_seeds_are_disjoint():
    pictures = {Streets(6, 32, 48, seed=seed)[i][0].numpy().tobytes() for seed in range(3) for i in range(6)}
    assert len(pictures) == 18
    with pytest.raises(ValueError, match=str(2**32 + 1)):
        Streets(2**32 + 1)


def test_streets_can_be_pickled():
    scenes = Streets(3, 48, 64, seed=1)
    copy = pickle.loads(pickle.dumps(scenes))
    assert torch.equal(copy[2][0], scenes[2][0]) and torch.equal(copy[2][1], scenes[2][1])


def _canvas(eye: float = 1.5) -> Canvas:
    return Canvas(100, 150, 1.1, 0.45, eye, choose(random.Random(0), "clear", "day"))


def _seen(canvas: Canvas, x: float, y: float, z: float) -> tuple[float, float]:
    return x / z, (canvas.eye - y) / z


coordinate = st.floats(-20, 20)
distance = st.floats(1, 60)


@given(coordinate, distance, coordinate, distance, st.floats(0, 1), st.floats(0, 12))
@settings(max_examples=60, deadline=None)
def test_a_wall_has_its_depth_and_texture(x0, z0, x1, z1, share, y):
    length = hypot(x1 - x0, z1 - z0)
    seen_from_aside = abs(x0 * z1 - x1 * z0) / max(length, 1e-6)  # distance of the wall's line from the camera
    if length < 1 or seen_from_aside < 0.1:
        return
    canvas = _canvas()
    surface = canvas.wall(BUILDING, (0.5, 0.5, 0.5), (x0, z0), (x1, z1), "brick", base=2.0)
    row = canvas.table()[surface]
    x, z = x0 + share * (x1 - x0), z0 + share * (z1 - z0)
    u, v = _seen(canvas, x, y, z)
    assert row[0] + row[1] * u + row[2] * v == pytest.approx(1 / z, rel=1e-6, abs=1e-9)
    _, width, height = atlas().tiles["brick"]
    assert z * (row[7] * u + row[8]) + row[9] == pytest.approx(64 + share * length / width, abs=1e-6)
    assert z * (row[11] - row[10] * v) + row[12] == pytest.approx(64 + (y - 2.0) / height, abs=1e-6)


@given(coordinate, distance)
@settings(max_examples=30, deadline=None)
def test_the_ground_has_its_depth(x, z):
    canvas = _canvas()
    surface = canvas.level(ROAD, (0.3, 0.3, 0.3))
    row = canvas.table()[surface]
    u, v = _seen(canvas, x, 0.0, z)
    assert row[0] + row[1] * u + row[2] * v == pytest.approx(1 / z, rel=1e-6)


@given(st.lists(st.tuples(coordinate, st.floats(0, 9), distance), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_a_slope_passes_through_its_points(points):
    p, q, r = (np.array(point) for point in points)
    normal = np.cross(q - p, r - p)
    size = np.linalg.norm(normal)
    if size < 1 or abs(normal @ (p - (0, 1.5, 0))) / size < 0.1:  # thin, or seen edge on
        return
    canvas = _canvas()
    surface = canvas.slope(BUILDING, (0.5, 0.5, 0.5), *points, "roof")
    row = canvas.table()[surface]
    for point in points:
        u, v = _seen(canvas, *point)
        assert row[0] + row[1] * u + row[2] * v == pytest.approx(1 / point[2], rel=1e-5, abs=1e-7)


def test_what_is_painted_last_is_the_label():
    canvas = _canvas()
    road, wall = canvas.level(ROAD, (0.3, 0.3, 0.3)), canvas.upright(BUILDING, (0.5, 0.5, 0.5), 10.0)
    canvas.pen.rectangle((0, 0, 149, 99), road)
    canvas.pen.rectangle((20, 30, 39, 49), wall)
    labels = canvas.labels()
    assert (labels[30:50, 20:40] == BUILDING).all()
    assert (labels == BUILDING).sum() == 400 and (labels == ROAD).sum() == 100 * 150 - 400


def test_stamps_are_clipped_to_the_picture():
    canvas = _canvas()
    canvas.level(ROAD, (0.3, 0.3, 0.3))
    leaf = canvas.upright(TREE, (0.2, 0.3, 0.1), 5.0)
    for box in ((-400, -400, 300, 300), (-30, 40, 20, 70), (140, 90, 400, 400)):
        canvas.stamp("leafy0", *box, leaf)
    outside = canvas.labels().copy()
    canvas.stamp("leafy0", 151, 10, 160, 20, leaf)
    canvas.stamp("leafy0", -50, -90, -20, -60, leaf)
    assert (canvas.labels() == outside).all() and (outside == TREE).any()


def test_textures_come_from_training_photographs(monkeypatch):
    asked = []
    load = photos.load
    monkeypatch.setattr(photos, "load", lambda name: asked.append(name) or load(name))
    from xferlib.data import _street_textures

    _street_textures._photo.cache_clear()
    _street_textures._paintings()
    assert asked and set(asked) <= set(photos.TRAIN)


def test_mip_levels_are_means():
    texels, offsets, tiles = atlas()
    bytes_of = texels.view(np.uint8).reshape(-1, 4)
    for tile in tiles.values():
        finest = bytes_of[tile.start : tile.start + SIDE * SIDE].mean(0)
        coarsest = bytes_of[tile.start + offsets[-1]]
        assert np.abs(finest - coarsest).max() <= 1.5  # rounding of both


def test_masks_are_whole():
    from scipy import ndimage

    for name, mask in masks().items():
        parts = ndimage.label(np.asarray(mask), np.ones((3, 3)))[1]
        assert parts == 1, name


def test_module_has_no_random_state_of_its_own():
    first = draw(21, 64, 96)
    for seed in (4, 40, 400):
        draw(seed, 64, 96)
    second = streets.draw(21, 64, 96)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
