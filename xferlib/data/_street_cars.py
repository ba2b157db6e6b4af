"""Cars of the drawn streets: prisms whose side view is a profile, seen from any direction."""

import random
from collections.abc import Sequence
from itertools import pairwise
from math import cos, pi, sin
from typing import NamedTuple

from ._street_canvas import CAR, Canvas, Point
from ._street_light import Color

PAINTS = (
    (0.80, 0.80, 0.78), (0.62, 0.64, 0.66), (0.36, 0.38, 0.41), (0.10, 0.10, 0.11), (0.09, 0.14, 0.28),
    (0.55, 0.08, 0.08), (0.10, 0.24, 0.17), (0.66, 0.58, 0.44), (0.16, 0.34, 0.56), (0.80, 0.56, 0.10),
    (0.42, 0.10, 0.14), (0.20, 0.21, 0.23), (0.48, 0.56, 0.60), (0.72, 0.30, 0.08),
)  # fmt: skip
"""Colours of paint, of cars and of other things people own."""

_LIVERIES = ((0.62, 0.08, 0.08), (0.16, 0.34, 0.56), (0.78, 0.76, 0.70), (0.14, 0.36, 0.26))
_TAIL, _HEAD = (0.9, 0.08, 0.04), (1.0, 0.94, 0.78)
_BUMPER, _PAINT, _GLASS = range(3)
_RING = [(cos(k * pi / 6), sin(k * pi / 6)) for k in range(12)]


class Body(NamedTuple):
    """A kind of car; metres, but along the car in lengths from its middle to the front.

    `profile` goes from the foot of the tail over the roof to the foot of the nose: (along, height, share of the full
    width, what covers the car from here to the next point). `panes` are the side windows: (from, to) along the car.
    """

    length: float
    width: float
    wheel: float
    profile: tuple[tuple[float, float, float, int], ...]
    panes: tuple[tuple[float, float], ...]
    sill: float
    head: float
    slant: float


BODIES = {
    "hatch": Body(
        3.9, 1.72, 0.33,
        (
            (-0.50, 0.28, 1.0, _BUMPER), (-0.50, 0.48, 1.0, _PAINT), (-0.485, 0.92, 0.97, _GLASS),
            (-0.40, 1.38, 0.80, _PAINT), (0.06, 1.45, 0.80, _GLASS), (0.27, 0.98, 0.94, _PAINT),
            (0.47, 0.78, 0.97, _PAINT), (0.50, 0.46, 1.0, _BUMPER), (0.50, 0.28, 1.0, _BUMPER),
        ),
        ((-0.37, -0.12), (-0.10, 0.19)), 0.96, 1.34, 0.035,
    ),
    "saloon": Body(
        4.6, 1.80, 0.33,
        (
            (-0.50, 0.28, 1.0, _BUMPER), (-0.50, 0.48, 1.0, _PAINT), (-0.48, 0.90, 0.97, _PAINT),
            (-0.33, 0.95, 0.94, _GLASS), (-0.20, 1.36, 0.78, _PAINT), (0.06, 1.40, 0.78, _GLASS),
            (0.25, 0.93, 0.94, _PAINT), (0.47, 0.74, 0.97, _PAINT), (0.50, 0.46, 1.0, _BUMPER),
            (0.50, 0.28, 1.0, _BUMPER),
        ),
        ((-0.27, -0.06), (-0.04, 0.19)), 0.95, 1.29, 0.035,
    ),
    "offroad": Body(
        4.5, 1.90, 0.38,
        (
            (-0.50, 0.35, 1.0, _BUMPER), (-0.50, 0.58, 1.0, _PAINT), (-0.49, 1.08, 0.98, _GLASS),
            (-0.46, 1.68, 0.86, _PAINT), (0.08, 1.74, 0.86, _GLASS), (0.24, 1.12, 0.96, _PAINT),
            (0.48, 0.98, 0.98, _PAINT), (0.50, 0.55, 1.0, _BUMPER), (0.50, 0.35, 1.0, _BUMPER),
        ),
        ((-0.44, -0.24), (-0.22, -0.05), (-0.03, 0.17)), 1.12, 1.6, 0.03,
    ),
    "van": Body(
        5.0, 2.00, 0.35,
        (
            (-0.50, 0.32, 1.0, _BUMPER), (-0.50, 0.54, 1.0, _PAINT), (-0.50, 1.15, 1.0, _GLASS),
            (-0.48, 1.95, 0.92, _PAINT), (0.22, 2.02, 0.90, _GLASS), (0.38, 1.18, 0.96, _PAINT),
            (0.49, 0.90, 0.98, _PAINT), (0.50, 0.54, 1.0, _BUMPER), (0.50, 0.32, 1.0, _BUMPER),
        ),
        ((0.08, 0.29),), 1.2, 1.8, 0.0,
    ),
    "bus": Body(
        10.0, 2.5, 0.5,
        (
            (-0.50, 0.35, 1.0, _BUMPER), (-0.50, 0.70, 1.0, _PAINT), (-0.50, 1.55, 1.0, _GLASS),
            (-0.495, 2.45, 0.98, _PAINT), (-0.49, 3.00, 0.96, _PAINT), (0.48, 3.00, 0.96, _PAINT),
            (0.49, 2.6, 0.98, _GLASS), (0.50, 1.15, 1.0, _PAINT), (0.50, 0.7, 1.0, _BUMPER),
            (0.50, 0.35, 1.0, _BUMPER),
        ),
        tuple((-0.46 + 0.13 * i, -0.35 + 0.13 * i) for i in range(7)), 1.5, 2.4, 0.0,
    ),
}  # fmt: skip


