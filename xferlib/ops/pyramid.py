"""Gaussian and Laplacian pyramids: a picture at half the resolution, again and again, and what each halving loses."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from xferlib.ops._halves import wide


def depth(size: tuple[int, int]) -> int:
    """
    Tell how often a picture is halved before its shorter side is one pixel.

    Parameters
    ----------
    size : tuple of int
        Height and width.

    Returns
    -------
    int
        The logarithm of the shorter side to base 2, rounded down.
    """
    return min(size).bit_length() - 1


def count(size: tuple[int, int], levels: int | None = None) -> int:
    """
    Check how often a picture is to be halved.

    Parameters
    ----------
    size : tuple of int
        Height and width.
    levels : int, optional
        How often; `depth` unless given.

    Returns
    -------
    int
        The levels.

    Raises
    ------
    ValueError
        If they are fewer than none or go on after one pixel is left.
    """
    most = (max(size) - 1).bit_length()
    levels = depth(size) if levels is None else levels
    if not 0 <= levels <= most:
        raise ValueError(f"{levels} levels of {size[0]}x{size[1]} pixels; from 0 to {most} are possible")
    return levels


def reduce(x: Tensor) -> Tensor:
    """
    Halve the resolution: blur with the kernel 1, 4, 6, 4, 1 over 16 along both axes, and keep every other pixel.

    Parameters
    ----------
    x : Tensor, shape (C, H, W) or (B, C, H, W)
        Pictures, floating point. Gradients pass.

    Returns
    -------
    Tensor, shape (..., ceil(H / 2), ceil(W / 2))
        Every other row and column of the blurred pictures, from the first. Beyond the border the pictures are
        mirrored without repeating the border itself, as OpenCV's ``pyrDown`` does.

    Raises
    ------
    ValueError
        If the pictures have not three or four axes, an empty side, or are not floating point.

    References
    ----------
    Burt, Adelson, "The Laplacian Pyramid as a Compact Image Code", IEEE Transactions on Communications 1983,
    equation 1, a = 3/8.
    """
    _check(x)
    kind, x = x.dtype, mirrored(wide(x), 2)
    height, width = x.shape[-2] - 4, x.shape[-1] - 4
    rows = [x[..., k : k + height : 2, :] for k in range(5)]
    x = (rows[0] + rows[4]).add_(rows[2], alpha=6).add_(rows[1], alpha=4).add_(rows[3], alpha=4)
    # Along rows the kernel is 1, 2, 1 by 1, 2, 1: strided reading is slow and so comes last.
    x = (x[..., :-2] + x[..., 2:]).add_(x[..., 1:-1], alpha=2)
    return (x[..., 0:width:2] + x[..., 2 : width + 2 : 2]).add_(x[..., 1 : width + 1 : 2], alpha=2).div_(256).to(kind)


def expand(x: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Double the resolution: zeros between the pixels, and the kernel of `reduce` times two along each axis.

    Parameters
    ----------
    x : Tensor, shape (C, h, w) or (B, C, h, w)
        Pictures, floating point. Gradients pass.
    size : tuple of int
        Height and width of the result: those that `reduce` brings to h and w, so 2h or 2h - 1, and 2w or 2w - 1.

    Returns
    -------
    Tensor, shape (..., *size)
        The enlarged pictures. Beyond the border they are mirrored above and on the left; below and on the right the
        last pixel goes on, as in OpenCV's ``pyrUp``.

    Raises
    ------
    ValueError
        If the size is not one of those, or the pictures are not as `reduce` takes them.

    References
    ----------
    Burt, Adelson 1983, equation 2.
    """
    _check(x)
    if tuple(-(-side // 2) for side in size) != tuple(x.shape[-2:]):
        height, width = x.shape[-2:]
        raise ValueError(
            f"{height}x{width} does not expand to {size[0]}x{size[1]}; "
            f"heights {2 * height - 1} and {2 * height}, widths {2 * width - 1} and {2 * width} are possible"
        )
    return _doubled(_doubled(wide(x), -1), -2)[..., : size[0], : size[1]].to(x.dtype)


def gaussian(x: Tensor, levels: int | None = None) -> list[Tensor]:
    """
    Build a Gaussian pyramid: the pictures, and their reductions.

    Parameters
    ----------
    x : Tensor, shape (C, H, W) or (B, C, H, W)
        Pictures, floating point. Gradients pass.
    levels : int, optional
        How often to halve; `depth` unless given.

    Returns
    -------
    list of Tensor
        ``levels + 1`` maps, from fine to coarse; the first is ``x`` itself.

    Raises
    ------
    ValueError
        If the levels are fewer than none or go on after one pixel is left, or the pictures are not as `reduce` takes
        them.

    References
    ----------
    Burt, Adelson 1983.
    """
    _check(x)
    maps = [x]
    for _ in range(count(x.shape[-2:], levels)):
        maps.append(reduce(maps[-1]))
    return maps


def laplacian(x: Tensor, levels: int | None = None) -> list[Tensor]:
    """
    Build a Laplacian pyramid: what each halving loses, and what is left after the last.

    Parameters
    ----------
    x : Tensor, shape (C, H, W) or (B, C, H, W)
        Pictures, floating point. Gradients pass.
    levels : int, optional
        How often to halve; `depth` unless given.

    Returns
    -------
    list of Tensor
        ``levels`` maps of differences from fine to coarse, then the coarsest map of the Gaussian pyramid.
        `collapse` gives the pictures back.

    Raises
    ------
    ValueError
        As `gaussian` does.

    References
    ----------
    Burt, Adelson 1983.
    """
    maps = gaussian(x, levels)
    fine = [above - expand(below, above.shape[-2:]) for above, below in pairwise(maps)]
    return [*fine, maps[-1]]


def collapse(maps: list[Tensor]) -> Tensor:
    """
    Add up a Laplacian pyramid.

    Parameters
    ----------
    maps : list of Tensor
        As `laplacian` gives them. Gradients pass.

    Returns
    -------
    Tensor, shape of the first map
        The pictures.

    Raises
    ------
    ValueError
        If there is no map, or one is not half as large as the one before.

    References
    ----------
    Burt, Adelson 1983.
    """
    if not maps:
        raise ValueError("a pyramid without maps does not collapse; `laplacian` gives at least one")
    x = maps[-1]
    for fine in reversed(maps[:-1]):
        x = fine + expand(x, fine.shape[-2:])
    return x


def mirrored(x: Tensor, margin: int) -> Tensor:
    """
    Add a margin in which pictures are mirrored without repeating their border, to and fro where they are narrow.

    Parameters
    ----------
    x : Tensor, shape (C, H, W) or (B, C, H, W)
        Pictures.
    margin : int
        Pixels to add on each side.

    Returns
    -------
    Tensor, shape (..., H + 2 * margin, W + 2 * margin)
        The larger pictures; OpenCV calls this BORDER_REFLECT_101.
    """
    if min(x.shape[-2:]) > margin:
        return F.pad(x, (margin,) * 4, mode="reflect")
    rows, columns = (_mirror(side, margin, x.device) for side in x.shape[-2:])  # too narrow for PyTorch's padding
    return x[..., rows[:, None], columns]


def _check(x: Tensor) -> None:
    if x.ndim not in (3, 4) or 0 in x.shape[-2:] or not x.is_floating_point():
        raise ValueError(
            f"pictures of shape {tuple(x.shape)} and {x.dtype}; expected (C, H, W) or (B, C, H, W), floating point"
        )


def _mirror(side: int, margin: int, device: torch.device) -> Tensor:
    period = max(2 * (side - 1), 1)
    index = torch.arange(-margin, side + margin, device=device) % period
    return torch.minimum(index, period - index)


def _doubled(x: Tensor, axis: int) -> Tensor:
    """Double the pixels along an axis, the last or the one before."""
    side = x.shape[axis]
    before, last = x.narrow(axis, min(1, side - 1), 1), x.narrow(axis, -1, 1)
    padded = torch.cat((before, x, last), axis)
    # The kernels 1, 6, 1 over 8 and 1, 1 over 2.
    after = padded.narrow(axis, 2, side)
    at, between = padded.narrow(axis, 0, side).lerp(after, 0.5).lerp_(x, 0.75), x.lerp(after, 0.5)
    if axis == -1:
        # A complex number's parts alternate in memory; PyTorch interleaves them several times as fast as it stacks.
        return torch.view_as_real(torch.complex(at, between)).flatten(-2)
    return torch.stack((at, between), -2).flatten(-3, -2)
