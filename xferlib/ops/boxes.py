"""Boxes: their overlap, their distance as a net learns it, and the choice of the best among many."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_LARGEST = math.log(1000 / 16)
_BLOCK = 1024


def area(boxes: Tensor) -> Tensor:
    """
    Give the areas of boxes.

    Parameters
    ----------
    boxes : Tensor, shape (N, 4)
        Corners x1 y1 x2 y2 in pixels, x1 <= x2 and y1 <= y2.

    Returns
    -------
    Tensor, shape (N,)
        Areas in pixels squared; float32 for boxes of half precision or integers, which could not hold them.

    Raises
    ------
    ValueError
        If the boxes are not (N, 4) finite numbers in order.
    """
    check(boxes)
    return _area(_wide(boxes))


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """
    Give the intersection over union of each box with each other one.

    Parameters
    ----------
    boxes : Tensor, shape (N, 4)
        Corners x1 y1 x2 y2 in pixels, x1 <= x2 and y1 <= y2.
    others : Tensor, shape (M, 4)
        As `boxes`.

    Returns
    -------
    Tensor, shape (N, M)
        Values in [0, 1]; 0 where both boxes are empty. Float32 where both are of half precision or integers.

    Raises
    ------
    ValueError
        If boxes are not (N, 4) finite numbers in order.
    """
    check(boxes)
    check(others, "others")
    return _iou(boxes, others)


def encode(boxes: Tensor, anchors: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """
    Write boxes as what is to be changed on their anchors.

    Parameters
    ----------
    boxes, anchors : Tensor, shape (N, 4)
        Corners x1 y1 x2 y2 in pixels; each box with its anchor. None may be empty.
    weights : sequence of float
        Factors on the four differences, so that they come out about equally large.

    Returns
    -------
    Tensor, shape (N, 4)
        Shift of the centre in widths and heights of the anchor, and logarithm of the change of width and height.

    Raises
    ------
    ValueError
        If boxes or anchors are not (N, 4) finite numbers in order, are not equally many, or one is empty.

    References
    ----------
    Girshick et al., "Rich feature hierarchies for accurate object detection and semantic segmentation", CVPR 2014,
    appendix C, equations 6 to 9.
    """
    for name, given in (("boxes", boxes), ("anchors", anchors)):
        check(given, name)
        empty = _area(given) <= 0
        if empty.any():
            raise ValueError(f"{name} {given[empty][0].tolist()} is empty: a box without width or height has no code")
    if len(boxes) != len(anchors):
        raise ValueError(f"{len(boxes)} boxes for {len(anchors)} anchors; give each box its own")
    (x, y, w, h), (ax, ay, aw, ah) = _centred(boxes), _centred(anchors)
    deltas = torch.stack([(x - ax) / aw, (y - ay) / ah, (w / aw).log(), (h / ah).log()], dim=1)
    return deltas * deltas.new_tensor(weights)


def decode(deltas: Tensor, anchors: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """
    Apply changes to anchors, the reverse of `encode`.

    Parameters
    ----------
    deltas : Tensor, shape (N, 4)
        As `encode` gives them. A side grows at most by a factor of 62.5, which an untrained net may exceed.
    anchors : Tensor, shape (N, 4)
        Corners x1 y1 x2 y2 in pixels.
    weights : sequence of float
        As in `encode`.

    Returns
    -------
    Tensor, shape (N, 4)
        Boxes, corners x1 y1 x2 y2 in pixels.

    Raises
    ------
    ValueError
        If the shapes differ, or the anchors are not finite numbers in order.

    References
    ----------
    Girshick et al., "Rich feature hierarchies for accurate object detection and semantic segmentation", CVPR 2014,
    appendix C, equations 1 to 4.
    """
    if deltas.shape != anchors.shape or deltas.shape[1:] != (4,):
        raise ValueError(f"deltas {tuple(deltas.shape)} for anchors {tuple(anchors.shape)}; expected (N, 4) for both")
    check(anchors, "anchors")
    dx, dy, dw, dh = (deltas / deltas.new_tensor(weights)).unbind(1)
    x, y, w, h = _centred(anchors)
    x, y = x + dx * w, y + dy * h
    w, h = w * dw.clamp(max=_LARGEST).exp(), h * dh.clamp(max=_LARGEST).exp()
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=1)


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Cut boxes off at the borders of the picture.

    Parameters
    ----------
    boxes : Tensor, shape (..., 4)
        Corners x1 y1 x2 y2 in pixels.
    size : tuple of int
        Height and width of the picture in pixels.

    Returns
    -------
    Tensor, shape (..., 4)
        The boxes within the picture; one that lay outside is empty.

    Raises
    ------
    ValueError
        If the boxes do not have four corners.
    """
    if boxes.shape[-1:] != (4,):
        raise ValueError(f"boxes of shape {tuple(boxes.shape)}; expected (..., 4), x1 y1 x2 y2")
    height, width = size
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """
    Drop every box that overlaps a better one too much (non-maximum suppression).

    Parameters
    ----------
    boxes : Tensor, shape (N, 4)
        Corners x1 y1 x2 y2 in pixels, x1 <= x2 and y1 <= y2.
    scores : Tensor, shape (N,)
        The higher the better; of equals the first is the better.
    threshold : float
        Largest intersection over union that two kept boxes may have, in [0, 1].

    Returns
    -------
    Tensor of int64, shape (M,)
        Indices of the kept boxes, the best first.

    Raises
    ------
    ValueError
        If the boxes are not (N, 4) finite numbers in order, the scores not as many or nan, or the threshold
        outside [0, 1].
    """
    return batched_nms(boxes, scores, torch.zeros_like(scores, dtype=torch.int64), threshold)


