"""Two instance maps side by side: the sizes of their objects, and what each two share."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Overlaps(NamedTuple):
    """Sizes of all objects, and each pair of a true and a predicted object that share pixels."""

    sizes: Tensor
    true_sizes: Tensor
    predicted: Tensor
    true: Tensor
    shared: Tensor


def overlaps(prediction: Tensor, truth: Tensor) -> Overlaps:
    places, sizes = _renumbered(prediction)
    true_places, true_sizes = _renumbered(truth)
    codes = (true_places * (len(sizes) + 1) + places)[(places > 0) & (true_places > 0)]
    pairs, shared = codes.unique(return_counts=True)
    true, predicted = pairs // (len(sizes) + 1), pairs % (len(sizes) + 1)
    return Overlaps(sizes, true_sizes, predicted - 1, true - 1, shared)


def _renumbered(instances: Tensor) -> tuple[Tensor, Tensor]:
    """Number the objects from 1 without gaps, and give their sizes."""
    padded = torch.cat([instances.flatten().long(), instances.new_zeros(1, dtype=torch.int64)])  # 0 comes first
    _, places, sizes = padded.unique(return_inverse=True, return_counts=True)
    return places[:-1], sizes[1:]


def found_shares(prediction: Tensor, truth: Tensor) -> Tensor:
    """Give TP / (TP + FP + FN) at each of the ten thresholds, (10,), and 1 where there is no object at all."""
    check(prediction=prediction, truth=truth)
    pairs = overlaps(prediction, truth)
    union = pairs.true_sizes[pairs.true] + pairs.sizes[pairs.predicted] - pairs.shared
    twentieths = torch.arange(10, 20, device=union.device)  # of the union, so that all is exact
    hits = (20 * pairs.shared > twentieths[:, None] * union).sum(1)
    everything = len(pairs.sizes) + len(pairs.true_sizes) - hits
    return torch.where(everything > 0, hits / everything.clamp(min=1).double(), 1)


def ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def check(**maps: Tensor) -> None:
    shapes = [tuple(instances.shape) for instances in maps.values()]
    if len(set(shapes)) > 1:
        raise ValueError(f"{' and '.join(maps)} have shapes {' and '.join(map(str, shapes))}; they must be the same")
    for name, instances in maps.items():
        if instances.ndim != 2 or not instances.numel():
            raise ValueError(f"{name} of shape {tuple(instances.shape)}; expected (H, W), one image at a time")
        if instances.is_floating_point() or instances.is_complex() or instances.dtype == torch.bool:
            raise ValueError(f"{name} is {instances.dtype}; expected integers, for a mask its components(mask)")
        if (least := int(instances.long().min())) < 0:
            raise ValueError(f"{name} has the number {least}; objects are numbered from 1, 0 is none")
