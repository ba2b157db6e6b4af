"""
Handwritten digits of 8x8 pixels: the 1797 that scikit-learn ships, in the order of its file.

`TRAIN` and `TEST` are its two ends. Nearest neighbours err twice as often there as with digits split at random, for
digits near each other in the file are alike.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

COUNT, SIDE, CLASSES = 1797, 8, 10
TRAIN = range(1000)
"""Numbers of the digits that may be trained on."""
TEST = range(1000, COUNT)
"""Numbers of the digits that nothing is trained on."""
ORIGIN = (
    "1797 digits of Optical Recognition of Handwritten Digits (Alpaydin, Kaynak, 1998; UCI Repository, "
    "CC BY 4.0) of 8x8 pixels in 17 shades; shipped with scikit-learn as sklearn.datasets.load_digits"
)
"""Where the digits come from."""


@lru_cache(maxsize=1)
def _all() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.from_numpy(found.images).float()[:, None] / 16, torch.from_numpy(found.target).long()


def load(numbers: range = range(COUNT)) -> tuple[Tensor, Tensor]:
    """
    Load digits and what they are.

    Parameters
    ----------
    numbers : range
        Which: `TRAIN`, `TEST`, or any other of the 1797.

    Returns
    -------
    images : Tensor, shape (N, 1, 8, 8), float32
        Ink, in [0, 1]. The caller owns it.
    labels : Tensor, shape (N,), int64
        Classes 0 to 9.

    Raises
    ------
    ValueError
        If a number is not one of the 1797.
    """
    wrong = [number for number in numbers if not 0 <= number < COUNT]
    if wrong:
        raise ValueError(f"digit {wrong[0]} does not exist; they are numbered 0 to {COUNT - 1}")
    images, labels = _all()
    return images[list(numbers)], labels[list(numbers)]


def shift(images: Tensor, generator: Generator, most: int = 1) -> Tensor:
    """
    Move each picture by a few whole pixels, its own way.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
        Pictures on a ground of 0.
    generator : Generator
        Source of randomness.
    most : int
        Largest shift along each axis, in pixels.

    Returns
    -------
    Tensor, shape (N, C, H, W)
        The moved pictures; what leaves is lost, and 0 comes in.

    Raises
    ------
    ValueError
        If the pictures are not (N, C, H, W) or the shift is negative.
    """
    if images.ndim != 4 or most < 0:
        raise ValueError(
            f"pictures of shape {tuple(images.shape)} and shifts up to {most}; expected (N, C, H, W), from 0"
        )
    height, width = images.shape[-2:]
    by = torch.randint(2 * most + 1, (2, len(images), 1), generator=generator)
    rows, columns = by[0] + torch.arange(height), by[1] + torch.arange(width)
    each = torch.arange(len(images))[:, None, None]
    return F.pad(images, (most,) * 4).movedim(1, -1)[each, rows[:, :, None], columns[:, None]].movedim(-1, 1)
