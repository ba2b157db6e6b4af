"""Colour: what a stored value says of light, and how bright it looks."""

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
    return torch.where(image > 0.04045, ((image + 0.055) / 1.055) ** 2.4, image / 12.92)


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
