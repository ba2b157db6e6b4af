"""Hints: what a layer of any net gives, by name, and the regressor that brings a student's features to a teacher's."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch.nn as nn
from torch import Tensor

_LISTED = 12


@contextmanager
def layer_outputs(net: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """
    Keep what the named layers give while the net runs.

    Parameters
    ----------
    net : nn.Module
        Any net.
    names : iterable of str
        Names of layers, as ``net.named_modules()`` has them: "stage2.3.conv".

    Yields
    ------
    dict of str to object
        Empty at first; after ``net(...)`` the output of each layer by name, with its gradient. Of a layer that runs
        several times it is the last one.

    Raises
    ------
    ValueError
        If the net has no layer of a name; the error names those that it has.
    """
    layers, names = dict(net.named_modules()), tuple(names)
    for name in names:
        if not name or name not in layers:
            raise ValueError(
                f"{type(net).__name__} has no layer {name!r}; {_known(name, [key for key in layers if key])}"
            )
    found: dict[str, Any] = {}
    handles = [layers[name].register_forward_hook(_keeper(found, name)) for name in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _keeper(found: dict[str, Any], name: str) -> Any:
    def keep(module: nn.Module, arguments: Any, output: Any) -> None:
        found[name] = output

    return keep


def _known(name: str, known: list[str]) -> str:
    if len(known) <= _LISTED:
        return f"it has {', '.join(known) or 'none'}"
    close = get_close_matches(name, known, n=_LISTED // 2, cutoff=0.3)
    top = [key for key in known if "." not in key]
    return f"near it are {', '.join(close) or 'none'}; the {len(known)} layers lie in {', '.join(top)}"


class Watched(nn.Module):
    """
    A net that also gives what some of its layers give.

    Parameters
    ----------
    net : nn.Module
        The net.
    layers : iterable of str
        Names of layers.
    """

    def __init__(self, net: nn.Module, layers: Iterable[str]) -> None:
        super().__init__()
        self.net, self.layers = net, tuple(layers)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """
        Run the net.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1].

        Returns
        -------
        Tensor
            What the net gives.
        list of Tensor
            What each layer gives.
        """
        with layer_outputs(self.net, self.layers) as found:
            return self.net(images), [found[layer] for layer in self.layers]


class Regressor(nn.Module):
    """
    The convolution after a student's guided layer that guesses the teacher's hint; it is thrown away after training.

    Parameters
    ----------
    student_channels, teacher_channels : int
        Channels of the guided layer and of the hint layer.
    kernel : int
        Side of the kernel. As there is no padding, a map loses ``kernel - 1`` cells a side: choose it so that the
        student's map comes to the size of the teacher's.
    enlarge : int
        Factor by which a transposed convolution enlarges the map first, for a student that sees smaller pictures.

    Raises
    ------
    ValueError
        If a number is below 1.

    References
    ----------
    Romero et al., "FitNets", ICLR 2015, section 2.2, where a convolution needs far fewer parameters than a fully
    connected layer; Li, Jin, Yan, CVPR 2017, section 3.2, for the transposed one.
    """

    def __init__(self, student_channels: int, teacher_channels: int, kernel: int = 1, *, enlarge: int = 1) -> None:
        super().__init__()
        if min(student_channels, teacher_channels, kernel, enlarge) < 1:
            raise ValueError(f"{student_channels=}, {teacher_channels=}, {kernel=}, {enlarge=}; 1 is the least")
        up = nn.ConvTranspose2d(student_channels, student_channels, enlarge, enlarge)
        self.enlarge = up if enlarge > 1 else nn.Identity()
        self.conv = nn.Conv2d(student_channels, teacher_channels, kernel)

    def forward(self, guided: Tensor) -> Tensor:
        return self.conv(self.enlarge(guided))
