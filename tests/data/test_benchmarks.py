"""Readers of public layouts, on small made-up folders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from xferlib.data.benchmarks import ISBI, CamVid, ImageFolder, home
from xferlib.data.images import ImageError

HEIGHT, WIDTH = 12, 16


def frame(path: Path, value: int = 128) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (value, value, value)).save(path)


def annotation(path: Path, numbers: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbers.astype(np.uint8)).save(path)


def numbers(top: int = 0) -> np.ndarray:
    """Give labels that run through 0 to 11, row by row, the first row `top`."""
    labels = np.repeat(np.arange(HEIGHT)[:, None], WIDTH, 1)
    labels[0] = top
    return labels


@pytest.fixture
def root(tmp_path):
    for split, suffix in (("train", "png"), ("val", "jpg")):
        for k, stem in enumerate(("b_02", "a_01", "c_03")):
            frame(tmp_path / split / f"{stem}.{suffix}", 50 * k)
            annotation(tmp_path / f"{split}annot" / f"{stem}.png", numbers(k))
    return tmp_path


@pytest.mark.parametrize("split", ["train", "val"])
def test_camvid_items(root, split):
    dataset = CamVid(root, split)
    assert len(dataset) == 3
    assert [path.stem for path in dataset.paths] == ["a_01", "b_02", "c_03"]
    image, labels = dataset[0]
    assert image.shape == (3, HEIGHT, WIDTH) and image.dtype == torch.float32
    assert labels.shape == (HEIGHT, WIDTH) and labels.dtype == torch.int64
    assert torch.allclose(image, torch.tensor(50 / 255), atol=2 / 255)


def test_camvid_void_is_255(root):
    labels = CamVid(root)[1][1]
    assert labels[:11, 0].tolist() == list(range(11))
    assert (labels[11] == 255).all()


def test_camvid_pairs_each_frame_with_its_own_labels(root):
    for image, labels in CamVid(root, "train"):
        assert labels[0, 0] == round(float(image[0, 0, 0]) * 255 / 50)


def test_camvid_resizes_both(root):
    image, labels = CamVid(root, size=(6, 8))[0]
    assert image.shape == (3, 6, 8) and labels.shape == (6, 8)
    assert labels.dtype == torch.int64
    assert set(labels.flatten().tolist()) <= {*range(11), 255}, "labels are picked, not blended"
    assert image.min() >= 0 and image.max() <= 1


def test_camvid_resizing_is_antialiased_and_keeps_pixel_centres(tmp_path):
    columns = np.arange(16) * np.ones((16, 1), np.int64)
    (tmp_path / "train").mkdir()
    stripes = np.where((columns % 4 == 1) | (columns % 4 == 2), 255, 0).astype(np.uint8)
    Image.fromarray(stripes).convert("RGB").save(tmp_path / "train" / "a.png")
    annotation(tmp_path / "trainannot" / "a.png", columns % 11)
    image, labels = CamVid(tmp_path, size=(4, 4))[0]
    assert image[0, 1].tolist() == pytest.approx([0.5] * 4, abs=0.2), "each new pixel covers half a stripe"
    assert labels.tolist() == [[2, 6, 10, 14 % 11]] * 4, "the pixels at the new centres"


def test_camvid_makes_batches(root):
    images, labels = next(iter(DataLoader(CamVid(root, size=(6, 8)), batch_size=3)))
    assert images.shape == (3, 3, 6, 8) and labels.shape == (3, 6, 8)


def test_camvid_is_found_through_the_environment(root, monkeypatch):
    (root / "sets").mkdir()
    for name in ("train", "trainannot"):
        (root / name).rename(root / "sets" / name)
    (root / "sets").rename(root / "camvid")
    monkeypatch.setenv("XFERLIB_DATA", str(root))
    assert len(CamVid(split="train")) == 3


def test_camvid_without_an_environment(monkeypatch):
    monkeypatch.delenv("XFERLIB_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="XFERLIB_DATA is not set; set it to the folder that holds camvid/"):
        CamVid()


def test_camvid_that_is_not_there_says_what_was_expected_and_where(tmp_path, monkeypatch):
    monkeypatch.setenv("XFERLIB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        CamVid(split="val")
    message = str(caught.value)
    for part in (str(tmp_path / "camvid" / "val"), "val/", "valannot/", "SegNet tutorial", "XFERLIB_DATA"):
        assert part in message


def test_camvid_with_a_frame_without_labels(root):
    (root / "trainannot" / "b_02.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"b_02\.png: no such file, the labels of .*b_02\.png"):
        CamVid(root)


def test_camvid_with_foreign_labels(root):
    annotation(root / "trainannot" / "a_01.png", np.full((HEIGHT, WIDTH), 12))
    with pytest.raises(ImageError, match=r"a_01\.png: label 12; CamVid has 0 to 10"):
        CamVid(root)[0]


def test_camvid_with_labels_of_another_size(root):
    annotation(root / "trainannot" / "a_01.png", np.zeros((4, 4)))
    with pytest.raises(ImageError, match=r"labels of \(4, 4\) do not fit their frame of \(12, 16\)"):
        CamVid(root)[0]


def test_camvid_with_a_broken_frame_names_it(root):
    (root / "train" / "a_01.png").write_bytes(b"no picture, though the name says so")
    with pytest.raises(ImageError, match=r"a_01\.png: not a picture"):
        CamVid(root)[0]


@pytest.mark.parametrize("size", [(0, 4), (4,), (4, 4, 4), (4.0, 4.0), (-1, 4)])
def test_camvid_size_is_two_positive_integers(root, size):
    with pytest.raises(ValueError, match=r"is not \(height, width\) with two positive integers"):
        CamVid(root, size=size)


def test_camvid_split_is_one_of_three(root):
    with pytest.raises(ValueError, match="split 'dev' is none of 'train', 'val', 'test'"):
        CamVid(root, "dev")


def test_image_folder_reads_all_below_in_order(tmp_path):
    for name in ("b.png", "a/z.JPG", "a/deep/y.webp", "c.tiff"):
        frame(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    frame(tmp_path / "._b.png")
    frame(tmp_path / ".cache" / "d.png")
    folder = ImageFolder(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in folder.paths] == [
        "a/deep/y.webp",
        "a/z.JPG",
        "b.png",
        "c.tiff",
    ]
    assert len(folder) == 4
    assert all(image.shape == (3, HEIGHT, WIDTH) for image in folder)


def test_image_folder_in_a_hidden_place(tmp_path):
    frame(tmp_path / ".data" / "a.png")
    assert len(ImageFolder(tmp_path / ".data")) == 1


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_image_folder_without_pictures(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=rf"{name}: no folder with pictures in it \(\.avif, \.bmp, "):
        ImageFolder(tmp_path / name)


# ISBI 2012


@pytest.fixture
def isbi(tmp_path):
    """Three slices of one grey each, written out of order; the first k rows of slice k are membrane."""
    for k in (2, 0, 1):
        (tmp_path / "image").mkdir(exist_ok=True)
        Image.new("L", (WIDTH, HEIGHT), 60 * k).save(tmp_path / "image" / f"{k:02}.png")
        labels = np.full((HEIGHT, WIDTH), 255)
        labels[:k] = 0
        annotation(tmp_path / "label" / f"{k:02}.png", labels)
    return tmp_path


def test_isbi_items(isbi):
    dataset = ISBI(isbi)
    assert len(dataset) == 3
    for k, (image, labels) in enumerate(dataset):
        assert image.shape == (1, HEIGHT, WIDTH) and image.dtype == torch.float32
        assert labels.shape == (HEIGHT, WIDTH) and labels.dtype == torch.int64
        assert torch.allclose(image, torch.tensor(60 * k / 255))
        assert not labels[:k].any() and (labels[k:] == 1).all()


@pytest.mark.parametrize(("slices", "expected"), [([2, 0], [2, 0]), ([-1], [2]), (range(1, 3), [1, 2]), ([], [])])
def test_isbi_slices(isbi, slices, expected):
    dataset = ISBI(isbi, slices)
    assert [int((labels == 0).all(1).sum()) for _, labels in dataset] == expected
    assert len(dataset) == len(expected)


@pytest.mark.parametrize("wrong", [3, -4])
def test_isbi_slices_that_are_not_there(isbi, wrong):
    with pytest.raises(IndexError, match=f"slice {wrong} of 3"):
        ISBI(isbi, [0, wrong])


def test_isbi_of_another_bit_depth_and_colour(isbi):
    Image.new("RGB", (WIDTH, HEIGHT), (60, 60, 60)).save(isbi / "image" / "00.png")
    assert torch.allclose(ISBI(isbi)[0][0], torch.tensor(60 / 255))


def test_isbi_is_found_through_the_environment(isbi, tmp_path, monkeypatch):
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "isbi2012").symlink_to(isbi, target_is_directory=True)
    monkeypatch.setenv("XFERLIB_DATA", str(tmp_path / "sets"))
    assert len(ISBI()) == 3


def test_isbi_in_batches(isbi):
    images, labels = next(iter(DataLoader(ISBI(isbi), batch_size=3)))
    assert images.shape == (3, 1, HEIGHT, WIDTH) and labels.shape == (3, HEIGHT, WIDTH)


def test_isbi_without_slices_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no slices in .*image\. Expected beside it: label/.*XFERLIB_DATA"):
        ISBI(tmp_path)


def test_isbi_without_labels_of_a_slice(isbi):
    (isbi / "label" / "01.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"01\.png: no such file, the labels of .*01\.png"):
        ISBI(isbi)


def test_isbi_with_labels_of_another_size(isbi):
    annotation(isbi / "label" / "00.png", np.zeros((4, 4)))
    with pytest.raises(ImageError, match=r"labels of \(4, 4\) do not fit their slice of \(12, 16\)"):
        ISBI(isbi)[0]


def test_isbi_with_other_values(isbi):
    annotation(isbi / "label" / "00.png", np.full((HEIGHT, WIDTH), 7))
    with pytest.raises(ImageError, match=r"00\.png: value 7; a membrane is 0 and a cell 255"):
        ISBI(isbi)[0]


def test_the_home_of_public_sets_is_the_folder_that_the_environment_names(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for named, found in (("~/sets", tmp_path / "sets"), ("sets", Path("sets")), ("", None)):
        monkeypatch.setenv("XFERLIB_DATA", named)
        assert home() == found
    monkeypatch.delenv("XFERLIB_DATA")
    assert home() is None
