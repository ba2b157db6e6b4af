"""Losses for semantic segmentation, and the class weights that go with them."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None, ignore: int = 255) -> Tensor:
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

    Returns
    -------
    Tensor
        Scalar. It is zero, with a gradient of zero, where every pixel is void.

    Raises
    ------
    ValueError
        If the shapes do not belong together.
    """
    if logits.ndim != 4 or labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)} do not match: "
            "expected (B, C, H, W) and (B, H, W)"
        )
    total = F.cross_entropy(logits, labels, weights, ignore_index=ignore, reduction="sum")
    labelled = labels != ignore
    shares = 1 if weights is None else weights[labels.where(labelled, 0)]
    mass = (shares * labelled).sum()
    return total / mass.where(mass > 0, 1)


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
    present = labels[labels != ignore].flatten()
    wrong = present[(present < 0) | (present >= num_classes)]
    if len(wrong):
        raise ValueError(f"label {int(wrong[0])} is neither below {num_classes} classes nor void ({ignore})")
    return torch.bincount(present, minlength=num_classes)


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
        If `c` is not above 1, or there is no pixel to count.

    References
    ----------
    Paszke et al., "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation", 2016,
    section 4.
    """
    if c <= 1:
        raise ValueError(f"c is {c}; it must be above 1, the paper's is 1.02")
    total = counts.sum()
    if total <= 0:
        raise ValueError("no labelled pixel to compute class weights from: every count is zero")
    return 1 / torch.log(c + counts.double() / total).float()
