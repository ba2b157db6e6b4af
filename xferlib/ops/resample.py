"""Changing the resolution of a map: the bilinear kernel of a deconvolution."""

import torch
from torch import Tensor


def bilinear_kernel(size: int) -> Tensor:
    """
    Give the kernel with which a deconvolution interpolates bilinearly.

    A transposed convolution of stride ``s`` with the kernel of size ``2s`` enlarges a map ``s`` times.

    Parameters
    ----------
    size : int
        Side of the kernel in pixels, at least 1.

    Returns
    -------
    Tensor, shape (size, size), float32
        The outer product of the tent ``1 - |i - centre| / f``, where ``f = (size + 1) // 2`` and the centre
        is ``f - 1`` for odd sizes and ``f - 0.5`` for even ones.

    Raises
    ------
    ValueError
        If the size is smaller than 1.

    References
    ----------
    Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015,
    section 3.3.
    """
    if size < 1:
        raise ValueError(f"kernel size {size} is smaller than 1; a stride s takes the kernel of size 2s")
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    tent = 1 - (torch.arange(size) - centre).abs() / factor
    return torch.outer(tent, tent)
