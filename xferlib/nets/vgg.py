"""VGG, the backbone of the book, with its layers under the names that papers use."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from copy import deepcopy
from itertools import pairwise

import torch
import torch.nn as nn
from torch import Tensor

from xferlib.ops._halves import check_floats

WIDTHS = (64, 128, 256, 512, 512)
CONVS = (2, 2, 3, 3, 3)
POOLINGS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's red, green and blue in [0, 1]."""


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
    Give every convolution weights that keep the variance of its input through the ReLU.

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


class Normalise(nn.Module):
    """Bring RGB in [0, 1] to a mean of 0 and a variance of 1 over ImageNet."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """
        Normalise images.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1].

        Returns
        -------
        Tensor, shape (B, 3, H, W)
            The same, each channel shifted and scaled.

        Raises
        ------
        ValueError
            If the images are no floats.
        """
        check_floats(images)
        return (images - self.mean) / self.std


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
    pooling : {"max", "average"}
        What takes each 2x2 square together. Gatys et al. (2016, section 2) find averages better where images are made
        from the features.
    normalise : bool
        Whether the net takes RGB in [0, 1] and normalises it first, as the ImageNet weights want it.

    Raises
    ------
    ValueError
        If ``widths`` and ``convs`` differ in length, or there is no such pooling.

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
        pooling: str = "max",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        if len(widths) != len(convs):
            raise ValueError(f"{len(widths)} widths for {len(convs)} stages; give one width a stage")
        if pooling not in POOLINGS:
            raise ValueError(f"pooling {pooling!r} is none of {', '.join(map(repr, POOLINGS))}")
        if normalise:
            self.normalise = Normalise()
        before = in_channels
        for stage, (width, count) in enumerate(zip(widths, convs, strict=True), start=1):
            channels = [before, *[width] * count]
            padding = first_padding if stage == 1 else 1
            for name, layer in conv_stage(stage, channels, norm=norm, first_padding=padding).items():
                self.add_module(name, layer)
            # Odd sizes keep their last row and column, as in Caffe, where FCN was made.
            self.add_module(f"pool{stage}", POOLINGS[pooling](2, ceil_mode=True))
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
            If the net has no layer of that name, or normalises images that are no floats.
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


@torch.no_grad()
def equalise(net: VGG, images: Tensor, least: float = 0.3) -> VGG:
    """
    Scale every filter to a mean activation of one, or less where it is faint, as a loss network wants it.

    A ReLU lets a positive factor through, so what a filter is multiplied by, the next convolution divides by: each
    activation of the copy is that of the net times a factor of its filter.

    Parameters
    ----------
    net : VGG
        Net without batch normalisation; it is left as it is.
    images : Tensor, shape (B, in_channels, H, W)
        Photographs, of which the mean is over all positions.
    least : float
        A filter whose mean, over the norm of its weights, is below this share of its layer's is multiplied as if it
        were that share: what photographs hardly hold, such as the finest detail of colour, is not turned up until it
        outshouts the rest.

    Returns
    -------
    VGG
        The copy.

    Raises
    ------
    ValueError
        If the net has batch normalisation.

    References
    ----------
    Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016, section 2.
    """
    if any(isinstance(module, nn.BatchNorm2d) for module in net.modules()):
        raise ValueError("the net has batch normalisation; fold it first, see xferlib.nets.folding.fold")
    net = deepcopy(net)
    convs = {name: layer for name, layer in net.named_children() if isinstance(layer, nn.Conv2d)}
    found = net(images, [_rectified(name) for name in convs])
    before = None
    for name, conv in convs.items():
        if before is not None:
            conv.weight.mul_(before[:, None, None])
        norms = conv.weight.flatten(1).norm(dim=1)
        norms = norms.clamp(min=1e-6 * norms.max())
        means = found[_rectified(name)].mean((0, 2, 3)) / norms
        means = norms * means.clamp(min=least * means.mean())
        conv.weight.div_(means[:, None, None, None])
        if conv.bias is not None:
            conv.bias.div_(means)
        before = means
    return net


def _rectified(conv: str) -> str:
    return conv.replace("conv", "relu")
