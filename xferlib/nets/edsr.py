"""EDSR: residual blocks without batch normalisation at the small picture's size, then a shuffle."""

from typing import Any

import torch
from torch import Tensor, nn

from xferlib.nets.enlarger import Enlarger
from xferlib.nets.upsampling import SubPixelConv
from xferlib.ops.degrade import upscale

SLIM: dict[str, Any] = {"width": 48, "blocks": 5, "direct": True, "bicubic": True}
"""Arguments of a net with an eighth of the multiply-adds of the paper's baseline."""

_MEAN = (0.4488, 0.4371, 0.4040)  # of the RGB of DIV2K, as in the authors' code


class Block(nn.Module):
    """
    Two convolutions beside a shortcut. Nothing normalises, so that contrast is kept as it is.

    Parameters
    ----------
    channels : int
        Channels in and out.
    scale : float
        What the convolutions' result is multiplied by.
    """

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """
        Refine a map.

        Parameters
        ----------
        x : Tensor, shape (B, channels, H, W)
            The map.

        Returns
        -------
        Tensor, shape (B, channels, H, W)
            The map.
        """
        return x + self.scale * self.second(self.first(x).relu())


class EDSR(Enlarger):
    """
    Enlarge pictures by a residual net; its defaults are the paper's baseline.

    Parameters
    ----------
    factor : int
        How many times pictures are enlarged: 2, 3, 4 or a higher power of 2; with ``direct`` any whole number from 2.
    width : int
        Channels. The paper's large net has 256.
    blocks : int
        Residual blocks. The paper's large net has 32.
    scale : float
        What each block's convolutions are multiplied by. The paper's large net has 0.1.
    direct : bool
        Whether one convolution before one shuffle makes the colours. The paper enlarges all channels, 4 in two steps of
        2, and makes the colours at full size, which costs more than the rest of a small net.
    bicubic : bool
        Whether the net adds to the bicubically enlarged picture, so that it starts there. The paper's makes all.

    Raises
    ------
    ValueError
        If the factor does not fit, or a number makes no sense.

    References
    ----------
    Lim, Son, Kim, Nah, Lee, "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops 2017,
    sections 3.1 to 3.3 and table 1.
    """

    def __init__(
        self,
        factor: int = 4,
        width: int = 64,
        blocks: int = 16,
        scale: float = 1.0,
        *,
        direct: bool = False,
        bicubic: bool = False,
    ) -> None:
        super().__init__(factor)
        if width < 1 or blocks < 0 or not scale > 0:
            raise ValueError(f"{width=}, {blocks=}, {scale=}; give channels, no fewer than 0 blocks, a scale above 0")
        self.halo, self.bicubic = 2 * blocks + (3 if direct else 4), bicubic
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width, scale) for _ in range(blocks)))
        self.gather = nn.Conv2d(width, width, 3, padding=1)
        self.tail = SubPixelConv(width, 3, self.factor) if direct else _paper_tail(width, self.factor)
        if bicubic:
            last = self.tail.conv if direct else self.tail[-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def enlarge(self, images: Tensor) -> Tensor:
        """
        Enlarge pictures.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1].

        Returns
        -------
        Tensor, shape (B, 3, factor * H, factor * W)
            The enlarged pictures.
        """
        x = self.enter(images - self.mean)
        x = self.tail(x + self.gather(self.blocks(x)))
        return x + (upscale(images, self.factor) if self.bicubic else self.mean)


def _paper_tail(width: int, factor: int) -> nn.Sequential:
    """Enlarge all channels, step by step, then make the colours."""
    if factor != 3 and factor & (factor - 1):
        raise ValueError(f"factor {factor} is none of 2, 3, 4, 8, ...; with direct=True the net takes any")
    steps = [3] if factor == 3 else [2] * (factor.bit_length() - 1)
    return nn.Sequential(*(SubPixelConv(width, width, step) for step in steps), nn.Conv2d(width, 3, 3, padding=1))
