"""Masks of boxes: cut out of a picture to train on, pasted back into it to look at."""

import torch
from torch import Tensor

from xferlib.ops import boxes as box_ops
from xferlib.ops._halves import exact


def crop(masks: Tensor, boxes: Tensor, size: int) -> Tensor:
    """
    Look at masks through boxes, at a fixed number of points.

    Parameters
    ----------
    masks : Tensor of bool, shape (N, H, W)
        Masks of a picture.
    boxes : Tensor, shape (N, 4)
        Box of each mask, corners x1 y1 x2 y2 in pixels, within the picture.
    size : int
        Rows and columns of the result.

    Returns
    -------
    Tensor of bool, shape (N, size, size)
        The mask at the centres of ``size`` by ``size`` equal parts of its box.

    Raises
    ------
    ValueError
        If there are not as many boxes as masks, or a box is inverted, not finite or reaches out of the picture.
    """
    _check(masks, boxes)
    height, width = masks.shape[1:]
    wrong = (boxes < 0).any(1) | (boxes > boxes.new_tensor([width, height, width, height])).any(1)
    if wrong.any():
        raise ValueError(f"box {boxes[wrong][0].tolist()} reaches out of {width}x{height} pixels; clip it")
    parts = (torch.arange(size, device=boxes.device) + 0.5) / size
    x1, y1, x2, y2 = boxes[..., None].unbind(1)
    columns = (x1 + parts * (x2 - x1)).long().clamp(0, width - 1)
    rows = (y1 + parts * (y2 - y1)).long().clamp(0, height - 1)
    return masks[torch.arange(len(masks), device=masks.device)[:, None, None], rows[:, :, None], columns[:, None, :]]


@exact
def paste(probabilities: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5) -> Tensor:
    """
    Stretch masks over their boxes in a picture.

    Parameters
    ----------
    probabilities : Tensor, shape (N, M, M)
        Probability in [0, 1] that each of M by M parts of a box belongs to its object.
    boxes : Tensor, shape (N, 4)
        Box of each mask, corners x1 y1 x2 y2 in pixels.
    size : tuple of int
        Height and width of the picture in pixels.
    threshold : float
        Probability from which a pixel belongs to the object.

    Returns
    -------
    Tensor of bool, shape (N, *size)
        The masks in the picture: interpolated bilinearly between the centres of the parts, beyond the outer centres
        as there, and False outside the box.

    Raises
    ------
    ValueError
        If there are not as many boxes as masks, or a box is inverted or not finite.
    """
    _check(probabilities, boxes)
    across = _weights(boxes[:, 0], boxes[:, 2], size[1], probabilities.shape[2])
    down = _weights(boxes[:, 1], boxes[:, 3], size[0], probabilities.shape[1])
    whole = torch.zeros(len(boxes), *size, dtype=torch.bool, device=boxes.device)
    places = zip(_reached(down), _reached(across), strict=True)
    for k, ((top, bottom), (left, right)) in enumerate(places):
        found = down[k, top:bottom] @ probabilities[k].to(down) @ across[k, left:right].mT
        whole[k, top:bottom, left:right] = found >= threshold
    return whole


def _check(masks: Tensor, boxes: Tensor) -> None:
    if len(masks) != len(boxes):
        raise ValueError(f"{len(boxes)} boxes for {len(masks)} masks; give each mask its own")
    box_ops.check(boxes)


def _reached(weights: Tensor) -> list[tuple[int, int]]:
    """Give the pixels along one axis that lie in each box, from the first to the one after the last."""
    inside = weights.sum(2) > 0
    first = inside.int().argmax(1)
    return list(zip(first.tolist(), (first + inside.sum(1)).tolist(), strict=True))


def _weights(start: Tensor, stop: Tensor, pixels: int, parts: int) -> Tensor:
    """Give what each part contributes to each pixel along one axis: (N, pixels, parts), 0 outside the box."""
    centres = torch.arange(pixels, device=start.device) + 0.5
    start, length = start[:, None], (stop - start).clamp(min=1e-6)[:, None]
    place = ((centres - start) / length * parts - 0.5).clamp(0, parts - 1)
    inside = (centres >= start) & (centres < start + length)
    distance = (place[..., None] - torch.arange(parts, device=start.device)).abs()
    return (1 - distance).clamp(min=0) * inside[..., None]
