"""The same net, faster: what inference can leave out or do in another order."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xferlib.nets.resnet import Block, ResNet
from xferlib.nets.transform_net import InstanceNorm
from xferlib.nets.vgg import VGG

_IN_ORDER = (nn.Sequential, VGG, Block, ResNet)  # a norm normalises what the child before it gives


def accelerate(net: nn.Module) -> nn.Module:
    """
    Copy a net into the form in which a CPU runs it fastest.

    Parameters
    ----------
    net : nn.Module
        Net of images (B, C, H, W), in evaluation mode.

    Returns
    -------
    nn.Module
        A copy for inference: `fold`, then `swap_pooling`, then `channels_last` but for nets with instance
        normalisation, which works on one channel after the other. Layers keep their names; the results differ by
        rounding.

    Raises
    ------
    ValueError
        If the net is in training mode.

    Notes
    -----
    Rounding can move a maximum to its neighbour where the two are equal to seven digits. A net that unpools,
    such as ENet, then differs there by more than rounding, in a few pixels of a million.
    """
    net = swap_pooling(fold(net))
    return net if any(isinstance(module, InstanceNorm) for module in net.modules()) else channels_last(net)


def fold(net: nn.Module) -> nn.Module:
    """
    Fold each batch normalisation into the convolution before it.

    Parameters
    ----------
    net : nn.Module
        Net in evaluation mode.

    Returns
    -------
    nn.Module
        A copy for inference. In each `torch.nn.Sequential`, VGG, ResNet and block of one, however deep, an
        identity takes the place of a batch normalisation that follows a convolution, and of dropout.

    Raises
    ------
    ValueError
        If the net is in training mode, where normalisation depends on the batch.

    Notes
    -----
    With its running statistics normalisation is one scale and one shift a channel. A convolution is linear,
    so its weights and its bias can take them over. Transposed convolutions in groups stay as they are.
    """
    if any(module.training for module in net.modules()):
        raise ValueError(f"{type(net).__name__} is in training mode; call net.eval() before folding it")
    folded = copy.deepcopy(net)
    for parent in list(folded.modules()):
        before = ""
        for name, layer in list(parent.named_children()) if isinstance(parent, _IN_ORDER) else ():
            conv = parent._modules.get(before)
            if _can_fold(conv, layer):
                transpose = isinstance(conv, nn.ConvTranspose2d)
                setattr(parent, before, fuse_conv_bn_eval(conv, layer, transpose))
                setattr(parent, name, nn.Identity())
            elif isinstance(layer, nn.Dropout | nn.Dropout2d):
                setattr(parent, name, nn.Identity())
            before = name
    return folded


def _can_fold(conv: nn.Module | None, norm: nn.Module) -> bool:
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
        return False
    return isinstance(conv, nn.Conv2d) or (isinstance(conv, nn.ConvTranspose2d) and conv.groups == 1)


def swap_pooling(net: nn.Module) -> nn.Module:
    """
    Swap 2x2 pooling that keeps a last odd row and column for one that is faster on a CPU.

    Parameters
    ----------
    net : nn.Module
        Any net.

    Returns
    -------
    nn.Module
        A copy in which `Pool` does such pooling inside each `torch.nn.Sequential`.
    """
    swapped = copy.deepcopy(net)
    for parent in list(swapped.modules()):
        for name, layer in list(parent.named_children()) if isinstance(parent, nn.Sequential) else ():
            if isinstance(layer, nn.MaxPool2d) and _is_plain(layer):
                setattr(parent, name, Pool())
    return swapped


def _is_plain(pool: nn.MaxPool2d) -> bool:
    sides = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    return sides == (2, 2, 0, 1) and pool.ceil_mode and not pool.return_indices


class Pool(nn.Module):
    """
    Max pooling 2x2 of any size, as the larger of two halves, twice.

    Notes
    -----
    PyTorch's own also finds the places of the maxima, and takes ten times as long on the three channels of an
    image.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """
        Halve a map.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            Values.

        Returns
        -------
        Tensor, shape (B, C, ceil(H / 2), ceil(W / 2))
            The largest value of each 2x2 square; at an odd edge, of what there is of it.
        """
        odd = x.shape[-2] % 2, x.shape[-1] % 2
        x = F.pad(x, (0, odd[1], 0, odd[0]), mode="replicate") if any(odd) else x
        rows = torch.maximum(x[..., ::2, :], x[..., 1::2, :])
        return torch.maximum(rows[..., ::2], rows[..., 1::2])


def channels_last(net: nn.Module) -> nn.Module:
    """
    Lay out a net's weights, and whatever image it is given, with the channels of a pixel side by side.

    Parameters
    ----------
    net : nn.Module
        Net of images (B, C, H, W).

    Returns
    -------
    nn.Module
        A copy; its results have the same values and shape, in that layout.
    """
    laid_out = copy.deepcopy(net).to(memory_format=torch.channels_last)
    laid_out.register_forward_pre_hook(_lay_out)
    return laid_out


def _lay_out(_: nn.Module, inputs: tuple) -> tuple:
    return tuple(
        x.contiguous(memory_format=torch.channels_last) if isinstance(x, Tensor) and x.ndim == 4 else x for x in inputs
    )
