"""Measures of one picture alone, against scikit-image and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import blur_effect, shannon_entropy

from xferlib.data import photos
from xferlib.metrics.no_reference import blur, entropy
from xferlib.metrics.restoration import smooth


@pytest.fixture(scope="module")
def greys():
    return torch.stack([photos.square(photos.load(name), 96).mean(0, keepdim=True) for name in ("chelsea", "china")])


@pytest.mark.parametrize("window", [3, 11, 15])
def test_blur_is_that_of_scikit_image(greys, window):
    expected = [blur_effect(grey[0].double().numpy(), h_size=window) for grey in greys]
    torch.testing.assert_close(blur(greys.double(), window), torch.tensor(expected), atol=1e-9, rtol=0)
    torch.testing.assert_close(blur(greys, window).double(), torch.tensor(expected), atol=1e-5, rtol=0)


def test_blur_takes_the_worse_axis(greys):
    rows = torch.nn.functional.avg_pool2d(greys, (7, 1), 1)
    assert (blur(rows) > blur(greys) + 0.1).all()
    torch.testing.assert_close(blur(rows), blur(rows.mT))


def test_the_more_a_picture_is_blurred_the_higher_its_blur(greys):
    found = [blur(smooth(greys, sigma)) for sigma in (0.7, 1.5, 3.0)]
    assert (found[0] > blur(greys)).all() and (found[1] > found[0]).all() and (found[2] > found[1]).all()


def test_blur_does_not_depend_on_range_or_brightness(greys):
    torch.testing.assert_close(blur(greys.double() * 0.3 + 0.2), blur(greys.double()))


def test_blur_of_a_flat_picture_is_not_known(greys):
    flat = torch.full((1, 1, 20, 20), 0.5)
    assert blur(flat).isnan().all()
    assert not blur(greys).isnan().any()


def test_a_colour_picture_counts_as_its_grey():
    image = photos.square(photos.load("chelsea"), 64)[None].double()
    grey = (image * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(blur(image), blur(grey), atol=1e-6, rtol=0)
    torch.testing.assert_close(entropy(image), entropy(grey), atol=1e-2, rtol=0)


def test_entropy_is_that_of_scikit_image(greys):
    levels = (greys * 255).round()
    expected = [shannon_entropy(level.numpy()) for level in levels]
    torch.testing.assert_close(entropy(levels / 255).double(), torch.tensor(expected), atol=1e-5, rtol=0)


@given(bits=st.integers(0, 8))
@settings(max_examples=9)
def test_entropy_of_equally_many_greys_is_counted_in_bits(bits):
    levels = torch.arange(256).div(2 ** (8 - bits), rounding_mode="floor").view(1, 1, 16, 16)
    assert entropy(levels / 255.0).item() == pytest.approx(bits, abs=1e-6)


def test_entropy_does_not_see_where_pixels_are(greys):
    order = torch.from_numpy(np.random.default_rng(0).permutation(96 * 96))
    shuffled = greys.flatten(2)[..., order].view_as(greys)
    torch.testing.assert_close(entropy(shuffled), entropy(greys))


@pytest.mark.parametrize("measure", [blur, entropy])
@pytest.mark.parametrize(
    ("shape", "message"),
    [((3, 20, 20), r"\(3, 20, 20\)"), ((1, 4, 20, 20), r"alpha channel"), ((0, 3, 20, 20), "shape")],
)
def test_what_is_no_picture_is_refused(measure, shape, message):
    with pytest.raises(ValueError, match=message):
        measure(torch.rand(shape))


@pytest.mark.parametrize(("window", "size", "message"), [(4, 20, "window 4"), (1, 20, "window 1"), (11, 10, "10x10")])
def test_a_window_that_does_not_fit_is_refused(window, size, message):
    with pytest.raises(ValueError, match=message):
        blur(torch.rand(1, 1, size, size), window)


def test_bytes_are_refused_with_the_way_out():
    for measure in (blur, entropy):
        with pytest.raises(ValueError, match=r"torch.uint8; expected floats: images / 255"):
            measure(torch.full((1, 3, 32, 32), 200, dtype=torch.uint8))


def test_entropy_of_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="nan or infinity"):
        entropy(torch.full((1, 3, 4, 4), float("nan")))


def test_autocast_rounds_no_edge(greys):
    expected = blur(greys)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(blur(greys), expected)
