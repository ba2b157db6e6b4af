"""Losses for taking two layers of light apart: what lies behind a pane of glass, and what is mirrored in it."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from xferlib.losses._float16 import wide
from xferlib.losses.perceptual import LossNetwork
from xferlib.losses.restoration import gradient, l1, l2
from xferlib.ops.edges import edges

_STEPS = 255
"""CEILNet's pictures lie in [0, 255]. Its losses divided by 255 have squared errors in [0, 1] count 255 times."""


def image_loss(images: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """
    Compare a restored background with the true one as CEILNet's I-CNN does: values and gradients.

    Parameters
    ----------
    images, targets : Tensor, shape (B, C, H, W)
        What was made, and what is true, in [0, 1]; at least 2 pixels a side.

    Returns
    -------
    dict of str to Tensor
        The weighted terms "pixels" and "gradients"; their sum is the loss.

    Raises
    ------
    ValueError
        If the shapes differ, or a side has less than 2 pixels.

    Notes
    -----
    The paper's ``0.2 MSE + 0.4 L1(dx) + 0.4 L1(dy)`` is meant for pictures in [0, 255]. This is the same loss divided
    by 255: in [0, 1] its squared errors count ``0.2 * 255 = 51`` times. Without that factor they would hardly count.

    References
    ----------
    Fan, Yang, Hua, Chen, Wipf, "A Generic Deep Architecture for Single Image Reflection Removal and Image Smoothing",
    ICCV 2017, with the weights of its authors' code.
    """
    return {"pixels": 0.2 * _STEPS * l2(images, targets), "gradients": 0.4 * gradient(images, targets)}


def edge_loss(found: Tensor, targets: Tensor) -> Tensor:
    """
    Compare predicted edges with those of the true background, as CEILNet's E-CNN does.

    Parameters
    ----------
    found : Tensor, shape (B, 1, H, W)
        The predicted edge map.
    targets : Tensor, shape (B, C, H, W)
        The true background in [0, 1], not its edges.

    Returns
    -------
    Tensor
        Scalar with the weight that it has beside the terms of `image_loss` when both nets are trained together.

    Raises
    ------
    ValueError
        If the sizes differ, or `xferlib.ops.edges.edges` refuses the background.

    References
    ----------
    As for `image_loss`: 0.4 times the mean squared error, here divided by 255.
    """
    return 0.4 * _STEPS * l2(found, edges(targets))


def exclusion(backgrounds: Tensor, reflections: Tensor, scales: int = 3) -> Tensor:
    """
    Measure how often both layers have an edge at the same place. Two scenes that do not know of each other seldom do.

    Parameters
    ----------
    backgrounds, reflections : Tensor, shape (B, C, H, W)
        The two layers, in [0, 1]; at least ``2^(scales - 1) + 1`` pixels a side.
    scales : int
        Number of sizes at which edges are compared, each half of the one before; at least 1.

    Returns
    -------
    Tensor
        Scalar, the mean over pictures, scales and both directions of
        ``mean(tanh^2(dB / 2) tanh^2(l dR / 2))^(1/4)``. The factor ``l = 2 mean|dB| / mean|dR|`` lifts the fainter
        layer, so the contrast of the reflection does not matter. Zero where one layer is flat.

    Raises
    ------
    ValueError
        If the shapes differ, there is no scale, or a side is too short for the scales.

    References
    ----------
    Zhang, Ng, Chen, "Single Image Reflection Separation with Perceptual Losses", CVPR 2018, and its
    authors' code, whose ``2 sigmoid(x) - 1`` is ``tanh(x / 2)``.
    """
    _check_layers(backgrounds, reflections, scales)
    backgrounds, reflections = wide(backgrounds), wide(reflections)  # float16 rounds the epsilons away
    total = 0.0
    for scale in range(scales):
        if scale:
            backgrounds, reflections = (F.avg_pool2d(x, 2, ceil_mode=True) for x in (backgrounds, reflections))
        total = total + sum(_overlap(backgrounds.diff(dim=axis), reflections.diff(dim=axis)) for axis in (-1, -2))
    return total / (2 * scales)


def feature_loss(net: LossNetwork, images: Tensor, targets: Tensor, weights: Mapping[str, float]) -> Tensor:
    """
    Add up the absolute errors of the features of a fixed net.

    Parameters
    ----------
    net : callable
        The loss network.
    images, targets : Tensor, shape (B, 3, H, W)
        What was made, and what is true, RGB in [0, 1]. A gradient reaches the images only.
    weights : mapping of str to float
        Weight of each layer; "input" names the picture itself.

    Returns
    -------
    Tensor
        Scalar, the sum over the layers of weight times mean absolute error.

    Raises
    ------
    ValueError
        If the shapes differ, there is no weight, or one is negative.

    Notes
    -----
    The paper weighs ``relu1_2`` to ``relu5_2`` of VGG-19 by 1/2.6, 1/4.8, 1/3.7, 1/5.6 and 10/1.5, and the picture in
    [0, 255] by 1. Other nets have features of other sizes, so the weights are the caller's.

    References
    ----------
    Zhang, Ng, Chen, CVPR 2018, after Chen, Koltun, "Photographic Image Synthesis with Cascaded Refinement
    Networks", ICCV 2017.
    """
    if not weights or not min(weights.values()) >= 0:
        raise ValueError(f"weights {dict(weights)}; give at least one layer, none a negative weight")
    targets = targets.detach()
    pixels = l1(images, targets)
    layers = tuple(name for name in weights if name != "input")
    found = net(images, layers) if layers else {}
    true = net(targets, layers) if layers else {}
    return weights.get("input", 0) * pixels + sum(weights[name] * l1(found[name], true[name]) for name in layers)


def separation_loss(
    net: LossNetwork, found: tuple[Tensor, Tensor], true: tuple[Tensor, Tensor], weights: Mapping[str, float]
) -> dict[str, Tensor]:
    """
    Judge both layers of a picture as Zhang et al. do, except for their discriminator.

    Parameters
    ----------
    net : callable
        The loss network.
    found, true : tuple of Tensor, each (B, 3, H, W)
        Background and reflection, RGB in [0, 1]; at least 5 pixels a side.
    weights : mapping of str to float
        Weight of each layer of the net, as for `feature_loss`.

    Returns
    -------
    dict of str to Tensor
        The weighted terms "perceptual", of both layers, "reflection" and "exclusion"; their sum is the loss.

    Raises
    ------
    ValueError
        As for `feature_loss` and `exclusion`.

    References
    ----------
    Zhang, Ng, Chen, CVPR 2018; the share of 0.2 is that of its authors' code.
    """
    perceptual = sum(feature_loss(net, ours, theirs, weights) for ours, theirs in zip(found, true, strict=True))
    return {"perceptual": 0.2 * perceptual, "reflection": l1(found[1], true[1]), "exclusion": exclusion(*found)}


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    """Compare differences along one axis, (B, C, H, W); equation and factor are those of `exclusion`."""
    # Differs from Zhang et al.: the two epsilons, without which a flat layer has no value and no gradient, and one
    # factor a picture in place of one a batch.
    size = other.abs().mean((1, 2, 3), keepdim=True)
    lifted = other * 2 * one.abs().mean((1, 2, 3), keepdim=True) / (size + 1e-8)
    products = ((one / 2).tanh() * (lifted / 2).tanh()).square().mean((1, 2, 3))
    epsilon = 1e-16
    return ((products + epsilon) ** 0.25 - epsilon**0.25).mean()


def _check_layers(backgrounds: Tensor, reflections: Tensor, scales: int) -> None:
    if backgrounds.ndim != 4 or backgrounds.shape != reflections.shape:
        shapes = f"{tuple(backgrounds.shape)} and {tuple(reflections.shape)}"
        raise ValueError(f"layers of shape {shapes}; expected (B, C, H, W) twice, so one picture is [None]")
    if scales < 1:
        raise ValueError(f"{scales} scales; 1 compares edges at full size, 3 are usual")
    height, width = backgrounds.shape[-2:]
    if min(height, width) < 2 ** (scales - 1) + 1:
        least = 2 ** (scales - 1) + 1
        raise ValueError(
            f"layers of {height}x{width} are too small for {scales} scales; {least} pixels a side at least"
        )
