"""Style transfer by optimisation: change the pixels until the features fit."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import LBFGS, Adam, Optimizer
from tqdm.auto import tqdm

from xferlib.losses.perceptual import LossNetwork, Targets, Weights, perceptual_loss, style_targets
from xferlib.ops.colour import LUMA
from xferlib.ops.resample import resize_bicubic

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
"""The layers of Gatys et al. (section 3); what their code calls conv1_1 holds the features after the ReLU."""

CONTENT_LAYERS = ("relu4_2",)

NOISE = 0.02
"""Standard deviation up to which colours are taken for noise."""

MAX_PIXELS = 2**21
MIN_CELLS = 4
"""Least side of the smallest feature map: Gram matrices of fewer places say little."""

Layers = Iterable[str] | Mapping[str, float]


@dataclass(frozen=True)
class Progress:
    """
    Where an optimisation is, as ``on_step`` gets it at each evaluation of the loss.

    Parameters
    ----------
    step, steps : int
        Evaluations done, from 1, and evaluations planned. L-BFGS ends the line search that it is in, so a few more
        may come.
    loss : float
        The loss.
    losses : dict
        The terms that it is the sum of, by name.
    size : tuple of int
        Height and width at which the picture is worked on now, its frame included.
    seconds : float
        Time so far.
    image : Tensor, shape (3, H, W)
        The picture that the loss belongs to, without its frame, in [0, 1]: a copy.
    """

    step: int
    steps: int
    loss: float
    losses: dict[str, float]
    size: tuple[int, int]
    seconds: float
    image: Tensor


@dataclass
class History:
    """
    What an optimisation did, to be plotted.

    Parameters
    ----------
    loss : list of float
        The loss at each evaluation.
    losses : dict
        Its terms by name, a list with one value an evaluation.
    size : list of tuple of int
        Height and width at each evaluation, as in `Progress`; losses of different sizes cannot be compared.
    seconds : list of float
        Time from the start to the end of each evaluation.
    """

    loss: list[float] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)
    size: list[tuple[int, int]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Stylized:
    """
    The result of `stylize`.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        The picture, in [0, 1].
    history : History
        How the loss went.
    """

    image: Tensor
    history: History


def stylize(
    content: Tensor,
    style: Tensor | Sequence[Tensor],
    net: LossNetwork,
    *,
    shares: Sequence[float] | None = None,
    content_layers: Layers = CONTENT_LAYERS,
    style_layers: Layers = STYLE_LAYERS,
    content_weight: float = 0.1,
    style_weight: float = 1.0,
    variation_weight: float = 0.3,
    steps: int | Sequence[int] = (20, 20, 60),
    optimizer: str = "lbfgs",
    lr: float | None = None,
    start: str | Tensor = "matched",
    seed: int = 0,
    margin: int = 16,
    max_pixels: int = MAX_PIXELS,
    on_step: Callable[[Progress], None] | None = None,
    progress: bool = True,
) -> Stylized:
    """
    Paint a picture in a style, by changing its pixels.

    Without a style (``()``) or with a ``style_weight`` of 0 it finds a picture with the content's features:
    reconstruction. With a ``content_weight`` of 0 the content gives only the size: texture synthesis.

    Parameters
    ----------
    content : Tensor, shape (3, H, W) or (1, H, W)
        What to paint, in [0, 1], RGB or grey.
    style : Tensor, shape (3, H, W) or (1, H, W), or a sequence of them
        How to paint it; pictures of any sizes. Strokes come out about as large as they are there, in pixels.
    net : callable
        The loss network: called as ``net(images, layers)`` with (1, 3, H, W) in [0, 1]; gives features by name.
    shares : sequence of float, optional
        How much each of several styles counts; by default all alike.
    content_layers, style_layers : iterable of str, or mapping of str to float
        Layers, alike in weight or with a weight each; a term's weights are scaled to the sum 1, as in the paper.
    content_weight, style_weight, variation_weight : float
        Weights of the three terms.
    steps : int or sequence of int
        Evaluations of the loss; L-BFGS may add a few, to end a line search. Several numbers work from coarse to fine:
        the last is for the full size, the one before for half of it, and so on. Sizes too small for the net are left
        out.
    optimizer : {"lbfgs", "adam"}
        L-BFGS, as in the paper, or Adam.
    lr : float, optional
        Learning rate; 1 for L-BFGS and 0.03 for Adam by default.
    start : {"matched", "content", "noise"} or Tensor, shape (3, H, W)
        Where to begin; "matched" is the content in the colours of the style, as `match_colours` gives it.
    seed : int
        Seed of the noise.
    margin : int
        Mirrored frame in pixels around the content while it is worked on: nets pad with zeros, and the picture would
        get a pale rim. Pictures smaller than it get less.
    max_pixels : int
        Refuse larger pictures, whose features would fill the memory.
    on_step : callable, optional
        Called with a `Progress` at each evaluation.
    progress : bool
        Whether to show a progress bar, which goes away at the end.

    Returns
    -------
    Stylized
        The picture, of the content's size, and the history.

    Raises
    ------
    ValueError
        If a picture is not one as above, too small for the layers or too large, or an option makes no sense.
    FloatingPointError
        If the loss is not finite.

    Notes
    -----
    Pixels are clamped to [0, 1] only at the end: L-BFGS estimates curvature from where it has been, so a pixel moved
    in between would mislead it.

    References
    ----------
    Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016; from coarse to fine as
    in Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer", CVPR 2017, section 6.
    """
    plan = [steps] if isinstance(steps, int) else list(steps)
    if not plan or min(plan) < 1:
        raise ValueError(f"steps are {steps}; give a number of at least 1, or one for each scale")
    picture = _picture(content, "content", max_pixels)
    styles = [_picture(each, "style", max_pixels) for each in ([style] if isinstance(style, Tensor) else style)]
    weights = Weights(
        _weighted(content_layers, content_weight),
        _weighted(style_layers, style_weight if styles else 0.0),
        variation_weight,
    )
    if margin < 0:
        raise ValueError(f"margin {margin} is below 0")
    image = _start(start, picture, styles if weights.style else [], seed)
    halvings = min(_halvings(picture, styles, net, weights), len(plan) - 1)
    margin = min(margin, min(picture.shape[-2:]) - 1)
    picture, first = (F.pad(each, (margin,) * 4, "reflect") for each in (picture, image))
    image = first
    sizes = [tuple(round(side / 2**h) for side in picture.shape[-2:]) for h in range(halvings, -1, -1)]
    plan = plan[-len(sizes) :]
    with _Run(sum(plan), margin / picture.shape[-2], on_step, progress) as run:
        for count, size in zip(plan, sizes, strict=True):
            targets = _targets(net, picture, styles, weights, shares, size)
            image = _descend(
                _resumed(image, first, size),
                partial(_terms, net, targets, weights),
                _solver(optimizer, lr, count),
                count,
                run,
            )
    return Stylized(run.inner(image).clamp(0, 1), run.history)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Resize pictures, without aliasing where they get smaller.

    Parameters
    ----------
    images : Tensor, shape (B, 3, H, W)
        Pictures.
    size : tuple of int
        Height and width.

    Returns
    -------
    Tensor, shape (B, 3, *size)
        The pictures; bicubic interpolation may leave [0, 1] a little.
    """
    return images if images.shape[-2:] == torch.Size(size) else resize_bicubic(images, size)


