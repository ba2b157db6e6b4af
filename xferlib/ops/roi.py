"""Boxes cut out of a map and brought to one size: RoIAlign, RoIPool and RoIWarp."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from xferlib.ops._roi import Bins


def roi_align(
    features: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> Tensor:
    """
    Average bilinear samples in each bin of each box, rounding nothing.

    Parameters
    ----------
    features : Tensor, shape (B, C, H, W)
        The maps, floats.
    boxes : Tensor, shape (K, 5), or sequence of B Tensors, shape (N_i, 4)
        Index of the image and corners x1 y1 x2 y2 in pixels, or one list of boxes an image.
    output_size : int or (int, int)
        Bins along y and x.
    spatial_scale : float
        Cells of the map a pixel, 1 / stride.
    sampling_ratio : int
        Samples a bin along each axis; if 0 or less, one for each cell that the bin touches, rounded up.
    aligned : bool
        Whether cell centres are at .5. False is the older convention, half a cell off, in which no side is shorter
        than a cell.

    Returns
    -------
    Tensor, shape (K, C, oh, ow)
        The bins, in the type of the features.

    Raises
    ------
    ValueError
        If an argument is out of its range, or the boxes are not as described.
    """
    image, corners, size = _prepare(features, boxes, output_size, spatial_scale)
    return _align(features, image, corners * spatial_scale, size, sampling_ratio, aligned)


def roi_pool(
    features: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Tensor:
    """
    Take the maximum in each bin of each box, after rounding box and bins to whole cells, the last one included.

    Parameters
    ----------
    features : Tensor, shape (B, C, H, W)
        The maps, floats.
    boxes : Tensor, shape (K, 5), or sequence of B Tensors, shape (N_i, 4)
        As in `roi_align`.
    output_size : int or (int, int)
        Bins along y and x.
    spatial_scale : float
        Cells of the map a pixel, 1 / stride.

    Returns
    -------
    Tensor, shape (K, C, oh, ow)
        The maxima; 0 for a bin outside the map.

    Raises
    ------
    ValueError
        If an argument is out of its range, or the boxes are not as described.
    """
    image, corners, size = _prepare(features, boxes, output_size, spatial_scale)
    quantised = _quantise(corners * spatial_scale)
    _, _, height, width = features.shape
    x0, x1 = _edges(quantised[:, 0], quantised[:, 2], size[1], width)
    y0, y1 = _edges(quantised[:, 1], quantised[:, 3], size[0], height)
    empty = (y0 >= y1)[:, :, None] | (x0 >= x1)[:, None, :]
    rows = features.detach().permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    best = index = None
    for dy in range(max(1, int((y1 - y0).max()) if y0.numel() else 1)):
        for dx in range(max(1, int((x1 - x0).max()) if x0.numel() else 1)):
            y = torch.minimum(y0 + dy, y1 - 1).clamp(0, height - 1)
            x = torch.minimum(x0 + dx, x1 - 1).clamp(0, width - 1)
            cell = ((image[:, None] * height + y)[:, :, None] * width + x[:, None, :])[..., None]
            value = rows[cell[..., 0]]
            if best is None:
                best, index = value, cell.expand_as(value)
            else:
                better = value > best
                best, index = torch.where(better, value, best), torch.where(better, cell, index)
    index = index.permute(0, 3, 1, 2)
    channels = torch.arange(features.shape[1], device=features.device)[:, None, None]
    area = height * width
    flat = (index // area * features.shape[1] + channels) * area + index % area
    chosen = features.flatten().gather(0, flat.flatten()).view(flat.shape)
    return chosen.masked_fill(empty[:, None], 0)


def roi_warp(
    features: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 2,
) -> Tensor:
    """
    Average bilinear samples in each bin, after rounding the box to whole cells, the last one included.

    Parameters
    ----------
    features : Tensor, shape (B, C, H, W)
        The maps, floats.
    boxes : Tensor, shape (K, 5), or sequence of B Tensors, shape (N_i, 4)
        As in `roi_align`.
    output_size : int or (int, int)
        Bins along y and x.
    spatial_scale : float
        Cells of the map a pixel, 1 / stride.
    sampling_ratio : int
        As in `roi_align`.

    Returns
    -------
    Tensor, shape (K, C, oh, ow)
        The bins, in the type of the features.

    Raises
    ------
    ValueError
        If an argument is out of its range, or the boxes are not as described.
    """
    image, corners, size = _prepare(features, boxes, output_size, spatial_scale)
    return _align(features, image, _quantise(corners * spatial_scale), size, sampling_ratio, True)


def _align(
    features: Tensor, image: Tensor, corners: Tensor, size: tuple[int, int], ratio: int, aligned: bool
) -> Tensor:
    """Sample boxes given in cells of the map."""
    if aligned:
        corners = corners - 0.5
    starts = corners[:, :2]
    lengths = corners[:, 2:] - starts
    if not aligned:
        lengths = lengths.clamp(min=1)
    return Bins(image, starts, lengths, features.shape, size, ratio).gather(features)


def _quantise(corners: Tensor) -> Tensor:
    """Round corners to whole cells, half away from zero; what was the last cell becomes the edge behind it."""
    corners = corners.sign() * (corners.abs() + 0.5).floor()
    return torch.cat([corners[:, :2], torch.maximum(corners[:, 2:], corners[:, :2]) + 1], 1)


def _edges(low: Tensor, high: Tensor, bins: int, size: int) -> tuple[Tensor, Tensor]:
    """Give first cell and the one after the last of each bin of an axis, both (K, bins)."""
    step = ((high - low) / bins)[:, None]
    number = torch.arange(bins, device=low.device)
    first = (number * step).floor() + low[:, None]
    last = ((number + 1) * step).ceil() + low[:, None]
    return first.clamp(0, size).long(), last.clamp(0, size).long()


def _prepare(
    features: Tensor, boxes: Tensor | Sequence[Tensor], output_size: int | tuple[int, int], scale: float
) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Check the arguments; give the images' indices (K,), the corners (K, 4) in the type to compute in, the size."""
    if features.ndim != 4 or 0 in features.shape[1:]:
        raise ValueError(f"features of shape {tuple(features.shape)}; give maps (B, C, H, W) with at least one cell")
    if not features.is_floating_point():
        raise ValueError(f"features of {features.dtype}; give floats, such as features.float()")
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"output_size {output_size}; give one or two whole numbers from 1 up")
    if not 0 < scale < float("inf"):
        raise ValueError(f"spatial_scale {scale} is not above 0; it is 1 / stride of the map")
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    boxes = _with_image(boxes, len(features)).detach()
    image, corners = boxes[:, 0].long(), boxes[:, 1:].to(features.device, dtype)
    return image.to(features.device), corners, size


