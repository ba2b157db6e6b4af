"""A slim U-Net on the real membranes of ISBI 2012."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import Dataset

from xferlib import train
from xferlib.data import augment, cells
from xferlib.data.benchmarks import ISBI
from xferlib.losses.segmentation import cross_entropy
from xferlib.metrics.instances import components, pixel_error, rand_f, thinned
from xferlib.nets.unet import UNet
from xferlib.ops.degrade import upscale
from xferlib.ops.tiling import apply_tiled
from xferlib.ops.views import average_views
from xferlib.train.recipe import Recipe
from xferlib.zoo.scale import enlarged, seen, spread

HELD_BACK = (5, 11, 17, 23)
"""Every sixth slice, because the later ones are noisier than the first."""
TRAINING = tuple(i for i in range(24) if i not in HELD_BACK)
TILE, WHOLE = 412, 604
"""Sides of a tile to train on, and of one that sees a whole slice."""
MARGIN = 44
"""Pixels that the net takes off each side."""
TILES = 100
THRESHOLDS = tuple(i / 20 for i in range(1, 20))
RISE, STEPS = 6000, 16000
"""Tiles before the learning rate rises again, and all."""


def _root(data: Path | None) -> Path | None:
    return None if data is None else data / "isbi2012"


def _augmented(sample: tuple[Tensor, Tensor], generator: Generator) -> tuple[Tensor, Tensor]:
    """Turn, mirror, bend, relight and roughen a slice, and cut a tile from it, mirrored beyond its edge."""
    image, labels = augment.turn(*sample, generator)
    image, labels = augment.elastic(image, labels, generator)
    image = augment.relight(image.expand(3, -1, -1), generator)[:1]
    noise = augment.uniform(0, 0.08, generator) * torch.randn(image.shape, generator=generator)
    image = (image + noise).clamp(0, 1)
    inner = TILE - 2 * MARGIN
    top, left = (int(torch.randint(n - inner + 1, (), generator=generator)) for n in labels.shape)
    image = F.pad(image[None], (MARGIN,) * 4, mode="reflect")[0, :, top : top + TILE, left : left + TILE]
    return image, labels[top : top + inner, left : left + inner]


def _slices(data: Path | None, seed: int) -> Dataset:
    return train.shuffled(ISBI(_root(data), TRAINING), seed, _augmented)


def _loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    # Differs from Ronneberger et al.: gaps between cells weigh no more, so that probabilities are what they say.
    images, labels = batch
    return cross_entropy(net(images), labels)


def _settled(net: nn.Module, data: Path | None) -> nn.Module:
    """Let the norms remember many tiles, and not the last few of batches of one."""
    stream = _slices(data, 1)
    update_bn((stream[i][0][None] for i in range(TILES)), net)
    return net


def _probability(net: nn.Module, image: Tensor) -> Tensor:
    """Average the probability of a cell over the eight ways to turn and mirror a slice."""
    return average_views(lambda view: apply_tiled(net, view, WHOLE).softmax(0)[1], image, RECIPE.views)


def _f_error(probability: Tensor, labels: Tensor, threshold: float) -> float:
    """Give the challenge's pixel error: 1 less the F-score of the cells' pixels."""
    found, true = probability >= threshold, labels > 0
    return 1 - 2 * (found & true).sum().item() / (found.sum() + true.sum()).item()


def _rand_f(probability: Tensor, labels: Tensor, threshold: float) -> float:
    return rand_f(components(probability >= threshold), components(labels))


def _thinned_rand_f(probability: Tensor, labels: Tensor, threshold: float) -> float:
    return rand_f(thinned(components(probability >= threshold)), components(labels))


def _measure(net: nn.Module, data: Path | None) -> dict[str, float]:
    found = [(_probability(net, image), labels) for image, labels in ISBI(_root(data), HELD_BACK)]

    def means(measure: Callable[[Tensor, Tensor, float], float]) -> Tensor:
        return torch.tensor([[measure(*each, t) for t in THRESHOLDS] for each in found]).mean(0)

    errors = means(pixel_error)
    return {
        "pixel error": errors[THRESHOLDS.index(0.5)].item(),
        "best pixel error": errors.min().item(),
        "Rand F": means(_rand_f).max().item(),
        "Rand F, thinned": means(_thinned_rand_f).max().item(),
        "challenge's pixel error": means(_f_error).min().item(),
        **_enlarged(net, data),
    }


def _enlarged(net: nn.Module, data: Path | None) -> dict[str, float]:
    """Measure slices of twice the magnification: as they are, and reduced as ``xferlib apply --pixels`` does."""
    found: dict[str, list[float]] = {"pixel error, enlarged twofold": [], "pixel error, enlarged and reduced": []}
    for image, labels in ISBI(_root(data), HELD_BACK):
        large = upscale(image[None], 2)[0].clamp(0, 1)
        (small,) = seen(large, (labels.numel(),))
        for errors, view in zip(found.values(), (large, small), strict=True):
            probability = enlarged(_probability(net, view)[None], large.shape[1:])[0]
            errors.append(pixel_error(probability, spread(labels, large.shape[1:]), 0.5))
    return {name: mean(errors) for name, errors in found.items()}


RECIPE = Recipe(
    name="unet-isbi",
    task="segmentation",
    chapter="unet",
    net=UNet,
    arguments={"width": 16, "depth": 3, "norm": True, "dropout": 0.1},
    loss=_loss,
    dataset=_slices,
    finish=_settled,
    evaluate=_measure,
    steps=STEPS,
    batch_size=1,
    lr=4e-3,
    classes=cells.CLASSES,
    palette="cells",
    views=8,
    data="ISBI 2012, 20 slices; measured on slices 5, 11, 17 and 23, the mean of 8 turned and mirrored views",
    terms="cite Arganda-Carreras et al. 2015 and the ISBI 2012 challenge",
    # The shipped file was made in two runs: the second, from the rise on, began with an optimiser without memory, and
    # with the weights of the first in float16.
    options={
        "weight_decay": 0.01,
        "warmup": 100,
        "workers": 1,
        "precision": "bf16-mixed",
        "schedule": partial(train.restarts, rises=(RISE,), steps=STEPS, again=0.75, warmup=100),
    },
)