def match_colours(image: Tensor, other: Tensor) -> Tensor:
    """
    Give a picture the colours of another: a style those of the content, say, before it is used.

    Parameters
    ----------
    image, other : Tensor, shape (3, H, W)
        RGB in [0, 1], of any sizes.

    Returns
    -------
    Tensor, shape (3, H, W)
        The image under an affine map of its colours, after which their mean and covariance are the other's; then
        clamped to [0, 1]. Where colours hardly vary, by less than 0.02, that is noise, and is not blown up to them.

    Raises
    ------
    ValueError
        If a picture has but one pixel, whose colours do not vary.

    References
    ----------
    Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer", CVPR 2017, section 5.2.
    """
    x, y = image.flatten(1).double(), other.flatten(1).double()
    if min(x.shape[1], y.shape[1]) < 2:
        shapes = f"{tuple(image.shape)} and {tuple(other.shape)}"
        raise ValueError(f"pictures of shape {shapes}; colours vary from two pixels on")
    towards = _root(torch.cov(y)) @ torch.linalg.inv(_root(torch.cov(x) + NOISE**2 * torch.eye(3).to(x)))
    matched = towards @ (x - x.mean(1, keepdim=True)) + y.mean(1, keepdim=True)
    return matched.reshape(image.shape).to(image.dtype).clamp(0, 1)


