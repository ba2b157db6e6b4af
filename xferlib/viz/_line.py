"""A net drawn as a row of boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle

from xferlib.viz._flow import Arc, common_name, find_arcs, longest_path, short_names
from xferlib.viz._look import COLORS, FONT, MEANINGS, draw_key
from xferlib.viz.style import INK, MUTED
from xferlib.viz.trace import Block, Graph

_TALLEST, _SHORTEST, _GAP, _SHEET, _JOIN = 1.5, 0.26, 0.085, 0.28, 0.17
_NARROWEST = 6.2
_LEVEL = 0.3


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


@dataclass
class _Size:
    """The size of the maps of some columns in a row."""

    left: float
    right: float
    text: str
    level: int = 0

    @property
    def centre(self) -> float:
        return (self.left + self.right) / 2

    def touches(self, before: "_Size") -> bool:
        letters = [max(map(len, size.text.split("\n"))) for size in (before, self)]
        return self.centre - before.centre < 0.068 * sum(letters) / 2


class LineDrawing:
    def __init__(self, graph: Graph) -> None:
        self.blocks = graph.blocks
        self.short = short_names([block.name for block in graph.blocks])
        self.main = longest_path(graph)
        self.arcs = find_arcs(graph, self.main)
        self.columns = self._stacked()
        self.column_of = {member: column for column in self.columns for member in column.members}

    @property
    def count(self) -> int:
        """Columns."""
        return len(self.columns)

    def figure(self, title: str) -> Figure:
        self._lay_out()
        lanes = self._lanes()
        top = max([_TALLEST / 2, *(height for height, _ in lanes.values())]) + 0.36
        sizes = min(self._foot(column) for column in self.columns) - 0.1
        right = self.columns[-1].right
        bottom = sizes - 0.64 - _LEVEL * max(size.level for size in self._sizes())
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
        axes.text(0, top - 0.05, title, fontsize=FONT + 2, fontweight="bold", color=INK, va="top")
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

    def _lanes(self) -> dict[Arc, tuple[float, float]]:
        """Give each arc its height, above all that stands between its ends and apart from other arcs."""
        lanes: dict[Arc, tuple[float, float]] = {}
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

    def _span_columns(self, arc: Arc) -> tuple[int, int]:
        first = self.columns.index(self.column_of[arc.source])
        last = len(self.columns) - 1 if arc.target is None else self.columns.index(self.column_of[arc.target])
        return first, last

    def _span(self, arc: Arc) -> int:
        first, last = self._span_columns(arc)
        return last - first

    def _draw_arc(self, axes: Axes, arc: Arc, height: float, offset: float) -> None:
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

    def _draw_through(self, axes: Axes, arc: Arc, centre: float, height: float) -> None:
        blocks = [self.blocks[i] for i in arc.through if self.blocks[i].kind != "join"]
        for place, block in enumerate(blocks):
            x = centre + 0.22 * (place - (len(blocks) - 1) / 2)
            width, tall = 0.1, 0.2
            box = Rectangle((x - width / 2, height - tall / 2), width, tall, facecolor=COLORS[block.kind])
            box.set(edgecolor=INK, linewidth=0.6, zorder=3)
            axes.add_patch(box)
        if len(blocks) == 1:
            text = f"{self._name([arc.through[0]]) or MEANINGS[blocks[0].kind]}, {blocks[0].shape[0]}"
            axes.text(centre + 0.09, height + 0.03, text, fontsize=FONT - 1, color=INK, va="bottom")

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
            axes.text(column.centre, foot, label, fontsize=FONT, color=INK, ha="center", va="top")
            foot -= 0.15
        axes.text(
            column.centre,
            foot,
            self._name(column.members),
            fontsize=FONT - 1,
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
        size = FONT + 1.5 if len(detail) == 1 else FONT - 2.5
        style = {"color": INK, "ha": "center"}
        axes.text(column.centre, 0, detail, fontsize=size, va="center_baseline", zorder=4, **style)
        if detail == "cat":
            channels = str(column.block.shape[0])
            axes.text(column.centre, -radius - 0.05, channels, fontsize=FONT, va="top", **style)

    def _name(self, members: Sequence[int]) -> str:
        names = [self.short[self.blocks[i].name] for i in members]
        count = f"{len(names)} × " if len(names) > 1 else ""
        return (count + common_name(names)).removesuffix("× ").strip()

    def _foot(self, column: _Column) -> float:
        label = 0.0 if column.block.kind in ("pool", "unpool") else 0.15
        return -column.height / 2 - 0.05 - label - 0.0088 * (FONT - 1) * len(self._name(column.members))

    def _draw_sizes(self, axes: Axes, y: float) -> None:
        """Write each size of the map under the columns that have it."""
        for size in self._sizes():
            axes.plot([size.left, size.right], [y, y], color=MUTED, linewidth=0.7)
            top = y - 0.05 - _LEVEL * size.level
            if size.level:
                axes.plot(2 * [size.centre], [y, top], color=MUTED, linewidth=0.7)
            style = {"fontsize": FONT - 1, "color": INK, "ha": "center", "va": "top", "linespacing": 1.0}
            axes.text(size.centre, top, size.text, **style)

    def _sizes(self) -> list[_Size]:
        """Write a size one level lower where it would touch the one before."""
        sizes: list[_Size] = []
        for (height, width), group in groupby(self.columns, key=lambda column: column.block.shape[1:]):
            columns = list(group)
            left, right = columns[0].left, columns[-1].right
            text = f"{height}×{width}"
            if right - left <= 0.075 * len(text):
                text = f"{height}\n×{width}"
            size = _Size(left, right, text)
            if sizes and sizes[-1].level == 0 and size.touches(sizes[-1]):
                size.level = 1
            sizes.append(size)
        return sizes

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
        draw_key(axes, handles)
