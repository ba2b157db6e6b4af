"""What a loss network is worth: textures from the trained net, from random weights, and from random filters."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from xferlib.data import paintings, photos
from xferlib.losses.perceptual import LossNetwork
from xferlib.nets.random_filters import RandomFilters
from xferlib.train.recipes.loss_network import random_weights
from xferlib.train.study import Study, Trainer
from xferlib.train.stylize import STYLE_LAYERS, resized, stylize
from xferlib.zoo.loss_network import loss_network

SIDE, STEPS = 128, (120, 120, 120)
SCALES = ("scale1", "scale2", "scale3", "scale4", "scale5")


def nets(seed: int = 0) -> dict[str, tuple[LossNetwork, tuple[str, ...]]]:
    """
    Give the loss networks that are compared.

    Parameters
    ----------
    seed : int
        Seed of the random ones.

    Returns
    -------
    dict of str to (callable, tuple of str)
        Each net with the layers of its style, by name.
    """
    photographs = photos.squares(photos.TRAIN)
    return {
        "trained": (loss_network(), STYLE_LAYERS),
        "random weights": (random_weights(photographs, seed), STYLE_LAYERS),
        "random filters": (RandomFilters(seed=seed), SCALES),
    }


def patch_distance(one: Tensor, other: Tensor, size: int = 7, directions: int = 128, seed: int = 0) -> float:
    """
    Measure how differently two pictures are made up of patches, without any net.

    Parameters
    ----------
    one, other : Tensor, shape (3, H, W)
        RGB in [0, 1], of any sizes.
    size : int
        Side of the patches in pixels.
    directions : int
        Directions in the space of patches along which their distributions are compared.
    seed : int
        Seed of the directions.

    Returns
    -------
    float
        Sliced Wasserstein distance: the mean, over the directions and over the pictures at full, half and quarter
        size, of the mean distance between sorted projections.

    References
    ----------
    Rabin, Peyre, Delon, Bernot, "Wasserstein Barycenter and Its Application to Texture Mixing", SSVM 2011.
    """
    generator = torch.Generator().manual_seed(seed)
    kernels = torch.randn(directions, 3, size, size, generator=generator)
    kernels = kernels / kernels.flatten(1).norm(dim=1)[:, None, None, None]
    levels = torch.linspace(0, 1, 501)[1:-1]
    found = []
    for factor in (1, 2, 4):
        sides = [resized(each[None], tuple(side // factor for side in each.shape[-2:])) for each in (one, other)]
        lines = [torch.conv2d(each, kernels)[0].flatten(1).quantile(levels, 1) for each in sides]
        found.append((lines[0] - lines[1]).abs().mean().item())
    return sum(found) / len(found)


def texture(net: LossNetwork, layers: tuple[str, ...], style: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """
    Synthesise a texture from a painting.

    Parameters
    ----------
    net : callable
        Loss network.
    layers : tuple of str
        Its layers.
    style : str
        One of `xferlib.data.paintings.STYLES`.
    seed : int
        Seed of the painting and of the noise.

    Returns
    -------
    tuple of Tensor, each (3, SIDE, SIDE)
        The texture and the painting.
    """
    painting = paintings.draw(style, SIDE, SIDE, seed=seed)
    options = {"content_weight": 0.0, "variation_weight": 0.0, "start": "noise", "seed": seed, "progress": False}
    return stylize(painting, painting, net, style_layers=layers, steps=STEPS, **options).image, painting


def _compare(_: Trainer, seed: int) -> Mapping[str, Any]:
    figures: dict[str, dict[str, float]] = {}
    for name, (net, layers) in nets(seed).items():
        figures[name] = {style: patch_distance(*texture(net, layers, style, seed)) for style in paintings.STYLES}
    noise = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    drawn = {style: paintings.draw(style, SIDE, SIDE, seed=seed) for style in paintings.STYLES}
    figures["noise"] = {style: patch_distance(noise, painting) for style, painting in drawn.items()}
    again = {style: paintings.draw(style, SIDE, SIDE, seed=seed + 1) for style in paintings.STYLES}
    figures["another painting"] = {style: patch_distance(again[style], drawn[style]) for style in drawn}
    return figures


STUDIES = (
    Study(
        name="gatys-loss-networks",
        chapter="gatys",
        measure=_compare,
        data=f"textures of {SIDE}x{SIDE} from {len(paintings.STYLES)} drawn paintings, {sum(STEPS)} evaluations each; "
        "distance between the distributions of patches of 7x7 at three scales",
    ),
)
