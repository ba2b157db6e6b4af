"""Ours against a peer library, paired in one run: only the ratio of two times is worth reporting."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from xferlib.train import record

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


def figures(rows: list[Row]) -> dict[str, dict[str, float]]:
    """
    Set the rows of a benchmark as figures to keep.

    Parameters
    ----------
    rows : list of (str, float, float)
        What was done, our milliseconds, the peer's milliseconds.

    Returns
    -------
    dict of str to dict of str to float
        By what was done: "ours ms", "peer ms" and their "ratio".
    """
    return {
        name: {"ours ms": round(ours, 1), "peer ms": round(peer, 1), "ratio": round(ours / peer, 5)}
        for name, ours, peer in rows
    }


def write(path: Path, found: Mapping[str, Any], seconds: float, options: str = "") -> None:
    """
    Keep the figures of a benchmark, with how they came about.

    Parameters
    ----------
    path : Path
        File, named after the benchmark: "gatys.json" is that of `benchmarks.bench_gatys`.
    found : mapping of str to object
        The figures.
    seconds : float
        How long it took.
    options : str
        What else stood on the command line.
    """
    command = f"python -m benchmarks.bench_{path.stem} --json data/results/{path.name}{options}"
    cost = {"seconds": round(seconds), "hardware": record.hardware()}
    record.write(
        path,
        {"command": command, "commit": record.commit(), "seed": 0, "figures": record.plain(found), "cost": cost},
    )


def command(description: str, run: Callable[[int], list[Row]], repeats: int) -> None:
    """
    Run a benchmark from the command line: print its rows, and keep them in the file that ``--json`` names.

    Parameters
    ----------
    description : str
        What ``--help`` says.
    run : callable
        Called with the repeats; gives the rows.
    repeats : int
        How often each piece of work is timed unless ``--repeats`` says otherwise.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--repeats", type=int, default=repeats)
    options = parser.parse_args()
    start, rows = perf_counter(), run(options.repeats)
    print(table(rows))
    if options.json:
        more = "" if options.repeats == repeats else f" --repeats {options.repeats}"
        write(options.json, figures(rows), perf_counter() - start, more)
