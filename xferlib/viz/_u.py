"""A net drawn as a U: a row is a scale, a box is a map, an arrow is an operation."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from xferlib.viz._flow import Arc, find_arcs, longest_path
from xferlib.viz._look import COLORS, FONT, MEANINGS, draw_key, key_rows
from xferlib.viz.style import INK, MUTED
from xferlib.viz.trace import Block, Graph

_TALLEST, _SHORTEST = 0.9, 0.28
_GAP, _DROP, _NARROWEST = 0.17, 0.25, 6.2
_LETTER = 0.0092
"""Width of a letter in inches, per point of the font."""
_POINTWISE = "#2F6CA6"
_NOTE = "Above each map its channels, below it its size in pixels."
_WORDS = {"cat": "concatenate", "+": "add", "−": "subtract", "×": "multiply"}


class NoUShape(Exception):
    """The net does not reduce its map, then enlarge it, with skips from left to right."""


@dataclass
class _Map:
    """A map of the main path, after the operation that gave it and the join that follows at once."""

    block: Block
    level: int
    members: list[int]
    shape: tuple[int, int, int]
    own: int
    x: float = 0.0

    @property
    def width(self) -> float:
        return 0.045 + 0.017 * np.log2(self.shape[0])

    @property
    def left(self) -> float:
        """Left edge; the map's own channels are centred on x, those of a skip are on their left."""
        return self.x + self.width * self.own / self.shape[0] / 2 - self.width

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def centre(self) -> float:
        return self.left + self.width / 2

    @property
    def size(self) -> str:
        return _size(self.shape).replace("×", "\n×")

    @property
    def label_width(self) -> float:
        size = max(map(len, self.size.split("\n"))) * (FONT - 1)
        return _LETTER * max(size, len(str(self.shape[0])) * FONT)

    @property
    def color(self) -> str:
        return _color(self.block)


@dataclass
class _Skip:
    """An arrow from the contracting to the expanding path."""

    source: _Map
    target: _Map
    words: list[str]
    indices: bool
    across: bool
    """Whether it passes other maps of its row."""


@dataclass
class _Row:
    """The maps of one scale."""

    maps: list[_Map] = field(default_factory=list)
    middle: float = 0.0


