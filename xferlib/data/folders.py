"""Sets of pictures and masks in a folder: a reader's own, PASCAL VOC 2012 and Cityscapes, all read alike."""

import os
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import datasets

from xferlib.data import public
from xferlib.data.benchmarks import SUFFIXES
from xferlib.data.images import ImageError, read, read_labels

VOID = 255
HELD_BACK = 6
"""Of so many pictures in the order of their names, the last is held back."""

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip
"""Classes of PASCAL VOC 2012, in the order of their numbers."""


def masks(root: str | os.PathLike, split: str) -> "MaskFolder | VOC | Cityscapes":
    """
    Open a set of pictures and masks by what lies in its folder.

    Parameters
    ----------
    root : str or path-like
        The folder. With ``VOCdevkit`` in it, it is PASCAL VOC 2012; with ``leftImg8bit``, Cityscapes; else a reader's
        own, as `MaskFolder` takes it.
    split : {"train", "val"}
        Which pictures.

    Returns
    -------
    MaskFolder, VOC or Cityscapes
        The set; item ``i`` is a picture and its labels, ``classes`` are their names.
    """
    root = Path(root)
    kind = VOC if (root / "VOCdevkit").is_dir() else Cityscapes if (root / "leftImg8bit").is_dir() else MaskFolder
    return kind(root, split)


class MaskFolder(Dataset):
    """
    A folder of pictures and masks.

    Item ``i`` is a pair: the picture as (3, H, W) float32 in [0, 1], and its labels as (H, W) int64, the values of the
    mask: the number of the class from 0, or 255 for void.

    Parameters
    ----------
    root : str or path-like
        The folder, with pictures in ``image`` and a mask of the same name, PNG, in ``label``: indexed, or grey. If it
        has a file ``classes.txt``, each line that is not blank names a class, from class 0 on.
    split : {"train", "val"}, optional
        "val" is every sixth picture in the order of their names, or the last where there are fewer; "train" are the
        others. By default all pictures.

    Attributes
    ----------
    paths, label_paths : list of Path
        Pictures, and their masks.
    classes : tuple of str
        Names of the classes: those of ``classes.txt``, or "class 0" and so on up to the largest number in any mask.

    Raises
    ------
    FileNotFoundError
        If the folders are not there or empty, or a picture has no mask.
    ImageError
        If a mask cannot be read, where their numbers tell how many classes there are, or ``classes.txt`` is not UTF-8.
    ValueError
        If there is no split of that name, or only one picture to split.
    """

    def __init__(self, root: str | os.PathLike, split: str | None = None) -> None:
        if split not in (None, "train", "val"):
            raise ValueError(f"split {split!r} is none of 'train', 'val'; leave it out for all pictures")
        self.root, self.split = Path(root), split
        folder = self.root / "image"
        found = sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in SUFFIXES)
        if not found:
            raise FileNotFoundError(
                f"no pictures in {folder.absolute()}. Expected in {self.root.absolute()}: image/ with pictures, and "
                "label/ with a PNG of the same name for each, whose pixel values are the classes from 0, 255 for void"
            )
        masks = [self.root / "label" / f"{path.stem}.png" for path in found]
        lacking = [(path, mask) for path, mask in zip(found, masks, strict=True) if not mask.is_file()]
        if lacking:
            more = f"; {len(lacking) - 1} more are missing" if len(lacking) > 1 else ""
            raise FileNotFoundError(f"{lacking[0][1]}: no such file, the mask of {lacking[0][0]}{more}")
        self.classes = self._classes(masks)
        chosen = self._chosen(len(found))
        self.paths, self.label_paths = ([paths[i] for i in chosen] for paths in (found, masks))

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read picture `index` and its mask."""
        path = self.label_paths[index]
        image, labels = read(self.paths[index]), read_labels(path)
        if image.shape[1:] != labels.shape:
            raise ImageError(
                f"{path}: a mask of {tuple(labels.shape)} does not fit its picture of {tuple(image.shape[1:])}; "
                "export it at the picture's size"
            )
        wrong = labels[(labels >= len(self.classes)) & (labels != VOID)]
        if len(wrong):
            raise ImageError(
                f"{path}: value {int(wrong[0])}; {self.root / 'classes.txt'} names {len(self.classes)} classes, from 0 "
                "on: name it there, or mark void with 255"
            )
        return image, labels

    def _classes(self, masks: list[Path]) -> tuple[str, ...]:
        file = self.root / "classes.txt"
        if file.is_file():
            try:
                lines = file.read_text("utf-8-sig").splitlines()
            except UnicodeDecodeError as error:
                raise ImageError(f"{file}: not UTF-8; save it as UTF-8") from error
            return tuple(line.strip() for line in lines if line.strip())
        count = 0
        for path in masks:
            largest, largest_class = _largest(path, path.stat().st_mtime_ns)
            if largest > VOID:
                raise ImageError(
                    f"{path}: value {largest}; classes are numbered from 0 to 254, and 255 is void. If these are "
                    "numbers of objects, write the class of each pixel instead"
                )
            count = max(count, largest_class + 1)
        return tuple(f"class {i}" for i in range(count))

    def _chosen(self, count: int) -> list[int]:
        if self.split is None:
            return list(range(count))
        if count < 2:
            raise ValueError(f"{self.root}: one picture cannot be split; give at least two")
        held = range(HELD_BACK - 1, count, HELD_BACK) if count >= HELD_BACK else [count - 1]
        return [i for i in range(count) if (i in held) == (self.split == "val")]


@cache
def _largest(mask: Path, changed: int) -> tuple[int, int]:
    """Give the largest value of a mask, and the largest but void, or -1; `changed` is when the file was written."""
    labels = read_labels(mask)
    return int(labels.max()), int(labels.where(labels != VOID, -1).max())


class VOC(Dataset):
    """
    PASCAL VOC 2012 for segmentation, through torchvision.

    Item ``i`` is a pair: the photograph as (3, H, W) float32 in [0, 1], and its labels as (H, W) int64, where 0 to 20
    are `VOC_CLASSES` and 255 is void.

    Parameters
    ----------
    root : str or path-like
        The folder that holds ``VOCdevkit``.
    split : {"train", "val"}
        Which photographs.

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message names the first.
    ValueError
        If there is no such split.
    """

    classes = VOC_CLASSES

    def __init__(self, root: str | os.PathLike, split: str = "train") -> None:
        _check_whole("voc2012", root, split)
        self._set = datasets.VOCSegmentation(root, "2012", split)

    def __len__(self) -> int:
        """Count the photographs."""
        return len(self._set)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read photograph `index` and its labels."""
        return read(self._set.images[index]), read_labels(self._set.masks[index])


