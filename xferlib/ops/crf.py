"""The fully connected conditional random field: every pixel talks to every other, and looks decide how loudly."""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from xferlib.ops._halves import exact, wide
from xferlib.ops._lattice import Lattice

SMALL = 4096
"""Pixels up to which all pairs are summed one by one, unless told otherwise."""
_PART = 2**24
_Filter = Callable[..., Tensor]


def unary(probabilities: Tensor, least: float = 1e-6) -> Tensor:
    """
    Turn a net's probabilities into the energies that the field starts from: minus their logarithm.

    Parameters
    ----------
    probabilities : Tensor, shape (B, L, H, W)
        Sum to one over the L labels, or to within a hundredth of it: those of a net in bfloat16 are brought to one.
    least : float
        Smaller probabilities count as this one, so that every energy is finite.

    Returns
    -------
    Tensor, shape (B, L, H, W)
        Energies, 0 and above.

    Raises
    ------
    ValueError
        If they are no probabilities.
    """
    if probabilities.ndim != 4:
        raise ValueError(f"probabilities of shape {tuple(probabilities.shape)}; expected (B, L, H, W)")
    values = probabilities.detach()
    total = values.sum(1)
    off = (total - 1).abs()
    if not (values.amin() >= 0 and off.amax() <= 1e-2):
        raise ValueError(
            f"probabilities lie from {values.amin():.3g} and sum to {total.amin():.3g} to {total.amax():.3g} over the "
            "labels, not to 1; give logits.softmax(1)"
        )
    probabilities = probabilities / total.where(off > 1e-3, 1)[:, None]
    return -probabilities.clamp_min(least).log()


@exact
def mean_field(
    unary: Tensor,
    images: Tensor,
    *,
    iterations: int = 10,
    bilateral: float | Tensor = 10.0,
    spatial: float | Tensor = 3.0,
    position: float = 80.0,
    colour: float = 13.0,
    spread: float = 3.0,
    compatibility: Tensor | None = None,
    normalised: bool = True,
    method: Literal["auto", "exact", "fast"] = "auto",
) -> Tensor:
    """
    Infer labels in a fully connected field by mean-field iterations.

    Each iteration lets every pixel hear the beliefs of all others, through two Gaussian kernels::

        bilateral * exp(-|dp|^2 / (2 position^2) - |dI|^2 / (2 colour^2)) + spatial * exp(-|dp|^2 / (2 spread^2))

    and sets its own to ``softmax(-unary - penalty)``, where the penalty of a label is what was heard for the labels
    that are not compatible with it.

    Parameters
    ----------
    unary : Tensor, shape (B, L, H, W)
        Energy of each label at each pixel; `unary` makes it of probabilities. Gradients pass.
    images : Tensor, shape (B, 3, H, W)
        RGB in [0, 1]. They count as given: no gradient passes.
    iterations : int
        Rounds, at least 0; 0 gives ``softmax(-unary)``.
    bilateral, spatial : float or Tensor
        Weights of the kernels, 0 or above: one number, or one for each label, (L,). Gradients pass.
    position, colour : float
        Widths of the bilateral kernel: in pixels, and in 255ths of the range of a channel.
    spread : float
        Width of the spatial kernel in pixels.
    compatibility : Tensor, shape (L, L), optional
        Penalty of label i for hearing label j; by default 1 for unlike labels, 0 for like ones (Potts). Gradients
        pass.
    normalised : bool
        Whether each kernel is divided by the square roots of its sums at both ends, as in the paper's program;
        the formula of the paper, and of DeepLab, has no such division.
    method : {"auto", "exact", "fast"}
        Sum over all pairs, O(N^2), or filter by a permutohedral lattice (the bilateral kernel) and by a window of five
        widths (the spatial one); "auto" sums up to `SMALL` pixels.

    Returns
    -------
    Tensor, shape (B, L, H, W)
        Beliefs; they sum to one over the labels.

    Raises
    ------
    ValueError
        If sizes do not belong together, or a number makes no sense.

    Notes
    -----
    A pixel does not hear itself. With `normalised`, the sums do contain it, as in the paper's program.

    References
    ----------
    Krähenbühl, Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS 2011,
    algorithm 1; Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", ICCV 2015, section 4.
    """
    _check(unary, images, iterations, {"position": position, "colour": colour, "spread": spread})
    kind, unary = unary.dtype, wide(unary)
    weights = [_weight(name, w, unary) for name, w in (("bilateral", bilateral), ("spatial", spatial))]
    if compatibility is not None and compatibility.shape != (unary.shape[1],) * 2:
        raise ValueError(f"compatibility of shape {tuple(compatibility.shape)} for {unary.shape[1]} labels")
    if method not in ("auto", "exact", "fast"):
        raise ValueError(f"method {method!r} is not one of auto, exact, fast")
    all_pairs = method == "exact" or (method == "auto" and unary[0, 0].numel() <= SMALL)
    beliefs = []
    for energy, image in zip(unary, images.detach().to(unary.dtype), strict=True):
        kernels = [_Kernel(each, energy, normalised) for each in _kernels(image, position, colour, spread, all_pairs)]
        flat = energy.flatten(1).T.contiguous()
        q = (-flat).softmax(1)
        own = sum(weight * kernel.own for weight, kernel in zip(weights, kernels, strict=True))
        # Under Potts, hearing less of the other labels is, up to a constant, hearing more of the own one.
        silence = -flat if compatibility is None else torch.zeros_like(flat)
        for _ in range(iterations):
            heard = torch.addcmul(silence, own, q, value=-1)
            for weight, kernel in zip(weights, kernels, strict=True):
                heard = torch.addcmul(heard, weight * kernel.scale, kernel(q))
            q = (heard if compatibility is None else -flat - heard @ compatibility.T.to(flat)).softmax(1)
        beliefs.append(q.T.reshape(energy.shape))
    return torch.stack(beliefs).to(kind)


