"""From surface numbers to a picture: every pixel of a street is shaded at once, in arrays."""

import random
from collections.abc import Callable
from functools import cache
from math import ceil

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ._street_canvas import Canvas
from ._street_textures import LEVELS, SIDE, UNIT, atlas

# columns of a surface: 1/z = A + B u + C v; colour; texture start and axes; footprint of a texel squared and slant of
# the plane; least 1/z; whether it is ground
_A, _B, _C, _RED, _, _, _START, _UX, _UZ, _U0, _VY, _VZ, _V0, _GRADE, _SLANT, _NEAREST, _GROUND = range(17)
_WINDOW = (1.0, 0.72, 0.34)
_Column = Callable[[int], np.ndarray]


def shade(canvas: Canvas, rng: random.Random) -> np.ndarray:
    """Shade every pixel of a canvas: float32 (3, H, W) in [0, 1]."""
    light, top = canvas.light, canvas.top
    ids = np.asarray(canvas.ids).astype(np.intp)
    table = canvas.table().T.astype(np.float32, order="C")

    def at(column: int) -> np.ndarray:
        return table[column].take(ids, mode="clip")

    u = ((np.arange(canvas.width, dtype=np.float32) + 0.5 - canvas.centre) / canvas.focal)[None]
    v = ((np.arange(canvas.height, dtype=np.float32) + 0.5 - canvas.horizon) / canvas.focal)[:, None]
    z = _depth(at, u, v)
    texel = _texels(at, u, v, z)
    grain = (texel >> 24).astype(np.float32)
    grain *= np.float32(1 / UNIT)
    ground = table[_GROUND].take(ids[top:], mode="clip")
    grain[top:] *= 1 - ground * _shadow(canvas)
    z *= -light.density
    out = np.empty((3, *ids.shape), np.float32)
    _color(canvas, at, texel, grain, np.exp(z, out=z), out)
    if light.wet > 0:
        _mirror(canvas, out, ground)
    if canvas.glows:
        out += _halo(canvas)
    return _expose(out, rng, light.blur, light.noise)


def _depth(at: _Column, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Metres ahead of the camera, from the plane of each pixel's surface."""
    inverse = at(_B)
    inverse *= u
    inverse += at(_A)
    inverse += at(_C) * v
    np.maximum(inverse, at(_NEAREST), out=inverse)
    np.minimum(inverse, np.float32(4), out=inverse)
    return 1 / inverse


def _texels(at: _Column, u: np.ndarray, v: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Look every pixel up in the atlas, at the mip level that fits its footprint."""
    across = at(_UX) * u
    across += at(_UZ)
    across *= z
    across += at(_U0)
    up = at(_VY) * v
    np.subtract(at(_VZ), up, out=up)
    up *= z
    up += at(_V0)
    level = _levels(at, z)
    place = _wrapped(up, level)
    place <<= 8 - level
    place += _wrapped(across, level)
    place += atlas().offsets.take(level)
    place += at(_START).astype(np.int32)
    return atlas().texels.take(place, mode="clip")


def _levels(at: _Column, z: np.ndarray) -> np.ndarray:
    """Half the binary logarithm of the squared footprint, read off the exponent of the float."""
    footprint = at(_SLANT) * z
    footprint += 1
    footprint *= z
    footprint *= z
    footprint *= at(_GRADE)
    level = footprint.view(np.int32) >> 23
    level -= 126
    level >>= 1
    return np.clip(level, 0, LEVELS - 1, out=level)


def _wrapped(tiles: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Texel column or row within a repeated tile, at a mip level."""
    tiles *= np.float32(SIDE)
    index = tiles.astype(np.int32)
    index &= SIDE - 1
    index >>= level
    return index


def _color(
    canvas: Canvas, at: _Column, texel: np.ndarray, grain: np.ndarray, clear: np.ndarray, out: np.ndarray
) -> None:
    """Paint times grain, plus the texture's own colour, seen through the haze."""
    light = canvas.light
    own = [(texel >> 8 * k & 255).astype(np.float32) for k in range(3)]
    glow = None
    if light.lamps > 0:  # curtains and posters, the warm colours of the atlas, are lit from within
        glow = np.clip(own[0] - own[2] - 25, 0, 50) * np.float32(light.lamps / 60)
    for k, plane in enumerate(out):
        own[k] *= np.float32(light.ambient[k] / 230)
        if glow is not None:
            own[k] += glow * np.float32(_WINDOW[k])
        np.multiply(at(_RED + k), grain, out=plane)
        plane += own[k]
        plane -= np.float32(light.haze[k])
        plane *= clear
        plane += np.float32(light.haze[k])


def _shadow(canvas: Canvas) -> np.ndarray:
    """The soft shadow on the rows of ground, 0 to 1."""
    soft = canvas.shadows.filter(ImageFilter.BoxBlur(max(0.5, canvas.height / 200)))
    full = soft.resize((canvas.width, canvas.height - canvas.top), Image.Resampling.BILINEAR)
    return np.asarray(full) * np.float32(1 / 255)


def _mirror(canvas: Canvas, out: np.ndarray, ground: np.ndarray) -> None:
    """Mirror the street in the wet ground about the horizon, smeared downwards."""
    top, streak = canvas.top, max(2, canvas.height // 24)
    rows = np.clip(2 * top - np.arange(top, canvas.height), 0, canvas.height - 1)
    total = np.cumsum(out[:, rows], axis=1)
    mirror = total.copy()
    mirror[:, streak:] -= total[:, :-streak]
    mirror /= np.minimum(np.arange(1, len(rows) + 1, dtype=np.float32), streak)[:, None]
    below = out[:, top:]
    below += ground * np.float32(canvas.light.wet) * (mirror - below)


def _halo(canvas: Canvas) -> np.ndarray:
    """The light that visible lamps scatter, (3, H, W)."""
    height, width = canvas.height, canvas.width
    halo = Image.new("RGB", (ceil(width / 4), ceil(height / 4)))
    pen = ImageDraw.Draw(halo)
    for x, y, radius, color, surface in canvas.glows:
        if canvas.ids.getpixel((int(x), int(y))) == surface:
            r = min(max(0.4, radius / 4), height / 24)
            strength = 255 * canvas.light.lamps * min(1.0, 0.15 + radius * 60 / height)
            ink = tuple(int(strength * c) for c in color)
            pen.ellipse((x / 4 - r, y / 4 - r, x / 4 + r, y / 4 + r), ink)
    soft = ImageFilter.BoxBlur(height / 90)
    both = Image.blend(halo.filter(soft).filter(soft), halo, 0.3)
    full = both.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(full, np.float32).transpose(2, 0, 1) * np.float32(1.5 / 255)


def _expose(out: np.ndarray, rng: random.Random, blur: float, noise: float) -> np.ndarray:
    """The camera: a little blur, sensor noise, clipping."""
    side = np.float32(blur)
    for lines in (out, out.swapaxes(1, 2)):
        around = lines[:, :-2] + lines[:, 2:]
        around *= side
        middle = lines[:, 1:-1]
        middle *= 1 - 2 * side
        middle += around
    normal = _normal()
    start, flat, done = rng.randrange(len(normal)), out.reshape(-1), 0
    while done < len(flat):
        step = min(len(flat) - done, len(normal) - start)
        flat[done : done + step] += normal[start : start + step] * np.float32(noise)
        done, start = done + step, 0
    return np.clip(out, 0, 1, out=out)


@cache
def _normal() -> np.ndarray:
    """A million normal deviates, from which each picture takes a stretch."""
    return np.random.default_rng(3).standard_normal(1 << 20, np.float32)
