"""The graph of a net, found by running it once and watching every operation."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor
from torch.overrides import TorchFunctionMode

from xferlib.ops._modes import evaluating

KINDS = {
    "conv": ("conv1d", "conv2d", "conv3d", "linear"),
    "pool": (
        "max_pool2d",
        "max_pool2d_with_indices",
        "avg_pool2d",
        "adaptive_avg_pool2d",
        "adaptive_max_pool2d",
        "pixel_unshuffle",
    ),
    "deconv": ("conv_transpose2d", "pixel_shuffle"),
    "unpool": ("max_unpool2d",),
    "upsample": ("interpolate", "upsample", "grid_sample"),
}
"""Operations that are drawn as blocks, by kind; all others are folded into the block before them."""

_CHANGES = 1.5
"""A module with a larger factor is a reducing one, with one below the inverse an enlarging one."""

_KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}
_JOINS = {"add": "+", "sub": "−", "rsub": "−", "mul": "×", "cat": "cat", "concat": "cat"}


@dataclass(frozen=True)
class Edge:
    """
    What one block takes from an earlier one.

    Parameters
    ----------
    source : int
        Number of the earlier block.
    indices : bool
        Whether it is the places of maxima, as for unpooling, and not a map.
    """

    source: int
    indices: bool = False


@dataclass
class Block:
    """
    One operation of a net, or all of one module's.

    Parameters
    ----------
    kind : str
        ``"input"``, one of `KINDS`, ``"join"``, or ``"block"``, ``"down"``, ``"up"`` for a module of several
        operations that keeps, reduces or enlarges its map.
    name : str
        Qualified name of the module that ran it; empty where the net itself did.
    shape : tuple of int
        Channels, height and width of the result, after a crop that follows at once.
    inputs : list of Edge
        What it takes.
    detail : str
        Kernel, such as ``"3×3"``, or the sign of a join.
    calls : tuple of int
        Numbers of the module calls it ran in, outermost first.
    factor : float
        How many pixels of what it takes, along one side, make one of its own: 2 for a pooling by two, ½ for
        a deconvolution by two, the stride for a convolution, whatever a valid one takes off the edges.
    """

    kind: str
    name: str
    shape: tuple[int, int, int]
    inputs: list[Edge]
    detail: str = ""
    calls: tuple[int, ...] = ()
    factor: float = 1.0


@dataclass
class Graph:
    """
    The blocks of a net in the order in which they ran.

    Parameters
    ----------
    blocks : list of Block
        The first is the input.
    outputs : list of int
        Numbers of the blocks whose results the net returned.
    modules : list of str
        Qualified name of the module of each call.
    """

    blocks: list[Block]
    outputs: list[int]
    modules: list[str] = field(default_factory=list)

    @property
    def depth(self) -> int:
        """How deep modules call modules."""
        return max(len(block.calls) for block in self.blocks)


def trace(net: nn.Module, input_shape: Sequence[int]) -> Graph:
    """
    Run a net once, in evaluation mode, and record what it does.

    Parameters
    ----------
    net : nn.Module
        A net that takes one image; it is left as it was.
    input_shape : sequence of int
        Channels, height and width of the image.

    Returns
    -------
    Graph
        The convolutions, poolings, enlargements and joins; everything else is folded into them.

    Raises
    ------
    ValueError
        If the shape is not three positive numbers, the net does not run on it, or it has nothing to draw.
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"input shape {shape} is not (channels, height, width)")
    first = next(net.parameters(), torch.zeros(()))
    image = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)).to(first)
    recorder = _Recorder(image)
    with _watched(net, recorder), evaluating(net), torch.no_grad(), recorder:
        try:
            result = net(image)
        except _NotDrawable as problem:
            raise ValueError(str(problem)) from None
        except Exception as problem:
            message = f"{type(net).__name__} does not run on an input of shape {shape}: {problem}"
            raise ValueError(message) from problem
    outputs = list(dict.fromkeys(edge.source for edge in recorder.producers(_tensors(result))))
    if len(recorder.blocks) == 1 or not outputs:
        raise ValueError(f"{type(net).__name__} has no convolution, pooling or join to draw")
    return Graph(recorder.blocks, outputs, recorder.modules)


def collapse(graph: Graph, depth: int) -> Graph:
    """
    Turn each module called at some depth into one block.

    Parameters
    ----------
    graph : Graph
        As `trace` gives it.
    depth : int
        1 keeps the modules that the net itself calls; operations above that depth stay as they are.

    Returns
    -------
    Graph
        The coarser graph.

    Raises
    ------
    ValueError
        If the depth is less than 1.
    """
    if depth < 1:
        raise ValueError(f"depth {depth} is less than 1, the modules that the net itself calls")
    keys = [b.calls[:depth] if len(b.calls) >= depth else (-1, i) for i, b in enumerate(graph.blocks)]
    # A module's block stands where its last operation stood: all that it takes has run by then.
    last = {key: i for i, key in enumerate(keys)}
    order = sorted(last.values())
    number = {keys[i]: n for n, i in enumerate(order)}
    blocks = []
    for i in order:
        members = {j: block for j, block in enumerate(graph.blocks) if keys[j] == keys[i]}
        edges = {
            Edge(number[keys[edge.source]], edge.indices): None
            for block in members.values()
            for edge in block.inputs
            if keys[edge.source] != keys[i]
        }
        blocks.append(_merged(members, list(edges), graph, depth))
    outputs = list(dict.fromkeys(number[keys[i]] for i in graph.outputs))
    return Graph(blocks, outputs, graph.modules)


