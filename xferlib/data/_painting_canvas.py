"""What paintings are made on: a canvas of unit area, whatever its pixels, with ink, noise and colour ramps."""

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.collections import CircleCollection, LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D
from PIL import Image, ImageDraw

GUIDE = 320
"""Pixels a unit of the small pictures that strokes are planned on, the same for every size that is drawn."""


class Canvas:
    """
    A canvas of area one; points are (x, y) in its units, y downwards.

    Parameters
    ----------
    height, width : int
        Size in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self.size = (height, width)
        self.unit = float(np.sqrt(height * width))
        self.height, self.width = float(np.sqrt(height / width)), float(np.sqrt(width / height))
        self.short = min(self.height, self.width)

    def guide(self, fine: int = 1) -> "Canvas":
        """Give a canvas of the same form, whose size does not depend on this one's; `fine` times as fine."""
        return Canvas(round(self.height * GUIDE) * fine, round(self.width * GUIDE) * fine)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the x (1, W) and y (H, 1) of the pixels' centres."""
        x = (np.arange(self.size[1], dtype=np.float32) + 0.5) / np.float32(self.unit)
        y = (np.arange(self.size[0], dtype=np.float32) + 0.5) / np.float32(self.unit)
        return x[None], y[:, None]

    def at(self, across: float, down: float) -> np.ndarray:
        """Give the point at these shares of the width and height."""
        return np.array([across * self.width, down * self.height])

    def scatter(self, rng: np.random.Generator, count: int, margin: float = 0.02) -> np.ndarray:
        """Give `count` points (N, 2) that fill the canvas evenly: one in each cell of a jittered grid, shuffled."""
        h, w = self.height + 2 * margin, self.width + 2 * margin
        step = np.sqrt(h * w / count)
        rows, columns = max(1, round(h / step)), max(1, round(w / step))
        j, i = np.mgrid[:rows, :columns].reshape(2, -1)
        jitter = rng.random((2, j.size))
        points = np.stack([(i + jitter[0]) * w / columns, (j + jitter[1]) * h / rows], 1) - margin
        return rng.permutation(points)

    def sample(self, field: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Read a field of this canvas, (H, W) or (H, W, C), at points (..., 2); outside holds the nearest pixel."""
        column = np.clip((points[..., 0] * self.unit).astype(int), 0, self.size[1] - 1)
        row = np.clip((points[..., 1] * self.unit).astype(int), 0, self.size[0] - 1)
        return field[row, column]

    def cover(self, polygon: np.ndarray) -> np.ndarray:
        """Give how much of each pixel lies in a polygon (N, 2), float32 (H, W) in [0, 1]."""
        ink = Ink(self)
        ink.fill([polygon], [(0, 0, 0)])
        return ink.layer()[1][..., 0]

    def number(self, polygons: list[np.ndarray]) -> np.ndarray:
        """Give which of the polygons lies uppermost at each pixel, int32 (H, W): 0 where none does, else from 1."""
        sheet = Image.new("I", self.size[::-1])
        pen = ImageDraw.Draw(sheet)
        for value, polygon in enumerate(polygons, start=1):
            pen.polygon((np.asarray(polygon) * self.unit - 0.5).ravel().tolist(), fill=value)
        return np.array(sheet)

    def noise(self, rng: np.random.Generator, scale: float, along: float = 1.0) -> np.ndarray:
        """Give smooth noise of unit variance, float32 (H, W), of grain `scale`, `along` times as long across."""
        scales = np.array([scale, scale * along])
        counts = np.ceil(np.array([self.height, self.width]) / scales).astype(int) + 4
        knots = rng.standard_normal(counts).astype(np.float32)
        down, across = (_spline(n, c, 1 / (self.unit * s)) for n, c, s in zip(self.size, counts, scales, strict=True))
        return down @ knots @ across.T / np.float32(151 / 315)

    def clouds(self, rng: np.random.Generator, scale: float, octaves: int = 4, along: float = 1.0) -> np.ndarray:
        """Give fractal noise of about unit variance, float32 (H, W), its largest grain `scale`."""
        parts = [self.noise(rng, scale / 2**k, along) / 2**k for k in range(octaves)]
        return sum(parts) / np.float32(1.15)


def _spline(pixels: int, knots: int, step: float) -> np.ndarray:
    """Weights (pixels, knots) of a cubic B-spline, widened where a pixel holds several knots."""
    at = (np.arange(pixels) + 0.5) * step + 1.5
    t = np.abs(at[:, None] - np.arange(knots)) / max(1.0, step)
    weights = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


class Ink:
    """A transparent sheet over a canvas that takes polygons, lines and dots in its units, each with soft edges."""

    def __init__(self, canvas: Canvas) -> None:
        height, width = canvas.size
        self.unit = canvas.unit
        self._renderer = RendererAgg(width, height, 72)
        self._transform = Affine2D().scale(self.unit, -self.unit).translate(0, height)

    def _draw(self, collection: LineCollection) -> None:
        collection.set_transform(self._transform)
        collection.set_snap(False)
        collection.set_antialiased(True)
        collection.draw(self._renderer)

    def fill(self, polygons, colours) -> None:
        """Fill polygons, each (N, 2), in order, each with its colour, RGB or RGBA."""
        self._draw(LineCollection(polygons, facecolors=colours, colors="none", linewidths=0))

    def lines(self, lines, colours, widths) -> None:
        """Draw lines, each (N, 2), with round ends."""
        widths = np.ravel(widths) * self.unit
        self._draw(LineCollection(lines, colors=colours, linewidths=widths, capstyle="round", joinstyle="round"))

    def dots(self, centres, radii, colours) -> None:
        """Draw discs in order, each with its colour."""
        dots = CircleCollection(
            np.pi * (self.unit * np.broadcast_to(radii, len(centres))) ** 2,
            offsets=centres,
            offset_transform=self._transform,
            facecolors=colours,
            linewidths=0,
        )
        dots.set_figure(Figure(dpi=72))
        dots.set_antialiased(True)
        dots.draw(self._renderer)

    def layer(self) -> tuple[np.ndarray, np.ndarray]:
        """Give colour (H, W, 3) and cover (H, W, 1), float32 in [0, 1]."""
        rgba = np.asarray(self._renderer.buffer_rgba()).astype(np.float32) / 255
        return rgba[..., :3], rgba[..., 3:]

    def over(self, picture: np.ndarray) -> np.ndarray:
        """Lay the sheet over a picture (H, W, 3)."""
        colour, cover = self.layer()
        return picture + cover * (colour - picture)


def colours(names: str) -> np.ndarray:
    """Give the colours written as six hex digits each, float32 (N, 3)."""
    return np.array([to_rgb(f"#{name}") for name in names.split()], np.float32)


def ramp(palette: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Blend along a palette (N, 3): 0 is its first colour and 1 its last. Adds a last axis."""
    knots = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(share, knots, channel) for channel in palette.T], -1).astype(np.float32)


def mix(picture: np.ndarray, colour: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Blend a picture (H, W, 3) towards a colour or picture by a share (H, W)."""
    return picture + share[..., None] * (colour - picture)


def smooth(edge0: float, edge1: float, value: np.ndarray) -> np.ndarray:
    """Rise smoothly from 0 at one edge to 1 at the other."""
    t = np.clip((value - edge0) / (edge1 - edge0), 0, 1)
    return t * t * (3 - 2 * t)
