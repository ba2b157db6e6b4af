"""Watercolour: transparent washes with wet edges and granulation, autumn trees by a lake under far mountains."""

import numpy as np
from scipy import ndimage

from ._painting_canvas import Canvas, Ink, colours, smooth
from ._painting_forms import below, blob, peaks, ribbon, ridge

_PAPER = colours("fbf7ec")[0]
_SKY, _WARM, _VIOLET, _BLUE, _WATER = colours("6f9fd0 f5b98a 9a8fc0 5f7fae 4f8fa8")
_LEAVES = colours("f2b02c e87a2a d2432f b8324f 8fa03c e8c84a 5f8a4a")
_DARK, _REED = colours("3a2a35 6b5a2f")


class _Paper:
    """Paper that takes washes: each absorbs a share of the light, more where it dries and in the paper's hollows."""

    def __init__(self, canvas: Canvas, rng: np.random.Generator) -> None:
        self.canvas = canvas
        self.light = np.empty((*canvas.size, 3), np.float32)
        self.light[:] = _PAPER
        self.tooth = canvas.noise(rng, 0.0045) + 0.6 * canvas.noise(rng, 0.0025)
        self.pool = canvas.clouds(rng, 0.14, 4)
        rows, columns = np.indices(canvas.size, np.float32)
        self._ways = [
            np.stack([rows, columns]) + canvas.unit * reach * np.stack([canvas.clouds(rng, size, 4) for _ in "yx"])
            for reach, size in ((0.0035, 0.03), (0.012, 0.08))
        ]

    def wash(self, colour: np.ndarray, amount: np.ndarray, grain: float = 0.07) -> None:
        """Lay a wash of some colour where and as much as `amount` (H, W) says."""
        amount = (amount * (1 + grain * self.tooth + 0.2 * self.pool)).clip(0)
        self.light *= np.exp(np.log(colour.clip(0.02, 1)) * amount[..., None])

    def lift(self, cover: np.ndarray) -> None:
        """Take up paint down to the paper where a cover (H, W) says."""
        self.light += cover.clip(0, 1)[..., None] * (_PAPER - self.light)

    def shape(self, polygon: np.ndarray, wet: float = 0.0, rim: float = 1.2) -> np.ndarray:
        """Give a form with ragged edges, darker along its rim; `wet` is how far it runs, in units of the canvas."""
        return self.dry(self.canvas.cover(polygon), wet, rim)

    def dry(self, cover: np.ndarray, wet: float = 0.0, rim: float = 1.2) -> np.ndarray:
        """Let a cover (H, W) run and dry."""
        cover = ndimage.map_coordinates(cover, self._ways[wet > 0], order=1, mode="nearest")
        if wet:
            cover = ndimage.gaussian_filter(cover, wet * self.canvas.unit, truncate=3)
        inner = ndimage.gaussian_filter(cover, 0.006 * self.canvas.unit, truncate=3)
        return cover * (0.85 + rim * (cover - inner).clip(0))


