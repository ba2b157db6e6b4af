"""Nets that know one scale: they see a large picture reduced, to one size or to several, and tell of the whole."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from xferlib.ops.resample import resize_bicubic

SCALED = ("segmentation", "instances", "style", "reflection removal")
"""Tasks whose result on a reduced picture can be brought back to the whole one."""


def seen(image: Tensor, pixels: Sequence[int]) -> list[Tensor]:
    """
    Give the sizes of a picture that a net sees.

    Parameters
    ----------
    image : Tensor, shape (C, H, W)
        The picture, values in [0, 1].
    pixels : sequence of int
        To about so many pixels it is reduced, each time in its proportions; ``()`` leaves it as it is.

    Returns
    -------
    list of Tensor
        The reduced pictures (C, h, w), the largest first, each size once. Where the picture has no more pixels than
        asked for, it is there itself.
    """
    found = [_reduced(image, most) for most in sorted(pixels, reverse=True)] or [image]
    return list({each.shape: each for each in found}.values())


def _reduced(image: Tensor, pixels: int) -> Tensor:
    size = image.shape[1:]
    if size.numel() <= pixels:
        return image
    share = math.sqrt(pixels / size.numel())
    height, width = (max(1, round(share * side)) for side in size)
    return resize_bicubic(image[None], (height, width))[0].clamp(0, 1)


def average_sizes(predict: Callable[[Tensor], Tensor], image: Tensor, pixels: Sequence[int]) -> Tensor:
    """
    Average what a net says over the sizes of a picture that it sees.

    Parameters
    ----------
    predict : callable
        Takes (C, h, w), gives (K, h, w), probabilities.
    image : Tensor, shape (C, H, W)
        The picture, values in [0, 1].
    pixels : sequence of int
        As `seen` takes them.

    Returns
    -------
    Tensor, shape (K, h, w)
        The mean, at the size of the largest that is seen.

    References
    ----------
    Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
    Connected CRFs", TPAMI 2018, section 3.2, take the maximum over three sizes.
    """
    first, *others = seen(image, pixels)
    total = predict(first)
    for other in others:
        total = total + enlarged(predict(other), first.shape[1:])
    return total / (1 + len(others)) if others else total


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


def spread(numbers: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Bring a map of objects to the size of the whole picture.

    Parameters
    ----------
    numbers : Tensor, shape (h, w)
        The map on the reduced picture.
    size : tuple of int
        Height and width of the whole one.

    Returns
    -------
    Tensor, shape (H, W)
        The number that is nearest to each pixel.
    """
    for axis, side in enumerate(size):
        before = numbers.shape[axis]
        if before != side:
            nearest = ((torch.arange(side, device=numbers.device) + 0.5) * before / side).long()
            numbers = numbers.index_select(axis, nearest)
    return numbers


def carried_over(image: Tensor, reduced: Tensor, made: Tensor) -> Tensor:
    """
    Change a whole picture as a net changed the reduced one.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        The whole picture, RGB in [0, 1].
    reduced, made : Tensor, shape (3, h, w)
        The reduced picture, and what the net made of it.

    Returns
    -------
    Tensor, shape (3, H, W)
        RGB in [0, 1]: the whole picture, and the enlarged difference of the reduced ones; ``made`` itself where the
        picture was not reduced.
    """
    if reduced.shape == image.shape:
        return made
    return (image + resize_bicubic((made - reduced)[None], image.shape[1:])[0]).clamp(0, 1)
