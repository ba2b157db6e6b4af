"""A net drawn from the module itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

import matplotlib.pyplot as plt
import numpy as np
import torch.nn as nn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle

from xferlib.viz.style import INK, MUTED
from xferlib.viz.trace import Block, Graph, collapse, trace

COLORS = {
    "input": "#FFFFFF",
    "conv": "#8DB9DE",
    "block": "#8DB9DE",
    "pool": "#E98C6C",
    "down": "#E98C6C",
    "deconv": "#6FBF9F",
    "up": "#6FBF9F",
    "unpool": "#F0C55C",
    "upsample": "#CBB3DA",
    "join": "#FFFFFF",
}
MEANINGS = {
    "conv": "convolution",
    "block": "block",
    "pool": "pooling",
    "down": "reducing block",
    "deconv": "deconvolution",
    "up": "enlarging block",
    "unpool": "unpooling",
    "upsample": "interpolation",
}
MOST_COLUMNS = 26
"""More than this many columns are drawn as modules, one level up."""

_TALLEST, _SHORTEST, _GAP, _SHEET, _JOIN = 1.5, 0.26, 0.085, 0.28, 0.17
_NARROWEST = 6.2
_FONT = 7.5


def architecture(net: nn.Module, input_shape: Sequence[int], depth: int | None = None) -> Figure:
    """
    Draw a net from the module itself: it is run once and what it does is recorded.

    Each block is a convolution, pooling or enlargement; normalisation, activation, dropout, cropping and
    padding are folded into the block before. Height is the logarithm of the map's side, width that of its
    channels. Convolutions of one shape in a row are drawn as sheets of one stack. Arcs are what joins the
    main path again.

    Parameters
    ----------
    net : nn.Module
        Any net that takes one image and works on maps ``(B, C, H, W)`` and vectors ``(B, C)``.
    input_shape : sequence of int
        Channels, height and width of the image.
    depth : int or None
        1 draws each module that the net calls as one block, 2 those that these call, and so on; None draws
        single operations, or the finest modules that fit.

    Returns
    -------
    Figure
        The drawing.

    Raises
    ------
    ValueError
        If the net does not run on the input, works on other tensors, or is too long to be drawn at this
        depth.
    """
    graph = trace(net, input_shape)
    drawing = _fitting(graph) if depth is None else _Drawing(collapse(graph, depth))
    if (count := len(drawing.columns)) > 2 * MOST_COLUMNS:
        raise ValueError(f"{type(net).__name__} has {count} columns; choose depth=1 or draw a part of it")
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return drawing.figure(f"{type(net).__name__}, {_rounded(parameters)} parameters")


def _fitting(graph: Graph) -> "_Drawing":
    drawing = _Drawing(graph)
    for depth in range(graph.depth, 0, -1):
        if len(drawing.columns) <= MOST_COLUMNS:
            break
        drawing = _Drawing(collapse(graph, depth))
    return drawing


def _rounded(count: int) -> str:
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e6:.1f} M" if count >= 999_500 else f"{count / 1e3:.0f} k"


@dataclass
class _Column:
    """Blocks of one shape in a row, drawn as one stack."""

    members: list[int]
    block: Block
    left: float = 0.0
    width: float = 0.0
    height: float = 0.0

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def centre(self) -> float:
        return self.left + self.width / 2


@dataclass(frozen=True)
class _Arc:
    """What leaves the main path at one block and joins it at another, with the blocks on its way."""

    source: int
    target: int | None
    through: tuple[int, ...]
    indices: bool


class _Drawing:
    def __init__(self, graph: Graph) -> None:
        self.blocks = graph.blocks
        self.short = _short_names([block.name for block in graph.blocks])
        self.main = _longest_path(graph)
        self.arcs = _arcs(graph, self.main)
        self.columns = self._stacked()
        self.column_of = {member: column for column in self.columns for member in column.members}

    def figure(self, title: str) -> Figure:
        self._lay_out()
        lanes = self._lanes()
        top = max([_TALLEST / 2, *(height for height, _ in lanes.values())]) + 0.36
        sizes = min(self._foot(column) for column in self.columns) - 0.1
        right, bottom = self.columns[-1].right, sizes - 0.64
        figure = plt.figure(figsize=(right + 0.3, top - bottom))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-0.15, right + 0.15), ylim=(bottom, top), aspect="equal")
        axes.axis("off")
        for arc, (height, offset) in lanes.items():
            self._draw_arc(axes, arc, height, offset)
        axes.plot([0, right], [0, 0], color=MUTED, linewidth=0.9, zorder=0)
        for column in self.columns:
            self._draw_column(axes, column)
        self._draw_sizes(axes, sizes)
        axes.text(0, top - 0.05, title, fontsize=_FONT + 2, fontweight="bold", color=INK, va="top")
        self._draw_key(axes)
        plt.close(figure)
        return figure

    def _stacked(self) -> list[_Column]:
        used = {arc.source for arc in self.arcs}
        columns: list[_Column] = []
        for index in self.main:
            block, last = self.blocks[index], columns[-1].block if columns else None
            same = last is not None and block.kind == last.kind in ("conv", "block")
            same = same and (block.shape, block.detail) == (last.shape, last.detail)
            if same and columns[-1].members[-1] not in used and len(block.inputs) == 1:
                columns[-1].members.append(index)
            else:
                columns.append(_Column([index], block))
        return columns

    def _lay_out(self) -> None:
        sides = [np.log2(max(1.0, (b.shape[1] * b.shape[2]) ** 0.5)) for b in self.blocks]
        low, span = min(sides), max(max(sides) - min(sides), 1e-9)
        x = 0.0
        for column in self.columns:
            kind = column.block.kind
            if kind == "join":
                column.width = column.height = _JOIN
            else:
                side = np.log2(max(1.0, (column.block.shape[1] * column.block.shape[2]) ** 0.5))
                column.height = _SHORTEST + (_TALLEST - _SHORTEST) * (side - low) / span
                thin = kind in ("pool", "unpool")
                thick = 0.08 if thin else 0.05 + 0.024 * np.log2(column.block.shape[0])
                column.width = thick * (1 + _SHEET * (self._sheets(column) - 1))
            column.left = x
            x = column.right + _GAP
        stretch = min(max(1.0, _NARROWEST / x), 1.7)
        for column in self.columns:
            column.left *= stretch
            column.width *= 1.0 if column.block.kind in ("join", "pool", "unpool") else stretch

    @staticmethod
    def _sheets(column: _Column) -> int:
        return min(len(column.members), 5)

    def _lanes(self) -> dict[_Arc, tuple[float, float]]:
        """Give each arc its height, above all that stands between its ends and apart from other arcs."""
        lanes: dict[_Arc, tuple[float, float]] = {}
        starts: dict[int, int] = {}
        for arc in sorted(self.arcs, key=self._span):
            first, last = self._span_columns(arc)
            between = [column.height / 2 for column in self.columns[first : last + 1]]
            height = max(between) + 0.12
            for other, (lane, _) in lanes.items():
                a, b = self._span_columns(other)
                if a < last and first < b:
                    height = max(height, lane + (0.27 if other.through or arc.through else 0.12))
            lanes[arc] = (height, 0.05 * starts.get(arc.source, 0))
            starts[arc.source] = starts.get(arc.source, 0) + 1
        return lanes

    def _span_columns(self, arc: _Arc) -> tuple[int, int]:
        first = self.columns.index(self.column_of[arc.source])
        last = len(self.columns) - 1 if arc.target is None else self.columns.index(self.column_of[arc.target])
        return first, last

    def _span(self, arc: _Arc) -> int:
        first, last = self._span_columns(arc)
        return last - first

    def _draw_arc(self, axes: Axes, arc: _Arc, height: float, offset: float) -> None:
        source = self.column_of[arc.source]
        begin = source.right - min(0.03, source.width / 3) - offset
        target = None if arc.target is None else self.column_of[arc.target]
        end = self.columns[-1].right if target is None else target.centre
        path_x = [begin, begin, end] + ([] if target is None else [end])
        path_y = [source.height / 2, height, height] + ([] if target is None else [target.height / 2])
        style = {"linestyle": (0, (3, 2))} if arc.indices else {}
        axes.plot(path_x, path_y, color=MUTED, linewidth=0.9, solid_joinstyle="round", zorder=1, **style)
        if target is not None:
            tip = {"arrowstyle": "-|>,head_width=0.11,head_length=0.2", "color": MUTED, "linewidth": 0.9}
            tip.update(shrinkA=0, shrinkB=0)
            axes.annotate("", (end, target.height / 2), (end, target.height / 2 + 0.1), arrowprops=tip)
        self._draw_through(axes, arc, (begin + end) / 2, height)

    def _draw_through(self, axes: Axes, arc: _Arc, centre: float, height: float) -> None:
        blocks = [self.blocks[i] for i in arc.through if self.blocks[i].kind != "join"]
        for place, block in enumerate(blocks):
            x = centre + 0.22 * (place - (len(blocks) - 1) / 2)
            width, tall = 0.1, 0.2
            box = Rectangle((x - width / 2, height - tall / 2), width, tall, facecolor=COLORS[block.kind])
            box.set(edgecolor=INK, linewidth=0.6, zorder=3)
            axes.add_patch(box)
        if len(blocks) == 1:
            text = f"{self._name([arc.through[0]]) or MEANINGS[blocks[0].kind]}, {blocks[0].shape[0]}"
            axes.text(centre + 0.09, height + 0.03, text, fontsize=_FONT - 1, color=INK, va="bottom")

    def _draw_column(self, axes: Axes, column: _Column) -> None:
        block = column.block
        if block.kind == "join":
            self._draw_join(axes, column)
            return
        sheets = self._sheets(column)
        width = column.width / (1 + _SHEET * (sheets - 1))
        for sheet in range(sheets):
            corner = (column.left + sheet * _SHEET * width, -column.height / 2)
            box = Rectangle(corner, width, column.height, facecolor=COLORS[block.kind], edgecolor=INK)
            box.set(linewidth=0.7, zorder=2)
            axes.add_patch(box)
        foot = -column.height / 2 - 0.05
        if block.kind not in ("pool", "unpool"):
            label = str(block.shape[0])
            axes.text(column.centre, foot, label, fontsize=_FONT, color=INK, ha="center", va="top")
            foot -= 0.15
        axes.text(
            column.centre,
            foot,
            self._name(column.members),
            fontsize=_FONT - 1,
            color=MUTED,
            rotation=90,
            ha="center",
            va="top",
        )

    def _draw_join(self, axes: Axes, column: _Column) -> None:
        detail = column.block.detail
        radius = _JOIN / 2
        box = FancyBboxPatch(
            (column.left, -radius),
            _JOIN,
            _JOIN,
            boxstyle=f"round,pad=0,rounding_size={radius}",
            facecolor="white",
            edgecolor=INK,
            linewidth=0.8,
            zorder=2,
        )
        axes.add_patch(box)
        size = _FONT + 1.5 if len(detail) == 1 else _FONT - 2.5
        style = {"color": INK, "ha": "center"}
        axes.text(column.centre, 0, detail, fontsize=size, va="center_baseline", zorder=4, **style)
        if detail == "cat":
            channels = str(column.block.shape[0])
            axes.text(column.centre, -radius - 0.05, channels, fontsize=_FONT, va="top", **style)

    def _name(self, members: Sequence[int]) -> str:
        names = [self.short[self.blocks[i].name] for i in members]
        count = f"{len(names)} × " if len(names) > 1 else ""
        return (count + _common(names)).removesuffix("× ").strip()

    def _foot(self, column: _Column) -> float:
        label = 0.0 if column.block.kind in ("pool", "unpool") else 0.15
        return -column.height / 2 - 0.05 - label - 0.0088 * (_FONT - 1) * len(self._name(column.members))

    def _draw_sizes(self, axes: Axes, y: float) -> None:
        """Write each size of the map under the columns that have it."""
        begin = 0
        for i in range(1, len(self.columns) + 1):
            height, width = self.columns[begin].block.shape[1:]
            if i < len(self.columns) and self.columns[i].block.shape[1:] == (height, width):
                continue
            left, right = self.columns[begin].left, self.columns[i - 1].right
            axes.plot([left, right], [y, y], color=MUTED, linewidth=0.7)
            size = f"{height}×{width}"
            wide = right - left > 0.075 * len(size)
            axes.text(
                (left + right) / 2,
                y - 0.05,
                size if wide else f"{height}\n×{width}",
                fontsize=_FONT - 1,
                color=INK,
                ha="center",
                va="top",
                linespacing=1.0,
            )
            begin = i

    def _draw_key(self, axes: Axes) -> None:
        shown = [*self.main, *(i for arc in self.arcs for i in arc.through)]
        kinds = [kind for kind in MEANINGS if any(self.blocks[i].kind == kind for i in shown)]
        meanings: dict[str, list[str]] = {}
        for kind in kinds:
            meanings.setdefault(COLORS[kind], []).append(MEANINGS[kind])
        handles = [
            Patch(facecolor=color, edgecolor=INK, linewidth=0.6, label=" or ".join(words))
            for color, words in meanings.items()
        ]
        if any(arc.indices for arc in self.arcs):
            dashes = {"linestyle": (0, (3, 2)), "linewidth": 0.9}
            handles.append(Line2D([], [], color=MUTED, label="places of maxima", **dashes))
        axes.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0.15, 0.06),
            bbox_transform=axes.figure.dpi_scale_trans,
            ncols=len(handles) if sum(len(h.get_label()) for h in handles) < 70 else 2,
            fontsize=_FONT,
            frameon=False,
            handlelength=1.1,
            handleheight=0.9,
            columnspacing=1.2,
            borderpad=0,
            borderaxespad=0,
        )


def _longest_path(graph: Graph) -> list[int]:
    """Give the blocks on the longest way from the input to an output."""
    length, before = [0] * len(graph.blocks), [-1] * len(graph.blocks)
    for i, block in enumerate(graph.blocks):
        for edge in block.inputs:
            if not edge.indices and length[edge.source] + 1 > length[i]:
                length[i], before[i] = length[edge.source] + 1, edge.source
    path = [max(graph.outputs, key=lambda i: length[i])]
    while before[path[-1]] >= 0:
        path.append(before[path[-1]])
    return path[::-1]


def _arcs(graph: Graph, main: list[int]) -> list[_Arc]:
    on_main, arcs = set(main), {}
    for previous, index in pairwise(main):
        for edge in graph.blocks[index].inputs:
            if edge.source != previous or edge.indices:
                arc = _walk_back(graph, edge.source, index, edge.indices, on_main)
                if arc.through or arc.source != previous or edge.indices:
                    arcs[arc] = None
    for output in graph.outputs:
        if output not in on_main:
            arcs[_walk_back(graph, output, None, False, on_main)] = None
    return list(arcs)


def _walk_back(graph: Graph, source: int, target: int | None, indices: bool, on_main: set[int]) -> _Arc:
    through: list[int] = []
    while source not in on_main:
        through.append(source)
        source = graph.blocks[source].inputs[0].source
    return _Arc(source, target, tuple(reversed(through)), indices)


def _common(names: list[str]) -> str:
    if len(set(names)) == 1:
        return names[0]
    shared = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in shared).rstrip("._-") or names[0]


def _short_names(names: Sequence[str], most: int = 18) -> dict[str, str]:
    """Cut qualified names to their last part where that says enough (conv1_1, fc6) and is no other's."""
    distinct = sorted(set(names))
    lasts = [name.split(".")[-1] for name in distinct]
    short = {}
    for name, last in zip(distinct, lasts, strict=True):
        speaks = last[:1].isalpha() and any(letter.isdigit() for letter in last)
        short[name] = last if speaks and lasts.count(last) == 1 else _cut(name, most)
    return short


def _cut(name: str, most: int) -> str:
    parts = name.split(".")
    while len(parts) > 1 and len(".".join(parts)) > most:
        parts = parts[1:]
    return ".".join(parts)
