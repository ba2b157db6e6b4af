"""ResNet, the backbone that detectors stand on."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)
DEPTHS = (3, 4, 6, 3)


class Frozen(nn.Module):
    """
    Batch normalisation with statistics that never change, for batches too small to measure them.

    Parameters
    ----------
    channels : int
        Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        """
        Normalise.

        Parameters
        ----------
        x : Tensor, shape (B, channels, H, W)
            Activations.

        Returns
        -------
        Tensor
            Of the same shape.
        """
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return x * scale[:, None, None] + (self.bias - self.running_mean * scale)[:, None, None]


NORMS = {"batch": nn.BatchNorm2d, "frozen": Frozen, "group": partial(nn.GroupNorm, 8)}
"""The norms by name: of the batch, of the batch and never changed, and of eight groups of channels."""


class Block(nn.Module):
    """
    Two 3x3 convolutions, added to their input; or a 1x1, a 3x3 and a 1x1 with a bottleneck between.

    Parameters
    ----------
    in_channels, width : int
        Channels of the input and of the 3x3 convolutions.
    stride : int
        Step of the (first) 3x3 convolution.
    expansion : int
        1 for two 3x3 convolutions; with a bottleneck, output channels for each of its own, 4 in the paper.
    norm : str
        Key of `NORMS`.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, figure 5.
    """

    def __init__(self, in_channels: int, width: int, stride: int, expansion: int, norm: str) -> None:
        super().__init__()
        out = width * expansion
        # Differs from He et al.: the step is on the 3x3 convolution of a bottleneck, not on the first 1x1.
        shapes = [(in_channels, width, 3, stride), (width, out, 3, 1)]
        if expansion > 1:
            shapes = [(in_channels, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)]
        self.depth = len(shapes)
        for i, (before, after, kernel, step) in enumerate(shapes, start=1):
            self.add_module(f"conv{i}", nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{i}", NORMS[norm](after))
        self.downsample = None
        if stride > 1 or in_channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(in_channels, out, 1, stride, bias=False), NORMS[norm](out))

    def forward(self, x: Tensor) -> Tensor:
        """
        Add what the convolutions make of the input to the input.

        Parameters
        ----------
        x : Tensor, shape (B, in_channels, H, W)
            Activations.

        Returns
        -------
        Tensor, shape (B, width * expansion, ceil(H / stride), ceil(W / stride))
            Activations.
        """
        y = x
        for i in range(1, self.depth + 1):
            y = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(y))
            y = y.relu() if i < self.depth else y
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    """
    The convolutional part of ResNet, whose stages work at strides 4, 8, 16 and 32.

    Layers are named as in torchvision, whose weights it loads.

    Parameters
    ----------
    depths : sequence of int
        Blocks in each stage; (3, 4, 6, 3) is ResNet-50 with bottlenecks, ResNet-34 without.
    widths : sequence of int
        Channels of the 3x3 convolutions of each stage.
    expansion : int
        As in `Block`.
    stem : int
        Channels of the first convolution.
    norm : str
        Key of `NORMS`.

    Attributes
    ----------
    out_channels : tuple of int
        Channels of the stages' outputs.

    Raises
    ------
    ValueError
        If depths and widths differ in length, or there is no norm of that name.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1.
    """

    def __init__(
        self,
        depths: Sequence[int] = DEPTHS,
        widths: Sequence[int] = WIDTHS,
        *,
        expansion: int = 4,
        stem: int = 64,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        if len(depths) != len(widths):
            raise ValueError(f"{len(depths)} depths for {len(widths)} widths; give one of each a stage")
        if norm not in NORMS:
            raise ValueError(f"norm {norm!r} is not known; choose one of {', '.join(NORMS)}")
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = NORMS[norm](stem)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = stem
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
            blocks = []
            for i in range(depth):
                blocks.append(Block(before, width, 2 if stage > 1 and i == 0 else 1, expansion, norm))
                before = width * expansion
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.out_channels = tuple(width * expansion for width in widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor, stages: int | None = None) -> list[Tensor]:
        """
        Compute the outputs of the stages, C2, C3 and so on.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            The images.
        stages : int, optional
            How many stages to compute, from the first; by default all.

        Returns
        -------
        list of Tensor
            Output k, from 0, is ``(B, out_channels[k], ceil(H / 2**(k + 2)), ceil(W / 2**(k + 2)))``.
        """
        x = self.maxpool(self.bn1(self.conv1(images)).relu())
        maps = []
        for stage in range(1, (stages or len(self.out_channels)) + 1):
            x = self.get_submodule(f"layer{stage}")(x)
            maps.append(x)
        return maps
