"""What a net sees: its receptive field, from real gradients."""

from bisect import bisect_left
from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from xferlib.ops._modes import evaluating


def receptive_field(
    net: nn.Module, shape: Sequence[int], at: tuple[int, int] | None = None, *, images: int = 4, seed: int = 0
) -> Tensor:
    """
    Measure how strongly each pixel of the image moves one position of the output.

    Parameters
    ----------
    net : nn.Module
        Net of images (B, C, H, W) to maps; it is run in evaluation mode and left as it was.
    shape : sequence of int
        Channels, height and width of the image.
    at : tuple of int, optional
        Row and column of the output position; by default the middle one, ``(h // 2, w // 2)``.
    images : int
        How many images of uniform noise the gradient is averaged over, at least 1: pooling and ReLU pass different
        gradients for each.
    seed : int
        Seed of the noise.

    Returns
    -------
    Tensor, shape (H, W)
        Absolute gradient of the sum of the position's channels, mean over images and image channels. Exactly
        zero where a pixel has no say.

    Raises
    ------
    ValueError
        If the shape is not three positive numbers, there is no image, or the position is not in the output.

    References
    ----------
    Luo, Li, Urtasun, Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural
    Networks", NIPS 2016, section 3.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape {tuple(shape)} is not (channels, height, width)")
    if images < 1:
        raise ValueError(f"{images} images to average over; 1 is the least, pooling wants several")
    with evaluating(net), torch.inference_mode(False), torch.enable_grad():
        noise = torch.rand(images, *shape, generator=torch.Generator().manual_seed(seed))
        image = noise.to(next(net.parameters(), noise)).requires_grad_()
        moved = _at(net(image), at).sum()
        (gradient,) = torch.autograd.grad(moved, image)
    return gradient.abs().mean((0, 1))


def _at(output: Tensor, position: tuple[int, int] | None) -> Tensor:
    height, width = output.shape[-2:]
    row, column = (height // 2, width // 2) if position is None else position
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"position {(row, column)} is not in the output of {height}x{width}")
    return output[..., row, column]


def extent(field: Tensor, share: float = 1.0) -> tuple[int, int]:
    """
    Measure how large a receptive field is.

    Parameters
    ----------
    field : Tensor, shape (H, W)
        As `receptive_field` gives it; not negative.
    share : float
        Share of the field's sum that has to be inside, above 0.

    Returns
    -------
    tuple of int
        Height and width in pixels. With a share of 1 of the smallest rectangle that holds every pixel above
        zero; with less of the smallest square, wherever it lies, that holds the share. A square larger than
        the image is cut off there.

    Raises
    ------
    ValueError
        If the share is not above 0 and at most 1, or the field is zero everywhere.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share} is not above 0 and at most 1")
    if not field.any():
        raise ValueError("the field is zero everywhere: no pixel moves that output")
    height, width = field.shape
    if share == 1:
        rows, columns = field.nonzero().unbind(1)
        return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
    sums = F.pad(field.double().cumsum(0).cumsum(1), (1, 0, 1, 0))

    def held(side: int) -> float:
        h, w = min(side, height), min(side, width)
        return float((sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]).max())

    sides = range(1, max(height, width) + 1)
    side = sides[bisect_left(sides, share * float(sums[-1, -1]), key=held)]
    return min(side, height), min(side, width)
