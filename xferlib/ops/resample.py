"""Changing the resolution of a map: kernels that interpolate, and the checkerboards of those that do not."""

import torch
import torch.nn.functional as F
from torch import Tensor

from xferlib.ops._halves import wide


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


def overlaps(cells: int, kernel: int, stride: int) -> Tensor:
    """
    Count how many cells of a map write to each position when a deconvolution enlarges it.

    Parameters
    ----------
    cells : int
        Cells of the map along each axis.
    kernel, stride : int
        Of the deconvolution, without padding.

    Returns
    -------
    Tensor, shape (n, n), int64
        Counts, ``n = (cells - 1) * stride + kernel``. Inside, they are even where the stride divides the kernel.

    Raises
    ------
    ValueError
        If a number is smaller than 1.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016.
    """
    if min(cells, kernel, stride) < 1:
        raise ValueError(f"{cells} cells, kernel {kernel}, stride {stride}: each must be at least 1")
    line = F.conv_transpose1d(torch.ones(1, 1, cells), torch.ones(1, 1, kernel), stride=stride)[0, 0]
    return torch.outer(line, line).long()


def checkerboard_energy(x: Tensor, stride: int = 2) -> float:
    """
    Measure how much of a map's variation repeats with a stride.

    Parameters
    ----------
    x : Tensor, shape (..., H, W)
        Maps; what the stride leaves over at the right and below is cut off.
    stride : int
        Period in pixels, at least 2.

    Returns
    -------
    float
        Energy at the multiples of the frequency 1 / stride along either axis, as a share of all energy but the
        mean's: 1 for a pattern of that period, 0 for what has none. A map without variation has 0.

    Raises
    ------
    ValueError
        If the stride is smaller than 2, or the map smaller than the stride.

    Notes
    -----
    By Parseval's theorem that energy is the variance of the map's mean over all its blocks of ``stride`` x ``stride``
    pixels, so no transform is made.
    """
    height, width = (side // stride * stride for side in x.shape[-2:]) if stride > 1 else (0, 0)
    if not height * width:
        raise ValueError(f"maps of {tuple(x.shape[-2:])} hold no whole period of stride {stride}; 2 is the least")
    x = x[..., :height, :width].double()
    least = 1e-20 * x.square().mean()
    x = x - x.mean((-2, -1), keepdim=True)
    blocks = x.unflatten(-1, (-1, stride)).unflatten(-3, (-1, stride)).mean((-4, -2))
    whole = x.square().mean()
    return 0.0 if whole <= least else (blocks.square().mean() / whole).item()  # what is not finite stays so


def icnr(weight: Tensor, factor: int) -> Tensor:
    """
    Repeat the kernels of a convolution so that a pixel shuffle after it starts as nearest-neighbour enlargement.

    Parameters
    ----------
    weight : Tensor, shape (C, ...)
        Kernels of C output channels, or their biases.
    factor : int
        How many times the shuffle enlarges.

    Returns
    -------
    Tensor, shape (C * factor**2, ...)
        The kernels, each ``factor**2`` times in a row.

    References
    ----------
    Aitken et al., "Checkerboard artifact free sub-pixel convolution", 2017, section 3.
    """
    return weight.repeat_interleave(factor**2, 0)


def resize_bicubic(images: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Bring pictures to another size as papers on restoration do: by cubic convolution, without aliasing.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
        Pictures, floating point. A gradient flows.
    size : tuple of int
        Height and width to bring them to, in pixels.

    Returns
    -------
    Tensor, shape (B, C, *size)
        The pictures. Beside edges they overshoot, so values may leave [0, 1] by a little.

    Raises
    ------
    ValueError
        If the images are not (B, C, H, W), hold no pixel, or are not floating point, or a side is smaller than 1.

    Notes
    -----
    The kernel is Keys' with a = -0.5. Where pictures get smaller it is widened as much, which takes away the waves
    that the smaller picture cannot hold. So do MATLAB's ``imresize`` and Pillow's ``BICUBIC``. At the border the part
    of the kernel that lies in the picture counts, as in Pillow; MATLAB mirrors the picture there. PyTorch without
    ``antialias``, as OpenCV's ``INTER_CUBIC``, takes a = -0.75 and never widens the kernel: it aliases.

    References
    ----------
    Keys, "Cubic Convolution Interpolation for Digital Image Processing", IEEE TASSP 1981, equation 15.
    """
    if images.ndim != 4 or not images.is_floating_point() or not images.numel():
        raise ValueError(
            f"images of shape {tuple(images.shape)}, {images.dtype}; expected (B, C, H, W) of floats with at least one "
            "pixel. One picture is [None]; for bytes divide by 255 first"
        )
    if min(size) < 1:
        raise ValueError(f"size {size[0]}x{size[1]} holds no pixel; each side must be at least 1")
    if size[1] == 1 < size[0]:  # PyTorch 2.13 gets results one pixel wide wrong
        return resize_bicubic(images.mT, (1, size[0])).mT
    return F.interpolate(wide(images), tuple(size), mode="bicubic", antialias=True).to(images.dtype)
