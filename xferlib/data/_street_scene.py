"""How a drawn street is laid out: the road and its camera, the plots beside it, the things on it."""

import random
from collections.abc import Callable
from itertools import pairwise
from math import atan, pi

from ._street_canvas import BUILDING, PAVEMENT, ROAD, SKY, TREE, Canvas
from ._street_cars import BODIES, car
from ._street_houses import FRONTS, design, house
from ._street_light import Color, Light
from ._street_people import bicyclist, person
from ._street_things import block, bush, fence, lamp, post, sign, signal, tree

_DEPTHS = (0.6, 1.2, 2, 3, 4.5, 6.5, 9, 12, 16, 21, 28, 37, 50, 68, 95, 130, 180)
_FAR = 110.0  # metres to the last plots; behind them lies the skyline
_SIDES = (-1, 1)
_HEDGE, _GROVE, _BRICK = (0.15, 0.23, 0.08), (0.15, 0.21, 0.09), (0.55, 0.36, 0.27)
_FENCE_PAINTS = ((0.08, 0.09, 0.10), (0.78, 0.78, 0.74), (0.40, 0.28, 0.18), (0.22, 0.30, 0.22), (0.55, 0.45, 0.32))
_RAIL_PAINTS = ((0.5, 0.52, 0.52), (0.1, 0.12, 0.12), (0.16, 0.26, 0.2))
# share of gardens, fewest and most storeys, shortest and longest plot, deepest front garden, all in metres
_TOWNS = {
    "terrace": (0.18, (2, 4), (6, 13), 0.0),
    "city": (0.16, (3, 6), (9, 24), 0.0),
    "suburb": (0.55, (1, 2), (6, 13), 6.0),
    "avenue": (0.60, (2, 4), (9, 24), 3.0),
}


