"""Drawn microscopy with exact labels for every cell: nervous tissue and a culture of touching cells."""

import operator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ._cell_culture import draw_culture
from ._cell_tissue import draw_tissue

CLASSES = ("membrane", "cell")
"""The class names: the position is the label. Of a culture, class 0 is the background, gaps between cells included."""

PALETTE = np.array([(24, 28, 46), (240, 196, 96)], np.uint8)
"""The colours of the classes, uint8 (2, 3)."""

VOID = 255
"""The label that is not scored. Drawn cells never use it: every pixel is something."""

_KINDS = {"culture": draw_culture, "tissue": draw_tissue}


def draw(seed: int, height: int = 256, width: int = 256, *, kind: str = "culture") -> tuple[Tensor, Tensor]:
    """
    Draw cells under the microscope.

    Parameters
    ----------
    seed : int
        Which picture, from 0. The same seed, size and kind give the same tensors.
    height, width : int
        Size of the picture in pixels, at least 32 each. A larger picture shows more cells, not larger ones.
    kind : {"culture", "tissue"}
        A culture is bright cells on a dark ground in the light microscope, many touching. Tissue is a section of
        nervous tissue in the electron microscope: grey cells fill the plane between dark membranes.

    Returns
    -------
    image : Tensor
        Float32 ``(1, height, width)`` in [0, 1].
    instances : Tensor
        Int64 ``(height, width)``: 0 is membrane or background, 1 to n are the cells.

    Raises
    ------
    ValueError
        If the seed is negative, a side is too short, or the kind has no such name.

    Notes
    -----
    ``instances > 0`` gives the labels in `CLASSES`, and no cell is lost by it: each cell is one component by sides,
    and between two cells lies at least one pixel of class 0, corners included. So connected components of the mask
    give back the cells. In a culture this gap is part of the background, although it shows little of it.

    Membranes fade where they are cut obliquely, and mitochondria and vesicles are as dark as they are: only their
    place tells them apart. Slivers of a few pixels, cut off by the edge of the picture or by a membrane, belong to
    class 0.
    """
    seed, height, width = operator.index(seed), operator.index(height), operator.index(width)
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; pictures are counted from 0")
    if min(height, width) < 32:
        raise ValueError(f"cannot draw cells on {height}x{width} pixels; each side must be at least 32")
    if kind not in _KINDS:
        raise ValueError(f"kind {kind!r} is not known; choose one of {', '.join(_KINDS)}")
    picture, instances = _KINDS[kind](np.random.default_rng(seed), (height, width))
    return torch.from_numpy(picture)[None], torch.from_numpy(instances)


class Cells(Dataset):
    """
    A fixed set of pictures of cells, each drawn when it is asked for.

    Item `i` is ``draw(seed * 2**32 + i, height, width, kind=kind)``, so sets of different seeds share no picture.

    Parameters
    ----------
    length : int
        Number of pictures, at most 2**32.
    height, width : int
        Size of each picture in pixels, at least 32 each.
    seed : int
        Which set, from 0.
    kind : {"culture", "tissue"}
        What is drawn, see `draw`.

    Raises
    ------
    ValueError
        If the length does not lie between 0 and 2**32, or the kind has no such name.
    """

    def __init__(
        self, length: int, height: int = 256, width: int = 256, *, seed: int = 0, kind: str = "culture"
    ) -> None:
        if not 0 <= length <= 2**32:
            raise ValueError(f"length {length} is not between 0 and 2**32; use another seed for more pictures")
        if kind not in _KINDS:
            raise ValueError(f"kind {kind!r} is not known; choose one of {', '.join(_KINDS)}")
        self.length, self.height, self.width, self.seed, self.kind = length, height, width, seed, kind

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < self.length:
            raise IndexError(f"picture {index} is not in 0..{self.length - 1}")
        return draw(self.seed * 2**32 + index, self.height, self.width, kind=self.kind)
