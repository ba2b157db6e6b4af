import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from xferlib import viz
from xferlib.viz.compare import DENSITY


@pytest.fixture
def photo():
    return torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))


def bytes_of(image):
    return (image * 255).round().byte().permute(1, 2, 0).numpy()


def test_small_images_are_enlarged_by_a_whole_factor_exactly(photo):
    sheet = np.asarray(viz.grid([photo], width=60))
    factor = DENSITY * 60 // 30
    assert sheet.shape == (factor * 20, factor * 30, 3)
    assert np.array_equal(sheet, bytes_of(photo).repeat(factor, 0).repeat(factor, 1))


@pytest.mark.parametrize(("height", "factor"), [(4, 60), (60, 4), (61, 3), (300, 1)])
def test_tall_images_are_enlarged_to_twice_the_width_of_their_place_at_most(height, factor):
    sheet = viz.grid([torch.rand(3, height, 2)], width=60)
    assert sheet.size == (2 * factor, height * factor)


def test_columns_titles_and_rows(photo):
    plain = viz.grid([photo] * 5, columns=2, width=124)
    titled = viz.grid([photo] * 5, ["left", "right"], columns=2, width=124)
    each = viz.grid([photo] * 5, list("abcde"), columns=2, width=124)
    assert plain.width == titled.width == each.width
    line = titled.height - plain.height
    assert line > 0 and each.height == plain.height + 3 * line
    # The fifth picture stands at the bottom left, its neighbour's place stays white.
    bottom = np.asarray(each)[-10:]
    assert (bottom[:, -10:] == 255).all() and (bottom[:, :10] != 255).any()


def test_a_mapping_gives_the_titles(photo):
    assert np.array_equal(np.asarray(viz.grid({"a": photo, "b": photo})), np.asarray(viz.grid([photo] * 2, ["a", "b"])))


def test_large_images_are_reduced_labels_without_new_classes():
    labels = torch.randint(0, 2, (300, 500), generator=torch.Generator().manual_seed(0))
    palette = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    sheet = np.asarray(viz.grid([labels], palette=palette, width=100))
    assert sheet.shape == (DENSITY * 60, DENSITY * 100, 3)
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) == 2


def test_the_legend_names_the_classes_that_are_there():
    labels = torch.zeros(10, 10, dtype=torch.long)
    palette = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    labels[0] = 255
    without = viz.grid([labels], palette=palette, width=200)
    sheet = np.asarray(viz.grid([labels], palette=palette, names=["a", "b", "c"], width=200))
    below = sheet[without.height :].reshape(-1, 3)
    assert (below == [255, 0, 0]).all(1).any()
    assert not (below == [0, 255, 0]).all(1).any()


def test_the_legend_of_labels_on_another_device(elsewhere):
    labels, palette = torch.eye(10, dtype=torch.long), np.array([[255, 0, 0], [0, 255, 0]], np.uint8)
    sheets = [viz.grid([x], palette=palette, names=["off", "on"]) for x in (elsewhere(labels), labels)]
    assert np.array_equal(*map(np.asarray, sheets))


def test_the_legend_of_a_mask():
    mask, palette = torch.eye(10, dtype=torch.bool), np.array([[255, 0, 0], [0, 255, 0]], np.uint8)
    sheet = np.asarray(viz.grid([mask], palette=palette, names=["off", "on"], width=200))
    assert sheet.shape == np.asarray(viz.grid([mask.long()], palette=palette, names=["off", "on"], width=200)).shape


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        ([], {}, "no image"),
        ([torch.rand(3, 4, 4)] * 3, {"titles": ["a", "b"]}, "2 titles for 3 images"),
        ([torch.rand(3, 4, 4)], {"names": ["a"]}, "1 names need a palette"),
    ],
)
def test_errors(images, options, words):
    with pytest.raises(ValueError, match=words):
        viz.grid(images, **options)


def test_images_are_not_changed(photo):
    before = photo.clone()
    viz.grid([photo, photo.mean(0)], width=50)
    assert torch.equal(photo, before)


def test_show_hands_the_notebook_a_file_with_its_width_and_words(photo, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *args, **options: shown.append((args, options)))
    viz.show({"noise": torch.rand(3, 300, 400), "photo": photo}, width=300)
    (data,), options = shown[0]
    assert data["text/plain"] == "2 pictures: noise, photo"
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"])))
    assert picture.format == "JPEG"
    assert options == {"metadata": {"image/jpeg": {"width": 300}}, "raw": True}
    assert picture.width == pytest.approx(DENSITY * 300, rel=0.1)
