"""
Small faces: the hundred of Labeled Faces in the Wild that scikit-image ships, and what bad light makes of them.

They have no names here, and none is wanted: each picture is taken as a person of its own. `TRAIN` and `TEST` share no
picture; of a person there may be several.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

COUNT, SIDE = 100, 25
TRAIN = range(50)
"""Numbers of the faces that may be trained on."""
TEST = range(50, COUNT)
"""Numbers of the faces that nothing is trained on."""
ORIGIN = (
    "100 faces of Labeled Faces in the Wild (Huang, Ramesh, Berg, Learned-Miller, 2007), cropped and reduced to 25x25 "
    "grey pixels; shipped with scikit-image as skimage.data.lfw_subset"
)
"""Where the faces come from."""


@lru_cache(maxsize=1)
def _all() -> Tensor:
    from skimage.data import lfw_subset

    return torch.from_numpy(lfw_subset()[:COUNT]).float()[:, None]


def load(numbers: range = range(COUNT)) -> Tensor:
    """
    Load faces in good light.

    Parameters
    ----------
    numbers : range
        Which: `TRAIN`, `TEST`, or any other of the hundred.

    Returns
    -------
    Tensor, shape (N, 1, 25, 25), float32
        Grey, in [0, 1]. The caller owns it.

    Raises
    ------
    ValueError
        If a number is not one of the hundred.
    """
    wrong = [number for number in numbers if not 0 <= number < COUNT]
    if wrong:
        raise ValueError(f"face {wrong[0]} does not exist; they are numbered 0 to {COUNT - 1}")
    return _all()[list(numbers)].clone()


def jitter(faces: Tensor, generator: Generator, *, shift: float = 1.0, turn: float = 6.0, zoom: float = 0.06) -> Tensor:
    """
    Move each face a little, as no two pictures of a person lie alike.

    Parameters
    ----------
    faces : Tensor, shape (N, C, H, W)
        Values in [0, 1]; a turn shears those that are not square.
    generator : Generator
        Source of randomness.
    shift : float
        Largest shift along each axis, in pixels.
    turn : float
        Largest turn to either side, in degrees.
    zoom : float
        Largest change of size, as a share.

    Returns
    -------
    Tensor, shape (N, C, H, W)
        The moved faces; beyond the border the last pixels go on.

    Raises
    ------
    ValueError
        If the faces are not (N, C, H, W) or an amount is negative.
    """
    if faces.ndim != 4 or min(shift, turn, zoom) < 0:
        raise ValueError(
            f"faces of shape {tuple(faces.shape)} with {shift=}, {turn=}, {zoom=}; expected (N, C, H, W), none below 0"
        )
    amounts = 2 * torch.rand(4, len(faces), generator=generator) - 1
    angle, scale = amounts[0] * turn * torch.pi / 180, 1 + zoom * amounts[1]
    cos, sin = angle.cos() / scale, angle.sin() / scale
    height, width = faces.shape[-2:]
    across, down = 2 * shift * amounts[2] / width, 2 * shift * amounts[3] / height
    rows = torch.stack([cos, -sin, across, sin, cos, down], 1).view(-1, 2, 3).to(faces)
    if not len(faces):
        return faces.clone()
    grid = F.affine_grid(rows, list(faces.shape), align_corners=False)
    return F.grid_sample(faces, grid, padding_mode="border", align_corners=False)


def darken(
    faces: Tensor,
    generator: Generator,
    *,
    gain: tuple[float, float] = (0.08, 0.25),
    gamma: tuple[float, float] = (1.0, 1.6),
    noise: float = 0.02,
) -> Tensor:
    """
    Take the light away: less of it, from one side, with the noise of a camera that sees little.

    Parameters
    ----------
    faces : Tensor, shape (N, C, H, W)
        Values in [0, 1].
    generator : Generator
        Source of randomness.
    gain : tuple of float
        Range of the share of light that is left, each face its own; evenly on a logarithmic scale.
    gamma : tuple of float
        Range of the exponent that crushes the shadows.
    noise : float
        Standard deviation of the sensor's noise; at full light as much is added by the grain of light itself.

    Returns
    -------
    Tensor, shape (N, C, H, W)
        Dark faces in [0, 1], rounded to 1/255 as a camera does.

    Raises
    ------
    ValueError
        If the faces are not (N, C, H, W), a range is not ordered and above 0, or the noise is negative.
    """
    for name, (low, high) in {"gain": gain, "gamma": gamma}.items():
        if not 0 < low <= high:
            raise ValueError(f"{name} from {low} to {high}; it must be a range above 0, smallest first")
    if faces.ndim != 4 or noise < 0:
        raise ValueError(f"faces of shape {tuple(faces.shape)} with noise {noise}; expected (N, C, H, W), none below 0")
    drawn = torch.rand(4, len(faces), 1, 1, 1, generator=generator)
    left = gain[0] * (gain[1] / gain[0]) ** drawn[0]
    curve = gamma[0] + (gamma[1] - gamma[0]) * drawn[1]
    # Light from one side: at most from 0.4 to 1 of it between two sides, from 0.28 to 1.12 between two corners.
    rows = torch.linspace(-1, 1, faces.shape[-2])[:, None]
    columns = torch.linspace(-1, 1, faces.shape[-1])[None]
    angle = 2 * torch.pi * drawn[2]
    side = 0.7 + 0.3 * drawn[3] * (angle.cos() * columns + angle.sin() * rows)
    light = left * side * faces.clamp(0, 1) ** curve
    spread = noise * (1 + light).sqrt()
    dark = light + spread * torch.randn(faces.shape, generator=generator)
    return (dark.clamp(0, 1) * 255).round() / 255


def probes(faces: Tensor, generator: Generator) -> Tensor:
    """
    Make of faces in good light what a camera at night would bring: moved, dark and noisy.

    Parameters
    ----------
    faces : Tensor, shape (N, C, H, W)
        Values in [0, 1].
    generator : Generator
        Source of randomness.

    Returns
    -------
    Tensor, shape (N, C, H, W)
        Dark faces in [0, 1], by `jitter` and `darken` with their defaults.
    """
    return darken(jitter(faces, generator), generator)
