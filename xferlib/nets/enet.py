"""ENet: real-time segmentation from one bottleneck in five variants."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

Kind = Literal["regular", "dilated", "asymmetric", "down", "up"]
SECTION: tuple[tuple[Kind, int], ...] = (
    ("regular", 3), ("dilated", 2), ("asymmetric", 5), ("dilated", 4),
    ("regular", 3), ("dilated", 8), ("asymmetric", 5), ("dilated", 16),
)  # fmt: skip
"""Bottlenecks 2.1 to 2.8, which section 3 repeats: kind, and side of the kernel or dilation."""


class Initial(nn.Module):
    """
    The first block: a strided convolution beside a pooling of the image.

    Parameters
    ----------
    before, after : int
        Channels of the image and of the block's output; the convolution makes what the image lacks.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(before, after - before, 3, stride=2, padding=1))
        self.pool = nn.Sequential(nn.MaxPool2d(2, ceil_mode=True))
        for part, channels in ((self.conv, after - before), (self.pool, before)):
            part.append(nn.BatchNorm2d(channels))  # norming the parts is norming them joined
        self.activation = nn.PReLU(after)

    def forward(self, image: Tensor) -> Tensor:
        """
        Halve the image.

        Parameters
        ----------
        image : Tensor, shape (B, before, H, W)
            RGB in [0, 1].

        Returns
        -------
        Tensor, shape (B, after, ceil(H / 2), ceil(W / 2))
            Activations.
        """
        return self.activation(torch.cat([self.conv(image), self.pool(image)], 1))


class Bottleneck(nn.Module):
    """
    ENet's one building block: a thin branch of three convolutions, added to a shortcut.

    Parameters
    ----------
    before, after : int
        Channels in and out; the branch is a quarter of ``after`` wide.
    kind : {"regular", "dilated", "asymmetric", "down", "up"}
        What the branch's middle convolution is: plain, dilated 3x3, a row kernel after which comes a column
        kernel, plain behind a 2x2 projection of stride 2, or transposed.
    number : int
        Side of the kernel; the dilation where the kind is "dilated".
    dropout : float
        Share of the branch's channels dropped while training.
    activation : {"prelu", "relu"}
        The encoder's or the decoder's.

    References
    ----------
    Paszke et al. 2016, figure 2b.
    """

    def __init__(
        self,
        before: int,
        after: int,
        kind: Kind = "regular",
        number: int = 3,
        *,
        dropout: float = 0.0,
        activation: Literal["prelu", "relu"] = "prelu",
    ) -> None:
        super().__init__()
        act = nn.PReLU if activation == "prelu" else lambda channels: nn.ReLU()
        thin = after // 4
        stride = 2 if kind == "down" else 1
        project = nn.Conv2d(before, thin, stride, stride=stride, bias=False)
        expand = nn.Conv2d(thin, after, 1, bias=False)
        self.branch = nn.Sequential(
            *(project, nn.BatchNorm2d(thin), act(thin)),
            *(*_middle(kind, number, thin), nn.BatchNorm2d(thin), act(thin)),
            *(expand, nn.BatchNorm2d(after), nn.Dropout2d(dropout)),
        )
        self.activation = act(after)

    def forward(self, x: Tensor) -> Tensor:
        """
        Refine the activations.

        Parameters
        ----------
        x : Tensor, shape (B, before, H, W)
            Activations.

        Returns
        -------
        Tensor, shape (B, after, H, W)
            Activations.
        """
        return self.activation(self.branch(x).add_(x))


class Down(Bottleneck):
    """
    A bottleneck that halves the map; its shortcut is a max pooling, filled up with empty channels.

    Parameters
    ----------
    before, after : int
        Channels in and out.
    dropout : float
        As in `Bottleneck`.
    """

    def __init__(self, before: int, after: int, *, dropout: float = 0.0) -> None:
        super().__init__(before, after, "down", dropout=dropout)
        self.added = after - before

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """
        Halve the map.

        Parameters
        ----------
        x : Tensor, shape (B, before, H, W)
            Activations.

        Returns
        -------
        Tensor, shape (B, after, ceil(H / 2), ceil(W / 2))
            Activations.
        Tensor, shape (B, before, ceil(H / 2), ceil(W / 2))
            Places of the maxima in their channel, for `Up`.
        """
        pooled, places = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        even = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
        shortcut = F.pad(pooled, (0, 0, 0, 0, 0, self.added))
        return self.activation(self.branch(even).add_(shortcut)), places


