"""How well a label map agrees with the truth, over regions and along boundaries."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

_BITS = 31  # classes whose boundaries share one int32 per pixel


class Scores(NamedTuple):
    """
    The four region scores of a confusion matrix, each in [0, 1] or nan where nothing was counted.

    Parameters
    ----------
    pixel_accuracy : float
        Share of the pixels that have their class.
    mean_accuracy : float
        Share of a class's pixels that have it, averaged over the classes in the truth.
    mean_iu : float
        Intersection over union, averaged over the classes in the truth or the prediction.
    frequency_weighted_iu : float
        Intersection over union, weighted by a class's share of the truth.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iu: float
    frequency_weighted_iu: float

    def __str__(self) -> str:
        """Give the scores in percent on one line, as the papers print them."""
        return ", ".join(
            f"{name.replace('_', ' ').replace('iu', 'IU')} {100 * value:.1f} %"
            for name, value in self._asdict().items()
        )


def confusion(prediction: Tensor, target: Tensor, num_classes: int, void: int = 255) -> Tensor:
    """
    Count how often each class is taken for each.

    Sum these matrices over a dataset before any score is computed: the score of the sum is not the mean of
    the scores.

    Parameters
    ----------
    prediction : Tensor of int, any shape
        Predicted classes, 0 to ``num_classes - 1``; where the target is void anything goes.
    target : Tensor of int, the same shape
        True classes, 0 to ``num_classes - 1``, or ``void``.
    num_classes : int
        Number of classes C.
    void : int, default 255
        Label of the pixels that do not count.

    Returns
    -------
    Tensor, shape (C, C), int64
        Entry (i, j) counts the pixels of class i that were predicted as j.

    Raises
    ------
    ValueError
        If the shapes differ, a tensor is not of integers, or a label lies outside the classes.
    """
    _check_labels(prediction, target, num_classes)
    prediction, target = prediction.long(), target.long()
    rows = max(num_classes, 256)
    if not (_within(prediction, num_classes) and _within(target, rows)):
        kept = target != void
        prediction, target = prediction[kept], target[kept]
        _check_range("prediction", prediction, num_classes)
        _check_range("target", target, num_classes, void)
    index = torch.add(prediction, target, alpha=num_classes).flatten()
    counts = torch.bincount(index, minlength=rows * num_classes).view(rows, num_classes)
    for label in counts.sum(1).nonzero().flatten().tolist():
        if label >= num_classes and label != void:
            _refuse("target", label, num_classes, void)
    if 0 <= void < num_classes:
        counts[void] = 0
    return counts[:num_classes].clone()


def class_iu(confusion: Tensor) -> Tensor:
    """
    Give each class's intersection over union.

    Parameters
    ----------
    confusion : Tensor of int, shape (C, C)
        Row the truth, column the prediction, as `confusion` counts them.

    Returns
    -------
    Tensor, shape (C,), float64
        ``n_ii / (t_i + sum_j n_ji - n_ii)`` in [0, 1]. A class that is predicted but not in the truth has 0,
        one that is in neither has nan.

    Raises
    ------
    ValueError
        If the matrix is not square or has a negative entry.
    """
    hits, truth, predicted = _marginals(confusion)
    return hits / (truth + predicted - hits)


def scores(confusion: Tensor) -> Scores:
    """
    Give the four region scores of a confusion matrix.

    Parameters
    ----------
    confusion : Tensor of int, shape (C, C)
        Row the truth, column the prediction, summed over the dataset.

    Returns
    -------
    Scores
        Pixel accuracy, mean accuracy, mean IU and frequency-weighted IU as Python floats in [0, 1].

    Raises
    ------
    ValueError
        If the matrix is not square or has a negative entry.

    Notes
    -----
    A class absent from the truth has no accuracy and is left out of the mean accuracy. It is left out of the
    mean IU only if it is not predicted either: predicted where it never is, it counts as IU 0.
    Without any counted pixel all four are nan.

    References
    ----------
    Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section 5.
    """
    hits, truth, _ = _marginals(confusion)
    iu = class_iu(confusion)
    return Scores(
        pixel_accuracy=(hits.sum() / truth.sum()).item(),
        mean_accuracy=(hits / truth).nanmean().item(),
        mean_iu=iu.nanmean().item(),
        frequency_weighted_iu=((truth * iu.nan_to_num()).sum() / truth.sum()).item(),
    )


