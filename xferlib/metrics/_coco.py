"""The steps of average precision: overlaps, the greedy matching of one image, and the area under a curve."""

from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xferlib.ops import boxes
from xferlib.ops._halves import exact
from xferlib.ops.instances import Instances

Of = Literal["masks", "boxes"]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)
_TILE = 64


class Overlaps(NamedTuple):
    """Intersection over union (N, M) of the predicted with the true objects, and the areas of both, as float64."""

    iou: NDArray[np.float64]
    areas: NDArray[np.float64]
    true_areas: NDArray[np.float64]


def overlaps(prediction: Instances, truth: Instances, of: Of) -> Overlaps:
    """Compare all objects of one image; nothing has an overlap of 0 with anything."""
    if of == "boxes":
        found, true = prediction.boxes.double(), truth.boxes.double()
        parts = boxes.iou(found, true), boxes.area(found), boxes.area(true)
    else:
        shared, areas, true_areas = _shared(prediction.masks, truth.masks)
        parts = shared / (areas[:, None] + true_areas - shared).clamp(min=1), areas, true_areas
    return Overlaps(*(part.numpy(force=True) for part in parts))


def outcomes(iou: NDArray, inside: NDArray, counted: NDArray) -> NDArray[np.int8]:
    """
    Match the detections of one class and image greedily, for all ranges of area and all thresholds at once.

    Parameters
    ----------
    iou : array, shape (D, G)
        Overlaps of the detections, the surest first, with the true objects.
    inside : array of bool, shape (A, D)
        Whether a detection's area lies in each range.
    counted : array of bool, shape (A, G)
        The same for the true objects.

    Returns
    -------
    array of int8, shape (A, 10, D)
        1 for a hit, -1 for a false alarm, and 0 for what does not count: a detection that matches a true object out
        of the range, or that matches none and is itself out of the range.
    """
    near = iou >= THRESHOLDS[0]
    free = np.ones((len(counted), len(THRESHOLDS), iou.shape[1]), bool)
    outcome = np.full((len(counted), len(THRESHOLDS), len(iou)), -1, np.int8)
    for d in np.flatnonzero(near.any(1)):
        rivals = np.flatnonzero(near[d])
        rivals = rivals[np.argsort(iou[d, rivals], kind="stable")[::-1]]  # the closest first, of equals the last
        open_to = free[:, :, rivals] & (iou[d, rivals] >= THRESHOLDS[:, None])
        rank = open_to * (1 + counted[:, None, rivals])  # 2 counts, 1 does not, 0 is taken or too far
        best = rank.argmax(-1)
        outcome[:, :, d] = rank.max(-1) - 1
        area, threshold = open_to.any(-1).nonzero()
        free[area, threshold, rivals[best[area, threshold]]] = False
    outcome[(outcome < 0) & ~inside[:, None]] = 0
    return outcome


def area_under_curve(outcome: NDArray[np.int8], total: int) -> float:
    """Average the best precision at or beyond each of 101 recalls; outcomes (D,) with the surest first."""
    hits, alarms = (outcome > 0).cumsum(), (outcome < 0).cumsum()
    precision = hits / np.maximum(hits + alarms, 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.append(best, 0)[np.searchsorted(hits / total, _RECALLS)].mean())


@exact
def _shared(masks: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """
    Count the pixels that each two masks share, and those of each mask.

    One tile of the image at a time, by a matrix product of the objects in it: float32 counts so few pixels exactly,
    and small objects meet few others.
    """
    shared = masks.new_zeros(len(masks), len(others), dtype=torch.float64)
    sizes, other_sizes = shared.new_zeros(len(masks)), shared.new_zeros(len(others))
    height, width = masks.shape[1:]
    for y, x in product(range(0, height, _TILE), range(0, width, _TILE)):
        (here, pixels), (there, other_pixels) = (_present(part, y, x) for part in (masks, others))
        sizes[here] += pixels.sum(1)
        other_sizes[there] += other_pixels.sum(1)
        shared[here[:, None], there] += (pixels @ other_pixels.T).double()
    return shared, sizes, other_sizes


def _present(masks: Tensor, y: int, x: int) -> tuple[Tensor, Tensor]:
    """Give the indices of the masks with pixels in a tile, and these pixels as float32 (n, pixels)."""
    pixels = masks[:, y : y + _TILE, x : x + _TILE].flatten(1)
    present = pixels.view(torch.uint8).amax(1).nonzero()[:, 0]
    return present, pixels[present].float()
