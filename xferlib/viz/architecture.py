"""A net drawn from the module itself."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch.nn as nn
from matplotlib.figure import Figure

from xferlib.viz._line import LineDrawing
from xferlib.viz._u import NoUShape, UDrawing
from xferlib.viz.trace import Graph, collapse, trace

Drawing = LineDrawing | UDrawing

MOST_COLUMNS = 26
"""More than this many columns are drawn as modules, one level up."""


def architecture(
    net: nn.Module, input_shape: Sequence[int], depth: int | None = None, *, layout: Literal["line", "u"] = "line"
) -> Figure:
    """
    Draw a net from the module itself: it is run once and what it does is recorded.

    Each block is a convolution, pooling or enlargement; normalisation, activation, dropout, cropping and
    padding are folded into the block before. Height is the logarithm of the map's side, width that of its
    channels.

    Parameters
    ----------
    net : nn.Module
        Any net that takes one image and works on maps ``(B, C, H, W)`` and vectors ``(B, C)``.
    input_shape : sequence of int
        Channels, height and width of the image.
    depth : int or None
        1 draws each module that the net calls as one block, 2 those that these call, and so on; None draws
        single operations, or the finest modules that fit.
    layout : {"line", "u"}
        "line" draws any net from left to right: convolutions of one shape in a row are sheets of one stack,
        arcs are what joins the main path again. "u" draws a net that reduces its map and then enlarges it:
        a row is a scale, a box is a map, an arrow is an operation, and a long arrow is a skip.

    Returns
    -------
    Figure
        The drawing.

    Raises
    ------
    ValueError
        If the net does not run on the input, works on other tensors, is too long to be drawn at this depth,
        or is to be drawn as a U and has no such shape; or if there is no such layout.
    """
    if layout not in ("line", "u"):
        raise ValueError(f"layout {layout!r} is neither 'line' nor 'u'")
    graph = trace(net, input_shape)
    name = type(net).__name__
    try:
        drawing = _finest(_coarser(graph, depth), LineDrawing if layout == "line" else UDrawing)
    except NoUShape as problem:
        raise ValueError(f"{name} has no U shape: {problem}; layout='line' draws any net") from None
    if (count := drawing.count) > 2 * MOST_COLUMNS:
        raise ValueError(f"{name} has {count} columns; choose depth=1 or draw a part of it")
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return drawing.figure(f"{name}, {_rounded(parameters)} parameters")


def _coarser(graph: Graph, depth: int | None) -> Iterable[Graph]:
    """Give the graph at the depth asked for, or at all of them, the finest first."""
    if depth is not None:
        yield collapse(graph, depth)
        return
    yield graph
    for level in range(graph.depth, 0, -1):
        yield collapse(graph, level)


def _finest(graphs: Iterable[Graph], draw: Callable[[Graph], Drawing]) -> Drawing:
    """Give the first drawing that fits, else the coarsest."""
    drawing, problem = None, None
    for graph in graphs:
        try:
            drawing = draw(graph)
        except NoUShape as found:
            problem = problem or found
            continue
        if drawing.count <= MOST_COLUMNS:
            break
    if drawing is None:
        raise problem
    return drawing


def _rounded(count: int) -> str:
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e6:.1f} M" if count >= 999_500 else f"{count / 1e3:.0f} k"
