"""What RoIPool, RoIWarp and RoIAlign read of a map: their samples, and their outputs."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from xferlib.ops.roi import roi_align, roi_pool, roi_warp
from xferlib.viz.style import COLORS

_WAYS = {"pool": ("RoIPool", roi_pool), "warp": ("RoIWarp", roi_warp), "align": ("RoIAlign", roi_align)}


def roi(
    features: Tensor,
    box: Sequence[float],
    bins: int = 2,
    ways: Sequence[str] = ("pool", "align"),
    *,
    width: float = 7.0,
) -> Figure:
    """
    Draw how a box is cut out of a small map, one column for each way.

    Parameters
    ----------
    features : Tensor, shape (H, W)
        The map.
    box : sequence of float
        Corners x1 y1 x2 y2 in cells of the map.
    bins : int
        Rows and columns of the output.
    ways : sequence of {"pool", "warp", "align"}
        Which ways.
    width : float
        Width of the figure in inches.

    Returns
    -------
    Figure
        Above, the map with the box (dashed), the bins that are read and, where there are any, the samples; below,
        the output.

    Raises
    ------
    ValueError
        If there is no such way or none at all, or the map is not (H, W).
    """
    if features.ndim != 2:
        raise ValueError(f"map of shape {tuple(features.shape)}; give one channel (H, W)")
    if unknown := set(ways) - set(_WAYS):
        raise ValueError(f"way {sorted(unknown)[0]!r} is not known; choose among {', '.join(_WAYS)}")
    if not ways:
        raise ValueError(f"no way is given; choose among {', '.join(_WAYS)}")
    features = features.detach().cpu().float()
    rows, columns = features.shape
    height = width / len(ways) * (rows / columns + 0.55)
    figure, axes = plt.subplots(
        2, len(ways), figsize=(width, height), height_ratios=(rows / columns, 0.42), squeeze=False
    )
    plt.close(figure)  # it is returned, and no longer counts as open
    numbered = torch.tensor([[0.0, *box]], dtype=features.dtype)
    limits = features.min().item(), features.max().item()
    for (above, below), way in zip(axes.T, ways, strict=True):
        title, cut = _WAYS[way]
        _cells(above, features, limits)
        _bins(above, box, bins, way)
        above.set_title(title)
        _cells(below, cut(features[None, None], numbered, bins)[0, 0], limits, digits=2)
    figure.tight_layout()
    return figure


def _cells(axes: Axes, values: Tensor, limits: tuple[float, float], digits: int = 0) -> None:
    """Paint a map with its numbers, pixel edges at whole numbers."""
    rows, columns = values.shape
    low, high = limits
    axes.imshow(values.numpy(), extent=(0, columns, rows, 0), vmin=low, vmax=high, cmap="Blues", alpha=0.75)
    for y in range(rows):
        for x in range(columns):
            dark = values[y, x] > low + 0.65 * (high - low)
            text = f"{values[y, x]:.{digits}f}" if digits else f"{values[y, x]:g}"
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", color="white" if dark else "0.25", fontsize=8)
    axes.set(xticks=range(columns + 1), yticks=range(rows + 1), xticklabels=[], yticklabels=[])
    axes.grid(color="white", linewidth=1)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _bins(axes: Axes, box: Sequence[float], bins: int, way: str) -> None:
    x1, y1, x2, y2 = box
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ls="--", lw=1.5, ec=COLORS[6]))
    edges = [_edges(low, high, bins, way) for low, high in ((x1, x2), (y1, y2))]
    for top, bottom in edges[1]:
        for left, right in edges[0]:
            axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, lw=1.6, ec=COLORS[1]))
            if way != "pool":
                places = [
                    (low + (high - low) * part) for low, high in ((left, right), (top, bottom)) for part in (0.25, 0.75)
                ]
                axes.plot(
                    [*places[:2], *places[:2]], [places[2], places[2], places[3], places[3]], "o", ms=3, c=COLORS[1]
                )
    every = [edge for pairs in edges for pair in pairs for edge in pair]
    low, high = min(0, *every), max(*axes.get_xlim(), *every)
    axes.set(xlim=(low - 0.1, high + 0.1), ylim=(max(axes.get_ylim()[0], high) + 0.1, low - 0.1))


def _edges(low: float, high: float, bins: int, way: str) -> list[tuple[float, float]]:
    """Give the edges of the bins along one axis: as given, or of the box rounded to whole cells."""
    if way != "align":
        low, high = int(low + 0.5), max(int(high + 0.5), int(low + 0.5)) + 1
    step = (high - low) / bins
    edges = [(low + i * step, low + (i + 1) * step) for i in range(bins)]
    if way == "pool":
        edges = [(int(start), int(-(-stop // 1))) for start, stop in edges]
    return edges
