"""Fully convolutional networks: FCN-32s, FCN-16s and FCN-8s."""

from collections.abc import Mapping, Sequence

import torch.nn as nn
from torch import Tensor

from xferlib.nets.vgg import CONVS, VGG, WIDTHS, initialise
from xferlib.ops.resample import bilinear_kernel

SKIPS = {32: (), 16: ("pool4",), 8: ("pool4", "pool3")}


class Deconvolution(nn.ConvTranspose2d):
    """
    A transposed convolution that starts as bilinear interpolation, one kernel a channel.

    Differs from Long et al.: their kernels join every pair of channels, with zeros off the diagonal; those
    zeros are left out here.

    Parameters
    ----------
    channels : int
        Channels of the map, kept.
    factor : int
        How many times the map is enlarged; the kernel has twice that side.
    learned : bool
        Whether training may change the kernel.

    References
    ----------
    Long, Shelhamer, Darrell, CVPR 2015, section 3.3.
    """

    def __init__(self, channels: int, factor: int, learned: bool) -> None:
        super().__init__(channels, channels, 2 * factor, stride=factor, groups=channels, bias=False)
        self.weight.data.copy_(bilinear_kernel(2 * factor).expand_as(self.weight))
        self.weight.requires_grad_(learned)


def as_convolution(linear: nn.Linear, kernel: int) -> nn.Conv2d:
    """
    Turn a fully connected layer that reads a flattened map into a convolution that reads the map.

    Parameters
    ----------
    linear : nn.Linear
        The layer; it reads the ``C * kernel * kernel`` values of a flattened ``(C, kernel, kernel)`` map.
    kernel : int
        Side of that map in cells.

    Returns
    -------
    nn.Conv2d
        A convolution with the same weights, copied: on a map of that size it gives the layer's output, on a
        larger one the output at every position.

    Raises
    ------
    ValueError
        If the inputs are not a whole number of ``kernel`` x ``kernel`` maps.

    References
    ----------
    Long, Shelhamer, Darrell, CVPR 2015, section 3.1.
    """
    channels, rest = divmod(linear.in_features, kernel * kernel)
    if rest or not channels:
        raise ValueError(f"{linear.in_features} inputs are not a whole number of {kernel}x{kernel} maps")
    conv = nn.Conv2d(channels, linear.out_features, kernel, bias=linear.bias is not None)
    state = {name: value.clone() for name, value in linear.state_dict().items()}
    state["weight"] = state["weight"].view_as(conv.weight)
    conv.load_state_dict(state)
    return conv


