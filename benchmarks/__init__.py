"""Ours against a peer library, paired in one run: only the ratio of two times is worth reporting."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

Row = tuple[str, float, float]
"""What was done, our milliseconds, the peer's milliseconds."""


def _milliseconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return (perf_counter() - start) * 1000


def pair(ours: Callable[[], object], peer: Callable[[], object], repeats: int = 15) -> tuple[float, float]:
    """
    Time two pieces of work in turn, so that whatever else the machine does hits both alike.

    Parameters
    ----------
    ours, peer : callable
        The work, without arguments. Each runs once before anything is timed.
    repeats : int, default 15
        How often each is timed. The order within a pair alternates.

    Returns
    -------
    tuple of float
        The median milliseconds of ours and of the peer.

    Raises
    ------
    ValueError
        If ``repeats`` is smaller than 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats {repeats} is smaller than 1; a median needs one measurement at least")
    ours(), peer()
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            times[side].append(_milliseconds((ours, peer)[side]))
    return median(times[0]), median(times[1])


def table(rows: list[Row]) -> str:
    """
    Set the rows of a benchmark as a small table.

    Parameters
    ----------
    rows : list of (str, float, float)
        What was done, our milliseconds, the peer's milliseconds.

    Returns
    -------
    str
        One line a row; the ratio is ours to the peer's, so below 1 means that ours is faster.
    """
    width = max([4, *(len(name) for name, _, _ in rows)])
    lines = [f"{'work':<{width}} {'ours ms':>9} {'peer ms':>9} {'ratio':>6}"]
    lines += [f"{name:<{width}} {ours:9.1f} {peer:9.1f} {ours / peer:6.2f}" for name, ours, peer in rows]
    return "\n".join(lines)
