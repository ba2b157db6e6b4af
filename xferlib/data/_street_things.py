"""What stands beside the drawn streets: trees, hedges, lamps, posts, signs and fences.

Each function paints one thing onto a canvas; `x, z` is where it stands. Random choices are made first, and in the
same number whatever the size of the picture, so that a seed shows the same scene at every size.
"""

import random
from math import cos, hypot, sin

from ._street_canvas import FENCE, POLE, SIGN, TREE, Canvas
from ._street_light import Color

_SODIUM = (1.0, 0.78, 0.45)
_SIGNAL = ((0.95, 0.10, 0.06), (0.95, 0.62, 0.06), (0.10, 0.90, 0.45))
_TINTS = ((0.08, 0.22, 0.55), (0.08, 0.36, 0.22), (0.75, 0.62, 0.10))
_SHAPES = ("disc", "ring", "warning", "square", "board", "diamond")
# rails at shares of the height, metres between the uprights, width of an upright
_FENCES = {
    "railing": ((0.15, 1.0), 0.28, 0.035),
    "pickets": ((0.3, 0.8), 0.3, 0.14),
    "rail": ((0.55, 0.75, 0.95), 2.0, 0.12),
}


def tree(canvas: Canvas, rng: random.Random, x: float, z: float, height: float, season: str) -> None:
    """Paint a tree: "leafy", "autumn", "bare" or "conifer"."""
    spread, hue = rng.uniform(0.55, 0.85), rng.uniform(-1, 1)
    pick, drift = rng.randrange(30), [rng.uniform(-1, 1) for _ in range(4)]
    px, py = canvas.project(x, 0.0, z)
    s = canvas.focal / z
    if canvas.outside(px, height * 0.6 * s):
        return
    canvas.cast(x, z, 0.15, height * 0.5)
    color = canvas.lit((0.25 + 0.04 * hue, 0.21, 0.165), -0.3, 0.1, -0.9)
    bark = canvas.upright(TREE, color, z, "bark", x)
    if season == "bare":
        w = height * 0.42 * s
        canvas.stamp(f"bare{pick % 5}", px - w, py - height * s, px + w, py, bark)
        return
    radius = height * spread / 2
    middle, girth = (height - radius * 0.95) * s, max(0.12, height * 0.024) * s
    foot, fork = (px - girth, py, px + girth, py), (px + girth / 2, py - middle, px - girth / 2, py - middle)
    canvas.pen.polygon([*foot, *fork], bark)
    _shade_crown(canvas, x, z, height, radius, drift)
    if season == "conifer":
        green = canvas.upright(TREE, canvas.lit((0.085, 0.155, 0.095), -0.2, 0.5, -0.8), z, "leaves", drift[0])
        w, tall = height * 0.26 * s, height * s
        canvas.stamp(f"conifer{pick % 3}", px - w, py - tall, px + w, py - 0.04 * tall, green)
        return
    leaf = (0.17 + 0.05 * hue, 0.26 + 0.02 * hue, 0.085)
    if season == "autumn":
        leaf = (0.42 + 0.1 * hue, 0.24 + 0.06 * hue, 0.07)
    _crown(canvas, px, py - middle, radius * s, z, leaf, pick, drift)


def _crown(
    canvas: Canvas, px: float, py: float, radius: float, z: float, leaf: Color, pick: int, drift: list[float]
) -> None:
    """Three masks of leaves, from the dark below to the light above, each smaller."""
    layers = ((0.62, 0.1, 1.0, 0.0), (0.95, 0.5, 0.80, 0.16), (1.35, 1.0, 0.55, 0.34))
    for k, (tone, up, size, rise) in enumerate(layers if radius > 9 else layers[:2]):
        color = canvas.lit(tuple(c * tone for c in leaf), 0.0, up, -0.8)
        surface = canvas.upright(TREE, color, z, "leaves", drift[k])
        x, y = px + 0.16 * drift[k] * radius, py - rise * radius
        w, h = radius * size, radius * size * 0.95
        canvas.stamp(f"leafy{(pick + 3 * k) % 10}", x - w, y - h, x + w, y + h, surface)


def _shade_crown(canvas: Canvas, x: float, z: float, height: float, radius: float, drift: list[float]) -> None:
    """The shadow of a crown, a rough ellipse on the ground."""
    sun, strength = canvas.light.sun, 0.85 * canvas.light.hardness
    reach = height / max(0.3, sun[1]) * 0.65
    x, z = x - sun[0] * reach, z - sun[2] * reach
    if strength > 0.03 and z - radius > 1:
        ring = [(0.9 * k, radius * (1 + 0.25 * drift[k % 4])) for k in range(7)]
        canvas.shade([(x + r * cos(a), z + r * sin(a)) for a, r in ring], strength)


