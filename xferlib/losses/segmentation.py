"""Losses for semantic segmentation, and the class weights that go with them."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt, find_objects
from torch import Tensor

from xferlib.losses._float16 import wide


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    ignore: int = 255,
    pixel_weights: Tensor | None = None,
) -> Tensor:
    """
    Mean cross-entropy over the pixels that carry a label.

    Parameters
    ----------
    logits : Tensor
        Class scores (B, C, H, W), any range.
    labels : Tensor
        Class of each pixel (B, H, W), int64 in 0 to C - 1, or `ignore`.
    weights : Tensor, optional
        Weight of each class (C,). The mean is then weighted: it is divided by the sum of the pixels'
        weights, so that the size of the weights does not change the size of the loss.
    ignore : int
        Label of void pixels. They add nothing to the loss and get no gradient.
    pixel_weights : Tensor, optional
        Weight of each pixel (B, H, W), for instance ``1 + border_weights(...)``; it multiplies that of the
        pixel's class, and the mean is weighted by the product.

    Returns
    -------
    Tensor
        Scalar. It is zero, with a gradient of zero, where every pixel is void.

    Raises
    ------
    ValueError
        If the shapes do not belong together, or a label is neither a class nor `ignore`.
    """
    _check_shapes(logits, labels)
    if pixel_weights is not None and pixel_weights.shape != labels.shape:
        raise ValueError(f"pixel weights of shape {tuple(pixel_weights.shape)} for labels of {tuple(labels.shape)}")
    _check(labels, logits.shape[1], ignore)
    each = F.cross_entropy(logits, labels, weights, ignore_index=ignore, reduction="none")
    labelled = labels != ignore
    shares = labelled if weights is None else labelled * weights[labels.where(labelled, 0)]
    if pixel_weights is not None:
        each, shares = each * pixel_weights, shares * pixel_weights
    mass = wide(shares).sum()
    return wide(each).sum() / mass.where(mass > 0, 1)


def soft_iu_loss(logits: Tensor, labels: Tensor, ignore: int = 255) -> Tensor:
    """
    One less the mean intersection over union, of probabilities in place of decisions.

    Parameters
    ----------
    logits : Tensor
        Class scores (B, C, H, W), any range.
    labels : Tensor
        Class of each pixel (B, H, W), int64 in 0 to C - 1, or `ignore`.
    ignore : int
        Label of void pixels. They get no gradient.

    Returns
    -------
    Tensor
        Scalar in [0, 1], 0 at best. The mean is over the classes that the batch shows; without any it is 0.

    Raises
    ------
    ValueError
        If the shapes do not belong together, or a label is neither a class nor `ignore`.

    Notes
    -----
    With p the probability of a class at a pixel and y whether it is there, intersection and union are the sums of p y
    and of p + y - p y over all pixels of the batch: for probabilities of 0 and 1 those of the measure itself. A class
    of few pixels counts as much as one of many, in the loss as in the measure.

    References
    ----------
    Rahman, Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation", ISVC 2016.
    """
    _check_shapes(logits, labels)
    _check(labels, logits.shape[1], ignore)
    labelled = labels != ignore
    true = F.one_hot(labels.where(labelled, 0), logits.shape[1]).movedim(-1, 1) * labelled[:, None]
    found = wide(logits).softmax(1) * labelled[:, None]
    shared, pixels = (found * true).sum((0, 2, 3)), true.sum((0, 2, 3))
    shown = pixels > 0
    ratios = shared / (found.sum((0, 2, 3)) + pixels - shared).where(shown, 1)
    return (shown * (1 - ratios)).sum() / shown.sum().clamp(min=1)


def cascade_loss(scores: Mapping[str, Tensor], labels: Tensor, weights: Mapping[str, float]) -> dict[str, Tensor]:
    """
    Weigh the cross-entropies of several score maps: auxiliary heads, and the resolutions of a cascade.

    Parameters
    ----------
    scores : mapping of str to Tensor
        Logits (B, C, h, w) by name, each of any size.
    labels : Tensor, shape (B, H, W)
        Classes, int64, or 255 for void. For each map they are thinned out to its size: the pixel nearest to
        the middle of each cell.
    weights : mapping of str to float
        Weight of each map, by the same names.

    Returns
    -------
    dict of str to Tensor
        The weighted terms by name; their sum is the loss.

    Raises
    ------
    ValueError
        If the names of maps and weights differ.

    References
    ----------
    Zhao et al., "ICNet", ECCV 2018, equation 1; with one auxiliary map, "PSPNet", CVPR 2017, section 3.3.
    """
    if scores.keys() != weights.keys():
        raise ValueError(f"scores of {', '.join(scores)} but weights of {', '.join(weights)}; give the same names")
    return {name: weights[name] * cross_entropy(each, _thinned(labels, each)) for name, each in scores.items()}


def _thinned(labels: Tensor, scores: Tensor) -> Tensor:
    size = scores.shape[-2:]
    if labels.shape[-2:] == size:
        return labels
    # Not "nearest", which takes the first pixel of each cell: maps enlarged again would lie half a cell off.
    return F.interpolate(labels[:, None].double(), size, mode="nearest-exact")[:, 0].long()


def border_weights(instances: Tensor, w0: float = 10.0, sigma: float = 5.0) -> Tensor:
    """
    Let the thin gaps between touching cells count more.

    Parameters
    ----------
    instances : Tensor
        Cell of each pixel (H, W), int64; 0 is no cell.
    w0 : float
        Weight where two cells all but touch.
    sigma : float
        How wide a gap may be to count, in pixels.

    Returns
    -------
    Tensor
        Weights (H, W), float32, to be added to those of the classes: w0 exp(-(d1 + d2)^2 / (2 sigma^2)) on
        every pixel that belongs to no cell, where d1 and d2 are the distances in pixels to the nearest and to
        the second nearest cell; 0 on cells, and everywhere where there are fewer than two.

    Raises
    ------
    ValueError
        If the map is not (H, W), holds a negative number, or sigma is not above 0.

    Notes
    -----
    A distance runs to the centre of a cell's nearest pixel. Cells further than 5 sigma are left out; they
    would change a weight by less than w0 / 200 000.

    References
    ----------
    Ronneberger, Fischer, Brox, MICCAI 2015, equation 2, whose values w0 = 10 and sigma = 5 are the defaults.
    """
    cells = instances.numpy(force=True)
    if cells.ndim != 2 or (cells.size and cells.min() < 0):
        raise ValueError(f"instances of shape {tuple(instances.shape)}; expected (H, W) with numbers from 0 up")
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}; it must be above 0, the paper's is 5")
    # Numbered without gaps, 0 staying 0, because find_objects lists every number up to the largest.
    cells = np.unique(np.append(0, cells), return_inverse=True)[1][1:].reshape(cells.shape)
    first, second = _two_distances(cells, reach=int(5 * sigma) + 1)
    weights = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    return torch.from_numpy(np.where(cells == 0, weights, 0).astype(np.float32)).to(instances.device)


def _two_distances(cells: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Measure from each pixel how far the nearest cell is and how far the second; infinity beyond the reach."""
    first, second = np.full((2, *cells.shape), np.inf)
    for number, box in enumerate(find_objects(cells), start=1):
        if box is None:
            continue
        window = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
        distance = distance_transform_edt(cells[window] != number)
        distance[distance > reach] = np.inf
        second[window] = np.minimum(second[window], np.maximum(first[window], distance))
        first[window] = np.minimum(first[window], distance)
    return first, second