def _merged(members: dict[int, Block], edges: list[Edge], graph: Graph, depth: int) -> Block:
    final = list(members.values())[-1]
    if len(members) == 1:
        return replace(final, inputs=edges)
    factor = _whole_factor(members)
    kind = "down" if factor > _CHANGES else "up" if factor < 1 / _CHANGES else "block"
    return Block(kind, graph.modules[final.calls[depth - 1]], final.shape, edges, "", final.calls[:depth], factor)


def _whole_factor(members: dict[int, Block]) -> float:
    """Multiply the factors on the way from what the first member takes to the last member."""
    factors: dict[int, float] = {}
    for i, block in members.items():
        before = next((factors[edge.source] for edge in block.inputs if edge.source in factors), 1.0)
        factors[i] = before * block.factor
    return list(factors.values())[-1]


class _NotDrawable(Exception):
    """An operation gave what is neither a map nor a vector."""


class _Recorder(TorchFunctionMode):
    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.blocks = [Block("input", "input", tuple(image.shape[1:]), [])]
        self.modules: list[str] = []
        self.calls: list[int] = []
        self._source = {id(image): 0}
        self._alive: list[Any] = [image]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        results = [value for value in _tensors(result)]
        edges = self.producers(_tensors((args, kwargs)))
        if results and edges:
            source = self._record(func.__name__.strip("_"), args, kwargs, results[0], edges)
            self._source.update((id(value), source) for value in results)
            # A freed tensor's id would be given to another one.
            self._alive.append(results)
        return result

    def producers(self, values: Iterable[Tensor]) -> list[Edge]:
        found = {
            Edge(self._source[id(value)], value.dtype == torch.int64): None
            for value in values
            if id(value) in self._source
        }
        return list(found)

    def _record(self, function: str, args: Any, kwargs: Any, result: Tensor, edges: list[Edge]) -> int:
        function = function.removeprefix("i") if function in ("iadd", "isub", "imul") else function
        function = {"radd": "add", "rmul": "mul"}.get(function, function)
        kind = _KIND_OF.get(function)
        if kind is None and len({edge.source for edge in edges}) > 1:
            kind = "join"
        if kind is None:
            self._fold(edges[0].source, result)
            return edges[0].source
        name = self.modules[self.calls[-1]] if self.calls else ""
        detail = _JOINS.get(function, function) if kind == "join" else _kernel(args, kwargs)
        factor = _factor(kind, args, kwargs, result)
        self.blocks.append(Block(kind, name, _size(function, result), edges, detail, tuple(self.calls), factor))
        return len(self.blocks) - 1

    def _fold(self, source: int, result: Tensor) -> None:
        if source == len(self.blocks) - 1 > 0 and result.ndim == 4:
            # A padding belongs to the operation that needs it.
            self.blocks[source].shape = min(self.blocks[source].shape, tuple(result.shape[1:]))


def _size(function: str, result: Tensor) -> tuple[int, int, int]:
    if result.ndim == 4:
        return tuple(result.shape[1:])
    if result.ndim == 2:
        return result.shape[1], 1, 1
    raise _NotDrawable(
        f"{function} gave a tensor of shape {tuple(result.shape)}; only maps (B, C, H, W) and vectors (B, C) "
        "can be drawn, so draw a part of the net"
    )


def _factor(kind: str, args: Any, kwargs: Any, result: Tensor) -> float:
    if kind == "conv":
        stride = kwargs.get("stride", args[3] if len(args) > 3 else 1)
        return float(stride if isinstance(stride, int) else stride[0])
    source = next(_tensors((args, kwargs)))
    if kind == "join" or source.ndim != 4 or result.ndim != 4:
        return 1.0
    return source.shape[2] / result.shape[2]


def _kernel(args: Any, kwargs: Any) -> str:
    weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
    if not isinstance(weight, Tensor) or weight.ndim != 4:
        return ""
    return "×".join(map(str, weight.shape[2:]))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


@contextmanager
def _watched(net: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Tell the recorder which module is running."""

    def enter(name: str) -> Any:
        def hook(*_: Any) -> None:
            recorder.modules.append(name)
            recorder.calls.append(len(recorder.modules) - 1)

        return hook

    def leave(*_: Any) -> None:
        recorder.calls.pop()

    handles = []
    for name, module in net.named_modules():
        if name:
            handles += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
