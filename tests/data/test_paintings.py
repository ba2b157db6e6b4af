"""Drawn paintings: the same again, the same at every size, unlike each other, and full of strokes."""

import hashlib
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from xferlib.data._painting_canvas import GUIDE, Canvas, Ink, colours, ramp
from xferlib.data._painting_cubism import _area, _clip, _split
from xferlib.data._painting_forms import box, disc, ribbon, trace
from xferlib.data.paintings import STYLES, draw

every_style = pytest.mark.parametrize("style", STYLES)


@pytest.fixture(scope="module")
def pictures():
    """Two pictures of each style: of seeds 0 and 1, 128x128."""
    return {style: [draw(style, 128, 128, seed=seed) for seed in (0, 1)] for style in STYLES}


def test_there_are_at_least_eight_styles():
    assert len(set(STYLES)) == len(STYLES) >= 8
    assert all(style == style.lower() for style in STYLES)


@every_style
def test_a_picture_is_rgb_within_range(pictures, style):
    for picture in pictures[style]:
        assert picture.shape == (3, 128, 128) and picture.dtype == torch.float32 and picture.is_contiguous()
        assert picture.isfinite().all() and picture.min() >= 0 and picture.max() <= 1


def test_same_arguments_same_bits_in_another_process_and_order(pictures):
    code = "import hashlib; from xferlib.data.paintings import STYLES, draw; "
    code += "parts = [draw(style, 128, 128, seed=1).numpy().tobytes() for style in STYLES[::-1]]; "
    code += "print(hashlib.sha256(b''.join(parts)).hexdigest())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parts = [pictures[style][1].numpy().tobytes() for style in STYLES[::-1]]
    assert run.stdout.strip() == hashlib.sha256(b"".join(parts)).hexdigest()


def test_neither_random_state_nor_plotting_style_matters(pictures):
    import matplotlib as mpl

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    with mpl.rc_context({"lines.antialiased": False, "patch.antialiased": False, "path.snap": True, "figure.dpi": 31}):
        assert torch.equal(draw("woodcut", 128, 128), pictures["woodcut"][0])
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all() and torch.equal(torch.get_rng_state(), before[2])


def palette_distance(one, two):
    """Mean distance of the colours of two pictures, sorted along many axes (sliced Wasserstein)."""
    axes = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    one, two = (np.sort(axes @ picture[:, ::4, ::4].flatten(1).numpy(), axis=1) for picture in (one, two))
    return np.abs(one - two).mean()


def strokes(picture):
    """Give log energies of a picture's lightness at four scales, horizontally and vertically."""
    grey = picture.mean(0)[None, None]
    energies = []
    for _ in range(4):
        energies += [grey.diff(dim=d).square().mean().log().item() / 2 for d in (-1, -2)]
        grey = avg_pool2d(grey, 2)
    return np.array(energies)


def style_distance(one, two):
    return palette_distance(one, two) / 0.06 + np.abs(strokes(one) - strokes(two)).mean() / 0.35


@every_style
def test_other_seeds_are_other_compositions_in_the_same_style_and_no_other(pictures, style):
    one, two = pictures[style]
    assert (one - two).abs().mean() > 0.08
    own = style_distance(one, two)
    others = [style_distance(two, pictures[other][0]) for other in STYLES if other != style]
    assert own < 1 and own < 0.5 * min(others) and min(others) > 1.2


@every_style
def test_a_small_picture_is_the_large_one_scaled_down(pictures, style):
    small, other = (picture[None] for picture in pictures[style])
    scaled = interpolate(draw(style, 512, 512)[None], (128, 128), mode="area")
    assert (scaled - small).abs().mean() < 0.02
    assert (scaled - small).abs().mean() < 0.15 * (other - small).abs().mean()


@every_style
def test_there_are_strokes_everywhere(pictures, style):
    for picture in pictures[style]:
        fine = picture - avg_pool2d(picture, 7, 1, 3, count_include_pad=False)
        assert fine.unfold(1, 16, 16).unfold(2, 16, 16).flatten(3).std(-1).mean(0).min() > 0.01


