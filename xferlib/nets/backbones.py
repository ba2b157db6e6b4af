"""Backbones of dense nets: ResNet without its last steps, and what stands on it."""

from copy import deepcopy
from typing import Any
from urllib.error import URLError

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xferlib.nets.resnet import ResNet
from xferlib.nets.vgg import VGG, WIDTHS
from xferlib.ops._halves import check_floats

IMAGENET = {"resnet18": ((2, 2, 2, 2), 1), "resnet34": ((3, 4, 6, 3), 1), "resnet50": ((3, 4, 6, 3), 4)}
"""Blocks in each stage, and the expansion, of the nets with ImageNet weights."""


def dilated(net: ResNet, stride: int = 8) -> ResNet:
    """
    Keep the resolution from a stride on: each step left out spreads all later kernels instead.

    With the weights as they are, the finer maps hold the values of the coarse ones and new ones between them.

    Parameters
    ----------
    net : ResNet
        The net; it is left as it is.
    stride : {4, 8, 16, 32}
        Coarsest stride to keep.

    Returns
    -------
    ResNet
        A copy whose stages beyond that stride have step 1 and dilation 2, 4 and so on.

    Raises
    ------
    ValueError
        If the stride is not 4, 8, 16 or 32.

    References
    ----------
    Yu, Koltun, Funkhouser, "Dilated Residual Networks", CVPR 2017, section 2; Zhao et al., "Pyramid Scene Parsing
    Network", CVPR 2017, section 3.3.
    """
    if stride not in (4, 8, 16, 32):
        raise ValueError(f"stride {stride} is not one of 4, 8, 16, 32, the strides of a ResNet's stages")
    net = deepcopy(net)
    spacing = 1
    for stage in range(1, len(net.out_channels) + 1):
        for module in net.get_submodule(f"layer{stage}").modules():
            if not isinstance(module, nn.Conv2d):
                continue
            _spread(module, spacing)
            if module.stride[0] > 1 and 2 ** (stage + 1) > stride:
                module.stride = (1, 1)
                if module.kernel_size[0] > 1:  # not for the shortcut, which makes the same step once more
                    spacing *= 2
    return net


def _spread(conv: nn.Conv2d, dilation: int) -> None:
    conv.dilation = (dilation, dilation)
    conv.padding = (dilation * (conv.kernel_size[0] // 2),) * 2


class DilatedVGG(nn.Module):
    """
    VGG whose last two poolings keep the resolution, a backbone for `Dense` at stride 8.

    Parameters
    ----------
    **vgg
        Arguments of `xferlib.nets.vgg.VGG`, of five stages.

    Attributes
    ----------
    out_channels : tuple of int
        Channels of the outputs of stages 3, 4 and 5.

    References
    ----------
    Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015,
    section 3.1.
    """

    def __init__(self, **vgg: Any) -> None:
        super().__init__()
        self.vgg = VGG(**vgg)
        for name, module in list(self.vgg.named_children()):
            if name in ("pool4", "pool5"):
                setattr(self.vgg, name, nn.MaxPool2d(3, 1, 1))
            elif isinstance(module, nn.Conv2d) and name.startswith("conv5"):
                _spread(module, 2)
        self.out_channels = tuple(vgg.get("widths", WIDTHS)[2:])

    def forward(self, images: Tensor) -> list[Tensor]:
        """
        Compute the outputs of stages 3, 4 and 5.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            The images.

        Returns
        -------
        list of Tensor
            Three maps, ``(B, out_channels[k], ceil(H / 8), ceil(W / 8))``.
        """
        return list(self.vgg(images, ("pool3", "pool4", "pool5")).values())


def imagenet(name: str = "resnet50") -> ResNet:
    """
    Give a ResNet with torchvision's ImageNet weights, which are downloaded when they are first asked for.

    Its input is normalised as `Dense` does.

    Parameters
    ----------
    name : {"resnet18", "resnet34", "resnet50"}
        Which net.

    Returns
    -------
    ResNet
        The net in evaluation mode.

    Raises
    ------
    ValueError
        If there is no such net.
    ConnectionError
        If the weights are not on this machine and cannot be downloaded.
    """
    from torchvision.models import get_model_weights

    if name not in IMAGENET:
        raise ValueError(f"no backbone is named {name!r}; there are {', '.join(IMAGENET)}")
    depths, expansion = IMAGENET[name]
    net = ResNet(depths, expansion=expansion)
    try:
        weights = get_model_weights(name).DEFAULT.get_state_dict(progress=False)
    except (URLError, OSError) as error:
        raise ConnectionError(
            f"the ImageNet weights of {name} could not be downloaded ({error}); go online once, or train from random "
            "weights with xferlib.nets.resnet.ResNet"
        ) from error
    known = net.state_dict()
    net.load_state_dict({key: value for key, value in weights.items() if key in known})
    return net.eval()


def conv3x3(before: int, after: int, kernel: int = 3, dilation: int = 1, stride: int = 1) -> nn.Sequential:
    """
    Build a convolution that keeps the size (but for its step), batch normalisation and ReLU.

    Parameters
    ----------
    before, after : int
        Channels.
    kernel : int
        Side of the kernel, odd.
    dilation, stride : int
        Spacing of the kernel's cells, and step.

    Returns
    -------
    nn.Sequential
        The three layers.
    """
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )


class Dense(nn.Module):
    """
    A backbone at full training, a head that scores its last map, and an auxiliary head on the map before.

    Parameters
    ----------
    backbone : nn.Module
        Gives a list of maps and tells their channels in ``out_channels``.
    head : nn.Module
        Makes class scores of the last map.
    num_classes : int
        Classes of the auxiliary scores.
    auxiliary : int
        Channels of the auxiliary head's convolution; 0 for no such head.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, num_classes: int, auxiliary: int = 256) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.auxiliary = None
        if auxiliary:
            before = backbone.out_channels[-2]
            self.auxiliary = nn.Sequential(conv3x3(before, auxiliary), nn.Conv2d(auxiliary, num_classes, 1))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        """
        Score every pixel.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1]; any H and W.

        Returns
        -------
        Tensor, shape (B, num_classes, H, W), or dict of str to Tensor
            Logits; in training mode those of the head, "main", and of the auxiliary head, "auxiliary", by name, as
            `xferlib.losses.segmentation.cascade_loss` takes them.

        Raises
        ------
        ValueError
            If the images are no floats.
        """
        check_floats(images)
        *_, before, last = self.backbone((images - self.mean) / self.std)
        main = enlarge(self.head(last), images.shape[-2:])
        if not self.training:
            return main
        if self.auxiliary is None:
            return {"main": main}
        return {"main": main, "auxiliary": enlarge(self.auxiliary(before), images.shape[-2:])}


def enlarge(x: Tensor, size: Any) -> Tensor:
    """
    Interpolate bilinearly.

    Parameters
    ----------
    x : Tensor, shape (B, C, h, w)
        A map.
    size : sequence of int
        Height and width to give it.

    Returns
    -------
    Tensor, shape (B, C, *size)
        The map, its corner pixels' outer edges on the same place.
    """
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)