def bush(canvas: Canvas, rng: random.Random, x: float, z: float, size: float) -> None:
    """Paint a bush."""
    pick, hue = rng.randrange(10), rng.uniform(-1, 1)
    px, py = canvas.project(x, 0.0, z)
    s = canvas.focal / z * size
    if canvas.outside(px, s):
        return
    for k, (tone, up) in enumerate(((0.65, 0.2), (1.15, 0.8))):
        color = canvas.lit(((0.17 + 0.06 * hue) * tone, 0.25 * tone, 0.09 * tone), 0, up, -0.8)
        surface = canvas.upright(TREE, color, z, "leaves", hue + k)
        w = s * (1.0 - 0.3 * k)
        canvas.stamp(f"leafy{(pick + k) % 10}", px - w, py - s * 1.05, px + w, py + s * (0.25 - 0.4 * k), surface)


def block(
    canvas: Canvas, kind: int, color: Color, tile: str, p: tuple[float, float], q: tuple[float, float],
    height: float, deep: float,
) -> None:  # fmt: skip
    """Paint a hedge or a wall from ground point p = (x, z) to q, `deep` metres thick to the right."""
    (px, pz), (qx, qz) = p, q
    near = canvas.wall(kind, color, p, (px + deep, pz), tile)
    canvas.face(near, [(px, 0, pz), (px + deep, 0, pz), (px + deep, height, pz), (px, height, pz)])
    if height < canvas.eye - 0.05:
        cap = canvas.level(kind, canvas.lit(color, 0, 1, 0), height, tile)
        canvas.face(cap, [(px, height, pz), (qx, height, qz), (qx + deep, height, qz), (px + deep, height, pz)])
    long = canvas.wall(kind, color, p, q, tile)
    canvas.face(long, [(px, 0, pz), (qx, 0, qz), (qx, height, qz), (px, height, pz)])


def fence(
    canvas: Canvas, kind: str, color: Color, p: tuple[float, float], q: tuple[float, float], height: float
) -> None:
    """Paint a stretch of fence from ground point p = (x, z) to q: "railing", "pickets", "boards" or "rail"."""
    if kind == "boards":
        surface = canvas.wall(FENCE, color, p, q, "boards")
        canvas.face(surface, [(p[0], 0, p[1]), (q[0], 0, q[1]), (q[0], height, q[1]), (p[0], height, p[1])])
        return
    surface, pen, project = canvas.wall(FENCE, color, p, q, "plain"), canvas.pen, canvas.project
    rails, gap, width = _FENCES[kind]
    thick = max(1, round(0.1 * canvas.focal / (p[1] + q[1])))
    for share in rails:
        pen.line([project(p[0], height * share, p[1]), project(q[0], height * share, q[1])], surface, thick)
    seen = abs(project(q[0], 0, q[1])[0] - project(p[0], 0, p[1])[0])
    count = max(1, min(int(hypot(q[0] - p[0], q[1] - p[1]) / gap), int(seen / 3) + 1))
    for k in range(count + 1):
        x, z = p[0] + k / count * (q[0] - p[0]), p[1] + k / count * (q[1] - p[1])
        _stick(canvas, surface, x, z, height, width)


def _stick(canvas: Canvas, surface: int, x: float, z: float, height: float, width: float) -> float:
    """Paint an upright bar, at least one pixel wide; return the row of its top."""
    u, foot = canvas.project(x, 0.0, z)
    s = canvas.focal / z
    half = max(0.0, width * s - 1) / 2
    canvas.pen.rectangle((u - half, foot - height * s, u + half, foot), surface)
    return foot - height * s


def lamp(canvas: Canvas, rng: random.Random, x: float, z: float, toward: int) -> None:
    """Paint a street lamp: a lantern on its post, or an arm over the road (`toward` is +1 or -1)."""
    height, tone, lantern = rng.uniform(5.0, 8.5), rng.uniform(0.16, 0.5), rng.random() < 0.35
    if lantern:
        height *= 0.6
    px, _ = canvas.project(x, 0.0, z)
    s, pen = canvas.focal / z, canvas.pen
    if canvas.outside(px, 3 * s):
        return
    canvas.cast(x, z, 0.06, height)
    iron = canvas.upright(POLE, canvas.lit((tone, tone, tone * 1.03), -0.5, 0.1, -0.8), z)
    _stick(canvas, iron, x, z, 0.9, 0.26)
    top = _stick(canvas, iron, x, z, height, 0.13)
    if lantern:
        a, b, head = 0.2 * s, 0.12 * s, top - 0.5 * s
        pen.polygon([px - a, head, px + a, head, px + b, top, px - b, top], iron)
        canvas.glow(x, height + 0.25, z, 0.3, _SODIUM, iron)
        return
    reach, head = 1.6 * toward * s, top - 0.3 * s
    pen.line([px, top + 0.1 * s, px + reach / 2, top - 0.25 * s, px + reach, head], iron, max(1, round(0.09 * s)))
    pen.line([px + reach * 0.75, head, px + reach * 1.25, head], iron, max(1, round(0.2 * s)))
    canvas.glow(x + 1.6 * toward, height + 0.3, z, 0.35, _SODIUM, iron)


