"""Label maps and score maps as pictures."""

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from xferlib.ops._halves import check_floats

VOID = 255

_FEW = ("#3C4654", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")


def palette(num_classes: int) -> NDArray[np.uint8]:
    """
    Choose colours for classes that have none of their own.

    Parameters
    ----------
    num_classes : int
        Number of classes, at most 20; up to 8 the colours are safe for colour blindness.

    Returns
    -------
    ndarray of uint8, shape (num_classes, 3)
        RGB in 0 to 255.

    Raises
    ------
    ValueError
        If there are more than 20 classes or none.
    """
    if not 1 <= num_classes <= 20:
        raise ValueError(f"{num_classes} classes; a palette has 1 to 20 colours that an eye can tell apart")
    colors = _FEW if num_classes <= len(_FEW) else mpl.colormaps["tab20"].colors
    return np.array([np.round(255 * np.array(mpl.colors.to_rgb(c))) for c in colors[:num_classes]], np.uint8)


def colorize(labels: Tensor | NDArray, palette: ArrayLike) -> Tensor:
    """
    Paint a label map; void is drawn as hatched grey.

    Parameters
    ----------
    labels : Tensor or ndarray of int, shape (H, W)
        Classes; 255 is void.
    palette : array_like of uint8, shape (C, 3)
        RGB in 0 to 255 of each class.

    Returns
    -------
    Tensor of float32, shape (3, H, W)
        RGB in [0, 1].

    Raises
    ------
    ValueError
        If the map does not have two axes of integers, or a label has no colour.
    """
    labels = _label_map(labels)
    colors = torch.as_tensor(np.asarray(palette), dtype=torch.float32) / 255
    void = labels == VOID
    known = labels[~void]
    strange = known[(known < 0) | (known >= len(colors))]
    if strange.numel():
        raise ValueError(f"label {int(strange[0])} has no colour in a palette of {len(colors)}; void is {VOID}")
    picture = colors[labels.masked_fill(void, 0)]
    return torch.where(void[..., None], _hatching(*labels.shape)[..., None], picture).permute(2, 0, 1)


def overlay(image: Tensor, labels: Tensor | NDArray, palette: ArrayLike, alpha: float = 0.5) -> Tensor:
    """
    Lay a painted label map over its image; void pixels show the image alone.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].
    labels : Tensor or ndarray of int, shape (H, W)
        Classes; 255 is void.
    palette : array_like of uint8, shape (C, 3)
        RGB in 0 to 255 of each class.
    alpha : float
        Weight of the labels' colours, 0 to 1.

    Returns
    -------
    Tensor of float32, shape (3, H, W)
        RGB in [0, 1].

    Raises
    ------
    ValueError
        If image and labels differ in size, or ``alpha`` is outside [0, 1].
    """
    image, labels = _same_size(image, labels)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha} is outside [0, 1]")
    weight = alpha * (labels != VOID)
    return image + weight * (colorize(labels, palette) - image)


def contours(image: Tensor, labels: Tensor | NDArray, palette: ArrayLike, width: int = 1) -> Tensor:
    """
    Draw the border of each region on the image, on the region's own side and in its colour.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].
    labels : Tensor or ndarray of int, shape (H, W)
        Classes; 255 is void and gets no line.
    palette : array_like of uint8, shape (C, 3)
        RGB in 0 to 255 of each class.
    width : int
        Width of the line in pixels, on each side of the border.

    Returns
    -------
    Tensor of float32, shape (3, H, W)
        RGB in [0, 1].

    Raises
    ------
    ValueError
        If image and labels differ in size, or the width is less than 1.
    """
    image, labels = _same_size(image, labels)
    if width < 1:
        raise ValueError(f"line width {width} is less than 1 pixel")
    window = {"kernel_size": 2 * width + 1, "stride": 1, "padding": width}
    values = labels[None].float()
    border = F.max_pool2d(values, **window) != -F.max_pool2d(-values, **window)
    return torch.where(border & (labels != VOID), colorize(labels, palette), image)


def heat(values: Tensor | NDArray, low: float | None = None, high: float | None = None) -> Tensor:
    """
    Paint a map of real values, dark for low and bright for high.

    Parameters
    ----------
    values : Tensor or ndarray, shape (H, W)
        Any finite values, such as one class's scores.
    low, high : float or None
        Values drawn darkest and brightest; None takes the map's own.

    Returns
    -------
    Tensor of float32, shape (3, H, W)
        RGB in [0, 1].

    Raises
    ------
    ValueError
        If the map does not have two axes, or holds nan or infinity, or ``low`` is above ``high``.
    """
    values = torch.as_tensor(values).detach().cpu().double().numpy()
    if values.ndim != 2:
        raise ValueError(f"map of shape {values.shape}; give one map (H, W)")
    if not np.isfinite(values).all():
        raise ValueError("the map holds nan or infinity; mask them first")
    if None not in (low, high) and low > high:
        raise ValueError(f"low {low} is above high {high}; exchange them")
    low = values.min() if low is None else low
    high = values.max() if high is None else high
    unit = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return torch.from_numpy(mpl.colormaps["viridis"](unit)[..., :3]).float().permute(2, 0, 1)


def legend(names: Sequence[str], palette: ArrayLike, columns: int = 6) -> Figure:
    """
    Draw a legend of class colours.

    Parameters
    ----------
    names : sequence of str
        One a class.
    palette : array_like of uint8, shape (C, 3)
        RGB in 0 to 255 of each class.
    columns : int
        Entries in a row.

    Returns
    -------
    Figure
        The legend alone.

    Raises
    ------
    ValueError
        If names and colours differ in number.
    """
    colors = np.asarray(palette) / 255
    if len(names) != len(colors):
        raise ValueError(f"{len(names)} names for {len(colors)} colours; give one name a colour")
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(figsize=(7, 0.26 * rows + 0.1))
    axes.set_axis_off()  # axes all the same: a notebook shows no figure without any
    figure.legend(
        handles=[Patch(facecolor=color, edgecolor="0.4", linewidth=0.5) for color in colors],
        labels=list(names),
        ncols=columns,
        loc="center",
        frameon=False,
        handlelength=1.2,
        handleheight=1.0,
    )
    plt.close(figure)
    return figure


def _label_map(labels: Tensor | NDArray) -> Tensor:
    labels = torch.as_tensor(labels).detach().cpu()
    if labels.ndim != 2 or labels.is_floating_point():
        shape = tuple(labels.shape)
        raise ValueError(f"labels of shape {shape} and {labels.dtype}; give one map (H, W) of integers")
    return labels.long()


def _same_size(image: Tensor, labels: Tensor | NDArray) -> tuple[Tensor, Tensor]:
    labels = _label_map(labels)
    if image.ndim != 3 or image.shape[1:] != labels.shape:
        raise ValueError(
            f"image of shape {tuple(image.shape)} with labels {tuple(labels.shape)}; give (3, H, W) with (H, W)"
        )
    return ground(image), labels


def ground(image: Tensor) -> Tensor:
    """
    Give a picture that is painted on.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].

    Returns
    -------
    Tensor of float32, shape (3, H, W)
        The picture on the CPU, without a gradient.

    Raises
    ------
    ValueError
        If it is no floats.
    """
    check_floats(image)
    return image.detach().cpu().float()


def _hatching(height: int, width: int, period: int = 6) -> Tensor:
    diagonal = torch.arange(height)[:, None] + torch.arange(width)
    return torch.where(diagonal % period < 2, 0.55, 0.82)
