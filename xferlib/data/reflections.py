"""
Reflections of a pane of glass, made: I = B + R, a blurred second picture added to the background.

A plain sum of two photographs is white in large parts, which photographs through glass seldom are. The papers therefore
take from the reflection about as much as overflows; `naive_blend` does not.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from xferlib.data.augment import uniform

CEILNET_SIGMAS = (2.0, 5.0)
ZHANG_SIGMAS = (1.0, 5.0)
"""The least and the largest blur of each paper's reflections, in pixels."""
WINDOW = 11
OVERFLOW = 1.3
GAMMA = 2.2
ZHANG_OVERFLOW = (1.08, 1.18)
TRANSMISSION = (0.8, 1.0)
VIGNETTE, VIGNETTE_DEVIATIONS = 560 / 480, 7.0
"""The vignette is cut from a square of so many times the longer side, and of so many standard deviations."""


class Blend(NamedTuple):
    """
    A picture behind glass, and what it is made of.

    Parameters
    ----------
    image : Tensor, shape (3, H, W) or (B, 3, H, W)
        RGB in [0, 1]: the background with the reflection.
    background : Tensor, shape of ``image``
        What is behind the glass, as it was given.
    reflection : Tensor, shape of ``image``
        What the glass adds.
    """

    image: Tensor
    background: Tensor
    reflection: Tensor


def naive_blend(
    background: Tensor,
    reflection: Tensor,
    generator: Generator | None = None,
    *,
    sigma: float | None = None,
    strength: float = 1.0,
) -> Blend:
    """
    Add a blurred picture and cut off what exceeds white: the data without the care that the papers take.

    Parameters
    ----------
    background, reflection : Tensor, shape (3, H, W) or (B, 3, H, W)
        Two pictures of one size, RGB in [0, 1].
    generator : Generator, optional
        Source of the blur, uniform in `CEILNET_SIGMAS` and the same for a whole batch; needed without ``sigma``.
    sigma : float, optional
        Blur of the reflection: standard deviation of a Gaussian of 11x11 pixels, above 0.
    strength : float
        Factor on the reflected picture, in [0, 1].

    Returns
    -------
    Blend
        ``image = min(background + reflection, 1)``.

    Raises
    ------
    ValueError
        If the pictures are not two of that kind, or a number is out of its range.
    """
    reflection = _reflected(background, reflection, generator, sigma, strength)
    return Blend((background + reflection).clamp(0, 1), background, reflection)


def ceilnet_blend(
    background: Tensor,
    reflection: Tensor,
    generator: Generator | None = None,
    *,
    sigma: float | None = None,
    strength: float = 1.0,
) -> Blend:
    """
    Add a reflection as Fan et al. do: where the sum overflows, the whole reflection is darkened.

    Parameters
    ----------
    background, reflection : Tensor, shape (3, H, W) or (B, 3, H, W)
        Two pictures of one size, RGB in [0, 1].
    generator : Generator, optional
        Source of the blur, uniform in `CEILNET_SIGMAS` and the same for a whole batch; needed without ``sigma``.
    sigma : float, optional
        Blur of the reflection: standard deviation of a Gaussian of 11x11 pixels, above 0. Beyond the border the
        reflected picture is black.
    strength : float
        Factor on the reflected picture, in [0, 1].

    Returns
    -------
    Blend
        ``image = min(background + reflection, 1)``. From the blurred picture 1.3 times the mean of what overflows is
        taken, over the values that do.

    Raises
    ------
    ValueError
        If the pictures are not two of that kind, or a number is out of its range.

    References
    ----------
    Fan, Yang, Hua, Chen, Wipf, "A Generic Deep Architecture for Single Image Reflection Removal and Image Smoothing",
    ICCV 2017, section 4.1 and supplement, as the authors' code has it.
    """
    reflection = _reflected(background, reflection, generator, sigma, strength)
    excess = _mean_overflow(background + reflection, (-3, -2, -1))
    reflection = (reflection - OVERFLOW * excess).clamp(0, 1)
    return Blend((background + reflection).clamp(0, 1), background, reflection)