def _with_image(boxes: Tensor | Sequence[Tensor], batch: int) -> Tensor:
    """Bring boxes to (K, 5), and check them."""
    if not isinstance(boxes, Tensor):
        if len(boxes) != batch:
            raise ValueError(f"{len(boxes)} lists of boxes for {batch} images; give one for each, (0, 4) where none")
        for index, some in enumerate(boxes):
            if some.ndim != 2 or some.shape[1] != 4:
                raise ValueError(f"boxes of image {index} of shape {tuple(some.shape)}; give (N, 4), x1 y1 x2 y2")
        boxes = torch.cat([F.pad(some, (1, 0), value=index) for index, some in enumerate(boxes)])
    if boxes.ndim != 2 or boxes.shape[1] != 5:
        raise ValueError(f"boxes of shape {tuple(boxes.shape)}; give (K, 5), image x1 y1 x2 y2, or a list of (N, 4)")
    wrong = ~(boxes.isfinite().all(1) & (boxes[:, 3:] >= boxes[:, 1:3]).all(1))
    if wrong.any():
        raise ValueError(f"box {boxes[wrong][0, 1:].tolist()} is inverted or not finite; give x1 <= x2, y1 <= y2")
    image = boxes[:, 0]
    wrong = (image != image.floor()) | (image < 0) | (image >= batch)
    if wrong.any():
        raise ValueError(f"image index {image[wrong][0].item()} is not one of 0..{batch - 1}")
    return boxes
