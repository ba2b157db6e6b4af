"""What restored pictures are measured by, against scikit-image and against values worked out by hand."""

import math

import numpy as np
import pytest
import skimage.color
import skimage.metrics
import torch

from xferlib.metrics.restoration import (
    checkerboard,
    chroma,
    colour_difference,
    detail,
    gradient_error,
    lab,
    luma_psnr,
    luma_ssim,
    psnr,
    smooth,
    ssim,
)


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    target = smooth(torch.rand(2, 3, 24, 31, generator=generator, dtype=torch.double), 1.0)
    return (target + 0.05 * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


def pixels(images):
    return images.permute(0, 2, 3, 1).numpy()


def test_psnr_by_hand_and_against_scikit_image(pair):
    one, zero = torch.full((1, 1, 2, 2), 0.1), torch.zeros(1, 1, 2, 2)
    assert psnr(one, zero, data_range=1).item() == pytest.approx(20)
    assert psnr(255 * one, zero, data_range=255).item() == pytest.approx(20)
    assert psnr(one, one, data_range=1).item() == math.inf
    oracle = [
        skimage.metrics.peak_signal_noise_ratio(y, x, data_range=1) for x, y in zip(*map(pixels, pair), strict=True)
    ]
    assert psnr(*pair, data_range=1).tolist() == pytest.approx(oracle)


@pytest.mark.parametrize("data_range", [1.0, 2.5])
def test_ssim_against_scikit_image(pair, data_range):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    oracle = [
        skimage.metrics.structural_similarity(x, y, data_range=data_range, **options)
        for x, y in zip(*map(pixels, pair), strict=True)
    ]
    assert ssim(*pair, data_range=data_range).tolist() == pytest.approx(oracle, abs=1e-6)


@pytest.mark.parametrize(("sigma", "window"), [(0.7, 5), (2.0, 15)])
def test_ssim_of_other_windows_against_scikit_image(pair, sigma, window):
    options = {"gaussian_weights": True, "sigma": sigma, "use_sample_covariance": False, "channel_axis": 2}
    oracle = [
        skimage.metrics.structural_similarity(x, y, data_range=1, **options)
        for x, y in zip(*map(pixels, pair), strict=True)
    ]
    assert ssim(*pair, data_range=1, window=window, sigma=sigma).tolist() == pytest.approx(oracle, abs=1e-6)


def test_ssim_is_symmetric_and_1_for_the_same(pair):
    images, targets = pair
    torch.testing.assert_close(ssim(targets, targets, data_range=1), torch.ones(2, dtype=torch.double))
    torch.testing.assert_close(ssim(images, targets, data_range=1), ssim(targets, images, data_range=1))
    grey = [each.mean(1, keepdim=True) for each in pair]
    replicated = [each.expand(-1, 3, -1, -1) for each in grey]
    torch.testing.assert_close(ssim(*grey, data_range=1), ssim(*replicated, data_range=1))


def test_ssim_of_flat_pictures_by_hand():
    one, other = (torch.full((1, 1, 11, 11), value, dtype=torch.double) for value in (0.5, 0.7))
    expected = (2 * 0.5 * 0.7 + 1e-4) / (0.25 + 0.49 + 1e-4)  # the structure of both is none, and equal
    assert ssim(one, other, data_range=1).item() == pytest.approx(expected, abs=1e-6)


def test_lab_against_scikit_image():
    colours = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    colours[..., :2] = torch.tensor([0.0, 1.0])
    np.testing.assert_allclose(pixels(lab(colours)), skimage.color.rgb2lab(pixels(colours)), atol=2e-4)


def test_lab_of_white_and_of_what_cannot_be_shown():
    white = torch.ones(1, 3, 1, 1)
    assert lab(white).flatten().tolist() == pytest.approx([100, 0, 0], abs=0.01)
    torch.testing.assert_close(lab(1.7 * white), lab(white))
    torch.testing.assert_close(lab(-white), lab(0 * white))


def test_colour_difference_against_scikit_image(pair):
    both = [skimage.color.rgb2lab(pixels(each)) for each in pair]
    np.testing.assert_allclose(colour_difference(*pair).numpy(), skimage.color.deltaE_cie76(*both), atol=1e-3)
    flat = [each * [0, 1, 1] for each in both]
    found = colour_difference(*pair, lightness=False)
    np.testing.assert_allclose(found.numpy(), skimage.color.deltaE_cie76(*flat), atol=1e-3)


def test_grey_has_no_chroma_and_brightness_no_colour():
    grey = torch.linspace(0, 1, 16).view(1, 1, 4, 4).expand(1, 3, 4, 4)
    assert chroma(grey).max() < 0.01
    assert colour_difference(grey, grey.flip(3), lightness=False).max() < 0.02
    assert colour_difference(grey, grey.flip(3)).max() > 10
    assert chroma(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)).item() == pytest.approx(104.55, abs=0.05)


