"""Mosaic: stone tesserae laid in rows along the contours of fish, weeds and waves."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from ._painting_canvas import Canvas, colours, mix, smooth
from ._painting_forms import bezier, blob, disc, height_of, ribbon, ridge

_GROUT = colours("b9ad98")[0]
_STONES = {
    "deep": colours("123a5c 174a70 0e2d4a 1f5c80"),
    "blue": colours("1f7390 2a8fa6 17607e 3fa5b5"),
    "pale": colours("7cc4c4 a5d8d0 5cb0b8 c8e6da"),
    "sand": colours("e0be7a efd79c cda55c f5e6bf"),
    "red": colours("b8341f d8502c 98261c e8743c"),
    "orange": colours("f09a3a f7b95a e07f28"),
    "white": colours("f8efdc fffaea ebdcbc"),
    "black": colours("211d2a 34303f"),
    "green": colours("5f8a3a 86a845 46702f b0c060"),
    "gold": colours("e6b93c f5d774 cf9a26 fbe9a8"),
}
_NAMES = list(_STONES)


def paint_mosaic(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Lay a mosaic, float32 (H, W, 3)."""
    fine = 1 if canvas.short > 0.7 else 2
    guide = canvas.guide(fine)
    tile = 0.0165 * canvas.short**0.5
    region = _scene(guide, rng, tile)
    sites, angles = _rows(guide, rng, region, tile, fine)
    tint = np.zeros((len(sites), 3), np.float32)
    kinds = guide.sample(region, sites)
    for kind, stones in enumerate(_STONES.values()):
        own = kinds == kind
        tint[own] = stones[rng.integers(0, len(stones), own.sum())]
    tint *= 1 + 0.06 * rng.normal(size=(len(sites), 1))
    stone, gap, u, v = _nearest(canvas, sites, angles)
    tilt = rng.normal(size=(len(sites), 2))[stone]
    grain = canvas.noise(rng, 0.004) + 0.6 * canvas.noise(rng, 0.01)
    light = 1 + 0.13 * (u * tilt[..., 0] + v * tilt[..., 1]) / tile + 0.045 * grain
    light *= 0.78 + 0.26 * smooth(0.09 * tile, 0.36 * tile, gap)
    grout = _GROUT * (0.72 + 0.06 * grain)[..., None]
    seam, soft = 0.16 * tile, 0.7 / canvas.unit
    return mix(grout, tint[stone] * light[..., None], smooth(seam - soft, seam + soft, gap))


def _scene(guide, rng, tile):
    """Give the kind of stone at each pixel."""
    x, y = guide.grid()
    region = np.full(guide.size, _NAMES.index("gold"))
    for k, level in enumerate(np.linspace(0.13, 0.86, 6)):
        line = ridge(rng, guide, level, 0.026 * guide.short, 0.36, 0.25)
        depth = y - height_of(line, x[0])
        region[depth > 0] = _NAMES.index("sand" if k == 5 else ("blue", "deep")[k % 2])
        region[(depth > 0) & (depth < 2.3 * tile)] = _NAMES.index("orange" if k == 5 else "pale")
    forms = _weeds(guide, rng)
    count = max(1, round(guide.width / (0.95 * min(1, guide.height))))
    rows = max(1, round(guide.height / guide.width))
    for row in range(rows):
        for i in range(count):
            at = guide.at((i + 0.5) / count, (row + 0.5) / rows * 0.7 + 0.14)
            way = rng.choice([-1, 1])
            forms += _fish(rng, at + guide.short * np.array([-0.16 * way, 0.13]), way, 0.25 * guide.short)
            forms += _fish(rng, at + guide.short * np.array([0.17 * way, -0.14]), -way, 0.2 * guide.short)
    over = guide.number([form for form, _ in forms])
    kinds = np.array([-1, *(_NAMES.index(name) for _, name in forms)])
    return np.where(over > 0, kinds[over], region)


def _weeds(guide, rng):
    """Give weeds, bubbles and pebbles: (form, name of its stones)."""
    forms = []
    for across in np.linspace(0.04, 0.96, max(3, round(5 * guide.width))) + rng.uniform(-0.03, 0.03):
        tall = rng.uniform(0.2, 0.42) * min(guide.height, 1.2 * guide.short)
        t = np.linspace(0, 1, 40)
        spine = guide.at(across, 0.97) + np.stack([0.035 * np.sin(9 * t + rng.uniform(0, 6)) * t**0.5, -tall * t], 1)
        forms.append((ribbon(spine, 0.055 * (1 - 0.75 * t)), rng.choice(["green", "green", "red"])))
    for _ in range(round(9 * guide.width)):
        at = guide.at(rng.uniform(0, 1), rng.uniform(0.2, 0.8))
        size = rng.uniform(0.014, 0.026)
        forms += [(disc(at, size), "pale"), (disc(at, 0.5 * size), "white")]
    for _ in range(round(6 * guide.width)):
        at = guide.at(rng.uniform(0, 1), rng.uniform(0.92, 0.99))
        forms.append((blob(rng, at, rng.uniform(0.02, 0.04)), rng.choice(["black", "white", "red"])))
    return forms


