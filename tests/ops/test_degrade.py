"""The conventions of super-resolution: how a picture becomes smaller, larger, and bytes."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xferlib.ops.degrade import downscale, modcrop, to_bytes, upscale
from xferlib.ops.resample import resize_bicubic

SIZES = [(24, 12), (24, 8), (24, 6), (24, 48), (24, 72), (24, 96), (24, 17), (23, 31), (9, 9)]


def keys(x):
    """Evaluate the cubic kernel with a = -0.5 as it is printed, equation 15."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def imresize(old, new):
    """Write MATLAB's imresize of a line as a matrix: kernel, antialiasing, and borders mirrored with their pixel."""
    matrix = np.zeros((new, old))
    shrink = min(1, new / old)
    for i in range(new):
        centre = (i + 0.5) * old / new - 0.5
        first = math.floor(centre - 2 / shrink)
        weights = {j: keys((j - centre) * shrink) for j in range(first, first + math.ceil(4 / shrink) + 2)}
        for j, weight in weights.items():
            mirrored = j % (2 * old)
            matrix[i, min(mirrored, 2 * old - 1 - mirrored)] += weight / sum(weights.values())
    return matrix


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_away_from_the_border_bicubic_is_matlabs(old, new):
    picture = noise(1, 1, old, old)
    matlab = imresize(old, new) @ picture[0, 0].numpy() @ imresize(old, new).T
    ours = resize_bicubic(picture, (new, new))[0, 0].numpy()
    edge = math.ceil(2.5 * max(1, new / old))  # a kernel reaches 2 pixels of the coarser grid
    inner = slice(edge, new - edge)
    if new > 2 * edge:
        np.testing.assert_allclose(ours[inner, inner], matlab[inner, inner], atol=1e-6)
    assert abs(ours - matlab).max() <= 0.06


