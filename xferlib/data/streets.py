"""Drawn street scenes with exact labels, in CamVid's eleven classes.

A scene is painted once, far things first, as numbers of surfaces: these give the labels. Each surface is a plane in
space with real texture, cut from photographs; light, weather and the camera then turn the numbers into a picture.
"""

import operator
import random

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ._street_light import TIMES, WEATHERS, choose
from ._street_scene import Street
from ._street_shading import shade

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
"""The class names, in CamVid's order: the position is the label."""

PALETTE = np.array(
    [
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ],
    np.uint8,
)  # fmt: skip
"""CamVid's colours, uint8 (11, 3)."""

VOID = 255
"""The label that is not scored. Drawn streets never use it: every pixel is something."""


def draw(
    seed: int, height: int = 128, width: int = 256, *, weather: str | None = None, time: str | None = None
) -> tuple[Tensor, Tensor]:
    """Draw a street scene.

    Parameters
    ----------
    seed : int
        Which scene, from 0. The same seed and size give the same tensors.
    height, width : int
        Size of the picture in pixels, at least 32 each. A seed shows the same scene at every size; a wider picture
        shows more of it.
    weather : {"clear", "overcast", "fog", "rain"}, optional
        The weather. By default the seed decides.
    time : {"day", "evening", "dusk"}, optional
        The time of day. By default the seed decides.

    Returns
    -------
    image : Tensor
        Float32 ``(3, height, width)`` in [0, 1].
    labels : Tensor
        Int64 ``(height, width)``: positions in `CLASSES`. Weather and time do not change them.

    Raises
    ------
    ValueError
        If the seed is negative, a side is too short, or the weather or time of day has no such name.

    Notes
    -----
    Every pixel has the class of what was painted last there, down to poles one pixel wide. Grass and hedges count as
    tree, traffic lights as sign, buses as car and garden walls as building, as in the eleven classes of SegNet.

    References
    ----------
    .. [1] G. J. Brostow, J. Fauqueur and R. Cipolla, "Semantic object classes in video: A high-definition ground
       truth database", Pattern Recognition Letters 30(2), 2009.
    .. [2] V. Badrinarayanan, A. Kendall and R. Cipolla, "SegNet: A deep convolutional encoder-decoder architecture
       for image segmentation", TPAMI 39(12), 2017, section 4.
    """
    seed, height, width = operator.index(seed), operator.index(height), operator.index(width)
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; scenes are counted from 0")
    if min(height, width) < 32:
        raise ValueError(f"cannot draw a street of {height}x{width} pixels; each side must be at least 32")
    shape, look = random.Random(2 * seed), random.Random(2 * seed + 1)
    light = choose(look, _known("weather", weather, WEATHERS), _known("time", time, TIMES))
    canvas = Street(shape, height, width, light).paint()
    return torch.from_numpy(shade(canvas, look)), torch.from_numpy(canvas.labels())


def _known(what: str, value: str | None, names: tuple[str, ...]) -> str | None:
    if value is not None and value not in names:
        raise ValueError(f"{what} {value!r} is not known; choose one of {', '.join(names)}")
    return value


class Streets(Dataset):
    """A fixed set of street scenes, each drawn when it is asked for.

    Item `i` is ``draw(seed * 2**32 + i, height, width)``, so sets of different seeds share no scene.

    Parameters
    ----------
    length : int
        Number of scenes, at most 2**32.
    height, width : int
        Size of each picture in pixels, at least 32 each.
    seed : int
        Which set, from 0.

    Raises
    ------
    ValueError
        If the length does not lie between 0 and 2**32.
    """

    def __init__(self, length: int, height: int = 128, width: int = 256, seed: int = 0) -> None:
        if not 0 <= length <= 2**32:
            raise ValueError(f"length {length} is not between 0 and 2**32; use another seed for more scenes")
        self.length, self.height, self.width, self.seed = length, height, width, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} is not in 0..{self.length - 1}")
        return draw(self.seed * 2**32 + index, self.height, self.width)
