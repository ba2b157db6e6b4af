"""Edge-preserving smoothing by weighted least squares: flat where the guide is flat, free to jump where it jumps."""

import torch
import torch.nn.functional as F
from torch import Tensor

from xferlib.ops._halves import check_floats

_DARKEST = 1 / 255  # the guide's logarithm is taken from here on


@torch.no_grad()
def wls_filter(
    values: Tensor,
    guide: Tensor,
    smoothness: float = 1.0,
    sensitivity: float = 1.2,
    epsilon: float = 1e-4,
    tolerance: float = 1e-3,
    most: int = 500,
) -> Tensor:
    """
    Smooth pictures as far as they stay near themselves, and least where the guide has edges.

    The result u is the least of ``sum (u - values)^2 + smoothness * sum a (du)^2``, the second sum over all pairs of
    neighbours, along rows and columns. The weight of a pair is ``a = 1 / (|dl|^sensitivity + epsilon)``, where l is the
    logarithm of the guide.

    Parameters
    ----------
    values : Tensor, shape (B, C, H, W)
        What is to be smoothed; a picture's luminance gives its base, and what it loses is its detail.
    guide : Tensor, shape (B, 1, H, W)
        The picture whose edges are kept, grey, in [0, 1]; often the values themselves.
    smoothness : float
        Weight of the second sum, at least 0. With 0 the values come back, with ever more their mean.
    sensitivity : float
        How fast a pair's weight falls with the edge between, at least 0; the paper takes 1.2 to 2.
    epsilon : float
        Of the weights, above 0, so that flat places do not divide by 0.
    tolerance : float
        The solver stops when the error's norm is at most this share of the norm of the values.
    most : int
        Iterations after which the solver gives up, at least 0.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        The smoothed pictures, without gradients.

    Raises
    ------
    ValueError
        If the shapes do not belong together, values or guide are no floats, or a number is out of its range.
    RuntimeError
        If the solver has not come to the tolerance.

    Notes
    -----
    Setting the derivative to zero gives one linear equation a pixel, ``A u = values``, which has one solution. It is
    found by conjugate gradients. Alone they would be slow, for the weights span a range of 1e4 or more; so each is
    preconditioned by one V-cycle of multigrid on a pyramid. There 2x2 pixels become one, whose equation is the sum of
    theirs, and so has the same form. No eigenvalue of A is below 1, hence the error is no larger than the residual.
    All is computed in double precision: in single the weights' range of 1e4 would use up the digits.
    Differs from the authors' program: the guide is raised to 1/255, one step of a byte, before the logarithm.

    References
    ----------
    Farbman, Fattal, Lischinski, Szeliski, "Edge-Preserving Decompositions for Multi-Scale Tone and Detail
    Manipulation", SIGGRAPH 2008, section 3.
    Tatebe, "The Multigrid Preconditioned Conjugate Gradient Method", Copper Mountain Conference 1993.
    """
    _check(values, guide)
    _check_numbers(smoothness, sensitivity, epsilon, tolerance, most)
    log = guide.double().clamp_min(_DARKEST).log()
    rows, columns = (smoothness / (log.diff(dim=axis).abs().pow(sensitivity) + epsilon) for axis in (-2, -1))
    grids = [_Grid(torch.ones_like(log), rows, columns)]
    while max(grids[-1].mass.shape[-2:]) > 1:
        grids.append(grids[-1].coarser())
    return _solve(grids, values.double(), tolerance, most).to(values)


class _Grid:
    """The equations of one resolution: each pixel's mass times u, plus the flow to its four neighbours."""

    def __init__(self, mass: Tensor, rows: Tensor, columns: Tensor) -> None:
        self.mass, self.rows, self.columns = mass, rows, columns
        self.diagonal = mass + _both(rows, -2) + _both(columns, -1)

    def __call__(self, u: Tensor) -> Tensor:
        flow_down, flow_along = self.rows * u.diff(dim=-2), self.columns * u.diff(dim=-1)
        return self.mass * u - _spread(flow_down, -2) - _spread(flow_along, -1)

    def coarser(self) -> "_Grid":
        """Join 2x2 pixels; only the pairs between the blocks remain."""
        rows = _summed(self.rows[..., 1::2, :], (1, 2))
        return _Grid(_summed(self.mass), rows, _summed(self.columns[..., 1::2], (2, 1)))


