"""Average precision of found objects, as COCO defines it, fed image by image."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from xferlib.metrics._coco import THRESHOLDS, Of, area_under_curve, outcomes, overlaps
from xferlib.ops import boxes
from xferlib.ops.instances import Instances

AREAS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, math.inf)}
)
"""COCO's ranges of area in pixels, ends included, for photographs of about 640 by 480."""

_ALL = (0, math.inf)


class AveragePrecision:
    """
    COCO's average precision of found objects, fed image by image.

    It keeps what became of each detection, not the masks. Like `Matches` two of them can be added; where scores are
    equal, what was added first comes first.

    Parameters
    ----------
    of : {"masks", "boxes"}
        What is compared: the objects' pixels, or their boxes.
    areas : mapping of str to (float, float)
        Ranges of area in pixels, ends included, each of which gets a figure of its own. By default `AREAS`, COCO's;
        smaller pictures need smaller ones.
    detections : int
        At most so many objects of a class count in an image, those of highest score; COCO takes 100.

    Raises
    ------
    ValueError
        If `of` is neither of the two, a range is not 0 <= low <= high, or `detections` is below 1.

    Notes
    -----
    Class by class and image by image, the detections take turns in order of their scores, equal ones in their own
    order. Each takes the free true object that it overlaps most, if their intersection over union is at least the
    threshold: ten of them, 0.50 to 0.95. All images' detections then line up by score; the precision at a recall is
    the best one at that or any higher recall, and its mean over the recalls 0, 0.01, ..., 1 is the average precision,
    which is averaged over the thresholds and over the classes that have truth.

    Within a range of areas, a true object out of it is optional: it is not missed, and who finds it is neither right
    nor wrong, but it is only taken if no true object of the range is. Nor does a detection out of the range count that
    finds nothing. A mask's area is the number of its pixels, a box's is that of the box: with ``of="boxes"`` COCO
    itself takes that of the true object's mask.

    The figures are those of pycocotools, without its crowd regions.

    References
    ----------
    Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and its evaluation code, ``cocoeval.py``.
    """

    def __init__(
        self, *, of: Of = "masks", areas: Mapping[str, tuple[float, float]] = AREAS, detections: int = 100
    ) -> None:
        if of not in get_args(Of):
            raise ValueError(f"of {of!r} is neither 'masks' nor 'boxes'")
        for name, (low, high) in areas.items():
            if not 0 <= low <= high:
                raise ValueError(f"area {name!r} from {low} to {high} is not 0 <= low <= high")
        if detections < 1:
            raise ValueError(f"detections {detections} is smaller than 1; nothing would count")
        self.of: Of = of
        self.areas = dict(areas)
        self.detections = detections
        self._found: defaultdict[int, list[_Found]] = defaultdict(list)

    def add(self, prediction: Instances, truth: Instances) -> None:
        """
        Count one image.

        Parameters
        ----------
        prediction : Instances
            The found objects, with scores.
        truth : Instances
            The true objects; their scores are not looked at.

        Raises
        ------
        ValueError
            If the parts of either do not belong together, its classes are not integers from 1, its masks not bool
            or its boxes inverted, the pictures differ in size, or scores are missing or nan.
        """
        _check(prediction, truth)
        scores = prediction.scores.double().numpy(force=True)
        classes, true_classes = (part.classes.numpy(force=True) for part in (prediction, truth))
        iou, *areas = overlaps(prediction, truth, self.of)
        low, high = np.array([_ALL, *self.areas.values()]).T[:, :, None]
        inside, counted = ((low <= sizes) & (sizes <= high) for sizes in areas)
        order = np.argsort(-scores, kind="stable")
        for c in np.union1d(classes, true_classes).tolist():
            found, true = order[classes[order] == c][: self.detections], np.flatnonzero(true_classes == c)
            outcome = outcomes(iou[np.ix_(found, true)], inside[:, found], counted[:, true])
            self._found[c].append(_Found(scores[found], outcome, counted[:, true].sum(1)))

    def __add__(self, other: "AveragePrecision") -> "AveragePrecision":
        """Join the images of both."""
        if not isinstance(other, AveragePrecision):
            return NotImplemented
        mine, theirs = ((part.of, [*part.areas.items()], part.detections) for part in (self, other))
        if mine != theirs:
            raise ValueError(f"settings {mine} and {theirs} do not add up; give both the same")
        total = AveragePrecision(of=self.of, areas=self.areas, detections=self.detections)
        for part in (self, other):
            for c, found in part._found.items():
                total._found[c] += found
        return total

    def result(self) -> dict[str, float]:
        """
        Give the figures over all images so far.

        Returns
        -------
        dict of str to float
            "AP" over all ten thresholds, "AP50" and "AP75" at one, and "AP small" and so on for the ranges of area,
            each in [0, 1], averaged over classes; nan where there is no true object.
        """
        return self._figures([_curve(found) for found in self._found.values()])

    def by_class(self) -> dict[int, dict[str, float]]:
        """
        Give the figures class by class.

        Returns
        -------
        dict of int to dict of str to float
            For each class that was seen, in order, the figures of `result`; nan where it has no true object.
        """
        return {c: self._figures([_curve(found)]) for c, found in sorted(self._found.items())}

    def _figures(self, curves: list[NDArray]) -> dict[str, float]:
        values = np.array(curves).reshape(-1, 1 + len(self.areas), len(THRESHOLDS))
        parts = {"AP": values[:, 0], "AP50": values[:, 0, 0], "AP75": values[:, 0, 5]}
        parts |= {f"AP {name}": values[:, place] for place, name in enumerate(self.areas, start=1)}
        return {name: _mean(part) for name, part in parts.items()}