def test_detail_of_the_target_of_a_blur_and_of_noise(pair):
    _, target = pair
    kept, false = detail(target, target)
    torch.testing.assert_close(kept, torch.ones_like(kept))
    assert false.max() < 1e-12
    half, none = detail(0.5 * target + 0.2, target)
    torch.testing.assert_close(half, torch.full_like(half, 0.5))
    assert none.max() < 1e-12 and (detail(smooth(target, 1.5), target)[0] < 0.5).all()
    noisy = target + 0.1 * torch.randn(target.shape, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    kept, false = detail(noisy, target)
    assert (kept - 1).abs().max() < 0.3 and false.min() > 0.5


@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0])
def test_energies_of_true_and_false_detail_add_up(pair, sigma):
    images, target = pair
    kept, false = detail(images, target, sigma)
    energies = [(each - smooth(each, sigma)).square().sum((1, 2, 3)) for each in pair]
    torch.testing.assert_close(kept**2 + false, energies[0] / energies[1])


def test_gradient_error_by_hand():
    image, target = torch.tensor([[[[0.0, 1.0], [2.0, 4.0]]]]), torch.zeros(1, 1, 2, 2)
    assert gradient_error(image, target).item() == (1 + 2) / 2 + (2 + 3) / 2
    assert gradient_error(image + 5, image).item() == 0


@pytest.mark.parametrize("period", [2, 4])
@pytest.mark.parametrize("axis", ["rows", "columns", "both", "crossed"])
def test_a_wave_has_its_energy_and_other_periods_none(period, axis):
    down, along = torch.meshgrid(*2 * [torch.arange(96, dtype=torch.double)], indexing="ij")
    phase = {"rows": down, "columns": along, "both": down + along, "crossed": down - along}[axis]
    wave = 0.1 * torch.cos(2 * math.pi / period * phase + (0 if period == 2 else 0.7))
    found = {p: checkerboard(wave[None, None], p)[0, 24:-24, 24:-24] for p in (2, 4)}
    expected = wave.square().mean().expand(48, 48)
    torch.testing.assert_close(found[period], expected, rtol=0.02, atol=0)
    assert all(energy.max() < 1e-3 * expected.max() for p, energy in found.items() if p != period)


def test_a_checkerboard_is_found_where_it_is_and_smooth_pictures_have_none():
    board = (-1.0) ** (torch.arange(64)[:, None] + torch.arange(64))
    picture = 0.5 + 0.2 * board * (torch.arange(64) < 32)
    energy = checkerboard(picture[None, None])[0]
    assert energy[:, :16].mean().item() == pytest.approx(0.04, rel=0.05)
    assert energy[:, 48:].max() < 1e-6
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    assert checkerboard(ramp)[..., 16:-16].max() < 1e-10 and checkerboard(0 * ramp + 0.4, 4).max() < 1e-10


@pytest.mark.parametrize("sigma", [3.0, 4.0, 6.0])
def test_a_checkerboard_is_sought_as_far_as_its_gaussian_reaches(sigma):
    board = (-1.0) ** (torch.arange(64)[:, None] + torch.arange(64)).double()
    energy = checkerboard((0.2 * board * (torch.arange(64) < 32))[None, None], sigma=sigma)[0, 32]
    weights = torch.exp(-0.5 * (torch.arange(-40, 41) / sigma).square())
    share = (weights[45:].sum() / weights.sum()).item()  # what lies 5 pixels to the left and further
    assert energy[36].item() == pytest.approx((0.2 * share) ** 2, rel=0.15)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_checkerboards_of_wide_pictures_in_half_precision(kind):
    wave = 0.5 + 0.1 * torch.cos(math.pi * torch.arange(1200)).expand(1, 1, 16, -1)
    found, expected = checkerboard(wave.to(kind)), checkerboard(wave)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.05, atol=1e-9)


