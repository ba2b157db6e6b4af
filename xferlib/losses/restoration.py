"""Losses for restoring pictures, which compare them with the true ones pixel by pixel or window by window."""

import torch.nn.functional as F
from torch import Tensor

from xferlib.metrics.restoration import smooth, ssim


def l1(images: Tensor, targets: Tensor) -> Tensor:
    """
    Take the mean absolute error. Where several answers are possible, their median is the best.

    Parameters
    ----------
    images, targets : Tensor, shape (B, C, H, W)
        What was made, and what is true.

    Returns
    -------
    Tensor
        Scalar, the mean over all values.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    return _error(images, targets).abs().mean()


def l2(images: Tensor, targets: Tensor) -> Tensor:
    """
    Take the mean squared error. Where several answers are possible, their mean is the best.

    Parameters
    ----------
    images, targets : Tensor, shape (B, C, H, W)
        What was made, and what is true.

    Returns
    -------
    Tensor
        Scalar, the mean over all values.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    return _error(images, targets).square().mean()


def charbonnier(images: Tensor, targets: Tensor, epsilon: float = 1e-3) -> Tensor:
    """
    Take an absolute error whose corner at zero is rounded.

    Parameters
    ----------
    images, targets : Tensor, shape (B, C, H, W)
        What was made, and what is true.
    epsilon : float
        Where the rounding ends: errors far below count as their squares, errors far above as they are.

    Returns
    -------
    Tensor
        Scalar, the mean of ``sqrt(error^2 + epsilon^2)``; epsilon where both are equal.

    Raises
    ------
    ValueError
        If the shapes differ, or epsilon is not above 0.

    References
    ----------
    Charbonnier, Blanc-Feraud, Aubert, Barlaud, "Two Deterministic Half-Quadratic Regularization Algorithms for Computed
    Imaging", ICIP 1994; Lai et al., "Deep Laplacian Pyramid Networks", CVPR 2017, section 3.2, with epsilon = 1e-3.
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon is {epsilon}; it must be above 0, 1e-3 is usual")
    return (_error(images, targets).square() + epsilon**2).sqrt().mean()


def gradient(images: Tensor, targets: Tensor, *, signed: bool = True) -> Tensor:
    """
    Compare the differences of neighbouring pixels. It does not see what all pixels have in common.

    Parameters
    ----------
    images, targets : Tensor, shape (B, C, H, W)
        What was made, and what is true; at least 2 pixels a side.
    signed : bool
        Whether an edge from dark to light differs from one from light to dark.

    Returns
    -------
    Tensor
        Scalar: mean absolute error of the differences along rows, plus that along columns. Zero for a picture that is
        the target plus a constant, so keep a pixel loss beside it.

    Raises
    ------
    ValueError
        If the shapes differ, or a side has less than 2 pixels.

    References
    ----------
    Mathieu, Couprie, LeCun, "Deep Multi-Scale Video Prediction beyond Mean Square Error", ICLR 2016, equation 6, is the
    unsigned one with alpha = 1; Fan et al., "A Generic Deep Architecture for Single Image Reflection Removal and Image
    Smoothing", ICCV 2017, has the signed one.
    """
    _error(images, targets)
    if min(images.shape[-2:]) < 2:
        raise ValueError(
            f"pictures of {images.shape[-2]}x{images.shape[-1]} have no neighbours; 2 pixels a side at least"
        )
    total = 0.0
    for axis in (-1, -2):
        found, true = images.diff(dim=axis), targets.diff(dim=axis)
        total = total + ((found - true) if signed else (found.abs() - true.abs())).abs().mean()
    return total


def dissimilarity(images: Tensor, targets: Tensor, *, data_range: float = 1.0, window: int = 11) -> Tensor:
    """
    Take one minus the structural similarity.

    Parameters
    ----------
    images, targets : Tensor, shape (B, C, H, W)
        What was made, and what is true, as `xferlib.metrics.restoration.ssim` takes them.
    data_range : float
        Largest value less the smallest that a pixel may have; the book's pictures lie in [0, 1].
    window : int
        Side of the window in pixels, odd.

    Returns
    -------
    Tensor
        Scalar in [0, 2], the mean over the pictures.

    Raises
    ------
    ValueError
        As `xferlib.metrics.restoration.ssim`.
    """
    return 1 - ssim(images, targets, data_range=data_range, window=window).mean()


def checkerboard(images: Tensor, targets: Tensor, period: int, blocks: int = 8) -> Tensor:
    """
    Charge for a pattern that is the same in neighbouring blocks of pixels, as far as it is not in the true picture.

    A net that ends with a pixel shuffle can draw the same grain into every block, whatever the picture shows.

    Parameters
    ----------
    images, targets : Tensor, shape (B, C, H, W)
        What was made, and what is true; ``period`` divides the sides.
    period : int
        Pixels a side of a block, 2 or more.
    blocks : int
        Side, in blocks, of the windows in which a pattern is sought; each overlaps its neighbours by half.

    Returns
    -------
    Tensor
        Scalar, the mean over windows and pictures. Black and white by turns, a from their mean, cost a^2 on a flat
        target.

    Raises
    ------
    ValueError
        If the shapes differ, a number is below 2, ``period`` does not divide a side, or there is no whole window.

    Notes
    -----
    `xferlib.metrics.restoration.checkerboard` measures waves of one period, pixel by pixel. This asks for any pattern
    of the blocks, window by window, and so takes a small part of the time.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016, on where such patterns come from.
    """
    _error(images, targets)
    height, width = images.shape[-2:]
    if min(period, blocks) < 2 or height % period or width % period or min(height, width) < period * blocks:
        raise ValueError(
            f"images of {height}x{width}, period {period}, {blocks} blocks: both must be 2 at least, and the sides "
            f"multiples of the period, such as {max(2, period) * max(2, blocks)}"
        )
    excess = _repeated(images, period, blocks) - _repeated(targets, period, blocks)
    return excess.relu().mean()


def _repeated(images: Tensor, period: int, blocks: int) -> Tensor:
    """Give the energy of what all blocks of a window have in common."""
    even = images - smooth(images, period)  # a slope repeats, too
    places = F.pixel_unshuffle(even, period)
    return F.avg_pool2d(places, blocks, blocks // 2).square().mean(1)


def mixed(images: Tensor, targets: Tensor, alpha: float = 0.84) -> dict[str, Tensor]:
    """
    Mix structural similarity with absolute errors: structure from the one, colours from the other.

    Parameters
    ----------
    images, targets : Tensor, shape (B, C, H, W)
        What was made, and what is true, in [0, 1]; at least 11 pixels a side.
    alpha : float
        Share of the structure, in [0, 1].

    Returns
    -------
    dict of str to Tensor
        The weighted terms "ssim" and "l1"; their sum is the loss.

    Raises
    ------
    ValueError
        If the shapes differ, or the share is outside [0, 1].

    References
    ----------
    Zhao, Gallo, Frosio, Kautz, "Loss Functions for Image Restoration with Neural Networks", IEEE TCI 2017,
    whose share of 0.84 is the default.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha} is outside [0, 1]")
    # Differs from Zhao et al.: one scale in place of five, which would need 176 pixels a side.
    return {"ssim": alpha * dissimilarity(images, targets), "l1": (1 - alpha) * l1(images, targets)}


def _error(images: Tensor, targets: Tensor) -> Tensor:
    if images.shape != targets.shape:
        shapes = f"{tuple(images.shape)} and {tuple(targets.shape)}"
        raise ValueError(f"images and targets of shape {shapes} differ; nothing is broadcast here")
    return images - targets
