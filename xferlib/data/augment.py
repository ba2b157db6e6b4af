"""Random changes that leave the truth true: an image and its labels, moved, mirrored and relit together."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.interpolate import RectBivariateSpline
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as TF

VOID = 255
_MUCH = 16
"""Where a resized image has more than so many times the pixels of the window, only what that needs is resized; smaller
ones whole, as the shipped nets saw them."""


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
    image : Tensor, shape (C, H, W)
        RGB in [0, 1], perhaps with further layers such as probabilities.
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
    Tensor, shape (C, *size)
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
    corner = [
        int(torch.randint(max(n, wanted) - wanted + 1, (), generator=generator))
        for n, wanted in zip(target, size, strict=True)
    ]
    if math.prod(target) > _MUCH * math.prod(size):
        parts = zip(labels.shape, target, corner, size, strict=True)
        (rows, columns), target, corner = zip(*(_needed(*part) for part in parts), strict=True)
        image, labels = image[:, rows, columns], labels[rows, columns]
    image = TF.resize(image, list(target), antialias=True).clamp(0, 1)
    labels = TF.resize(labels[None], list(target), interpolation=TF.InterpolationMode.NEAREST_EXACT)[0]
    missing = [max(0, wanted - n) for wanted, n in zip(size, target, strict=True)]
    image = F.pad(image, (0, missing[1], 0, missing[0]))
    labels = F.pad(labels, (0, missing[1], 0, missing[0]), value=VOID)
    window = (..., *(slice(start, start + wanted) for start, wanted in zip(corner, size, strict=True)))
    return image[window], labels[window]


def _needed(side: int, target: int, corner: int, wanted: int) -> tuple[slice, int, int]:
    """
    Say which part of a side a window is made of, what that part is resized to, and where the window begins in it.

    The part has a margin, for what lies beyond the window counts where it is blurred; whole pixels move it by a
    fraction of one.
    """
    scale = side / target
    margin = 2 * math.ceil(scale) + 1
    first, last = max(0, int(corner * scale) - margin), min(side, math.ceil((corner + wanted) * scale) + margin)
    resized = round((last - first) / scale)
    return slice(first, last), resized, max(0, min(round(corner - first / scale), resized - wanted))


def flip(image: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """
    Mirror an image and its labels left to right, every other time.

    Parameters
    ----------
    image : Tensor, shape (C, H, W)
        RGB in [0, 1], perhaps with further layers.
    labels : Tensor, shape (H, W)
        Classes.
    generator : Generator
        Source of randomness.

    Returns
    -------
    Tensor, shape (C, H, W)
        The image.
    Tensor, shape (H, W)
        The labels.
    """
    if uniform(0, 1, generator) < 0.5:
        return image.flip(-1), labels.flip(-1)
    return image, labels


def turn(image: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """
    Turn an image and its labels by a random number of quarters, and mirror them every other time.

    Parameters
    ----------
    image : Tensor, shape (C, H, W)
        Values in [0, 1].
    labels : Tensor, shape (H, W)
        Classes or instances.
    generator : Generator
        Source of randomness.

    Returns
    -------
    Tensor, shape (C, H, W) or (C, W, H)
        The image.
    Tensor, shape (H, W) or (W, H)
        The labels.
    """
    quarters = int(torch.randint(4, (), generator=generator))
    return flip(image.rot90(quarters, (-2, -1)), labels.rot90(quarters, (-2, -1)), generator)


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


def common_points(windows: Sequence[Tensor], count: int, generator: Generator) -> Tensor:
    """
    Choose points that lie in all of several windows of a picture.

    Parameters
    ----------
    windows : sequence of Tensor, each of shape (4,)
        Top, left, height and width in pixels; all overlap.
    count : int
        How many points.
    generator : Generator
        Source of randomness.

    Returns
    -------
    Tensor, shape (count, 2)
        Row and column in the picture, in pixels, evenly over what the windows share.

    Raises
    ------
    ValueError
        If the windows share nothing.
    """
    first = torch.stack([window[:2] for window in windows]).amax(0)
    last = torch.stack([window[:2] + window[2:] for window in windows]).amin(0)
    if not (last > first).all():
        raise ValueError(f"windows {[window.tolist() for window in windows]} do not overlap; move them together")
    return first + (last - first) * torch.rand(count, 2, generator=generator)


def view(
    image: Tensor, window: Tensor, size: tuple[int, int], points: Tensor, generator: Generator
) -> tuple[Tensor, Tensor]:
    """
    Cut a window out of a picture, perhaps mirror it, and say where points of the picture are in it.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].
    window : Tensor, shape (4,)
        Top, left, height and width, in whole pixels.
    size : tuple of int
        Height and width of the view.
    points : Tensor, shape (N, 2)
        Row and column in the picture, in pixels.
    generator : Generator
        Source of randomness; one view in two is mirrored.

    Returns
    -------
    Tensor, shape (3, *size)
        The view.
    Tensor, shape (N, 2)
        Horizontal and vertical place of each point, in [-1, 1] within the view, as
        `torch.nn.functional.grid_sample` has them without ``align_corners``.
    """
    cut = TF.resized_crop(image, *window.int().tolist(), list(size), antialias=True)
    places = (2 * (points - window[:2]) / window[2:] - 1).flip(1)
    if uniform(0, 1, generator) < 0.5:
        return cut.flip(-1), places * torch.tensor([-1.0, 1.0])
    return cut, places


def rectangle(size: tuple[int, int], generator: Generator, share: float = 0.5) -> Tensor:
    """
    Draw a random rectangle of fixed area, to mix two pictures with.

    Parameters
    ----------
    size : tuple of int
        Height and width of the picture.
    generator : Generator
        Source of randomness.
    share : float
        Share of the picture that it covers, in (0, 1], up to whole pixels.

    Returns
    -------
    Tensor, shape size, bool
        True within; its height lies between the share and the whole of the picture's, evenly on a logarithmic scale.

    Raises
    ------
    ValueError
        If the share is not in (0, 1].

    References
    ----------
    French et al., "Semi-supervised semantic segmentation needs strong, varied perturbations", BMVC 2020, section 3.3.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share} is not in (0, 1]")
    tall = share ** uniform(0, 1, generator)
    sides = [max(1, round(n * part)) for n, part in zip(size, (tall, share / tall), strict=True)]
    top, left = (int(torch.randint(n - side + 1, (), generator=generator)) for n, side in zip(size, sides, strict=True))
    mask = torch.zeros(size, dtype=torch.bool)
    mask[top : top + sides[0], left : left + sides[1]] = True
    return mask