def test_smoothing_keeps_what_is_flat_and_what_a_picture_adds_up_to():
    flat = torch.full((1, 2, 9, 12), 0.3)
    torch.testing.assert_close(smooth(flat, 2.0), flat)
    dot = torch.zeros(1, 1, 33, 33)
    dot[..., 16, 16] = 1
    blurred = smooth(dot, 1.5)[0, 0]
    assert blurred.sum().item() == pytest.approx(1)
    assert blurred[16, 16].item() == pytest.approx(1 / (2 * math.pi * 1.5**2), rel=1e-3)


def test_errors_say_what_is_wrong():
    image = torch.rand(1, 3, 12, 12)
    with pytest.raises(TypeError, match="data_range"):
        psnr(image, image)
    with pytest.raises(TypeError, match="data_range"):
        ssim(image, image)
    with pytest.raises(ValueError, match=r"data range 0 is not above 0; it is 1 for pictures in \[0, 1\]"):
        psnr(image, image, data_range=0)
    with pytest.raises(ValueError, match=r"\(3, 12, 12\) and \(3, 12, 12\); expected \(B, C, H, W\) twice"):
        psnr(image[0], image[0], data_range=1)
    with pytest.raises(ValueError, match=r"\(1, 3, 12, 12\) and \(1, 3, 12, 10\)"):
        ssim(image, image[..., :10], data_range=1)
    with pytest.raises(ValueError, match="pictures of 10x12 are smaller than the window of 11"):
        ssim(image[..., :10, :], image[..., :10, :], data_range=1)
    with pytest.raises(ValueError, match=r"window 4 of sigma 1\.5; the window must be odd"):
        ssim(image, image, data_range=1, window=4)
    with pytest.raises(ValueError, match=r"\(1, 1, 4, 4\); expected RGB"):
        lab(torch.rand(1, 1, 4, 4))
    with pytest.raises(ValueError, match="period 1"):
        checkerboard(image, 1)
    with pytest.raises(ValueError, match="sigma is 0"):
        smooth(image, 0)


def rgb_bytes(seed):
    return torch.randint(256, (1, 3, 24, 30), generator=torch.Generator().manual_seed(seed)).double() / 255


@pytest.mark.parametrize("border", [0, 2, 4])
def test_the_score_of_luma_against_scikit_image(border):
    pair = rgb_bytes(0), rgb_bytes(1)
    kept = (slice(border, 24 - border), slice(border, 30 - border))
    lumas = [skimage.color.rgb2ycbcr(pixels(each)[0])[..., 0][kept] for each in pair]
    oracle = skimage.metrics.peak_signal_noise_ratio(*lumas[::-1], data_range=255)
    assert luma_psnr(*pair, border).item() == pytest.approx(oracle, abs=1e-9)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    oracle = skimage.metrics.structural_similarity(*lumas, **options)
    assert luma_ssim(*pair, border).item() == pytest.approx(oracle, abs=1e-9)


def test_the_score_of_luma_by_hand():
    dark, light = torch.full((1, 3, 12, 12), 100 / 255), torch.full((1, 3, 12, 12), 110 / 255)
    in_rgb = psnr(light, dark, data_range=1).item()
    assert in_rgb == pytest.approx(20 * math.log10(25.5), abs=1e-4)
    assert luma_psnr(light, dark, 0).item() == pytest.approx(in_rgb + 20 * math.log10(255 / 219), abs=1e-3)
    green, target = 0 * dark, 0 * dark
    green[:, 1] = 10 / 255  # of luma's 219 steps, green has 128.553 and blue 24.966
    assert luma_psnr(green, target, 0).item() == pytest.approx(20 * math.log10(255 * 25.5 / 128.553), abs=1e-3)
    assert luma_psnr(green.roll(1, 1), target, 0).item() == pytest.approx(
        20 * math.log10(255 * 25.5 / 24.966), abs=1e-3
    )


