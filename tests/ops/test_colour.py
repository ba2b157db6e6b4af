import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2ycbcr, ycbcr2rgb

from xferlib.ops.colour import from_light, from_ycbcr, luminance, to_light, to_ycbcr


@pytest.fixture
def colours():
    return torch.rand(2, 3, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.double)


def of(*colour):
    return torch.tensor(colour, dtype=torch.double).view(1, 3, 1, 1)


def test_luma_is_the_formula_of_the_papers(colours):
    red, green, blue = colours.unbind(1)
    luma = 16 + 65.481 * red + 128.553 * green + 24.966 * blue
    torch.testing.assert_close(255 * to_ycbcr(colours)[:, 0], luma)


@pytest.mark.parametrize(
    ("colour", "bytes_"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((1, 1, 1), (235, 128, 128)),
        ((0.5, 0.5, 0.5), (125.5, 128, 128)),
        ((1, 0, 0), (81.481, 90.203, 240)),
        ((0, 0, 1), (40.966, 240, 109.786)),
        ((1, 1, 0), (210.034, 16, 146.214)),
    ],
)
def test_colours_by_hand(colour, bytes_):
    assert (255 * to_ycbcr(of(*colour))).flatten().tolist() == pytest.approx(bytes_, abs=1e-3)


def test_against_scikit_image(colours):
    theirs = rgb2ycbcr(colours.numpy(), channel_axis=1)  # its matrix has three digits
    np.testing.assert_allclose(255 * to_ycbcr(colours).numpy(), theirs, atol=1e-3)
    np.testing.assert_allclose(from_ycbcr(colours).numpy(), ycbcr2rgb(255 * colours.numpy(), channel_axis=1), atol=1e-4)


def test_pillow_takes_the_full_range():
    pixels = torch.randint(256, (9, 11, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    full = np.asarray(Image.fromarray(pixels.numpy()).convert("YCbCr")).astype(float)
    studio = 255 * to_ycbcr(pixels.permute(2, 0, 1)[None] / 255)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(16 + 219 / 255 * full[..., 0], studio[..., 0], atol=1)
    np.testing.assert_allclose(128 + 224 / 255 * (full[..., 1:] - 128), studio[..., 1:], atol=1)


def test_back_and_forth(colours):
    torch.testing.assert_close(from_ycbcr(to_ycbcr(colours)), colours)
    torch.testing.assert_close(to_ycbcr(from_ycbcr(colours)), colours)
    torch.testing.assert_close(from_light(to_light(colours)), colours)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_every_colour_has_a_place_in_the_signal(red, green, blue):
    y, *differences = (255 * to_ycbcr(of(red, green, blue))).flatten().tolist()
    assert 16 - 1e-9 <= y <= 235 + 1e-9
    assert all(16 - 1e-9 <= each <= 240 + 1e-9 for each in differences)


def test_neither_changes_its_argument(colours):
    before = colours.clone()
    to_ycbcr(colours)
    from_ycbcr(colours)
    assert torch.equal(colours, before)


@pytest.mark.parametrize("convert", [to_ycbcr, from_ycbcr])
@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 1, 8, 8), (3, 8, 8)])
def test_other_channels_are_refused(convert, shape):
    with pytest.raises(ValueError, match=rf"shape \({shape[0]}, {shape[1]}, .*expected .* of \(B, 3, H, W\)"):
        convert(torch.rand(shape))


def test_grey_needs_three_channels():
    with pytest.raises(ValueError, match=r"images of shape \(1, 4, 2, 2\); expected RGB"):
        luminance(torch.rand(1, 4, 2, 2))


def test_below_black_light_has_a_gradient():
    image = torch.tensor([-0.2, 0.0, 0.5], requires_grad=True)
    (gradient,) = torch.autograd.grad(to_light(image).sum(), image)
    torch.testing.assert_close(gradient, torch.tensor([1 / 12.92, 1 / 12.92, 2.4 / 1.055 * (0.555 / 1.055) ** 1.4]))
