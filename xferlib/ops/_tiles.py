"""Where the tiles lie, and running a net over them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice, pairwise, product
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from xferlib.ops.progress import bar

Net = Callable[[Tensor], Tensor]
Padding = Literal["reflect", "replicate", "zeros", "none"]


class Span(NamedTuple):
    """
    One tile along one axis.

    The net reads the pixels from ``start`` to before ``stop``, which may lie beyond the image where it is
    padded; of its results those from ``first`` to before ``last`` are kept.
    """

    start: int
    stop: int
    first: int
    last: int

    def shift(self, by: int) -> "Span":
        """Move the tile."""
        return Span(*(place + by for place in self))

    def kept(self, begin: int, scale: int) -> slice:
        """Where the kept part lies in a result that begins at a pixel of the image."""
        return slice(scale * (self.first - begin), scale * (self.last - begin))


def spans(
    size: int,
    tile: int,
    *,
    step: int | None = None,
    margin: int = 0,
    halo: int = 0,
    stride: int = 1,
    padding: Padding = "reflect",
) -> list[Span]:
    """
    Lay the tiles along one axis of the image.

    Parameters
    ----------
    size, tile : int
        Sides of the image and of a tile, in pixels.
    step, margin, halo, stride : int, optional
        As in `apply_tiled`.
    padding : {"reflect", "replicate", "zeros", "none"}
        As in `apply_tiled`.

    Returns
    -------
    list of Span
        What each tile reads, and what is kept of it: the kept parts follow each other without gap or overlap.

    Raises
    ------
    ValueError
        If a number is out of its range, or the tiles leave gaps.
    """
    for name, value, least in (("tile", tile, 1), ("margin", margin, 0), ("halo", halo, 0), ("stride", stride, 1)):
        if value < least:
            raise ValueError(f"{name} {value} is smaller than {least}")
    if margin and halo:
        raise ValueError(f"halo {halo} for a net with margin {margin}, which drops its own border; leave the halo at 0")
    if padding not in ("reflect", "replicate", "zeros", "none"):
        raise ValueError(f"padding {padding!r} is none of 'reflect', 'replicate', 'zeros', 'none'")
    lost = margin + halo
    room = tile - 2 * lost
    if room < 1:
        name = "margin" if margin else "halo"
        raise ValueError(
            f"tile {tile} loses {lost} pixels ({name}) on each side: take one of {2 * lost + stride} or more"
        )
    if step is None and room < stride:
        raise ValueError(
            f"tile {tile} keeps {room} pixels, less than the net's stride {stride}: take one of {2 * lost + stride} "
            f"or more, or give a step of at most {room} and accept seams"
        )
    step = room // stride * stride if step is None else step
    if step < 1:
        raise ValueError(f"step {step} is smaller than 1")
    if step > room:
        raise ValueError(f"step {step} leaves gaps: tile {tile} keeps {room} pixels, so at most {room}")
    if margin:
        return _valid(size, tile, step, margin, margin if padding == "none" else 0)
    return _same(size, tile, step, halo, stride)


def _valid(size: int, tile: int, step: int, margin: int, border: int) -> list[Span]:
    """Tiles of full size whose results cover all but the border."""
    end = size - border
    if end <= border:
        raise ValueError(f"image side {size} has no result without padding: the net takes {margin} off each side")
    count = _steps(end - border - (tile - 2 * margin), step) + 1
    edges = [border + k * step for k in range(count)] + [end]
    return [Span(first - margin, first - margin + tile, first, last) for first, last in pairwise(edges)]


def _same(size: int, tile: int, step: int, halo: int, stride: int) -> list[Span]:
    """Tiles within the image, the last one cut by its border."""
    if size <= tile:
        return [Span(0, size, 0, size)]
    count = _steps(size - tile, step) + 1
    edges = [0, *(k * step + halo for k in range(1, count)), size]
    starts = [k * step for k in range(count)]
    # A sliver may be smaller than the net takes: read more of the image, in the same phase.
    least = min(tile - stride + 1, max(tile // 2, 2 * stride))
    starts[-1] = max(0, starts[-1] - stride * _steps(least - (size - starts[-1]), stride))
    return [Span(start, min(start + tile, size), *edges[k : k + 2]) for k, start in enumerate(starts)]


def _steps(distance: int, step: int) -> int:
    return max(0, -(-distance // step))


def reflect_index(index: Tensor, size: int) -> Tensor:
    """Mirror indices beyond an axis back into it, as often as it takes; the edge pixel is not repeated."""
    return size - 1 - (index % max(2 * (size - 1), 1) - (size - 1)).abs()


def read(image: Tensor, row: Span, col: Span, padding: Padding) -> Tensor:
    """Give one tile (C, h, w) of an image (C, H, W): a view inside the image, a padded copy at its border."""
    if min(row.start, col.start) >= 0 and row.stop <= image.shape[1] and col.stop <= image.shape[2]:
        return image[:, row.start : row.stop, col.start : col.stop]
    outside, indices = [], []
    for dim, span in ((1, row), (2, col)):
        size, wanted = image.shape[dim], torch.arange(span.start, span.stop, device=image.device)
        outside.append((wanted < 0) | (wanted >= size))
        index = wanted.clamp(0, size - 1) if padding in ("zeros", "replicate") else reflect_index(wanted, size)
        low = int(index.min())
        image = image.narrow(dim, low, int(index.max()) + 1 - low)
        indices.append(index - low)
    for dim, beyond, index in zip((1, 2), outside, indices, strict=True):
        if beyond.any():
            image = image.index_select(dim, index)
            if padding == "zeros":
                image.index_fill_(dim, beyond.nonzero()[:, 0], 0)
    return image


def check_image(image: Tensor, origin: tuple[int, int] = (0, 0)) -> None:
    """Refuse an image (B, C, H, W) without pixels, of integers, or with values that are not finite."""
    shape = tuple(image.shape)
    if not image.numel():
        raise ValueError(f"image of shape {shape} has no pixel")
    if not image.is_floating_point():
        raise ValueError(f"image of {image.dtype}; nets take floats in [0, 1]: for 0..255 give image.float() / 255")
    for b, c in product(range(shape[0]), range(shape[1])):
        plane = image[b, c]
        if all(torch.isfinite(value) for value in plane.aminmax()):
            continue
        y = next(y for y, line in enumerate(plane) if not line.isfinite().all())
        x = int((~plane[y].isfinite()).nonzero()[0])
        which = f"image {b}" if len(image) > 1 else "image"
        raise ValueError(
            f"{which} has {plane[y, x].item()} in channel {c} at row {y + origin[0]}, column {x + origin[1]}; "
            "replace such pixels first, for instance with torch.nan_to_num"
        )


def attribute(net: Net, name: str, default: int) -> int:
    """Look up what a net says of itself; the stride of a single layer is a pair, and not meant."""
    value = getattr(net, name, default)
    return value if isinstance(value, int) else default


def check_net(net: Net, tile: int, margin: int, stride: int) -> None:
    """Refuse a net whose result on a tile depends on chance or on the other tiles, and a tile it does not take."""
    if isinstance(net, nn.Module) and any(
        part.training for part in net.modules() if isinstance(part, _BatchNorm | _DropoutNd)
    ):
        raise ValueError("the net is in training mode, where its result depends on the batch or on chance: net.eval()")
    legal_size = getattr(net, "legal_size", None)
    if margin and legal_size is not None and tile > 2 * margin and (legal := legal_size(tile)) != tile:
        below = legal - stride
        nearest = f"{below} and {legal}" if below > 2 * margin else f"{legal}, the smallest"
        raise ValueError(f"tile {tile} is not a size that the net takes; nearest legal: {nearest}")


def run(
    net: Net,
    image: Tensor,
    rows: Sequence[Span],
    cols: Sequence[Span],
    *,
    margin: int,
    padding: Padding,
    then: Net | None,
    batch_size: int = 1,
    memory_format: torch.memory_format = torch.channels_last,
    out: Tensor | None = None,
    progress: bool | None = False,
) -> Tensor:
    """Run the net over the tiles of an image (B, C, H, W), writing each result to its place in ``out``."""
    device = like(net, image).device
    sides = [axis[-1].last - axis[0].first for axis in (rows, cols)]
    with bar(len(image) * len(rows) * len(cols), "tile", progress) as shown, torch.inference_mode():
        ready = False
        for batch in _batches(len(image), rows, cols, batch_size):
            tiles = _stack([read(image[b], row, col, padding) for b, row, col in batch], memory_format)
            results = net(tiles.to(device))
            scale = scale_of(results, tiles, margin)
            for (b, row, col), result in zip(batch, results, strict=True):
                inside = (span.kept(span.start + margin, scale) for span in (row, col))
                kept = finish(result[(None, slice(None), *inside)], then)
                if not ready:
                    shape = (len(image), *kept.shape[1:-2], *(scale * side for side in sides))
                    out, ready = _result(out, shape, kept.dtype, image.device), True
                out[b, ..., row.kept(rows[0].first, scale), col.kept(cols[0].first, scale)] = kept[0]
            shown.update(len(batch))
    return out


def like(net: Net, image: Tensor) -> Tensor:
    """Give a tensor that is where the net is: image and result may stay in main memory while it runs on a GPU."""
    return next(net.parameters(), image) if isinstance(net, nn.Module) else image


def _batches(
    images: int, rows: Sequence[Span], cols: Sequence[Span], batch_size: int
) -> Iterator[list[tuple[int, Span, Span]]]:
    """Batch the tiles of equal shape."""

    def shape(tile: tuple[int, Span, Span]) -> tuple[int, ...]:
        return tuple(span.start - span.stop for span in tile[1:])

    for _, tiles in groupby(sorted(product(range(images), rows, cols), key=shape), key=shape):
        while batch := list(islice(tiles, batch_size)):
            yield batch


def _stack(tiles: Sequence[Tensor], memory_format: torch.memory_format) -> Tensor:
    """Copy tiles into a batch; a single channel too is given the strides of the layout, by which layers choose."""
    first = tiles[0]
    shape = (len(tiles), *first.shape)
    batch = torch.empty(shape, dtype=first.dtype, device=first.device, memory_format=memory_format)
    for place, tile in zip(batch, tiles, strict=True):
        place.copy_(tile)
    return batch


def scale_of(results: Tensor, tiles: Tensor, margin: int) -> int:
    """Tell how many pixels of the result stand for one of the image, side by side."""
    given, got = tiles.shape[-2:], results.shape[-2:]
    left = [side - 2 * margin for side in given]
    scale = max(1, got[0] // left[0])
    if results.ndim != 4 or len(results) != len(tiles) or any(g != scale * n for g, n in zip(got, left, strict=True)):
        raise ValueError(
            f"the net made {tuple(results.shape)} of tiles {tuple(tiles.shape)}; with margin {margin} it should keep "
            f"{left[0]} x {left[1]} pixels of each, or a whole multiple. Give the margin that it takes off each side"
        )
    return scale


def finish(kept: Tensor, then: Net | None) -> Tensor:
    """Apply what is to be done with the kept part (1, K, h, w) of a tile's result."""
    if then is None:
        return kept
    value = then(kept)
    if value.ndim < 3 or len(value) != 1 or value.shape[-2:] != kept.shape[-2:]:
        raise ValueError(f"then made {tuple(value.shape)} of {tuple(kept.shape)}; it must keep the batch, H and W")
    return value


def _result(out: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Check what is to take the result, or make it."""
    if out is None:
        # A tensor made in inference mode could not be used in training.
        with torch.inference_mode(False):
            return torch.empty(shape, dtype=dtype, device=device)
    if out.shape != shape or not torch.can_cast(dtype, out.dtype):
        have, need = (f"{x[0]} x {tuple(x[1:])}" for x in (out.shape, shape))
        raise ValueError(f"out holds {have} of {out.dtype}; the result is {need} of {dtype}")
    return out