def elastic(
    image: Tensor,
    labels: Tensor,
    generator: Generator,
    *,
    grid: int = 3,
    sigma: float = 10.0,
) -> tuple[Tensor, Tensor]:
    """
    Deform an image and its labels smoothly, as tissue is deformed.

    Parameters
    ----------
    image : Tensor, shape (C, H, W)
        Values in [0, 1].
    labels : Tensor, shape (H, W)
        Classes or instances, int64.
    generator : Generator
        Source of randomness.
    grid : int
        Random displacements are drawn at grid x grid points, from corner to corner of the image.
    sigma : float
        Standard deviation of a displacement along each axis, in pixels.

    Returns
    -------
    Tensor, shape (C, H, W)
        The image, sampled bilinearly at the displaced places; beyond the edge it is mirrored.
    Tensor, shape (H, W)
        The labels, from the nearest pixel.

    Raises
    ------
    ValueError
        If the grid has fewer than two points a side, or sigma is negative.

    Notes
    -----
    The paper's slices have 512 pixels a side. On much smaller images the same sigma can fold the image over
    itself: deform before cutting a piece out, or scale sigma with the side.

    References
    ----------
    Ronneberger, Fischer, Brox, MICCAI 2015, section 3.1: a 3x3 grid, sigma = 10 pixels, and bicubic
    interpolation between the points; through three points a side we lay a spline of order 2.
    """
    if grid < 2 or not sigma >= 0:
        raise ValueError(f"grid {grid} and sigma {sigma}; expected 2 points a side at least, and sigma from 0 up")
    size = labels.shape
    nodes = (sigma * torch.randn(2, grid, grid, generator=generator)).numpy()
    moved = [_spread(axis, size) for axis in nodes]
    rows, columns = np.meshgrid(*map(np.arange, size), indexing="ij")
    # grid_sample wants x before y, in units in which the first pixel's centre is -1 and the last one's is 1.
    x = 2 * (columns + moved[1]) / max(size[1] - 1, 1) - 1
    y = 2 * (rows + moved[0]) / max(size[0] - 1, 1) - 1
    places = torch.from_numpy(np.stack([x, y], -1)[None])
    options = {"padding_mode": "reflection", "align_corners": True}
    bent = F.grid_sample(image[None].double(), places, mode="bilinear", **options)[0]
    numbers = F.grid_sample(labels[None, None].double(), places, mode="nearest", **options)[0, 0]
    return bent.to(image.dtype), numbers.to(labels.dtype)


def _spread(nodes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Interpolate displacements at grid points to every pixel with cubic splines, or of what order they allow."""
    order = min(3, len(nodes) - 1)
    at = np.linspace(0, 1, len(nodes))
    spline = RectBivariateSpline(at, at, nodes, kx=order, ky=order)
    return spline(*(np.linspace(0, 1, n) for n in size))
