"""People of the drawn streets: those who walk and those who ride a bicycle.

Figures are laid out in units of their own height (people) or in metres (bicycles), upwards from the feet.
"""

import random
from collections.abc import Callable
from math import cos, pi, sin

from PIL import ImageDraw

from ._street_canvas import BICYCLIST, PEDESTRIAN, Canvas
from ._street_cars import PAINTS
from ._street_light import Color

_CLOTHES = (
    (0.12, 0.13, 0.16), (0.20, 0.22, 0.30), (0.50, 0.12, 0.12), (0.62, 0.56, 0.46), (0.72, 0.70, 0.66),
    (0.16, 0.30, 0.24), (0.30, 0.24, 0.20), (0.20, 0.34, 0.56), (0.68, 0.48, 0.14), (0.44, 0.28, 0.42),
    (0.36, 0.38, 0.40), (0.76, 0.36, 0.26), (0.28, 0.46, 0.48),
)  # fmt: skip
_TROUSERS = _CLOTHES[:8]
_SKINS = ((0.78, 0.58, 0.46), (0.66, 0.46, 0.34), (0.42, 0.27, 0.19), (0.84, 0.66, 0.54))
_HAIR = ((0.10, 0.08, 0.07), (0.28, 0.18, 0.10), (0.52, 0.38, 0.20), (0.46, 0.44, 0.42))
_VEST, _TYRE = (0.80, 0.85, 0.12), (0.06, 0.06, 0.06)

Place = Callable[[float, float], tuple[float, float]]