class FCN(nn.Module):
    """
    A fully convolutional network on VGG; its defaults are the paper's FCN-8s on VGG-16.

    Parameters
    ----------
    num_classes : int
        Classes to tell apart, background included.
    stride : {8, 16, 32}
        Stride of the finest scores: 32 has no skip, 16 joins pool4, 8 joins pool4 and pool3.
    in_channels : int
        Channels of the image.
    widths, convs : sequence of int
        The five stages of the backbone, see `xferlib.nets.vgg.VGG`.
    hidden : int
        Channels of ``fc6`` and ``fc7``, VGG's fully connected layers turned into convolutions.
    hidden_kernel : int
        Side of ``fc6``; VGG's is 7.
    padding : int
        Zero padding of the first convolution in pixels. The paper's 100 lets any image through; 1 costs far
        less, and then ``fc6`` pads its own input, so that every size works too.
    norm : bool
        Whether batch normalisation follows each convolution; training from random weights needs it.
    dropout : float
        Share of ``fc6`` and ``fc7`` dropped while training.
    learned : bool
        Whether the last deconvolution is learned; the paper fixes it to bilinear interpolation.

    Raises
    ------
    ValueError
        If the stride is not 8, 16 or 32, or the backbone does not have five stages.

    References
    ----------
    Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015.
    """

    def __init__(
        self,
        num_classes: int = 21,
        stride: int = 8,
        *,
        in_channels: int = 3,
        widths: Sequence[int] = WIDTHS,
        convs: Sequence[int] = CONVS,
        hidden: int = 4096,
        hidden_kernel: int = 7,
        padding: int = 100,
        norm: bool = False,
        dropout: float = 0.5,
        learned: bool = False,
    ) -> None:
        super().__init__()
        if stride not in SKIPS:
            raise ValueError(f"stride {stride} is not one of 8, 16, 32, for which FCN has skips")
        if len(widths) != 5:
            raise ValueError(f"{len(widths)} stages; FCN's strides need a backbone of 5")
        self.skips = SKIPS[stride]
        self.padding = padding
        self.stride = 32  # of its pooling; the argument's is that of its finest logits
        self.backbone = VGG(in_channels, widths=widths, convs=convs, norm=norm, first_padding=padding)
        fc6_padding = hidden_kernel // 2 if padding == 1 else 0
        self._cells_cut = hidden_kernel // 2 - fc6_padding
        self.head = nn.Sequential()
        for name, before, kernel in (("6", widths[-1], hidden_kernel), ("7", hidden, 1)):
            pad = fc6_padding if name == "6" else 0
            self.head.add_module(f"fc{name}", nn.Conv2d(before, hidden, kernel, padding=pad, bias=not norm))
            if norm:
                self.head.add_module(f"norm{name}", nn.BatchNorm2d(hidden))
            self.head.add_module(f"relu{name}", nn.ReLU())
            self.head.add_module(f"drop{name}", nn.Dropout2d(dropout))
        initialise(self.head)
        pooled = dict(zip(("pool1", "pool2", "pool3", "pool4", "pool5"), widths, strict=True))
        self.score = nn.ModuleDict({"fc7": nn.Conv2d(hidden, num_classes, 1)})
        self.score.update({name: nn.Conv2d(pooled[name], num_classes, 1) for name in self.skips})
        for layer in self.score.values():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.upscore = nn.ModuleDict({name: Deconvolution(num_classes, 2, True) for name in self.skips})
        self.upscore["image"] = Deconvolution(num_classes, stride, learned)

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
        """
        return self.fuse(self.scores(image), image.shape[-2:])

    def scores(self, image: Tensor) -> dict[str, Tensor]:
        """
        Compute the score map of each depth, before they are joined.

        Parameters
        ----------
        image : Tensor, shape (B, in_channels, H, W)
            RGB in [0, 1].

        Returns
        -------
        dict of str to Tensor
            ``"fc7"`` at stride 32 and, for each skip, ``"pool4"`` at 16 and ``"pool3"`` at 8.
        """
        features = self.backbone(image, ("pool5", *self.skips))
        features["fc7"] = self.head(features.pop("pool5"))
        return {name: layer(features[name]) for name, layer in self.score.items()}

    def fuse(self, scores: Mapping[str, Tensor], size: Sequence[int]) -> Tensor:
        """
        Enlarge the coarse scores, adding the finer ones on the way.

        Parameters
        ----------
        scores : mapping of str to Tensor
            As `scores` gives them.
        size : sequence of int
            Height and width of the image.

        Returns
        -------
        Tensor, shape (B, num_classes, H, W)
            Logits.
        """
        stride, x = 32, scores["fc7"]
        centre = _first_centre(stride, self.padding) + stride * self._cells_cut
        for name in self.skips:
            x, stride, centre = self._enlarge(name, x, stride, centre)
            offset = round((centre - _first_centre(stride, self.padding)) / stride)
            x, skip = _overlap(x, scores[name], offset)
            x, centre = x + skip, centre + stride * max(-offset, 0)
        x, stride, centre = self._enlarge("image", x, stride, centre)
        start = round(-centre)
        height, width = size
        return x[..., start : start + height, start : start + width]

    def _enlarge(self, name: str, x: Tensor, stride: int, centre: float) -> tuple[Tensor, int, float]:
        layer = self.upscore[name]
        stride //= layer.stride[0]
        return layer(x), stride, centre - stride * (layer.kernel_size[0] - 1) / 2


def _first_centre(stride: int, padding: int) -> float:
    """Give the image coordinate of the centre of a pooled map's first cell."""
    return (stride - 1) / 2 - (padding - 1)


def _overlap(x: Tensor, y: Tensor, offset: int) -> tuple[Tensor, Tensor]:
    """Crop two maps to what they share, where x[0] lies over y[offset]."""
    x = x[..., max(-offset, 0) :, max(-offset, 0) :]
    y = y[..., max(offset, 0) :, max(offset, 0) :]
    height, width = (min(a, b) for a, b in zip(x.shape[-2:], y.shape[-2:], strict=True))
    return x[..., :height, :width], y[..., :height, :width]
