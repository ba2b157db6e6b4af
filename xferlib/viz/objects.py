"""Single objects on a picture, each in a colour of its own."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from skimage.color import hsv2rgb
from torch import Tensor

from xferlib.viz.masks import ground

_GOLDEN = 0.381966


def objects(image: Tensor, numbers: Tensor | NDArray, alpha: float = 0.5, zoom: int = 1) -> Tensor:
    """
    Colour every object of an instance map on its picture, and draw its outline.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].
    numbers : Tensor or ndarray of int, shape (H, W)
        Instance map: number of the object at each pixel, 0 where there is none.
    alpha : float
        Weight of the colours within the outlines, 0 to 1.
    zoom : int
        Pixels of the result for each pixel of the picture along a side; the outline is one pixel of the result.

    Returns
    -------
    Tensor of float32, shape (3, zoom * H, zoom * W)
        RGB in [0, 1].

    Raises
    ------
    ValueError
        If the map is not (H, W) integers from 0 up of the picture's size, ``alpha`` is outside [0, 1], or ``zoom``
        below 1.
    """
    image, numbers = ground(image), torch.as_tensor(numbers).detach().cpu()
    if image.ndim != 3 or image.shape[1:] != numbers.shape or numbers.is_floating_point():
        shapes = f"image {tuple(image.shape)} and map {tuple(numbers.shape)} of {numbers.dtype}"
        raise ValueError(f"{shapes}; give (3, H, W) with (H, W) integers")
    numbers = numbers.long()
    if numbers.numel() and numbers.min() < 0:
        raise ValueError(f"object {int(numbers.min())}; objects are numbered from 1, 0 is none")
    if not 0 <= alpha <= 1 or zoom < 1:
        raise ValueError(f"alpha {alpha} is outside [0, 1], or zoom {zoom} below 1")
    image, numbers = (part.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2) for part in (image, numbers))
    painted = _colours(int(numbers.max()) if numbers.numel() else 0)[numbers].permute(2, 0, 1)
    inside = numbers > 0
    near = F.pad(numbers[None].double(), (1,) * 4, mode="replicate")
    edge = inside & (F.max_pool2d(near, 3, 1)[0] != -F.max_pool2d(-near, 3, 1)[0])
    return image + torch.where(edge, 1.0, alpha * inside) * (painted - image)


def _colours(count: int) -> Tensor:
    """Choose colours that differ most between numbers next to one another; that of 0 is never seen."""
    steps = np.arange(count + 1)
    hues = np.stack([steps * _GOLDEN % 1, 0.62 + 0.28 * (steps % 2), 1.0 - 0.18 * (steps % 3 == 2)], -1)
    return torch.from_numpy(hsv2rgb(hues[None])[0]).float()
