"""The feed-forward net of Johnson et al.: one pass paints a picture in a style, or in a blend of several."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from xferlib.nets.upsampling import ResizeConv
from xferlib.nets.vgg import initialise

Norm = Literal["instance", "batch"] | None
Upsampling = Literal["resize", "deconvolution"]

SLIM: dict[str, Any] = {"widths": (16, 32, 64), "kernel": 5}
"""Arguments of a net that a laptop's processor runs several times as fast as the paper's."""

LEAST = 8
"""Least side of a picture, in pixels: below it the deepest maps are too small to be mirrored at their edges."""


class InstanceNorm(nn.Module):
    """
    Bring each channel of each picture to a mean and a deviation of its own, which may be those of a style.

    Parameters
    ----------
    channels : int
        Channels of the map.
    styles : int, optional
        How many styles have a scale and a shift each; without it there is one of both.

    Attributes
    ----------
    scale, shift : Parameter, shape (styles, channels) or (channels,)
        Deviation and mean that each channel is given.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016, equation
    5; Dumoulin, Shlens, Kudlur, "A Learned Representation for Artistic Style", ICLR 2017, equation 5.
    """

    def __init__(self, channels: int, styles: int | None = None) -> None:
        super().__init__()
        shape = (channels,) if styles is None else (styles, channels)
        self.scale, self.shift = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """
        Normalise a map.

        Parameters
        ----------
        x : Tensor, shape (B, channels, H, W)
            The map.
        shares : Tensor, shape (styles,) or (B, styles), optional
            How much each style counts, for all pictures or for each; scale and shift are the sums so weighted.

        Returns
        -------
        Tensor, shape (B, channels, H, W)
            The map, normalised.
        """
        count, channels = x.shape[:2]
        scale, shift = (p if shares is None else shares @ p for p in (self.scale, self.shift))
        own = (each.expand(count, channels).flatten() for each in (scale, shift))
        # All pictures side by side, in groups of one channel: the numbers of `torch.nn.functional.instance_norm` in a
        # fraction of its time; and of that of groups in each picture where the channels of a pixel lie together.
        joined = x.reshape(1, -1, *x.shape[2:])
        return F.group_norm(joined, count * channels, *own).reshape(x.shape)


class Layer(nn.Module):
    """
    A convolution with what comes before and behind it: mirrored edges, normalisation, ReLU.

    Parameters
    ----------
    before, after : int
        Channels in and out.
    kernel : int
        Side of the kernel, odd.
    stride : int
        Pixels from one position of the kernel to the next.
    norm : {"instance", "batch"} or None
        Normalisation behind the convolution.
    styles : int, optional
        Styles of the instance normalisation.
    relu : bool
        Whether a ReLU ends it.
    upsampling : {"resize", "deconvolution"}, optional
        How the map is first doubled, where it is.
    """

    def __init__(
        self,
        before: int,
        after: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        norm: Norm = "instance",
        styles: int | None = None,
        relu: bool = True,
        upsampling: Upsampling | None = None,
    ) -> None:
        super().__init__()
        edge = {"padding": kernel // 2, "padding_mode": "reflect"}
        if upsampling == "resize":
            # Differs from Johnson et al.: nearest pixels first, then a convolution, against chequered patterns.
            self.conv: nn.Module = ResizeConv(before, after, 2, kernel)
        elif upsampling == "deconvolution":
            self.conv = nn.ConvTranspose2d(before, after, kernel, 2, kernel // 2, output_padding=1)
        else:
            # Differs from Johnson et al.: mirrored here, rather than 40 pixels first and none in the blocks.
            self.conv = nn.Conv2d(before, after, kernel, stride, **edge)
        self.norm: nn.Module | None = None
        if norm == "instance":
            # Differs from Johnson et al., whose first net had batch normalisation: a picture is normed by itself.
            self.norm = InstanceNorm(after, styles)
        elif norm == "batch":
            self.norm = nn.BatchNorm2d(after)
        self.relu = relu

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """
        Convolve.

        Parameters
        ----------
        x : Tensor, shape (B, before, H, W)
            The map.
        shares : Tensor, optional
            Shares of the styles, as in `InstanceNorm`.

        Returns
        -------
        Tensor, shape (B, after, h, w)
            The next map: doubled, or divided by the stride and rounded up.
        """
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x, shares) if isinstance(self.norm, InstanceNorm) else self.norm(x)
        return F.relu(x, inplace=True) if self.relu else x


class Block(nn.Module):
    """
    A residual block: two 3x3 convolutions beside a shortcut, and no ReLU behind the sum.

    Parameters
    ----------
    channels : int
        Channels in and out.
    **options
        ``norm`` and ``styles``, as in `Layer`.

    References
    ----------
    Gross, Wilber, "Training and investigating Residual Nets", 2016.
    """

    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__()
        self.first = Layer(channels, channels, **options)
        self.second = Layer(channels, channels, relu=False, **options)

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """
        Refine a map.

        Parameters
        ----------
        x : Tensor, shape (B, channels, H, W)
            The map.
        shares : Tensor, optional
            Shares of the styles, as in `InstanceNorm`.

        Returns
        -------
        Tensor, shape (B, channels, H, W)
            The map.
        """
        return x + self.second(self.first(x, shares), shares)


class TransformNet(nn.Module):
    """
    Johnson's image transformation net; its defaults are the paper's, but for the departures below.

    Parameters
    ----------
    widths : sequence of int
        Channels at full, half and quarter size.
    blocks : int
        Residual blocks at quarter size.
    kernel : int
        Side of the first and of the last kernel, odd.
    styles : int, optional
        How many styles the net knows, each with its scales and shifts. Without it the net has the one it was trained
        for.
    norm : {"instance", "batch"} or None
        Normalisation behind each convolution but the last.
    upsampling : {"resize", "deconvolution"}
        How maps are doubled.
    edge : int
        Mirrored pixels around a picture while it is painted; without any its outermost pixels come out in other
        colours. The paper has 40, but its blocks mirror nothing.

    Attributes
    ----------
    styles, edge : int or None
        As given.

    Raises
    ------
    ValueError
        If a name is unknown, a number makes no sense, or there are styles without instance normalisation.

    References
    ----------
    Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016, section
    3.1, and table 1 of its supplementary material. Styles as in Dumoulin, Shlens, Kudlur, "A Learned Representation
    for Artistic Style", ICLR 2017.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128),
        blocks: int = 5,
        *,
        kernel: int = 9,
        styles: int | None = None,
        norm: Norm = "instance",
        upsampling: Upsampling = "resize",
        edge: int = 8,
    ) -> None:
        super().__init__()
        if len(widths) != 3 or min(widths) < 1 or blocks < 0 or kernel < 1 or kernel % 2 == 0 or kernel > 9:
            raise ValueError(f"{widths=}, {blocks=}, {kernel=}; give three widths and an odd kernel up to 9")
        if norm not in ("instance", "batch", None):
            raise ValueError(f"norm {norm!r} is none of 'instance', 'batch', None")
        if upsampling not in ("resize", "deconvolution"):
            raise ValueError(f"upsampling {upsampling!r} is none of 'resize', 'deconvolution'")
        if styles is not None and (styles < 1 or norm != "instance"):
            raise ValueError(f"{styles} styles with norm {norm!r}; styles are scales and shifts of norm 'instance'")
        if edge < 0:
            raise ValueError(f"{edge=}; mirror 0 pixels or more")
        self.styles, self.edge = styles, edge
        full, half, quarter = widths
        options: dict[str, Any] = {"norm": norm, "styles": styles}
        self.down1 = Layer(3, full, kernel, **options)
        self.down2 = Layer(full, half, 3, 2, **options)
        self.down3 = Layer(half, quarter, 3, 2, **options)
        self.blocks = nn.ModuleList(Block(quarter, **options) for _ in range(blocks))
        self.up1 = Layer(quarter, half, upsampling=upsampling, **options)
        self.up2 = Layer(half, full, upsampling=upsampling, **options)
        self.out = Layer(full, 3, kernel, norm=None, relu=False)
        initialise(self)

    def forward(self, images: Tensor, shares: Tensor | None = None) -> Tensor:
        """
        Paint pictures.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1], at least 8 pixels a side, and more than `edge`.
        shares : Tensor, shape (styles,) or (B, styles), optional
            How much each style counts, for all pictures or for each; shares that add up to 1 blend. A net with styles
            needs it, one without takes none.

        Returns
        -------
        Tensor, shape (B, 3, H, W)
            The pictures, RGB in [0, 1].

        Raises
        ------
        ValueError
            If the pictures are too small or have other channels, or the shares do not fit.
        """
        self._check(images, shares)
        height, width = images.shape[-2:]
        x = F.pad(images, (self.edge,) * 4, "reflect")
        for layer in (self.down1, self.down2, self.down3, *self.blocks, self.up1, self.up2):
            x = layer(x, shares)
        # Halves of odd sizes are rounded up, so what comes back may be up to three pixels larger.
        x = self.out(x)[..., self.edge : self.edge + height, self.edge : self.edge + width]
        # Differs from Johnson et al.: a sigmoid, for [0, 1], in place of 150 tanh.
        return torch.sigmoid(x)

    def _check(self, images: Tensor, shares: Tensor | None) -> None:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images of shape {tuple(images.shape)}; this net takes (B, 3, H, W): picture[None]")
        least = max(LEAST, self.edge + 1)
        if min(images.shape[-2:]) < least:
            size = "x".join(map(str, images.shape[-2:]))
            raise ValueError(f"pictures of {size} are too small for this net; it needs {least} pixels a side at least")
        if self.styles is None and shares is not None:
            raise ValueError("shares for a net of one style; call it without them")
        if self.styles is not None:
            legal = f"({self.styles},) or ({len(images)}, {self.styles})"
            if shares is None:
                raise ValueError(f"this net has {self.styles} styles; say how much each counts: shares {legal}")
            if shares.shape not in ((self.styles,), (len(images), self.styles)):
                raise ValueError(f"shares of shape {tuple(shares.shape)}; this net takes {legal}")
