"""Floats, also of two bytes, which are for keeping: too coarse for long sums, unknown to many a kernel of the CPU."""

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """Bring floats of two bytes to float32; those of four and eight stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_floats(images: Tensor) -> None:
    """Refuse bytes and other whole numbers."""
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}; expected floats: images / 255 makes them of bytes")
