"""What a shipped net found in a picture, laid over it."""

from torch import Tensor

from xferlib.viz.masks import overlay
from xferlib.viz.objects import objects
from xferlib.zoo.inference import colours
from xferlib.zoo.manifest import Row


def found(row: Row, image: Tensor, result: Tensor) -> Tensor:
    """
    Lay the labels or the objects that a net found over its picture.

    Parameters
    ----------
    row : Row
        Row of the manifest of a net for "segmentation" or "instances".
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].
    result : Tensor, shape (H, W)
        Labels or numbers of objects, as `xferlib.apply` gives them.

    Returns
    -------
    Tensor, shape (3, H, W)
        RGB in [0, 1].
    """
    return overlay(image, result, colours(row)) if row.task == "segmentation" else objects(image, result)
