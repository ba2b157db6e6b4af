"""Training curves."""

from collections.abc import Mapping
from itertools import cycle

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

_NAME_SIZE = 9


def smoothed(values: ArrayLike, weight: float) -> NDArray[np.float64]:
    """
    Smooth a series by an exponential moving average, without the bias of its start.

    Parameters
    ----------
    values : array_like, shape (..., T)
        The series.
    weight : float
        Weight of the past, in [0, 1); 0 changes nothing.

    Returns
    -------
    ndarray of float64, shape (..., T)
        The averages: at each step the weighted mean of all values so far.

    Raises
    ------
    ValueError
        If the weight is outside [0, 1).

    References
    ----------
    Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, section 3 (the correction).
    """
    if not 0 <= weight < 1:
        raise ValueError(f"smoothing weight {weight} is outside [0, 1)")
    values = np.asarray(values, np.float64)
    total, mass, out = np.zeros(values.shape[:-1]), 0.0, np.empty_like(values)
    for step in range(values.shape[-1]):
        total = weight * total + (1 - weight) * values[..., step]
        mass = weight * mass + (1 - weight)
        out[..., step] = total / mass
    return out


def curves(
    runs: Mapping[str, ArrayLike],
    *,
    steps: ArrayLike | None = None,
    smoothing: float = 0.9,
    ylabel: str = "loss",
    xlabel: str = "step",
    log: bool = False,
) -> Figure:
    """
    Plot training curves: each run smoothed, its raw values faint behind, its name at its end.

    Parameters
    ----------
    runs : mapping of str to array_like, shape (T,) or (S, T)
        Values of each run; several seeds of one run as rows are drawn as their mean, with a band from the
        least to the most.
    steps : array_like, shape (T,), or None
        Steps at which the values were taken; None counts from 1.
    smoothing : float
        Weight of the past in the moving average, in [0, 1).
    ylabel, xlabel : str
        Names of the axes.
    log : bool
        Whether the values are drawn on a logarithmic axis.

    Returns
    -------
    Figure
        The plot.

    Raises
    ------
    ValueError
        If there is no run, or a run is empty, has more than two axes or not the length of ``steps``; or if the
        smoothing is outside [0, 1).
    """
    if not runs:
        raise ValueError("no run to plot")
    figure, axes = plt.subplots(layout="constrained")
    plt.close(figure)  # it is returned, and no longer counts as open
    ends = []
    for (name, values), color in zip(runs.items(), cycle(_colors()), strict=False):
        values = np.atleast_2d(np.asarray(values, np.float64))
        at = np.arange(1, values.shape[-1] + 1) if steps is None else np.asarray(steps)
        if values.ndim != 2 or not values.size or at.shape != values.shape[1:]:
            raise ValueError(f"run {name!r} has shape {values.shape} at {at.size} steps; give (T,) or (S, T)")
        ends.append((name, color, *_draw(axes, at, values, smoothing, color)))
    if log:
        axes.set_yscale("log")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(axis="y")
    axes.margins(x=0)
    _name(axes, ends)
    return figure


def _colors() -> list[str]:
    return mpl.rcParams["axes.prop_cycle"].by_key()["color"]


def _draw(axes: Axes, at: NDArray, values: NDArray, smoothing: float, color: str) -> tuple[float, float]:
    smooth = smoothed(values, smoothing)
    if len(values) > 1:
        axes.fill_between(at, smooth.min(0), smooth.max(0), color=color, alpha=0.18, linewidth=0)
    elif smoothing:
        axes.plot(at, values[0], color=color, alpha=0.25, linewidth=0.7)
    axes.plot(at, smooth.mean(0), color=color)
    return float(at[-1]), float(smooth.mean(0)[-1])


def _name(axes: Axes, ends: list[tuple[str, str, float, float]]) -> None:
    """Write each run's name at its end, moved apart where they would overlap."""
    figure = axes.figure
    figure.draw_without_rendering()
    to_pixels, least = axes.transData, 1.25 * _NAME_SIZE * figure.dpi / 72
    placed: list[float] = []
    for name, color, x, y in sorted(ends, key=lambda end: end[3]):
        height = to_pixels.transform((x, y))[1]
        level = max(height, placed[-1] + least) if placed else height
        placed.append(level)
        axes.annotate(
            name,
            (x, y),
            xytext=(7, (level - height) * 72 / figure.dpi),
            textcoords="offset points",
            color=color,
            fontsize=_NAME_SIZE,
            fontweight="bold",
            va="center",
            annotation_clip=False,
        )