def keep_colours(image: Tensor, content: Tensor) -> Tensor:
    """
    Give a painted picture the colours of the content, and leave its light and dark.

    Parameters
    ----------
    image, content : Tensor, shape (3, H, W)
        RGB in [0, 1], of one size.

    Returns
    -------
    Tensor, shape (3, H, W)
        Luminance of the image, the two colour channels of the content (YIQ), clamped to [0, 1].

    Raises
    ------
    ValueError
        If the sizes differ.

    References
    ----------
    Gatys et al., CVPR 2017, section 5.1.
    """
    if image.shape != content.shape:
        raise ValueError(f"image {tuple(image.shape)} and content {tuple(content.shape)} differ; resize one")
    change = torch.tensordot(image.new_tensor(LUMA), image - content, 1)
    return (content + change).clamp(0, 1)  # the same step in R, G and B changes luminance alone


def _root(covariance: Tensor) -> Tensor:
    """Take the symmetric square root of a covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors @ values.clamp(min=0).sqrt().diag() @ vectors.mT


def _picture(image: Tensor, name: str, max_pixels: float = math.inf) -> Tensor:
    """Check a picture and make it (1, 3, H, W)."""
    shape = tuple(image.shape)
    if image.ndim == 4 and len(image) == 1:
        image = image[0]
    if image.ndim != 3 or len(image) not in (1, 3) or image.numel() == 0:
        hint = "paint one picture at a time: batch[i]" if image.ndim == 4 else "give (3, H, W), or (1, H, W) if grey"
        raise ValueError(f"{name} has shape {shape}; {hint}")
    if image[0].numel() > max_pixels:
        height, width = image.shape[1:]
        raise ValueError(f"{name} of {height}x{width} is over {max_pixels} pixels; resize it, or raise max_pixels")
    if not image.is_floating_point():
        raise ValueError(f"{name} is {image.dtype}; give floats in [0, 1]: for 0..255 divide by 255")
    if not image.isfinite().all():
        raise ValueError(f"{name} has values that are nan or infinite; see torch.nan_to_num")
    low, high = image.amin().item(), image.amax().item()
    if low < -0.01 or high > 1.01:
        raise ValueError(f"{name} has values from {low:g} to {high:g}; give [0, 1]: for 0..255 divide by 255")
    return image.detach().float().expand(3, -1, -1)[None]


def _weighted(layers: Layers, weight: float) -> dict[str, float]:
    """Spread a term's weight over its layers."""
    if isinstance(layers, str):
        raise ValueError(f"layers are the str {layers!r}; give a list, ({layers!r},)")
    each = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    total = sum(each.values())
    if weight < 0 or min(each.values(), default=0.0) < 0 or (weight > 0 and not total > 0):
        raise ValueError(f"layers {each} with weight {weight}; weights are at least 0, and one layer's above it")
    return {name: weight * share / total for name, share in each.items()} if weight else {}


def _start(start: str | Tensor, picture: Tensor, styles: Sequence[Tensor], seed: int) -> Tensor:
    if isinstance(start, Tensor):
        image = _picture(start, "start")
        if image.shape != picture.shape:
            raise ValueError(f"start of {tuple(image.shape[-2:])} for a content of {tuple(picture.shape[-2:])}")
        return image
    if start == "content" or (start == "matched" and not styles):
        return picture
    if start == "matched":
        return match_colours(picture[0], torch.cat([each[0].flatten(1) for each in styles], 1)[..., None])[None]
    if start == "noise":
        noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(seed))
        return 0.5 + 0.1 * noise.to(picture.device)
    raise ValueError(f"start {start!r} is none of 'matched', 'content', 'noise' or a picture")


def _halvings(picture: Tensor, styles: Sequence[Tensor], net: LossNetwork, weights: Weights) -> int:
    """Say how often the pictures can be halved until one is too small for the net."""
    every = tuple(dict.fromkeys([*weights.content, *weights.style]))
    looked = [("content", picture, every), *(("style", image, tuple(weights.style)) for image in styles)]
    found = [min(picture.shape[-2:]).bit_length() - 1]
    for name, image, layers in looked:
        if not layers:
            continue
        cells, at = _cells(net, image, layers)
        if cells < MIN_CELLS:
            height, width = image.shape[-2:]
            side = math.ceil(MIN_CELLS * min(height, width) / cells)
            raise ValueError(
                f"{name} of {height}x{width} pixels leaves {cells} cells across in {at}; give at least {side} a side, "
                "or leave the layer out"
            )
        found.append(int(math.log2(cells / MIN_CELLS)))
    return min(found)


