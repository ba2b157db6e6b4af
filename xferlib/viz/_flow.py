"""The main path of a net's graph, what leaves it and joins it again, and short names for its blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from xferlib.viz.trace import Graph


@dataclass(frozen=True)
class Arc:
    """What leaves the main path at one block and joins it at another, with the blocks on its way."""

    source: int
    target: int | None
    through: tuple[int, ...]
    indices: bool


def longest_path(graph: Graph) -> list[int]:
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


def find_arcs(graph: Graph, main: list[int]) -> list[Arc]:
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


def _walk_back(graph: Graph, source: int, target: int | None, indices: bool, on_main: set[int]) -> Arc:
    through: list[int] = []
    while source not in on_main:
        through.append(source)
        source = graph.blocks[source].inputs[0].source
    return Arc(source, target, tuple(reversed(through)), indices)


def common_name(names: list[str]) -> str:
    if len(set(names)) == 1:
        return names[0]
    shared = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in shared).rstrip("._-") or names[0]


def short_names(names: Sequence[str], most: int = 18) -> dict[str, str]:
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
