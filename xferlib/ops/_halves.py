"""Floats of two bytes, which are for keeping: too coarse for long sums, and unknown to many a kernel of the CPU."""

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """Bring floats of two bytes to float32; those of four and eight stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