def boundary_f1(
    prediction: Tensor, target: Tensor, num_classes: int, tolerance: int | None = None, void: int = 255
) -> float:
    """
    Score how well the boundaries agree, which the region scores hardly see.

    Parameters
    ----------
    prediction : Tensor of int, shape (H, W) or (B, H, W)
        Predicted classes, 0 to ``num_classes - 1``; where the target is void anything goes.
    target : Tensor of int, the same shape
        True classes, 0 to ``num_classes - 1``, or ``void``.
    num_classes : int
        Number of classes.
    tolerance : int, optional
        Distance in pixels within which a boundary pixel counts as found; by default 0.75 % of the image's
        diagonal, rounded up.
    void : int, default 255
        Label of the pixels that do not count.

    Returns
    -------
    float
        F1 in [0, 1], averaged over the classes of an image, then over the images; nan without any boundary.

    Raises
    ------
    ValueError
        If the shapes differ or are not as above, a tensor is not of integers, a label lies outside the
        classes, or the tolerance is negative.

    Notes
    -----
    A pixel lies on the boundary of its class if one of its four neighbours has another class; void neighbours
    and the edge of the image make no boundary. Precision is the share of a class's predicted boundary pixels
    with a true one within the tolerance (Euclidean), recall the converse. A class counts in an image in which
    it has a boundary in the truth or the prediction; with one in only one of them its F1 is 0. An image
    without any boundary is left out.

    References
    ----------
    Csurka, Larlus, Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013.
    """
    _check_labels(prediction, target, num_classes)
    if target.ndim not in (2, 3) or 0 in target.shape:
        raise ValueError(f"label maps of shape {tuple(target.shape)} are not (H, W) or (B, H, W)")
    if tolerance is None:
        tolerance = math.ceil(0.0075 * math.hypot(*target.shape[-2:]))
    if tolerance < 0:
        raise ValueError(f"tolerance {tolerance} is negative; 0 asks for the very pixel")
    images = ((prediction, target),) if target.ndim == 2 else zip(prediction, target, strict=True)
    f1 = [_image_f1(*image, num_classes, tolerance, void) for image in images]
    return torch.tensor(f1, dtype=torch.float64).nanmean().item()


@torch.inference_mode()
def evaluate(
    predict: Callable[[Tensor], Tensor],
    dataset: Iterable[tuple[Tensor, Tensor]],
    num_classes: int,
    void: int = 255,
) -> dict[str, float]:
    """
    Measure a net over a dataset, image by image.

    Parameters
    ----------
    predict : callable
        Takes images (1, 3, H, W) and returns logits (1, C, H, W), as a net in evaluation mode does, or labels
        (1, H, W).
    dataset : iterable of (image, labels)
        Images (3, H, W), whose sizes may differ, and their labels (H, W).
    num_classes : int
        Number of classes C.
    void : int, default 255
        Label of the pixels that do not count.

    Returns
    -------
    dict of str to float
        "mean IU" first, then "pixel accuracy", "mean accuracy", "frequency-weighted IU" and "boundary F1", each
        in [0, 1]; the boundary F1 is averaged over images, the rest are computed once from the summed confusion.

    Raises
    ------
    ValueError
        If the dataset is empty, or an answer does not fit its labels.
    """
    total, f1 = torch.zeros(num_classes, num_classes, dtype=torch.int64), []
    for image, labels in dataset:
        answer = predict(image[None])[0]
        answer = answer.argmax(0) if answer.ndim == 3 else answer
        total += confusion(answer, labels, num_classes, void).cpu()
        f1.append(boundary_f1(answer, labels, num_classes, void=void))
    if not f1:
        raise ValueError("the dataset to measure on is empty")
    found = scores(total)
    return {
        "mean IU": found.mean_iu,
        "pixel accuracy": found.pixel_accuracy,
        "mean accuracy": found.mean_accuracy,
        "frequency-weighted IU": found.frequency_weighted_iu,
        "boundary F1": torch.tensor(f1, dtype=torch.float64).nanmean().item(),
    }