def _fish(rng, at, way, size):
    """Give the parts of a fish, swimming to the left or right: (form, name of its stones)."""
    body, fin = [("red", "orange"), ("orange", "red"), ("gold", "red")][rng.integers(0, 3)]
    top = bezier((-1, 0.02), (-0.55, -0.8), (0.35, -0.7), (0.9, -0.06))
    low = bezier((0.9, 0.06), (0.35, 0.62), (-0.55, 0.75), (-1, 0.02))
    back = bezier((-0.45, -0.42), (-0.1, -1.0), (0.55, -0.85), (0.5, -0.3))
    belly = bezier((-0.1, 0.42), (0.15, 0.85), (0.5, 0.7), (0.35, 0.3))
    tail = np.concatenate(
        [bezier((0.8, 0), (1.1, -0.2), (1.4, -0.62)), bezier((1.4, -0.62), (1.15, 0), (1.4, 0.62)), [(0.8, 0)]]
    )
    forms = [(tail, fin), (back, fin), (belly, fin), (np.concatenate([top, low]), body)]
    t = np.linspace(0, 1, 20)
    for left, wide, name in ((-0.42, 0.1, "white"), (-0.05, 0.13, "white"), (0.3, 0.12, "white"), (0.62, 0.1, "white")):
        upper, lower = (np.interp(left, *side.T) for side in (top, low[::-1]))
        spine = np.stack([left + 0.1 * np.sin(np.pi * t), upper + (lower - upper) * t], 1)
        forms.append((ribbon(spine, np.full(20, wide)), name))
    forms += [(disc((-0.66, -0.1), 0.19), "white"), (disc((-0.67, -0.1), 0.1), "black")]
    turn = rng.uniform(-0.25, 0.25)
    c, s = np.cos(turn), np.sin(turn)
    place = np.array([[c, s], [-s, c]]) * [way, 1] * size
    return [(form @ place + at, name) for form, name in forms]


def _rows(guide, rng, region, tile, blur):
    """Give middles (N, 2) and angles (N,) of the stones: rows along the contours of each kind's regions."""
    sites, angles = [], []
    for kind in np.unique(region):
        inside = np.pad(region == kind, 1)
        depth = ndimage.distance_transform_edt(inside) / guide.unit
        depth = np.where(inside, ndimage.gaussian_filter(depth, blur), 0)
        down, across = np.gradient(ndimage.gaussian_filter(depth, 1.5 * blur))
        for level in np.arange(0.5, depth.max() / tile) * tile:
            for contour in find_contours(depth, level):
                length = np.r_[0, np.cumsum(np.hypot(*np.diff(contour, axis=0).T))] / guide.unit
                if length[-1] < 0.6 * tile:
                    continue
                count = max(1, round(length[-1] / tile))
                along = (np.arange(count) + 0.5 + 0.1 * rng.normal(size=count)) * length[-1] / count
                row, column = (np.interp(along, length, c) for c in contour.T)
                i = row.astype(int), column.astype(int)
                sites.append(np.stack([column - 0.5, row - 0.5], 1) / guide.unit)
                angles.append(np.arctan2(down[i], across[i]))
    sites, angles = np.concatenate(sites), np.concatenate(angles)
    keep = np.ones(len(sites), bool)
    for one, other in sorted(cKDTree(sites).query_pairs(0.66 * tile)):
        keep[other] &= not keep[one]
    return sites[keep], angles[keep]


def _nearest(canvas, sites, angles):
    """Give each pixel's stone (the nearest by the 4-norm in its axes), the gap to the next, and its place in it."""
    at = np.stack(np.broadcast_arrays(*canvas.grid()), -1)
    near = cKDTree(sites).query(at, k=5)[1]
    away = at[..., None, :] - sites[near].astype(np.float32)
    c, s = np.cos(angles[near]).astype(np.float32), np.sin(angles[near]).astype(np.float32)
    u, v = c * away[..., 0] + s * away[..., 1], c * away[..., 1] - s * away[..., 0]
    reach = np.sqrt(np.sqrt(u**4 + v**4))
    first = reach.argmin(-1)[..., None]
    best = np.take_along_axis(reach, first, -1)
    np.put_along_axis(reach, first, np.inf, -1)
    gap = reach.min(-1) - best[..., 0]
    stone, u, v = (np.take_along_axis(each, first, -1)[..., 0] for each in (near, u, v))
    return stone, gap, u, v