@torch.no_grad()
def _cells(net: LossNetwork, image: Tensor, layers: tuple[str, ...]) -> tuple[int, str]:
    """Find the least side of the features of an image, and their layer."""
    return min((min(found.shape[-2:]), name) for name, found in net(image, layers).items())


@torch.no_grad()
def _targets(
    net: LossNetwork,
    picture: Tensor,
    styles: Sequence[Tensor],
    weights: Weights,
    shares: Sequence[float] | None,
    size: tuple[int, int],
) -> Targets:
    """Compute what to meet at a size; styles shrink as much as the content."""
    factor = size[0] / picture.shape[-2]
    content = net(resized(picture, size), tuple(weights.content)) if weights.content else {}
    if not weights.style:
        return Targets(content)
    small = [resized(each, tuple(round(side * factor) for side in each.shape[-2:])) for each in styles]
    return Targets(content, style_targets(net, small, tuple(weights.style), shares))


def _resumed(image: Tensor, first: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image, and give it the detail of the first picture that was too fine for the size it had."""
    held = resized(resized(first, tuple(image.shape[-2:])), size)
    return resized(image, size) + (resized(first, size) - held)


def _terms(net: LossNetwork, targets: Targets, weights: Weights, image: Tensor) -> dict[str, Tensor]:
    return perceptual_loss(net, image, targets, weights)


class _Run:
    """What is kept and told while the picture changes."""

    def __init__(self, steps: int, frame: float, on_step: Callable[[Progress], None] | None, progress: bool) -> None:
        self.history, self.steps, self.frame, self.on_step = History(), steps, frame, on_step
        self.bar = tqdm(total=steps, leave=False, disable=not progress)
        self.began = time.monotonic()

    def __enter__(self) -> "_Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def inner(self, image: Tensor) -> Tensor:
        """Cut the mirrored frame off."""
        margin = round(self.frame * image.shape[-2])
        return image[0, :, margin : image.shape[-2] - margin, margin : image.shape[-1] - margin]

    def note(self, terms: Mapping[str, Tensor], image: Tensor) -> None:
        losses = {name: term.item() for name, term in terms.items()}
        loss, history, size = sum(losses.values()), self.history, tuple(image.shape[-2:])
        step = len(history.loss) + 1
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"loss {losses} at step {step} of {self.steps}: try a lower lr, optimizer='adam' or smaller weights"
            )
        history.loss.append(loss)
        for name, value in losses.items():
            history.losses.setdefault(name, []).append(value)
        history.size.append(size)
        history.seconds.append(time.monotonic() - self.began)
        self.bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
        self.bar.update()
        if self.on_step:
            seen = self.inner(image.detach()).clamp(0, 1)
            self.on_step(Progress(step, self.steps, loss, losses, size, history.seconds[-1], seen))


def _solver(optimizer: str, lr: float | None, steps: int) -> Callable[[list[Tensor]], Optimizer]:
    if lr is not None and not lr > 0:
        raise ValueError(f"lr {lr} is not above 0")
    if optimizer == "lbfgs":
        # Without a line search it stands still or leaps away on some pictures.
        options = {"max_iter": steps, "max_eval": steps, "history_size": 20, "line_search_fn": "strong_wolfe"}
        return partial(LBFGS, lr=lr or 1.0, tolerance_grad=0.0, tolerance_change=0.0, **options)
    if optimizer == "adam":
        return partial(Adam, lr=lr or 0.03, betas=(0.9, 0.99))
    raise ValueError(f"optimizer {optimizer!r} is none of 'lbfgs' or 'adam'")


def _descend(
    image: Tensor,
    terms: Callable[[Tensor], dict[str, Tensor]],
    solver: Callable[[list[Tensor]], Optimizer],
    steps: int,
    run: _Run,
) -> Tensor:
    """Lower the loss of an image at one size."""
    x = image.clone(memory_format=torch.contiguous_format).requires_grad_()
    optimizer = solver([x])
    scale = 0.0

    def closure() -> Tensor:
        nonlocal scale
        found = terms(x)
        loss = sum(found.values())
        run.note(found, x)
        (gradient,) = torch.autograd.grad(loss, x)
        # PyTorch's L-BFGS drops what it learned of the curvature where gradients are small, Adam's epsilon slows it.
        scale = scale or 1 / gradient.abs().mean().clamp(min=1e-30).item()
        x.grad = (scale * gradient).contiguous()  # channels-last nets give another layout
        return scale * loss.detach()

    for _ in range(1 if isinstance(optimizer, LBFGS) else steps):
        optimizer.step(closure)
    return x.detach()