class Cityscapes(Dataset):
    """
    Cityscapes with fine labels, through torchvision.

    Item ``i`` is a pair: the frame as (3, H, W) float32 in [0, 1], and its labels as (H, W) int64, where 0 to 18 are
    the classes that the benchmark counts, in its order of training, and 255 is everything else.

    Parameters
    ----------
    root : str or path-like
        The folder that holds ``leftImg8bit`` and ``gtFine``.
    split : {"train", "val"}
        Which frames.

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message names the first.
    ValueError
        If there is no such split.
    """

    classes = tuple(each.name for each in datasets.Cityscapes.classes if 0 <= each.train_id < VOID)

    def __init__(self, root: str | os.PathLike, split: str = "train") -> None:
        _check_whole("cityscapes", root, split)
        self._set = datasets.Cityscapes(root, split, "fine", "semantic")
        self._numbers = torch.full((256,), VOID)
        for each in datasets.Cityscapes.classes:
            if 0 <= each.train_id < VOID:
                self._numbers[each.id] = each.train_id

    def __len__(self) -> int:
        """Count the frames."""
        return len(self._set)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read frame `index` and its labels."""
        return read(self._set.images[index]), self._numbers[read_labels(self._set.targets[index][0])]


def _check_whole(name: str, root: str | os.PathLike, split: str) -> None:
    parts = {part.part: part for part in public.check(name, root)}
    if split not in parts:
        raise ValueError(f"split {split!r} is none of {', '.join(map(repr, parts))}")
    if parts[split].missing:
        more = len(parts[split].missing) - 1
        rest = f"; {more} more are missing: xferlib data check {name} {root}" if more else ""
        raise FileNotFoundError(f"{parts[split].missing[0]}{rest}")