class UDrawing:
    """
    The drawing of a U-shaped net.

    Parameters
    ----------
    graph : Graph
        As `trace` or `collapse` gives it.

    Raises
    ------
    NoUShape
        If the net does not first reduce and then enlarge its map, or a skip does not join the two paths at
        one scale.
    """

    def __init__(self, graph: Graph) -> None:
        main = longest_path(graph)
        arcs = find_arcs(graph, main)
        self.maps = _maps(graph, main, {arc.target for arc in arcs if not arc.indices})
        self.bottom = _bottom(self.maps)
        self.skips = _skips(graph, arcs, self.maps, self.bottom)
        self._lay_out()

    @property
    def count(self) -> int:
        """Columns: what lies above one another counts once."""
        return 1 + sum(before.level == after.level for before, after in pairwise(self.maps))

    def figure(self, title: str) -> Figure:
        """Draw it."""
        key = self._key()
        right, top = max(m.right for m in self.maps), _TALLEST / 2 + 0.72
        bottom = self._floor - 0.26 - 0.16 * key_rows(key)
        figure = plt.figure(figsize=(right + 0.6, top - bottom))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-0.3, right + 0.3), ylim=(bottom, top), aspect="equal")
        axes.axis("off")
        for before, after in pairwise(self.maps):
            self._draw_step(axes, before, after)
        for skip in self.skips:
            self._draw_skip(axes, skip)
        for drawn in self.maps:
            self._draw_map(axes, drawn)
        style = {"fontsize": FONT, "color": MUTED, "rotation": 90, "va": "center"}
        axes.text(-0.06, self._middle(self.maps[0]), "input", ha="right", **style)
        axes.text(right + 0.06, self._middle(self.maps[-1]), "output", ha="left", **style)
        axes.text(-0.15, top - 0.08, title, fontsize=FONT + 2, fontweight="bold", color=INK, va="top")
        axes.text(-0.15, top - 0.28, _NOTE, fontsize=FONT, color=MUTED, va="top")
        draw_key(axes, key)
        plt.close(figure)
        return figure

    def _lay_out(self) -> None:
        self.maps[0].x = self.maps[0].width / 2
        self._place(0.0)
        lacking = max((self._lacking(skip) for skip in self.skips), default=0.0)
        self._place(max(0.0, lacking))
        stretch = max(1.0, _NARROWEST / max(m.right for m in self.maps))
        for drawn in self.maps:
            drawn.x *= stretch
        self.rows = {level: _Row() for level in sorted({m.level for m in self.maps})}
        for drawn in self.maps:
            self.rows[drawn.level].maps.append(drawn)
        y = 0.0
        for number, row in enumerate(self.rows.values()):
            half = max(self._height(m) for m in row.maps) / 2
            y -= half * (number > 0)
            row.middle = y
            y -= half + 0.06 + 0.13 * max(m.size.count("\n") + 1 for m in row.maps)
            self._floor = y
            y -= _DROP + 0.2

    def _place(self, extra: float) -> None:
        """Put each map beside, below or above the one before, with more room between the bottom's maps."""
        below = [m for m in self.maps if m.level == self.bottom]
        steps = max(1, len(below) - 1)
        for before, after in pairwise(self.maps):
            after.x = before.x
            if before.level == after.level:
                after.x += before.right - before.x + after.x - after.left + _GAP
                after.x = max(after.x, before.centre + (before.label_width + after.label_width) / 2 + 0.05)
            if before.level == self.bottom and (after.level == self.bottom or len(below) == 1):
                after.x += extra / steps

    def _lacking(self, skip: _Skip) -> float:
        need = max((len(word) * _LETTER * (FONT - 1) for word in skip.words), default=0.2) + 0.2
        return need - (skip.target.left - skip.source.right)

    def _height(self, drawn: _Map) -> float:
        sides = [_side(m) for m in self.maps]
        low, span = min(sides), max(max(sides) - min(sides), 1e-9)
        return _SHORTEST + (_TALLEST - _SHORTEST) * (_side(drawn) - low) / span

    def _middle(self, drawn: _Map) -> float:
        return self.rows[drawn.level].middle

    def _top(self, drawn: _Map) -> float:
        """Height above the number of channels."""
        return self._middle(drawn) + self._height(drawn) / 2 + 0.18

    def _foot(self, drawn: _Map) -> float:
        """Height below the size."""
        lines = drawn.size.count("\n") + 1
        return self._middle(drawn) - self._height(drawn) / 2 - 0.05 - 0.12 * lines

    def _step(self, before: _Map, after: _Map) -> tuple[tuple[float, float], tuple[float, float]]:
        """Give the ends of the arrow between two maps."""
        if before.level < after.level:
            return (before.x, self._foot(before)), (after.x, self._top(after))
        if before.level > after.level:
            return (before.x, self._top(before)), (after.x, self._foot(after))
        y = self._middle(after)
        return (before.right + 0.025, y), (after.left - 0.025, y)

    def _draw_step(self, axes: Axes, before: _Map, after: _Map) -> None:
        begin, end = self._step(before, after)
        _arrow(axes, begin, end, color=after.color, linewidth=2.0, head=0.45)

    def _draw_skip(self, axes: Axes, skip: _Skip) -> None:
        if skip.indices:
            self._draw_places(axes, skip)
            return
        y = self._middle(skip.source)
        if skip.across:
            y -= min(self._height(skip.source), self._height(skip.target)) / 4
        begin, end = skip.source.right + 0.03, skip.target.left - 0.02
        _arrow(axes, (begin, y), (end, y), color=MUTED, linewidth=0.9, head=0.22)
        for word, shift, va in zip(skip.words, (0.03, -0.04), ("bottom", "top"), strict=False):
            axes.text((begin + end) / 2, y + shift, word, fontsize=FONT - 1, color=INK, ha="center", va=va)

    def _draw_places(self, axes: Axes, skip: _Skip) -> None:
        """Draw what goes from a pooling to an unpooling, from arrow to arrow."""
        ends = []
        for drawn in (skip.source, skip.target):
            begin, end = self._step(self.maps[self.maps.index(drawn) - 1], drawn)
            ends.append(((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2))
        (left, y), (right, other) = ends
        dashes = {"linestyle": (0, (3, 2)), "head": 0.22}
        _arrow(axes, (left + 0.05, y), (right - 0.05, other), color=MUTED, linewidth=0.9, **dashes)

    def _draw_map(self, axes: Axes, drawn: _Map) -> None:
        height, y = self._height(drawn), self._middle(drawn)
        own = drawn.width * drawn.own / drawn.shape[0]
        parts = [(drawn.right - own, own, drawn.color), (drawn.left, drawn.width - own, "white")]
        for left, width, color in parts:
            if width > 1e-6:
                box = Rectangle((left, y - height / 2), width, height, facecolor=color, edgecolor=INK)
                box.set(linewidth=0.7, zorder=2)
                axes.add_patch(box)
        style = {"color": INK, "ha": "center"}
        axes.text(drawn.centre, y + height / 2 + 0.03, str(drawn.shape[0]), fontsize=FONT, va="bottom", **style)
        style.update(color=MUTED, linespacing=1.0)
        axes.text(drawn.centre, y - height / 2 - 0.03, drawn.size, fontsize=FONT - 1, va="top", **style)

    def _key(self) -> list[Any]:
        labels: dict[str, dict[str, None]] = {}
        for drawn in self.maps[1:]:
            block = drawn.block
            kernel = f" {block.detail}" if block.kind in ("conv", "deconv") and block.detail else ""
            meaning = "join" if block.kind == "join" else MEANINGS[block.kind]
            labels.setdefault(drawn.color, {})[meaning + kernel] = None
        handles: list[Any] = [
            Patch(facecolor=color, edgecolor=INK, linewidth=0.6, label=" or ".join(words))
            for color, words in labels.items()
        ]
        if any(skip.indices for skip in self.skips):
            dashes = {"linestyle": (0, (3, 2)), "linewidth": 0.9}
            handles.append(Line2D([], [], color=MUTED, label="places of maxima", **dashes))
        return handles


def _maps(graph: Graph, main: list[int], joined: Iterable[int | None]) -> list[_Map]:
    maps: list[_Map] = []
    level = 0
    for index in main:
        block = graph.blocks[index]
        if block.kind == "join" and index in joined and _just_enlarged(maps):
            own = maps[-1].shape[0] if block.detail == "cat" else block.shape[0]
            maps[-1].shape, maps[-1].own = block.shape, own
            maps[-1].members.append(index)
            continue
        level += round(np.log2(block.factor))
        maps.append(_Map(block, level, [index], block.shape, block.shape[0]))
    return maps


def _just_enlarged(maps: list[_Map]) -> bool:
    return len(maps) > 1 and maps[-1].level < maps[-2].level and len(maps[-1].members) == 1


def _bottom(maps: list[_Map]) -> int:
    """Give the level of the U's bottom, after a look at its shape."""
    steps = [np.sign(after.level - before.level) for before, after in pairwise(maps)]
    turns = [step for step in steps if step]
    if 1 not in turns or -1 not in turns:
        raise NoUShape("it does not reduce its map and then enlarge it")
    if turns != sorted(turns, reverse=True):
        raise NoUShape("it reduces its map again after it has enlarged it")
    return max(drawn.level for drawn in maps)


def _skips(graph: Graph, arcs: list[Arc], maps: list[_Map], bottom: int) -> list[_Skip]:
    place = {member: number for number, drawn in enumerate(maps) for member in drawn.members}
    lowest = [number for number, drawn in enumerate(maps) if drawn.level == bottom]
    skips: dict[tuple[int, bool], _Skip] = {}
    for arc in arcs:
        if arc.target is None:
            raise NoUShape("it has an output beside the main path")
        name = f"what goes from {_named(graph, arc.source)} to {_named(graph, arc.target)}"
        if arc.through:
            raise NoUShape(f"{name} passes through {_named(graph, arc.through[0])}")
        source, target = place[arc.source], place[arc.target]
        # The places of maxima go from one arrow between two scales to another.
        before, after = maps[source - arc.indices].level, maps[target].level
        if before != after or not source - arc.indices < lowest[0] <= lowest[-1] < target:
            raise NoUShape(f"{name} does not go from left to right at one scale")
        if (after, arc.indices) in skips:
            raise NoUShape(f"{name} is not the only skip of its scale")
        words = [] if arc.indices else _words(graph.blocks[arc.source], graph.blocks[arc.target])
        across = maps[source + 1].level == before or maps[target - 1].level == after
        skips[after, arc.indices] = _Skip(maps[source], maps[target], words, arc.indices, across)
    return list(skips.values())


def _words(source: Block, target: Block) -> list[str]:
    """Say what a skip does."""
    words = [_WORDS.get(target.detail, "skip")]
    if target.kind == "join" and source.shape[1:] != target.shape[1:]:
        larger = source.shape[1] * source.shape[2] > target.shape[1] * target.shape[2]
        words.append(f"{'crop' if larger else 'pad'} to {_size(target.shape)}")
    return words


def _named(graph: Graph, index: int) -> str:
    block = graph.blocks[index]
    return repr(block.name) if block.name else f"a {block.kind} ({block.detail})" if block.detail else f"a {block.kind}"


def _size(shape: tuple[int, int, int]) -> str:
    _, height, width = shape
    return f"{height}²" if height == width else f"{height}×{width}"


def _color(block: Block) -> str:
    return _POINTWISE if (block.kind, block.detail) == ("conv", "1×1") else COLORS[block.kind]


def _side(drawn: _Map) -> float:
    return np.log2(max(1.0, (drawn.shape[1] * drawn.shape[2]) ** 0.5))


def _arrow(axes: Axes, begin: tuple[float, float], end: tuple[float, float], *, head: float, **style: Any) -> None:
    tip = {"arrowstyle": f"-|>,head_width={head / 2},head_length={head}", "shrinkA": 0, "shrinkB": 0, **style}
    axes.annotate("", end, begin, arrowprops=tip, zorder=1)
