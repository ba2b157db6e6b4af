"""Random fields, neighbourhoods and labels that both kinds of drawn cells are made of."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from scipy import ndimage

FAR = 1e6  # the distance where no site reaches
Shape = tuple[int, int]
Window = tuple[slice, slice]


def grid(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each pixel, float32 (H, 1) and (1, W)."""
    return np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[None]


def smooth_noise(rng: np.random.Generator, shape: Shape, scale: float) -> np.ndarray:
    """Gaussian noise of unit variance, float32 (H, W), whose bumps are about `scale` pixels wide."""
    rows, columns = (_bumps(side, scale) for side in shape)
    knots = rng.standard_normal((rows.shape[1], columns.shape[1]), np.float32)
    return rows @ knots @ columns.T


@lru_cache(64)
def _bumps(side: int, scale: float) -> np.ndarray:
    knots = np.arange(-2, side / scale + 3, dtype=np.float32)
    weights = np.exp(-((np.arange(side, dtype=np.float32)[:, None] / scale - knots) ** 2))
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def window(shape: Shape, row: float, column: float, radius: float) -> Window:
    """Cut the square of `radius` about a point out of the image; it may be empty."""
    return tuple(
        slice(max(0, int(np.floor(centre - radius))), max(0, min(side, int(np.ceil(centre + radius)) + 1)))
        for centre, side in zip((row, column), shape, strict=True)
    )


def spread(sites: np.ndarray, overlap: float) -> np.ndarray:
    """
    Keep the sites that have room, rows (row, column, radius); earlier ones come first.

    Two discs have room if their centres are more than `overlap` times the sum of their radii apart.
    """
    kept = []
    while len(sites):
        kept.append(sites[:1])
        sites = sites[has_room(sites, kept[-1], overlap)]
    return np.concatenate(kept) if kept else sites


def has_room(sites: np.ndarray, others: np.ndarray, overlap: float) -> np.ndarray:
    """Tell which of the sites have room beside all of the others, bool, as `spread` understands it."""
    apart = (sites[:, :1] - others[:, 0]) ** 2 + (sites[:, 1:2] - others[:, 1]) ** 2
    return (apart > (overlap * (sites[:, 2:] + others[:, 2])) ** 2).all(1)


def two_nearest(shape: Shape, fields: Iterable[tuple[Window, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Find the nearest and the second nearest of many sites for each pixel.

    Each site gives its distance, by whatever measure, within a window. Returned are both distances and the number of
    the nearest site, counted from 1; where no site reaches they are `FAR` and 0.
    """
    first, second = np.full(shape, FAR, np.float32), np.full(shape, FAR, np.float32)
    owner = np.zeros(shape, np.int32)
    for number, (place, distance) in enumerate(fields, 1):
        best = first[place]
        np.minimum(second[place], np.maximum(best, distance), out=second[place])
        owner[place][distance < best] = number
        np.minimum(best, distance, out=best)
    return first, second, owner


def borders(owner: np.ndarray) -> np.ndarray:
    """Pixels, bool (H, W), with a neighbour above, below, left or right that belongs to another site."""
    marked = np.zeros(owner.shape, bool)
    for here, there in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        differ = owner[here] != owner[there]
        marked[here] |= differ
        marked[there] |= differ
    return marked


def number_cells(inside: np.ndarray, least: int) -> np.ndarray:
    """
    Number the cells of a mask, int64 (H, W), from 1 and without gaps.

    A cell is one component by sides. Where two meet corner to corner both corners are given up, and so is what has
    fewer than `least` pixels: it becomes 0.
    """
    parts, count = ndimage.label(inside)
    while (corners := _meeting_corners(parts)).any():
        parts, count = ndimage.label((parts > 0) & ~corners)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    kept = sizes >= least
    kept[0] = False
    return (np.cumsum(kept) * kept).astype(np.int64)[parts]


def _meeting_corners(parts: np.ndarray) -> np.ndarray:
    marked = np.zeros(parts.shape, bool)
    for columns, others in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        here, there = (slice(1, None), columns), (slice(None, -1), others)
        meet = (parts[here] != parts[there]) & (parts[here] > 0) & (parts[there] > 0)
        marked[here] |= meet
        marked[there] |= meet
    return marked


def stamp(picture: np.ndarray, rows: np.ndarray, columns: np.ndarray, patches: np.ndarray) -> None:
    """Add patches (N, S, S), S odd, to a picture in place, centred on whole pixels; what hangs over is cut off."""
    reach = np.arange(patches.shape[1]) - patches.shape[1] // 2
    y = rows[:, None, None] + reach[:, None]
    x = columns[:, None, None] + reach
    y, x = np.broadcast_arrays(y, x)
    seen = (y >= 0) & (y < picture.shape[0]) & (x >= 0) & (x < picture.shape[1])
    np.add.at(picture, (y[seen], x[seen]), patches[seen])
