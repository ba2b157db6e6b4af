"""What a net costs: parameters, multiply-adds, memory, seconds."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from statistics import median
from time import perf_counter
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from xferlib.ops._modes import evaluating


def parameters(net: nn.Module) -> int:
    """
    Count the numbers that training sets.

    Parameters
    ----------
    net : nn.Module
        The net.

    Returns
    -------
    int
        Weights and biases; a shared one counts once, running statistics do not count.
    """
    return sum(p.numel() for p in net.parameters())


def multiply_adds(net: nn.Module, shape: Sequence[int]) -> int:
    """
    Count the multiply-adds of one image.

    Parameters
    ----------
    net : nn.Module
        Net of images (B, C, H, W). On the meta device counting is free.
    shape : sequence of int
        Channels, height and width of the image.

    Returns
    -------
    int
        Multiply-adds of convolutions, transposed convolutions and matrix products. Biases, normalisation,
        activations and pooling are not counted. Papers that count FLOPs mostly mean twice this number.

    Raises
    ------
    ValueError
        If the shape is not three positive numbers.
    """
    counter = FlopCounterMode(display=False)
    _run(net, shape, counter)
    return counter.get_total_flops() // 2


def peak_memory(net: nn.Module, shape: Sequence[int]) -> int:
    """
    Measure the memory that the activations of one image need at once, without gradients.

    Parameters
    ----------
    net : nn.Module
        Net of images (B, C, H, W). On the meta device measuring is free.
    shape : sequence of int
        Channels, height and width of the image.

    Returns
    -------
    int
        Bytes of the tensors alive at the worst moment, without the image and the weights. What a library
        allocates inside one operation is not seen.

    Raises
    ------
    ValueError
        If the shape is not three positive numbers.
    """
    alive = _Alive()
    _run(net, shape, alive)
    return alive.peak


def seconds(works: Mapping[str, Callable[[], object]], repeats: int = 7) -> dict[str, float]:
    """
    Time several pieces of work in turn, so that whatever else the machine does hits all alike.

    Parameters
    ----------
    works : mapping of str to callable
        The work by name, without arguments. Each runs once before anything is timed.
    repeats : int
        How often each is timed.

    Returns
    -------
    dict of str to float
        The median of each, in seconds.

    Raises
    ------
    ValueError
        If ``repeats`` is smaller than 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats {repeats} is smaller than 1; a median needs one measurement at least")
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = perf_counter()
            work()
            times[name].append(perf_counter() - start)
    return {name: median(measured) for name, measured in times.items()}


def summary(net: nn.Module, shape: Sequence[int]) -> dict[str, int]:
    """
    Count what a net costs, by name, as records keep it.

    Parameters
    ----------
    net : nn.Module
        Any net of images.
    shape : sequence of int
        Channels, height and width of one image.

    Returns
    -------
    dict of str to int
        "parameters" and "multiply-adds".
    """
    return {"parameters": parameters(net), "multiply-adds": multiply_adds(net, shape)}


@torch.no_grad()
def _run(net: nn.Module, shape: Sequence[int], watch: AbstractContextManager) -> None:
    """Run a net once in evaluation mode under a watch, and leave it as it was."""
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape {tuple(shape)} is not (channels, height, width)")
    like = next(net.parameters(), torch.empty(()))
    image = torch.zeros(1, *shape, device=like.device, dtype=like.dtype)
    with evaluating(net), watch:
        net(image)


class _Alive(TorchDispatchMode):
    """Adds up the storages that operations make, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [*tree_leaves(args), *tree_leaves(kwargs or {})]
        known = {value.untyped_storage()._cdata for value in given if isinstance(value, Tensor)}
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.untyped_storage()._cdata not in known | self._known:
                self._add(value.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        self._known.add(storage._cdata)
        weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
