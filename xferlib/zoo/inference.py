"""Applying a shipped net to a picture of any kind and size."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache, partial
from importlib import import_module
from numbers import Integral
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from xferlib.data import images
from xferlib.ops.views import Views, average_views
from xferlib.zoo.manifest import Row, ZooError, check_sight, row
from xferlib.zoo.memory import MEMORY, apply_within, bytes_of, device_of
from xferlib.zoo.objects import find_objects
from xferlib.zoo.scale import average_sizes, carried_over, enlarged, most_probable, seen, spread
from xferlib.zoo.weights import load_row

PICTURES = ("style", "super-resolution", "enhancement", "reflection removal")
"""Tasks whose result is a picture; that of others is labels or objects."""

Picture = str | os.PathLike | Image.Image | np.ndarray | Tensor


def apply(
    name: str,
    image: Picture,
    folder: str | os.PathLike | None = None,
    *,
    styles: str | Mapping[str, float] | None = None,
    max_memory: float | str = MEMORY,
    views: Views | None = None,
    full_size: bool = False,
    pixels: int | Sequence[int] | None = None,
) -> Tensor:
    """
    Apply a shipped net to one picture.

    Parameters
    ----------
    name : str
        Name of the net, as `rows` lists it.
    image : path, PIL image, array or Tensor
        File of a picture; picture; array (H, W) or (H, W, C), of uint8 with 1, 3 or 4 channels or of floats in
        [0, 1] with 1 or 3; or tensor (3, H, W), float in [0, 1].
    folder : path, optional
        Folder with a manifest and weights; by default that of the shipped nets.
    styles : str, or mapping of str to float, optional
        For a net of several styles, which of them to paint in and how much each counts, see `style_shares`.
    max_memory : float or str
        Memory that the net may take, about, in bytes or such as "2G"; by default half of this machine's. A larger
        picture is done tile by tile, with the same result, or refused where the net must see it whole, or where the
        probabilities of its classes, which averaging over views keeps for all pixels, take more.
    views : {1, 2, 8}, optional
        Views of the picture to average over, see `xferlib.ops.views.views_of`; by default as many as the manifest
        says. It takes as many times as long.
    full_size : bool
        Whether the net sees a large picture as it is. By default it is reduced to the pixels that the manifest says,
        for the net knows things, or draws strokes, at one scale, and what it finds is brought back; where the manifest
        names several, it is averaged over these sizes.
    pixels : int or sequence of int, optional
        To about how many pixels a larger picture is reduced, in place of what the manifest says. For a net that paints,
        fewer make larger strokes.

    Returns
    -------
    Tensor
        For a segmentation net the label map (H, W), int64, of the picture's own size. For a net that finds
        objects their map (H, W), int64: the surest object has number 1, 0 is none. Objects that the net is not sure of
        are left out; a large or crowded picture is searched piece by piece. For a net that paints or restores the new
        picture (3, H, W), RGB in [0, 1]; one that enlarges s times gives (3, s * H, s * W).

    Raises
    ------
    ZooError
        If the net cannot be loaded, is of a task that has no use on a picture alone, or paints, which cannot be
        averaged over views; or it cannot see a picture reduced to these pixels.
    ImageError
        If the picture cannot be read.
    ValueError
        If the array or tensor is not a picture, is too small for the net, or too large for the memory; there is no
        such number of views; or pixels are given and the full size is asked for.
    """
    entry = row(name, folder)
    shares = style_shares(entry, styles)
    return run(_net(entry, folder), entry, as_image(image), shares, max_memory, views, full_size, pixels)


def probabilities(
    name: str,
    image: Picture,
    folder: str | os.PathLike | None = None,
    *,
    max_memory: float | str = MEMORY,
    views: Views | None = None,
    full_size: bool = False,
    pixels: int | Sequence[int] | None = None,
) -> Tensor:
    """
    Say how probable each class is at each pixel of a picture, by a shipped net.

    Parameters
    ----------
    name : str
        Name of the net.
    image : path, PIL image, array or Tensor
        The picture, as `apply` takes it.
    folder : path, optional
        Folder with a manifest and weights; by default that of the shipped nets.
    max_memory : float or str
        As in `apply`.
    views : {1, 2, 8}, optional
        As in `apply`.
    full_size : bool
        As in `apply`.
    pixels : int or sequence of int, optional
        As in `apply`.

    Returns
    -------
    Tensor, shape (C, H, W)
        Probabilities, which add up to 1. Where one is the largest, there `apply` gives its class.

    Raises
    ------
    ZooError
        If the net cannot be loaded, does not give each pixel a class, or cannot see a picture reduced to these pixels.
    ImageError
        If the picture cannot be read.
    ValueError
        As from `apply`.
    """
    entry = row(name, folder)
    return class_probabilities(_net(entry, folder), entry, as_image(image), max_memory, views, full_size, pixels)


def class_probabilities(
    net: nn.Module,
    row: Row,
    image: Tensor,
    max_memory: float | str = MEMORY,
    views: Views | None = None,
    full_size: bool = False,
    pixels: int | Sequence[int] | None = None,
) -> Tensor:
    """
    Say how probable each class is at each pixel of an image, by a loaded net.

    Parameters
    ----------
    net : nn.Module
        Net of that row, in evaluation mode.
    row : Row
        Its row of the manifest.
    image : Tensor
        Image (3, H, W) in [0, 1].
    max_memory : float or str
        As in `apply`.
    views : {1, 2, 8}, optional
        As in `apply`.
    full_size : bool
        As in `apply`.
    pixels : int or sequence of int, optional
        As in `apply`.

    Returns
    -------
    Tensor, shape (C, H, W)
        Probabilities, the mean over the views.

    Raises
    ------
    ZooError
        If the net does not give each pixel a class, or cannot see a picture reduced to these pixels.
    ValueError
        As from `apply`.
    """
    if row.task != "segmentation":
        raise ZooError(f"{row.name!r} is a net for {row.task}; only one for segmentation knows how probable a class is")
    views, pixels = row.views if views is None else views, sizes_seen(row, full_size, pixels)
    max_memory = bytes_of(max_memory)
    with torch.no_grad(), _naming_sizes(image, pixels):
        return enlarged(_chances(net, row, image, max_memory, views, pixels), image.shape[1:])


def run(
    net: nn.Module,
    row: Row,
    image: Tensor,
    shares: Tensor | None = None,
    max_memory: float | str = MEMORY,
    views: Views | None = None,
    full_size: bool = False,
    pixels: int | Sequence[int] | None = None,
) -> Tensor:
    """
    Apply a loaded net to one image, as its task asks.

    Parameters
    ----------
    net : nn.Module
        Net of that row, in evaluation mode.
    row : Row
        Its row of the manifest.
    image : Tensor
        Image (3, H, W) in [0, 1].
    shares : Tensor, shape (S,), optional
        For a net of several styles, from `style_shares`.
    max_memory : float or str
        As in `apply`.
    views : {1, 2, 8}, optional
        As in `apply`.
    full_size : bool
        As in `apply`.
    pixels : int or sequence of int, optional
        As in `apply`.

    Returns
    -------
    Tensor
        The label map, the map of objects or the new picture, see `apply`.

    Raises
    ------
    ZooError
        If the net is of a task that has no use on a picture alone, or one that cannot be averaged over views; or it
        cannot see a picture reduced to these pixels.
    ValueError
        As from `apply`.
    """
    views, pixels = row.views if views is None else views, sizes_seen(row, full_size, pixels)
    max_memory = bytes_of(max_memory)
    if views != 1 and row.task == "style":
        raise ZooError(f"{row.name!r} cannot be averaged over {views} views of a picture; leave it at 1")
    with torch.no_grad(), _naming_sizes(image, pixels):
        match row.task:
            case "segmentation":
                return _labels(net, row, image, max_memory, views, pixels)
            case "instances":
                return spread(find_objects(net, seen(image, pixels)[0], views, max_memory), image.shape[1:])
            case "style" if shares is not None:
                return _picture(Painter(net, shares.to(device_of(net))).eval(), image, max_memory, views, pixels)
            case task if task in PICTURES:
                return _picture(net, image, max_memory, views, pixels)
            case task:
                raise ZooError(f"{row.name!r} is a net for {task}, which has no use on a picture alone")


class Painter(nn.Module):
    """
    A net of several styles with its choice made.

    Parameters
    ----------
    net : nn.Module
        Net of images and shares.
    shares : Tensor, shape (S,)
        How much each style counts, as `style_shares` gives it. What they lack of 1 is left to the picture itself.
    """

    def __init__(self, net: nn.Module, shares: Tensor) -> None:
        super().__init__()
        self.net, self.shares = net, shares

    def forward(self, images: Tensor) -> Tensor:
        """
        Paint pictures.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1].

        Returns
        -------
        Tensor, shape (B, 3, H, W)
            RGB, about in [0, 1].
        """
        strength = self.shares.sum()
        return torch.lerp(images, self.net(images, self.shares / strength.clamp_min(1e-6)), strength)


def style_shares(row: Row, styles: str | Mapping[str, float] | None = None) -> Tensor | None:
    """
    Say how much each of a net's styles counts.

    Parameters
    ----------
    row : Row
        Row of the manifest.
    styles : str, or mapping of str to float, optional
        One style by name; or the share of each by name, from 0. Shares of more than 1 together are scaled to 1; what
        they lack of 1 is left to the picture itself.

    Returns
    -------
    Tensor, shape (S,) or None
        Shares of all the net's styles, which add up to 1 at most; None for a net that has nothing to choose.

    Raises
    ------
    ZooError
        If the net has no such style, needs one and none is named, or the shares are negative or all 0.
    """
    if row.task != "style" or len(row.classes) < 2:
        if styles:
            raise ZooError(f"{row.name!r} has no styles to choose from; apply it without one")
        return None
    known = ", ".join(row.classes)
    if not styles:
        raise ZooError(f"{row.name!r} paints in several styles; name one or more of: {known}")
    styles = {styles: 1.0} if isinstance(styles, str) else styles
    for name, share in styles.items():
        if name not in row.classes:
            close = get_close_matches(name, row.classes, n=1, cutoff=0.4)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ZooError(f"{row.name!r} has no style {name!r}; {hint}there are: {known}")
        if not 0 <= share < float("inf"):
            raise ZooError(f"share {share} of style {name!r}; it must be a number from 0 up")
    total = sum(styles.values())
    if not 0 < total < float("inf"):
        raise ZooError(f"the shares of {', '.join(styles)} add up to {total}; give shares above 0, such as 0.5")
    return torch.tensor([styles.get(name, 0.0) / max(total, 1.0) for name in row.classes])


def sizes_seen(row: Row, full_size: bool = False, pixels: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """
    Say to how many pixels a net sees a larger picture reduced.

    Parameters
    ----------
    row : Row
        Row of the manifest.
    full_size : bool
        As in `apply`.
    pixels : int or sequence of int, optional
        As in `apply`.

    Returns
    -------
    tuple of int
        The numbers of pixels; none where it sees every picture as it is.

    Raises
    ------
    ZooError
        If these are no whole numbers from 1, or the result on a reduced picture could not be brought back.
    ValueError
        If pixels are given and the full size is asked for.
    """
    if pixels is None:
        return () if full_size else row.pixels
    if full_size:
        raise ValueError(f"pixels {pixels!r} and the full size; ask for one of them")
    several = isinstance(pixels, Iterable) and not isinstance(pixels, str)
    wanted = tuple(int(each) if _is_whole(each) else each for each in (pixels if several else (pixels,)))
    check_sight(replace(row, pixels=wanted))
    return wanted


def _is_whole(number: Any) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)


@contextmanager
def _naming_sizes(image: Tensor, pixels: Sequence[int]) -> Iterator[None]:
    """Add to what goes wrong on a reduced picture that it was reduced."""
    try:
        yield
    except ZooError:
        raise
    except ValueError as error:
        height, width = image.shape[1:]
        sizes = ["x".join(map(str, each.shape[1:])) for each in seen(image, pixels) if each.shape != image.shape]
        if not sizes:
            raise
        about = f"of the picture of {height}x{width} it sees {' and '.join(sizes)}, unless other pixels are asked for"
        raise ValueError(f"{error} ({about})") from error


def _labels(net: nn.Module, row: Row, image: Tensor, max_memory: int, views: Views, pixels: Sequence[int]) -> Tensor:
    if views == 1 and image[0].numel() <= min(pixels, default=math.inf):
        labels = apply_within(net, _grey(net, image), max_memory, lambda logits: logits.argmax(1))
        if labels.shape == image.shape[1:]:
            return labels  # no picture of logits was made
    return most_probable(_chances(net, row, image, max_memory, views, pixels), image.shape[1:])


def _chances(net: nn.Module, row: Row, image: Tensor, max_memory: int, views: Views, pixels: Sequence[int]) -> Tensor:
    """Average probabilities over sizes and views, at the largest size that is seen."""
    predict = partial(_softmax, net, max_memory=max_memory)

    def of_views(picture: Tensor) -> Tensor:
        _check_averaging(row, picture, max_memory, views)
        return average_views(predict, picture, views)

    return average_sizes(of_views, _grey(net, image), pixels)


def _check_averaging(row: Row, image: Tensor, max_memory: int, views: Views) -> None:
    """Refuse to keep the probabilities of a whole picture three times: their sum, those of a view, and these turned."""
    needed = 3 * 4 * len(row.classes) * image[0].numel()
    if views != 1 and needed > max_memory:
        raise ValueError(
            f"{views} views of {image.shape[1]}x{image.shape[2]} pixels and {len(row.classes)} classes take "
            f"{needed / 1e6:.0f} MB to average over, more than the {max_memory / 1e6:.0f} MB allowed: allow more, or "
            "ask for one view"
        )


def _picture(net: nn.Module, image: Tensor, max_memory: int, views: Views, pixels: Sequence[int]) -> Tensor:
    clamped = partial(apply_within, net, max_memory=max_memory, then=lambda made: made.clamp(0, 1))
    made = [carried_over(image, each, average_views(clamped, each, views)) for each in seen(image, pixels)]
    return (torch.stack(made).mean(0) if len(made) > 1 else made[0]).contiguous()


def _grey(net: nn.Module, image: Tensor) -> Tensor:
    """Give a net of one channel the mean of three."""
    return image.mean(0, keepdim=True) if getattr(net, "in_channels", 3) == 1 else image


def _softmax(net: nn.Module, image: Tensor, max_memory: int) -> Tensor:
    logits = apply_within(net, image, max_memory)
    if logits.shape[1:] != image.shape[1:]:  # coarser ones
        logits = F.interpolate(logits[None], image.shape[1:], mode="bilinear")[0]
    return logits.softmax(0)


def colours(row: Row) -> np.ndarray:
    """
    Palette of a net's classes.

    Parameters
    ----------
    row : Row
        Row of the manifest.

    Returns
    -------
    ndarray of uint8, shape (C, 3)
        RGB in 0 to 255: those of its data set, or, for a net trained on a reader's own folder, the colours of VOC.

    Raises
    ------
    ZooError
        If the net has no classes, or no such palette.
    """
    if row.palette is None and row.classes:
        return _voc_colours(len(row.classes))
    if row.palette is None or not row.palette.isidentifier():
        raise ZooError(f"{row.name!r} has no palette, it has: {row.palette!r}")
    try:
        return import_module(f"xferlib.data.{row.palette}").PALETTE
    except (ModuleNotFoundError, AttributeError) as error:
        raise ZooError(f"{row.name!r} has no palette: xferlib.data has no {row.palette!r} with one") from error


def _voc_colours(count: int) -> np.ndarray:
    """Give the colour map of PASCAL VOC: the bits of a number, three by three, are the highest bits of its colour."""
    numbers = np.arange(count)[:, None]
    shifts = 3 * np.arange(8) + np.arange(3)[:, None, None]  # colour, number, bit
    bits = (numbers >> shifts) & 1
    return (bits << (7 - np.arange(8))).sum(-1).T.astype(np.uint8)


def as_image(image: Picture) -> Tensor:
    """
    Bring a picture of any kind to the library's form.

    Parameters
    ----------
    image : path, PIL image, array or Tensor
        As `apply` takes it.

    Returns
    -------
    Tensor
        Image (3, H, W), float32 in [0, 1].

    Raises
    ------
    ImageError
        If the file cannot be read.
    ValueError
        If the array or tensor is not a picture.
    """
    if isinstance(image, (str, os.PathLike)):
        return images.read(image)
    if isinstance(image, Image.Image):
        return images.from_pil(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Tensor) and image.ndim == 3 and image.shape[0] == 3 and image.is_floating_point():
        return _checked(image.detach().cpu().float())
    what = f"{tuple(image.shape)}, {image.dtype}" if isinstance(image, Tensor) else repr(image)
    raise ValueError(f"not a picture: {what}; a tensor must be (3, H, W), float in [0, 1]")


def _from_array(array: np.ndarray) -> Tensor:
    pixels = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise ValueError(f"array of shape {array.shape}; a picture is (H, W) or (H, W, C) with C = 1, 3 or 4")
    if not pixels.size:
        raise ValueError(f"an array of shape {array.shape} has no pixel")
    pixels = np.ascontiguousarray(pixels)
    if pixels.dtype == np.uint8:
        return images.from_pil(Image.fromarray(pixels))
    if not np.issubdtype(pixels.dtype, np.floating) or pixels.shape[2:] == (4,):
        raise ValueError(f"array of {array.dtype} and shape {array.shape}; give uint8, or RGB floats in [0, 1]")
    tensor = torch.tensor(pixels.astype(np.float32))
    return _checked(tensor.expand(3, -1, -1) if tensor.ndim == 2 else tensor.permute(2, 0, 1))


def _checked(image: Tensor) -> Tensor:
    if image.numel() == 0:
        raise ValueError(f"a picture of shape {tuple(image.shape)} has no pixel")
    low, high = image.min().item(), image.max().item()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"values from {low:g} to {high:g} are outside [0, 1]; divide 0..255 by 255")
    return image.contiguous()


def _net(entry: Row, folder: str | os.PathLike | None) -> nn.Module:
    return _cached(entry.name, entry.sha256, None if folder is None else os.fspath(folder))


@lru_cache(maxsize=4)
def _cached(name: str, sha256: str, folder: str | None) -> nn.Module:
    """Keep the last nets; a file that changes has another hash in the manifest."""
    return load_row(row(name, folder), folder)
