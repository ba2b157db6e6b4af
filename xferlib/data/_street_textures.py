"""The texture atlas of the drawn streets, made once per process from real photographs.

A texel holds two things: the grain that scales the paint of the surface it lies on (cut from a photograph), and
a colour of its own that covers the paint (window glass, frames, posters). Each tile has its whole mip pyramid.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from . import photos

SIDE = 256
LEVELS = 9
_SHOWN = ("coffee", "rocket", "camera", "hubble_deep_field")
UNIT = 100  # the grain value that leaves the paint as it is


class Tile(NamedTuple):
    """Where a tile starts in the atlas, and the metres it covers across and up."""

    start: int
    width: float
    height: float


class Atlas(NamedTuple):
    """All tiles: `texels` holds four bytes each (own red, green, blue, then grain), `offsets` the mip levels."""

    texels: np.ndarray
    offsets: np.ndarray
    tiles: dict[str, Tile]


@cache
def _photo(name: str) -> Image.Image:
    array = (photos.load(name).permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    return Image.fromarray(array)


def _grain(name: str, strength: float, cut: int = SIDE, turned: bool = False) -> np.ndarray:
    """Cut a photograph to a square, flatten its light, make it tile; mean 1, standard deviation `strength`."""
    picture = _photo(name).convert("F")
    if turned:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
    left, top = (picture.width - cut) // 2, (picture.height - cut) // 2
    square = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX, (left, top, left + cut, top + cut)))
    blurred = (
        Image.fromarray(square).resize((4, 4), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    )
    flat = square - np.asarray(blurred)
    fade = np.abs(np.linspace(-1, 1, SIDE))
    for axis, weight in ((0, fade[:, None]), (1, fade[None])):  # fade into a half-tile shift: the edges meet
        flat = (flat * (1 - weight) + np.roll(flat, SIDE // 2, axis) * weight) / np.hypot(weight, 1 - weight)
    return 1 + strength * np.clip(flat / flat.std(), -2.5, 2.5)


def _bricks(strength: float, repeats: int) -> np.ndarray:
    """The brick photograph turned and rectified to eight level courses, repeated over the tile."""
    corners = (0, 82, 0, 320, 512, 334, 512, 4)
    side = SIDE // repeats
    turned = _photo("brick").convert("F").transpose(Image.Transpose.ROTATE_90)
    large = turned.transform((SIDE, SIDE), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    small = np.asarray(large.resize((side, side), Image.Resampling.BOX))
    flat = np.tile(small, (repeats, repeats))
    return 1 + strength * np.clip((flat - flat.mean()) / flat.std(), -2, 2.5)


def _cloud(rng: np.random.Generator, power: float = 1.7) -> np.ndarray:
    """Periodic fractal noise in [0, 1] with spectrum falling as frequency to the `power`."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    frequency[0, 0] = np.inf
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIDE, SIDE))) / frequency**power).real
    return np.clip(0.5 + 0.2 * field / field.std(), 0, 1)


def _blank() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    cover = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    return cover, ImageDraw.Draw(cover)


def _glass(cover: Image.Image, box: tuple[int, int, int, int], rng: np.random.Generator, light: float) -> None:
    """Paste a dim reflection, a random cut of a colour photograph, into `box`."""
    source = _photo(_SHOWN[rng.integers(len(_SHOWN))])
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = rng.integers(source.width - 120), rng.integers(source.height - 120)
    cut = source.resize((width, height), Image.Resampling.BOX, (x, y, x + 120, y + 120))
    ramp = np.linspace(1.25, 0.75, height)[:, None, None]
    tint = np.array([0.85, 1.0, 1.12])
    grey = np.asarray(cut.convert("L"), np.float32)[..., None]
    pixels = ((0.65 * grey + 0.35 * np.asarray(cut)) * 0.42 + 40) * light * ramp * tint
    cover.paste(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), box[:2])


