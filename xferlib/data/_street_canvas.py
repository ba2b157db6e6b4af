"""A perspective canvas for the drawn streets, on which one paints the numbers of surfaces.

A surface knows its class, its paint and its plane in space. Once all is painted, the plane gives each pixel its depth
and its place in the texture (see `_street_shading`). So the labels are exact, whatever the light does.

Camera coordinates are metres: x to the right, y up from the ground, z ahead of the camera. On a plane, 1/z is linear
in the image: 1/z = a + b*u + c*v, where u = x/z and v = (eye - y)/z are the coordinates of the pixel.
"""

from array import array
from functools import lru_cache
from math import ceil, sqrt

import numpy as np
from PIL import Image, ImageDraw

from ._street_light import Color, Light
from ._street_textures import SIDE, atlas, masks

Point = tuple[float, float, float]
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
_BIAS = 64.0  # tiles added to texture coordinates so that they are never negative


class Canvas:
    """Surface numbers on an image of `height` x `width` pixels, seen from `eye` metres above the ground."""

    def __init__(self, height: int, width: int, focal: float, horizon: float, eye: float, light: Light) -> None:
        self.height, self.width, self.eye, self.light = height, width, eye, light
        self.focal, self.centre, self.horizon = focal * height, width / 2, horizon * height
        self.ids = Image.new("I", (width, height))
        self.pen = ImageDraw.Draw(self.ids)
        self.top = max(0, min(height - 2, round(self.horizon)))  # the first row of ground
        self.shadows = Image.new("L", (ceil(width / 2), ceil((height - self.top) / 2)))
        self._shadow_pen = ImageDraw.Draw(self.shadows)
        self.glows: list[tuple[float, float, float, Color, int]] = []
        self._table = array("d")
        self._classes = bytearray()
        self._tiles = {
            name: (tile.start, 1 / tile.width, 1 / tile.height, SIDE**2 / (self.focal**2 * tile.width * tile.height))
            for name, tile in atlas().tiles.items()
        }

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Pixel of a point in space."""
        scale = self.focal / z
        return self.centre + x * scale, self.horizon + (self.eye - y) * scale

    def outside(self, u: float, margin: float) -> bool:
        """Whether a thing at pixel column `u`, `margin` wide to each side, cannot be seen."""
        return not -margin < u < self.width + margin

    def lit(self, color: Color, nx: float, ny: float, nz: float) -> Color:
        """Colour of matt paint whose outward normal is (nx, ny, nz)."""
        light = self.light
        sun = light.sun
        facing = max(0.0, nx * sun[0] + ny * sun[1] + nz * sun[2])
        sky = 0.78 + 0.22 * ny
        (r, g, b), (dr, dg, db), (ar, ag, ab) = color, light.direct, light.ambient
        return r * (ar * sky + dr * facing), g * (ag * sky + dg * facing), b * (ab * sky + db * facing)

    def _add(
        self, kind: int, color: Color, tile: str, plane: Point, u: Point, v: Point, far: float, ground: float
    ) -> int:
        """Add a surface: its plane (a, b, c); texture axes u = (x, z, shift) and v = (y, z, shift), in metres."""
        start, wide, high, grade = self._tiles[tile]
        a, b, c = plane
        self._table.extend(
            (
                a, b, c, *color, start, u[0] * wide, u[1] * wide, u[2] * wide + _BIAS,
                v[0] * high, v[1] * high, v[2] * high + _BIAS, grade, abs(b) + abs(c), 1 / far, ground,
            )
        )  # fmt: skip
        self._classes.append(kind)
        return len(self._classes) - 1

    def upright(self, kind: int, color: Color, z: float, tile: str = "plain", shift: float = 0.0) -> int:
        """Add a surface that faces the camera at distance `z`."""
        start, wide, high, grade = self._tiles[tile]
        near = 1 / z
        r, g, b = color
        v = self.eye * high + _BIAS
        self._table.extend((near, 0, 0, r, g, b, start, wide, 0, shift * wide + _BIAS, high, 0, v, grade, 0, near, 0))
        self._classes.append(kind)
        return len(self._classes) - 1

    def level(self, kind: int, color: Color, y: float = 0.0, tile: str = "plain", far: float = 1000.0) -> int:
        """Add a horizontal surface at height `y`; near the ground it receives shadows."""
        plane = (0, 0, 1 / (self.eye - y))
        return self._add(kind, color, tile, plane, (1, 0, 0), (0, 1, 0), far, float(y < 0.3))

    def wall(
        self, kind: int, color: Color, p: tuple[float, float], q: tuple[float, float], tile: str, base: float = 0.0
    ) -> int:
        """Add a vertical surface through ground points p = (x, z) and q, textured from p and from height `base`."""
        dx, dz = q[0] - p[0], q[1] - p[1]
        length = sqrt(dx * dx + dz * dz)
        tx, tz = dx / length, dz / length
        nx, nz = -tz, tx
        d = nx * p[0] + nz * p[1]
        if d < 0:
            nx, nz, d = -nx, -nz, -d
        d = max(d, 1e-3)
        rgb = self.lit(color, -nx, 0.0, -nz)
        along = (tx, tz, -tx * p[0] - tz * p[1])
        return self._add(kind, rgb, tile, (nz / d, nx / d, 0), along, (1, 0, self.eye - base), max(p[1], q[1]), 0)

    def slope(self, kind: int, color: Color, p: Point, q: Point, r: Point, tile: str) -> int:
        """Add the plane through three points, textured along p to q and by height."""
        ax, ay, az = q[0] - p[0], q[1] - p[1], q[2] - p[2]
        bx, by, bz = r[0] - p[0], r[1] - p[1], r[2] - p[2]
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        norm = sqrt(nx * nx + ny * ny + nz * nz) or 1.0
        if ny < 0:
            norm = -norm
        nx, ny, nz = nx / norm, ny / norm, nz / norm
        d = nx * p[0] + ny * p[1] + nz * p[2] - ny * self.eye
        if abs(d) < 1e-3:
            d = 1e-3
        length = sqrt(ax * ax + az * az) or 1.0
        along = (ax / length, az / length, 0)
        rise = 1 / max(0.2, sqrt(1 - ny * ny))
        rgb = self.lit(color, nx, ny, nz)
        far = max(p[2], q[2], r[2])
        plane = (nz / d, nx / d, -ny / d)
        return self._add(kind, rgb, tile, plane, along, (rise, 0, self.eye * rise), far, 0)

    def face(self, surface: int, points: list[Point]) -> None:
        """Paint a polygon given in space."""
        focal, centre, horizon, eye = self.focal, self.centre, self.horizon, self.eye
        pixels = [(centre + x * focal / z, horizon + (eye - y) * focal / z) for x, y, z in points]
        self.pen.polygon(pixels, surface)

    def stamp(self, mask: str, x0: float, y0: float, x1: float, y1: float, surface: int) -> None:
        """Paint through the named mask, stretched over the box x0, y0, x1, y1 in pixels."""
        wide, high = max(1, round(x1 - x0)), max(1, round(y1 - y0))
        left, top = round(x0), round(y0)
        if left >= self.width or top >= self.height or left + wide <= 0 or top + high <= 0:
            return
        if wide * high < 4096:
            self.ids.paste(surface, (left, top, left + wide, top + high), _small_mask(mask, wide, high))
            return
        source, inside = (
            masks()[mask],
            (max(0, left), max(0, top), min(self.width, left + wide), min(self.height, top + high)),
        )
        sx, sy = source.width / wide, source.height / high
        box = ((inside[0] - left) * sx, (inside[1] - top) * sy, (inside[2] - left) * sx, (inside[3] - top) * sy)
        size = (inside[2] - inside[0], inside[3] - inside[1])
        self.ids.paste(surface, inside, source.resize(size, Image.Resampling.NEAREST, box))

    def shade(self, points: list[tuple[float, float]], strength: float = 1.0) -> None:
        """Cast a shadow on the ground; `points` are (x, z)."""
        if strength > 0:
            focal, centre, horizon = self.focal / 2, self.centre / 2, (self.horizon - self.top) / 2
            places = [(x, z if z > 0.6 else 0.6) for x, z in points]
            pixels = [(centre + x * focal / z, horizon + self.eye * focal / z) for x, z in places]
            self._shadow_pen.polygon(pixels, int(255 * strength))

    def cast(self, x: float, z: float, half: float, height: float, strength: float = 0.9) -> None:
        """The shadow that something upright throws on the ground, `half` metres wide to each side."""
        sun, strength = self.light.sun, strength * self.light.hardness
        if strength > 0.03 and z < 40:
            reach = height / max(0.3, sun[1])
            tx, tz = x - sun[0] * reach, max(0.7, z - sun[2] * reach)
            self.shade([(x - half, z), (x + half, z), (tx + half, tz), (tx - half, tz)], strength)

    def glow(self, x: float, y: float, z: float, radius: float, color: Color, surface: int) -> None:
        """Remember a shining lamp; it scatters light if `surface` is still to be seen there in the end."""
        if self.light.lamps > 0:
            u, v = self.project(x, y, z)
            if 0 <= u < self.width and 0 <= v < self.height:
                self.glows.append((u, v, radius * self.focal / z, color, surface))

    def table(self) -> np.ndarray:
        """What is known of every surface, float64 (surfaces, 17), in the order of `_add`."""
        return np.frombuffer(self._table).reshape(len(self._classes), -1)

    def labels(self) -> np.ndarray:
        """The class of every pixel, int64 (H, W)."""
        return np.array(self._classes, np.int64).take(np.asarray(self.ids))


@lru_cache(4096)
def _small_mask(name: str, width: int, height: int) -> Image.Image:
    return masks()[name].resize((width, height), Image.Resampling.NEAREST)
