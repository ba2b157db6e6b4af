"""The objects of one picture: a box, a class and a mask for each."""

from typing import NamedTuple

import torch
from torch import Tensor


class Instances(NamedTuple):
    """
    The objects of one picture, true ones or found ones.

    Parameters
    ----------
    boxes : Tensor, shape (N, 4)
        Corners x1 y1 x2 y2 in pixels, float32, in continuous coordinates: a mask that covers columns 3 to 7 has
        x1 = 3 and x2 = 8.
    classes : Tensor, shape (N,)
        Classes, int64, from 1; 0 is background.
    masks : Tensor, shape (N, H, W)
        Bool: the pixels of each object. H and W are the picture's, also where N is 0.
    scores : Tensor, shape (N,), optional
        How sure a net is of each object, in [0, 1]; None for true objects.
    """

    boxes: Tensor
    classes: Tensor
    masks: Tensor
    scores: Tensor | None = None

    @classmethod
    def from_map(cls, numbers: Tensor, classes: Tensor | None = None) -> "Instances":
        """
        Take the objects out of an instance map.

        Parameters
        ----------
        numbers : Tensor of int, shape (H, W)
            Number of the object at each pixel, 0 where there is none. Numbers may be missing.
        classes : Tensor of int, shape (H, W) or (M,), optional
            Class of each pixel, of which an object takes the one at its pixels; or class of the objects 1 to M in
            order. By default all are of class 1.

        Returns
        -------
        Instances
            The objects in the order of their numbers, each with at least one pixel.

        Raises
        ------
        ValueError
            If the map is not (H, W) integers from 0 up, a class is missing or not positive, or the pixels of one
            object disagree about its class.
        """
        _check_map("instance map", numbers)
        numbers = numbers.long()
        present = numbers.unique()
        present = present[present > 0]
        masks = numbers[None] == present[:, None, None]
        return cls(boxes_of(masks), _classes(classes, numbers, present, masks), masks)

    def sure(self, least: float = 0.5) -> "Instances":
        """
        Keep the objects of which a net is sure.

        Parameters
        ----------
        least : float
            Least score, in [0, 1].

        Returns
        -------
        Instances
            Those of such a score or a higher one, in their order.

        Raises
        ------
        ValueError
            If the objects have no scores.
        """
        if self.scores is None:
            raise ValueError("these objects have no scores; true ones need no choice")
        return Instances(*(part[self.scores >= least] for part in self))

    def to_map(self) -> Tensor:
        """
        Paint the objects into an instance map, those of higher score over those of lower.

        Returns
        -------
        Tensor of int64, shape (H, W)
            Object i has number i + 1; 0 where there is none. Without scores the first object is on top.
        """
        scores = self.scores if self.scores is not None else -torch.arange(float(len(self.boxes)))
        numbers = torch.zeros(self.masks.shape[1:], dtype=torch.int64, device=self.masks.device)
        for i in scores.argsort(stable=True).tolist():
            numbers[self.masks[i]] = i + 1
        return numbers

    def check(self) -> None:
        """
        See whether these can be the true objects of a picture.

        Raises
        ------
        ValueError
            If the numbers of boxes, classes and masks differ, a class is not a positive integer, a mask is not
            bool, or a box is inverted, empty, not finite or reaches out of the picture.
        """
        lengths = {"boxes": len(self.boxes), "classes": len(self.classes), "masks": len(self.masks)}
        if len(set(lengths.values())) > 1 or self.boxes.shape[1:] != (4,) or self.masks.ndim != 3:
            shapes = ", ".join(f"{name} {tuple(getattr(self, name).shape)}" for name in lengths)
            raise ValueError(f"{shapes} do not belong together; expected (N, 4), (N,) and (N, H, W)")
        if self.classes.is_floating_point() or self.classes.dtype == torch.bool:
            raise ValueError(f"classes are {self.classes.dtype}; expected integers: classes.long()")
        if self.masks.dtype != torch.bool:
            raise ValueError(f"masks are {self.masks.dtype}; expected bool: masks > 0.5")
        if len(self.classes) and self.classes.min() < 1:
            raise ValueError(f"class {int(self.classes.min())} of an object; objects count from 1, 0 is background")
        height, width = self.masks.shape[1:]
        x1, y1, x2, y2 = self.boxes.unbind(1)
        inside = (x1 >= 0) & (y1 >= 0) & (x2 <= width) & (y2 <= height)
        wrong = ~((x2 > x1) & (y2 > y1) & inside)  # also where a corner is nan
        if wrong.any():
            box = [round(n, 2) for n in self.boxes[wrong][0].tolist()]
            raise ValueError(f"box {box} is not x1 < x2, y1 < y2 within {width}x{height} pixels; drop or clip it")


def boxes_of(masks: Tensor) -> Tensor:
    """
    Give the smallest boxes around masks.

    Parameters
    ----------
    masks : Tensor of bool, shape (N, H, W)
        The masks, each with at least one pixel.

    Returns
    -------
    Tensor, shape (N, 4)
        Corners x1 y1 x2 y2, float32; x2 and y2 are one more than the last column and row.

    Raises
    ------
    ValueError
        If a mask is empty.
    """
    empty = ~masks.flatten(1).any(1)
    if empty.any():
        raise ValueError(f"mask {int(empty.nonzero()[0])} has no pixel; leave that object out")
    sides = []
    for along in (masks.any(1), masks.any(2)):  # columns, then rows
        places = torch.arange(along.shape[1], device=masks.device).expand_as(along)
        sides += [places.masked_fill(~along, along.shape[1]).amin(1), places.masked_fill(~along, -1).amax(1) + 1]
    x1, x2, y1, y2 = sides
    return torch.stack([x1, y1, x2, y2], dim=1).float()


def _classes(classes: Tensor | None, numbers: Tensor, present: Tensor, masks: Tensor) -> Tensor:
    if classes is None:
        return torch.ones(len(present), dtype=torch.int64, device=numbers.device)
    if classes.is_floating_point() or classes.dtype == torch.bool:
        raise ValueError(f"classes are {classes.dtype}; expected integers: classes.long()")
    classes = classes.long()
    if classes.ndim == 1:
        if len(present) and int(present[-1]) > len(classes):
            raise ValueError(f"object {int(present[-1])} of the map has no class; {len(classes)} classes were given")
        found = classes[present - 1]
    elif classes.shape == numbers.shape:
        found = torch.where(masks, classes, -1).flatten(1).amax(1)
        mixed = (masks & (classes != found[:, None, None])).flatten(1).any(1)
        if mixed.any():
            raise ValueError(f"object {int(present[mixed][0])} has pixels of several classes")
    else:
        raise ValueError(f"classes {tuple(classes.shape)} for a map {tuple(numbers.shape)}; expected (M,) or (H, W)")
    if len(found) and found.min() < 1:
        raise ValueError(f"object {int(present[found < 1][0])} is of class {int(found.min())}; objects count from 1")
    return found


def _check_map(name: str, numbers: Tensor) -> None:
    if numbers.ndim != 2:
        raise ValueError(f"{name} of shape {tuple(numbers.shape)}; expected (H, W), one picture at a time")
    if numbers.is_floating_point() or numbers.dtype == torch.bool:
        raise ValueError(f"{name} is {numbers.dtype}; expected integers, for a mask its components(mask)")
    if numbers.numel() and (least := int(numbers.long().min())) < 0:
        raise ValueError(f"{name} has the number {least}; objects are numbered from 1, 0 is none")
