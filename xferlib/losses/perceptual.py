"""Losses on the features of a fixed net: content, style and total variation, as Gatys et al. define them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from xferlib.losses._float16 import wide
from xferlib.ops._halves import check_floats

LossNetwork = Callable[[Tensor, tuple[str, ...]], Mapping[str, Tensor]]
"""Called as ``net(images, layers)`` with RGB (B, 3, H, W) in [0, 1]; gives the features of each layer by name."""


def gram(features: Tensor) -> Tensor:
    """
    Give the Gram matrix of features: how much each two channels fire together, anywhere in the picture.

    Parameters
    ----------
    features : Tensor, shape (B, N, H, W)
        Features of one layer.

    Returns
    -------
    Tensor, shape (B, N, N)
        ``G[i, j]`` is the sum over all places of the product of channels i and j. It grows with the number of places,
        so it is float32 where the features, or autocast, ask for float16.

    Raises
    ------
    ValueError
        If the features are not (B, N, H, W).

    References
    ----------
    Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016, equation 3.
    """
    if features.ndim != 4:
        raise ValueError(f"features of shape {tuple(features.shape)}; expected (B, N, H, W), so one picture is [None]")
    f = features.flatten(2)
    product = f @ f.mT
    if product.dtype == torch.float16:
        with torch.autocast(f.device.type, enabled=False):
            product = f.float() @ f.float().mT
    return product


def mean_gram(features: Tensor) -> Tensor:
    """
    Give the Gram matrix divided by the number of places, so that pictures of different sizes can be compared.

    Parameters
    ----------
    features : Tensor, shape (B, N, H, W)
        Features of one layer.

    Returns
    -------
    Tensor, shape (B, N, N)
        The mean over all places of the products of two channels.
    """
    return gram(features) / features[0, 0].numel()


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """
    Measure how far features lie from those of the content.

    Parameters
    ----------
    features, target : Tensor, shape (B, N, H, W)
        Features of one layer. With one target, all pictures are compared to it.

    Returns
    -------
    Tensor
        Scalar: half the sum of squared differences, the mean over the pictures.

    Raises
    ------
    ValueError
        If the shapes do not belong together.

    References
    ----------
    Gatys et al., CVPR 2016, equation 1.
    """
    if features.shape[1:] != target.shape[1:] or len(target) not in (1, len(features)):
        raise ValueError(
            f"features of shape {tuple(features.shape)} and content of {tuple(target.shape)} do not match: "
            "the content's features need a picture of the same size"
        )
    return 0.5 * wide(features - target).square().sum() / len(features)


def style_loss(features: Mapping[str, Tensor], grams: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """
    Measure how far the Gram matrices of several layers lie from those of a style.

    Parameters
    ----------
    features : mapping of str to Tensor, shape (B, N, H, W)
        Features by layer.
    grams : mapping of str to Tensor, shape (1, N, N) or (B, N, N)
        The style's `mean_gram` by layer.
    weights : mapping of str to float
        Weight of each layer; layers without one do not count.

    Returns
    -------
    Tensor
        Scalar, the mean over the pictures.

    Raises
    ------
    ValueError
        If a layer with a weight has no features or no Gram matrix, or the two differ in channels, or in number where
        there is more than one Gram matrix.

    Notes
    -----
    With N channels and M places the paper's term of a layer is ``sum (G - A)^2 / (4 N^2 M^2)``. As M is the same for
    both of its pictures, that is ``sum (G / M - A / M)^2 / (4 N^2)``, which also holds where they differ in size.

    References
    ----------
    Gatys et al., CVPR 2016, equations 4 and 5; their weights are 1/5 for each of five layers.
    """
    return sum(weight * _layer_style(name, features, grams) for name, weight in weights.items())


def _layer_style(name: str, features: Mapping[str, Tensor], grams: Mapping[str, Tensor]) -> Tensor:
    if name not in features or name not in grams:
        known = ", ".join(sorted(features.keys() & grams.keys())) or "none"
        raise ValueError(f"layer {name!r} has a weight but not both features and a Gram matrix; these have: {known}")
    found, target = mean_gram(features[name]), grams[name]
    if found.shape[1:] != target.shape[1:]:
        raise ValueError(f"{name}: Gram matrices of {found.shape[1]} and {target.shape[1]} channels; use one net")
    if len(target) not in (1, len(found)):
        raise ValueError(
            f"{name}: {len(target)} Gram matrices of styles for {len(found)} pictures; give one, or one a picture"
        )
    return (found - target).square().sum() / (4 * found.shape[1] ** 2 * len(found))


def total_variation(images: Tensor) -> Tensor:
    """
    Measure how much neighbouring pixels differ.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
        Pictures.

    Returns
    -------
    Tensor
        Scalar: the sum of squared differences between vertical and between horizontal neighbours, the mean over the
        pictures.

    Raises
    ------
    ValueError
        If the pictures are no floats.

    References
    ----------
    Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016, section
    3.2; Mahendran, Vedaldi, "Understanding Deep Image Representations by Inverting Them", CVPR 2015, section 3, with
    beta = 2.
    """
    check_floats(images)
    rows, columns = (wide(images).diff(dim=axis) for axis in (-2, -1))
    return (rows.square().sum() + columns.square().sum()) / len(images)


@dataclass(frozen=True)
class Weights:
    """
    How much each layer and each term counts.

    Parameters
    ----------
    content, style : mapping of str to float
        Weight of each layer in the content and in the style term, all at least 0.
    variation : float
        Weight of total variation, at least 0.

    Raises
    ------
    ValueError
        If a weight is negative.
    """

    content: Mapping[str, float] = field(default_factory=dict)
    style: Mapping[str, float] = field(default_factory=dict)
    variation: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in [*self.content.items(), *self.style.items(), ("total variation", self.variation)]:
            if not weight >= 0:
                raise ValueError(f"weight {weight} of {name}; it must be at least 0")


@dataclass(frozen=True)
class Targets:
    """
    What the features of a picture should come to.

    Parameters
    ----------
    content : mapping of str to Tensor, shape (1, N, H, W) or (B, N, H, W)
        The content's features by layer.
    style : mapping of str to Tensor, shape (1, N, N)
        The style's `mean_gram` by layer.
    """

    content: Mapping[str, Tensor] = field(default_factory=dict)
    style: Mapping[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def style_targets(
    net: LossNetwork, styles: Sequence[Tensor], layers: Iterable[str], shares: Sequence[float] | None = None
) -> dict[str, Tensor]:
    """
    Compute the Gram matrices that a picture in these styles should have.

    Parameters
    ----------
    net : callable
        The loss network.
    styles : sequence of Tensor, each (1, 3, H, W)
        Pictures of the styles, RGB in [0, 1], of any sizes.
    layers : iterable of str
        Names of the layers.
    shares : sequence of float, optional
        How much each style counts; only their ratios matter. By default all alike.

    Returns
    -------
    dict of str to Tensor, shape (1, N, N)
        Mean of the styles' `mean_gram` by layer, weighted by the shares.

    Raises
    ------
    ValueError
        If there is no style, not one share a style, a share is negative, or all are zero.

    Notes
    -----
    The sum of the styles' losses, weighted by shares that add up to one, differs from the loss against the mean Gram
    matrix by a constant: both have the same gradient, and the mean costs no more than one style.
    """
    shares = [1.0] * len(styles) if shares is None else list(shares)
    if not styles or len(shares) != len(styles) or min(shares) < 0 or not sum(shares) > 0:
        raise ValueError(f"{len(styles)} styles with shares {shares}; give one a style, none negative, not all zero")
    names = tuple(layers)
    each = [{name: mean_gram(found) for name, found in net(style, names).items()} for style in styles]
    parts = [share / sum(shares) for share in shares]
    return {name: sum(part * grams[name] for part, grams in zip(parts, each, strict=True)) for name in names}


def perceptual_loss(net: LossNetwork, images: Tensor, targets: Targets, weights: Weights) -> dict[str, Tensor]:
    """
    Add up what a picture is judged by: its content, its style, and how smooth it is.

    Parameters
    ----------
    net : callable
        The loss network.
    images : Tensor, shape (B, 3, H, W)
        RGB in [0, 1].
    targets : Targets
        What the features should come to.
    weights : Weights
        How much each layer and term counts.

    Returns
    -------
    dict of str to Tensor
        The weighted terms "content", "style" and "variation"; their sum is the loss. A term without weight is left
        out.

    Raises
    ------
    ValueError
        If a layer with a weight has no target, or no term has a weight.

    References
    ----------
    Gatys et al., CVPR 2016, equation 7, and Johnson et al., ECCV 2016, section 3.2.
    """
    wanted = {name: w for name, w in weights.content.items() if w}, {name: w for name, w in weights.style.items() if w}
    layers = tuple(dict.fromkeys([*wanted[0], *wanted[1]]))
    features = net(images, layers) if layers else {}
    terms: dict[str, Tensor] = {}
    if wanted[0]:
        terms["content"] = sum(w * _layer_content(name, features, targets) for name, w in wanted[0].items())
    if wanted[1]:
        terms["style"] = style_loss(features, targets.style, wanted[1])
    if weights.variation:
        terms["variation"] = weights.variation * total_variation(images) / images[0, 0].numel()
    if not terms:
        raise ValueError("no term has a weight above 0; give one for content, style or total variation")
    return terms


def _layer_content(name: str, features: Mapping[str, Tensor], targets: Targets) -> Tensor:
    if name not in targets.content:
        known = ", ".join(targets.content) or "none"
        raise ValueError(f"content layer {name!r} has a weight but no target; these have: {known}")
    # Differs from Gatys et al.: divided by the number of features, so that one weight serves pictures of all sizes.
    return content_loss(features[name], targets.content[name]) / features[name][0].numel()