def test_the_matrix_of_the_test_by_hand():
    # Half the size: the kernel, twice as wide, at distances .5, 1.5, 2.5 and 3.5 of the pixels left and right.
    taps = [keys(d / 2) / 2 for d in (0.5, 1.5, 2.5, 3.5)]
    assert taps == [111 / 256, 29 / 256, -9 / 256, -3 / 256]
    assert imresize(20, 10)[5, 7:15] == pytest.approx([*taps[::-1], *taps])


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_bicubic_is_pillows(old, new):
    picture = noise(1, 1, old, old + 3).float()
    pillow = Image.fromarray(picture[0, 0].numpy()).resize((new + 2, new), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(resize_bicubic(picture, (new, new + 2))[0, 0].numpy(), np.asarray(pillow), atol=2e-6)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_of_bytes_bicubic_is_pillows_within_rounding(old, new):
    pixels = (64 + 128 * noise(old, old, 3)).numpy().astype(np.uint8)  # none is cut off
    pillow = np.asarray(Image.fromarray(pixels).resize((new, new), Image.Resampling.BICUBIC)).astype(int)
    ours = to_bytes(resize_bicubic(torch.tensor(pixels).permute(2, 0, 1)[None] / 255, (new, new)))
    ours = (255 * ours[0].permute(1, 2, 0)).round().int().numpy()
    assert abs(ours - pillow).max() <= 1  # Pillow rounds between its two passes, too


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("old", [(1, 1), (4, 1), (1, 6), (3, 7)])
def test_of_the_smallest_pictures_too(old, size):
    picture = noise(1, 1, *old).float()
    pillow = Image.fromarray(picture[0, 0].numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
    np.testing.assert_allclose(resize_bicubic(picture, size)[0, 0].numpy(), np.asarray(pillow), atol=2e-6)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_without_antialias_it_is_another_picture(factor):
    picture = noise(1, 1, 24 * factor, 24 * factor)
    aliased = F.interpolate(picture, (24, 24), mode="bicubic", antialias=False)
    assert 0.25 < (aliased - downscale(picture, factor)).abs().max() < 0.8
    # What the small picture cannot hold is taken away, and without antialias comes back as what was not there.
    waves = 0.5 + 0.5 * torch.cos(2 * torch.pi * 0.8 / factor * torch.arange(24 * factor, dtype=torch.double))
    stripes = waves.expand(1, 1, 24 * factor, -1)
    aliased = F.interpolate(stripes, (24, 24), mode="bicubic", antialias=False)
    assert downscale(stripes, factor)[..., 4:-4].std() < 0.05 < 0.15 < aliased[..., 4:-4].std()


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_flat_pictures_stay_flat_and_ramps_ramps(factor):
    flat = torch.full((2, 3, 12 * factor, 24 * factor), 0.3, dtype=torch.double)
    torch.testing.assert_close(upscale(downscale(flat, factor), factor), flat)
    ramp = torch.arange(24 * factor, dtype=torch.double).expand(1, 1, 12 * factor, -1)
    small = torch.arange(24, dtype=torch.double) * factor + (factor - 1) / 2  # the mean of a pixel's factor columns
    torch.testing.assert_close(downscale(ramp, factor)[..., 4:-4], small.expand(1, 1, 12, -1)[..., 4:-4])
    large = upscale(small.expand(1, 1, 12, -1), factor)
    torch.testing.assert_close(large[..., 4 * factor : -4 * factor], ramp[..., 4 * factor : -4 * factor])


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(5, 40), st.integers(5, 40), st.integers(0, 99))
def test_it_does_the_same_to_mirrored_turned_and_scaled_pictures(factor, height, width, seed):
    picture = modcrop(noise(1, 2, height, width, seed=seed), factor)
    small = downscale(picture, factor)
    assert small.shape[-2:] == (height // factor, width // factor)
    assert upscale(small, factor).shape == picture.shape
    torch.testing.assert_close(downscale(picture.flip(-1), factor), small.flip(-1))
    torch.testing.assert_close(downscale(picture.mT, factor), small.mT)
    torch.testing.assert_close(downscale(2 * picture - 1, factor), 2 * small - 1)


def test_the_factor_1_changes_nothing():
    picture = noise(1, 3, 7, 9)
    torch.testing.assert_close(downscale(picture, 1), picture)
    torch.testing.assert_close(upscale(picture, 1), picture)
    assert torch.equal(modcrop(picture, 1), picture)


def test_a_gradient_flows():
    assert torch.autograd.gradcheck(lambda x: downscale(x, 2), noise(1, 1, 6, 4).requires_grad_())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_as_it_was_given(kind):
    picture = noise(1, 3, 12, 8).to(kind)
    assert torch.equal(downscale(picture, 2), downscale(picture.float(), 2).to(kind))
    assert torch.equal(resize_bicubic(picture, (5, 1)), resize_bicubic(picture.float(), (5, 1)).to(kind))


@pytest.mark.parametrize("factor", [2, 2.0, np.int64(2), np.float32(2)])
def test_a_whole_factor_may_be_of_any_type(factor):
    picture = noise(1, 3, 9, 8)
    assert torch.equal(modcrop(picture, factor), modcrop(picture, 2))
    assert torch.equal(downscale(modcrop(picture, 2), factor), downscale(modcrop(picture, 2), 2))
    assert torch.equal(upscale(picture, factor), upscale(picture, 2))


def test_modcrop_keeps_the_corner():
    pixels = torch.arange(5 * 7).view(5, 7)
    assert torch.equal(modcrop(pixels, 3), pixels[:3, :6])
    assert modcrop(noise(2, 4, 481, 321), 4).shape == (2, 4, 480, 320)


def test_to_bytes_by_hand():
    values = torch.tensor([-0.2, 0, 0.4 / 255, 0.6 / 255, 100.2 / 255, 1.3])
    torch.testing.assert_close(255 * to_bytes(values), torch.tensor([0.0, 0, 0, 1, 100, 255]))
    assert torch.equal(to_bytes(to_bytes(noise(3, 5))), to_bytes(noise(3, 5)))
    assert torch.equal(torch.arange(256) / 255, to_bytes(torch.arange(256) / 255))


@pytest.mark.parametrize(("size", "factor"), [((481, 320), 4), ((8, 9), 2), ((3, 3), 4)])
def test_factors_that_do_not_divide_are_refused(size, factor):
    with pytest.raises(ValueError, match=rf"factor {factor} .* {size[0]}x{size[1]}; modcrop\(images, {factor}\)"):
        downscale(torch.rand(1, 3, *size), factor)


@pytest.mark.parametrize("size", [(3, 9), (9, 3), (0, 9)])
def test_modcrop_refuses_pictures_smaller_than_the_factor(size):
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} are smaller than the factor 4"):
        modcrop(torch.rand(1, 3, *size), 4)


@pytest.mark.parametrize("change", [modcrop, downscale, upscale])
@pytest.mark.parametrize("factor", [0, -2, 1.5, math.inf, math.nan])
def test_factors_that_are_none_are_refused(change, factor):
    with pytest.raises(ValueError, match=f"factor {factor} is not a whole number"):
        change(torch.rand(1, 3, 8, 8), factor)


def test_bad_pictures_and_sizes_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3, 8, 8\).*One picture is \[None\]"):
        upscale(torch.rand(3, 8, 8), 2)
    with pytest.raises(ValueError, match=r"uint8.*divide by 255"):
        downscale(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 2)
    with pytest.raises(ValueError, match="at least one pixel"):
        upscale(torch.rand(1, 3, 0, 8), 2)
    with pytest.raises(ValueError, match="size 0x4 holds no pixel"):
        resize_bicubic(torch.rand(1, 3, 8, 8), (0, 4))


def test_bytes_are_not_rounded_to_bytes():
    with pytest.raises(ValueError, match=r"images are torch.uint8; expected floats"):
        to_bytes(torch.tensor([0, 1, 128, 255], dtype=torch.uint8))
