"""A drawn culture, as the light microscope shows it: bright cells that touch, on a dark ground."""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from ._cell_fields import Shape, Window, grid, has_room, number_cells, smooth_noise, spread, stamp, two_nearest, window

LEAST = 16  # pixels; a smaller sliver of a cell shows nothing
_RADII = (9.0, 17.0)  # pixels, from and to
_WAVES = (0.02, 0.04, 0.06, 0.15)  # deviation of the outline, in radii, that goes 5, 4, 3 and 2 times round
_OVERLAP = 0.85  # at most, see `spread`
_PAD = 12  # pixels
_GAP = 1.3  # pixels on either side of the line where two cells touch


def draw_culture(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Draw a culture: the picture, float32 (H, W) in [0, 1], and the cells, int64 (H, W), 0 the background."""
    sites = _sites(rng, shape)
    first, second, owner = two_nearest(shape, _outlines(rng, shape, sites))
    radii = np.concatenate(((1.0,), sites[:, 2])).astype(np.float32)[owner]
    inside = first < 1
    margin = (second - first) * radii / 2
    apart = ndimage.maximum_filter(owner * inside, 3) == owner
    cells = number_cells(inside & apart & ((margin > _GAP) | (second >= 1)), LEAST)
    return _picture(rng, first, margin, owner, radii), cells


def _sites(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Grow clumps: most cells settle against one that is there already. Rows (row, column, radius)."""
    low, high = np.array((-_PAD, -_PAD)), np.array(shape) + _PAD
    wanted = max(2, round(rng.uniform(0.3, 0.7) * np.prod(high - low) / (np.pi * 13**2)))
    sites = np.array([(*rng.uniform(0.3, 0.7, 2) * shape, rng.uniform(*_RADII))])
    for _ in range(10):
        radii = rng.uniform(*_RADII, wanted)
        hosts = sites[rng.integers(len(sites), size=wanted)]
        angles = rng.uniform(0, 2 * np.pi, wanted)
        against = hosts[:, :2] + (0.88 * (hosts[:, 2] + radii) * (np.sin(angles), np.cos(angles))).T
        alone = rng.random((wanted, 1)) < 0.1
        places = np.where(alone, rng.uniform(low, high, (wanted, 2)), against)
        new = np.column_stack((places, radii))[((places >= low) & (places < high)).all(1)]
        sites = np.vstack((sites, spread(new[has_room(new, sites, _OVERLAP)], _OVERLAP)))[:wanted]
    return sites


def _outlines(rng: np.random.Generator, shape: Shape, sites: np.ndarray) -> Iterator[tuple[Window, np.ndarray]]:
    """Distance from each cell's centre, in units of its own radius in that direction: 1 on its outline."""
    y, x = grid(shape)
    for row, column, radius in sites:
        place = window(shape, row, column, 1.7 * radius)
        down, right = y[place[0]] - np.float32(row), x[:, place[1]] - np.float32(column)
        distance = np.maximum(np.hypot(down, right), np.float32(0.5))
        turn = (right + 1j * down) / distance
        waves = rng.normal(0, _WAVES) * np.exp(2j * np.pi * rng.random(len(_WAVES)))
        outline = np.zeros_like(turn)
        for wave in waves.astype(np.complex64):
            outline = (outline + wave) * turn
        yield place, distance / (np.float32(radius) * (1 + (outline * turn).real))


def _picture(
    rng: np.random.Generator, first: np.ndarray, margin: np.ndarray, owner: np.ndarray, radii: np.ndarray
) -> np.ndarray:
    shape = owner.shape
    rim = np.clip((1 - first) * radii, -30, 30)
    body = 1 / (1 + np.exp(-1.3 * rim))
    shades = rng.uniform(0.75, 1.2, owner.max() + 1).astype(np.float32)
    bulge = np.sqrt(np.clip(1 - first * first, 0, 1))
    texture = 1 + 0.13 * smooth_noise(rng, shape, 3) + 0.12 * smooth_noise(rng, shape, 5)
    light = body * (0.20 + 0.16 * bulge) * shades[owner] * texture
    crease = np.clip(0.35 + 0.3 * smooth_noise(rng, shape, 12), 0.1, 0.9)
    light *= 1 - crease * np.exp(-((margin / 1.6) ** 2))
    haze = ndimage.gaussian_filter(body, 9, truncate=2.5)
    height = body * (0.6 + bulge) * (1 - 0.3 * np.exp(-((margin / 2.5) ** 2)))
    slope = np.gradient(height, axis=0) * 0.6 + np.gradient(height, axis=1) * 0.8
    picture = 0.24 + 0.05 * smooth_noise(rng, shape, 90) + 0.16 * haze + light + 0.3 * slope
    _add_debris(rng, picture)
    picture += rng.uniform(0.04, 0.10) * rng.standard_normal(shape, np.float32)
    return np.clip(ndimage.gaussian_filter(picture, 0.8, truncate=3), 0, 1)


def _add_debris(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Bright and dark specks, sharp or out of focus, which are no cells."""
    count = rng.poisson(picture.size / 5000)
    rows, columns = rng.integers(0, picture.shape[0], count), rng.integers(0, picture.shape[1], count)
    reach = np.arange(-7, 8, dtype=np.float32)
    width = rng.uniform(0.8, 2.4, (count, 1, 1))
    bright = rng.choice((-0.22, 0.32), (count, 1, 1)) * rng.uniform(0.4, 1, (count, 1, 1))
    stamp(picture, rows, columns, bright * np.exp(-(reach[:, None] ** 2 + reach**2) / (2 * width**2)))
