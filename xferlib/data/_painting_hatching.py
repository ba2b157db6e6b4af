"""Hatching: pen and ink on paper, lines along the forms and across each other where it is darker."""

import numpy as np

from ._painting_canvas import Canvas, Ink, colours, smooth
from ._painting_forms import disc, height_of, peaks, ridge

_PAPER, _INK = colours("f2e8d0 1b1822")
_LAYERS = ((0.0, 0.1, 0.0085), (0.7, 0.36, 0.0085), (-0.75, 0.55, 0.0085), (1.5, 0.74, 0.0085))


def paint_hatching(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Draw mountains under a moon in ink, float32 (H, W, 3)."""
    guide = canvas.guide()
    ink = Ink(canvas)
    moon = guide.at(rng.uniform(0.25, 0.75), rng.uniform(0.17, 0.25))
    lands = _lands(guide, rng)
    x, y = guide.grid()
    r = np.hypot(x - moon[0], y - moon[1]) / guide.short
    tone = 0.62 * smooth(0.1, 0.75, r) + 0.13 + 0.13 * guide.clouds(rng, 0.16, 3, 3)
    sky = np.where(r < 0.105, 0, tone)
    for line, *_ in lands:
        sky = np.where(y > height_of(line, x[0]), 0, sky)
    far = np.hypot(max(moon[0], guide.width - moon[0]), 0.6 * guide.height)
    _hatch(ink, guide, rng, sky, lambda uv: _around(moon, uv), (0.1 * guide.short, far), (0, 2 * np.pi + 0.016))
    _line(ink, rng, [disc(moon, 0.1 * guide.short, 90)], 0.003)
    for k, land in enumerate(lands):
        hidden = [height_of(line, x[0]) for line, *_ in lands[k + 1 :]]
        _land(ink, guide, rng, land, np.min(hidden, axis=0) if hidden else np.full(x.shape[1], 9.0))
    grain = canvas.noise(rng, 0.004) + canvas.noise(rng, 0.05)
    return ink.over(_PAPER * (1 + 0.018 * grain)[..., None])


def _around(moon, uv):
    """Map radius and turn about the moon to points."""
    return moon + uv[..., :1] * np.stack([np.cos(uv[..., 1]), np.sin(uv[..., 1])], -1)


def _lands(guide, rng):
    """Give mountains and hills, the farther first: line, darkness, slant of the hatching, and if firs grow."""
    short = guide.short
    return [
        (peaks(rng, guide, 0.46, 0.15 * short, 0.55 * short**0.5), 0.34, 0.5, False),
        (peaks(rng, guide, 0.58, 0.08 * short, 0.45 * short**0.5), 0.5, -0.5, False),
        (ridge(rng, guide, 0.7, 0.04 * short, 0.7 * short), 0.3, 0.9, True),
        (ridge(rng, guide, 0.87, 0.035 * short, 0.9 * short), 0.42, -0.9, True),
    ]


def _land(ink, guide, rng, land, hidden):
    """Draw one of the lands as far as nearer ones, whose upper edge is at y = `hidden` (W,), do not cover it."""
    line, dark, slant, firs = land
    x, y = guide.grid()
    top = height_of(line, x[0])
    depth = (y - top) / guide.short
    slope = np.gradient(top) * guide.unit
    lit = dark - 0.42 * np.tanh(1.6 * slant * slope) * np.exp(-depth.clip(0) / 0.25)
    tone = lit + 0.3 * np.exp(-depth.clip(0) / 0.03) - 0.5 * depth.clip(0, 0.3) + 0.1 * guide.clouds(rng, 0.08, 3)
    tone = np.where((depth > 0) & (y < hidden), tone.clip(0.14), 0)

    def down(uv):
        left = uv[..., 0] + slant * uv[..., 1]
        return np.stack([left, height_of(line, uv[..., 0]) + uv[..., 1]], -1)

    _hatch(ink, guide, rng, tone, down, (-0.8, guide.width + 0.8), (0, max(0.6, 0.4 * guide.height)))
    _line(ink, rng, [line[height_of(np.stack([x[0], hidden], 1), line[:, 0]) > line[:, 1]]], 0.0034)
    if firs:
        for left in rng.uniform(0, guide.width, round(16 * guide.width)):
            foot = np.array([left, height_of(line, left) + rng.uniform(-0.002, 0.05) * guide.short])
            if foot[1] < np.interp(left, x[0], hidden):
                _fir(ink, rng, foot, guide.short * rng.uniform(0.06, 0.15))


def _hatch(ink, guide, rng, tone, to_points, range_u, range_v):
    """
    Draw layers of hatching, each turned against the first and only where the tone (H, W) is darker.

    Lines run along v of coordinates (u, v), which `to_points` maps to the canvas.
    """
    middle = np.array([np.mean(range_u), np.mean(range_v)])
    for turn, floor, gap in _LAYERS:
        stretch = np.array([1.0, 1.0]) if range_v[1] < 2 else np.array([1.0, 0.45])
        half = np.hypot(*(np.array([np.ptp(range_u), np.ptp(range_v)]) * stretch)) / 2
        rows = np.arange(-half, half, gap)
        rows = rows + 0.12 * gap * rng.normal(size=len(rows))
        along = np.arange(-half, half, 0.006)
        c, s = np.cos(turn), np.sin(turn)
        uv = np.stack([c * rows[:, None] - s * along, s * rows[:, None] + c * along], -1) / stretch + middle
        fits = ((uv >= [range_u[0], range_v[0]]) & (uv <= [range_u[1], range_v[1]])).all(-1)
        points = to_points(uv) + 0.0008 * rng.normal(size=uv.shape)
        fits &= (
            (points > -0.01).all(-1) & (points[..., 0] < guide.width + 0.01) & (points[..., 1] < guide.height + 0.01)
        )
        dark = guide.sample(tone, points) * fits
        _dashes(ink, rng, points, dark, floor)


def _dashes(ink, rng, points, dark, floor):
    """Draw the parts of lines (R, P, 2) where it is darker than the floor, lifting the pen now and then."""
    down = dark > floor + 0.05 * rng.normal(size=(len(dark), 1))
    down &= (dark > 0) & (rng.random(down.shape) > 0.03)
    down[:, 0] = down[:, -1] = False
    turns = np.diff(down.ravel().astype(np.int8), prepend=0)
    flat, tone = points.reshape(-1, 2), dark.ravel()
    lines, widths = [], []
    for start, stop in zip(np.flatnonzero(turns == 1), np.flatnonzero(turns == -1), strict=True):
        if stop - start > 1:
            lines.append(flat[start:stop])
            widths.append(0.0012 + 0.0024 * (tone[(start + stop) // 2] - floor))
    if lines:
        ink.lines(lines, [(*_INK, 0.9)], np.array(widths) * rng.uniform(0.8, 1.2, len(widths)))


def _line(ink, rng, lines, width):
    """Draw outlines, twice each and not quite on the same way."""
    for line in lines:
        for wide in (width, 0.5 * width):
            ink.lines([line + 0.0012 * rng.normal(size=line.shape)], [_INK], [wide])


def _fir(ink, rng, foot, tall):
    """Draw a fir as a trunk with hanging branches on paper of its own."""
    ink.fill([np.array([(-0.26, -0.05), (0, -1.0), (0.26, -0.05)]) * tall + foot], [_PAPER])
    share = np.linspace(0.04, 0.98, max(8, int(tall / 0.006)))
    branches = []
    for side in (-1, 1):
        reach = side * (0.04 + 0.3 * share) * rng.uniform(0.6, 1.15, len(share))
        tip = np.stack([reach, 0.12 * share + 0.03 * rng.normal(size=len(share))], 1)
        root = np.stack([0 * share, share - 1], 1)
        branches.append(np.stack([root, root + 0.55 * tip - [0, 0.01], root + tip], 1))
    branches = np.concatenate(branches) * tall + foot
    width = np.where(np.arange(len(branches)) < len(share), 0.0022, 0.0036)
    ink.lines(branches, [_INK], width)
    ink.lines([np.array([(0, -1), (0.003, 0.06)]) * tall + foot], [_INK], [0.004])