@exact
def energy(
    labels: Tensor,
    unary: Tensor,
    images: Tensor,
    *,
    bilateral: float = 10.0,
    spatial: float = 3.0,
    position: float = 80.0,
    colour: float = 13.0,
    spread: float = 3.0,
) -> Tensor:
    """
    Sum the energy of a labelling: its unary terms, and the kernels between all pairs of unlike labels.

    Parameters
    ----------
    labels : Tensor, shape (B, H, W)
        A label at each pixel, int64.
    unary : Tensor, shape (B, L, H, W)
        Energy of each label at each pixel.
    images : Tensor, shape (B, 3, H, W)
        RGB in [0, 1].
    bilateral, spatial : float
        Weights of the kernels, which are not normalised here.
    position, colour, spread : float
        Their widths, as `mean_field` takes them.

    Returns
    -------
    Tensor, shape (B,)
        Energies; what `mean_field` approximates is the distribution ``exp(-energy)``. Float32 for half precision.

    Raises
    ------
    ValueError
        As `mean_field`, or if the labels are not (B, H, W), int64 in 0 to L - 1.
    """
    _check(unary, images, 0, {"position": position, "colour": colour, "spread": spread})
    _check_labels(labels, unary)
    unary = wide(unary)
    one_hot = torch.zeros_like(unary).scatter_(1, labels[:, None], 1.0)
    energies = []
    for own, picked, image in zip(unary, one_hot, images.detach().to(unary.dtype), strict=True):
        look, near = _kernels(image, position, colour, spread, all_pairs=True)
        q = picked.flatten(1).T
        unlike = sum(weight * (k(q.new_ones(q.shape)) - k(q)) for weight, k in ((bilateral, look), (spatial, near)))
        energies.append((own * picked).sum() + (unlike * q).sum() / 2)
    return torch.stack(energies)


class _Kernel:
    """A kernel between pixels, normalised or not; it is to be multiplied by `scale`, and less `own` of each value."""

    def __init__(self, kernel: _Filter, energy: Tensor, normalised: bool) -> None:
        self.kernel = kernel
        ones = energy.new_ones(energy[0].numel(), 1)
        self.scale = kernel(ones).clamp_min(1e-12).rsqrt() if normalised else ones
        self.own = self.scale**2 * (kernel.own if isinstance(kernel, Lattice) else 1.0)

    def __call__(self, q: Tensor) -> Tensor:
        return _Linear.apply(self.scale * q, self.kernel)