def _limb(pen: ImageDraw.ImageDraw, surface: int, a: tuple[float, float], b: tuple[float, float], width: float) -> None:
    """Paint a thick segment that tapers a little towards b."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    k = width / 2 / ((dx * dx + dy * dy) ** 0.5 or 1.0)
    nx, ny = -dy * k, dx * k
    mx, my = nx * 0.8, ny * 0.8
    pen.polygon([a[0] + nx, a[1] + ny, b[0] + mx, b[1] + my, b[0] - mx, b[1] - my, a[0] - nx, a[1] - ny], surface)


def _cloth(canvas: Canvas, kind: int, color: Color, x: float, z: float, up: float = 0.2) -> int:
    return canvas.upright(kind, canvas.lit(color, 0, up, -0.95), z, "cloth", x)


def person(canvas: Canvas, rng: random.Random, x: float, z: float) -> None:
    """Paint someone who walks: seen from the side, from behind or from the front."""
    height = rng.uniform(1.5, 1.92) if rng.random() < 0.88 else rng.uniform(1.0, 1.35)
    sideways, stride, way = rng.random() < 0.45, rng.uniform(-1, 1), rng.choice((-1, 1))
    coat, legs, skin, hair = rng.choice(_CLOTHES), rng.choice(_TROUSERS), rng.choice(_SKINS), rng.choice(_HAIR)
    hem = 0.30 if rng.random() < 0.35 else 0.46
    bag, stout = rng.choice(_CLOTHES) if rng.random() < 0.4 else None, rng.uniform(0.9, 1.2)
    px, py = canvas.project(x, 0.0, z)
    s = canvas.focal * height / z
    if canvas.outside(px, 0.5 * s):
        return
    canvas.cast(x, z, 0.2, height)
    canvas.shade([(x - 0.3, z - 0.12), (x + 0.3, z - 0.12), (x + 0.3, z + 0.15), (x - 0.3, z + 0.15)], 0.4)
    top, bottom = _cloth(canvas, PEDESTRIAN, coat, x, z, 0.3), _cloth(canvas, PEDESTRIAN, legs, x, z, 0.0)
    flesh = canvas.upright(PEDESTRIAN, canvas.lit(skin, 0, 0.4, -0.9), z)
    step = (0.20 if sideways else 0.05) * stride

    def q(u: float, v: float) -> tuple[float, float]:
        return px + u * s, py - v * s

    if s < 14:
        _small_person(canvas.pen, q, s, step, hem, top, bottom, flesh)
        return
    dark = canvas.upright(PEDESTRIAN, canvas.lit(hair, 0, 0.4, -0.9), z)
    hip, shoulder = (0.085 * stout, 0.10 * stout) if sideways else (0.10 * stout, 0.135 * stout)
    _legs(canvas.pen, q, s, step, way if sideways else 0, bottom, dark)
    right = [(hip * 1.15, hem), (hip, 0.58), (shoulder, 0.79), (shoulder / 2, 0.84)]
    canvas.pen.polygon([q(u, v) for u, v in right] + [q(-u, v) for u, v in reversed(right)], top)
    sleeve = _cloth(canvas, PEDESTRIAN, tuple(0.8 * c for c in coat), x, z, 0.0)
    for sign in (-1, 1):
        root = sign * (0.01 if sideways else shoulder * 0.92)
        hand = root + sign * (-step * 0.9 if sideways else 0.03)
        elbow = (root + hand) / 2 + sign * 0.01
        _limb(canvas.pen, sleeve, q(root, 0.79), q(elbow, 0.62), 0.065 * s)
        _limb(canvas.pen, sleeve, q(elbow, 0.63), q(hand, 0.48), 0.055 * s)
        canvas.pen.rectangle((*q(hand - 0.02, 0.48), *q(hand + 0.02, 0.44)), flesh)
    if bag:
        u = -way * (hip + 0.05)
        canvas.pen.rectangle((*q(u - 0.06, 0.78), *q(u + 0.06, 0.58)), _cloth(canvas, PEDESTRIAN, bag, x, z))
    _head(canvas.pen, q, way if sideways else 0, not sideways and way > 0, flesh, dark)


def _small_person(
    pen: ImageDraw.ImageDraw, q: Place, s: float, step: float, hem: float, top: int, bottom: int, flesh: int
) -> None:
    """Someone a dozen pixels tall."""
    for foot in (-step, step):
        pen.line((*q(0, 0.5), *q(foot * 0.7, 0)), bottom, max(1, round(0.1 * s)))
    pen.rectangle((*q(-0.11, 0.84), *q(0.11, hem)), top)
    pen.rectangle((*q(-0.03, 0.98), *q(0.03, 0.88)), flesh)


def _legs(pen: ImageDraw.ImageDraw, q: Place, s: float, step: float, way: int, surface: int, shoe: int) -> None:
    """Two legs with shoes; `way` is where the toes point, 0 towards or away from the camera."""
    for sign in (-1, 1):
        root, reach = (0.0 if way else sign * 0.05), sign * step
        lift = 0.03 if reach * way < -0.05 else 0.0
        knee, ankle = root + reach * 0.55 + 0.03 * way, root + reach
        _limb(pen, surface, q(root * 0.9, 0.5), q(knee, 0.27), 0.105 * s)
        _limb(pen, surface, q(knee, 0.28), q(ankle, lift + 0.02), 0.085 * s)
        heel, toe = sorted((ankle - 0.03 * (way or 1), ankle + (0.07 * way or 0.03)))
        pen.rectangle((*q(heel, lift + 0.035), *q(toe, lift)), shoe)


def _head(pen: ImageDraw.ImageDraw, q: Place, way: int, away: bool, flesh: int, hair: int) -> None:
    pen.rectangle((*q(-0.025, 0.87), *q(0.025, 0.82)), flesh)
    pen.ellipse((*q(-0.055, 0.99), *q(0.055, 0.855)), flesh)
    box, tilt = (*q(-0.06, 1.0), *q(0.06, 0.87)), 20 * way
    pen.pieslice(box, *((0, 360) if away else (170 - tilt, 370 - tilt)), hair)


def bicyclist(canvas: Canvas, rng: random.Random, x: float, z: float, across: bool) -> None:
    """Paint someone on a bicycle, riding along the street or across it."""
    coat = _VEST if rng.random() < 0.3 else rng.choice(_CLOTHES)
    legs, skin, frame, cap = rng.choice(_TROUSERS), rng.choice(_SKINS), rng.choice(PAINTS), rng.choice(PAINTS + _HAIR)
    way, turn = rng.choice((-1, 1)), rng.uniform(0, 2 * pi)
    px, py = canvas.project(x, 0.0, z)
    s, pen = canvas.focal / z, canvas.pen
    if canvas.outside(px, s):
        return
    canvas.cast(x, z, 0.5 if across else 0.2, 1.6)
    canvas.shade([(x - 0.6, z - 0.15), (x + 0.6, z - 0.15), (x + 0.6, z + 0.15), (x - 0.6, z + 0.15)], 0.35)
    top, low = _cloth(canvas, BICYCLIST, coat, x, z), _cloth(canvas, BICYCLIST, legs, x, z)
    plain = (canvas.upright(BICYCLIST, canvas.lit(c, 0, 0.3, -0.9), z) for c in (skin, _TYRE, frame, cap))
    flesh, tyre, bar, hat = plain

    def q(u: float, v: float) -> tuple[float, float]:
        return px + way * u * s, py - v * s

    if across:
        _ride_across(pen, q, s, turn, top, low, tyre, bar)
        _limb(pen, flesh, q(0.12, 1.42), q(0.2, 1.56), 0.1 * s)
    else:
        _ride_along(pen, q, s, turn, top, low, tyre)
    cx, cy = q(0.22 if across else 0.0, 1.62)
    pen.ellipse((cx - 0.11 * s, cy - 0.13 * s, cx + 0.11 * s, cy + 0.13 * s), flesh)
    pen.pieslice((cx - 0.13 * s, cy - 0.17 * s, cx + 0.13 * s, cy + 0.13 * s), 180, 360, hat)


def _ride_across(
    pen: ImageDraw.ImageDraw, q: Place, s: float, turn: float, top: int, low: int, tyre: int, bar: int
) -> None:
    """Bicycle and rider from the side, without the head."""
    line = max(1, round(0.05 * s))
    for u in (-0.52, 0.52):
        (cx, cy), r = q(u, 0.34), 0.34 * s
        pen.ellipse((cx - r, cy - r, cx + r, cy + r), None, tyre, line)
    hub, crank, seat, stem = q(-0.52, 0.34), q(-0.08, 0.30), q(-0.2, 0.85), q(0.42, 0.88)
    pen.line([hub, crank, stem, seat, hub], bar, line)
    pen.line([seat, crank], bar, line)
    pen.line([q(0.40, 1.0), stem, q(0.52, 0.34)], bar, line)
    pen.line([q(0.36, 1.0), q(0.5, 0.98)], tyre, line)
    for k in (0, pi):
        foot = (-0.08 + 0.17 * cos(turn + k), 0.30 + 0.17 * sin(turn + k))
        knee = (foot[0] * 0.5 + 0.16, foot[1] * 0.5 + 0.46)
        _limb(pen, low, q(-0.18, 0.92), q(*knee), 0.15 * s)
        _limb(pen, low, q(*knee), q(*foot), 0.11 * s)
    pen.polygon([q(-0.3, 0.9), q(-0.08, 0.86), q(0.24, 1.34), q(0.12, 1.48), q(-0.04, 1.44)], top)
    _limb(pen, top, q(0.16, 1.36), q(0.42, 1.02), 0.09 * s)


def _ride_along(pen: ImageDraw.ImageDraw, q: Place, s: float, turn: float, top: int, low: int, tyre: int) -> None:
    """Bicycle and rider from behind or from the front, without the head."""
    (px, py), half = q(0, 0), max(0.5, 0.035 * s)
    pen.ellipse((px - half, py - 0.68 * s, px + half, py), tyre)
    pen.line([q(-0.3, 1.02), q(0.3, 1.02)], tyre, max(1, round(0.05 * s)))
    for sign in (-1, 1):
        foot = 0.30 + 0.17 * sin(turn) * sign
        _limb(pen, low, q(sign * 0.09, 0.92), q(sign * 0.17, foot * 0.5 + 0.46), 0.17 * s)
        _limb(pen, low, q(sign * 0.17, foot * 0.5 + 0.48), q(sign * 0.12, foot), 0.13 * s)
        _limb(pen, top, q(sign * 0.2, 1.42), q(sign * 0.29, 1.04), 0.1 * s)
    pen.polygon([q(-0.17, 0.86), q(0.17, 0.86), q(0.23, 1.42), q(0.1, 1.52), q(-0.1, 1.52), q(-0.23, 1.42)], top)
