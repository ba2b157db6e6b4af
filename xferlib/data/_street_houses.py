"""Houses of the drawn streets: a front along the street, an end wall towards the camera, a roof."""

import random
from typing import NamedTuple

from ._street_canvas import BUILDING, Canvas
from ._street_light import Color

Ground = tuple[float, float]
_WALLS = (
    (0.56, 0.30, 0.22), (0.62, 0.40, 0.28), (0.70, 0.58, 0.40), (0.76, 0.70, 0.58), (0.78, 0.76, 0.70),
    (0.52, 0.48, 0.44), (0.66, 0.50, 0.42), (0.44, 0.26, 0.22), (0.60, 0.62, 0.60), (0.74, 0.64, 0.48),
    (0.62, 0.66, 0.68), (0.70, 0.46, 0.36), (0.80, 0.72, 0.52), (0.56, 0.62, 0.56),
)  # fmt: skip
_FASCIAS = (
    (0.42, 0.10, 0.12), (0.10, 0.24, 0.18), (0.12, 0.18, 0.34), (0.62, 0.48, 0.22), (0.30, 0.30, 0.32),
    (0.52, 0.26, 0.10), (0.18, 0.36, 0.40), (0.66, 0.62, 0.54),
)  # fmt: skip
_ROOFS = ((0.42, 0.20, 0.14), (0.30, 0.28, 0.28), (0.36, 0.24, 0.18), (0.24, 0.25, 0.28))
_BRICK = (0.45, 0.28, 0.22)
_STOREY, _SHOP = 3.2, 3.4  # metres

FRONTS = ("sash", "sash2", "shutters", "arches", "wide", "modern", "glass", "ribbons")
"""Names of the tiles that can cover a front."""


class House(NamedTuple):
    """A house: `near` and `far` are the ends (x, z) of its front, `side` is +1 to the right of the street."""

    side: int
    near: Ground
    far: Ground
    front: str
    storeys: int
    wall: Color
    trim: float
    roof: Color
    fascia: Color
    shop: str
    depth: float
    rise: float
    pitched: bool
    windowed: bool
    awning: bool
    chimney: bool

    @property
    def base(self) -> float:
        """Height of the shop, in metres."""
        return _SHOP if self.shop else 0.0

    @property
    def top(self) -> float:
        """Height of the front, in metres."""
        above = self.storeys - 1 if self.shop and self.storeys > 2 else self.storeys
        return self.base + _STOREY * above


def design(rng: random.Random, side: int, near: Ground, far: Ground, front: str, storeys: int, shops: bool) -> House:
    """Choose how a house looks; one in two has a shop where `shops` allows it."""
    return House(
        side, near, far, front, storeys,
        wall=rng.choice(_WALLS), trim=rng.uniform(0.5, 0.85), roof=rng.choice(_ROOFS), fascia=rng.choice(_FASCIAS),
        shop=rng.choice(("shop1", "shop2", "shop3")) if rng.random() < 0.55 and shops else "",
        depth=rng.uniform(8, 14), rise=rng.uniform(2.0, 3.6),
        pitched=rng.random() < 0.6 and storeys < 5, windowed=rng.random() < 0.35,
        awning=rng.random() < 0.35, chimney=rng.random() < 0.6,
    )  # fmt: skip


def _rise(canvas: Canvas, surface: int, a: Ground, b: Ground, low: float, high: float) -> None:
    """Paint the upright rectangle over the ground points a and b."""
    canvas.face(surface, [(a[0], low, a[1]), (b[0], low, b[1]), (b[0], high, b[1]), (a[0], high, a[1])])


def house(canvas: Canvas, plan: House) -> None:
    """Paint a house and cast its shadow."""
    _end(canvas, plan)
    front = canvas.wall(BUILDING, plan.wall, plan.near, plan.far, plan.front, plan.base)
    _rise(canvas, front, plan.near, plan.far, plan.base, plan.top)
    _trim(canvas, plan)
    _shadow(canvas, plan)


