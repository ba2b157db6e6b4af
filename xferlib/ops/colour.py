"""Colour: what a stored value says of light, how bright it looks, and brightness apart from hue."""

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a grey picture (ITU-R BT.601)."""


def to_light(image: Tensor) -> Tensor:
    """
    Undo the response curve of a picture.

    Parameters
    ----------
    image : Tensor
        Stored values in [0, 1].

    Returns
    -------
    Tensor, shape of ``image``
        Light in [0, 1], where white has 1.

    References
    ----------
    IEC 61966-2-1 (sRGB).
    """
    return torch.where(image > 0.04045, ((image.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4, image / 12.92)


def from_light(light: Tensor) -> Tensor:
    """
    Apply the response curve, the inverse of `to_light`.

    Parameters
    ----------
    light : Tensor
        Light in [0, 1].

    Returns
    -------
    Tensor, shape of ``light``
        Stored values in [0, 1].

    References
    ----------
    IEC 61966-2-1 (sRGB).
    """
    return torch.where(light > 0.0031308, 1.055 * light.clamp_min(0.0031308) ** (1 / 2.4) - 0.055, 12.92 * light)


def luminance(images: Tensor) -> Tensor:
    """
    Weigh the channels by how bright they look.

    Parameters
    ----------
    images : Tensor, shape (B, 3, H, W)
        RGB in [0, 1].

    Returns
    -------
    Tensor, shape (B, 1, H, W)
        The grey pictures, in [0, 1].

    Raises
    ------
    ValueError
        If the images are not (B, 3, H, W).
    """
    _check(images, "RGB")
    red, green, blue = images.split(1, 1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def to_ycbcr(images: Tensor) -> Tensor:
    """
    Split colours into luma, how bright a pixel is, and two differences of colour.

    The values are those of a studio's signal, as MATLAB's ``rgb2ycbcr`` and most papers on super-resolution have
    them: of 255 steps, luma takes 16 to 235 and the differences take 16 to 240, where grey has 128.

    Parameters
    ----------
    images : Tensor, shape (B, 3, H, W)
        RGB in [0, 1].

    Returns
    -------
    Tensor, shape (B, 3, H, W)
        Y, Cb (blue less luma) and Cr (red less luma) as a share of 255, so Y lies in [16/255, 235/255].

    Raises
    ------
    ValueError
        If the images are not (B, 3, H, W).

    Notes
    -----
    In bytes, Y = 16 + 65.481 R + 128.553 G + 24.966 B for R, G, B in [0, 1]. JPEG files and Pillow take the full
    range instead, Y = 255 (0.299 R + 0.587 G + 0.114 B): errors in it are 255/219 times as large.

    References
    ----------
    ITU-R BT.601-7, section 2.5.
    """
    _check(images, "RGB")
    red, green, blue = images.unbind(1)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    to_blue = (blue - luma) / (2 - 2 * LUMA[2])
    to_red = (red - luma) / (2 - 2 * LUMA[0])
    return torch.stack([16 + 219 * luma, 128 + 224 * to_blue, 128 + 224 * to_red], 1) / 255


def from_ycbcr(images: Tensor) -> Tensor:
    """
    Put luma and differences of colour together again, the inverse of `to_ycbcr`.

    Parameters
    ----------
    images : Tensor, shape (B, 3, H, W)
        Y, Cb and Cr as a share of 255.

    Returns
    -------
    Tensor, shape (B, 3, H, W)
        RGB. Most triples are no colour: theirs lies outside [0, 1].

    Raises
    ------
    ValueError
        If the images are not (B, 3, H, W).
    """
    _check(images, "Y, Cb and Cr")
    y, cb, cr = (255 * images).unbind(1)
    luma = (y - 16) / 219
    blue = luma + (2 - 2 * LUMA[2]) * (cb - 128) / 224
    red = luma + (2 - 2 * LUMA[0]) * (cr - 128) / 224
    green = (luma - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.stack([red, green, blue], 1)


def _check(images: Tensor, channels: str) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images of shape {tuple(images.shape)}; expected {channels} of (B, 3, H, W). "
            "One picture is [None]; put a see-through one on a ground first"
        )
