"""The permutohedral lattice: Gaussian filtering of points in a space of several dimensions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


class Lattice:
    """
    A Gaussian filter of unit width between points: each is spread on the corners of its simplex, the corners blurred.

    Parameters
    ----------
    points : Tensor, shape (N, D)
        Where the values sit, in units of the Gaussian's width.

    Raises
    ------
    ValueError
        If the points lie so far apart, in widths, that their places cannot be numbered.

    Attributes
    ----------
    own : Tensor, shape (N, 1)
        What each point gets back of its own value: 1 for the Gaussian, roughly that here.

    References
    ----------
    Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010.
    """

    def __init__(self, points: Tensor) -> None:
        number, self.dimension = points.shape
        base, rank, shares = _simplices(points)
        packed, steps = _pack(base, rank)
        order = packed.flatten().sort()
        corners, inverse, counts = order.values.unique_consecutive(return_inverse=True, return_counts=True)
        self.corners = torch.empty_like(inverse).scatter_(0, order.indices, inverse).view(number, -1)
        self.shares = shares
        self.members = order.indices // (self.dimension + 1)
        self.members_shares = shares.flatten()[order.indices]
        self.starts = counts.cumsum(0) - counts
        self.neighbours = [tuple(_find(corners, corners + sign * step) for sign in (1, -1)) for step in steps]
        # As many Gaussians of height 1 as fit into the volume that a corner stands for.
        volume = 1.5 ** (self.dimension / 2) / math.sqrt(self.dimension + 1)
        self.height = (2 * math.pi) ** (self.dimension / 2) / volume / 2 ** (self.dimension + 1)
        self.own = self.height * _returned(shares)

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
        on = F.embedding_bag(
            self.members, values, self.starts, mode="sum", per_sample_weights=self.members_shares.to(values)
        )
        for up, down in reversed(self.neighbours) if reverse else self.neighbours:
            padded = F.pad(on, (0, 0, 0, 1))  # the last row stands for every corner that is not there
            on = torch.add(on, padded[up] + padded[down], alpha=0.5)
        on *= self.height
        return F.embedding_bag(self.corners, on, mode="sum", per_sample_weights=self.shares.to(values))


def _simplices(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """
    Find the simplex of each point.

    It is told by its first corner and the ranks of the coordinates, both (N, D + 1): corner r is the first one plus r
    in every coordinate, less D + 1 in the r coordinates of the highest ranks. The shares of the corners come with it.
    """
    n = points.shape[1]
    index = torch.arange(1, n + 1, dtype=points.dtype)
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


def _returned(shares: Tensor) -> Tensor:
    """Blur each simplex by itself: corners r and s are |r - s| steps apart, or as many as are left the other way."""
    n = shares.shape[1]
    apart = (torch.arange(n)[:, None] - torch.arange(n)).abs()
    blur = 0.5**apart + 0.5 ** (n - apart)
    blur.fill_diagonal_(1 + 2 * 0.5**n)
    return (shares @ blur.to(shares) * shares).sum(1, keepdim=True)


def _pack(base: Tensor, rank: Tensor) -> tuple[Tensor, list[int]]:
    """Number the corners (N, D + 1) by one integer each, and give what a step along each axis adds to it."""
    n = base.shape[1] - 1
    base = base[:, :n]
    least, most = base.amin(0) - 2 * (n + 1), base.amax(0) + 2 * (n + 1)
    bits = [int(width).bit_length() for width in (most - least).tolist()]
    if sum(bits) > 62:
        raise ValueError("points lie too far apart for their Gaussian; give it larger widths")
    places = torch.tensor([*(1 << sum(bits[:k]) for k in range(n)), 0])
    by_rank = torch.empty_like(rank).scatter_(1, rank, places.expand_as(rank))
    less = F.pad(by_rank.flip(1).cumsum(1)[:, :n], (1, 0))
    first = ((base - least) * places[:n]).sum(1, keepdim=True)
    packed = first + places.sum() * torch.arange(n + 1) - (n + 1) * less
    return packed, (places.sum() - (n + 1) * places).tolist()


def _find(known: Tensor, wanted: Tensor) -> Tensor:
    """Find the places of numbers in a sorted list; the list's length where they are not in it."""
    place = torch.searchsorted(known, wanted).clamp_(max=len(known) - 1)
    return place.where(known[place] == wanted, len(known))
