"""The permutohedral lattice: Gaussian filtering of points in a space of several dimensions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

DENSE = 8192
"""Corners up to which each hears every other; beyond, they are blurred along the lattice's axes."""
REACH, ROWS = 4.0, 256
"""Distance beyond which a weight, exp(-16) and less, is left out, and rows summed at a time."""


class Lattice:
    """
    A Gaussian filter of unit width between points: each is spread on the corners of its simplex, and these talk.

    Parameters
    ----------
    points : Tensor, shape (N, D)
        Where the values sit, in units of the Gaussian's width.

    Attributes
    ----------
    own : Tensor, shape (N, 1)
        What each point gets back of its own value: 1 for the Gaussian, roughly that here.

    Raises
    ------
    ValueError
        If the points lie so far apart, in widths, that their places cannot be numbered.

    Notes
    -----
    Spreading and gathering make up a quarter of the Gaussian's variance, what lies between them the rest. Where the
    corners are few, that is a matrix of all pairs of them, which is more exact than the blur of the paper: no corner is
    missing on the way.

    References
    ----------
    Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010.
    """

    def __init__(self, points: Tensor) -> None:
        number, n = points.shape[0], points.shape[1] + 1
        base, rank, self.shares = _simplices(points)
        packed, shifts, least = _pack(base, rank)
        order = packed.flatten().sort()
        corners, inverse, counts = order.values.unique_consecutive(return_inverse=True, return_counts=True)
        self.corners = torch.empty_like(inverse).scatter_(0, order.indices, inverse).view(number, n)
        self.members = order.indices // n
        self.members_shares = self.shares.flatten()[order.indices]
        self.starts = counts.cumsum(0) - counts
        places = torch.arange(n, device=points.device)
        apart = (places[:, None] - places).abs()  # of two corners of one simplex, in steps
        self.near, self.axes = None, ()
        if len(corners) <= DENSE:
            places = torch.stack([(corners >> s) & ((1 << (t - s)) - 1) for s, t in shifts], 1) + least
            places = torch.cat([places, -places.sum(1, keepdim=True)], 1).to(points)
            self.near = _Near(places / n)  # in units in which the rest of the variance is a half
            self.height = (4 / 3) ** ((n - 1) / 2)
            between = torch.exp(-apart * (n - apart) / n)
        else:
            steps = [sum(1 << s for s, _ in shifts) - n * (1 << s) for s, _ in shifts]
            steps.append(sum(1 << s for s, _ in shifts))
            self.axes = tuple(tuple(_find(corners, corners + sign * step) for sign in (1, -1)) for step in steps)
            # As many Gaussians of height 1 as fit into the volume that a corner stands for.
            volume = 1.5 ** ((n - 1) / 2) / math.sqrt(n)
            self.height = (2 * math.pi) ** ((n - 1) / 2) / volume / 2**n
            between = (0.5**apart + 0.5 ** (n - apart)).fill_diagonal_(1 + 2 * 0.5**n)
        self.own = self.height * (self.shares @ between.to(points) * self.shares).sum(1, keepdim=True)

    def __call__(self, values: Tensor, reverse: bool = False) -> Tensor:
        """
        Sum over all points, each weighted by the Gaussian of its distance.

        Parameters
        ----------
        values : Tensor, shape (N, C)
            Values of the points.
        reverse : bool
            Whether to apply the transposed filter, which blurs along the axes in the other order.

        Returns
        -------
        Tensor, shape (N, C)
            The sums, approximately.
        """
        on = F.embedding_bag(self.members, values, self.starts, mode="sum", per_sample_weights=self.members_shares)
        if self.near is not None:
            on = self.near(on)
        else:
            for up, down in reversed(self.axes) if reverse else self.axes:
                padded = F.pad(on, (0, 0, 0, 1))  # the last row stands for every corner that is not there
                on = torch.add(on, padded[up] + padded[down], alpha=0.5)
        return F.embedding_bag(self.corners, self.height * on, mode="sum", per_sample_weights=self.shares)


