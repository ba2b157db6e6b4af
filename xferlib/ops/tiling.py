"""The tile strategy: a net on an image of any size, tile by tile, without seams."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from xferlib.ops._tiles import (
    Net,
    Padding,
    Span,
    attribute,
    check_image,
    check_net,
    finish,
    like,
    run,
    scale_of,
    spans,
)

if TYPE_CHECKING:
    import dask.array

__all__ = ["Net", "Padding", "Span", "apply_tiled", "map_tiles", "reach", "spans"]

_LONGEST = 8192


def apply_tiled(
    net: Net,
    image: Tensor,
    tile: int,
    *,
    step: int | None = None,
    margin: int | None = None,
    halo: int = 0,
    stride: int | None = None,
    padding: Padding = "reflect",
    batch_size: int = 1,
    memory_format: torch.memory_format = torch.channels_last,
    then: Net | None = None,
    out: Tensor | np.ndarray | None = None,
    progress: bool | None = False,
) -> Tensor:
    """
    Run a net over an image tile by tile.

    Parameters
    ----------
    net : callable
        Takes (B, C, h, w), gives (B, K, s * (h - 2 * margin), s * (w - 2 * margin)) with a whole s; in
        evaluation mode. It may be on another device than the image.
    image : Tensor, shape (C, H, W) or (B, C, H, W)
        Image of any size, floats.
    tile : int
        Side of a tile in pixels, as the net takes it.
    step : int, optional
        From one tile to the next. By default the largest multiple of ``stride`` that leaves no gap. A step that
        is no multiple of the stride runs too, and leaves seams.
    margin : int, optional
        Pixels that the net's result lacks on each side; by default ``net.margin``, or 0 without one.
    halo : int
        For nets without margin: pixels dropped at each side of a tile that is not the image's border. From
        `reach` on there are no seams.
    stride : int, optional
        Period of the net's pooling; by default ``net.stride``, or 1 without one.
    padding : {"reflect", "replicate", "zeros", "none"}
        For nets with a margin, what they see beyond the image: its mirror image, its last pixel, or zeros. With
        "none" the result is smaller than the image by the margin on each side. Nets without margin pad
        themselves, at the image's border as in one pass.
    batch_size : int
        Tiles of equal shape to run at once.
    memory_format : torch.memory_format
        Layout of the tiles that the net gets. On a CPU most nets run about a quarter faster with the channels
        last; the other one is ``torch.contiguous_format``.
    then : callable, optional
        What to do with the kept part of each tile, (1, K, h, w), before it is stored; it must keep the first
        and the last two sides. With ``lambda logits: logits.argmax(1)`` no image of logits is ever made.
    out : Tensor or ndarray, optional
        Where to put the result, such as a `numpy.memmap`.
    progress : bool or None
        Whether to show a bar; None for one that a terminal shows where the work takes more than two seconds.

    Returns
    -------
    Tensor, shape (K, s * H, s * W) or (B, K, s * H, s * W)
        The result; it shares the memory of ``out``. Without K if ``then`` drops it.

    Raises
    ------
    ValueError
        If a number is out of its range, the tiles leave gaps, the tile is one that the net does not take, or
        larger than an image that is not padded, the image is empty, not of floats or not finite, the net is in
        training mode or changes the size in another way, or ``out`` does not fit the result.

    Notes
    -----
    Beyond image and result the memory needed does not depend on the size of the image: the mirror image is
    read through an index and no image is padded or copied.

    The result equals that of one pass where every tile starts at a multiple of the stride, so that all pool
    the same pixels together, and where no pixel is kept that a tile's edge can reach. For a net with margin, one
    pass means on the image padded by the margin, and further on the far side to a size that the net takes. What
    stays is rounding: layers may sum in another order for another size or layout, which is about 1e-6 of the
    largest activation in float32 and 1e-15 in float64.

    References
    ----------
    Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015,
    section 2 and figure 2.
    """
    if image.ndim not in (3, 4):
        raise ValueError(f"image of shape {tuple(image.shape)}; give (C, H, W) or (B, C, H, W)")
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} is smaller than 1")
    images = image if image.ndim == 4 else image[None]
    check_image(images)
    margin, rows, cols = _plan(net, images.shape[-2:], tile, step, margin, halo, stride, padding)
    out = None if out is None else _tensor(out)
    if out is not None and image.ndim == 3:
        out = out[None]
    result = run(
        net,
        images.detach(),
        rows,
        cols,
        margin=margin,
        padding=padding,
        then=then,
        batch_size=batch_size,
        memory_format=memory_format,
        out=out,
        progress=progress,
    )
    return result if image.ndim == 4 else result[0]


def map_tiles(
    net: Net,
    array: "dask.array.Array",
    tile: int,
    *,
    step: int | None = None,
    margin: int | None = None,
    halo: int = 0,
    stride: int | None = None,
    padding: Padding = "reflect",
    memory_format: torch.memory_format = torch.channels_last,
    then: Net | None = None,
) -> "dask.array.Array":
    """
    Run a net over an image that need not fit into memory, nor be processed on one machine.

    Parameters
    ----------
    net : callable
        As in `apply_tiled`; for other processes or machines it must pickle.
    array : dask.array.Array, shape (C, H, W)
        Image, floats; such as ``dask.array.from_zarr`` gives.
    tile : int
        As in `apply_tiled`.
    step, margin : int, optional
        As in `apply_tiled`.
    halo : int
        As in `apply_tiled`.
    stride : int, optional
        As in `apply_tiled`.
    padding : {"reflect", "replicate", "zeros", "none"}
        As in `apply_tiled`.
    memory_format : torch.memory_format
        As in `apply_tiled`.
    then : callable, optional
        As in `apply_tiled`; it gives (1, h, w) or (1, K, h, w).

    Returns
    -------
    dask.array.Array, shape (K, s * H, s * W)
        The same result as that of `apply_tiled`, still to be computed, in chunks that ``to_zarr`` takes.

    Raises
    ------
    ImportError
        If dask is missing.
    ValueError
        As in `apply_tiled`; what concerns the values of the image is raised when they are computed.

    Notes
    -----
    Each chunk comes with its neighbours' pixels, by `dask.array.map_overlap`. What lies beyond the image is
    mirrored within the chunk, because the mirror of dask repeats the border pixel, and cannot go further than
    a chunk. To learn the result's shape, the net runs once on a blank tile.
    """
    try:
        import dask
        import dask.array
    except ImportError as error:
        raise ImportError('dask is missing; install it with: pip install ".[large]"') from error
    if array.ndim != 3 or not all(array.shape):
        raise ValueError(f"array of shape {array.shape}; give (C, H, W) with at least one pixel")
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"array of {array.dtype}; nets take floats in [0, 1]: for 0..255 give array / np.float32(255)")
    size = array.shape[1:]
    margin, *axes = _plan(net, size, tile, step, margin, halo, stride, padding)
    depths = [_depth(axis, side) for axis, side in zip(axes, size, strict=True)]
    groups = [_group(axis, depth) for axis, depth in zip(axes, depths, strict=True)]
    scale, sample = _try(net, array, [axis[0] for axis in axes], margin, then)
    results = dask.array.map_overlap(
        _block,
        array.rechunk((array.shape[0], *(_chunks(parts, side) for parts, side in zip(groups, size, strict=True)))),
        depth={0: 0, 1: depths[0], 2: depths[1]},
        boundary="none",
        trim=False,
        allow_rechunk=False,
        chunks=(
            *((side,) for side in sample.shape[1:-2]),
            *(tuple(scale * (part[-1].last - part[0].first) for part in parts) for parts in groups),
        ),
        drop_axis=[0] if sample.ndim == 3 else None,
        meta=np.empty((0,) * (sample.ndim - 1), sample.numpy().dtype),
        net=dask.delayed(net, traverse=False),
        groups=groups,
        depths=depths,
        margin=margin,
        padding=padding,
        memory_format=memory_format,
        then=then,
    )
    # Zarr wants chunks of one size, the last one smaller.
    return results.rechunk((*sample.shape[1:-2], *(scale * _regular(parts) for parts in groups)))


def reach(net: Net, channels: int, stride: int | None = None) -> int:
    """
    Measure how far a pixel of the image can influence the net's result.

    Parameters
    ----------
    net : callable
        Takes (1, C, h, w), gives (1, K, s * (h - 2 * margin), s * (w - 2 * margin)); in evaluation mode.
    channels : int
        Channels of the image, C.
    stride : int, optional
        Period of the net's pooling; by default ``net.stride``, or 1 without one.

    Returns
    -------
    int
        The largest distance along an axis, in pixels, at which a pixel has influence, over all phases of the
        pooling: 1 for a 3x3 convolution. As a halo it makes `apply_tiled` equal to one pass. It need not be
        rounded, because the tiles start at multiples of the stride whatever the halo.

    Raises
    ------
    ValueError
        If the influence has no end, or a number is smaller than 1.

    Notes
    -----
    A line of pixels is set to NaN, which passes convolutions, activations and poolings; every result that
    changes was in reach. This errs on the safe side: weights of zero pass NaN too.
    """
    stride = attribute(net, "stride", 1) if stride is None else stride
    if channels < 1 or stride < 1:
        raise ValueError(f"channels {channels} and stride {stride}; both must be 1 at least")
    check_net(net, 0, 0, stride)
    length = max(64, 4 * stride)
    while length <= _LONGEST:
        found = [_spread(net, channels, stride, length, axis) for axis in (2, 3)]
        if None not in found:
            return max(found)
        length *= 2
    raise ValueError(
        f"a pixel influences results {_LONGEST // 2} pixels away; is there global pooling in the net, or normalisation "
        "over the whole image? Then no halo makes its tiles fit"
    )


def _spread(net: Net, channels: int, stride: int, length: int, axis: int) -> int | None:
    """Give the reach of lines across a strip of an image, or None where one reaches an end of the strip."""
    legal_size, margin = getattr(net, "legal_size", int), attribute(net, "margin", 0)
    shape = [1, channels, 0, 0]
    shape[axis], shape[5 - axis] = legal_size(length), legal_size(max(64, 4 * stride))
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    image = image.to(like(net, image))
    middle = shape[axis] // 2
    found = 0
    with torch.inference_mode():
        before = net(image)
        scale = scale_of(before, image, margin)
        for line in range(middle, middle + stride):
            after = net(image.index_fill(axis, torch.tensor([line], device=image.device), torch.nan))
            changed = (before != after).any(1).any(5 - axis - 1).nonzero()[:, 1].cpu() // scale + margin
            if len(changed) and (changed[0] == margin or changed[-1] == shape[axis] - margin - 1):
                return None
            found = max([found, *(changed - line).abs().tolist()])
    return found


def _plan(
    net: Net,
    size: tuple[int, ...],
    tile: int,
    step: int | None,
    margin: int | None,
    halo: int,
    stride: int | None,
    padding: Padding,
) -> tuple[int, list[Span], list[Span]]:
    """Check the request, and lay the tiles along both axes."""
    margin = attribute(net, "margin", 0) if margin is None else margin
    stride = attribute(net, "stride", 1) if stride is None else stride
    largest = max(size) if margin == 0 else min(size) if padding == "none" else tile
    if tile > largest:
        way = "call the net on the whole image" if margin == 0 else "pad the image"
        raise ValueError(f"tile {tile} is larger than the image, {size[0]} x {size[1]}: take a smaller one, or {way}")
    rows, cols = (
        spans(side, tile, step=step, margin=margin, halo=halo, stride=stride, padding=padding) for side in size
    )
    check_net(net, tile, margin, stride)
    return margin, rows, cols


def _tensor(out: Tensor | np.ndarray) -> Tensor:
    if isinstance(out, np.ndarray):
        if not out.flags.writeable:
            raise ValueError("out cannot be written to; open a memmap with mode 'r+' or 'w+'")
        return torch.from_numpy(out)
    return out


def _depth(axis: list[Span], size: int) -> int:
    """Pixels of its neighbours that a chunk needs."""
    before = (span.first - max(span.start, 0) for span in axis[1:])
    after = (min(span.stop, size) - span.last for span in axis[:-1])
    return max([0, *before, *after])


def _group(axis: list[Span], depth: int) -> list[list[Span]]:
    """Gather tiles into chunks that are not smaller than the depth, as dask asks."""
    groups: list[list[Span]] = [[]]
    for span in axis:
        if groups[-1] and span.first - groups[-1][0].first >= depth:
            groups.append([])
        groups[-1].append(span)
    if len(groups) > 1 and axis[-1].last - groups[-1][0].first < depth:
        sliver = groups.pop()
        groups[-1] += sliver
    return groups


def _chunks(groups: list[list[Span]], size: int) -> tuple[int, ...]:
    """Cut an axis of the image where the groups' results meet."""
    cuts = [0, *(part[0].first for part in groups[1:]), size]
    return tuple(after - before for before, after in pairwise(cuts))


