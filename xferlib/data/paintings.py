"""Paintings in strong styles of our own: the style images of style transfer, drawn by seed at any size."""

import operator
from collections.abc import Callable
from difflib import get_close_matches

import numpy as np
import torch
from torch import Tensor

from ._painting_canvas import Canvas
from ._painting_cubism import paint_cubism
from ._painting_glass import paint_glass
from ._painting_hatching import paint_hatching
from ._painting_impasto import paint_impasto
from ._painting_mosaic import paint_mosaic
from ._painting_pointillism import paint_pointillism
from ._painting_watercolour import paint_watercolour
from ._painting_woodcut import paint_woodcut

_PAINTERS: dict[str, Callable[[Canvas, np.random.Generator], np.ndarray]] = {
    "impasto": paint_impasto,
    "stained-glass": paint_glass,
    "woodcut": paint_woodcut,
    "pointillism": paint_pointillism,
    "mosaic": paint_mosaic,
    "hatching": paint_hatching,
    "watercolour": paint_watercolour,
    "cubism": paint_cubism,
}

STYLES = tuple(_PAINTERS)
"""Names of the styles."""


_LEAST = 384  # Smaller pictures are painted at about this many pixels a side, and scaled down.


def draw(style: str, height: int = 256, width: int = 256, *, seed: int = 0) -> Tensor:
    """
    Draw a painting.

    Parameters
    ----------
    style : str
        One of ``STYLES``.
    height, width : int
        Size of the picture in pixels, at least 32 each, neither more than eight times the other. Strokes are
        relative to the picture: a seed shows the same painting at every size of the same form.
    seed : int
        Which painting, from 0. Other seeds give other compositions in the same style.

    Returns
    -------
    Tensor
        Float32 ``(3, height, width)``, RGB in [0, 1]. The same arguments give the same tensor.

    Raises
    ------
    ValueError
        If there is no style of this name, the seed is negative, a side is too short, or one side is more than eight
        times the other.
    """
    height, width, seed = operator.index(height), operator.index(width), operator.index(seed)
    if style not in _PAINTERS:
        close = get_close_matches(str(style), STYLES, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"no style is named {style!r}; {hint}there are: {', '.join(STYLES)}")
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; paintings are counted from 0")
    if min(height, width) < 32:
        raise ValueError(f"cannot paint on {height}x{width} pixels; each side must be at least 32")
    if max(height, width) > 8 * min(height, width):
        raise ValueError(
            f"cannot paint on {height}x{width} pixels; the longer side must be at most 8 times the other: "
            f"{8 * min(height, width)}"
        )
    finer = max(1, round(_LEAST / (height * width) ** 0.5))
    picture = _PAINTERS[style](Canvas(finer * height, finer * width), np.random.default_rng(seed)).clip(0, 1)
    picture = picture.reshape(height, finer, width, finer, 3).mean((1, 3), dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32))
