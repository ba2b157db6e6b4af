"""Impasto: thick oil that follows a flow field, a windy night by the sea."""

import numpy as np
from scipy import ndimage

from ._painting_canvas import Canvas, Ink, colours, mix, ramp, smooth
from ._painting_forms import below, bezier, box, height_of, ridge, trace

_SKY = colours("1b1548 27388f 2f6fc4 4fb0d0 a9dccb f3d9a0")
_GLOW = colours("fffbe0 ffe680 ffc93c c9cf7a 66b0b0")
_SEA = colours("0a2540 0f4a6b 15808f 4fb8a8 a8dcc0")
_CAPE = colours("1a1f3a 4a2f5a 8a5a6a c79a6a")
_GRASS = colours("10281f 25583a 5b8a35 b9b545 e6d070")
_FLOWERS = colours("e8402f f2705a fff2d8 f7c83f d65a9a")
_WHITE, _RED, _HULL, _SAIL = colours("f4ead6 d8432f 5a2430 f3a45a")
_HORIZON = 0.57


def paint_impasto(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Paint a night by the sea in thick strokes, float32 (H, W, 3)."""
    guide = canvas.guide()
    moon = guide.at(rng.uniform(0.55, 0.82), rng.uniform(0.15, 0.27))
    colour, angle, detail = _sky(guide, rng, moon)
    colour, angle = _sea(guide, rng, moon, colour, angle)
    colour, angle, detail = _headland(guide, rng, colour, angle, detail)
    colour, angle, detail = _boats(guide, rng, colour, angle, detail)
    colour, angle, flowers = _meadow(guide, rng, colour, angle)
    paint = Ink(canvas)
    paint.fill([box(-1, -1, 4, 4)], [_SKY[0]])
    for count, length, width, floor in ((1000, 0.17, 0.034, 0), (2600, 0.1, 0.017, 0), (3400, 0.04, 0.009, 0.3)):
        middles = guide.scatter(rng, count)
        middles = middles[guide.sample(detail, middles) >= floor]
        spines = trace(guide, angle, middles, length * rng.uniform(0.6, 1.3, len(middles)), 7)
        _stroke(paint, rng, spines, guide.sample(colour, middles), width)
    turn = rng.uniform(0, np.pi, len(flowers))
    reach = 0.007 * np.stack([np.cos(turn), np.sin(turn)], 1)
    dabs = np.stack([flowers - reach, flowers + reach], 1)
    _stroke(paint, rng, dabs, _FLOWERS[rng.integers(0, len(_FLOWERS), len(dabs))], 0.015)
    return _lit(canvas, paint.over(np.zeros((*canvas.size, 3), np.float32)))


def _sky(guide, rng, moon):
    """Give colour, angle of the strokes and detail of the sky: a moon, stars and swirls of air."""
    x, y = guide.grid()
    places = zip(rng.permutation(np.linspace(0.05, 0.95, 10)), rng.uniform(0.05, 0.45, 10), strict=True)
    cape = guide.at(0.09, _HORIZON - 0.2)
    stars = [
        star
        for star in (guide.at(*place) for place in places)
        if np.hypot(*(star - moon)) > 0.32 * guide.short and np.hypot(*(star - cape)) > 0.3 * guide.short
    ]
    swirls = [guide.at(rng.uniform(0.15, 0.4), rng.uniform(0.15, 0.35)), guide.at(rng.uniform(0.45, 0.65), 0.4)]
    angle = 0.35 * guide.noise(rng, 0.3) + 0.15
    dx, dy = np.cos(angle), np.sin(angle)
    pulls = [(moon, 0.2, 1), (swirls[0], 0.2, 1), (swirls[1], 0.14, -1), *((star, 0.06, 1) for star in stars)]
    for (left, top), reach, way in pulls:
        u, v = x - left, y - top
        r = np.hypot(u, v) + 1e-4
        pull = 3 * np.exp(-((r / (reach * guide.short)) ** 2)) / r
        dx, dy = dx + pull * (0.25 * u - way * v), dy + pull * (0.25 * v + way * u)
    angle = np.arctan2(dy, dx)
    colour = ramp(_SKY, 0.1 + 1.2 * y / guide.height + 0.14 * _streaks(guide, angle, rng))
    detail = np.zeros(guide.size)
    for (left, top), core, halo in [(moon, 0.075, 0.2), *((star, 0.017, 0.075) for star in stars)]:
        r = np.hypot(x - left, y - top) / guide.short
        glow = np.exp(-((r / halo) ** 3)) * (0.85 + 0.15 * np.cos(r / halo * 16))
        colour = mix(colour, ramp(_GLOW, r / halo * 0.85), glow)
        colour = mix(colour, _GLOW[0], smooth(core * 1.2, core * 0.9, r))
        detail = np.maximum(detail, np.exp(-((r / halo) ** 2)))
    return colour, angle, detail


def _streaks(guide, angle, rng):
    """Smear noise along a field of angles: unit variance (H, W)."""
    noise = guide.noise(rng, 0.025)
    rows, columns = np.indices(guide.size, np.float32)
    total = noise.copy()
    for way in (-4, 4):
        row, column, turn = rows, columns, angle
        for _ in range(6):
            row, column = row + way * np.sin(turn), column + way * np.cos(turn)
            i = row.astype(int).clip(0, guide.size[0] - 1), column.astype(int).clip(0, guide.size[1] - 1)
            turn = angle[i]
            total += noise[i]
    return total / total.std()


def _sea(guide, rng, moon, colour, angle):
    """Lay the sea under the sky, with the moon's road on it."""
    x, y = guide.grid()
    level = _HORIZON * guide.height
    depth = (y - level) / guide.short
    inside = np.broadcast_to(depth > 0, guide.size)
    swell = guide.noise(rng, 0.02, 5)
    tone = 0.2 + 0.75 * np.exp(-depth.clip(0) * 5) + 0.17 * swell
    road = np.exp(-(((x - moon[0]) / (0.035 + 0.16 * depth.clip(0)) / guide.short) ** 2)) * smooth(-0.5, 0.4, swell)
    sea = mix(ramp(_SEA, tone), ramp(_GLOW, 0.25 + 0.4 * depth), 0.95 * road)
    field = 0.35 * np.sin(depth * 60 + 2.5 * guide.noise(rng, 0.12)) * smooth(0, 0.1, depth)
    return np.where(inside[..., None], sea, colour), np.where(inside, field, angle)


def _headland(guide, rng, colour, angle, detail):
    """Raise a cape with a lighthouse on the left."""
    t = np.linspace(0, 1, 40)
    reach, tall = 0.36 * guide.width, 0.15 * guide.short
    level = _HORIZON * guide.height
    rough = 1 + 0.12 * np.sin(14 * t + rng.uniform(0, 6))
    line = np.stack([t * reach - 0.02, level + 0.01 - tall * (1 - t**2) * rough], 1)
    cape = np.concatenate([line, [(-0.02, level + 0.01)]])
    y = guide.grid()[1]
    inside = guide.cover(cape)
    colour = mix(colour, ramp(_CAPE, (level - y) / tall + 0.2 * guide.noise(rng, 0.03)), inside)
    angle, detail = np.where(inside > 0.5, 0.9 + 0.4 * guide.noise(rng, 0.1), angle), np.maximum(detail, inside)
    foot = line[14] + [0, 0.01]
    size = 0.17 * guide.short
    tower = np.array([(-0.17, 0), (0.17, 0), (0.12, -1), (-0.12, -1)]) * size + foot
    lamp = foot - [0, 1.08 * size]
    cap = np.array([(-0.17, -1.18), (0.17, -1.18), (0, -1.5)]) * size + foot
    for form, tint in ((tower, _WHITE), (box(*(lamp - 0.1 * size), *(lamp + 0.1 * size)), _GLOW[1]), (cap, _RED)):
        inside = guide.cover(form)
        band = (y > foot[1] - 0.66 * size) & (y < foot[1] - 0.33 * size) & (form is tower)
        colour = mix(colour, np.where(band[..., None], _RED, tint), inside)
        angle, detail = np.where(inside > 0.5, 0.1, angle), np.maximum(detail, inside)
    return colour, angle, detail


def _boats(guide, rng, colour, angle, detail):
    """Set sailing boats on the sea."""
    count = max(2, round(2.6 * guide.width))
    for across, down in zip(
        np.linspace(0.3, 0.93, count), rng.permutation(np.linspace(0.06, 0.22, count)), strict=True
    ):
        at = guide.at(across + rng.uniform(-0.04, 0.04), _HORIZON + down)
        size = guide.short * (0.06 + 0.4 * down)
        way = rng.choice([-1, 1])
        hull = np.array([(-0.6, -0.12), (0.75, -0.18), (0.5, 0.16), (-0.45, 0.16)])
        sails = [
            bezier((0.02, -0.2), (0.5, -0.7), (0.05, -1.7)),
            np.array([(-0.06, -0.2), (-0.06, -1.5), (-0.6, -0.25)]),
        ]
        parts = [(hull, _HULL, 0.0), (sails[0], _SAIL, -1.45), (sails[1], _SAIL * 0.8, -1.2)]
        for form, tint, turn in parts:
            inside = guide.cover(form * [way * size, size] + at)
            colour = mix(colour, tint, inside)
            angle, detail = np.where(inside > 0.5, way * turn, angle), np.maximum(detail, inside)
    return colour, angle, detail


def _meadow(guide, rng, colour, angle):
    """Lay a meadow in front; give the middles of its flowers, (N, 2)."""
    line = ridge(
        rng, guide, 1 - 0.14 * min(1, 2 * guide.short / guide.height), 0.03 * guide.short, 0.9 * guide.short, 0.35
    )
    line[:, 1] -= 0.12 * guide.short * rng.choice([-1, 1]) * (line[:, 0] / guide.width - 0.5)
    x, y = guide.grid()
    depth = (y - height_of(line, x[0])) / guide.short
    inside = guide.cover(below(line, guide))
    colour = mix(colour, ramp(_GRASS, 0.85 - 3.5 * depth + 0.2 * guide.noise(rng, 0.04)), inside)
    angle = np.where(inside > 0.5, -1.25 + 0.45 * guide.noise(rng, 0.15), angle)
    at = guide.scatter(rng, 900)
    return colour, angle, at[(guide.sample(inside * smooth(0.0, 0.03, depth), at) > rng.uniform(0.5, 1.6, len(at)))]


def _stroke(paint, rng, spines, colour, width):
    """Draw strokes of five bristles along their spines (N, P, 2)."""
    count, bristles = len(spines), 5
    along = np.gradient(spines, axis=1)
    normal = np.stack([-along[..., 1], along[..., 0]], -1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    offsets = width * (np.arange(bristles) / bristles - 0.4)
    lines = spines[:, None] + normal[:, None] * offsets[:, None, None]
    tint = colour * (1 + 0.1 * rng.normal(size=(count, 1))) + 0.03 * rng.normal(size=(count, 3))
    tint = tint[:, None] * (1 + 0.12 * rng.normal(size=(count, bristles, 1)))
    paint.lines(lines.reshape(-1, *spines.shape[1:]), tint.clip(0, 1).reshape(-1, 3), 1.4 * width / bristles)


def _lit(canvas, picture):
    """Let light from the upper left fall on the paint, whose relief follows its tone."""
    relief = ndimage.gaussian_filter(np.log(picture.mean(-1) + 0.05), 0.0016 * canvas.unit)
    slope = np.gradient(relief, axis=0) + np.gradient(relief, axis=1)
    shine = np.tanh(slope * canvas.unit / 160)[..., None]
    return picture * (1 + 0.25 * shine.clip(None, 0)) + 0.16 * shine.clip(0)