def paint_watercolour(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Paint a lake in autumn in washes, float32 (H, W, 3)."""
    paper = _Paper(canvas, rng)
    shore = rng.uniform(0.56, 0.62)
    _sky(paper, rng, shore)
    _mountains(paper, rng, shore)
    trees = _trees(paper, rng, shore)
    _lake(paper, rng, shore, trees)
    _front(paper, rng)
    return paper.light


def _sky(paper, rng, shore):
    """Wash a sky of drifting cloud, warm above the mountains."""
    canvas = paper.canvas
    y = canvas.grid()[1] / canvas.height
    drift = canvas.clouds(rng, 0.22, 5, 1.8)
    paper.wash(_SKY, smooth(0.9, -0.1, y / shore) * (0.15 + smooth(-1.1, 0.9, drift)))
    paper.wash(_WARM, np.exp(-(((y - 0.75 * shore) / 0.16) ** 2)) * (0.75 + 0.2 * drift))
    paper.wash(_VIOLET, 0.45 * smooth(0.5, 1.8, drift) * smooth(shore, 0.1, y))


def _mountains(paper, rng, shore):
    """Wash three ranges that fade downwards into mist."""
    canvas = paper.canvas
    x, y = canvas.grid()
    for k, (tint, level, swing) in enumerate(((_VIOLET, 0.6, 0.12), (_BLUE, 0.74, 0.09), (_BLUE * 0.85, 0.88, 0.05))):
        line = peaks(rng, canvas, level * shore, swing * canvas.short, 0.5 * canvas.short**0.5)
        depth = (y - np.interp(x, *line.T)) / canvas.short
        mist = 0.2 + 0.8 * np.exp(-depth.clip(0) / (0.11 - 0.02 * k))
        paper.wash(
            tint, paper.shape(below(line, canvas)) * mist * smooth(shore + 0.01, shore - 0.02, y / canvas.height)
        )


def _trees(paper, rng, shore):
    """Paint trees along the shore; give what they absorb (H, W, 3), for the lake to mirror."""
    canvas = paper.canvas
    seen = np.zeros((*canvas.size, 3), np.float32)
    level = shore * canvas.height
    count = round(13 * canvas.width / canvas.short**0.5)
    for left in rng.permutation(np.linspace(-0.02, 1.02, count)) * canvas.width:
        size = canvas.short * rng.uniform(0.045, 0.115)
        ink = Ink(canvas)
        reach = np.r_[rng.uniform(0.45, 0.8, 3), rng.uniform(0.05, 0.2, 16)]
        spread = np.where(reach > 0.4, 0.38, 0.6)[:, None] * rng.normal(size=(len(reach), 2))
        middles = [left, level - 0.9 * size] + size * spread
        ink.fill([blob(rng, at, size * r, 0.2) for at, r in zip(middles, reach, strict=True)], [(0, 0, 0)])
        cover = ink.layer()[1][..., 0]
        wash = paper.dry(cover, 0.0025) * rng.uniform(0.7, 1.1)
        tint = _LEAVES[rng.integers(0, len(_LEAVES))] * rng.uniform(0.85, 1.0)
        paper.lift(0.8 * wash)
        paper.wash(tint, wash, 0.1)
        paper.wash(_DARK, 0.7 * _trunk(canvas, rng, left, level, size))
        seen += wash[..., None] * -np.log(tint) - 0.8 * wash.clip(0, 1)[..., None] * seen
    bank = ridge(rng, canvas, shore + 0.004, 0.003, 0.25)
    widths = 0.016 * (0.4 + np.abs(np.sin(23 * bank[:, 0]) * np.sin(7 * bank[:, 0] + 1)))
    paper.wash(_DARK, 0.75 * paper.shape(ribbon(bank, widths)))
    return seen


def _trunk(canvas, rng, left, level, size):
    """Give the cover of a trunk with a few branches."""
    ink = Ink(canvas)
    lean = 0.12 * rng.normal()
    trunk = size * np.array([(0, 0.05), (0.5 * lean, -0.5), (lean, -1.25)]) + [left, level]
    ink.lines([trunk], [(0, 0, 0)], [0.05 * size])
    for k in range(4):
        root = trunk[1] + (0.25 * k - 0.2) * (trunk[2] - trunk[1])
        tip = root + size * np.array([(-1) ** k * rng.uniform(0.2, 0.4), -rng.uniform(0.2, 0.4)])
        ink.lines([[root, tip]], [(0, 0, 0)], [0.025 * size])
    return ink.layer()[1][..., 0]


def _lake(paper, rng, shore, trees):
    """Wash the lake, with the trees in it upside down."""
    canvas = paper.canvas
    y = canvas.grid()[1]
    lake = smooth(shore + 0.008, shore + 0.014, y / canvas.height)
    rows, columns = np.indices(canvas.size, np.float32)
    level = (shore + 0.012) * canvas.height * canvas.unit
    ripple = canvas.noise(rng, 0.008, 8) * 0.008 * canvas.unit * smooth(0, 0.2, y - shore * canvas.height)
    mirror = [level - (rows - level) * 0.8, columns + ripple]
    seen = np.stack([ndimage.map_coordinates(trees[..., c], mirror, order=1, mode="constant") for c in range(3)], -1)
    seen = ndimage.gaussian_filter(seen, (0.012 * canvas.unit, 0.002 * canvas.unit, 0))
    paper.light *= np.exp(-0.8 * (lake * (1 + 0.07 * paper.tooth + 0.2 * paper.pool))[..., None] * seen)
    streaks = smooth(-0.6, 1.2, canvas.noise(rng, 0.014, 14))
    deep = smooth(shore, 1.05, y / canvas.height)
    paper.wash(_WATER, lake * (0.25 + 0.9 * deep) * (0.55 + 0.6 * streaks))
    paper.lift(lake * 0.55 * smooth(1.1, 1.9, canvas.noise(rng, 0.007, 16)))
    paper.wash(_BLUE, lake * 0.5 * deep * smooth(0.7, 1.6, canvas.noise(rng, 0.02, 10)))


def _front(paper, rng):
    """Add reeds and splashes in front."""
    canvas = paper.canvas
    ink = Ink(canvas)
    side = rng.choice([-1, 1])
    for _ in range(round(70 * canvas.width)):
        near = rng.beta(1, 2.2) * canvas.width * 0.8
        foot = np.array([near if side < 0 else canvas.width - near, canvas.height + 0.01])
        tall = canvas.short * rng.uniform(0.08, 0.26) * (1.15 - near / canvas.width)
        tip = foot + tall * np.array([0.22 * rng.normal(), -1])
        bend = (foot + tip) / 2 + [0.12 * tall * rng.normal(), 0]
        t = np.linspace(0, 1, 12)[:, None]
        blade = (1 - t) ** 2 * foot + 2 * t * (1 - t) * bend + t**2 * tip
        ink.fill([ribbon(blade, 0.007 * (1.02 - t[:, 0]))], [(*(_REED, _DARK)[rng.integers(0, 2)], 0.75)])
    drops = canvas.scatter(rng, 60)
    tints = np.column_stack([_LEAVES[rng.integers(0, len(_LEAVES), len(drops))], rng.uniform(0.35, 0.8, len(drops))])
    ink.dots(drops, 0.0012 + 0.004 * rng.beta(1, 4, len(drops)), tints)
    colour, cover = ink.layer()
    paper.light *= 1 + cover * (colour - 1)
