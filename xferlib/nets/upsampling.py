"""Enlarging a map by learned kernels without a deconvolution: interpolate first, or shuffle channels into pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xferlib.ops.resample import icnr


class ResizeConv(nn.Module):
    """
    Interpolate first, then convolve: every position is made by as many weights as its neighbour.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels.
    factor : int
        How many times the map is enlarged.
    kernel : int
        Side of the kernel, odd.
    mode : str
        Interpolation: "nearest" or "bilinear".

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016.
    """

    def __init__(
        self, in_channels: int, out_channels: int, factor: int = 2, kernel: int = 3, mode: str = "nearest"
    ) -> None:
        super().__init__()
        self.factor, self.mode = factor, mode
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        """
        Enlarge.

        Parameters
        ----------
        x : Tensor, shape (B, in_channels, H, W)
            The map.

        Returns
        -------
        Tensor, shape (B, out_channels, factor * H, factor * W)
            The enlarged map.
        """
        return self.conv(F.interpolate(x, scale_factor=self.factor, mode=self.mode))


class SubPixelConv(nn.Module):
    """
    Convolve to ``factor**2`` times the channels and lay these out as pixels.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels.
    factor : int
        How many times the map is enlarged.
    kernel : int
        Side of the kernel, odd.
    even : bool
        Whether the kernels start equal for all pixels of a cell (ICNR); else they start at random, each by itself.

    References
    ----------
    Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
    Network", CVPR 2016, section 3.2; `xferlib.ops.resample.icnr` for the start.
    """

    def __init__(
        self, in_channels: int, out_channels: int, factor: int = 2, kernel: int = 3, even: bool = True
    ) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(
            in_channels, out_channels * factor**2, kernel, padding=kernel // 2, padding_mode="replicate"
        )
        if even:
            with torch.no_grad():
                for part in (self.conv.weight, self.conv.bias):
                    part.copy_(icnr(part[:out_channels], factor))

    def forward(self, x: Tensor) -> Tensor:
        """
        Enlarge.

        Parameters
        ----------
        x : Tensor, shape (B, in_channels, H, W)
            The map.

        Returns
        -------
        Tensor, shape (B, out_channels, factor * H, factor * W)
            The enlarged map.
        """
        return F.pixel_shuffle(self.conv(x), self.factor)