class _Linear(torch.autograd.Function):
    """A linear filter, whose gradient is its transpose."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor, kernel: _Filter) -> Tensor:
        ctx.kernel = kernel
        return kernel(values)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return _Linear.apply(gradient, lambda values, reverse=False: ctx.kernel(values, not reverse)), None


def _kernels(image: Tensor, position: float, colour: float, spread: float, all_pairs: bool) -> tuple[_Filter, _Filter]:
    """Give the bilateral and the spatial kernel as filters of (N, C) values."""
    height, width = image.shape[1:]
    rows, columns = (torch.arange(side, dtype=image.dtype, device=image.device) for side in (height, width))
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)
    looks = torch.cat([places / position, image.flatten(1).T * (255 / colour)], 1)
    if all_pairs:
        return _all_pairs(looks), _all_pairs(places / spread)
    reach = math.ceil(5 * spread)
    line = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
    weights = torch.exp(-((line / spread) ** 2) / 2)

    def near(values: Tensor, reverse: bool = False) -> Tensor:
        x = values.view(1, height, width, -1).permute(0, 3, 1, 2)
        down, across = (weights.view(shape).repeat(x.shape[1], 1, 1, 1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))
        x = F.conv2d(x, down, padding=(reach, 0), groups=x.shape[1])
        x = F.conv2d(x, across, padding=(0, reach), groups=x.shape[1])
        return x.permute(0, 2, 3, 1).reshape(values.shape)

    return Lattice(looks), near


def _all_pairs(points: Tensor) -> _Filter:
    """Sum over all pairs of points, a part of the rows at a time."""
    rows = max(1, _PART // len(points))

    def summed(values: Tensor, reverse: bool = False) -> Tensor:
        # Weights of less than 1e-20, which change no sum, would cost a processor much time.
        parts = (
            (-(torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist") ** 2) / 2).clamp(min=-46).exp()
            @ values
            for part in points.split(rows)
        )
        return torch.cat(list(parts))

    return summed


def _weight(name: str, weight: float | Tensor, unary: Tensor) -> Tensor:
    weight = torch.as_tensor(weight, dtype=unary.dtype, device=unary.device)
    if weight.shape not in ((), (unary.shape[1],)):
        raise ValueError(f"{name} weights of shape {tuple(weight.shape)}; give one number or {unary.shape[1]}")
    if not (weight.detach() >= 0).all():
        raise ValueError(f"{name} weight {weight.detach().min():.3g} is below 0; kernels draw together, never apart")
    return weight


def _check_labels(labels: Tensor, unary: Tensor) -> None:
    batch, count, *size = unary.shape
    if labels.dtype != torch.int64 or labels.shape != (batch, *size):
        raise ValueError(
            f"labels of shape {tuple(labels.shape)}, {labels.dtype}, for a unary of {tuple(unary.shape)}; expected "
            "(B, H, W), int64"
        )
    if labels.numel() and not 0 <= labels.min() <= labels.max() < count:
        found = f"labels from {labels.min()} to {labels.max()}"
        raise ValueError(f"{found} are not all in 0 to {count - 1}; a void label has no energy")


def _check(unary: Tensor, images: Tensor, iterations: int, widths: dict[str, float]) -> None:
    if unary.ndim != 4 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"unary of shape {tuple(unary.shape)}, images of {tuple(images.shape)}; expected (B, L, H, W), (B, 3, H, W)"
        )
    if unary.shape[0] != images.shape[0] or unary.shape[2:] != images.shape[2:]:
        raise ValueError(
            f"unary of shape {tuple(unary.shape)} and images of {tuple(images.shape)} differ in number or size"
        )
    if not images.is_floating_point() or not unary.is_floating_point():
        raise ValueError(f"unary is {unary.dtype}, images are {images.dtype}; give floats, images in [0, 1]")
    if not (unary.detach().isfinite().all() and images.detach().isfinite().all()):
        raise ValueError("unary or images hold NaN or infinity; xferlib.ops.crf.unary keeps energies finite")
    if images.detach().amin() < 0 or images.detach().amax() > 1:
        raise ValueError(
            f"images range from {images.amin():.3g} to {images.amax():.3g}; expected [0, 1]: divide by 255"
        )
    if iterations < 0:
        raise ValueError(f"{iterations} iterations; 0 is the least")
    for name, width in widths.items():
        if not (width > 0 and math.isfinite(width)):
            raise ValueError(f"{name} width {width} is not positive")