def average_precision(
    predictions: Sequence[Instances],
    truths: Sequence[Instances],
    *,
    of: Of = "masks",
    areas: Mapping[str, tuple[float, float]] = AREAS,
    detections: int = 100,
) -> dict[str, float]:
    """
    Give COCO's average precision of found objects over a dataset.

    Parameters
    ----------
    predictions : sequence of Instances
        The found objects of each image, with scores.
    truths : sequence of Instances
        The true objects of each image.
    of : {"masks", "boxes"}
        What is compared: the objects' pixels, or their boxes.
    areas : mapping of str to (float, float)
        Ranges of area in pixels, ends included, each of which gets a figure of its own.
    detections : int
        At most so many objects of a class count in an image, those of highest score.

    Returns
    -------
    dict of str to float
        "AP" over the thresholds 0.50 to 0.95, "AP50", "AP75", and "AP small" and so on for the ranges of area, each in
        [0, 1]; nan where there is no true object.

    Raises
    ------
    ValueError
        If there are not as many predictions as truths, or they are not as `AveragePrecision` asks.

    Notes
    -----
    `AveragePrecision` says how it is computed. It also takes images one by one, so that not all masks need be in
    memory at once, and gives the figures of each class.
    """
    if len(predictions) != len(truths):
        raise ValueError(f"{len(predictions)} predictions for {len(truths)} truths; give one of each an image")
    total = AveragePrecision(of=of, areas=areas, detections=detections)
    for prediction, truth in zip(predictions, truths, strict=True):
        total.add(prediction, truth)
    return total.result()


class _Found(NamedTuple):
    """Of one class in one image: scores (D,), outcomes (A, 10, D) and the number of true objects in each range (A,)."""

    scores: NDArray[np.float64]
    outcome: NDArray[np.int8]
    totals: NDArray[np.int64]


def _curve(found: list[_Found]) -> NDArray[np.float64]:
    """Give a class's average precision in each range of area and at each threshold, (A, 10)."""
    order = np.argsort(-np.concatenate([part.scores for part in found]), kind="stable")
    outcome = np.concatenate([part.outcome for part in found], axis=-1)[..., order]
    totals = np.sum([part.totals for part in found], axis=0)
    return np.array(
        [
            [area_under_curve(row, total) if total else math.nan for row in rows]
            for rows, total in zip(outcome, totals.tolist(), strict=True)
        ]
    )


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _check(prediction: Instances, truth: Instances) -> None:
    for name, objects in (("prediction", prediction), ("truth", truth)):
        _check_objects(name, objects)
    if prediction.masks.shape[1:] != truth.masks.shape[1:]:
        sizes = " and ".join(str(tuple(part.masks.shape[1:])) for part in (prediction, truth))
        raise ValueError(f"masks of prediction and truth are of pictures {sizes}; they must be of the same")
    scores = prediction.scores
    if scores is None:
        raise ValueError("prediction has no scores; objects that a net found need one each, to be put in order")
    if scores.shape != prediction.classes.shape:
        raise ValueError(f"prediction has scores {tuple(scores.shape)} for {len(prediction.classes)} objects")
    if scores.isnan().any():
        raise ValueError(f"score {int(scores.isnan().nonzero()[0])} of the prediction is nan")


def _check_objects(name: str, objects: Instances) -> None:
    corners, classes, masks, _ = objects
    shapes = [tuple(part.shape) for part in (corners, classes, masks)]
    n = len(masks)
    if masks.ndim != 3 or shapes[:2] != [(n, 4), (n,)]:
        parts = "boxes {}, classes {}, masks {}".format(*shapes)
        raise ValueError(f"{name}: {parts} do not belong together; expected (N, 4), (N,) and (N, H, W)")
    if classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
        raise ValueError(f"classes of the {name} are {classes.dtype}; expected integers: classes.long()")
    if n and classes.min() < 1:
        raise ValueError(f"{name} has an object of class {int(classes.min())}; objects count from 1, 0 is background")
    if masks.dtype != torch.bool:
        raise ValueError(f"masks of the {name} are {masks.dtype}; expected bool: masks > 0.5")
    boxes.check(corners, f"boxes of the {name}")
