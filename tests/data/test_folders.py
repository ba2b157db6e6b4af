"""A reader's own pictures and masks."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from xferlib.data import folders
from xferlib.data.folders import VOC, Cityscapes, MaskFolder, masks
from xferlib.data.images import ImageError, read_labels


def put(root, name, labels, suffix="jpg"):
    for folder in ("image", "label"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    labels = np.asarray(labels, np.uint8)
    Image.fromarray(np.repeat(labels[..., None] * 20, 3, -1)).save(root / "image" / f"{name}.{suffix}")
    mask = Image.fromarray(labels, "L")
    mask.save(root / "label" / f"{name}.png")


@pytest.fixture
def folder(tmp_path):
    for i in range(13):
        put(tmp_path, f"{i:02}", np.full((8, 10), i % 4), "png" if i % 2 else "jpg")
    return tmp_path


def test_items_are_pictures_and_their_labels(folder):
    pictures = MaskFolder(folder)
    assert len(pictures) == 13
    for i, (image, labels) in enumerate(pictures):
        assert image.shape == (3, 8, 10) and image.dtype == torch.float32
        assert labels.shape == (8, 10) and labels.dtype == torch.int64
        assert (labels == i % 4).all()
        assert image.mean().item() == pytest.approx(20 * (i % 4) / 255, abs=0.01)


def test_every_sixth_picture_is_held_back(folder):
    held, others = (MaskFolder(folder, split).paths for split in ("val", "train"))
    assert [path.stem for path in held] == ["05", "11"]
    assert sorted({*held, *others}) == MaskFolder(folder).paths and not {*held} & {*others}


def test_of_few_pictures_the_last_is_held_back(tmp_path):
    for name in "abc":
        put(tmp_path, name, np.zeros((4, 4)))
    assert [path.stem for path in MaskFolder(tmp_path, "val").paths] == ["c"]
    assert [path.stem for path in MaskFolder(tmp_path, "train").paths] == ["a", "b"]


def test_classes_are_counted_or_named(folder):
    labels = np.array([[0, 6], [255, 1]])
    put(folder, "13", labels)
    assert MaskFolder(folder).classes == tuple(f"class {i}" for i in range(7))
    assert MaskFolder(folder, "train").classes == MaskFolder(folder, "val").classes
    assert (MaskFolder(folder)[13][1].numpy() == labels).all()
    (folder / "classes.txt").write_text("sky\nroof\n\ntree\nroad\n")
    named = MaskFolder(folder)
    assert named.classes == ("sky", "roof", "tree", "road")
    with pytest.raises(ImageError, match=r"13.png: value 6; .*classes.txt names 4 classes"):
        named[13]


def test_a_mask_is_read_for_its_classes_once_unless_it_changes(folder, monkeypatch):
    read = []
    monkeypatch.setattr(folders, "read_labels", lambda path: read.append(path.stem) or read_labels(path))
    assert len(MaskFolder(folder).classes) == len(MaskFolder(folder, "val").classes) == 4
    assert sorted(read) == [f"{i:02}" for i in range(13)]
    put(folder, "07", np.full((8, 10), 5), "png")
    os.utime(folder / "label" / "07.png", ns=(0, 0))
    assert len(MaskFolder(folder).classes) == 6 and read[13:] == ["07"]
    put(folder, "07", np.full((8, 10), 255), "png")
    os.utime(folder / "label" / "07.png", ns=(1, 1))
    assert len(MaskFolder(folder).classes) == 4


def test_names_of_classes_are_utf_8_with_a_mark_or_without(folder):
    for encoding in ("utf-8", "utf-8-sig"):
        (folder / "classes.txt").write_text("Straße\nroof\ntree\nroad\n", encoding)
        assert MaskFolder(folder).classes == ("Straße", "roof", "tree", "road")
    (folder / "classes.txt").write_text("Straße\n", "latin-1")
    with pytest.raises(ImageError, match=r"classes\.txt: not UTF-8; save it as UTF-8"):
        MaskFolder(folder)


def test_indexed_masks_are_read_as_indices(folder):
    mask = Image.fromarray(np.full((8, 10), 3, np.uint8), "P")
    mask.putpalette([0, 0, 0, 9, 9, 9, 50, 50, 50, 200, 100, 0])
    mask.save(folder / "label" / "00.png")
    assert (MaskFolder(folder)[0][1] == 3).all()


def test_what_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no pictures in .*nowhere.image. Expected .* label/ with a PNG"):
        MaskFolder(tmp_path / "nowhere")
    (folder / "label/03.png").unlink()
    (folder / "label/04.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"label.03.png: no such file, the mask of .*03.png; 1 more are missing"
    ):
        MaskFolder(folder)


def test_a_mask_of_another_size_is_refused(folder):
    Image.fromarray(np.zeros((4, 10), np.uint8)).save(folder / "label" / "02.png")
    with pytest.raises(ImageError, match=r"02.png: a mask of \(4, 10\) does not fit its picture of \(8, 10\)"):
        MaskFolder(folder)[2]


def test_splits_that_make_no_sense_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="split 'test' is none of"):
        MaskFolder(folder, "test")
    put(tmp_path / "one", "a", np.zeros((4, 4)))
    with pytest.raises(ValueError, match="one picture cannot be split"):
        MaskFolder(tmp_path / "one", "train")
    assert len(MaskFolder(tmp_path / "one")) == 1


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


@pytest.fixture
def voc(tmp_path):
    home = tmp_path / "voc" / "VOCdevkit" / "VOC2012"
    for i, name in enumerate(("2007_1", "2007_2", "2007_3")):
        save(home / "JPEGImages" / f"{name}.jpg", np.full((6, 8, 3), 60 * i))
        save(home / "SegmentationClass" / f"{name}.png", [[0, i], [20, 255]])
    lists = home / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_1\n2007_3\n")
    (lists / "val.txt").write_text("2007_2\n")
    return tmp_path / "voc"


def test_voc_is_read_by_its_lists(voc):
    train, val = masks(voc, "train"), masks(voc, "val")
    assert isinstance(train, VOC) and len(train) == 2 and len(val) == 1
    image, labels = train[1]
    assert image.mean().item() == pytest.approx(120 / 255, abs=0.01)
    assert labels.tolist() == [[0, 2], [20, 255]] and labels.dtype == torch.int64
    assert len(VOC.classes) == 21 and VOC.classes[15] == "person"


@pytest.fixture
def cityscapes(tmp_path):
    root = tmp_path / "cityscapes"
    for split, city in (("train", "ulm"), ("train", "jena"), ("val", "lindau")):
        save(root / "leftImg8bit" / split / city / f"{city}_0_leftImg8bit.png", np.full((4, 6, 3), 100))
        # Road is 7 and counts as 0, car is 26 and counts as 13; parking, 9, and a licence plate, 255, do not count.
        save(root / "gtFine" / split / city / f"{city}_0_gtFine_labelIds.png", [[7, 26], [9, 255]])
    return root


def test_cityscapes_has_the_classes_that_count(cityscapes):
    train, val = masks(cityscapes, "train"), masks(cityscapes, "val")
    assert isinstance(val, Cityscapes) and (len(train), len(val)) == (2, 1)
    image, labels = val[0]
    assert image.shape == (3, 4, 6)
    assert labels.tolist() == [[0, 13], [255, 255]]
    assert len(train.classes) == 19 and (train.classes[0], train.classes[13]) == ("road", "car")


def test_another_folder_is_a_readers_own(folder):
    assert isinstance(masks(folder, "val"), MaskFolder) and len(masks(folder, "val")) == 2


def test_what_a_public_set_lacks_is_named(voc, cityscapes):
    mask = voc / "VOCdevkit/VOC2012/SegmentationClass/2007_3.png"
    mask.unlink()
    with pytest.raises(FileNotFoundError, match=r"2007_3.png: no such file, wanted by .*train.txt"):
        masks(voc, "train")
    for path in cityscapes.glob("gtFine/train/*/*"):
        path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"labelIds.png: no such file.*; 1 more are missing: xferlib data check"
    ):
        masks(cityscapes, "train")
    with pytest.raises(ValueError, match="split 'trial' is none of 'train', 'val'"):
        VOC(voc, "trial")