def _check_shapes(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 4 or labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)} do not match: "
            "expected (B, C, H, W) and (B, H, W)"
        )


def _check(labels: Tensor, num_classes: int, ignore: int) -> None:
    wrong = ((labels < 0) | (labels >= num_classes)) & (labels != ignore)
    if wrong.any():
        raise ValueError(f"label {int(labels[wrong][0])} is neither below {num_classes} classes nor void ({ignore})")


def pixel_counts(labels: Tensor, num_classes: int, ignore: int = 255) -> Tensor:
    """
    Number of pixels of each class.

    Parameters
    ----------
    labels : Tensor
        Class of each pixel, int64, any shape.
    num_classes : int
        Number of classes C.
    ignore : int
        Label of void pixels, which are not counted.

    Returns
    -------
    Tensor
        Counts (C,), int64. Add those of several images to count over a dataset.

    Raises
    ------
    ValueError
        If a label is neither a class nor void.
    """
    _check(labels, num_classes, ignore)
    return torch.bincount(labels[labels != ignore].flatten(), minlength=num_classes)


def class_weights(counts: Tensor, c: float = 1.02) -> Tensor:
    """
    Let rare classes count more, but with a bound, so that no class dominates.

    Parameters
    ----------
    counts : Tensor
        Pixels of each class (C,), for instance from `pixel_counts`.
    c : float
        Bound, above 1: a class that never occurs gets the largest weight, 1 / ln(c); a class that fills
        every image gets the smallest, 1 / ln(c + 1).

    Returns
    -------
    Tensor
        Weights (C,), float32: 1 / ln(c + p), where p is the share of a class among all labelled pixels.

    Raises
    ------
    ValueError
        If `c` is not above 1, a count is below 0, or there is no pixel to count.

    References
    ----------
    Paszke et al., "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation", 2016,
    section 5.2.
    """
    if not c > 1:
        raise ValueError(f"c is {c}; it must be above 1, the paper's is 1.02")
    wrong = (~(counts >= 0)).nonzero()
    if len(wrong):
        count = counts[wrong[0]].item()
        raise ValueError(f"class {int(wrong[0])} has {count} pixels; counts start at 0, pixel_counts gives them")
    total = counts.sum()
    if total <= 0:
        raise ValueError("no labelled pixel to compute class weights from: every count is zero")
    return 1 / torch.log(c + counts.double() / total).float()