class Up(Bottleneck):
    """
    A bottleneck that doubles the map; its shortcut unpools to where the encoder's maxima were.

    Parameters
    ----------
    before, after : int
        Channels in and out.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, "up", activation="relu")
        self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
        """
        Double the map.

        Parameters
        ----------
        x : Tensor, shape (B, before, h, w)
            Activations.
        places : Tensor, shape (B, after, h, w)
            Places of the maxima, from `Down`.
        size : tuple of int
            Height and width of the map that was pooled there: 2h or 2h - 1, 2w or 2w - 1.

        Returns
        -------
        Tensor, shape (B, after, *size)
            Activations.
        """
        shortcut = F.max_unpool2d(self.shortcut(x), places, 2, output_size=size)
        return self.activation(shortcut.add_(self.branch(x)[..., : size[0], : size[1]]))


class ENet(nn.Module):
    """
    ENet; its defaults are the paper's.

    Layers carry the names of the paper's table 1, with an underscore for the dot: ``initial``,
    ``bottleneck1_0`` to ``bottleneck5_1``, ``fullconv``.

    Parameters
    ----------
    num_classes : int
        Classes to tell apart.
    in_channels : int
        Channels of the image.
    section : sequence of (str, int)
        Kind and number of each bottleneck of section 2 behind 2.0, and again of section 3.

    Notes
    -----
    Differs from Paszke et al.: encoder and decoder are trained together rather than one after the other. The
    row kernel comes before the column kernel, as in the authors' code and not as in their text.

    References
    ----------
    Paszke, Chaurasia, Kim, Culurciello, "ENet: A Deep Neural Network Architecture for Real-Time Semantic
    Segmentation", 2016, table 1.
    """

    def __init__(
        self,
        num_classes: int = 11,
        *,
        in_channels: int = 3,
        section: Sequence[tuple[Kind, int]] = SECTION,
    ) -> None:
        super().__init__()
        self.initial = Initial(in_channels, 16)
        self.bottleneck1_0 = Down(16, 64, dropout=0.01)
        for i in range(1, 5):
            self.add_module(f"bottleneck1_{i}", Bottleneck(64, 64, dropout=0.01))
        self.bottleneck2_0 = Down(64, 128, dropout=0.1)
        for number, first in ((2, 1), (3, 0)):
            for i, variant in enumerate(section, start=first):
                self.add_module(f"bottleneck{number}_{i}", Bottleneck(128, 128, *variant, dropout=0.1))
        self.bottleneck4_0 = Up(128, 64)
        for i in range(1, 3):
            self.add_module(f"bottleneck4_{i}", Bottleneck(64, 64, activation="relu"))
        self.bottleneck5_0 = Up(64, 16)
        self.bottleneck5_1 = Bottleneck(16, 16, activation="relu")
        self.fullconv = nn.ConvTranspose2d(16, num_classes, 2, stride=2)
        self.in_channels, self.stride = in_channels, 8

    def forward(self, image: Tensor) -> Tensor:
        """
        Score every pixel.

        Parameters
        ----------
        image : Tensor, shape (B, in_channels, H, W)
            RGB in [0, 1]; any H and W.

        Returns
        -------
        Tensor, shape (B, num_classes, H, W)
            Logits.

        Raises
        ------
        ValueError
            If the image has other channels, or no pixel.
        """
        if image.ndim != 4 or image.shape[1] != self.in_channels or not image.numel():
            raise ValueError(f"image of shape {tuple(image.shape)}; this ENet takes (B, {self.in_channels}, H, W)")
        x, places = image, []
        for layer in self.children():
            if isinstance(layer, Down):
                size = x.shape[-2:]
                x, indices = layer(x)
                places.append((indices, size))
            elif isinstance(layer, Up):
                x = layer(x, *places.pop())
            else:
                x = layer(x)
        return x[..., : image.shape[-2], : image.shape[-1]]


def _middle(kind: Kind, number: int, channels: int) -> list[nn.Module]:
    match kind:
        case "regular" | "down":
            return [nn.Conv2d(channels, channels, number, padding=number // 2)]
        case "dilated":
            return [nn.Conv2d(channels, channels, 3, padding=number, dilation=number)]
        case "asymmetric":
            row = nn.Conv2d(channels, channels, (1, number), padding=(0, number // 2), bias=False)
            return [row, nn.Conv2d(channels, channels, (number, 1), padding=(number // 2, 0))]
        case "up":
            return [nn.ConvTranspose2d(channels, channels, number, stride=2, padding=1, output_padding=1)]
    raise ValueError(f"bottleneck {kind!r} is none of 'regular', 'dilated', 'asymmetric', 'down', 'up'")
