import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from xferlib.viz import pictures


def pixels(picture):
    return np.asarray(picture)


def test_floats_become_bytes_and_are_clipped():
    image = torch.tensor([0.0, 0.5, 1.0, -3.0, 7.0]).expand(3, 1, 5)
    assert pixels(pictures.picture(image))[0, :, 0].tolist() == [0, 128, 255, 0, 255]


def test_grey_in_either_form_is_grey():
    grey = torch.rand(4, 6)
    one, two = pictures.picture(grey), pictures.picture(grey[None])
    assert one.size == (6, 4) and one.mode == "RGB"
    assert np.array_equal(pixels(one), pixels(two))
    assert np.array_equal(pixels(one)[..., 0], pixels(one)[..., 2])


def test_labels_get_the_colours_given():
    picture = pictures.picture(torch.tensor([[0, 1]]), np.array([[9, 8, 7], [1, 2, 3]], np.uint8))
    assert pixels(picture)[0].tolist() == [[9, 8, 7], [1, 2, 3]]
    assert pictures.picture(np.array([[0, 255]])).size == (2, 1)
    assert pictures.picture(torch.tensor([[True, False]])).size == (2, 1)


def test_labels_may_be_those_of_a_deep_png():
    labels = np.array([[0, 3, 255]], np.uint16)
    expected = pixels(pictures.picture(labels.astype(int)))
    assert np.array_equal(pixels(pictures.picture(labels)), expected)
    assert np.array_equal(pixels(pictures.picture(torch.from_numpy(labels))), expected)


def test_figures_are_drawn_and_closed():
    figure = plt.figure(figsize=(2, 1))
    assert pictures.picture(figure).size == (2 * pictures.FIGURE_DPI, pictures.FIGURE_DPI)
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (torch.rand(2, 4, 4), ValueError, r"\(2, 4, 4\)"),
        (torch.rand(1, 3, 4, 4), ValueError, r"\(1, 3, 4, 4\)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), ValueError, "torch.uint8"),
        (torch.full((3, 2, 2), float("nan")), ValueError, "nan or infinit"),
        ([1, 2], TypeError, "list"),
    ],
)
def test_errors_name_what_was_given(image, error, words):
    with pytest.raises(error, match=words):
        pictures.picture(image)


def test_noise_is_stored_as_jpeg_and_flat_colour_losslessly():
    noise = pictures.picture(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert pictures.encode(noise).mime == "image/jpeg"
    flat = pictures.picture(torch.arange(64).reshape(8, 8) % 3)
    file = pictures.encode(flat)
    assert file.mime == "image/png"
    assert np.array_equal(pixels(Image.open(io.BytesIO(file.data))), pixels(flat))
    assert file.uri.startswith("data:image/png;base64,iVBOR")


def test_quality_and_dense_colour_save_bytes():
    noise = pictures.picture(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)))
    sizes = [len(pictures.encode(noise, *options).data) for options in [(95,), (60,), (60, True)]]
    assert sizes[0] > sizes[1] > sizes[2]


def test_pictures_of_other_modes_keep_their_light():
    deep = Image.fromarray(np.full((2, 3), 30000, np.uint16))
    assert pixels(pictures.picture(deep))[0, 0].tolist() == [117] * 3  # 30000 of 65535
    floats = Image.fromarray(np.full((2, 3), 0.5, np.float32))
    assert pixels(pictures.picture(floats))[0, 0].tolist() == [128] * 3
    glass = Image.new("RGBA", (3, 2), (255, 0, 0, 0))
    assert pixels(pictures.picture(glass))[0, 0].tolist() == [255] * 3  # what cannot be seen is no red
