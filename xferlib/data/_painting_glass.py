"""Stained glass: leaded panes of coloured light, flowers before hills, water and the beams of an evening sky."""

from itertools import pairwise

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from ._painting_canvas import Canvas, colours, mix, ramp, smooth
from ._painting_forms import below, bezier, box, disc, ribbon, ridge

_LEAD = colours("15131a")[0]
_SKY = colours("fff3b0 ffd257 f79a3e e0567a 9a3f9f 4a3fa8 1f3f9c 16307a")
_HILLS = [colours("6a3fa0 8f5fc0"), colours("1f6f8f 2f98a8"), colours("157a5a 3aa868")]
_WATER = colours("0f6fa8 2fb0cc a0e6e6")
_LEAF = colours("0f5f35 2a9a45 8fc83f")
_PETALS = [colours("b3132f e8344a ff8a6a"), colours("e05a10 ff9a1f ffd04a"), colours("f4e9f7 e0a8dc c45fb0")]
_HEART = colours("ffdf4a f2a81f")
_FRAME = colours("8f1626 c98a1a 1a4a94 176a48")


def paint_glass(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Paint a window, float32 (H, W, 3)."""
    pane, tint = _sky(canvas, rng)
    pane, tint = _land(canvas, rng, pane, tint)
    pieces = _flowers(canvas, rng)
    pane, tint = _inlay(canvas, pane, tint, [form for form, _ in pieces], np.array([c for _, c in pieces]))
    frame = _frame(canvas)
    pane, tint = _inlay(
        canvas, pane, tint, frame, _FRAME[np.arange(len(frame)) % 4] * rng.uniform(0.8, 1.2, (len(frame), 1))
    )
    return _leaded(canvas, rng, pane, tint)


def _inlay(canvas, pane, tint, forms, tints):
    """Lay forms, each a pane of its own, over the panes (H, W) that have the tints (N, 3)."""
    over = canvas.number(forms)
    return np.where(over > 0, over - 1 + len(tint), pane), np.concatenate([tint, tints])


def _sky(canvas, rng):
    """Cut the sky into beams from a point at the horizon, and the beams across."""
    x, y = canvas.grid()
    heart = canvas.at(rng.uniform(0.3, 0.7), 0.6)
    far = np.hypot(canvas.width, canvas.height) * 0.75
    edges = np.cumsum(rng.uniform(0.6, 1.4, 32))
    turn = (np.arctan2(y - heart[1], x - heart[0]) / (2 * np.pi) + 0.5) * edges[-1]
    beam = np.searchsorted(edges, turn.clip(0, edges[-1] - 1e-6))
    reach = np.hypot(x - heart[0], y - heart[1]) / far
    rings = round(10 / canvas.short)
    step = np.floor(rings * reach**0.8 + rng.uniform(-0.35, 0.35, len(edges))[beam]).clip(0, rings).astype(int)
    tone = np.arange(rings + 1) / rings + 0.07 * rng.normal(size=(len(edges), 1))
    tone = tone + 0.04 * rng.normal(size=tone.shape)
    return beam * (rings + 1) + step, ramp(_SKY, tone.clip(0, 1)).reshape(-1, 3)


def _land(canvas, rng, pane, tint):
    """Lay hills, water and a meadow of irregular panes."""
    at = np.stack(np.broadcast_arrays(*canvas.grid()), -1)
    layers = (
        (0.5, 0.06, 90, 1.4, _HILLS[0]),
        (0.58, 0.045, 110, 1.4, _HILLS[1]),
        (0.66, 0.008, 200, 3.5, _WATER),
        (0.82, 0.03, 170, 1.2, _HILLS[2]),
    )
    for level, swing, count, flat, palette in layers:
        line = ridge(rng, canvas, level, swing * canvas.short, 0.8 * canvas.short, 0.4)
        inside = canvas.cover(below(line, canvas)) > 0.5
        sites = canvas.scatter(rng, round(2 * count / canvas.short), 0.05)
        near = cKDTree(sites * [1, flat]).query(at[inside] * [1, flat])[1]
        pane[inside] = near + len(tint)
        tone = rng.random(len(sites))
        tint = np.concatenate([tint, ramp(palette, tone)])
    return pane, tint


def _flowers(canvas, rng):
    """Give the pieces of flowers on stems, each with its colour, the farther first."""
    count = max(3, round(3.4 * canvas.width / canvas.short**0.7))
    places = (np.arange(count) + 0.5 + rng.uniform(-0.18, 0.18, count)) / count
    pieces = []
    for i in rng.permutation(count):
        size = canvas.short * rng.uniform(0.115, 0.15)
        tall = rng.uniform(0.28, 0.54) * min(canvas.height, 1.6 * canvas.short)
        head = canvas.at(0.06 + 0.88 * places[i], 1 - tall / canvas.height)
        foot = np.array([head[0] + rng.uniform(-0.3, 0.3) * size, canvas.height + 0.05])
        bend = rng.uniform(-0.9, 0.9) * size
        stem = bezier(tuple(foot), (foot[0] + bend, (foot[1] + head[1]) / 2), tuple(head), count=40)
        pieces.append((ribbon(stem, np.full(40, 0.022)), ramp(_LEAF, rng.uniform(0.2, 0.5))))
        for k, way in zip((6, 13, 20), rng.permutation([-1, 1, -1]), strict=True):
            for side, tone in ((1, 0.35), (-1, 0.8)):
                leaf = _leaf(stem[k], way * rng.uniform(0.5, 1.0), 1.15 * size, side)
                pieces.append((leaf, ramp(_LEAF, tone + 0.15 * rng.normal())))
        pieces += _blossom(rng, head, size, _PETALS[(i + rng.integers(0, 2)) % 3])
    return pieces


def _leaf(foot, turn, size, side):
    """Give one half of a leaf."""
    edge = bezier((0, 0), (side * 0.38, -0.45), (side * 0.1, -0.9), (0, -1.35))
    return _turned(edge, turn, size, foot)


def _turned(form, turn, size, at):
    """Turn a form about the origin, clockwise on the canvas, and put it to its place and size."""
    c, s = np.cos(turn), np.sin(turn)
    return size * form @ np.array([[c, s], [-s, c]]) + at


def _blossom(rng, head, size, palette):
    """Two rings of petals around a heart."""
    pieces = []
    start = rng.uniform(0, 1)
    count = rng.integers(6, 9)
    for scale, shift, base in ((1.0, 0.0, 0.15), (0.66, 0.5, 0.75)):
        for k in range(count):
            petal = np.concatenate(
                [
                    bezier((0, 0), (0.48, -0.3), (0.5, -1.0), (0, -1.05)),
                    bezier((0, -1.05), (-0.5, -1.0), (-0.48, -0.3), (0, 0)),
                ]
            )
            turn = 2 * np.pi * (k + shift + start) / count
            pieces.append((_turned(petal, turn, scale * size, head), ramp(palette, base + 0.14 * rng.normal())))
    pieces.append((disc(head, 0.24 * size), _HEART[rng.integers(0, 2)]))
    return pieces


def _frame(canvas):
    """Give the panes of a frame around the window."""
    wide = 0.05 * canvas.short
    panes = []
    for length, other, turned in ((canvas.width, canvas.height, False), (canvas.height, canvas.width, True)):
        stops = np.linspace(0, length, 2 * round(length / (5 * wide)) + 2)
        for near in (0, other - wide):
            for a, b in pairwise(stops):
                pane = box(a, near, b, near + wide)
                panes.append(pane[:, ::-1] if turned else pane)
    return panes


def _leaded(canvas, rng, pane, tint):
    """Shine through the panes (H, W), and set them in lead."""
    tone = 1 + 0.06 * rng.normal(size=(len(tint), 1))
    seam = np.zeros(canvas.size, bool)
    seam[1:] |= pane[1:] != pane[:-1]
    seam[:, 1:] |= pane[:, 1:] != pane[:, :-1]
    seam[:1] = seam[:, :1] = seam[-1:] = seam[:, -1:] = True
    gap = (ndimage.distance_transform_edt(~seam).astype(np.float32) + 0.25) / np.float32(canvas.unit)
    streak = canvas.noise(rng, 0.01, 4) + 0.7 * canvas.noise(rng, 0.004)
    light = 0.72 + 0.42 * smooth(0, 0.028, gap) + 0.07 * streak + 0.06 * canvas.clouds(rng, 0.12, 3)
    glass = (tint * tone)[pane] * light[..., None]
    glass += 0.09 * smooth(0.008, 0.045, gap)[..., None]
    lead = _LEAD + (0.3 * smooth(0.0032, 0.0, gap) * (0.75 + 0.25 * streak))[..., None]
    wide, soft = 0.005 * canvas.short**0.5, 0.6 / canvas.unit
    picture = mix(glass, lead, smooth(wide + soft, wide - soft, gap))
    return picture + 0.22 * (ndimage.gaussian_filter(picture, (0.018 * canvas.unit,) * 2 + (0,)) - 0.3).clip(0)
