"""Measuring a segmentation whose classes have no names: each cluster is matched with a class."""

from scipy.optimize import linear_sum_assignment
from torch import Tensor


def matched(confusion: Tensor) -> Tensor:
    """
    Reorder clusters so that as many pixels as possible lie in the cluster of their class.

    Parameters
    ----------
    confusion : Tensor, shape (C, C)
        Pixels of class i in cluster j, as `xferlib.metrics.segmentation.confusion` counts them.

    Returns
    -------
    Tensor, shape (C, C)
        The same with its columns in the order of the classes that they were matched with, one to one.

    Raises
    ------
    ValueError
        If the matrix is not square.

    References
    ----------
    Kuhn, "The Hungarian method for the assignment problem", 1955.
    """
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(
            f"confusion of shape {tuple(confusion.shape)} is not square; ask for as many clusters as classes"
        )
    _, clusters = linear_sum_assignment(confusion.cpu().numpy(), maximize=True)
    return confusion[:, clusters]