def _image_f1(prediction: Tensor, target: Tensor, num_classes: int, tolerance: int, void: int) -> float:
    """Average the boundary F1 of one image over its classes."""
    valid = target.long() != void
    prediction, target = (labels.long().masked_fill(~valid, 0) for labels in (prediction, target))
    _check_range("prediction", prediction, num_classes)
    _check_range("target", target, num_classes, void)
    predicted, true = (_boundary(labels, valid, num_classes) for labels in (prediction, target))
    num_predicted, num_true = _count(predicted, num_classes), _count(true, num_classes)
    precision = _count_near(predicted, true, num_classes, tolerance) / num_predicted
    recall = _count_near(true, predicted, num_classes, tolerance) / num_true
    f1 = (2 * precision * recall / (precision + recall)).nan_to_num(0)
    return f1[(num_predicted > 0) | (num_true > 0)].mean().item()


def _boundary(labels: Tensor, valid: Tensor, num_classes: int) -> Tensor:
    """Keep the labels of (H, W) that have a valid neighbour of another class; elsewhere, `num_classes`."""
    kept = torch.zeros_like(valid)
    for axis in (0, 1):
        size = labels.shape[axis] - 1
        (one, one_valid), (two, two_valid) = (
            (labels.narrow(axis, start, size), valid.narrow(axis, start, size)) for start in (0, 1)
        )
        edge = (one != two) & one_valid & two_valid
        kept.narrow(axis, 0, size).logical_or_(edge)
        kept.narrow(axis, 1, size).logical_or_(edge)
    return labels.masked_fill(~kept, num_classes)


def _count(boundary: Tensor, num_classes: int) -> Tensor:
    return torch.bincount(boundary.flatten(), minlength=num_classes + 1)[:num_classes].double()


def _count_near(boundary: Tensor, other: Tensor, num_classes: int, tolerance: int) -> Tensor:
    """Count each class's boundary pixels within the tolerance of its other boundary; all classes at once."""
    near = torch.zeros_like(boundary, dtype=torch.bool)
    for first in range(0, num_classes, _BITS):
        size = min(_BITS, num_classes - first)
        bit = torch.zeros(num_classes + 1, dtype=torch.int32, device=boundary.device)
        bit[first : first + size] = 1 << torch.arange(size, dtype=torch.int32, device=boundary.device)
        near |= (bit.take(boundary) & _dilate(bit.take(other), tolerance)) != 0
    return _count(boundary.masked_fill(~near, num_classes), num_classes)


def _dilate(bits: Tensor, radius: int) -> Tensor:
    """Spread every bit of (H, W) over the disc around its pixel, from the disc's outer rows to its middle."""
    height, width = bits.shape
    row, disc, reach = bits.clone(), torch.zeros_like(bits), 0
    for offset in range(min(radius, height - 1), -1, -1):
        while reach < min(math.isqrt(radius**2 - offset**2), width - 1):
            reach += 1
            row[:, reach:] |= bits[:, :-reach]
            row[:, :-reach] |= bits[:, reach:]
        disc[offset:] |= row[: height - offset]
        disc[: height - offset] |= row[offset:]
    return disc


def _check_labels(prediction: Tensor, target: Tensor, num_classes: int) -> None:
    if num_classes < 1:
        raise ValueError(f"num_classes {num_classes} is smaller than 1")
    for name, labels in (("prediction", prediction), ("target", target)):
        if labels.is_floating_point() or labels.is_complex():
            raise ValueError(f"{name} is {labels.dtype}, not integers; for logits take argmax(1) first")
    if prediction.shape != target.shape:
        raise ValueError(f"prediction of {tuple(prediction.shape)} and target of {tuple(target.shape)} differ")


def _within(labels: Tensor, stop: int) -> bool:
    if labels.numel() == 0:
        return True
    low, high = labels.aminmax()
    return bool(low >= 0 and high < stop)


def _check_range(name: str, labels: Tensor, num_classes: int, void: int | None = None) -> None:
    if not _within(labels, num_classes):
        _refuse(name, labels[(labels < 0) | (labels >= num_classes)][0].item(), num_classes, void)


def _refuse(name: str, label: int, num_classes: int, void: int | None) -> None:
    others = "" if void is None else f", nor the void label {void}"
    raise ValueError(f"{name} has the label {label}, not in 0 to {num_classes - 1}{others}")


def _marginals(confusion: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give the hits, the pixels in the truth and the pixels predicted of each class, as float64."""
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"confusion of shape {tuple(confusion.shape)} is not (C, C)")
    if confusion.min() < 0:
        raise ValueError(f"confusion has the negative count {confusion.min().item()}")
    counts = confusion.double()
    return counts.diagonal(), counts.sum(1), counts.sum(0)
