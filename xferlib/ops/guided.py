"""The guided filter: smoothing that keeps the edges of another picture."""

import torch
import torch.nn.functional as F
from torch import Tensor

from xferlib.ops._halves import check_floats, wide


def guided_filter(values: Tensor, guide: Tensor, radius: int = 8, epsilon: float = 1e-3) -> Tensor:
    """
    Fit the values in each window by a linear function of the guide, and average these fits.

    Where the guide has an edge, so has the result; where it is flat, the result is the mean of the window.

    Parameters
    ----------
    values : Tensor, shape (B, C, H, W)
        What is to be filtered. Gradients pass.
    guide : Tensor, shape (B, G, H, W)
        The picture whose edges are kept, in [0, 1]; grey or colour.
    radius : int
        Windows have sides of ``2 * radius + 1`` pixels, and end at the image's border.
    epsilon : float
        Variance of the guide below which it counts as flat, above 0.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        The filtered values.

    Raises
    ------
    ValueError
        If the sizes differ, values or guide are no floats, the radius is below 1, or epsilon is not positive.

    References
    ----------
    He, Sun, Tang, "Guided Image Filtering", TPAMI 2013, equations 5 to 8 and 19 to 21.
    """
    if (
        values.ndim != 4
        or guide.ndim != 4
        or (values.shape[0], *values.shape[2:]) != (guide.shape[0], *guide.shape[2:])
    ):
        raise ValueError(
            f"values of shape {tuple(values.shape)} and a guide of {tuple(guide.shape)} do not belong together; "
            "expected (B, C, H, W) and (B, G, H, W)"
        )
    check_floats(values, "values")
    check_floats(guide, "guide")
    if radius < 1 or not epsilon > 0:
        raise ValueError(f"radius {radius} and epsilon {epsilon}; expected at least 1, and above 0")
    kind = torch.promote_types(values.dtype, guide.dtype)
    values, guide = wide(values.to(kind)), wide(guide.to(kind))
    mean_guide, mean_values = box_mean(guide, radius), box_mean(values, radius)
    variance = _products(guide, guide, radius) - mean_guide[:, :, None] * mean_guide[:, None]
    covariance = _products(guide, values, radius) - mean_guide[:, :, None] * mean_values[:, None]
    variance = variance.movedim((1, 2), (-2, -1)) + epsilon * torch.eye(guide.shape[1]).to(guide)
    slope = torch.linalg.solve(variance, covariance.movedim((1, 2), (-2, -1))).movedim((-2, -1), (1, 2))
    offset = mean_values - (slope * mean_guide[:, :, None]).sum(1)
    slope = box_mean(slope.flatten(1, 2), radius).view_as(slope)
    return ((slope * guide[:, :, None]).sum(1) + box_mean(offset, radius)).to(kind)


def box_mean(x: Tensor, radius: int) -> Tensor:
    """
    Average over a square window around each pixel.

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
        Maps. Gradients pass.
    radius : int
        Windows have sides of ``2 * radius + 1`` pixels, and end at the border.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        The means.
    """
    x = F.avg_pool2d(x, (2 * radius + 1, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(x, (1, 2 * radius + 1), 1, (0, radius), count_include_pad=False)


def _products(x: Tensor, y: Tensor, radius: int) -> Tensor:
    """Average x_i * y_j over the windows, (B, I, J, H, W)."""
    products = x[:, :, None] * y[:, None]
    return box_mean(products.flatten(1, 2), radius).view_as(products)
