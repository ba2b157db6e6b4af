"""Nets that know one scale: they see a large picture reduced, and what they find is brought back to its size."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from xferlib.ops.resample import resize_bicubic

SCALED = ("segmentation", "reflection removal")
"""Tasks whose result on a reduced picture can be brought back to the whole one."""


def reduced(image: Tensor, pixels: int | None) -> Tensor:
    """
    Reduce a picture to about a number of pixels.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].
    pixels : int or None
        How many; None for any number.

    Returns
    -------
    Tensor, shape (3, h, w)
        The picture in its proportions; the very same one if it has no more.
    """
    size = image.shape[1:]
    if pixels is None or size.numel() <= pixels:
        return image
    share = math.sqrt(pixels / size.numel())
    height, width = (max(1, round(share * side)) for side in size)
    return resize_bicubic(image[None], (height, width))[0].clamp(0, 1)


def enlarged(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Interpolate probabilities to the size of the whole picture.

    Parameters
    ----------
    probabilities : Tensor, shape (C, h, w)
        Those on the reduced picture.
    size : tuple of int
        Height and width of the whole one.

    Returns
    -------
    Tensor, shape (C, H, W)
        Probabilities; the very same ones if they are of that size.
    """
    if probabilities.shape[1:] == size:
        return probabilities
    return F.interpolate(probabilities[None], size, mode="bilinear")[0]


def most_probable(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Say which class is the most probable at each pixel of the whole picture, one class at a time to spare memory.

    Parameters
    ----------
    probabilities : Tensor, shape (C, h, w)
        Those on the reduced picture.
    size : tuple of int
        Height and width of the whole one.

    Returns
    -------
    Tensor, shape (H, W), int64
        What `enlarged` probabilities have their maximum at; of equal ones the first.
    """
    best = enlarged(probabilities[:1], size)[0].clone()
    labels = torch.zeros(size, dtype=torch.int64, device=best.device)
    for number in range(1, len(probabilities)):
        here = enlarged(probabilities[number : number + 1], size)[0]
        labels[here > best] = number
        torch.maximum(best, here, out=best)
    return labels


def taken_away(image: Tensor, seen: Tensor, made: Tensor) -> Tensor:
    """
    Take from a whole picture what a net took from the reduced one.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        The whole picture, RGB in [0, 1].
    seen, made : Tensor, shape (3, h, w)
        The reduced picture, and what the net made of it.

    Returns
    -------
    Tensor, shape (3, H, W)
        RGB in [0, 1]; ``made`` itself where the picture was not reduced.
    """
    if seen.shape == image.shape:
        return made
    return (image - resize_bicubic((seen - made)[None], image.shape[1:])[0]).clamp(0, 1)
