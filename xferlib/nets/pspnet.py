"""PSPNet: averages over the whole picture and over its parts, beside every pixel's own features."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xferlib.nets.backbones import Dense, conv3x3, dilated, enlarge
from xferlib.nets.resnet import ResNet

BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """
    Append to a map its averages over grids of a few sizes.

    Parameters
    ----------
    channels : int
        Channels N of the map.
    bins : sequence of int
        Sides of the grids; each gets N divided by their number of channels.

    Raises
    ------
    ValueError
        If the channels cannot be shared among the grids.

    References
    ----------
    Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017, section 3.2 and figure 3.
    """

    def __init__(self, channels: int, bins: Sequence[int] = BINS) -> None:
        super().__init__()
        if channels % len(bins):
            raise ValueError(
                f"{channels} channels cannot be shared by {len(bins)} grids; give a multiple of {len(bins)}"
            )
        self.bins = tuple(bins)
        share = channels // len(bins)
        self.reduce = nn.ModuleList(nn.Conv2d(channels, share, 1, bias=False) for _ in bins)
        self.norm = nn.ModuleList(nn.BatchNorm2d(share) for _ in bins)

    def forward(self, x: Tensor) -> Tensor:
        """
        Pool, reduce, enlarge and append.

        Parameters
        ----------
        x : Tensor, shape (B, channels, H, W)
            The map.

        Returns
        -------
        Tensor, shape (B, 2 * channels, H, W)
            The map, then one group of channels a grid.
        """
        parts = [x]
        for side, reduce, norm in zip(self.bins, self.reduce, self.norm, strict=True):
            grid = reduce(F.adaptive_avg_pool2d(x, side))
            # Differs from Zhao et al.: a single value a channel (one image, one cell) has no variance to be normed by,
            # nor should it enter the running one; it is normed as in evaluation.
            grid = _at_rest(norm, grid) if grid[:, 0].numel() == 1 else norm(grid)
            parts.append(enlarge(grid.relu(), x.shape[-2:]))
        return torch.cat(parts, 1)


def _at_rest(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


class PSPNet(Dense):
    """
    The pyramid scene parsing network; its defaults are the paper's on ResNet-50.

    Parameters
    ----------
    num_classes : int
        Classes to tell apart.
    bins : sequence of int
        See `PyramidPooling`; empty for the same net without the pyramid.
    channels : int
        Channels of the last 3x3 convolution.
    stride : int
        Stride of the backbone's last maps.
    auxiliary : int
        Channels of the auxiliary head; 0 for none.
    dropout : float
        Share of channels dropped before the classifier while training.
    **resnet
        Arguments of `xferlib.nets.resnet.ResNet`.

    References
    ----------
    Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017.
    """

    def __init__(
        self,
        num_classes: int = 21,
        *,
        bins: Sequence[int] = BINS,
        channels: int = 512,
        stride: int = 8,
        auxiliary: int = 256,
        dropout: float = 0.1,
        **resnet: Any,
    ) -> None:
        backbone = dilated(ResNet(**resnet), stride)
        last = backbone.out_channels[-1]
        head = nn.Sequential(
            PyramidPooling(last, bins) if bins else nn.Identity(),
            conv3x3(2 * last if bins else last, channels),
            nn.Dropout2d(dropout),
            nn.Conv2d(channels, num_classes, 1),
        )
        super().__init__(backbone, head, num_classes, auxiliary)
