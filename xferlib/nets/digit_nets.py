"""Small nets for small digits: perceptrons as of Hinton et al., and convolutional ones, wide or thin and deep."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn as nn
from torch import Tensor

from xferlib.nets.vgg import VGG

SIDE, CLASSES = 8, 10
INITS = ("he", "shrinking")


class Perceptron(nn.Sequential):
    """
    Fully connected layers with ReLUs between them.

    Parameters
    ----------
    hidden : sequence of int
        Units of each hidden layer.

    Raises
    ------
    ValueError
        If a layer has no unit.

    References
    ----------
    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 3, with two hidden layers.
    """

    def __init__(self, hidden: Sequence[int] = (32, 32)) -> None:
        if min(hidden, default=1) < 1:
            raise ValueError(f"hidden layers of {tuple(hidden)} units; one needs 1 at least")
        widths = [SIDE**2, *hidden]
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
        super().__init__(nn.Flatten(), *layers, nn.Linear(widths[-1], CLASSES))


class DigitNet(nn.Module):
    """
    Stages of 3x3 convolutions, each stage halved, then one or two fully connected layers.

    Parameters
    ----------
    widths, convs : sequence of int
        Channels and convolutions of each stage, as in `VGG`.
    hidden : int
        Units of the hidden layer; 0 for none.
    dropout : float
        Share of what enters each fully connected layer that is dropped while training, in [0, 1).
    init : {"he", "shrinking"}
        How the convolutions are drawn: so that the signal keeps its variance, or as PyTorch does by itself, which
        leaves less than a fifth of it after each layer and its ReLU.

    Raises
    ------
    ValueError
        If there is no such way to draw, or `VGG` says no.
    """

    def __init__(
        self,
        widths: Sequence[int] = (24, 48),
        convs: Sequence[int] = (1, 2),
        hidden: int = 64,
        dropout: float = 0.0,
        init: str = "he",
    ) -> None:
        super().__init__()
        if init not in INITS:
            raise ValueError(f"init {init!r} is none of {', '.join(map(repr, INITS))}")
        self.body = VGG(1, widths=widths, convs=convs)
        if init == "shrinking":
            for module in self.body.modules():
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()
        side = SIDE
        for _ in widths:
            side = -(-side // 2)
        sizes = [widths[-1] * side**2, *([hidden] if hidden else []), CLASSES]
        dense = [layer for pair in pairwise(sizes) for layer in (nn.Dropout(dropout), nn.Linear(*pair), nn.ReLU())]
        self.head = nn.Sequential(nn.Flatten(), *dense[:-1])
        self._last = f"pool{len(widths)}"

    def forward(self, digits: Tensor) -> Tensor:
        """
        Score the ten classes.

        Parameters
        ----------
        digits : Tensor, shape (B, 1, 8, 8)
            Ink, in [0, 1].

        Returns
        -------
        Tensor, shape (B, 10)
            Logits.
        """
        return self.head(self.body(digits, (self._last,))[self._last])


def thin(layers: int, width: int = 8, init: str = "shrinking") -> DigitNet:
    """
    Build a student as FitNets have it, thinner and deeper than its teacher: all but two layers see 4x4 places.

    Parameters
    ----------
    layers : int
        Convolutions, at least 4.
    width : int
        Channels of each.
    init : {"shrinking", "he"}
        How they are drawn, see `DigitNet`.

    Returns
    -------
    DigitNet
        The net; ``f"body.relu2_{layers // 2 - 1}"`` is its middle.

    Raises
    ------
    ValueError
        If there are fewer than 4 layers.

    References
    ----------
    Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015.
    """
    if layers < 4:
        raise ValueError(f"{layers} layers are not deep; 4 is the least")
    return DigitNet((width, width), (2, layers - 2), hidden=0, init=init)