def zhang_blend(
    background: Tensor,
    reflection: Tensor,
    generator: Generator,
    *,
    sigma: float | None = None,
    strength: float = 1.0,
) -> Blend:
    """
    Add a reflection as Zhang et al. do: in light, with a vignette, behind glass that takes some light away.

    Parameters
    ----------
    background, reflection : Tensor, shape (3, H, W) or (B, 3, H, W)
        Two pictures of one size, RGB in [0, 1].
    generator : Generator
        Source of what is drawn at random, the same for all pictures of a batch.
    sigma : float, optional
        Blur of the reflection in pixels, above 0; by default uniform in `ZHANG_SIGMAS`.
    strength : float
        Factor on the reflected light, in [0, 1].

    Returns
    -------
    Blend
        With a response curve of 2.2, ``image^2.2 = t background^2.2 + reflection^2.2``, up to white, with t in [0.8,
        1]. From each channel of the blurred light 1.08 to 1.18 times its mean overflow is taken.

    Raises
    ------
    ValueError
        If the pictures are not two of that kind, or a number is out of its range.

    References
    ----------
    Zhang, Ng, Chen, "Single Image Reflection Separation with Perceptual Losses", CVPR 2018, section 4, as the authors'
    code has it.
    """
    sigma = uniform(*ZHANG_SIGMAS, generator) if sigma is None else sigma
    _check(background, reflection, sigma, strength)
    behind, mirrored = background**GAMMA, strength * reflection**GAMMA
    window = 2 * math.ceil(2 * sigma) + 1
    mirrored = _blur(mirrored, sigma, window)
    excess = _mean_overflow(behind + mirrored, (-2, -1))
    mirrored = (mirrored - uniform(*ZHANG_OVERFLOW, generator) * excess).clamp(0, 1)
    mirrored = mirrored * _vignette(background.shape[-2:], generator).to(mirrored)
    light = uniform(*TRANSMISSION, generator) * behind + mirrored
    return Blend((light ** (1 / GAMMA)).clamp(0, 1), background, mirrored ** (1 / GAMMA))


def _reflected(
    background: Tensor, reflection: Tensor, generator: Generator | None, sigma: float | None, strength: float
) -> Tensor:
    if sigma is None:
        if generator is None:
            raise ValueError("neither a generator nor sigma is given; pass one, for the blur must come from somewhere")
        sigma = uniform(*CEILNET_SIGMAS, generator)
    _check(background, reflection, sigma, strength)
    return strength * _blur(reflection, sigma, WINDOW)


def _mean_overflow(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Take the mean of what exceeds 1, over the values that do; 0 where none does."""
    count = (values > 1).sum(axes, keepdim=True).clamp_min(1)
    return (values - 1).clamp_min(0).sum(axes, keepdim=True) / count


def _blur(images: Tensor, sigma: float, window: int) -> Tensor:
    """Convolve with a Gaussian cut off at a window; beyond the border all is black."""
    at = torch.arange(window, dtype=images.dtype, device=images.device) - window // 2
    line = torch.exp(-0.5 * (at / sigma) ** 2)
    line = line / line.sum()
    flat = images.reshape(-1, 1, *images.shape[-2:])
    for kernel, padding in ((line.view(1, 1, 1, -1), (0, window // 2)), (line.view(1, 1, -1, 1), (window // 2, 0))):
        flat = F.conv2d(flat, kernel, padding=padding)
    return flat.view(images.shape)


def _vignette(size: tuple[int, int], generator: Generator) -> Tensor:
    """Cut a piece out of a wide Gaussian, (H, W), at most 1."""
    # Differs from Zhang et al.: the Gaussian grows with the picture, where theirs has 560 pixels a side.
    whole = VIGNETTE * max(size)
    lines = []
    for side in size:
        start = uniform(0, whole - side, generator)
        at = VIGNETTE_DEVIATIONS * ((start + torch.arange(side) + 0.5) / whole - 0.5)
        lines.append(torch.exp(-(at**2) / 4))
    return lines[0][:, None] * lines[1]


def _check(background: Tensor, reflection: Tensor, sigma: float, strength: float) -> None:
    if background.shape != reflection.shape:
        shapes = f"{tuple(background.shape)} and {tuple(reflection.shape)}"
        raise ValueError(f"background and reflection of shapes {shapes}; crop or resize them to one size")
    if background.ndim not in (3, 4) or background.shape[-3] != 3 or background.numel() == 0:
        raise ValueError(
            f"pictures of shape {tuple(background.shape)}; expected RGB of (3, H, W) or (B, 3, H, W): leave an alpha "
            "channel out by [..., :3, :, :]"
        )
    for name, picture in (("background", background), ("reflection", reflection)):
        least, most = picture.min().item(), picture.max().item()
        if not picture.is_floating_point() or not 0 <= least <= most <= 1:
            values = f"{name} of {picture.dtype} has values outside [0, 1], from {least:.4g} to {most:.4g}"
            raise ValueError(f"{values}; divide bytes by 255, or clamp it")
    if not sigma > 0 or not 0 <= strength <= 1:
        raise ValueError(f"sigma {sigma}, strength {strength}; expected above 0, and from 0 to 1")
