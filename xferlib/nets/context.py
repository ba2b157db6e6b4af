"""The context module: dilated convolutions in a row, which see far and keep the resolution."""

from itertools import pairwise

import torch
from torch import Tensor, nn

DILATIONS = (1, 1, 2, 4, 8, 16, 1)
LARGE = (2, 2, 4, 8, 16, 32, 32)
"""Channels of the large form's layers, as multiples of those of its input."""


class Context(nn.Module):
    """
    Seven 3x3 convolutions of growing dilation, each with a ReLU, and a 1x1 convolution.

    Its first weights pass the input on unchanged (where it is not negative: each ReLU cuts at zero), so that it can be
    put behind a trained net and only helps from there.

    Parameters
    ----------
    channels : int
        Channels of input and output, in the paper the classes.
    large : bool
        Whether the layers widen, to 2, 2, 4, 8, 16, 32 and 32 times the channels.

    References
    ----------
    Yu, Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016, section 3 and table 1.
    """

    def __init__(self, channels: int, large: bool = False) -> None:
        super().__init__()
        widths = [channels, *(channels * (factor if large else 1) for factor in LARGE)]
        layers: list[nn.Module] = []
        for (before, after), dilation in zip(pairwise(widths), DILATIONS, strict=True):
            layers += [nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 1))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                _pass_on(layer, channels)

    def forward(self, x: Tensor) -> Tensor:
        """
        Take in the surroundings of each position.

        Parameters
        ----------
        x : Tensor, shape (B, channels, H, W)
            Scores or features.

        Returns
        -------
        Tensor, shape (B, channels, H, W)
            The same with what stands around it.
        """
        return self.layers(x)


@torch.no_grad()
def _pass_on(conv: nn.Conv2d, channels: int) -> None:
    """Make each output channel a mean of the input channels that carry the same one of the module's input."""
    after, before = (torch.arange(n) * channels // n for n in (conv.out_channels, conv.in_channels))
    # A mean of random weights: with equal ones, channels that start as copies would train as copies for ever.
    # Differs from Yu, Koltun: theirs add noise to equal weights, and the start is then the identity but for that noise.
    same: Tensor = (after[:, None] == before[None]) * (0.5 + torch.rand(len(after), len(before)))
    centre = conv.kernel_size[0] // 2
    nn.init.zeros_(conv.weight)
    conv.weight[:, :, centre, centre] = same / same.sum(1, keepdim=True)
    nn.init.zeros_(conv.bias)
