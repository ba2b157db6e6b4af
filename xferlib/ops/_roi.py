"""Bins as weighted sums of cells: a linear map from features to bins, and its adjoint."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

WORK_SPACE = 64 * 2**20
"""Bytes that a pass may take for its weights, beyond its arguments and its result."""
_PART = 8 * 2**20


class Bins(NamedTuple):
    """
    Bins of boxes in maps, and where in each bin the map is sampled.

    Parameters
    ----------
    image : Tensor of int64, shape (K,)
        The map that each box lies in.
    starts, lengths : Tensor, shape (K, 2)
        Corner and sides of each box, x before y, in cells whose centres are whole numbers.
    shape : tuple of int
        Shape of the maps, (B, C, H, W).
    size : tuple of int
        Bins along y and x.
    ratio : int
        Samples a bin and axis; if 0 or less, as many as the bin is long, rounded up.
    """

    image: Tensor
    starts: Tensor
    lengths: Tensor
    shape: tuple[int, int, int, int]
    size: tuple[int, int]
    ratio: int

    def gather(self, features: Tensor) -> Tensor:
        """
        Average the samples in each bin; differentiable, any number of times.

        Parameters
        ----------
        features : Tensor, shape (B, C, H, W)
            The maps, floats.

        Returns
        -------
        Tensor, shape (K, C, oh, ow)
            The means, in the type and the layout of the features.
        """
        return _Gather.apply(features, self)

    def parts(self, space: int) -> Iterator[tuple[slice | Tensor, Tensor, Tensor]]:
        """
        Take the boxes in parts that fit the space.

        Parameters
        ----------
        space : int
            Bytes; a box that needs more comes alone.

        Yields
        ------
        slice or Tensor
            Which boxes.
        Tensor of int, shape (boxes * oh * ow, taps)
            The cells that each bin draws upon, counted through all maps.
        Tensor, shape (boxes * oh * ow, taps)
            Their weights.
        """
        batch, channels, height, width = self.shape
        whole = torch.int32 if batch * height * width < 2**31 else torch.int64
        steps = self.lengths / self.lengths.new_tensor(self.size[::-1])
        counts = torch.full_like(steps, self.ratio) if self.ratio > 0 else steps.ceil()
        order, most = _by_need(counts, self.ratio)
        first = 0
        while first < len(self.image):
            taps = min(2 * most[first], height) * min(2 * most[first], width)
            need = self.size[0] * self.size[1] * self.starts.element_size() * (channels + 8 * taps)
            last = first + max(1, space // need)
            part = slice(first, last) if order is None else order[first:last]
            x, wx = _taps(self.starts[part, 0], steps[part, 0], counts[part, 0], self.size[1], width)
            y, wy = _taps(self.starts[part, 1], steps[part, 1], counts[part, 1], self.size[0], height)
            y = (self.image[part, None, None] * height + y) * width
            cells = y.to(whole)[:, :, None, :, None] + x.to(whole)[:, None, :, None, :]
            weights = wy[:, :, None, :, None] * wx[:, None, :, None, :]
            yield part, cells.flatten(3).flatten(0, 2), weights.flatten(3).flatten(0, 2)
            first = last


def _by_need(counts: Tensor, ratio: int) -> tuple[Tensor | None, list[int]]:
    """Order boxes by their samples, the most first; None where all have as many."""
    if ratio > 0:
        return None, [ratio] * len(counts)
    most, order = counts.amax(1).clamp(1, 2**30).sort(descending=True)
    return order, most.long().tolist()


def _taps(start: Tensor, step: Tensor, count: Tensor, bins: int, size: int) -> tuple[Tensor, Tensor]:
    """Give the cells that the bins of an axis draw upon, and their weights, both (K, bins, taps)."""
    most = int(count.clamp(1, 2 * size + 6).max())
    start, step, count = start[:, None, None], step[:, None, None], count[:, None, None]
    pace = step / count.clamp(min=1)
    begin = start + torch.arange(bins, device=start.device)[:, None] * step
    number = torch.arange(most, device=start.device)
    if most > size:
        # Far more samples than cells: only those near the map count.
        number = number + ((-1 - begin) / pace).floor().clamp(min=0).nan_to_num(0)
    at = begin + (number + 0.5) * pace
    share = ((number < count) & (at >= -1) & (at <= size)) / count.clamp(min=1)
    at = at.clamp(0, size - 1)
    low = at.floor()
    span = int((low.amax(2) - low.amin(2)).max()) + 2
    if span < 2 * most:
        cells = low.amin(2, keepdim=True) + torch.arange(span, device=start.device)
        weights = ((1 - (at[..., None] - cells[:, :, None]).abs()).clamp(min=0) * share[..., None]).sum(2)
    else:
        cells = torch.cat([low, low + 1], 2)
        weights = torch.cat([(low + 1 - at) * share, (at - low) * share], 2)
    return cells.clamp(max=size - 1).long(), weights


class _Gather(torch.autograd.Function):
    """From the cells to the bins."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, bins: Bins) -> Tensor:
        ctx.bins = bins
        channels = bins.shape[1]
        rows = _rows(features, bins.starts.dtype)
        result = _like(features, len(bins.image), channels, *bins.size)
        for part, cells, weights in bins.parts(min(_PART, WORK_SPACE)):
            means = F.embedding_bag(cells, rows, per_sample_weights=weights, mode="sum")
            result[part] = means.view(-1, *bins.size, channels).permute(0, 3, 1, 2).to(result.dtype)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Spread.apply(grad, ctx.bins), None


class _Spread(torch.autograd.Function):
    """From the bins back to the cells, with the same weights."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, bins: Bins) -> Tensor:
        ctx.bins = bins
        batch, channels, height, width = bins.shape
        total = None
        for part, cells, weights in bins.parts(WORK_SPACE):
            rows = _rows(grad[part], weights.dtype)
            taps = cells.shape[1]
            cells, order = cells.flatten().sort()
            ends = torch.searchsorted(
                cells, torch.arange(batch * height * width, dtype=cells.dtype, device=cells.device)
            )
            some = F.embedding_bag(
                order.div(taps, rounding_mode="floor"),
                rows,
                ends,
                per_sample_weights=weights.flatten()[order],
                mode="sum",
            )
            total = some if total is None else total.add_(some)
        if total is None:
            total = grad.new_zeros(batch * height * width, channels)
        result = total.view(batch, height, width, channels).permute(0, 3, 1, 2).to(grad.dtype)
        return result if _last(grad) else result.contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(grad, ctx.bins), None


def _last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Lay out (B, C, H, W) as (B * H * W, C)."""
    return x.to(dtype).permute(0, 2, 3, 1).contiguous().flatten(0, 2)


def _like(x: Tensor, *shape: int) -> Tensor:
    """Make room in the type and layout of a tensor."""
    layout = torch.channels_last if _last(x) else torch.contiguous_format
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
