"""A net of objects on a picture that is too large or too crowded to be seen at once."""

import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from xferlib.ops import boxes as box_ops
from xferlib.ops.instances import Instances
from xferlib.ops.progress import bar
from xferlib.ops.views import Views
from xferlib.zoo.memory import MEMORY, bytes_per_pixel, device_of, megabytes

PIECE = 640 * 640
"""Pixels of a piece at most; more where objects are so large that a piece would hold few."""
_SLACK = 4
"""Two pieces may place the centre of one object so many pixels apart."""
_SAME = 0.9
"""Two boxes of one class that overlap more are one object, whatever overlap the net allows."""


class _Window(NamedTuple):
    """Rows from ``top`` to before ``bottom`` and columns from ``left`` to before ``right``."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def grown(self, by: int, size: tuple[int, int]) -> "_Window":
        """Grow on all sides, but not beyond the picture."""
        return _Window(
            max(0, self.top - by),
            max(0, self.left - by),
            min(size[0], self.bottom + by),
            min(size[1], self.right + by),
        )

    def halves(self) -> tuple["_Window", "_Window"]:
        """Cut the longer side in two."""
        height, width = self.sides
        if height > width:
            middle = self.top + height // 2
            return self._replace(bottom=middle), self._replace(top=middle)
        middle = self.left + width // 2
        return self._replace(right=middle), self._replace(left=middle)

    def of(self, picture: Tensor) -> Tensor:
        """Look at this part of a picture (..., H, W)."""
        return picture[..., self.top : self.bottom, self.left : self.right]


class _Found(NamedTuple):
    """Objects of a piece: their boxes in the picture, classes, scores, and masks, each beside its place."""

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    masks: list[tuple[_Window, Tensor]]


def find_objects(net: nn.Module, image: Tensor, views: Views = 1, max_memory: int = MEMORY) -> Tensor:
    """
    Find the objects of a picture, at once if it is small, else piece by piece.

    A piece is cut in halves that does not fit into the memory, is larger than `PIECE`, or is crowded: the net is sure
    of more than a third as many objects as it can give. It sees the surroundings of a piece too, as far as its largest
    anchor is wide, and so the whole of an object up to twice as wide whose centre lies in the piece.

    Parameters
    ----------
    net : nn.Module
        A `MaskRCNN`, or a net with its ``detect``, ``detections``, ``overlap``, ``sure``, and ``largest``, the side of
        its largest anchor in pixels; in evaluation mode.
    image : Tensor, shape (3, H, W)
        Image in [0, 1].
    views : {1, 2, 8}
        As `MaskRCNN.detect` takes it.
    max_memory : int
        Bytes that the net may take, about.

    Returns
    -------
    Tensor of int64, shape (H, W)
        The map of those objects whose score is ``net.sure`` at least: the surest has number 1, and lies on top; 0 is
        none.

    Raises
    ------
    ValueError
        If not even the smallest piece fits into the memory.

    Warns
    -----
    UserWarning
        If the smallest piece still has as many objects as the net can give.
    """
    size = tuple(image.shape[1:])
    parts = []
    with bar(math.prod(size), "pixel") as pixels:
        for window, part in _pieces(net, image, _Window(0, 0, *size), views, max_memory):
            parts.append(part)
            pixels.update(math.prod(window.sides))
    boxes, classes, scores = (torch.cat([part[k] for part in parts]) for k in range(3))
    masks = [mask for part in parts for mask in part.masks]
    numbers = torch.zeros(size, dtype=torch.int64)
    # An object on a seam is found in two pieces.
    overlap = min(net.overlap, _SAME) if len(parts) > 1 else net.overlap
    best = box_ops.batched_nms(boxes, scores, classes, overlap).tolist()
    for number, index in reversed(list(enumerate(best, 1))):
        place, mask = masks[index]
        place.of(numbers)[mask] = number
    return numbers


def _pieces(
    net: nn.Module, image: Tensor, window: _Window, views: Views, max_memory: int
) -> Iterator[tuple[_Window, _Found]]:
    size, halo = tuple(image.shape[1:]), math.ceil(net.largest)
    seen = window.grown(halo + _SLACK, size)
    pixels = math.prod(seen.sides)
    smallest = max(window.sides) <= 2 * halo
    if smallest:
        _check_memory(net, pixels, max_memory)
    if smallest or (math.prod(window.sides) <= max(PIECE, (4 * halo) ** 2) and _needed(net, pixels) <= max_memory):
        found = net.detect(seen.of(image).to(device_of(net)), views).sure(net.sure)
        if smallest or len(found.scores) <= net.detections / 3:
            _warn_if_full(net, found)
            yield window, _own(found, window, seen, size)
            return
    for half in window.halves():
        yield from _pieces(net, image, half, views, max_memory)


def _needed(net: nn.Module, pixels: int) -> float:
    return (bytes_per_pixel(net) + net.detections) * pixels  # a mask has a byte a pixel


def _check_memory(net: nn.Module, pixels: int, max_memory: int) -> None:
    needed = _needed(net, pixels)
    if needed > max_memory:
        raise ValueError(
            f"{megabytes(max_memory)} of memory hold no piece of the picture; this net takes at least "
            f"{megabytes(needed)}"
        )


def _warn_if_full(net: nn.Module, found: Instances) -> None:
    if len(found.scores) == net.detections:
        warnings.warn(
            f"{net.detections} objects are all that this net gives of a piece of the picture, and there may be more: "
            "enlarge it",
            stacklevel=5,
        )


def _own(found: Instances, window: _Window, seen: _Window, size: tuple[int, int]) -> _Found:
    """Keep the objects with their centre in a piece, or hardly outside."""
    found = Instances(*(part.cpu() for part in found))
    boxes = found.boxes + torch.tensor([seen.left, seen.top] * 2)
    around = window.grown(_SLACK, size)
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).unbind(1)
    inside = (x >= around.left) & (x <= around.right) & (y >= around.top) & (y <= around.bottom)
    masks = []
    for box, mask in zip(boxes[inside].tolist(), found.masks[inside], strict=True):
        place = _Window(math.floor(box[1]), math.floor(box[0]), math.ceil(box[3]), math.ceil(box[2]))
        within = _Window(*(side - start for side, start in zip(place, (seen.top, seen.left) * 2, strict=True)))
        masks.append((place, within.of(mask).clone()))
    return _Found(boxes[inside], found.classes[inside], found.scores[inside], masks)