class Street:
    """One street. `rng` alone decides what is where; the light decides only how it looks."""

    def __init__(self, rng: random.Random, height: int, width: int, light: Light) -> None:
        self.rng = rng
        eye, horizon, focal = rng.uniform(1.25, 1.7), rng.uniform(0.46, 0.58), rng.uniform(0.85, 1.25)
        self.canvas = Canvas(height, width, focal, horizon, eye, light)
        self.hand = rng.choice(_SIDES)  # the side they drive on
        self.half = rng.choice((3.2, 3.6, 4.2, 5.2, 6.4))  # half the width of the road
        self.parked = {side: rng.random() < 0.5 and self.half > 3.5 for side in _SIDES}
        self.walk = {side: rng.uniform(1.8, 3.8) for side in _SIDES}  # width of the pavement
        self.bend, self.yaw = rng.choice((0.0, rng.uniform(-0.004, 0.004))), rng.uniform(-0.16, 0.16)
        self.offset = self.hand * self.half * rng.uniform(0.2, 0.5)
        self.season = rng.choice(("leafy", "leafy", "leafy", "bare", "autumn"))
        self.town = rng.choice(("terrace", "city", "suburb", "suburb", "avenue", "mixed"))
        self.mouths = {side: self._mouth() for side in _SIDES}
        self.crossing = rng.uniform(6, 26) if rng.random() < 0.4 else None
        self._queue: list[tuple[float, int, Callable[..., None], tuple]] = []

    def _mouth(self) -> tuple[float, float] | None:
        """Where a side street opens, from and to, if there is one."""
        start, width = self.rng.uniform(9, 45), self.rng.uniform(6, 10)
        return (start, start + width) if self.rng.random() < 0.4 else None

    def at(self, x: float, z: float) -> float:
        """Camera x of a point `x` metres to the right of the middle of the road, `z` metres ahead."""
        return x - self.offset + self.yaw * z + self.bend * z * z

    def later(self, z: float, paint: Callable[..., None], *args: object) -> None:
        """Queue something to be painted in the order of depth."""
        self._queue.append((-z, len(self._queue), paint, args))

    def paint(self) -> Canvas:
        """Lay out and paint everything."""
        self._sky()
        self._ground()
        self._markings()
        for side in _SIDES:
            self._plots(side)
            self._furniture(side)
            self._parking(side)
        self._traffic()
        self._people()
        self._queue.sort(key=lambda item: item[:2])
        for _, _, paint, args in self._queue:
            paint(self.canvas, *args)
        return self.canvas

    def _sky(self) -> None:
        """The sky, and before it the distant roofs and woods; the same whatever the width of the picture."""
        canvas, light, rng = self.canvas, self.canvas.light, random.Random(self.rng.random())
        sky = canvas.level(SKY, light.zenith, 0.2 / light.density, light.clouds, 5 / light.density)
        canvas.pen.rectangle((0, 0, canvas.width, canvas.height), sky)
        z, span = _FAR + 10, 200.0
        scale = canvas.focal / z
        roofs, crests = [(-span, -4.0)], [(-span, -4.0)]
        x = -span
        while x < span:
            step, y = rng.uniform(8, 28), rng.uniform(4, 17) * (rng.random() < 0.7)
            roofs += [(x, y), (x + step, y)]
            x += step
        x, tall = -span, 6.0
        while x < span:
            step, tall = rng.uniform(4, 9), min(11.0, max(1.5, tall + rng.uniform(-2.5, 2.5)))
            crests += [(x, tall), (x + step / 4, tall + step / 5), (x + step * 0.75, tall + step / 5)]
            x += step
        houses = canvas.upright(BUILDING, canvas.lit((0.5, 0.48, 0.47), 0, 0.2, -1), z, "modern")
        woods = canvas.upright(TREE, canvas.lit((0.15, 0.20, 0.10), 0, 0.3, -1), z, "leaves")
        for surface, outline in ((houses, roofs), (woods, crests)):
            outline.append((span, -4.0))
            pixels = [(canvas.centre + x * scale, canvas.horizon + (canvas.eye - y) * scale) for x, y in outline]
            canvas.pen.polygon(pixels, surface)

    def _strip(self, surface: int, x0: float, x1: float, depths: tuple[float, ...] = _DEPTHS) -> None:
        """Paint a band of ground between x0 and x1 from the middle of the road."""
        canvas, left, right = self.canvas, [], []
        for z in depths:
            scale = canvas.focal / z
            middle, row = canvas.centre + self.at(0.0, z) * scale, canvas.horizon + canvas.eye * scale
            left.append((middle + x0 * scale, row))
            right.append((middle + x1 * scale, row))
        canvas.pen.polygon(left + right[::-1], surface)

    def _ground(self) -> None:
        """Grass or paving, pavements with kerbs, the road and the mouths of side streets."""
        rng, canvas, half = self.rng, self.canvas, self.half
        pale, warm, tar = rng.uniform(0.38, 0.56), rng.uniform(-0.015, 0.05), rng.uniform(0.20, 0.36)
        stone: Color = (pale + warm, pale, pale - warm)
        lush: Color = (0.24 + rng.uniform(-0.03, 0.06), 0.31, 0.13)
        paved = {side: rng.random() < 0.5 for side in _SIDES}
        slabs, surface = (
            rng.choice(("slabs", "slabs", "asphalt", "cobbles")),
            rng.choice(("asphalt", "asphalt", "worn", "cobbles")),
        )
        grass = canvas.level(TREE, canvas.lit(lush, 0, 1, 0), tile="grass")
        paving = canvas.level(PAVEMENT, canvas.lit(stone, 0, 1, 0), tile=slabs)
        kerb = canvas.level(PAVEMENT, canvas.lit(tuple(c * 1.25 for c in stone), 0, 1, 0))
        road = canvas.level(ROAD, canvas.lit((tar, tar, tar * 1.03), 0, 1, 0), tile=surface)
        canvas.pen.rectangle((0, canvas.horizon, canvas.width, canvas.height), grass)
        for side in _SIDES:
            self._strip(paving, side * half, side * (half + (60 if paved[side] else self.walk[side])))
        self._strip(road, -half, half)
        for side in _SIDES:
            pieces, mouth = (_DEPTHS,), self.mouths[side]
            if mouth:
                start, end = mouth
                pieces = ((*(z for z in _DEPTHS if z < start), start), (end, *(z for z in _DEPTHS if z > end)))
                near, far = (self.at(side * (half - 0.3), z) for z in mouth)
                canvas.face(road, [(near, 0, start), (far, 0, end), (90 * side, 0, end), (90 * side, 0, start)])
            for depths in pieces:
                self._strip(kerb, side * half, side * (half + 0.16), depths)

    def _markings(self) -> None:
        """Paint on the road: the middle line, lines along the kerbs, a zebra crossing."""
        rng, canvas, half = self.rng, self.canvas, self.half
        white = canvas.level(ROAD, canvas.lit((0.66, 0.66, 0.63), 0, 1, 0), tile="worn")
        yellow = canvas.level(ROAD, canvas.lit((0.66, 0.52, 0.16), 0, 1, 0), tile="worn")
        dashed, edges, length, z = rng.random() < 0.8, rng.random(), rng.uniform(2, 4), rng.uniform(0.7, 3)
        if dashed:
            while z < 60:
                self._strip(white, -0.07, 0.07, (z, z + length / 2, z + length))
                z += 2 * length
        else:
            self._strip(white, -0.08, 0.08)
        if edges < 0.5:
            for side in _SIDES:
                for inset in (0.3, 0.5) if edges < 0.3 else (0.3,):
                    self._strip(yellow if edges < 0.3 else white, side * (half - inset), side * (half - inset - 0.09))
        if self.crossing:
            count, reach = int(half), (self.crossing, self.crossing + 2.6)
            for k in range(-count, count):
                self._strip(white, (k + 0.2) * half / count, (k + 0.75) * half / count, reach)

    def _plots(self, side: int) -> None:
        """Fill one side of the street, plot by plot, from the camera to the distance."""
        rng, mouth = self.rng, self.mouths[side]
        town = rng.choice(tuple(_TOWNS)) if self.town == "mixed" else self.town
        green, storeys, lengths, yard = _TOWNS[town]
        usual, z = rng.choice(FRONTS), rng.uniform(-6, 3)
        while z < _FAR - 20:
            length = rng.uniform(*lengths)
            if mouth and z < mouth[1] and z + length > mouth[0]:
                if mouth[0] - z < 4:
                    z = mouth[1] + 0.6
                    continue
                length = mouth[0] - z
            start, end = max(z, 0.9), z + length
            z = end + (rng.uniform(0, 4) if yard else 0.0)
            if end < 1.5:
                continue
            if rng.random() < green:
                self._garden(side, start, end)
                continue
            back = rng.uniform(0.4, 1.0) * yard
            x, front = side * (self.half + self.walk[side] + back), rng.choice((usual, rng.choice(FRONTS)))
            near, far = (self.at(x, start), start), (self.at(x, end), end)
            plan = design(rng, side, near, far, front, rng.randint(*storeys), back < 1.5)
            self.later(end, house, plan)
            if back > 2:
                self._border(side, start, end)

    def _garden(self, side: int, z0: float, z1: float) -> None:
        """A plot of trees behind a fence or a hedge; far away, one green wall."""
        rng, x = self.rng, side * (self.half + self.walk[side])
        if z0 > 60:
            p, q = (self.at(x + side, z0), z0), (self.at(x + side, z1), z1)
            self.later(z1, block, TREE, _GROVE, "leaves", p, q, rng.uniform(4, 8), 4.0 * side)
            return
        for _ in range(rng.randint(1, 1 + int((z1 - z0) / 7))):
            z, out = rng.uniform(z0 + 2.5, z1 + 2), rng.uniform(2.0, 9)
            season = "conifer" if rng.random() < 0.15 else self.season
            self.later(z, tree, rng, self.at(x + side * out, z), z, rng.uniform(5, 12), season)
        for _ in range(rng.randint(0, 2)):
            z, out = rng.uniform(z0, z1) + 1, rng.uniform(1, 5)
            self.later(z, bush, rng, self.at(x + side * out, z), z, rng.uniform(0.6, 1.6))
        self._border(side, z0, z1)

    def _border(self, side: int, z0: float, z1: float) -> None:
        """A fence, a hedge or a wall between the pavement and a plot, in straight stretches."""
        rng, x = self.rng, side * (self.half + self.walk[side] + 0.2)
        kind = rng.choice(("railing", "pickets", "boards", "boards", "rail", "hedge", "wall"))
        paint, tall = rng.choice(_FENCE_PAINTS), rng.uniform(0.9, 1.8)
        count = max(1, int((z1 - z0) / 6))
        stops = [z0 + (z1 - z0) * k / count for k in range(count + 1)]
        for a, b in pairwise(stops):
            p, q = (self.at(x, a), a), (self.at(x, b), b)
            if kind == "hedge":
                self.later(b - 0.1, block, TREE, _HEDGE, "leaves", p, q, tall, 0.7 * side)
            elif kind == "wall":
                self.later(b - 0.1, block, BUILDING, _BRICK, "brick", p, q, tall * 0.7, 0.3 * side)
            else:
                height = min(tall, 1.1) if kind in ("pickets", "rail") else tall
                self.later(b - 0.1, fence, kind, paint, p, q, height)

    def _free(self, side: int, *depths: float) -> bool:
        """Whether the kerb at these depths is not the mouth of a side street."""
        mouth = self.mouths[side]
        return not mouth or all(not mouth[0] - 0.8 < z < mouth[1] + 0.8 for z in depths)

    def _furniture(self, side: int) -> None:
        """Lamps, signs, bollards, guard rails and trees along the kerb."""
        rng, kerb, mouth = self.rng, side * (self.half + 0.45), self.mouths[side]
        z, step = rng.uniform(4, 18), rng.uniform(16, 30)
        while z < _FAR:
            if self._free(side, z):
                self.later(z, lamp, rng, self.at(kerb, z), z, -side)
            z += step
        for _ in range(rng.randint(1, 4)):
            z, out = rng.uniform(5, 14) * rng.choice((1, 1, 2, 3.5)), rng.uniform(0, 0.5)
            if self._free(side, z):
                self.later(z, sign, rng, self.at(kerb + side * out, z), z)
        if mouth:
            z = mouth[0] - 1
            self.later(z, signal, rng, self.at(kerb, z), z)
        if rng.random() < 0.4:
            start, space, tone = rng.uniform(3, 20), rng.uniform(1.4, 2.5), rng.choice((0.10, 0.12, 0.5))
            for z in (start + k * space for k in range(rng.randint(3, 9))):
                if self._free(side, z):
                    self.later(z, post, tone, self.at(kerb, z), z)
        if rng.random() < 0.3:
            self._guard(side, rng.uniform(4, 30), rng.uniform(1.7, 5))
        if rng.random() < (0.85 if self.town == "avenue" else 0.3):
            z, step, tall = rng.uniform(5, 16), rng.uniform(7, 14), rng.uniform(5, 9)
            while z < 70:
                if self._free(side, z):
                    height = tall * rng.uniform(0.85, 1.15)
                    self.later(z, tree, rng, self.at(kerb + 0.45 * side, z), z, height, self.season)
                z += step

    def _guard(self, side: int, start: float, step: float) -> None:
        """A low rail between the pavement and the road, in three stretches."""
        rng, x = self.rng, side * (self.half + 0.3)
        kind, paint = rng.choice(("railing", "rail")), rng.choice(_RAIL_PAINTS)
        for a, b in ((start + k * step, start + (k + 1) * step) for k in range(3)):
            if self._free(side, a, (a + b) / 2, b):
                self.later(b, fence, kind, paint, (self.at(x, a), a), (self.at(x, b), b), 1.05)

    def _kind(self) -> str:
        return self.rng.choices(("hatch", "saloon", "offroad", "van"), (4, 3, 2, 1))[0]

    def _drive(self, side: int, x: float, z: float, kind: str, parked: bool) -> None:
        """Put a car on one side of the road, along the street."""
        heading = atan(self.yaw + 2 * self.bend * z) + (0 if side == self.hand else pi)
        self.later(z, car, self.rng, self.at(x, z), z, heading, kind, parked)

    def _clear(self, z0: float, z1: float) -> bool:
        """Whether the stretch keeps off the zebra crossing."""
        return self.crossing is None or z1 < self.crossing - 0.5 or z0 > self.crossing + 3.2

    def _parking(self, side: int) -> None:
        """Cars at rest along the kerb."""
        rng, z = self.rng, self.rng.uniform(4, 12)
        while self.parked[side] and z < 75:
            kind = self._kind()
            end = z + BODIES[kind].length
            if rng.random() < 0.72 and self._free(side, z, end) and self._clear(z, end):
                self._drive(side, side * (self.half - 1.05), (z + end) / 2, kind, True)
            z = end + rng.uniform(0.6, 2)

    def _traffic(self) -> None:
        """Cars and buses on the move, sparser in the distance."""
        rng = self.rng
        for side in _SIDES:
            x, z = side * max(self.half / 2 - 1.05 * self.parked[side], 1.1), rng.uniform(5.5, 18)
            while z < 90:
                kind = "bus" if rng.random() < 0.12 else self._kind()
                middle, z = z + BODIES[kind].length / 2, z + BODIES[kind].length
                if rng.random() < 0.7 and self._clear(middle - 3, middle + 3):
                    self._drive(side, x, middle, kind, False)
                z += rng.uniform(3, 12) + z * rng.uniform(0.1, 0.6)

    def _people(self) -> None:
        """People on the pavements and on the crossing, bicyclists at the edge of the road."""
        rng = self.rng
        for side in _SIDES:
            for _ in range(rng.randint(1, 5)):
                z, share = 5 * 9 ** rng.random(), rng.random()
                x = side * (self.half + 0.5 + share * max(0.2, self.walk[side] - 0.9))
                if self._free(side, z):
                    self.later(z, person, rng, self.at(x, z), z)
        for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 3))):
            z, side, across = 4.5 * 6 ** rng.random(), rng.choice(_SIDES), rng.random() < 0.35
            x = side * (self.half - (2.6 if self.parked[side] else 0.7))
            self.later(z - 0.3, bicyclist, rng, self.at(x, z), z, across)
        for _ in range(rng.randint(1, 4) if self.crossing else 0):
            z, x = self.crossing + rng.uniform(0.2, 2.4), rng.uniform(-self.half, self.half)
            self.later(z, person, rng, self.at(x, z), z)
