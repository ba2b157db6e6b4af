"""Woodcut: a sea of curling waves under a red sun, printed in a few inks on fibrous paper."""

import numpy as np

from ._painting_canvas import Canvas, Ink, colours, mix, smooth
from ._painting_forms import below, bezier, box, disc, peaks, ribbon

_PAPER, _INDIGO, _BLUE, _PALE, _RED, _ROSE = colours("f2e5c9 14233f 2b5a8c 9cc0c6 c93e2c e6ae8c")


def paint_woodcut(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Print the sea, float32 (H, W, 3)."""
    down = canvas.grid()[1] / canvas.height
    fibres = canvas.noise(rng, 0.0035, 6) + 0.7 * canvas.noise(rng, 0.003)
    grain = canvas.noise(rng, 0.005, 40) + 0.6 * canvas.noise(rng, 0.012, 25)
    paper = _PAPER * (1 + 0.02 * fibres[..., None])
    rings = np.sin(260 * canvas.grid()[1] + 9 * canvas.clouds(rng, 0.45, 2, 4))
    paper *= (1 - 0.055 * smooth(0.2, 1, rings))[..., None]
    sky = mix(paper, _BLUE, 0.9 * smooth(0.2, -0.02, down + 0.008 * grain) * (1 + 0.04 * grain))
    sky = mix(sky, _ROSE, 0.75 * smooth(0.22, 0.5, down + 0.01 * grain))
    ink = Ink(canvas)
    ink.fill([disc(canvas.at(rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.28)), 0.14 * canvas.short, 90)], [_RED])
    _clouds(ink, canvas, rng)
    _mountain(ink, canvas, rng)
    size = canvas.short**0.6
    level = 0.57 * canvas.height
    while level < canvas.height:
        scale = size * (0.1 + 0.17 * (level / canvas.height - 0.57) / 0.3)
        _row(ink, canvas, rng, level, scale)
        level += 0.05 * size + 0.5 * scale
    _wave(ink, rng, canvas.at(rng.uniform(0.1, 0.4), 1.02), 0.52 * size, rng.choice([-1, 1]))
    _row(ink, canvas, rng, canvas.height, 0.24 * size)
    colour, cover = ink.layer()
    printed = 1 - (0.35 * smooth(1.5, 2.8, grain) + 0.05 * np.abs(fibres)).clip(0, 1)
    inked = colour * (1 + 0.03 * grain[..., None])
    return mix(sky, mix(paper, inked, printed), cover[..., 0])


def _clouds(ink, canvas, rng):
    """Draw bars of cloud."""
    for _ in range(round(7 * max(canvas.width, canvas.height))):
        left, top = canvas.at(rng.uniform(-0.1, 0.9), rng.uniform(0.05, 0.42))
        for k in range(rng.integers(2, 5)):
            start = left + rng.uniform(-0.1, 0.1)
            bar = np.array([(start, top), (start + rng.uniform(0.12, 0.34), top)]) + np.array([0, 0.0135 * k])
            ink.lines([bar], [_PAPER], [0.011])


def _mountain(ink, canvas, rng):
    """Draw a far ridge with snow and lines that run down it."""
    line = peaks(rng, canvas, 0.46, 0.075 * canvas.short, 0.6)
    ink.fill([below(line, canvas)], [_PALE])
    lines, widths = [], []
    for left in np.arange(-0.1, canvas.width, 0.0085):
        top, fall = np.interp([left, left + 0.01], *line.T)
        reach = canvas.short**0.5 * rng.uniform(0.01, 0.05) * (1.0 if fall > top else 0.25)
        lines.append([(left, top), (left + 0.9 * reach, top + reach)])
        widths.append(rng.uniform(0.0015, 0.0035))
    ink.lines(lines, [_BLUE], widths)
    ink.lines([line], [_INDIGO], [0.0045])


def _row(ink, canvas, rng, level, size):
    """Draw a row of waves that break to the same side."""
    way = rng.choice([-1, 1])
    step = 1.0 * size
    ink.fill([box(-1, level + 0.1 * size, 4, 4)], [_BLUE])
    places = np.arange(-1.5, canvas.width / step + 1.5) + rng.uniform(-0.2, 0.2)
    for place in places[::-way]:
        foot = np.array([(place + 0.15 * rng.normal()) * step, level + 0.25 * size])
        _wave(ink, rng, foot, size * rng.uniform(0.72, 1.15), way)


def _wave(ink, rng, foot, size, way):
    """Draw one curling wave; its lines run from the back's edge to the hollow's and meet in the tip."""
    back = np.concatenate(
        [
            bezier((-0.7, 0), (0, 0.05), (0, 0.95), (0.45, 1)),
            bezier((0.45, 1), (0.8, 1.04), (1, 0.85), (0.93, 0.58))[1:],
        ]
    )
    hollow = np.concatenate(
        [
            bezier((1.2, 0), (0.5, 0.03), (0.33, 0.4), (0.5, 0.62)),
            bezier((0.5, 0.62), (0.6, 0.8), (0.83, 0.78), (0.93, 0.58))[1:],
        ]
    )
    place = np.array([way, -1]) * size
    back, hollow = back * place + foot, hollow * place + foot
    ground = np.array([(1.7, 0), (1.7, -1.5), (-1.2, -1.5), (-1.2, 0)]) * place + foot
    ink.fill([np.concatenate([back, hollow[::-1], ground])], [_BLUE])
    taper = np.sin(np.linspace(0.12, np.pi, len(back))).clip(0) ** 0.8
    shares = np.linspace(0.06, 0.95, 10)
    lines = [ribbon((1 - t) * back + t * hollow, (0.03, 0.052)[k % 2] * size * taper) for k, t in enumerate(shares)]
    lines += [ribbon(edge, 0.024 * size * (0.4 + 0.6 * taper)) for edge in (back, hollow)]
    ink.fill(lines, [*[_INDIGO, _PALE] * 5, _INDIGO, _INDIGO])
    _swell(ink, rng, foot, size, way)
    _foam(ink, rng, back, hollow, place, foot, size)


def _swell(ink, rng, foot, size, way):
    """Draw the lines of the water at the wave's foot."""
    t = np.linspace(0, 1, 16)
    lines = []
    for k in range(7):
        left = rng.uniform(-1.1, 0.6)
        line = np.stack([left + t * rng.uniform(0.5, 1.0), -0.08 - 0.085 * k - 0.05 * np.sin(np.pi * t)], 1)
        lines.append(ribbon(line * [way * size, -size] + foot, 0.026 * size * np.sin(np.pi * t)))
    ink.fill(lines, [_PALE, _INDIGO])


def _foam(ink, rng, back, hollow, place, foot, size):
    """Draw foam along the lip: claws that hang from it, scallops on it, and spray ahead."""
    lip = np.concatenate([back[20:], hollow[:26:-1]])
    claws = []
    for at in lip[2::2]:
        reach = 0.09 * size * rng.uniform(0.6, 1.3)
        turn = -0.5 + 0.7 * rng.normal()
        tip = at + reach * np.array([np.sign(place[0]) * np.cos(turn), -np.sin(turn)])
        curl = (at + tip) / 2 + 0.3 * reach * rng.normal(size=2)
        claws.append(
            ribbon(bezier(tuple(at), tuple(curl), tuple(tip), count=10), 0.06 * size * np.linspace(1, 0.05, 10))
        )
    count = round(len(lip) * (1.5 + 6 * size))
    scallops = lip[rng.permutation(count) % len(lip)] + 0.024 * size * rng.normal(size=(count, 2))
    radii = size * rng.uniform(0.014, 0.036, count)
    ink.lines(claws, [_INDIGO], [0.018 * size])
    ink.dots(scallops, radii + 0.009 * size, [_INDIGO])
    ink.fill(claws, [_PAPER])
    ink.dots(scallops, radii, [_PAPER])
    spray = foot + place * (np.array([0.9, 0.9]) + rng.normal(size=(36, 2)) * [0.25, 0.17])
    ink.dots(spray, size * rng.uniform(0.004, 0.012, 36), [_PAPER])
