"""What can be said of a picture without the true one beside it: how blurred it is, and how much its greys tell."""

import torch
import torch.nn.functional as F
from torch import Tensor

from xferlib.ops._halves import check_floats, exact
from xferlib.ops.colour import luminance


@exact
def blur(images: Tensor, window: int = 11) -> Tensor:
    """
    Measure how blurred pictures are: blur them once more, and see how much of their edges is left.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
        Grey or RGB, C = 1 or 3, in any range.
    window : int
        Pixels over which the second blur averages, along one axis at a time; odd, at least 3.

    Returns
    -------
    Tensor, shape (B,)
        From 0, sharp, to 1, so blurred that a further blur changes nothing; that of the worse axis. A picture without
        an edge along one of its axes has nan.

    Raises
    ------
    ValueError
        If the pictures are not (B, 1 or 3, H, W), the window is not odd, or a side is shorter than the window.

    References
    ----------
    Crete, Dolmiere, Ladret, Nicolas, "The Blur Effect: Perception and Estimation with a New No-Reference Perceptual
    Blur Metric", SPIE 2007.
    """
    if window < 3 or window % 2 == 0:
        raise ValueError(f"window {window} has no middle, or is too small; it must be odd, 11 is usual")
    light = _grey(images)
    if min(light.shape[-2:]) < window:
        raise ValueError(
            f"pictures of {light.shape[-2]}x{light.shape[-1]} are smaller than the window, {window} pixels"
        )
    return torch.stack([_left_over(light, window), _left_over(light.mT, window)]).amax(0)


def _left_over(light: Tensor, window: int) -> Tensor:
    """Give the share of the edges along the last axis that a blur along it leaves."""
    half = window // 2
    mirrored = torch.cat([light[..., :half].flip(-1), light, light[..., -half:].flip(-1)], -1)
    blurred = F.avg_pool2d(mirrored, (1, window), stride=1)
    sharp, soft = (_sobel(each).abs() for each in (light, blurred))
    lost = (sharp - soft).clamp(min=0)
    whole = sharp.sum((1, 2, 3))
    return (whole - lost.sum((1, 2, 3))) / whole


def _sobel(light: Tensor) -> Tensor:
    """Take the derivative along the last axis, less two pixels at the beginning of each axis and one at the end."""
    kernel = torch.outer(light.new_tensor([1, 2, 1]), light.new_tensor([-1, 0, 1])) / 8
    return F.conv2d(light, kernel[None, None])[..., 1:, 1:]


def entropy(images: Tensor) -> Tensor:
    """
    Measure how much the greys of pictures tell, as histogram equalisation raises it.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
        Grey or RGB, C = 1 or 3, in [0, 1].

    Returns
    -------
    Tensor, shape (B,)
        Shannon entropy of the histogram of the 256 greys in bits, from 0, flat, to 8, all greys equally often. It does
        not see where the greys are: noise has much of it.

    Raises
    ------
    ValueError
        If the pictures are not (B, 1 or 3, H, W), or not finite.
    """
    grey = _grey(images)
    if not grey.isfinite().all():
        raise ValueError("the images hold nan or infinity; what made them has failed")
    levels = (grey.clamp(0, 1) * 255).round().long().flatten(1)
    counts = torch.zeros(len(levels), 256, device=levels.device, dtype=torch.float64)
    counts.scatter_add_(1, levels, torch.ones_like(levels, dtype=torch.float64))
    share = counts / levels.shape[1]
    return torch.special.entr(share).sum(1).div(torch.log(share.new_tensor(2.0))).to(images.dtype)


def _grey(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.numel():
        alpha = "; drop an alpha channel with images[:, :3]" if images.ndim == 4 and images.shape[1] in (2, 4) else ""
        raise ValueError(f"images of shape {tuple(images.shape)}; expected (B, 1 or 3, H, W){alpha}")
    check_floats(images)
    return images if images.shape[1] == 1 else luminance(images)
