"""Random changes that leave the truth true: an image and its labels, moved, mirrored and relit together."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as TF

VOID = 255


def uniform(low: float, high: float, generator: Generator) -> float:
    """
    Draw one number.

    Parameters
    ----------
    low, high : float
        The range.
    generator : Generator
        Source of randomness.

    Returns
    -------
    float
        Uniform in [low, high).
    """
    return low + (high - low) * torch.rand((), generator=generator).item()


def scaled_crop(
    image: Tensor,
    labels: Tensor,
    size: tuple[int, int],
    scales: tuple[float, float],
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    """
    Resize an image and its labels by a random factor and cut a random window out.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].
    labels : Tensor, shape (H, W)
        Classes, int64.
    size : tuple of int
        Height and width of the window. Where the resized image is smaller, it is filled up with black and void.
    scales : tuple of float
        Least and largest factor, both above 0.
    generator : Generator
        Source of randomness.

    Returns
    -------
    Tensor, shape (3, *size)
        The window of the image.
    Tensor, shape size
        The window of the labels.

    Raises
    ------
    ValueError
        If the scales are not two positive numbers in order.
    """
    if not 0 < scales[0] <= scales[1]:
        raise ValueError(f"scales {scales} are not two factors above 0, the smaller first")
    factor = uniform(*scales, generator)
    target = [max(1, round(factor * n)) for n in labels.shape]
    image = TF.resize(image, target, antialias=True).clamp(0, 1)
    labels = TF.resize(labels[None], target, interpolation=TF.InterpolationMode.NEAREST_EXACT)[0]
    missing = [max(0, wanted - n) for wanted, n in zip(size, target, strict=True)]
    image = F.pad(image, (0, missing[1], 0, missing[0]))
    labels = F.pad(labels, (0, missing[1], 0, missing[0]), value=VOID)
    corner = [
        int(torch.randint(n - wanted + 1, (), generator=generator))
        for n, wanted in zip(labels.shape, size, strict=True)
    ]
    window = (..., *(slice(start, start + wanted) for start, wanted in zip(corner, size, strict=True)))
    return image[window], labels[window]


def flip(image: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """
    Mirror an image and its labels left to right, every other time.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].
    labels : Tensor, shape (H, W)
        Classes.
    generator : Generator
        Source of randomness.

    Returns
    -------
    Tensor, shape (3, H, W)
        The image.
    Tensor, shape (H, W)
        The labels.
    """
    if uniform(0, 1, generator) < 0.5:
        return image.flip(-1), labels.flip(-1)
    return image, labels


def relight(image: Tensor, generator: Generator, strength: float = 0.3) -> Tensor:
    """
    Change brightness, contrast and the colour of the light.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].
    generator : Generator
        Source of randomness.
    strength : float
        Brightness and contrast change by up to this share, each channel by a third of it.

    Returns
    -------
    Tensor, shape (3, H, W)
        RGB in [0, 1].
    """
    image = TF.adjust_brightness(image, uniform(1 - strength, 1 + strength, generator))
    image = TF.adjust_contrast(image, uniform(1 - strength, 1 + strength, generator))
    tint = 1 + strength / 3 * (2 * torch.rand(3, 1, 1, generator=generator) - 1)
    return (image * tint).clamp(0, 1)