def test_the_border_does_not_count_and_what_a_byte_cannot_hold_does_not():
    target = rgb_bytes(0)
    spoilt = target.clone()
    spoilt[..., :3, :], spoilt[..., -3:] = 0, 1
    assert luma_psnr(spoilt, target, 3).item() == math.inf and luma_ssim(spoilt, target, 3).item() == pytest.approx(1)
    assert luma_psnr(spoilt, target, 2).item() < 40
    assert luma_psnr(target + 0.4 / 255, target, 0).item() == math.inf
    white = torch.ones_like(target)
    assert luma_psnr(1.5 * white, white, 0).item() == math.inf


def test_rounding_luma_once_more_as_matlab_does_moves_the_score_by_hundredths(pair):
    rgb = [(255 * each.clamp(0, 1)).round() / 255 for each in pair]
    lumas = [torch.from_numpy(skimage.color.rgb2ycbcr(pixels(each))[..., 0]).round()[:, None] for each in rgb]
    difference = luma_psnr(*pair, 0) - psnr(*lumas, data_range=255)
    assert difference.abs().max() < 0.05


@pytest.mark.parametrize("measure", [luma_psnr, luma_ssim])
def test_the_score_of_luma_refuses(measure):
    picture = torch.rand(1, 3, 20, 30)
    for border in (10, -1):
        with pytest.raises(ValueError, match=f"border of {border} pixels of 20x30"):
            measure(picture, picture, border)
    with pytest.raises(ValueError, match=r"shape \(1, 4, 20, 30\)"):
        measure(torch.rand(1, 4, 20, 30), picture, 0)
    with pytest.raises(ValueError, match=r"\(1, 1, 20, 30\) and \(1, 1, 20, 26\)"):
        measure(picture, picture[..., 2:-2], 0)


@pytest.mark.parametrize("grey", [0.3, 0.7, 1.0])
def test_a_flat_target_has_no_detail_to_keep(grey):
    flat = torch.full((1, 3, 24, 24), grey)
    kept, false = detail(torch.rand(1, 3, 24, 24), flat)
    assert kept.isnan().all() and false.isnan().all()
    faint = flat + 1e-3 * torch.rand(1, 3, 24, 24)
    assert detail(faint, faint)[0].item() == pytest.approx(1)


@pytest.mark.parametrize(
    "measure",
    [
        lambda images: psnr(images, images, data_range=255),
        lambda images: ssim(images, images, data_range=255),
        lambda images: luma_psnr(images, images, border=0),
        lambda images: colour_difference(images, images),
        lab,
        chroma,
    ],
)
def test_bytes_are_refused_with_the_way_out(measure):
    with pytest.raises(ValueError, match=r"torch.uint8; expected floats: images / 255"):
        measure(torch.full((1, 3, 16, 16), 200, dtype=torch.uint8))


@pytest.mark.parametrize("data_range", [1, 255])
def test_halves_are_measured_as_float32(data_range):
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(1, 3, 24, 24, generator=generator)
    near = true + 0.002 * torch.randn(true.shape, generator=generator)
    halves = [(data_range * each).half() for each in (near, true)]
    expected = [each.float() for each in halves]
    for measure in (psnr, ssim):
        found = measure(*halves, data_range=data_range)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, measure(*expected, data_range=data_range))
    assert ssim(halves[1], halves[1], data_range=data_range) == 1
    luma = luma_psnr(*(each / data_range for each in halves), border=2)
    assert luma.isfinite() and luma > 50


@pytest.mark.parametrize(
    "measure",
    [
        lambda images, targets: ssim(images, targets, data_range=1),
        lambda images, targets: luma_ssim(images, targets, 0),
        lambda images, targets: colour_difference(images, targets),
        lambda images, targets: torch.stack(detail(images, targets)),
        lambda images, targets: checkerboard(images),
        lambda images, targets: smooth(images, 1.0),
        lambda images, targets: lab(images),
    ],
)
def test_autocast_rounds_no_measure(measure):
    images, targets = torch.rand(2, 2, 3, 24, 30, generator=torch.Generator().manual_seed(0))
    expected = measure(images, targets)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(measure(images, targets), expected)


def test_an_empty_batch_has_no_detail_and_a_line_of_pixels_no_gradient():
    empty = torch.empty(0, 3, 16, 16)
    assert [each.shape for each in detail(empty, empty)] == [(0,), (0,)]
    line = torch.rand(1, 3, 1, 8)
    with pytest.raises(ValueError, match="pictures of 1x8; differences take 2 pixels"):
        gradient_error(line, line)