def batched_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """
    Suppress as `nms` does, but only among boxes of the same group: an image, a class, a level.

    Parameters
    ----------
    boxes : Tensor, shape (N, 4)
        Corners x1 y1 x2 y2 in pixels, x1 <= x2 and y1 <= y2.
    scores : Tensor, shape (N,)
        The higher the better; of equals the first is the better.
    groups : Tensor of int, shape (N,)
        Group of each box.
    threshold : float
        Largest intersection over union that two kept boxes of a group may have, in [0, 1].

    Returns
    -------
    Tensor of int64, shape (M,)
        Indices of the kept boxes of all groups, the best first.

    Raises
    ------
    ValueError
        If the boxes are not (N, 4) finite numbers in order, the scores or groups not as many, a score nan, or the
        threshold outside [0, 1].

    Notes
    -----
    The greedy rule says: box i stays unless a better box that stays overlaps it. Read as an equation for the set
    of those that stay, it has one solution, which repeated substitution reaches after as many rounds as the longest
    chain of boxes that suppress one another; usually a handful. The boxes are taken in blocks of 1024 in order of
    their scores, so that memory grows with N and not with its square.
    """
    check(boxes)
    if scores.shape != boxes.shape[:1] or groups.shape != scores.shape:
        raise ValueError(f"scores {tuple(scores.shape)} and groups {tuple(groups.shape)} for {len(boxes)} boxes")
    if scores.isnan().any():
        raise ValueError(f"score {int(scores.isnan().nonzero()[0])} is nan")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold {threshold} is not an intersection over union in [0, 1]")
    order = scores.sort(descending=True, stable=True).indices
    kept = order[:0]
    for block in order.split(_BLOCK):
        block = block[~_overlap(boxes, groups, kept, block, threshold).any(0)]
        rivals = _overlap(boxes, groups, block, block, threshold).triu(1)  # row suppresses column
        stay = torch.ones_like(block, dtype=torch.bool)
        while not torch.equal(stay, fewer := ~rivals[stay].any(0)):
            stay = fewer
        kept = torch.cat([kept, block[stay]])
    return kept