class _Pose:
    """Where a car stands, and which of its faces the camera sees."""

    def __init__(self, body: Body, x: float, z: float, heading: float) -> None:
        self.x, self.z, self.length, self.half = x, z, body.length, body.width / 2
        self.fx, self.fz = sin(heading), cos(heading)
        self.end = -1 if x * self.fx + z * self.fz > 0 else 1
        across = z * self.fx - x * self.fz
        self.side = 1 if across > self.half else -1 if across < -self.half else 0

    def at(self, across: float, y: float, along: float) -> Point:
        """A point of the car in space; `across` is in half widths, `along` in lengths."""
        w, v = across * self.half, along * self.length
        return self.x + w * self.fz + v * self.fx, y, max(0.5, self.z - w * self.fx + v * self.fz)

    def quad(self, w0: float, w1: float, y0: float, y1: float, along: float) -> list[Point]:
        """A rectangle across the car."""
        at = self.at
        return [at(w0, y0, along), at(w1, y0, along), at(w1, y1, along), at(w0, y1, along)]

    def panel(self, w: float, v0: float, v1: float, y0: float, y1: float) -> list[Point]:
        """A rectangle along the car."""
        at = self.at
        return [at(w, y0, v0), at(w, y0, v1), at(w, y1, v1), at(w, y1, v0)]


def car(canvas: Canvas, rng: random.Random, x: float, z: float, heading: float, kind: str, parked: bool) -> None:
    """Paint a car whose middle stands at (x, z); heading 0 drives away from the camera, pi towards it."""
    body = BODIES[kind]
    paint = rng.choice(_LIVERIES if kind == "bus" else PAINTS)
    shine = 0.0 if parked else canvas.light.lamps
    braking = rng.random() < 0.5 and not parked
    scale = canvas.focal / z
    if canvas.outside(canvas.project(x, 0, z)[0], (body.length + 1) * scale):
        return
    pose = _Pose(body, x, z, heading)
    corners = [pose.at(w, 0, v) for w, v in ((-1.04, -0.52), (1.04, -0.52), (1.04, 0.52), (-1.04, 0.52))]
    canvas.shade([(p[0], p[2]) for p in corners], 0.72)
    if scale * 1.5 < 9:
        _far(canvas, body, pose, corners, paint, shine)
    else:
        _near(canvas, body, pose, paint, shine, braking)


