"""VGG, the backbone of the book, with its layers under the names that papers use."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch.nn as nn
from torch import Tensor

WIDTHS = (64, 128, 256, 512, 512)
CONVS = (2, 2, 3, 3, 3)


def conv_stage(
    stage: int, channels: Sequence[int], *, norm: bool = False, first_padding: int = 1
) -> "OrderedDict[str, nn.Module]":
    """
    Build one stage: 3x3 convolutions, each followed by a ReLU.

    Parameters
    ----------
    stage : int
        Number of the stage, used in the names: ``conv3_2``, ``norm3_2``, ``relu3_2``.
    channels : sequence of int
        Channels before the first convolution and after each one: one more entry than there are convolutions.
    norm : bool
        Whether batch normalisation follows each convolution; its shift then replaces the convolution's bias.
    first_padding : int
        Zero padding of the first convolution, in pixels; the others keep the size.

    Returns
    -------
    OrderedDict of str to nn.Module
        The layers by name, in order.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (before, after) in enumerate(pairwise(channels), start=1):
        padding = first_padding if i == 1 else 1
        layers[f"conv{stage}_{i}"] = nn.Conv2d(before, after, 3, padding=padding, bias=not norm)
        if norm:
            layers[f"norm{stage}_{i}"] = nn.BatchNorm2d(after)
        layers[f"relu{stage}_{i}"] = nn.ReLU()
    return layers


def initialise(net: nn.Module) -> None:
    """
    Give every 3x3 convolution weights that keep the variance of its input through the ReLU.

    Parameters
    ----------
    net : nn.Module
        The net whose convolutions are set, in place; transposed convolutions are left alone.

    References
    ----------
    He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 10.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class VGG(nn.Module):
    """
    The convolutional part of VGG, without its fully connected layers.

    Parameters
    ----------
    in_channels : int
        Channels of the image.
    widths : sequence of int
        Channels of the stages; the paper's are 64, 128, 256, 512, 512.
    convs : sequence of int
        Convolutions in each stage; (2, 2, 3, 3, 3) is VGG-16, (2, 2, 4, 4, 4) is VGG-19.
    norm : bool
        Whether batch normalisation follows each convolution.
    first_padding : int
        Zero padding of ``conv1_1`` in pixels. FCN's is 100.

    Raises
    ------
    ValueError
        If ``widths`` and ``convs`` differ in length.

    References
    ----------
    Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
    table 1.
    """

    def __init__(
        self,
        in_channels: int = 3,
        *,
        widths: Sequence[int] = WIDTHS,
        convs: Sequence[int] = CONVS,
        norm: bool = False,
        first_padding: int = 1,
    ) -> None:
        super().__init__()
        if len(widths) != len(convs):
            raise ValueError(f"{len(widths)} widths for {len(convs)} stages; give one width a stage")
        before = in_channels
        for stage, (width, count) in enumerate(zip(widths, convs, strict=True), start=1):
            channels = [before, *[width] * count]
            padding = first_padding if stage == 1 else 1
            for name, layer in conv_stage(stage, channels, norm=norm, first_padding=padding).items():
                self.add_module(name, layer)
            # Odd sizes keep their last row and column, as in Caffe, where FCN was made.
            self.add_module(f"pool{stage}", nn.MaxPool2d(2, ceil_mode=True))
            before = width
        initialise(self)

    def forward(self, image: Tensor, layers: Iterable[str] = ("pool5",)) -> dict[str, Tensor]:
        """
        Compute the activations of the named layers.

        Parameters
        ----------
        image : Tensor, shape (B, in_channels, H, W)
            The images.
        layers : iterable of str
            Names such as ``"relu3_3"`` or ``"pool4"``; nothing deeper than the last of them is computed.

        Returns
        -------
        dict of str to Tensor
            The activations by name. ``poolK`` is ``(B, C, ceil(H / 2**K), ceil(W / 2**K))`` where nothing but
            the pooling changes the size.

        Raises
        ------
        ValueError
            If the net has no layer of that name.
        """
        wanted = set(layers)
        if unknown := wanted - set(self._modules):
            raise ValueError(f"no layer {sorted(unknown)}; this net has {', '.join(self._modules)}")
        found: dict[str, Tensor] = {}
        x = image
        for name, layer in self.named_children():
            if len(found) == len(wanted):
                break
            x = layer(x)
            if name in wanted:
                found[name] = x
        return found
