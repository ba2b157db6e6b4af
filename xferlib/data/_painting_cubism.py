"""Cubism: a guitar, bottle and fruit on a table, broken into shaded facets that do not quite fit together."""

import numpy as np
from scipy import ndimage

from ._painting_canvas import Canvas, Ink, colours, ramp
from ._painting_forms import bezier, box, disc, ribbon

_TONES = {
    "wall": colours("26323a 4f6b73 8ba3a0 d5d8c6"),
    "olive": colours("2c2a14 6a6430 a39a58 d8cf9a"),
    "cloth": colours("5a4632 a08a68 d9c7a0 f7eedb"),
    "wood": colours("3a1f12 8a4a1f c9803a f0c080"),
    "dark": colours("0f0e12 26222a 4a3f45 857468"),
    "green": colours("12261c 2c5a3c 5f9460 bcd09a"),
    "red": colours("4a0f12 a82a20 dd5f3a f5b088"),
    "gold": colours("5a3a0c b07f1c e8b83a fbe9a0"),
    "paper": colours("8a8070 cfc3a8 f2ead4 fffaf0"),
}
_NAMES = list(_TONES)


def paint_cubism(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Paint a still life in facets, float32 (H, W, 3)."""
    guide = canvas.guide(3)
    kind, edges = _scene(guide, rng)
    facets = _split(rng, box(0, 0, canvas.width, canvas.height), 95)
    number = np.maximum(canvas.number(facets) - 1, 0)
    x, y = canvas.grid()
    count = len(facets)
    middle = np.array([facet.mean(0) for facet in facets])
    reach = np.sqrt([_area(facet) for facet in facets])
    turn = rng.normal(size=count) * 0.16
    zoom = rng.uniform(0.85, 1.12, count)
    shift = 0.02 * rng.normal(size=(count, 2))
    u, v = x - middle[number, 0], y - middle[number, 1]
    c, s = (np.cos(turn) / zoom)[number], (np.sin(turn) / zoom)[number]
    at = np.stack([c * u - s * v, s * u + c * v], -1) + (middle + shift)[number]
    seen = guide.sample(kind, at)
    light = rng.uniform(0, 2 * np.pi, count)
    ramped = (u * np.cos(light)[number] + v * np.sin(light)[number]) / reach[number]
    tone = 0.52 + 0.5 * ramped + (0.12 * rng.normal(size=count))[number]
    brush = _brushwork(canvas, rng, u, v, light[number])
    tone += 0.085 * brush - 0.4 * guide.sample(edges, at)
    picture = np.zeros((*canvas.size, 3), np.float32)
    for k, name in enumerate(_NAMES):
        own = seen == k
        picture[own] = ramp(_TONES[name], tone[own])
    return _outlined(canvas, rng, picture, facets) * (1 + 0.03 * canvas.noise(rng, 0.004))[..., None]


def _outlined(canvas, rng, picture, facets):
    """Draw the sides of the facets, some strong and some faint."""
    ink = Ink(canvas)
    sides = np.concatenate([np.stack([facet, np.roll(facet, -1, 0)], 1) for facet in facets])
    tints = np.column_stack([np.tile((0.09, 0.07, 0.07), (len(sides), 1)), rng.choice([0.15, 0.5, 0.85], len(sides))])
    ink.lines(sides, tints, rng.uniform(0.0015, 0.004, len(sides)))
    return ink.over(picture)


def _scene(guide, rng):
    """Give what is seen at each pixel, and dark outlines."""
    forms = []
    for left in np.arange(-0.02, guide.width, 0.13):
        forms.append((box(left, -0.1, left + 0.13, guide.height + 0.1), rng.choice(["wall", "wall", "dark", "olive"])))
    rows, columns = (max(1, round(0.8 * side / guide.short)) for side in (guide.height, guide.width))
    for row in range(rows):
        top, bottom = guide.height * (row + 0.66) / rows, guide.height * (row + 1) / rows
        forms.append((np.array([(-0.05, top), (4, top - 0.2), (4, bottom), (-0.05, bottom)]), "cloth"))
        for k, left in enumerate(np.arange(0, guide.width, 0.22)):
            fold = [(left, top), (left + 0.09, top - 0.02), (left + 0.2, bottom), (left + 0.02, bottom)]
            forms.append((np.array(fold), "red" if k % 2 else "paper"))
        for column in range(columns):
            centre = guide.at((column + 0.5) / columns, (row + 0.5) / rows)
            forms += _still_life(rng, centre, 1.08 * min(guide.height / rows, guide.width / columns))
    over = guide.number([form for form, _ in forms])
    kinds = np.array([0, *(_NAMES.index(name) for _, name in forms)])
    edge = (ndimage.maximum_filter(over, 5) != ndimage.minimum_filter(over, 5)).astype(np.float32)
    return kinds[over], ndimage.gaussian_filter(edge, 1.5)


def _still_life(rng, centre, size):
    """Give the things on the table: (form, name of its colours), the farther first."""
    way = rng.choice([-1, 1])
    forms = [*_sheet(), *_bottle(rng), *_guitar(rng), *_bowl()]
    return [(form * [way * size, size] + centre, name) for form, name in forms]


def _sheet():
    """Give a sheet of music."""
    page = np.array([(-0.42, -0.12), (-0.1, -0.2), (0.0, 0.2), (-0.34, 0.28)])
    forms = [(page, "paper")]
    for k in np.linspace(0.15, 0.85, 9):
        left, right = page[0] + k * (page[3] - page[0]), page[1] + k * (page[2] - page[1])
        forms.append(
            (
                ribbon(np.linspace(left + 0.1 * (right - left), right - 0.1 * (right - left), 8), np.full(8, 0.007)),
                "dark",
            )
        )
    return forms


def _bottle(rng):
    """Give the parts of a bottle."""
    left = rng.uniform(0.2, 0.27)
    side = np.array([(0.085, 0.22), (0.085, -0.1), (0.03, -0.2), (0.03, -0.36)])
    glass = np.concatenate([side, side[::-1] * [-1, 1]]) + np.array([left, 0])
    label = box(left - 0.085, -0.03, left + 0.085, 0.13)
    cork = box(left - 0.026, -0.4, left + 0.026, -0.34)
    shine = box(left - 0.06, -0.1, left - 0.04, 0.2)
    return [(glass, "green"), (cork, "wood"), (label, "gold"), (shine, "paper")]


def _guitar(rng):
    """Give the parts of a leaning guitar."""
    tilt = rng.uniform(0.45, 0.7)
    outline = np.concatenate(
        [
            bezier((0, -0.3), (0.16, -0.32), (0.2, -0.14), (0.1, -0.06)),
            bezier((0.1, -0.06), (0.28, 0.02), (0.22, 0.3), (0, 0.3)),
        ]
    )
    body = np.concatenate([outline, (outline * [-1, 1])[::-1]])
    forms = [(body * 1.06, "dark"), (body, "wood"), (disc((0, -0.03), 0.065), "gold"), (disc((0, -0.03), 0.05), "dark")]
    forms += [
        (box(-0.028, -0.72, 0.028, -0.06), "dark"),
        (box(-0.05, -0.84, 0.05, -0.71), "red"),
        (box(-0.075, 0.15, 0.075, 0.18), "dark"),
    ]
    forms += [(box(k - 0.003, -0.8, k + 0.003, 0.17), "paper") for k in (-0.018, -0.006, 0.006, 0.018)]
    c, s = np.cos(tilt), np.sin(tilt)
    return [(form @ np.array([[c, s], [-s, c]]) + [-0.08, 0.14], name) for form, name in forms]


def _bowl():
    """Give a bowl of fruit."""
    bowl = np.concatenate([bezier((0.08, 0.2), (0.1, 0.38), (0.42, 0.38), (0.44, 0.2))])
    fruit = [
        (disc((left, 0.19 - 0.04 * (k % 2)), 0.062), name)
        for k, (left, name) in enumerate(((0.16, "red"), (0.26, "gold"), (0.36, "green")))
    ]
    return [*fruit, (bowl, "wall")]


def _split(rng, polygon, count):
    """Cut a convex polygon into convex facets, the largest first, mostly across their length."""
    facets = [polygon]
    areas = [_area(polygon)]
    while len(facets) < count:
        k = int(np.argmax(areas))
        facet = facets.pop(k)
        areas.pop(k)
        spread = facet - facet.mean(0)
        long = np.linalg.svd(spread, full_matrices=False)[2][0]
        turn = np.arctan2(long[1], long[0]) + 0.55 * rng.normal()
        side = (spread - 0.12 * rng.normal(size=2) * np.ptp(facet, axis=0)) @ [np.cos(turn), np.sin(turn)]
        if min(side.max(), -side.min()) <= 0:
            side = spread @ long
        for part in (_clip(facet, side), _clip(facet, -side)):
            facets.append(part)
            areas.append(_area(part) * rng.uniform(0.4, 1.0))
    return facets


def _area(polygon):
    """Give the area of a polygon (N, 2)."""
    x, y = polygon.T
    return abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2


def _clip(polygon, side):
    """Keep of a convex polygon (N, 2) the part where the side (N,) of a line is positive."""
    kept = []
    for a, b, p, q in zip(polygon, np.roll(polygon, -1, 0), side, np.roll(side, -1), strict=True):
        if p >= 0:
            kept.append(a)
        if p * q < 0:
            kept.append(a + (b - a) * p / (p - q))
    return np.array(kept)


def _brushwork(canvas, rng, u, v, turn):
    """Give short brush marks across the light of each facet, (H, W)."""
    field = ndimage.gaussian_filter(rng.standard_normal((256, 256)), (1, 6), mode="wrap").astype(np.float32)
    c, s = np.cos(turn), np.sin(turn)
    across, along = c * u + s * v, c * v - s * u
    fine = max(1.0, 150 * 2 / canvas.unit)
    return ndimage.map_coordinates(field / field.std(), [across * 330, along * 330], order=1, mode="grid-wrap") / fine