def _windows(rng: np.random.Generator, columns: int, floors: int, size: tuple[float, float], style: str) -> Image.Image:
    """A grid of windows: `size` is the share of the bay that the window fills, across and up."""
    cover, pen = _blank()
    bay, floor = SIDE / columns, SIDE / floors
    width, height = bay * size[0], floor * size[1]
    frame = (232, 230, 222, 255) if style != "dark" else (48, 50, 54, 255)
    for i in range(columns):
        for j in range(floors):
            x0, y0 = int(i * bay + (bay - width) / 2), int(j * floor + (floor - height) * 0.42)
            x1, y1 = int(x0 + width), int(y0 + height)
            pen.rectangle((x0 - 3, y0 - 4, x1 + 3, y1 + 3), (0, 0, 0, 70))
            pen.rectangle((x0 - 5, y1 + 1, x1 + 5, y1 + 6), (214, 208, 196, 255))
            pen.rectangle((x0 - 2, y0 - 2, x1 + 2, y1 + 2), frame)
            _glass(cover, (x0 + 1, y0 + 1, x1 - 1, y1 - 1), rng, 0.55 + 0.5 * rng.random())
            if style != "plain" and rng.random() < 0.55:  # curtains
                shade = int(150 + 60 * rng.random())
                drop = int(height * (0.2 + 0.4 * rng.random()))
                pen.rectangle((x0 + 1, y0 + 1, x1 - 1, y0 + drop), (shade, shade - 16, shade - 52, 255))
            pen.line(((x0 + x1) // 2, y0, (x0 + x1) // 2, y1), frame, 3)
            if style != "plain":
                pen.line((x0, (y0 + y1) // 2, x1, (y0 + y1) // 2), frame, 3)
            if style == "shutter":
                tone = (62, 84, 74, 235)
                for left in (x0 - int(width * 0.42), x1 + 3):
                    pen.rectangle((left, y0 - 2, left + int(width * 0.42) - 3, y1 + 2), tone)
            if style == "arch":
                pen.pieslice((x0 - 2, y0 - int(width * 0.4), x1 + 2, y0 + int(width * 0.4)), 180, 360, frame)
    return cover


def _curtain_wall(rng: np.random.Generator) -> Image.Image:
    """Glass from floor to ceiling between thin mullions."""
    cover, pen = _blank()
    for i in range(4):
        for j in range(2):
            box = (i * 64 + 2, j * 128 + 2, i * 64 + 62, j * 128 + 100)
            _glass(cover, box, rng, 0.9 + 0.5 * rng.random())
    for y in (0, 128):
        pen.rectangle((0, y + 101, SIDE, y + 104), (40, 44, 50, 200))
    return cover


def _ribbons(rng: np.random.Generator) -> Image.Image:
    """Bands of windows between bands of concrete, as offices of the sixties have."""
    cover, pen = _blank()
    for y in (30, 158):
        for i in range(4):
            _glass(cover, (i * 64, y, i * 64 + 64, y + 58), rng, 0.6 + 0.5 * rng.random())
            pen.rectangle((i * 64 - 2, y, i * 64 + 2, y + 58), (206, 206, 200, 255))
        pen.rectangle((0, y + 58, SIDE, y + 62), (60, 58, 56, 160))
    return cover


def _shop(rng: np.random.Generator) -> Image.Image:
    """A ground floor: fascia with lettering, shop windows with photographs on show, a door."""
    cover, pen = _blank()
    pen.rectangle((0, 52, SIDE, 57), (0, 0, 0, 110))
    for _ in range(7):  # lettering on the fascia
        x = rng.integers(20, 215)
        pen.rectangle((x, 20, x + rng.integers(5, 16), 38), (240, 234, 214, 255))
    for x0, x1 in ((10, 92), (160, 246)):
        _glass(cover, (x0, 66, x1, 214), rng, 1.0)
        poster = _photo(_SHOWN[rng.integers(len(_SHOWN))]).resize((44, 58))
        cover.paste(poster, (x0 + int(rng.integers(4, 34)), 110))
        pen.rectangle((x0, 66, x1, 214), None, (228, 224, 214, 255), 3)
    _glass(cover, (106, 70, 146, 250), rng, 0.6)
    pen.rectangle((104, 68, 148, 255), None, (60, 44, 36, 255), 5)
    return cover


def _white(alpha: np.ndarray) -> Image.Image:
    """A white cover of the given opacity."""
    cover = np.full((SIDE, SIDE, 4), 255, np.uint8)
    cover[..., 3] = alpha * 255
    return Image.fromarray(cover)


def _joints(xs: tuple[int, ...], ys: tuple[int, ...], alpha: int) -> Image.Image:
    cover, pen = _blank()
    for x in xs:
        pen.line((x, 0, x, SIDE), (0, 0, 0, alpha), 3)
    for y in ys:
        pen.line((0, y, SIDE, y), (0, 0, 0, alpha), 3)
    return cover


def _roof_tiles() -> np.ndarray:
    """Rows of tiles, each darker under the row above, with every second row shifted by half a tile."""
    y, x = np.mgrid[:SIDE, :SIDE]
    shifted = x + 8 * ((y // 16) % 2)
    return 0.82 + 0.32 * (y % 16) / 16 - 0.2 * (shifted % 16 < 2)


def _paintings() -> dict[str, tuple[np.ndarray, Image.Image | None, float, float]]:
    """Every tile by name: grain, cover, and the metres it covers across and up."""
    rng = np.random.default_rng(2015)
    brick, stone, rough = _bricks(0.11, 4), _grain("gravel", 0.045, 512), _grain("gravel", 0.08, 512)
    grass = _grain("grass", 0.28, 400)
    wood = _grain("grass", 0.10, 200)[:, :1] * _grain("gravel", 0.04)
    sky = _cloud(rng)
    return {
        "plain": (_grain("gravel", 0.04, 512), None, 4.0, 4.0),
        "asphalt": (_grain("gravel", 0.09, 512) * (0.85 + 0.3 * _cloud(rng)), None, 4.0, 4.0),
        "worn": (np.clip(_grain("gravel", 0.22, 512), 0.4, 1.2), None, 2.0, 2.0),
        "slabs": (rough, _joints((0, 128), (0, 64, 128, 192), 80), 1.6, 2.4),
        "cobbles": (_grain("gravel", 0.3, 512), None, 1.6, 1.6),
        "grass": (grass, None, 2.2, 2.2),
        "leaves": (_grain("grass", 0.42, 300), None, 2.6, 2.6),
        "twigs": (_grain("grass", 0.3, 500, True), None, 2.0, 2.0),
        "bark": (_grain("grass", 0.25, 256), None, 0.6, 1.6),
        "brick": (_bricks(0.14, 2), None, 2.4, 2.4),
        "roof": (_roof_tiles() * _grain("gravel", 0.1), None, 4.0, 4.0),
        "boards": (wood, _joints((0, 32, 64, 96, 128, 160, 192, 224), (), 130), 1.6, 2.0),
        "clear": (np.ones((SIDE, SIDE)), None, 900.0, 900.0),
        "cumulus": (np.ones((SIDE, SIDE)), _white(np.clip(4 * sky - 2.0, 0, 0.9)), 1100.0, 1100.0),
        "wisps": (np.ones((SIDE, SIDE)), _white(np.clip(1.6 * sky - 0.7, 0, 0.6)), 1500.0, 500.0),
        "overcast": (0.75 + 0.5 * sky, None, 700.0, 700.0),
        "cloth": (_grain("moon", 0.10, 300), None, 0.8, 0.8),
        "sash": (brick, _windows(rng, 3, 2, (0.42, 0.52), "sash"), 7.8, 6.4),
        "sash2": (stone, _windows(rng, 2, 2, (0.4, 0.58), "sash"), 5.2, 6.4),
        "shutters": (stone, _windows(rng, 2, 2, (0.34, 0.56), "shutter"), 5.6, 6.4),
        "arches": (rough, _windows(rng, 3, 2, (0.46, 0.5), "arch"), 8.4, 6.4),
        "wide": (brick, _windows(rng, 2, 2, (0.66, 0.46), "plain"), 7.0, 6.4),
        "modern": (stone, _windows(rng, 4, 2, (0.55, 0.72), "dark"), 8.0, 6.4),
        "glass": (stone, _curtain_wall(rng), 6.0, 6.4),
        "ribbons": (rough, _ribbons(rng), 8.0, 6.4),
        "shop1": (stone, _shop(rng), 6.4, 3.4),
        "shop2": (stone, _shop(rng), 7.4, 3.4),
        "shop3": (brick, _shop(rng), 5.6, 3.4),
    }


@cache
def atlas() -> Atlas:
    """Paint every tile and pack it with its mip pyramid, bottom row first."""
    offsets = np.cumsum([0] + [(SIDE >> k) ** 2 for k in range(LEVELS)])
    tiles, packed = {}, []
    for name, (grain, cover, width, height) in _paintings().items():
        texel = np.zeros((SIDE, SIDE, 4), np.float32)
        alpha = 0.0
        if cover is not None:
            rgba = np.asarray(cover, np.float32)
            alpha = rgba[..., 3:] / 255
            texel[..., :3] = rgba[..., :3] * alpha
            alpha = alpha[..., 0]
        texel[..., 3] = np.clip(grain * (1 - alpha) * UNIT, 0, 255)
        texel = texel[::-1]
        tiles[name] = Tile(len(packed) // LEVELS * int(offsets[-1]), width, height)
        for _ in range(LEVELS):
            packed.append(texel.astype(np.uint8).reshape(-1, 4))
            if len(texel) > 1:
                texel = texel.reshape(len(texel) // 2, 2, len(texel) // 2, 2, 4).mean((1, 3))
    texels = np.ascontiguousarray(np.concatenate(packed)).view(np.uint32)[:, 0]
    return Atlas(texels, offsets[:-1].astype(np.int32), tiles)


@cache
def masks() -> dict[str, Image.Image]:
    """Masks of ten leafy crowns, five bare trees and three conifers ("leafy0", ...), mode "1"."""
    rng = np.random.default_rng(1995)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    leafy = []
    for _ in range(10):
        radius = np.zeros((SIDE, SIDE))
        for _ in range(9):  # a crown is a union of clumps
            a, r = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
            size = rng.uniform(0.3, 0.5)
            clump = 1 - np.hypot(x - r * np.cos(a), (y - 0.9 * r * np.sin(a))) / size
            radius = np.maximum(radius, clump)
        mask = radius + 0.9 * (_cloud(rng, 1.25) - 0.5) > 0.16
        leafy.append(_whole(mask & (np.hypot(x, y) < 0.99)))
    bare = [_branches(rng) for _ in range(5)]
    conifer = []
    for _ in range(3):
        edge = (y + 1) / 2 * (0.55 + 0.35 * ((y + 1) * 4 % 1)) + 0.5 * (_cloud(rng, 1.1) - 0.5)
        conifer.append(_whole(np.abs(x) < edge))
    kinds = {"leafy": leafy, "bare": bare, "conifer": conifer}
    return {f"{kind}{k}": mask for kind, all_masks in kinds.items() for k, mask in enumerate(all_masks)}


def _whole(mask: np.ndarray) -> Image.Image:
    """The largest connected part of a mask: no leaf hangs in the air."""
    parts, _ = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return Image.fromarray((parts == sizes.argmax()).astype(np.uint8) * 255).convert("1")


def _branches(rng: np.random.Generator) -> Image.Image:
    """A bare tree, grown from the trunk by forking."""
    side = 2 * SIDE
    mask = Image.new("1", (side, side))
    pen = ImageDraw.Draw(mask)

    def grow(x: float, y: float, angle: float, length: float, width: float) -> None:
        x1, y1 = x + length * np.sin(angle), y - length * np.cos(angle)
        pen.line((x, y, x1, y1), 1, max(2, round(width)))
        if length > 14:
            for turn in (-1, 1) if rng.random() < 0.75 else (-1, 0.2, 1):
                bend = angle + turn * rng.uniform(0.2, 0.6)
                grow(x1, y1, bend, length * rng.uniform(0.68, 0.86), width * 0.62)

    grow(side / 2, side, 0, side * 0.23, side * 0.04)
    return _whole(np.asarray(mask))