def _near(canvas: Canvas, body: Body, pose: _Pose, paint: Color, shine: float, braking: bool) -> None:
    """A car large enough to show its parts: tyres, side, then the strips of its profile from far to near."""
    z, end, side, face = pose.z, pose.end, pose.side, canvas.face
    lit, haze = canvas.lit, canvas.light.haze
    top = canvas.upright(CAR, lit(paint, 0.0, 1.0, 0.0), z, "plain", pose.x)
    back = canvas.upright(CAR, lit(paint, pose.fx * end, 0.15, pose.fz * end), z, "plain", pose.x)
    black = canvas.upright(CAR, lit((0.05, 0.05, 0.055), 0, 0.3, -0.9), z)
    pane = canvas.upright(CAR, tuple(0.03 + (0.14 if end < 0 else 0.18) * h for h in haze), z)
    tyre = 0.24 / pose.half
    for along in (-0.31, 0.31):
        for w in (-1.0, 1.0 - tyre):
            face(black, pose.quad(w, w + tyre, 0, 0.5, along + end * 0.3 / body.length))
    low = body.profile[0][1]
    face(black, pose.quad(-0.9, 0.9, 0.16, low, end * 0.49))
    if side:
        _flank(canvas, body, pose, paint, black)
    strips = list(pairwise(body.profile))
    for (v0, y0, f0, cover), (v1, y1, f1, _) in strips if end > 0 else strips[::-1]:
        points = (pose.at(-f0, y0, v0), pose.at(f0, y0, v0), pose.at(f1, y1, v1), pose.at(-f1, y1, v1))
        pixels = [canvas.project(*p) for p in points]
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = pixels
        if (cx - ax) * (dy - by) - (cy - ay) * (dx - bx) >= 0:
            continue  # it faces away
        level = abs(y1 - y0) < abs(v1 - v0) * body.length * 0.5
        canvas.pen.polygon(pixels, black if cover == _BUMPER else top if level else back)
        if cover == _GLASS:
            canvas.pen.polygon(_inset(pixels), pane)
    if side:
        _wheels(canvas, body, pose, black)
    _lamps(canvas, body, pose, shine, braking)