@every_style
def test_the_longest_forms(style):
    size = (33, 256) if STYLES.index(style) % 2 else (256, 33)
    picture = draw(style, *size, seed=3)
    assert picture.shape == (3, *size)
    assert picture.isfinite().all() and picture.min() >= 0 and picture.max() <= 1
    assert picture.flatten(1).std(1).mean() > 0.08


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mosiac",), r"no style is named 'mosiac'; did you mean 'mosaic'\? there are: "),
        (("Mosaic",), r"did you mean 'mosaic'\?"),
        (("?",), r"no style is named '\?'; there are: "),
        ((None,), r"no style is named None; .*there are: "),
        (("mosaic", 31, 64), "cannot paint on 31x64 pixels; each side must be at least 32"),
        (("mosaic", 64, -5), "cannot paint on 64x-5 pixels"),
        (("mosaic", 32, 257), "cannot paint on 32x257 pixels; the longer side must be at most 8 times the other: 256"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw(*arguments)


def test_negative_seed():
    with pytest.raises(ValueError, match="seed -1 is negative; paintings are counted from 0"):
        draw("mosaic", seed=-1)


@pytest.mark.parametrize("wrong", [1.5, "3", None])
def test_seed_and_size_are_integers(wrong):
    with pytest.raises(TypeError):
        draw("mosaic", seed=wrong)
    with pytest.raises(TypeError):
        draw("mosaic", wrong)


def test_numpy_integers_are_integers():
    one = draw("stained-glass", np.int64(40), np.int32(48), seed=np.int64(3))
    assert torch.equal(one, draw("stained-glass", 40, 48, seed=3))


# What they are made of


def test_a_canvas_has_area_one_and_a_guide_of_its_form():
    canvas = Canvas(50, 200)
    assert (canvas.height, canvas.width, canvas.unit) == (0.5, 2, 100)
    assert Canvas(300, 1200).guide().size == canvas.guide().size == (GUIDE // 2, GUIDE * 2)
    x, y = canvas.grid()
    assert x.shape == (1, 200) and y.shape == (50, 1)
    assert x[0, [0, -1]] == pytest.approx([0.005, 1.995]) and y[[0, -1], 0] == pytest.approx([0.005, 0.495])


def test_cover_is_the_area_of_a_polygon():
    canvas = Canvas(40, 40)
    cover = canvas.cover(box(0.25, 0.5, 0.6125, 1.0))
    assert cover.sum() / 1600 == pytest.approx(0.3625 * 0.5, abs=2e-3)
    assert cover[30, 10:24].min() == 1 and cover[30, 24] == pytest.approx(0.5, abs=0.02) and not cover[:20].any()
    assert canvas.cover(disc((0.5, 0.5), 0.3)).mean() == pytest.approx(np.pi * 0.09, rel=0.01)


def test_numbers_name_the_uppermost_polygon():
    over = Canvas(20, 20).number([box(0.1, 0.1, 0.8, 0.8), box(0.5, 0.5, 1, 1)])
    assert over[4, 4] == 1 and over[12, 12] == over[18, 18] == 2 and over[0, 0] == over[18, 2] == 0


def test_noise_has_unit_variance_and_is_the_same_at_every_size():
    fields = np.stack([Canvas(60, 90).noise(np.random.default_rng(k), 0.08) for k in range(60)])
    assert fields.dtype == np.float32
    assert abs(fields.std() - 1) < 0.05 and abs(fields.mean()) < 0.05
    small, large = (Canvas(n, 2 * n).noise(np.random.default_rng(5), 0.05) for n in (40, 160))
    assert np.abs(large.reshape(40, 4, 80, 4).mean((1, 3)) - small).max() < 0.15


def test_noise_finer_than_a_pixel_is_averaged():
    fine = [Canvas(n, n).noise(np.random.default_rng(0), 0.004).std() for n in (32, 512)]
    assert fine[0] < 0.3 * fine[1]


def test_points_fill_the_canvas():
    canvas = Canvas(50, 200)
    points = canvas.scatter(np.random.default_rng(0), 1000, 0.0)
    assert len(points) == pytest.approx(1000, rel=0.05)
    counts = np.histogram2d(*points.T, bins=(8, 2), range=((0, 2), (0, 0.5)))[0]
    assert counts.sum() == len(points) and counts.min() > 0.8 * len(points) / 16


def test_strokes_follow_the_field():
    canvas = Canvas(100, 100)
    x, y = canvas.grid()
    around = np.arctan2(y - 0.5, x - 0.5) + np.pi / 2
    line = trace(canvas, around, np.array([[0.8, 0.5]]), np.array([0.3]), 31)[0]
    assert np.hypot(*(line - 0.5).T) == pytest.approx(np.full(31, 0.3), abs=0.01)
    assert np.hypot(*np.diff(line, axis=0).T).sum() == pytest.approx(0.3)
    assert (line[15] == [0.8, 0.5]).all()


def test_a_ribbon_is_as_wide_as_told():
    line = np.stack([np.linspace(0.2, 0.8, 7), np.full(7, 0.5)], 1)
    assert _area(ribbon(line, np.full(7, 0.1))) == pytest.approx(0.06)


def test_a_sheet_lies_over_a_picture():
    ink = Ink(Canvas(20, 20))
    ink.lines([[(0, 0.5), (1, 0.5)]], [(1, 0, 0)], [0.2])
    ink.dots(np.array([[0.5, 0.9]]), 0.06, [(0, 0, 1)])
    picture = ink.over(np.full((20, 20, 3), 0.25, np.float32))
    assert picture[10, 10] == pytest.approx([1, 0, 0]) and picture[18, 10] == pytest.approx([0, 0, 1], abs=0.05)
    assert picture[2, 2] == pytest.approx([0.25] * 3) and picture[18, 2] == pytest.approx([0.25] * 3)


def test_ramps_pass_through_their_colours():
    palette = colours("000000 ff0000 ffffff")
    assert ramp(palette, np.array([-1, 0, 0.25, 0.5, 2])).tolist() == [
        [0, 0, 0],
        [0, 0, 0],
        [0.5, 0, 0],
        [1, 0, 0],
        [1, 1, 1],
    ]


def test_facets_share_out_the_canvas():
    facets = _split(np.random.default_rng(0), box(0, 0, 2, 0.5), 60)
    assert len(facets) == 60
    assert sum(map(_area, facets)) == pytest.approx(1) and min(map(_area, facets)) > 0
    assert _clip(box(0, 0, 1, 1), np.array([-1.0, 1, 1, -1])).tolist() == [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]
