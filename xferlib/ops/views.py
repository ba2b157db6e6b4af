"""Averaging what a net says over several ways to mirror and turn a picture."""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Views = Literal[1, 2, 8]


class View(NamedTuple):
    """
    A way to see a picture.

    Parameters
    ----------
    quarters : int
        Quarters by which the picture is turned, counter-clockwise.
    mirrored : bool
        Whether left and right change places after that.
    """

    quarters: int
    mirrored: bool

    def of(self, image: Tensor) -> Tensor:
        """
        See a picture this way.

        Parameters
        ----------
        image : Tensor, shape (..., H, W)
            The picture.

        Returns
        -------
        Tensor, shape (..., H, W) or (..., W, H)
            The view.
        """
        turned = image.rot90(self.quarters, (-2, -1)) if self.quarters else image
        return turned.flip(-1) if self.mirrored else turned

    def back(self, made: Tensor) -> Tensor:
        """
        Bring what was made of the view back to where the picture is, the reverse of `of`.

        Parameters
        ----------
        made : Tensor, shape (..., H, W) or (..., W, H)
            The view, or what has its form.

        Returns
        -------
        Tensor, shape (..., H, W)
            As the picture lies.
        """
        straight = made.flip(-1) if self.mirrored else made
        return straight.rot90(-self.quarters, (-2, -1)) if self.quarters else straight

    def boxes_in_view(self, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """
        Say where boxes lie in the view.

        Parameters
        ----------
        boxes : Tensor, shape (..., 4)
            Corners x1 y1 x2 y2 in pixels of the picture.
        size : tuple of int
            Height and width of the picture.

        Returns
        -------
        Tensor, shape (..., 4)
            Corners in the view.
        """
        turned = _turned(boxes, size, self.quarters)
        return _mirrored(turned, self._width(size)) if self.mirrored else turned

    def boxes_in_picture(self, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """
        Say where boxes of the view lie in the picture, the reverse of `boxes_in_view`.

        Parameters
        ----------
        boxes : Tensor, shape (..., 4)
            Corners x1 y1 x2 y2 in pixels of the view.
        size : tuple of int
            Height and width of the picture.

        Returns
        -------
        Tensor, shape (..., 4)
            Corners in the picture.
        """
        straight = _mirrored(boxes, self._width(size)) if self.mirrored else boxes
        return _turned(straight, size[::-1] if self.quarters % 2 else size, -self.quarters)

    def _width(self, size: tuple[int, int]) -> int:
        return size[0] if self.quarters % 2 else size[1]


def views_of(number: Views) -> list[View]:
    """
    List the ways to see a picture.

    Parameters
    ----------
    number : {1, 2, 8}
        1 is the picture as it is; 2 also its mirror image, left for right; 8 all ways to turn it by quarters and
        mirror it, for pictures that have no upright, such as those of a microscope.

    Returns
    -------
    list of View
        The picture as it is comes first.

    Raises
    ------
    ValueError
        If there is no such number of views.
    """
    if number not in get_args(Views):
        raise ValueError(f"{number} views; there are 1, 2 with the mirror image, or 8 turned and mirrored ones")
    every = [View(quarters, mirrored) for quarters in range(4) for mirrored in (False, True)]
    return every[:number]


def average_views(predict: Callable[[Tensor], Tensor], image: Tensor, views: Views) -> Tensor:
    """
    Average predictions over views of a picture, each turned back.

    Parameters
    ----------
    predict : callable
        Takes (C, H, W) or (C, W, H), gives (K, s * H, s * W) or the like: probabilities, or a picture.
    image : Tensor, shape (C, H, W)
        The picture.
    views : {1, 2, 8}
        How many, see `views_of`.

    Returns
    -------
    Tensor, shape (K, s * H, s * W)
        The mean.

    Raises
    ------
    ValueError
        If there is no such number of views.

    References
    ----------
    Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015, table 1,
    average seven rotated versions. Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution",
    CVPRW 2017, section 3.4, average eight.
    """
    first, *others = views_of(views)
    total = first.back(predict(first.of(image)))
    if not others:
        return total
    total = total.clone()
    for view in others:
        total += view.back(predict(view.of(image)))
    return total.div_(views)


def _turned(boxes: Tensor, size: tuple[int, int], quarters: int) -> Tensor:
    for _ in range(quarters % 4):
        x1, y1, x2, y2 = boxes.unbind(-1)
        boxes = torch.stack([y1, size[1] - x2, y2, size[1] - x1], -1)
        size = size[::-1]
    return boxes


def _mirrored(boxes: Tensor, width: int) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([width - x2, y1, width - x1, y2], -1)