def _inset(quad: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A quadrilateral drawn in by an eighth from its edges."""
    inner = []
    for k, (x, y) in enumerate(quad):
        (px, py), (qx, qy) = quad[k - 1], quad[(k + 1) % 4]
        inner.append((x + 0.11 * (px + qx - 2 * x), y + 0.11 * (py + qy - 2 * y)))
    return inner


def _flank(canvas: Canvas, body: Body, pose: _Pose, paint: Color, black: int) -> None:
    """The side of the car with its windows."""
    side, profile = pose.side, body.profile
    color = canvas.lit(paint, pose.fz * side, 0.1, -pose.fx * side)
    panel = canvas.upright(CAR, color, pose.z, "plain", pose.x)
    dim = canvas.upright(CAR, tuple(0.03 + 0.10 * h for h in canvas.light.haze), pose.z)
    canvas.face(black, pose.panel(side * 0.97, -0.48, 0.48, 0.16, profile[0][1]))
    canvas.face(panel, [pose.at(side * share, y, along) for along, y, share, _ in profile])
    for k, (v0, v1) in enumerate(body.panes):
        rear = body.slant if k == 0 else 0.0
        front = 2.2 * body.slant if k == len(body.panes) - 1 else 0.0
        sill = [pose.at(side * 0.955, body.sill, v0), pose.at(side * 0.955, body.sill, v1)]
        head = [pose.at(side * 0.83, body.head, v1 - front), pose.at(side * 0.83, body.head, v0 + rear)]
        canvas.face(dim, sill + head)


def _wheels(canvas: Canvas, body: Body, pose: _Pose, black: int) -> None:
    hub = canvas.upright(CAR, canvas.lit((0.42, 0.43, 0.45), 0, 0.3, -0.9), pose.z)
    r = body.wheel
    rings = ((black, r),) if canvas.focal * r / pose.z < 2.5 else ((black, r), (hub, r * 0.58))
    for along in (-0.31, 0.31):
        for surface, radius in rings:
            k = radius / body.length
            canvas.face(surface, [pose.at(pose.side, r + radius * s, along + k * c) for c, s in _RING])


def _shining(canvas: Canvas, end: int, z: float, shine: float, braking: bool) -> int:
    """The surface of tail lamps (end -1) or headlamps."""
    dull: Color = (0.75, 0.76, 0.76) if end > 0 else (0.95, 0.10, 0.06) if braking else (0.62, 0.05, 0.04)
    bright = _HEAD if end > 0 else _TAIL
    pairs = zip(canvas.lit(dull, 0, 0.2, -0.9), bright, strict=True)
    return canvas.upright(CAR, tuple(max(a, shine * b) for a, b in pairs), z)


def _lamps(canvas: Canvas, body: Body, pose: _Pose, shine: float, braking: bool) -> None:
    """The lamps and the number plate of the end that is seen."""
    end, edge = pose.end, pose.end * 0.503
    low = body.profile[1][1] + 0.10
    lamp = _shining(canvas, end, pose.z, shine, braking)
    for w in (-0.96, 0.66):
        canvas.face(lamp, pose.quad(w, w + 0.30, low, low + 0.2, edge))
        if shine:
            p = pose.at(w + 0.15, low + 0.1, edge)
            canvas.glow(*p, 0.14 if end < 0 else 0.18, _TAIL if end < 0 else _HEAD, lamp)
    plate: Color = (0.80, 0.66, 0.20) if end < 0 else (0.85, 0.85, 0.82)
    sign = canvas.upright(CAR, canvas.lit(plate, 0, 0.2, -0.9), pose.z)
    w = 0.26 / pose.half
    canvas.face(sign, pose.quad(-w, w, low - 0.22, low - 0.09, edge))


def _far(canvas: Canvas, body: Body, pose: _Pose, corners: list[Point], paint: Color, shine: float) -> None:
    """A car of a few pixels: shadow line, body, windows, lamps."""
    height, z = max(point[1] for point in body.profile), pose.z
    us = [canvas.project(p[0], 0, p[2])[0] for p in corners]
    left, right = min(us), max(us)
    foot, s, wide, pen = canvas.project(0, 0, z)[1], canvas.focal / z, right - left, canvas.pen
    roof, waist = foot - height * s, foot - height * 0.62 * s
    shell = canvas.upright(CAR, canvas.lit(paint, 0, 0.3, -0.9), z)
    black = canvas.upright(CAR, canvas.lit((0.05, 0.05, 0.05), 0, 0, -1), z)
    glass = canvas.upright(CAR, tuple(0.03 + 0.14 * h for h in canvas.light.haze), z)
    pen.rectangle((left, foot - 0.4 * s, right, foot), black)
    pen.rectangle((left, waist, right, foot - 0.3 * s), shell)
    slant = (left + 0.06 * wide, left + 0.18 * wide, right - 0.18 * wide, right - 0.06 * wide)
    pen.polygon(list(zip(slant, (waist, roof, roof, waist), strict=True)), shell)
    pen.rectangle((left + 0.2 * wide, roof + 0.15 * s, right - 0.2 * wide, waist), glass)
    lamp = _shining(canvas, pose.end, z, shine, True)
    for w in (-0.85, 0.85):
        p = pose.at(w, 0.75, pose.end * 0.5)
        pen.point(canvas.project(*p), lamp)
        if shine:
            canvas.glow(*p, 0.2, _TAIL if pose.end < 0 else _HEAD, lamp)