def match(overlaps: Tensor, low: float, high: float, *, best: bool = False) -> Tensor:
    """
    Give each candidate box the true object that it stands for.

    Parameters
    ----------
    overlaps : Tensor, shape (N, M)
        Intersection over union of N candidates with M true boxes; M may be 0.
    low, high : float
        A candidate whose largest overlap is below `low` is background, from `high` up an object, and neither in
        between.
    best : bool
        Whether the candidates that overlap a true box most count as objects even where that is below `high`. Each
        stands for the box that it overlaps most itself, so a box may still be left out where they are crowded.

    Returns
    -------
    Tensor of int64, shape (N,)
        Index of the true box; -1 for background, -2 for neither.

    Raises
    ------
    ValueError
        If the thresholds are not 0 < low <= high <= 1.

    References
    ----------
    Ren et al., "Faster R-CNN", NIPS 2015, section 3.1.2.
    """
    if not 0 < low <= high <= 1:
        raise ValueError(f"thresholds {low} and {high} are not 0 < low <= high <= 1")
    if overlaps.shape[1] == 0:
        return overlaps.new_full((len(overlaps),), -1, dtype=torch.int64)
    value, index = overlaps.max(1)
    found = torch.where(value >= high, index, torch.where(value < low, -1, -2))
    if best and len(overlaps):
        most = overlaps.max(0).values
        chosen = ((overlaps == most) & (most > 0)).any(1)
        found = torch.where(chosen, index, found)
    return found


def sample(matches: Tensor, count: int, share: float) -> tuple[Tensor, Tensor]:
    """
    Choose candidates to learn from at random, objects and background in a wanted proportion.

    Parameters
    ----------
    matches : Tensor of int, shape (N,)
        As `match` gives them.
    count : int
        Number of candidates to choose; all where there are fewer.
    share : float
        Largest share of objects in [0, 1]; what they do not fill goes to the background.

    Returns
    -------
    Tensor of int64, shape (P,)
        Indices of the chosen objects.
    Tensor of int64, shape (Q,)
        Indices of the chosen background, P + Q <= count.

    Raises
    ------
    ValueError
        If the share is not in [0, 1].

    Notes
    -----
    The choice comes from PyTorch's global generator.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share {share} of objects is not in [0, 1]; 0.25 leaves three quarters to the background")
    objects, ground = (matches >= 0).nonzero()[:, 0], (matches == -1).nonzero()[:, 0]
    objects = objects[torch.randperm(len(objects), device=objects.device)[: int(count * share)]]
    return objects, ground[torch.randperm(len(ground), device=ground.device)[: count - len(objects)]]


def check(boxes: Tensor, name: str = "boxes") -> None:
    """
    See whether a tensor holds boxes.

    Parameters
    ----------
    boxes : Tensor
        What should be (N, 4) finite numbers x1 y1 x2 y2 with x1 <= x2 and y1 <= y2.
    name : str
        What to call them in an error.

    Raises
    ------
    ValueError
        If it does not.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} of shape {tuple(boxes.shape)}; expected (N, 4), x1 y1 x2 y2")
    wrong = ~((boxes[:, 2:] >= boxes[:, :2]).all(1) & boxes.isfinite().all(1))
    if wrong.any():
        raise ValueError(f"{name}: {boxes[wrong][0].tolist()} is inverted or not finite; expected x1 <= x2, y1 <= y2")


def _wide(boxes: Tensor) -> Tensor:
    """Bring half precision and integers to float32: a box of 300 by 300 has more pixels than a half can count."""
    return boxes if boxes.dtype in (torch.float32, torch.float64) else boxes.float()


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _iou(boxes: Tensor, others: Tensor) -> Tensor:
    boxes, others = _wide(boxes), _wide(others)
    x1, y1, x2, y2 = boxes[:, None].unbind(2)
    u1, v1, u2, v2 = others[None].unbind(2)
    width = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp_(min=0)
    shared = width * (torch.minimum(y2, v2) - torch.maximum(y1, v1)).clamp_(min=0)
    union = _area(boxes)[:, None] + _area(others) - shared
    return torch.where(union > 0, shared / union, torch.zeros_like(shared))


def _overlap(boxes: Tensor, groups: Tensor, some: Tensor, others: Tensor, threshold: float) -> Tensor:
    """Say of two choices of boxes which pairs of one group overlap too much."""
    if not len(some):
        return torch.zeros(0, len(others), dtype=torch.bool, device=boxes.device)
    return (_iou(boxes[some], boxes[others]) > threshold) & (groups[some][:, None] == groups[others])


def _centred(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Write boxes as centre, width and height."""
    x1, y1, x2, y2 = boxes.unbind(1)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
