"""
A camera: one photograph taken again with shorter and longer exposures, with the camera's response, noise and clipping.

The photograph stands for the scene. Its response curve is undone, so that values are proportional to light; then the
light is multiplied by the exposure, caught by a sensor that fills up, and written in bytes through the curve again.
"""

import torch
from torch import Generator, Tensor

from xferlib.ops.colour import from_light, to_light

COUNT = 7
"""Exposures of a stack unless asked otherwise: 1.JPG to 7.JPG."""


def expose(
    image: Tensor,
    stops: float,
    generator: Generator | None = None,
    full_well: float = 5000.0,
    read_noise: float = 4.0,
    bits: int | None = 8,
) -> Tensor:
    """
    Take a photograph again with another exposure.

    Parameters
    ----------
    image : Tensor, shape (C, H, W) or (B, C, H, W)
        The photograph that stands for the scene, grey or RGB, in [0, 1].
    stops : float
        Exposure to that of the photograph, as a power of 2: 1 doubles the light, -1 halves it, 0 keeps it.
    generator : Generator, optional
        Source of the noise. Without one the sensor has none.
    full_well : float
        Electrons that fill a pixel, above 0. White at 0 stops has as many; what comes later is lost. The fewer, the
        stronger the shot noise.
    read_noise : float
        Standard deviation of the noise of reading, in electrons, at least 0.
    bits : int, optional
        Of a stored value, 1 to 16; without them nothing is rounded.

    Returns
    -------
    Tensor, shape of ``image``
        The exposure in [0, 1]. With 0 stops and without noise it is the photograph, rounded.

    Raises
    ------
    ValueError
        If the image is not of that kind, or a number is out of its range.

    Notes
    -----
    The electrons of a pixel are drawn from a Poisson distribution about ``full_well * 2^stops * light``, to which
    normally distributed noise of reading is added.

    References
    ----------
    EMVA Standard 1288, release 3.1, sections 2.1 and 2.2, on the linear sensor and its noise.
    """
    _check(image)
    _check_camera(stops, full_well, read_noise, bits)
    electrons = full_well * 2.0**stops * to_light(image)
    if generator is not None:
        electrons = torch.poisson(electrons, generator)
        electrons += read_noise * torch.randn(electrons.shape, generator=generator, dtype=electrons.dtype)
    stored = from_light((electrons / full_well).clamp(0, 1))
    return stored if bits is None else (stored * (2**bits - 1)).round() / (2**bits - 1)


def stack(
    image: Tensor,
    count: int = COUNT,
    step: float = 1.0,
    generator: Generator | None = None,
    full_well: float = 5000.0,
    read_noise: float = 4.0,
    bits: int | None = 8,
) -> Tensor:
    """
    Take a photograph again with several exposures, from dark to bright.

    Parameters
    ----------
    image : Tensor, shape (C, H, W) or (B, C, H, W)
        The photograph that stands for the scene, grey or RGB, in [0, 1].
    count : int
        How many, at least 1.
    step : float
        Stops from one to the next, above 0.
    generator : Generator, optional
        Source of the noise. Without one the sensor has none.
    full_well, read_noise, bits : float, float, int
        The sensor, as `expose` takes it.

    Returns
    -------
    Tensor, shape (count, *image.shape)
        The exposures; the one in the middle has 0 stops, so seven go from -3 to 3.

    Raises
    ------
    ValueError
        If there is no exposure, the step is not above 0, or `expose` refuses the image or the sensor.
    """
    if count < 1 or not step > 0:
        raise ValueError(f"{count} exposures {step} stops apart; expected at least 1, more than 0 stops apart")
    stops = [step * (number - (count - 1) / 2) for number in range(count)]
    return torch.stack([expose(image, each, generator, full_well, read_noise, bits) for each in stops])


def _check(image: Tensor) -> None:
    if image.ndim not in (3, 4) or not image.is_floating_point() or image.shape[-3] not in (1, 3):
        with_alpha = image.ndim in (3, 4) and image.shape[-3] in (2, 4)
        alpha = "; drop an alpha channel with x[..., :-1, :, :]" if with_alpha else ""
        raise ValueError(
            f"an image of shape {tuple(image.shape)} and {image.dtype}; expected (C, H, W) or (B, C, H, W), floating "
            f"point, of 1 or 3 channels{alpha}"
        )
    if not image.numel():
        raise ValueError(f"an empty image of shape {tuple(image.shape)}; give one with pixels")
    least, most = image.amin().item(), image.amax().item()
    if not 0 <= least <= most <= 1:
        values = f"an image with values from {least:.4g} to {most:.4g}"
        raise ValueError(f"{values} leaves [0, 1]; bytes are divided by 255 first")


def _check_camera(stops: float, full_well: float, read_noise: float, bits: int | None) -> None:
    if not (abs(stops) <= 20 and full_well > 0 and read_noise >= 0 and (bits is None or 1 <= bits <= 16)):
        raise ValueError(
            f"{stops} stops, full well {full_well}, read noise {read_noise}, {bits} bits; expected -20 to 20 stops, "
            "a full well above 0, read noise from 0, 1 to 16 bits"
        )
