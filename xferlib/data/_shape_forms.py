"""The forms of the drawn shapes, each as the distance to its edge: positive inside."""

import numpy as np

_FIFTH = np.pi / 5


def disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give the distance to the edge of the unit disc."""
    return 1 - np.hypot(x, y)


def ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give the distance to the edge of a ring from radius .45 to 1."""
    return 0.275 - np.abs(np.hypot(x, y) - 0.725)


def square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give the distance to the nearest side of a square of half side .8."""
    return 0.8 - np.maximum(np.abs(x), np.abs(y))


def triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give the distance to the nearest side of an equilateral triangle in the unit circle."""
    slant = np.sqrt(0.75) * np.abs(x) - 0.5 * y
    return 0.5 - np.maximum(slant, y)


def star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give the distance to the nearest side of a star with five points at radius 1 and dents at .45."""
    radius, angle = np.hypot(x, y), np.arctan2(x, -y)
    angle = np.abs((angle + _FIFTH) % (2 * _FIFTH) - _FIFTH)  # from the nearest point, up to the dent beside it
    dent = 0.45 * np.array([np.cos(_FIFTH), np.sin(_FIFTH)])
    along = dent - [1, 0]
    normal = np.array([along[1], -along[0]]) / np.hypot(*along)
    return normal[0] - radius * (np.cos(angle) * normal[0] + np.sin(angle) * normal[1])


def crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give the distance to the nearer edge of a disc that another disc has bitten into."""
    return np.minimum(1 - np.hypot(x, y), np.hypot(x - 0.5, y) - 0.75)


def cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give the distance to the edge of two crossed bars, half as wide as .3."""
    x, y = np.abs(x), np.abs(y)
    return np.maximum(np.minimum(0.3 - x, 0.95 - y), np.minimum(0.3 - y, 0.95 - x))


def bar(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give the distance to the edge of a rod with round ends, five times as long as wide."""
    return 0.2 - np.hypot(np.maximum(np.abs(x) - 0.8, 0), y)


FORMS = {f.__name__: f for f in (disc, ring, square, triangle, star, crescent, cross, bar)}
"""The forms by the name of their class, in the order of the classes from 1."""
