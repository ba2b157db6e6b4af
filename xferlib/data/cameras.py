"""How small pictures come about outside papers: reduced well or badly, with noise, and kept as JPEG."""

from io import BytesIO

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from xferlib.data import images
from xferlib.data.augment import uniform
from xferlib.metrics.restoration import smooth
from xferlib.ops.degrade import downscale, modcrop, to_bytes

BICUBIC, ALIASED, AVERAGED = 0.5, 0.2, 0.15
"""Shares of `snapshot` that are reduced as in papers, without antialias, and by the mean of each block; the rest are
out of focus first."""
FOCUS = (0.5, 2.5)
"""Standard deviations of what is out of focus, in pixels of the large picture; chosen for a factor of 4."""
NOISY, NOISE, GREY = 0.3, 0.06, 0.5
"""The share with noise, its largest standard deviation, and the share of it that is alike in red, green and blue."""
COMPRESSED, QUALITIES = 0.5, (40, 98)
"""The share that has been a JPEG file, and its least and largest quality."""


def jpeg(image: Tensor, quality: int) -> Tensor:
    """
    Give a picture as it comes back from a JPEG file.

    Parameters
    ----------
    image : Tensor, shape (3, H, W) or (1, H, W)
        RGB or grey in [0, 1].
    quality : int
        Pillow's, 1 to 95 or a little more; colour has half the resolution, as in most files.

    Returns
    -------
    Tensor, shape (3, H, W)
        The decoded picture.
    """
    file = BytesIO()
    images.to_pil(image).save(file, "JPEG", quality=quality)
    return images.from_pil(Image.open(file))


def snapshot(image: Tensor, factor: int, generator: Generator) -> Tensor:
    """
    Make a picture smaller as one of many cameras and programs might have done.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1], whose sides the factor divides.
    factor : int
        How many times smaller.
    generator : Generator
        Source of the camera, and of its noise.

    Returns
    -------
    Tensor, shape (3, H / factor, W / factor)
        The small picture, in bytes: multiples of 1/255.

    Raises
    ------
    ValueError
        If the factor is below 1 or does not divide a side.

    References
    ----------
    Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", ICCV Workshops
    2021, section 3: blur, resizing, noise and JPEG, of random kinds and strengths.
    """
    if modcrop(image, factor).shape != image.shape:
        raise ValueError(f"the factor {factor} does not divide {tuple(image.shape[-2:])}; see ops.degrade.modcrop")
    small = _reduced(image[None], factor, uniform(0, 1, generator), generator)[0]
    if uniform(0, 1, generator) < NOISY:
        strength = uniform(0, NOISE, generator)
        channels = 1 if uniform(0, 1, generator) < GREY else 3
        small = small + strength * torch.randn(channels, *small.shape[1:], generator=generator)
    if uniform(0, 1, generator) < COMPRESSED:
        least, most = QUALITIES
        small = jpeg(small.clamp(0, 1), int(torch.randint(least, most + 1, (), generator=generator)))
    return to_bytes(small)


def _reduced(images: Tensor, factor: int, kind: float, generator: Generator) -> Tensor:
    if kind < BICUBIC:
        return downscale(images, factor)
    if kind < BICUBIC + ALIASED:
        return F.interpolate(images, [side // factor for side in images.shape[-2:]], mode="bicubic")
    if kind < BICUBIC + ALIASED + AVERAGED:
        return F.avg_pool2d(images, factor)
    return downscale(smooth(images, uniform(*FOCUS, generator)), factor)
