"""Pointillism: a river in the afternoon, in dots of pure colour that mix in the eye."""

import numpy as np

from ._painting_canvas import Canvas, Ink, colours, mix, ramp, smooth
from ._painting_forms import below, bezier, blob, box, disc, height_of, ribbon, ridge

_GROUND = colours("efe2c4")[0]
_SKY = colours("5fa8dc a2d3e4 f2e6c0 f9c994")
_WATER = colours("f3cfa0 93c9d2 4a92c4 2a5fa4")
_GRASS = colours("d6d24a 86b83a 3f8a40 1f5f48")
_TREE = colours("e2d84e 7cb944 2f8a52 234a86")
_SHADE, _TRUNK, _GLINT, _FAR = colours("2f5a7a 6a3a6a ffefb0 8490c8")
_SAILS = colours("e8483a f58a2f 8a4a9a")
_CLOTHES = colours("d8343f 3a3f8f f6f0e0 7a3f8f e88a2a")
_PURE = colours("f25c3c f7b32b fbe36a 57b36a 2b7fc4 3f4fa8 9a4fa0 f39ab0")


def paint_pointillism(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Paint a river in dots, float32 (H, W, 3)."""
    guide = canvas.guide()
    horizon = rng.uniform(0.36, 0.42)
    colour = _river(guide, rng, horizon)
    bank = ridge(rng, guide, 1 - 0.2 * min(1, 1.6 * guide.short / guide.height), 0.03 * guide.short, 0.9)
    side = rng.choice([-1, 1])
    bank[:, 1] += side * 0.22 * min(guide.height, guide.short * 1.3) * (bank[:, 0] / guide.width - 0.5)
    colour = _bank(guide, rng, colour, bank, side)
    ink = Ink(canvas)
    for count, radius in ((7000, 0.0078), (9500, 0.0062), (10500, 0.0047)):
        at = guide.scatter(rng, count)
        ink.dots(at, radius * rng.uniform(0.75, 1.2, len(at)), _divide(rng, guide.sample(colour, at)))
    return ink.over(np.broadcast_to(_GROUND, (*canvas.size, 3)))


def _divide(rng, colour):
    """Split colours (N, 3) into livelier ones, lighter and darker, and now and then a pure pigment near them."""
    lively = colour + 0.4 * (colour - colour.mean(1, keepdims=True))
    lively = lively * (1 + 0.13 * rng.normal(size=(len(colour), 1)))
    distance = np.linalg.norm(colour[:, None] - _PURE, axis=-1) - 0.13 * rng.gumbel(size=(len(colour), len(_PURE)))
    share = np.where(rng.random(len(colour)) < 0.28, rng.uniform(0.4, 0.85, len(colour)), 0)
    return (lively + share[:, None] * (_PURE[distance.argmin(1)] - lively)).clip(0, 1)


def _river(guide, rng, horizon):
    """Paint sky, far hills, water and sails as colours (H, W, 3)."""
    x, y = guide.grid()
    down = y / guide.height
    cloud = guide.clouds(rng, 0.16, 4, 2.2) + 0 * x
    colour = mix(ramp(_SKY, down / horizon + 0 * x), colours("fffaf0")[0], 0.75 * smooth(0.3, 1.3, cloud))
    for lift, tint in ((0.035, _FAR), (0.015, _FAR * [0.8, 1.0, 0.85])):
        line = ridge(rng, guide, horizon - lift, 0.02 * guide.short, 0.45)
        colour = mix(colour, tint.astype(np.float32), guide.cover(below(line, guide)))
    depth = (down - horizon) / (1 - horizon)
    ripple = guide.noise(rng, 0.011, 8)
    water = mix(ramp(_WATER, 1.3 * depth + 0.16 * ripple), _GLINT, 0.8 * smooth(1.0, 1.6, guide.noise(rng, 0.007, 7)))
    colour = np.where((down > horizon)[..., None], water, colour)
    count = max(3, round(4 * guide.width))
    places = (np.arange(count) + rng.uniform(0.2, 0.8, count)) / count
    for across, away in zip(places, rng.permutation(np.linspace(0.03, 0.2, count)), strict=True):
        colour = _boat(guide, rng, colour, guide.at(across, horizon + away), guide.short * (0.035 + 0.3 * away))
    return colour


def _boat(guide, rng, colour, at, size):
    """Paint a sailing boat with its mirror image."""
    way = rng.choice([-1, 1])
    place = np.array([way, 1]) * size
    sail = np.concatenate(
        [bezier((0, -0.2), (0.15, -1.2), (0.05, -2.2)), bezier((0.05, -2.2), (0.75, -1.2), (0.95, -0.3))]
    )
    jib = np.array([(-0.1, -0.25), (-0.05, -1.9), (-0.75, -0.2)])
    hull = np.array([(-0.85, -0.15), (1.0, -0.15), (0.7, 0.2), (-0.6, 0.2)])
    tint = _SAILS[rng.integers(0, len(_SAILS))]
    for form, paint, share in (
        (sail * [1, -0.8] + [0, 0.25], tint, 0.45),
        (hull, _TRUNK, 1),
        (sail, tint, 1),
        (jib, tint * 0.88, 1),
    ):
        colour = mix(colour, paint, share * guide.cover(form * place + at))
    return colour


def _bank(guide, rng, colour, bank, side):
    """Paint the near bank with trees on its high side and people on the rest."""
    x, y = guide.grid()
    depth = (y - height_of(bank, x[0])) / guide.short
    tone = 2.0 * depth + 0.13 * guide.noise(rng, 0.03, 3)
    colour = mix(colour, ramp(_GRASS, tone), guide.cover(below(bank, guide)))

    def stand(share, forward):
        left = guide.width * (share if side > 0 else 1 - share)
        return np.array([left, height_of(bank, left) + forward * guide.short])

    for share in (np.arange(max(2, round(2.6 * guide.width))) + rng.uniform(0.1, 0.5)) * 0.17 / guide.width**0.5:
        tall = guide.short * rng.uniform(0.4, 0.52)
        colour = _tree(guide, rng, colour, stand(share, rng.uniform(0.04, 0.1)), tall)
    for share in np.sort(rng.uniform(0.45, 0.97, max(3, round(5 * guide.width)))):
        foot = stand(share, rng.uniform(0.05, 0.12))
        colour = _person(guide, rng, colour, foot, guide.short * rng.uniform(0.1, 0.125))
    return colour


def _tree(guide, rng, colour, foot, tall):
    """Paint a tree with a shadow, its crown lit from the upper left."""
    x, y = guide.grid()
    shadow = disc((0, 0), 1) * (0.5 * tall, 0.045 * tall) + foot + (0.3 * tall, 0.01)
    colour = mix(colour, _SHADE, 0.75 * guide.cover(shadow))
    trunk = bezier((0, 0.02), (0.05 * rng.normal(), -0.4), (0.05 * rng.normal(), -0.8)) * tall + foot
    colour = mix(colour, _TRUNK, guide.cover(ribbon(trunk, tall * np.linspace(0.1, 0.04, len(trunk)))))
    turns = rng.permutation(np.linspace(0, 2 * np.pi, 8)[:-1])
    ring = np.stack([0.2 * np.cos(turns), 0.16 * np.sin(turns) - 0.78], 1)
    for centre in np.concatenate([ring[ring[:, 1] > -0.8], ring[ring[:, 1] <= -0.8], [(0.0, -0.82)]]):
        middle = foot + tall * (centre + 0.025 * rng.normal(size=2))
        crown = guide.cover(blob(rng, middle, tall * rng.uniform(0.15, 0.2), 0.1))
        light = 0.45 + 2.0 * ((y - middle[1]) + 0.7 * (x - middle[0])) / tall
        colour = mix(colour, ramp(_TREE, light + 0.12 * guide.noise(rng, 0.02)), crown)
    return colour


def _person(guide, rng, colour, foot, tall):
    """Paint someone standing, and mostly a parasol."""
    dress, shade = _CLOTHES[rng.choice(len(_CLOTHES), 2, replace=False)]
    skirt = np.array([(-0.19, 0), (0.19, 0), (0.06, -0.5), (-0.06, -0.5)])
    parts = [
        (disc((0, 0), 1) * (0.3, 0.05) + (0.4, 0), _SHADE),
        (skirt, dress),
        (box(-0.085, -0.78, 0.085, -0.45), dress * 0.85),
        (disc((0, -0.87), 0.085), colours("f2b48a")[0]),
    ]
    if rng.random() < 0.7:
        turn = np.linspace(np.pi, 2 * np.pi, 20)
        dome = np.stack([0.36 * np.cos(turn) + 0.06, 0.26 * np.sin(turn) - 0.92], 1)
        parts += [(box(0.05, -0.95, 0.075, -0.5), _TRUNK), (dome, shade)]
    for form, tint in parts:
        colour = mix(colour, tint, guide.cover(form * tall + foot))
    return colour
