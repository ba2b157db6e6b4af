"""What the loss network is worth: pictures made with it and with random weights, judged by features of another kind."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from xferlib.data import paintings, photos
from xferlib.losses.perceptual import mean_gram
from xferlib.nets.random_filters import RandomFilters
from xferlib.train.recipes.loss_network import random_weights
from xferlib.train.study import Study, Trainer
from xferlib.train.stylize import stylize
from xferlib.zoo import loss_network

SIDE, STYLES, CONTENTS = 128, paintings.STYLES, ("chelsea", "astronaut", "china")
JUDGE = tuple(f"scale{level}" for level in range(1, 6))
JUDGE_SEED = 1000


def _pictures_made(trainer: Trainer, seed: int) -> dict[str, Any]:
    """Make textures and stylised photographs with each net, and let features that made none of them judge."""
    nets = {
        "trained": loss_network(),
        "random weights": random_weights(photos.squares(photos.TRAIN), seed),
    }
    contents = photos.squares(CONTENTS, SIDE)
    figures: dict[str, dict[str, list[float]]] = {}
    for number, name in enumerate(STYLES):
        style, content = paintings.draw(name, SIDE, SIDE, seed=seed), contents[number % len(contents)]
        noise = 0.5 + 0.1 * torch.randn(content.shape, generator=Generator().manual_seed(seed))
        _judge(figures, "the photograph itself", content, style)
        _judge(figures, "noise", noise.clamp(0, 1), style)
        _judge(figures, "the same painter again", paintings.draw(name, SIDE, SIDE, seed=seed + 1), style)
        for kind, net in nets.items():
            made = stylize(content, style, net, progress=False).image
            _judge(figures, f"{kind}: photograph in the style", made, style)
            texture = stylize(content, style, net, content_weight=0.0, start="noise", progress=False).image
            _judge(figures, f"{kind}: texture from noise", texture, style)
    means = {kind: {name: sum(found) / len(found) for name, found in by.items()} for kind, by in figures.items()}
    return {**means, "styles": list(STYLES), "by style": figures}


def _judge(figures: dict[str, dict[str, list[float]]], kind: str, image: Tensor, style: Tensor) -> None:
    found = figures.setdefault(kind, {"Gram distance": [], "finest detail": []})
    found["Gram distance"].append(gram_distance(image, style))
    found["finest detail"].append(finest_detail(image) / finest_detail(style))


def gram_distance(image: Tensor, style: Tensor, seed: int = JUDGE_SEED) -> float:
    """
    Measure how far a picture is from a style for random filters on five scales, which no net here was trained on.

    Parameters
    ----------
    image, style : Tensor, shape (3, H, W)
        RGB in [0, 1].
    seed : int
        Seed of the filters.

    Returns
    -------
    float
        Norm of the difference of the Gram matrices over that of the style's, the mean over the scales. 0 is equal.
    """
    judge = RandomFilters(seed=seed)
    distances = []
    with torch.no_grad():
        ours, theirs = judge(image[None], JUDGE), judge(style[None], JUDGE)
        for layer in JUDGE:
            wanted = mean_gram(theirs[layer])
            distances.append((mean_gram(ours[layer]) - wanted).norm() / wanted.norm())
    return torch.stack(distances).mean().item()


def finest_detail(image: Tensor) -> float:
    """
    Measure the energy in the finest octave of a picture, where noise shows.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1]; even sizes.

    Returns
    -------
    float
        Root mean square of what is lost when the picture is halved and enlarged again.
    """
    halved = F.avg_pool2d(image[None], 2)
    return (image - F.interpolate(halved, scale_factor=2, mode="bilinear")[0]).square().mean().sqrt().item()


STUDIES = (
    Study(
        name="loss-network-worth",
        chapter="gatys",
        measure=_pictures_made,
        data=f"drawn paintings and photographs held back, {SIDE}x{SIDE}; judged by random filters of another kind",
    ),
)
