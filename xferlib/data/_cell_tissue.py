"""Drawn nervous tissue, as a thin section looks in the electron microscope: cells that fill the plane."""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from ._cell_fields import (
    Shape,
    Window,
    borders,
    grid,
    number_cells,
    smooth_noise,
    spread,
    stamp,
    two_nearest,
    window,
)

LEAST = 24  # pixels; a smaller piece of cell drowns in its membrane
_RADII = ((30, 62, 0.9), (15, 28, 3.0), (8, 14, 2.5))  # from, to, tries per area of such a cell
_PAD, _WARP = 40, 5.0  # pixels


def draw_tissue(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Draw a section: the picture, float32 (H, W) in [0, 1], and the cells, int64 (H, W), 0 the membranes."""
    owner = two_nearest(shape, _power_fields(rng, shape))[2]
    depth = ndimage.distance_transform_edt(~borders(owner)).astype(np.float32)
    oblique = np.clip(smooth_noise(rng, shape, 22) - 0.9, 0, 1.6)
    half = 0.9 + 0.5 * np.abs(smooth_noise(rng, shape, 16)) + 0.8 * oblique
    cells = number_cells(depth > half, LEAST)
    return _picture(rng, owner, depth, half, oblique), cells


def _sites(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Throw discs of mixed sizes that hardly overlap, large ones first: rows (row, column, radius)."""
    low, high = np.array((-_PAD, -_PAD)), np.array(shape) + _PAD
    throws = []
    for least, most, tries in _RADII:
        count = rng.poisson(tries * np.prod(high - low) / (np.pi * (0.5 * (least + most)) ** 2))
        throws.append(rng.uniform((*low, least), (*high, most), (count, 3)))
    return spread(np.concatenate(throws), 0.86)


def _power_fields(rng: np.random.Generator, shape: Shape) -> Iterator[tuple[Window, np.ndarray]]:
    """Elliptic power distance to each site, in a warped plane: neighbouring axes agree, as in bundles of fibres."""
    y, x = grid(shape)
    y = y + _WARP * smooth_noise(rng, shape, 26) + 1.2 * smooth_noise(rng, shape, 7)
    x = x + _WARP * smooth_noise(rng, shape, 26) + 1.2 * smooth_noise(rng, shape, 7)
    waves = rng.normal(0, 0.012, (2, 2))
    turn, swell = rng.uniform(0, 2 * np.pi, 2)
    for row, column, radius in _sites(rng, shape):
        wave = np.sin(waves @ (row, column) + (turn, swell))
        angle = turn + wave[0] + rng.normal(0, 0.3)
        stretch = np.exp(0.22 + 0.22 * wave[1] + rng.normal(0, 0.12))
        place = window(shape, row, column, 2 * radius * stretch + 2 * _WARP)
        down, right = y[place] - np.float32(row), x[place] - np.float32(column)
        across, along = stretch * np.array((-np.sin(angle), np.cos(angle))), np.array((np.cos(angle), np.sin(angle)))
        (a, b), (_, c) = (np.outer(across, across) + np.outer(along, along) / stretch**2).astype(np.float32)
        yield place, (a * down + 2 * b * right) * down + c * right * right - np.float32(radius * radius)


def _picture(
    rng: np.random.Generator, owner: np.ndarray, depth: np.ndarray, half: np.ndarray, oblique: np.ndarray
) -> np.ndarray:
    shape = owner.shape
    shades = rng.normal(0, 0.045, owner.max() + 1).astype(np.float32)
    picture = 0.64 + shades[owner] + 0.045 * smooth_noise(rng, shape, 40)
    picture += 0.03 * smooth_noise(rng, shape, 3) + 0.035 * smooth_noise(rng, shape, 6)
    _add_mitochondria(rng, picture, depth)
    _add_vesicles(rng, picture, depth)
    strength = np.clip(0.38 + 0.07 * smooth_noise(rng, shape, 18) - 0.16 * oblique, 0.09, 0.55)
    picture -= strength * np.exp(-((depth / (0.9 * half + 0.45)) ** 2))
    smudges = np.clip(smooth_noise(rng, shape, 14) - 1.7, 0, 1)
    picture -= 0.5 * smudges * np.exp(-depth / 5)
    picture += 0.05 * smooth_noise(rng, shape, 150) + rng.uniform(0.10, 0.19) * rng.standard_normal(shape, np.float32)
    return np.clip(ndimage.gaussian_filter(picture, rng.uniform(0.7, 0.9), truncate=3), 0, 1)


def _add_mitochondria(rng: np.random.Generator, picture: np.ndarray, depth: np.ndarray) -> None:
    """Dark bodies with a ringed wall and stripes, the cristae, well inside large cells."""
    rows, columns = np.nonzero(depth > 11)
    if not len(rows):
        return
    for pick in rng.choice(len(rows), rng.poisson(picture.size / 16000)):
        row, column = rows[pick], columns[pick]
        room = depth[row, column]
        short = min(room - 3, rng.uniform(7, 15))
        long = min(room * 1.25, short * rng.uniform(1, 1.9))
        place = window(picture.shape, row, column, long + 4)
        y, x = grid(picture.shape)
        down, right = y[place[0]] - row, x[:, place[1]] - column
        angle = rng.uniform(0, np.pi)
        along, across = np.cos(angle) * down + np.sin(angle) * right, np.cos(angle) * right - np.sin(angle) * down
        ring = np.hypot(along / long, across / short)
        rim = (ring - 1) * short
        body = 1 / (1 + np.exp(np.clip(2.5 * rim, -30, 30)))
        wobble = 1.2 * np.sin(along / 3.1 + rng.uniform(0, 6))
        stripes = 0.5 + 0.5 * np.sin(2 * np.pi * (across + wobble) / rng.uniform(3.6, 5))
        dark = body * (0.14 + 0.13 * stripes) + 0.17 * np.exp(-((rim / 1.3) ** 2))
        picture[place] -= dark * rng.uniform(0.75, 1.1) * (depth[place] > 1.5)


def _add_vesicles(rng: np.random.Generator, picture: np.ndarray, depth: np.ndarray) -> None:
    """Small rings, dark dots and short strokes in the cytoplasm, crowded in some places."""
    crowd = np.clip(smooth_noise(rng, picture.shape, 25) + 0.6, 0.05, None) * (depth > 5)
    places = np.cumsum(crowd.ravel(), dtype=np.float64)
    count = rng.poisson(picture.size / 260)
    picks = np.searchsorted(places, rng.uniform(0, places[-1], count)) if places[-1] > 0 else np.empty(0, int)
    picks = picks[picks < picture.size]
    rows, columns = np.divmod(picks, picture.shape[1])
    count = len(picks)
    reach = np.arange(-6, 7, dtype=np.float32)
    shift = rng.uniform(-0.5, 0.5, (2, count, 1, 1))
    y, x = reach[:, None] + shift[0], reach + shift[1]
    angle = rng.uniform(0, np.pi, (count, 1, 1))
    squash = rng.uniform(1, 1.6, (count, 1, 1))
    along, across = np.cos(angle) * y + np.sin(angle) * x, (np.cos(angle) * x - np.sin(angle) * y) * squash
    radius = np.where(rng.random((count, 1, 1)) < 0.35, 0, rng.uniform(1.8, 4.2, (count, 1, 1)))
    distance = np.hypot(along, across) - radius
    dark = rng.uniform(0.08, 0.32, (count, 1, 1)) * np.exp(-((distance / 0.95) ** 2))
    core = np.where(rng.random((count, 1, 1)) < 0.25, 0.1, -0.03) * (distance < -0.6) * (radius > 0)
    stamp(picture, rows, columns, -(dark + core).astype(np.float32))