class _Near:
    """
    Sum over points, each weighted by exp(-d^2).

    Along the line on which the points lie furthest apart they are sorted; those more than `REACH` away on it weigh
    nothing, so that a block of rows needs but a part of the columns.
    """

    def __init__(self, points: Tensor) -> None:
        centred = points - points.mean(0)
        line = centred @ torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
        self.order = line.argsort()
        line, points = line[self.order], points[self.order]
        self.rank = self.order.argsort()
        self.blocks = []
        for rows, part in zip(line.split(ROWS), points.split(ROWS), strict=True):
            first, last = torch.searchsorted(line, torch.stack([rows[0] - REACH, rows[-1] + REACH])).tolist()
            self.blocks.append((first, last, _gaussians(part, points[first:last])))

    def __call__(self, values: Tensor) -> Tensor:
        values = values[self.order]
        return torch.cat([weights @ values[first:last] for first, last, weights in self.blocks])[self.rank]


def _gaussians(points: Tensor, others: Tensor) -> Tensor:
    """Give exp(-d^2) for all pairs, but not less than exp(-20): far lower weights would cost a processor much time."""
    one, other = (x.square().sum(1, keepdim=True) for x in (points, others))
    left = torch.cat([2 * points, -one, torch.ones_like(one)], 1)
    right = torch.cat([others, torch.ones_like(other), -other], 1)
    return (left @ right.T).clamp_(-20, 0).exp_()


def _simplices(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """
    Find the simplex of each point.

    It is told by its first corner and the ranks of the coordinates, both (N, D + 1): corner r is the first one plus r
    in every coordinate, less D + 1 in the r coordinates of the highest ranks. The shares of the corners come with it.
    """
    n = points.shape[1]
    index = torch.arange(1, n + 1, dtype=points.dtype, device=points.device)
    scaled = points * (n + 1) * math.sqrt(2 / 3) / (index * (index + 1)).sqrt()
    later = scaled.flip(1).cumsum(1).flip(1)
    elevated = F.pad(later, (0, 1)) - F.pad(index * scaled, (1, 0))
    base = (elevated / (n + 1)).round() * (n + 1)
    rank = (base - elevated).argsort(1).argsort(1) + (base.sum(1, keepdim=True) / (n + 1)).round().long()
    wrap = (rank < 0).long() - (rank > n).long()
    base, rank = base + wrap * (n + 1), rank + wrap * (n + 1)
    rest = (elevated - base) / (n + 1)
    sorted_rest = torch.empty_like(rest).scatter_(1, rank, rest)  # from the largest to the least
    shares = F.pad(sorted_rest[:, :-1] - sorted_rest[:, 1:], (1, 0)).flip(1)
    shares = torch.cat([1 + sorted_rest[:, -1:] - sorted_rest[:, :1], shares[:, :-1]], 1)
    return base.long(), rank, shares


def _pack(base: Tensor, rank: Tensor) -> tuple[Tensor, list[tuple[int, int]], Tensor]:
    """Number the corners (N, D + 1) by one integer each; tell the bits of each coordinate, and its least value."""
    n = base.shape[1] - 1
    base = base[:, :n]
    least, most = base.amin(0) - 2 * (n + 1), base.amax(0) + 2 * (n + 1)
    bits = [int(width).bit_length() for width in (most - least).tolist()]
    if sum(bits) > 62:
        raise ValueError("points lie too far apart for their Gaussian; give it larger widths")
    shifts = [(sum(bits[:k]), sum(bits[: k + 1])) for k in range(n)]
    places = base.new_tensor([*(1 << shift for shift, _ in shifts), 0])
    by_rank = torch.empty_like(rank).scatter_(1, rank, places.expand_as(rank))
    less = F.pad(by_rank.flip(1).cumsum(1)[:, :n], (1, 0))
    first = ((base - least) * places[:n]).sum(1, keepdim=True)
    return first + places.sum() * torch.arange(n + 1, device=base.device) - (n + 1) * less, shifts, least


def _find(known: Tensor, wanted: Tensor) -> Tensor:
    """Find the places of numbers in a sorted list; the list's length where they are not in it."""
    place = torch.searchsorted(known, wanted).clamp_(max=len(known) - 1)
    return place.where(known[place] == wanted, len(known))
