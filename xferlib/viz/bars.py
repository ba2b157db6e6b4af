"""Bars: one figure a class, several nets side by side."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike


def bars(series: Mapping[str, ArrayLike], names: Sequence[str], *, ylabel: str = "") -> Figure:
    """
    Draw groups of bars, one group a name and one bar a series.

    Parameters
    ----------
    series : mapping of str to array_like, shape (N,)
        The height of each bar; nan leaves its place empty.
    names : sequence of str
        Names of the N groups.
    ylabel : str
        Name of the vertical axis.

    Returns
    -------
    Figure
        The plot.

    Raises
    ------
    ValueError
        If there is no series, or one is not as long as the names.
    """
    if not series:
        raise ValueError("no series to draw")
    for name, values in series.items():
        if np.shape(values) != (len(names),):
            raise ValueError(f"series {name!r} has shape {np.shape(values)} for {len(names)} names")
    figure, axes = plt.subplots(layout="constrained")
    plt.close(figure)  # it is returned, and no longer counts as open
    width, places = 0.84 / len(series), np.arange(len(names))
    for k, (name, values) in enumerate(series.items()):
        offset = (k - (len(series) - 1) / 2) * width
        axes.bar(places + offset, np.asarray(values, float), 0.92 * width, label=name)
    axes.set_xticks(places, names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_ylabel(ylabel)
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
    axes.margins(x=0.01)
    figure.legend(loc="outside upper left", ncols=len(series))
    return figure
