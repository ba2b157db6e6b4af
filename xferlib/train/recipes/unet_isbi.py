"""A slim U-Net on the real membranes of ISBI 2012."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset

from xferlib import train
from xferlib.data import augment, cells
from xferlib.data.benchmarks import ISBI
from xferlib.losses.segmentation import border_weights, cross_entropy
from xferlib.metrics.instances import components, pixel_error, rand_f
from xferlib.nets.unet import UNet
from xferlib.ops.tiling import apply_tiled
from xferlib.train.recipe import Recipe

HELD_BACK = (5, 11, 17, 23)
"""Every sixth slice, because the later ones are noisier than the first."""
TRAINING = tuple(i for i in range(24) if i not in HELD_BACK)
TILE = 572
THRESHOLDS = tuple(i / 20 for i in range(2, 19))


def _root(data: Path | None) -> Path | None:
    return None if data is None else data / "isbi2012"


def _augmented(sample: tuple[Tensor, Tensor], generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Turn, mirror, bend, relight and roughen a slice, and cut a tile from it, mirrored beyond its edge."""
    image, labels = augment.turn(*sample, generator)
    image, labels = augment.elastic(image, labels, generator)
    image = augment.relight(image.expand(3, -1, -1), generator)[:1]
    noise = augment.uniform(0, 0.08, generator) * torch.randn(image.shape, generator=generator)
    image = (image + noise).clamp(0, 1)
    inner = TILE - 2 * 92
    top, left = (int(torch.randint(n - inner + 1, (), generator=generator)) for n in labels.shape)
    labels = labels[top : top + inner, left : left + inner]
    image = F.pad(image[None], (92,) * 4, mode="reflect")[0, :, top : top + TILE, left : left + TILE]
    return image, labels, 1 + border_weights(components(labels), w0=5.0)


def _slices(data: Path | None, seed: int) -> Dataset:
    return train.shuffled(ISBI(_root(data), TRAINING), seed, _augmented)


def _loss(net: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    images, labels, weights = batch
    return cross_entropy(net(images), labels, pixel_weights=weights)


def _probability(net: nn.Module, image: Tensor) -> Tensor:
    """Average the probability of a cell over the eight ways to turn and mirror a slice."""
    total = torch.zeros(image.shape[-2:])
    for quarter in range(4):
        for mirrored in (False, True):
            view = image.rot90(quarter, (1, 2))
            view = view.flip(2) if mirrored else view
            found = apply_tiled(net, view, TILE).softmax(0)[1]
            total += (found.flip(1) if mirrored else found).rot90(-quarter, (0, 1))
    return total / 8


def _measure(net: nn.Module, data: Path | None) -> dict[str, float]:
    slices = ISBI(_root(data), HELD_BACK)
    found = [(_probability(net, image), labels) for image, labels in slices]
    errors = torch.tensor([[pixel_error(p, y, t) for t in THRESHOLDS] for p, y in found]).mean(0)
    rands = torch.tensor([[rand_f(components(p > t), components(y)) for t in THRESHOLDS] for p, y in found])
    return {
        "pixel error": errors[THRESHOLDS.index(0.5)].item(),
        "best pixel error": errors.min().item(),
        "Rand F": rands.mean(0).max().item(),
    }


RECIPE = Recipe(
    name="unet-isbi",
    task="segmentation",
    chapter="unet",
    net=UNet,
    arguments={"width": 12, "norm": True, "dropout": 0.1},
    loss=_loss,
    dataset=_slices,
    evaluate=_measure,
    steps=1800,
    batch_size=1,
    lr=4e-3,
    classes=cells.CLASSES,
    palette="cells",
    data="ISBI 2012, 20 slices; measured on slices 5, 11, 17 and 23, the mean of 8 turned and mirrored views",
    terms="cite Arganda-Carreras et al. 2015 and the ISBI 2012 challenge",
    options={"weight_decay": 0.01, "warmup": 100, "workers": 1},
)