def _end(canvas: Canvas, plan: House) -> None:
    """The end wall, and the roof above it."""
    (x0, z0), (x1, z1), top, rise = plan.near, plan.far, plan.top, plan.rise
    out, side = plan.side * plan.depth, plan.side
    blank = "brick" if plan.front in ("sash", "wide") else "plain"
    end = canvas.wall(BUILDING, plan.wall, plan.near, (x0 + out, z0), plan.front if plan.windowed else blank)
    if not plan.pitched:
        _rise(canvas, end, plan.near, (x0 + out, z0), 0, top + 0.7)
        return
    ridge, peak = x0 + out / 2, top + rise
    tiles = canvas.slope(BUILDING, plan.roof, (x0, top, z0), (x1, top, z1), (ridge, peak, z0), "roof")
    eaves = [(x0 - side * 0.3, top - 0.1, z0), (x1 - side * 0.3, top - 0.1, z1)]
    canvas.face(tiles, [*eaves, (x1 + out / 2, peak, z1), (ridge, peak, z0)])
    canvas.face(end, [(x0, 0, z0), (x0 + out, 0, z0), (x0 + out, top, z0), (ridge, peak, z0), (x0, top, z0)])
    if plan.chimney:
        stack = canvas.wall(BUILDING, _BRICK, (ridge, z0), (ridge + side, z0), "brick")
        _rise(canvas, stack, (ridge - 0.5, z0), (ridge + 0.5, z0), top + rise * 0.7, peak + 1.3)


def _trim(canvas: Canvas, plan: House) -> None:
    """Cornice, shop and awning, where they are near enough to be seen."""
    near, far, tone = plan.near, plan.far, plan.trim
    if near[1] > 50:
        return
    band = canvas.wall(BUILDING, (tone, tone * 0.97, tone * 0.9), near, far, "plain")
    _rise(canvas, band, near, far, plan.top - 0.15, plan.top + (0.2 if plan.pitched else 0.75))
    if plan.shop:
        _rise(canvas, canvas.wall(BUILDING, plan.fascia, near, far, plan.shop), near, far, 0, _SHOP)
        _rise(canvas, band, near, far, _SHOP - 0.1, _SHOP + 0.1)
        if plan.awning and far[1] - near[1] > 5:
            _awning(canvas, plan)


def _awning(canvas: Canvas, plan: House) -> None:
    """A striped cloth over the pavement."""
    (x0, z0), (x1, z1), lip = plan.near, plan.far, -plan.side * 1.3
    step = (x1 - x0) * 0.1, (z1 - z0) * 0.1
    x0, z0, x1, z1 = x0 + step[0], z0 + step[1], x1 - step[0], z1 - step[1]
    bright = tuple(min(1.0, 1.5 * c) for c in plan.fascia)
    top, bottom = [(x0, 2.9, z0), (x1, 2.9, z1)], [(x1 + lip, 2.2, z1), (x0 + lip, 2.2, z0)]
    cloth = canvas.slope(BUILDING, bright, *top, bottom[1], "boards")
    canvas.face(cloth, top + bottom)
    canvas.face(cloth, [top[0], bottom[1], (x0, 2.2, z0)])


def _shadow(canvas: Canvas, plan: House) -> None:
    """The front and the end wall, slid along the sun's rays onto the ground."""
    light, (x0, z0), (x1, z1) = canvas.light, plan.near, plan.far
    if light.hardness > 0.05:
        reach = min(plan.top / max(0.25, light.sun[1]), 40.0)
        sx, sz, out = -light.sun[0] * reach, -light.sun[2] * reach, plan.side * plan.depth
        for a, b in (((x0, z0), (x1, z1)), ((x0, z0), (x0 + out, z0))):
            canvas.shade([a, b, (b[0] + sx, b[1] + sz), (a[0] + sx, a[1] + sz)], light.hardness)
