"""Light and weather of the drawn streets: all that changes how a scene looks and leaves its labels alone."""

import random
from typing import NamedTuple

Color = tuple[float, float, float]

TIMES = ("day", "evening", "dusk")
WEATHERS = ("clear", "overcast", "fog", "rain")


class Light(NamedTuple):
    """The light of a scene: `sun` points towards it; `density` is the share of light that haze takes a metre.

    `direct` and `ambient` multiply the colours of paint, `zenith` and `haze` are colours. `wet` is how much the ground
    mirrors and `lamps` how bright lamps shine, 0 to 1; `noise` and `blur` belong to the camera.
    """

    sun: tuple[float, float, float]
    direct: Color
    ambient: Color
    zenith: Color
    haze: Color
    density: float
    clouds: str
    wet: float
    lamps: float
    noise: float
    blur: float

    @property
    def hardness(self) -> float:
        """Share of the light on level ground that comes from the sun: how dark a shadow is."""
        sun, sky = self.direct[0] * self.sun[1], self.ambient[0]
        return sun / (sun + sky)


def choose(rng: random.Random, weather: str | None, time: str | None) -> Light:
    """Draw a light at random, of the given weather and time of day where they are given."""
    sky, hour = rng.choices(WEATHERS, (55, 22, 10, 13))[0], rng.choices(TIMES, (62, 24, 14))[0]
    light = _clear(rng, time or hour)
    noise, blur, gain = rng.uniform(0.006, 0.02), rng.uniform(0.04, 0.16), rng.uniform(0.88, 1.12)
    thickness = rng.uniform(0.7, 1.4)
    light = _cloud(light, weather or sky)
    direct, ambient, zenith, haze = (
        _scale(color, gain) for color in (light.direct, light.ambient, light.zenith, light.haze)
    )
    return light._replace(
        direct=direct,
        ambient=ambient,
        zenith=zenith,
        haze=haze,
        density=light.density * thickness,
        noise=noise,
        blur=blur,
    )


def _scale(color: Color, by: float) -> Color:
    return color[0] * by, color[1] * by, color[2] * by


def _clear(rng: random.Random, time: str) -> Light:
    """A clear sky at the given time of day."""
    side, around, warmth = rng.choice((-1, 1)), rng.uniform(-1, 1), rng.uniform(0.9, 1.1)
    clouds = rng.choice(("clear", "cumulus", "cumulus", "wisps"))
    common = {"density": 1 / 700, "clouds": clouds, "wet": 0.0, "noise": 0.0, "blur": 0.0}
    if time == "day":
        sun = _unit(side * (0.35 + 0.4 * abs(around)), 0.75, -0.6 * around - 0.1)
        colors = (0.86 * warmth, 0.80, 0.70 / warmth), (0.56, 0.60, 0.68), (0.22, 0.44, 0.82), (0.78, 0.84, 0.90)
        return Light(sun, *colors, lamps=0.0, **common)
    sun = _unit(side * 0.8, 0.42, -0.45 * around)
    if time == "evening":
        colors = (1.12 * warmth, 0.80, 0.48 / warmth), (0.56, 0.54, 0.60), (0.36, 0.46, 0.68), (0.97, 0.80, 0.62)
        return Light(sun, *colors, lamps=0.0, **common)
    colors = (0.0, 0.0, 0.0), (0.44, 0.46, 0.60), (0.10, 0.14, 0.32), (0.62, 0.47, 0.48)
    return Light(sun, *colors, lamps=0.8, **common)


def _cloud(light: Light, weather: str) -> Light:
    """Draw clouds over a clear sky: no sun, grey colours, thicker air; rain wets the ground."""
    if weather == "clear":
        return light
    grey, bright = sum(light.haze) / 3, sum(light.ambient) / 3 + 0.37 * sum(light.direct) / 3
    dim = 0.94 if weather == "rain" else 1.0
    return light._replace(
        direct=(0.0, 0.0, 0.0),
        ambient=_scale((0.97, 1.0, 1.05), bright * dim),
        zenith=_blend(light.zenith, 0.72 * grey),
        haze=_scale(_blend(light.haze, 0.97 * grey), 0.82 if weather == "rain" else 1.0),
        density={"overcast": 1 / 450, "fog": 1 / 45, "rain": 1 / 170}[weather],
        clouds="overcast",
        wet=0.38 if weather == "rain" else 0.0,
        lamps=max(light.lamps, {"overcast": 0.0, "fog": 0.25, "rain": 0.35}[weather]),
    )


def _blend(color: Color, grey: float) -> Color:
    r, g, b = (c + 0.87 * (grey - c) for c in color)
    return r, g, b


def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    norm = (x * x + y * y + z * z) ** 0.5
    return x / norm, y / norm, z / norm