def post(canvas: Canvas, tone: float, x: float, z: float) -> None:
    """Paint a bollard."""
    canvas.cast(x, z, 0.08, 0.95)
    iron = canvas.upright(POLE, canvas.lit((tone, tone, tone), -0.5, 0.1, -0.8), z)
    _stick(canvas, iron, x, z, 0.95, 0.16)


def sign(canvas: Canvas, rng: random.Random, x: float, z: float) -> None:
    """Paint a traffic sign on its pole."""
    shape, height, size = rng.choice(_SHAPES), rng.uniform(2.1, 3.0), rng.uniform(0.27, 0.38)
    tint, bars = rng.choice(_TINTS), [rng.uniform(-0.6, 0.5) for _ in range(3)]
    px, _ = canvas.project(x, 0.0, z)
    r = size * canvas.focal / z
    if canvas.outside(px, 2 * r):
        return
    canvas.cast(x, z, 0.06, height)
    iron = canvas.upright(POLE, canvas.lit((0.42, 0.43, 0.44), -0.5, 0.1, -0.8), z)
    py = _stick(canvas, iron, x, z, height, 0.08)
    pen = canvas.pen
    colors = ((0.82, 0.82, 0.80), (0.68, 0.06, 0.06), (0.06, 0.06, 0.06), tint)
    white, red, black, paint = (canvas.upright(SIGN, canvas.lit(c, 0, 0.15, -1), z) for c in colors)
    if shape in ("disc", "ring"):
        pen.ellipse((px - r, py - r, px + r, py + r), red)
        if shape == "ring":
            pen.ellipse((px - r * 0.7, py - r * 0.7, px + r * 0.7, py + r * 0.7), white)
        bar = (px - r * 0.5, py - r * 0.16, px + r * 0.5, py + r * 0.16)
        pen.rectangle(bar, white if shape == "disc" else black)
    elif shape == "warning":
        for k, surface in ((r * 1.15, red), (r * 0.68, white)):
            pen.polygon([px - k, py + k * 0.8, px + k, py + k * 0.8, px, py - k * 1.1], surface)
    elif shape == "diamond":
        pen.polygon([px - r, py, px, py - r, px + r, py, px, py + r], paint)
    else:
        w = r * (1.0 if shape == "square" else 1.9)
        pen.rectangle((px - w, py - r, px + w, py + r), paint)
        for k, end in enumerate(bars):
            y = py + (k - 1) * r * 0.55
            pen.rectangle((px - w * 0.75, y - r * 0.1, px + w * end, y + r * 0.1), white)


def signal(canvas: Canvas, rng: random.Random, x: float, z: float) -> None:
    """Paint a traffic light: the pole is a pole, its head a sign."""
    phase = rng.randrange(3)
    px, _ = canvas.project(x, 0.0, z)
    s, pen, lit = canvas.focal / z, canvas.pen, canvas.lit
    canvas.cast(x, z, 0.08, 3.4)
    iron = canvas.upright(POLE, lit((0.16, 0.17, 0.18), -0.5, 0.1, -0.8), z)
    top = _stick(canvas, iron, x, z, 3.5, 0.13)
    black, rim = (canvas.upright(SIGN, lit(c, 0, 0.1, -1), z) for c in ((0.05, 0.05, 0.055), (0.72, 0.72, 0.70)))
    pen.rectangle((px - 0.26 * s, top - 0.08 * s, px + 0.26 * s, top + 1.08 * s), rim)
    pen.rectangle((px - 0.21 * s, top - 0.03 * s, px + 0.21 * s, top + 1.03 * s), black)
    for k, color in enumerate(_SIGNAL):
        lens = canvas.upright(SIGN, color if k == phase else tuple(0.14 * c for c in color), z)
        y, r = top + (0.2 + 0.3 * k) * s, 0.13 * s
        pen.ellipse((px - r, y - r, px + r, y + r), lens)
        if k == phase:
            canvas.glow(x, 3.3 - 0.3 * k, z, 0.16, color, lens)