def _solve(grids: list[_Grid], values: Tensor, tolerance: float, most: int) -> Tensor:
    """Iterate by preconditioned conjugate gradients, each map by itself."""
    u, goal = values, tolerance * _norm(values)
    residual = values - grids[0](u)
    direction, before, done = None, None, 0
    while not (_norm(residual) <= goal).all():
        if done == most:
            error = (_norm(residual) / _norm(values)).max().item()
            raise RuntimeError(f"after {most} iterations the error may be {error:.1e}, not {tolerance:.1e}; allow more")
        guess = _cycle(grids, residual)
        now = _dot(residual, guess)
        direction = guess if direction is None else guess + direction * (now / before.clamp_min(1e-300))
        step = grids[0](direction)
        length = now / _dot(direction, step).clamp_min(1e-300)
        u, residual, before, done = u + length * direction, residual - length * step, now, done + 1
    return u


def _cycle(grids: list[_Grid], residual: Tensor) -> Tensor:
    """Guess the solution: smooth by a step of Jacobi, correct on the coarser grid, and smooth again."""
    grid = grids[0]
    if len(grids) == 1:
        return residual / grid.diagonal
    relaxed = 0.9 / grid.diagonal
    u = relaxed * residual
    coarse = _cycle(grids[1:], _summed(residual - grid(u)))
    u = u + coarse.repeat_interleave(2, -2).repeat_interleave(2, -1)[..., : u.shape[-2], : u.shape[-1]]
    return u + relaxed * (residual - grid(u))


def _summed(x: Tensor, block: tuple[int, int] = (2, 2)) -> Tensor:
    """Sum blocks; at the lower and right border they may be smaller."""
    if 0 in x.shape:
        return x[..., : -(-x.shape[-2] // block[0]), : -(-x.shape[-1] // block[1])]
    x = F.pad(x, (0, -x.shape[-1] % block[1], 0, -x.shape[-2] % block[0]))
    return F.avg_pool2d(x, block, divisor_override=1)


def _both(pairs: Tensor, axis: int) -> Tensor:
    """Give each pixel the sum over its two pairs along an axis."""
    ends = (0, 0, 1, 1) if axis == -2 else (1, 1)
    padded = F.pad(pairs, ends)
    return padded.narrow(axis, 0, padded.shape[axis] - 1) + padded.narrow(axis, 1, padded.shape[axis] - 1)


def _spread(flow: Tensor, axis: int) -> Tensor:
    """Give each pixel what flows in along an axis less what flows out."""
    return F.pad(flow, (0, 0, 1, 1) if axis == -2 else (1, 1)).diff(dim=axis)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum((-2, -1), keepdim=True)


def _norm(x: Tensor) -> Tensor:
    return _dot(x, x).sqrt()


def _check(values: Tensor, guide: Tensor) -> None:
    if values.ndim != 4 or 0 in values.shape or guide.shape != (values.shape[0], 1, *values.shape[2:]):
        raise ValueError(
            f"values of shape {tuple(values.shape)} and a guide of {tuple(guide.shape)} do not belong together; "
            "expected (B, C, H, W) and a grey (B, 1, H, W)"
        )
    check_floats(values, "values")
    check_floats(guide, "guide")


def _check_numbers(smoothness: float, sensitivity: float, epsilon: float, tolerance: float, most: int) -> None:
    if not (smoothness >= 0 and sensitivity >= 0 and epsilon > 0 and tolerance > 0 and most >= 0):
        raise ValueError(
            f"smoothness {smoothness}, sensitivity {sensitivity}, epsilon {epsilon}, tolerance {tolerance}, "
            f"{most} iterations; epsilon and tolerance are above 0, the others at least 0"
        )
