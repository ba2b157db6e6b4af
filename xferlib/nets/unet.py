"""U-Net: a contracting path, an expanding path, and a long skip at each scale."""

from typing import Literal

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from xferlib.nets.vgg import initialise

Padding = Literal["valid", "zeros", "reflect", "replicate"]


class UNet(nn.Module):
    """
    U-Net; its defaults are the paper's net.

    Parameters
    ----------
    in_channels : int
        Channels of the image.
    num_classes : int
        Classes to tell apart.
    width : int
        Channels of the first scale; each scale below has twice as many.
    depth : int
        How often the image is halved.
    padding : {"valid", "zeros", "reflect", "replicate"}
        What the 3x3 convolutions see beyond the edge. "valid" is the paper's: they see nothing, so that each
        takes one pixel off every side and the output is smaller than the image. The others keep the size.
    norm : bool
        Whether batch normalisation follows each 3x3 convolution.
    dropout : float
        Share of the activations dropped at the end of the contracting path, while training.
    skips : bool
        Whether the long skips join the paths; without them only the deepest scale reaches the output.

    Attributes
    ----------
    in_channels : int
        As given.
    stride : int
        Pixels of the image to a cell of the deepest scale, 2 to the depth.
    margin : int
        Pixels that the output lacks on each side of the image: 92 in the paper's net, 0 with padding.

    Raises
    ------
    ValueError
        If the padding has no such name, or width or depth is below 1.

    References
    ----------
    Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015,
    section 2 and figure 1.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        *,
        width: int = 64,
        depth: int = 4,
        padding: Padding = "valid",
        norm: bool = False,
        dropout: float = 0.5,
        skips: bool = True,
    ) -> None:
        super().__init__()
        if padding not in ("valid", "zeros", "reflect", "replicate"):
            raise ValueError(f"padding {padding!r} is none of 'valid', 'zeros', 'reflect', 'replicate'")
        if width < 1 or depth < 1:
            raise ValueError(f"width {width} and depth {depth}; both must be 1 at least")
        self.in_channels, self.padding, self.skips = in_channels, padding, skips
        self.stride = 2**depth
        self.margin = 6 * self.stride - 4 if padding == "valid" else 0
        widths = [width * 2**k for k in range(depth + 1)]
        befores = [in_channels, *widths]
        self.contract = nn.ModuleList(
            _two_convolutions(a, b, padding, norm) for a, b in zip(befores[:-2], widths[:-1], strict=True)
        )
        self.bottom = _two_convolutions(widths[-2], widths[-1], padding, norm)
        self.upconv = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths[:-1]))
        self.expand = nn.ModuleList(
            _two_convolutions(2 * w if skips else w, w, padding, norm) for w in reversed(widths[:-1])
        )
        self.score = nn.Conv2d(width, num_classes, 1)
        self.dropout = nn.Dropout(dropout)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """
        Score every pixel, or with valid convolutions every pixel that has its whole context.

        Parameters
        ----------
        image : Tensor, shape (B, in_channels, H, W)
            Values in [0, 1]. With valid convolutions H and W must be legal, see `legal_size`; with padding any
            size works that is not smaller than `stride` pixels ("reflect": twice that).

        Returns
        -------
        Tensor, shape (B, num_classes, H - 2 * margin, W - 2 * margin)
            Logits.

        Raises
        ------
        ValueError
            If the image has other channels, or a size that does not work; the message names the nearest ones.
        """
        self._check(image)
        x, skips = image, []
        for stage in self.contract:
            x = stage(x)
            if stage is self.contract[-1]:
                x = self.dropout(x)
            skips.append(x)
            # Differs from Ronneberger et al. with padding only: odd sizes keep their last row and column.
            x = F.max_pool2d(x, 2, ceil_mode=True)
        x = self.dropout(self.bottom(x))
        for up, stage in zip(self.upconv, self.expand, strict=True):
            x, skip = up(x), skips.pop()
            if self.margin:
                skip = _centre(skip, x.shape[-2:])
            else:
                x = x[..., : skip.shape[-2], : skip.shape[-1]]
            x = stage(torch.cat([skip, x], 1) if self.skips else x)
        return self.score(x)

    def legal_size(self, at_least: int) -> int:
        """
        Find the smallest image side that works.

        Parameters
        ----------
        at_least : int
            Side in pixels.

        Returns
        -------
        int
            The smallest legal side that is not below it. For the paper's net these are 16k + 12, from 188 on,
            because all four poolings must meet an even size.
        """
        if not self.margin:
            return max(at_least, 2 * self.stride if self.padding == "reflect" else self.stride)
        rest = 4 * (self.stride - 1)
        side = max(at_least, 2 * self.margin + 1)
        return side + (rest - side) % self.stride

    def _check(self, image: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != self.in_channels:
            raise ValueError(f"image of shape {tuple(image.shape)}; this U-Net takes (B, {self.in_channels}, H, W)")
        for side in image.shape[-2:]:
            legal = self.legal_size(side)
            if legal == side:
                continue
            if not self.margin:
                raise ValueError(f"image side {side} is too small for this U-Net; it needs {legal} at least")
            below = legal - self.stride
            nearest = f"{below} and {legal}" if below > 2 * self.margin else f"{legal}, the smallest"
            form = f"{self.stride}k+{4 * (self.stride - 1) % self.stride}"
            raise ValueError(
                f"image side {side} is not {form} (from {self.legal_size(0)} on); nearest legal: {nearest}. "
                "For any image, use xferlib.ops.tiling.apply_tiled"
            )


def _two_convolutions(before: int, after: int, padding: Padding, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    edge = {"padding": 0} if padding == "valid" else {"padding": 1, "padding_mode": padding}
    for channels in (before, after):
        layers.append(nn.Conv2d(channels, after, 3, bias=not norm, **edge))
        if norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _centre(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop a map to its middle."""
    top, left = ((have - want) // 2 for have, want in zip(x.shape[-2:], size, strict=True))
    return x[..., top : top + size[0], left : left + size[1]]
