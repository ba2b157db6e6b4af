"""Drawn scenes of overlapping shapes on photographs, with the exact mask of every object."""

import operator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from . import photos
from ._shape_forms import FORMS
from ._shape_scene import draw_scene

CLASSES = ("background", *FORMS)
"""The class names: the position is the class. Objects count from 1."""

PALETTE = np.array(
    [
        (30, 32, 44),
        (228, 76, 76),
        (242, 155, 56),
        (226, 205, 72),
        (98, 180, 86),
        (66, 188, 188),
        (78, 132, 220),
        (150, 104, 212),
        (224, 112, 178),
    ],
    np.uint8,
)
"""The colours of the classes, uint8 (9, 3)."""

_PHOTOS = {"train": photos.TRAIN, "test": photos.TEST}


def draw(seed: int, height: int = 128, width: int = 128, *, split: str = "train") -> tuple[Tensor, Tensor, Tensor]:
    """
    Draw one scene.

    Parameters
    ----------
    seed : int
        Which scene, from 0. The same seed, size and split give the same tensors.
    height, width : int
        Size in pixels, at least 32 each. A larger scene shows more objects, not larger ones.
    split : {"train", "test"}
        Which photographs the ground, and the stuff of some objects, are cut from: those of
        ``xferlib.data.photos.TRAIN`` or ``TEST``, which share no picture.

    Returns
    -------
    image : Tensor
        Float32 ``(3, height, width)``, RGB in [0, 1].
    numbers : Tensor
        Int64 ``(height, width)``: 0 is background, 1 to N are the objects, those further back first.
    classes : Tensor
        Int64 ``(N,)``: class of each object, from 1.

    Raises
    ------
    ValueError
        If the seed is negative, a side is too short, or there is no split of that name.

    Notes
    -----
    The eight classes are told apart by their form alone: colour, pattern, size (8 to 92 pixels across, half of them
    below 30), turn and a stretch are random. On 128x128 pixels lie 1 to 10 objects, now and then (3 %) none; their
    number grows with the area. One in eight has about the colour of what it lies on.

    A pixel belongs to the uppermost object whose form holds the pixel's centre; in the image edges are soft, and each
    object casts a shadow, which belongs to no object. Of every object at least 12 pixels are seen, and a quarter of
    what lies within the picture: what is covered more is left out of the scene altogether. What is seen of an object
    may be in several pieces.

    A seed lays out the same objects in both splits, on other photographs: measure on other seeds than those trained on.
    """
    seed, height, width = operator.index(seed), operator.index(height), operator.index(width)
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; scenes are counted from 0")
    if min(height, width) < 32:
        raise ValueError(f"cannot draw shapes on {height}x{width} pixels; each side must be at least 32")
    if split not in _PHOTOS:
        raise ValueError(f"split {split!r} is not known; choose one of {', '.join(_PHOTOS)}")
    drawn = draw_scene(np.random.default_rng(seed), (height, width), _PHOTOS[split])
    image, numbers, classes = map(torch.from_numpy, drawn)
    return image, numbers, classes


class Shapes(Dataset):
    """
    A fixed set of scenes, each drawn when it is asked for.

    Item `i` is ``draw(seed * 2**32 + i, height, width, split=split)``, so sets of different seeds share no scene. With
    one seed, item `i` shows the same objects in both splits.

    Parameters
    ----------
    length : int
        Number of scenes, at most 2**32.
    height, width : int
        Size of each scene in pixels, at least 32 each.
    seed : int
        Which set, from 0.
    split : {"train", "test"}
        As in `draw`.

    Raises
    ------
    ValueError
        If the length does not lie between 0 and 2**32, or there is no split of that name.
    """

    def __init__(
        self, length: int, height: int = 128, width: int = 128, *, seed: int = 0, split: str = "train"
    ) -> None:
        if not 0 <= length <= 2**32:
            raise ValueError(f"length {length} is not between 0 and 2**32; use another seed for more scenes")
        if split not in _PHOTOS:
            raise ValueError(f"split {split!r} is not known; choose one of {', '.join(_PHOTOS)}")
        self.length, self.height, self.width, self.seed, self.split = length, height, width, seed, split

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} is not in 0..{self.length - 1}")
        return draw(self.seed * 2**32 + index, self.height, self.width, split=self.split)
