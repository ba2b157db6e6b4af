"""One scene of drawn shapes: where the objects lie, and how they are painted."""

from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image
from skimage.color import hsv2rgb

from . import photos
from ._shape_forms import FORMS

EMPTY = 0.03
"""Share of the scenes that hold no object."""
OBJECTS = (1, 10)
"""Fewest and most objects on 128x128 pixels before covered ones are taken away."""
RADII = (5.0, 36.0)
"""Least and largest radius in pixels; small ones are more frequent, evenly on a logarithmic scale."""
SEEN, SHARE = 12, 0.25
"""An object stays if at least so many pixels of it are seen, and such a share of those within the picture."""
_MARGIN = 6
_LIGHT = np.array([2, 3])


class _Object(NamedTuple):
    """An object in its window of the picture: its class, its rows and columns there, and distances to its edge."""

    kind: int
    window: tuple[slice, slice]
    distance: np.ndarray
    shadow: np.ndarray
    turned: tuple[np.ndarray, np.ndarray]


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int], names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Draw one scene on one of the named photographs.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    size : tuple of int
        Height and width in pixels.
    names : tuple of str
        Photographs for the ground and for the stuff of the objects.

    Returns
    -------
    ndarray of float32, shape (3, H, W)
        RGB in [0, 1].
    ndarray of int64, shape (H, W)
        Instance map.
    ndarray of int64, shape (N,)
        Classes.
    """
    picture = _ground(rng, size, names)
    objects = [_place(rng, size) for _ in range(_number(rng, size))]
    objects.sort(key=lambda each: -each.distance.size)
    objects, numbers = _seen([o for o in objects if (o.distance > 0).any()], size)
    for each in objects:
        _paint(rng, picture, each, names)
    grain = rng.standard_normal(size, np.float32) * rng.uniform(0.005, 0.03)
    picture = np.clip(picture + grain[..., None], 0, 1)
    classes = np.array([each.kind for each in objects], np.int64)
    return np.ascontiguousarray(picture.transpose(2, 0, 1)), numbers, classes


def _number(rng: np.random.Generator, size: tuple[int, int]) -> int:
    if rng.random() < EMPTY:
        return 0
    count = rng.integers(OBJECTS[0], OBJECTS[1] + 1) * size[0] * size[1] / 128**2
    return max(1, round(count))


def _place(rng: np.random.Generator, size: tuple[int, int]) -> _Object:
    """Choose form, place, size and turn of an object, and measure the distances to its edge around it."""
    kind = int(rng.integers(len(FORMS)))
    radius = np.exp(rng.uniform(*np.log(RADII)))
    stretch = np.exp(rng.uniform(-0.25, 0.25))
    angle = rng.uniform(0, 2 * np.pi)
    centre = rng.uniform(0.02, 0.98, 2) * size
    reach = int(radius * max(stretch, 1 / stretch)) + _MARGIN
    window = tuple(slice(max(0, int(c) - reach), min(n, int(c) + reach + 1)) for c, n in zip(centre, size, strict=True))
    y, x = (np.arange(s.start, s.stop, dtype=np.float32) + 0.5 - c for s, c in zip(window, centre, strict=True))
    scales = radius * stretch, radius / stretch
    form = list(FORMS.values())[kind]

    def measure(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        u = np.cos(angle) * x[None] + np.sin(angle) * y[:, None]
        v = np.cos(angle) * y[:, None] - np.sin(angle) * x[None]
        return form(u / scales[0], v / scales[1]) * min(scales), u, v

    distance, u, v = measure(y, x)
    shadow, _, _ = measure(y - _LIGHT[0], x - _LIGHT[1])
    return _Object(kind + 1, window, distance, shadow, (u, v))


def _seen(objects: list[_Object], size: tuple[int, int]) -> tuple[list[_Object], np.ndarray]:
    """Take away the objects that are mostly covered, until none is, and number the others from below."""
    while True:
        numbers = np.zeros(size, np.int64)
        for number, each in enumerate(objects, start=1):
            numbers[each.window][each.distance > 0] = number
        seen = np.bincount(numbers.ravel(), minlength=len(objects) + 1)[1:]
        whole = np.array([(each.distance > 0).sum() for each in objects])
        stays = (seen >= SEEN) & (seen >= SHARE * whole) if objects else seen > 0
        if stays.all():
            return objects, numbers
        objects = [each for each, stay in zip(objects, stays, strict=True) if stay]


def _paint(rng: np.random.Generator, picture: np.ndarray, each: _Object, names: tuple[str, ...]) -> None:
    """Lay an object with its shadow on the picture."""
    below = picture[each.window]
    below *= 1 - 0.45 * np.clip(0.5 + each.shadow / 5, 0, 1)[..., None]
    cover = np.clip(0.5 + each.distance, 0, 1)[..., None]
    stuff = _stuff(rng, each, below, names)
    rim = 1 + 0.18 * np.clip(1 - each.distance / 2, 0, 1)[..., None]
    below += cover * (np.clip(stuff * rim, 0, 1) - below)


def _stuff(rng: np.random.Generator, each: _Object, below: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Choose what an object is made of: paint, a pattern in two colours, or a piece of a photograph."""
    u, v = each.turned
    colour, other = _colours(rng, below)
    pattern = rng.integers(6)
    pitch = rng.uniform(3, 8)
    if pattern == 0:  # stripes
        mix = np.clip(0.5 + 2 * np.sin(2 * np.pi * u / pitch), 0, 1)
    elif pattern == 1:  # checks
        mix = np.clip(0.5 + 3 * np.sin(np.pi * u / pitch) * np.sin(np.pi * v / pitch), 0, 1)
    elif pattern == 2:  # dots
        mix = np.clip(np.hypot((u % pitch) - pitch / 2, (v % pitch) - pitch / 2) - 0.25 * pitch, 0, 1)
    elif pattern == 3:  # a piece of a photograph, in two colours
        piece = _piece(rng, u.shape, names).mean(2)
        mix = np.clip((piece - piece.mean()) / (3 * piece.std() + 0.05) + 0.5, 0, 1)
    else:  # paint, lighter to one side
        mix = 0.25 + 0.25 * np.sin(u / max(u.shape) * 3 + rng.uniform(0, 6))
    return colour + mix[..., None] * (other - colour)


