"""Small pictures as cameras make them: each kind is what it says, and the picture stays where it is."""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator

from xferlib.data import cameras, photos
from xferlib.metrics.restoration import smooth
from xferlib.ops.degrade import downscale, to_bytes

SHARES = ("BICUBIC", "ALIASED", "AVERAGED")
REDUCTIONS = {
    "BICUBIC": lambda image: downscale(image, 4),
    "ALIASED": lambda image: F.interpolate(image, scale_factor=1 / 4, mode="bicubic"),
    "AVERAGED": lambda image: image.unflatten(2, (-1, 4)).unflatten(4, (-1, 4)).mean((3, 5)),
    "out of focus": lambda image: downscale(smooth(image, 2.0), 4),
}


@pytest.fixture
def image():
    return photos.square(photos.load("chelsea"), 96)


def only(monkeypatch, kind=None, noisy=0.0, compressed=0.0):
    for name in SHARES:
        monkeypatch.setattr(cameras, name, float(name == kind))
    monkeypatch.setattr(cameras, "FOCUS", (2.0, 2.0))
    monkeypatch.setattr(cameras, "NOISY", noisy)
    monkeypatch.setattr(cameras, "COMPRESSED", compressed)


def snapshot(image, seed=0):
    return cameras.snapshot(image, 4, Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_a_picture_is_reduced_as_it_says(monkeypatch, image, kind):
    only(monkeypatch, kind)
    apart = (snapshot(image) - to_bytes(REDUCTIONS[kind](image[None]))[0]).abs()
    assert apart.max() < 1.01 / 255 and apart.mean() < 1e-4  # rounding may fall on either side


@pytest.mark.parametrize(
    ("draw", "kind"),
    [
        (0.0, "BICUBIC"),
        (0.49, "BICUBIC"),
        (0.51, "ALIASED"),
        (0.69, "ALIASED"),
        (0.71, "AVERAGED"),
        (0.84, "AVERAGED"),
        (0.86, "out of focus"),
        (0.99, "out of focus"),
    ],
)
def test_half_are_reduced_as_in_papers_a_fifth_without_antialias(monkeypatch, image, draw, kind):
    monkeypatch.setattr(cameras, "FOCUS", (2.0, 2.0))
    found = cameras._reduced(image[None], 4, draw, Generator())
    torch.testing.assert_close(found, REDUCTIONS[kind](image[None]), atol=1e-6, rtol=0)


def test_a_third_have_neither_noise_nor_jpeg(monkeypatch, image):
    only(monkeypatch, "BICUBIC", cameras.NOISY, cameras.COMPRESSED)
    plain = to_bytes(downscale(image[None], 4))[0]
    untouched = sum(torch.equal(snapshot(image, seed), plain) for seed in range(400)) / 400
    assert 0.28 < untouched < 0.42  # 0.7 * 0.5


def test_noise_is_grey_or_coloured_and_at_most_as_strong_as_named(monkeypatch):
    only(monkeypatch, "BICUBIC", noisy=1.0)
    flat, grey, strengths = torch.full((3, 128, 128), 0.5), 0, []
    for seed in range(60):
        noise = snapshot(flat, seed) - flat[:, ::4, ::4]
        grey += int(torch.equal(noise[0], noise[1]))
        strengths.append(noise.std().item())
    assert 18 < grey < 42
    assert max(strengths) < 1.1 * cameras.NOISE and max(strengths) > 0.8 * cameras.NOISE
    assert min(strengths) < 0.2 * cameras.NOISE


def test_half_of_all_have_been_jpeg_files_of_qualities_within_the_range(monkeypatch, image):
    qualities = []
    monkeypatch.setattr(cameras, "jpeg", lambda small, quality: qualities.append(quality) or small)
    for seed in range(300):
        snapshot(image, seed)
    assert 120 < len(qualities) < 180
    assert min(qualities) >= 40 and max(qualities) <= 98 and max(qualities) - min(qualities) > 50


def test_snapshots_are_bytes_and_depend_on_the_generator_alone(image):
    for seed in range(8):
        one = snapshot(image, seed)
        assert one.shape == (3, 24, 24) and torch.equal(one, to_bytes(one))
        assert torch.equal(one, snapshot(image, seed))
    assert not torch.equal(snapshot(image, 0), snapshot(image, 1))


def test_sides_that_the_factor_does_not_divide_are_refused(image):
    with pytest.raises(ValueError, match=r"factor 4 does not divide \(96, 95\); see ops.degrade.modcrop"):
        snapshot(image[:, :, :95])


@pytest.mark.parametrize("factor", [0, -4])
def test_a_factor_below_one_is_refused(image, factor):
    with pytest.raises(ValueError, match=f"factor {factor} is not a whole number of at least 1"):
        cameras.snapshot(image, factor, Generator())


def test_focus_is_lost_by_any_blur_of_the_range(monkeypatch, image):
    blurs = []
    monkeypatch.setattr(cameras, "smooth", lambda images, sigma: blurs.append(sigma) or images)
    for seed in range(100):
        cameras._reduced(image[None], 4, 0.9, Generator().manual_seed(seed))
    assert 0.5 <= min(blurs) < 0.6 and 2.4 < max(blurs) <= 2.5


def test_noise_comes_before_the_jpeg_file(monkeypatch):
    only(monkeypatch, "BICUBIC", noisy=1.0, compressed=1.0)
    given = []
    monkeypatch.setattr(cameras, "jpeg", lambda small, quality: given.append(small.std().item()) or small)
    snapshot(torch.full((3, 64, 64), 0.5))
    assert given[0] > 1e-4


def test_a_jpeg_file_loses_more_the_lower_its_quality(image):
    errors = [(cameras.jpeg(image, quality) - image).square().mean().item() for quality in (95, 75, 40, 10)]
    assert errors == sorted(errors) and 0 < errors[0] < 1e-3 < errors[3]
    assert cameras.jpeg(image, 90).shape == image.shape


def test_a_jpeg_file_keeps_light_and_shares_colour_among_four_pixels():
    stripes = torch.zeros(3, 32, 32)
    stripes[0, :, ::2] = 0.6
    stripes[2, :, 1::2] = 0.6
    found = cameras.jpeg(stripes, 95)
    assert (found[0] - found[2]).abs().mean() < 0.1  # red and blue by turns are gone
    grey = torch.zeros(1, 32, 32)
    grey[:, :, ::2] = 0.6
    assert (cameras.jpeg(grey, 95) - grey).abs().max() < 0.05


def test_no_pixel_is_lost_where_the_factor_has_no_exact_inverse():
    aliased = cameras.BICUBIC + cameras.ALIASED / 2
    assert cameras._reduced(torch.rand(1, 3, 49, 98), 49, aliased, Generator()).shape == (1, 3, 1, 2)
