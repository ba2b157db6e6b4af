"""Edge maps: how much a picture changes from each pixel to its neighbours."""

import torch.nn.functional as F
from torch import Tensor


def edges(images: Tensor) -> Tensor:
    """
    Measure how much a picture changes around each pixel.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
        Pictures of any size, floating point. A gradient flows.

    Returns
    -------
    Tensor, shape (B, 1, H, W)
        Sum over the channels, and over x and y, of the mean of the absolute differences to the neighbours before and
        behind. Beyond the border nothing changes, so a pixel there has half of its one difference. For RGB in [0, 1]
        the values lie in [0, 6]; a photograph's are mostly below 0.3.

    Raises
    ------
    ValueError
        If the images are not (B, C, H, W), or are whole numbers: differences of bytes would wrap around.

    References
    ----------
    Fan, Yang, Hua, Chen, Wipf, "A Generic Deep Architecture for Single Image Reflection Removal and Image Smoothing",
    ICCV 2017, with the border of its authors' code.
    """
    if images.ndim != 4:
        raise ValueError(f"images of shape {tuple(images.shape)}; expected (B, C, H, W), so one picture is [None]")
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}; expected floating point, so divide bytes by 255 first")
    columns = F.pad(images.diff(dim=-1).abs().sum(1, keepdim=True), (1, 1))
    rows = F.pad(images.diff(dim=-2).abs().sum(1, keepdim=True), (0, 0, 1, 1))
    return (columns[..., :-1] + columns[..., 1:] + rows[..., :-1, :] + rows[..., 1:, :]) / 2
