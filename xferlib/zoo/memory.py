"""A net on a picture of any size, within a given memory: at once where it fits, else tile by tile."""

import math
import os
import re
from collections.abc import Callable
from numbers import Real
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xferlib.metrics.cost import peak_memory
from xferlib.ops.tiling import apply_tiled, reach


def _half_of_all() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # not on Windows
        return 2**32


MEMORY = _half_of_all()
"""Bytes that a net's activations may take unless asked otherwise: half of this machine's memory, or 4 GB."""

_PROBE = 128
_TILE = 512
"""Largest tiles of a net that looks hardly beyond them: they stay in a processor's cache, which is faster."""
_bytes: "WeakKeyDictionary[nn.Module, float]" = WeakKeyDictionary()
_halos: "WeakKeyDictionary[nn.Module, int | None]" = WeakKeyDictionary()


def available(device: torch.device) -> int:
    """
    Say how much memory a net's activations may take there unless asked otherwise.

    Parameters
    ----------
    device : torch.device
        Where the net computes.

    Returns
    -------
    int
        Bytes: half of what a GPU of CUDA has free, elsewhere `MEMORY`.
    """
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else MEMORY


def bytes_of(size: float | str) -> int:
    """
    Read a size of memory.

    Parameters
    ----------
    size : float or str
        Bytes; or a number with K, M, G or T for 1024 and its powers, such as "500M" or "2 GB".

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    ValueError
        If it is neither, or not above 0.
    """
    text = f"{size:.0f}" if isinstance(size, Real) else str(size)
    found = re.fullmatch(r"(\d+\.?\d*) ?([KMGT]?)B?", text.upper())
    number = int(float(found[1]) * 1024 ** " KMGT".index(found[2] or " ")) if found else 0
    if not number:
        raise ValueError(f"{size!r} is no size of memory; give bytes, or write 500M or 2G")
    return number


def bytes_per_pixel(net: nn.Module) -> float:
    """
    Measure how much memory a net needs for each pixel of a picture.

    Parameters
    ----------
    net : nn.Module
        Net of images, in evaluation mode.

    Returns
    -------
    float
        Bytes of activations alive at once, by one pass on a blank picture.
    """
    if net not in _bytes:
        channels, margin = getattr(net, "in_channels", 3), getattr(net, "margin", 0)
        side = net.legal_size(_PROBE + 2 * margin) if margin else _PROBE
        _bytes[net] = max(1, peak_memory(net, (channels, side, side))) / (side - 2 * margin) ** 2
    return _bytes[net]


@torch.no_grad()
def apply_within(
    net: nn.Module,
    image: Tensor,
    max_memory: int = MEMORY,
    then: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """
    Apply a net to a picture without taking more memory than allowed.

    Parameters
    ----------
    net : nn.Module
        Net of images in evaluation mode, as `apply_tiled` takes it. One that looks at the whole picture, such as one
        with instance normalisation, cannot be tiled, unless it has `whole_and_local`, as `ExposureNet` has: a net
        that must see the whole picture, and one that goes over it, and over what the first makes of it, tile by tile.
    image : Tensor, shape (C, H, W)
        The picture.
    max_memory : int
        Bytes that the activations may take, about; the picture and the result come on top.
    then : callable, optional
        What to do with the net's result (1, K, h, w), such as ``lambda logits: logits.argmax(1)``.

    Returns
    -------
    Tensor, shape (K, s * H, s * W), or what ``then`` makes of it
        The result, the same as in one pass but for rounding.

    Raises
    ------
    ValueError
        If the picture does not fit and the net cannot be tiled, or no tile of it fits. The message says what would.
    """
    height, width = image.shape[-2:]
    pixels = max_memory / bytes_per_pixel(net)
    if hasattr(net, "whole_and_local") and height * width > min(pixels, _TILE**2):
        whole, local = net.whole_and_local
        found = apply_within(whole, image, max_memory)
        return apply_within(local, torch.cat([image, found]), max_memory, then)
    if 0 < getattr(net, "halo", 0) <= _TILE // 16:
        pixels = min(pixels, _TILE**2)
    if height * width <= pixels and not getattr(net, "margin", 0):
        result = net(image[None].to(device_of(net)))
        return (then(result) if then else result)[0].to(image.device)
    side = math.isqrt(int(pixels))
    if getattr(net, "margin", 0):
        tile = net.legal_size(min(side, _TILE) - net.stride + 1)
        if tile > side:
            raise _no_tile(net, tile, max_memory)
        return apply_tiled(net, image, tile, then=then, progress=None)
    halo, stride = halo_of(net), getattr(net, "stride", 1)
    if halo is None:
        check_fits(net, image, max_memory)
    tile = side // stride * stride
    if tile < 2 * halo + stride:
        raise _no_tile(net, 2 * halo + stride, max_memory)
    return apply_tiled(net, image, tile, halo=halo, stride=stride, then=then, progress=None)


def _no_tile(net: nn.Module, side: int, max_memory: int) -> ValueError:
    least = side**2 * bytes_per_pixel(net)
    return ValueError(f"{megabytes(max_memory)} of memory hold no tile; this net takes at least {megabytes(least)}")


def check_fits(net: nn.Module, image: Tensor, max_memory: int = MEMORY) -> None:
    """
    Refuse a picture that a net, which must see it whole, has no memory for.

    Parameters
    ----------
    net : nn.Module
        Net of images in evaluation mode.
    image : Tensor, shape (C, H, W)
        The picture.
    max_memory : int
        Bytes that the activations may take, about.

    Raises
    ------
    ValueError
        If they would take more. The message says what size fits.
    """
    height, width = image.shape[-2:]
    needed = bytes_per_pixel(net) * height * width
    if needed > max_memory:
        fitting = "x".join(str(max(1, int(side * math.sqrt(max_memory / needed)))) for side in (height, width))
        raise ValueError(
            f"a picture of {height}x{width} takes about {megabytes(needed)} of memory, more than the "
            f"{megabytes(max_memory)} allowed, and this net must see it whole: reduce it to about {fitting}, or allow "
            "more"
        )


def halo_of(net: nn.Module) -> int | None:
    """
    Say how far a net looks.

    Parameters
    ----------
    net : nn.Module
        Net of images, in evaluation mode.

    Returns
    -------
    int or None
        How many pixels away an input pixel can matter; None where that is every pixel, or where the period of its
        pooling is not known.
    """
    if net not in _halos:
        known = getattr(net, "halo", None)
        if known is None and hasattr(net, "stride"):
            try:
                known = reach(net, getattr(net, "in_channels", 3))
            except ValueError:  # it looks everywhere
                known = None
        _halos[net] = known
    return _halos[net]


def device_of(net: nn.Module) -> torch.device:
    """
    Say where a net computes.

    Parameters
    ----------
    net : nn.Module
        The net.

    Returns
    -------
    torch.device
        That of its first parameter; the CPU if it has none.
    """
    return next((p.device for p in net.parameters()), torch.device("cpu"))


def megabytes(count: float) -> str:
    """
    Write a number of bytes as one says it.

    Parameters
    ----------
    count : float
        Bytes.

    Returns
    -------
    str
        Such as "12 MB", rounded up.
    """
    return f"{math.ceil(count / 2**20)} MB"