def _colours(rng: np.random.Generator, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose two colours, one in eight times close to the ground."""
    if rng.random() < 1 / 8:
        near = below.mean((0, 1)) + rng.normal(0, 0.12, 3)
        return np.clip(near, 0, 1), np.clip(near + rng.normal(0, 0.12, 3), 0, 1)
    hue, step = rng.random(), rng.choice([0.0, 0.08, 0.5]) + rng.normal(0, 0.03)
    first = (hue, rng.uniform(0.35, 0.9), rng.uniform(0.55, 1.0))
    second = ((hue + step) % 1, rng.uniform(0.1, 0.8), rng.uniform(0.3, 1.0))
    return tuple(hsv2rgb(np.array([[first, second]]))[0])


def _ground(rng: np.random.Generator, size: tuple[int, int], names: tuple[str, ...]) -> np.ndarray:
    piece = _piece(rng, size, names)
    mean = piece.mean((0, 1))
    contrast, light = rng.uniform(0.5, 0.9), rng.uniform(0.75, 1.15)
    return np.clip((mean + contrast * (piece - mean)) * light, 0, 1)


def _piece(rng: np.random.Generator, size: tuple[int, int], names: tuple[str, ...]) -> np.ndarray:
    """Cut a piece of a photograph, at a random place and scale, as (H, W, 3) in [0, 1]."""
    photo = _photo(names[rng.integers(len(names))])
    fits = min(photo.height / size[0], photo.width / size[1])
    zoom = min(fits, np.exp(rng.uniform(0, np.log(2.5))))
    height, width = min(photo.height, zoom * size[0]), min(photo.width, zoom * size[1])
    top, left = rng.uniform(0, photo.height - height), rng.uniform(0, photo.width - width)
    box = (left, top, min(photo.width, left + width), min(photo.height, top + height))
    piece = np.asarray(photo.resize(size[::-1], Image.Resampling.BILINEAR, box), np.float32) / 255
    return piece[:, ::-1] if rng.random() < 0.5 else piece


@cache
def _photo(name: str) -> Image.Image:
    """Give a photograph at half its size, as smooth as its pieces are to be."""
    pixels = (photos.load(name).permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    photo = Image.fromarray(pixels)
    return photo.reduce(2)