def _regular(groups: list[list[Span]]) -> int:
    """Give the distance from chunk to chunk."""
    if len(groups) == 1:
        return groups[0][-1].last - groups[0][0].first
    return len(groups[0]) * (groups[1][0].start - groups[0][-1].start)


def _try(net: Net, array: "dask.array.Array", tile: list[Span], margin: int, then: Net | None) -> tuple[int, Tensor]:
    """Learn scale, channels and type of the result from a blank tile."""
    dtype = torch.from_numpy(np.empty(0, array.dtype.newbyteorder("="))).dtype
    blank = torch.zeros((1, array.shape[0], *(span.stop - span.start for span in tile)), dtype=dtype)
    with torch.inference_mode():
        result = net(blank.to(like(net, blank).device))
        return scale_of(result, blank, margin), finish(result, then).cpu()


def _block(
    block: np.ndarray,
    net: Net,
    groups: list[list[list[Span]]],
    depths: list[int],
    margin: int,
    padding: Padding,
    memory_format: torch.memory_format,
    then: Net | None,
    block_id: tuple[int, ...],
) -> np.ndarray:
    """Run the tiles of one chunk, which comes with its neighbours' pixels."""
    axes, origin = [], []
    for parts, depth, place in zip(groups, depths, block_id[-2:], strict=True):
        start = parts[place][0].first - depth if place else 0
        axes.append([span.shift(-start) for span in parts[place]])
        origin.append(start)
    image = torch.from_numpy(np.require(block, block.dtype.newbyteorder("="), "CW"))[None]
    check_image(image, tuple(origin))
    result = run(net, image, *axes, margin=margin, padding=padding, memory_format=memory_format, then=then)
    return result[0].numpy()
