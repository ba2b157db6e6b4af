"""U-Nets on drawn microscopy, and what the paper's loss, deformations and skips are worth there."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset, Subset

from xferlib import train
from xferlib.data import augment, cells
from xferlib.losses.segmentation import border_weights, cross_entropy
from xferlib.metrics.instances import components, count_error, match, pixel_error
from xferlib.metrics.segmentation import evaluate
from xferlib.nets.unet import UNet
from xferlib.train.recipe import Recipe
from xferlib.train.study import Study, Trainer

TEST_SEED = 1
"""The images of this seed are for measuring; training draws those of seed 2 and on."""
SLIM = {"depth": 3, "norm": True, "dropout": 0.0}
TILE = 252
Sample = tuple[Tensor, Tensor, Tensor]


class Weighted(Dataset):
    """
    Images with the classes and the weights of their pixels, for a net that loses a margin.

    Parameters
    ----------
    dataset : Dataset
        Pairs of an image (1, H, W) and its instances (H, W).
    margin : int
        Pixels of the labels to cut off on each side.
    w0 : float
        Weight of the gaps between cells, see `border_weights`; 0 weighs all pixels alike.
    """

    def __init__(self, dataset: Dataset, margin: int = 0, w0: float = 10.0) -> None:
        self.dataset, self.margin, self.w0 = dataset, margin, w0

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`: image, classes and weights."""
        image, instances = self.dataset[index]
        weights = 1 + border_weights(instances, self.w0)
        inner = (slice(self.margin, -self.margin or None),) * 2
        return image, (instances > 0).long()[inner], weights[inner]


def _loss(net: nn.Module, batch: Sample) -> Tensor:
    images, labels, weights = batch
    return cross_entropy(net(images), labels, pixel_weights=weights)


def _measure(kind: str, net: nn.Module, data: Path | None) -> dict[str, float]:
    tiles = Weighted(cells.Cells(24, TILE, TILE, seed=TEST_SEED, kind=kind), net.margin)
    return evaluate(net, [tiles[i][:2] for i in range(24)], len(cells.CLASSES))


def _recipe(kind: str, name: str, **changes: Any) -> Recipe:
    with torch.device("meta"):  # without its weights, which would be drawn from the caller's random numbers
        net = UNet(width=12, **SLIM)
    return Recipe(
        name=name,
        task="segmentation",
        chapter="unet",
        net=UNet,
        arguments={"width": 12, **SLIM},
        loss=_loss,
        dataset=lambda data, seed: Weighted(
            cells.Cells(2**32, TILE, TILE, seed=TEST_SEED + 1 + seed, kind=kind), net.margin
        ),
        evaluate=partial(_measure, kind),
        steps=400,
        batch_size=4,
        lr=4e-3,
        classes=cells.CLASSES,
        palette="cells",
        data=f"drawn {kind} (xferlib.data.cells), tiles of {TILE}x{TILE}",
        terms="drawn by this project",
        options={"weight_decay": 0.01, "warmup": 50},
        drawn=True,
        **changes,
    )


SEEDS, IMAGES, SIDE, STEPS = 3, 4, 160, 200
LEAST = 20
"""Objects of fewer pixels are specks."""


def _turned(sample: tuple[Tensor, Tensor], generator: Generator) -> tuple[Tensor, Tensor]:
    return augment.turn(*sample, generator)


def _bent(sample: tuple[Tensor, Tensor], generator: Generator) -> tuple[Tensor, Tensor]:
    # A little steeper than the paper's 10 pixels on slices of 512.
    return augment.elastic(*_turned(sample, generator), generator, sigma=4.0)


def _drawn(seed: int) -> Dataset:
    return cells.Cells(2**32, SIDE, SIDE, seed=TEST_SEED + 1 + seed)


def _few(seed: int, deform: bool) -> Dataset:
    few = Subset(_drawn(seed), range(IMAGES))
    return train.shuffled(few, seed, _bent if deform else _turned)


def _objects(net: nn.Module) -> dict[str, float]:
    """Count the objects that a net finds on held-back images, at one threshold and at that which suits it best."""
    net.eval()
    probabilities, truths = [], []
    with torch.no_grad():
        for image, instances in (cells.Cells(24, seed=TEST_SEED)[i] for i in range(24)):
            probabilities.append(net(image[None]).softmax(1)[0, 1])
            truths.append(instances)
    means = {tenth / 10: _object_scores(probabilities, truths, tenth / 10) for tenth in range(1, 10)}
    best = max(means, key=lambda threshold: means[threshold]["F1"])
    return {**means[0.5], "best threshold": best, "F1 there": means[best]["F1"]}


def _object_scores(probabilities: list[Tensor], truths: list[Tensor], threshold: float) -> dict[str, float]:
    found = [components(probability > threshold) for probability in probabilities]
    pairs = list(zip(found, truths, strict=True))
    return {
        "count error": mean(count_error(*pair, least=LEAST) for pair in pairs),
        "F1": mean(match(*pair).f1 for pair in pairs),
        "pixel error": mean(pixel_error(*pair) for pair in pairs),
    }


def _ablate(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    arms = {
        "as the paper": ({}, lambda seed: Weighted(_drawn(seed))),
        "without the border weights": ({}, lambda seed: Weighted(_drawn(seed), w0=0.0)),
        "without the long skips": ({"skips": False}, lambda seed: Weighted(_drawn(seed))),
        f"{IMAGES} images, deformed": ({}, lambda seed: Weighted(_few(seed, True))),
        f"{IMAGES} images, not deformed": ({}, lambda seed: Weighted(_few(seed, False))),
    }
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    for run in range(seed, seed + SEEDS):
        for number, (name, (changes, stream)) in enumerate(arms.items()):
            torch.manual_seed(run)
            net = UNet(width=8, padding="zeros", **SLIM, **changes)
            trainer(
                f"arm{number}-run{run}",
                net,
                _loss,
                stream(run),
                steps=STEPS,
                batch_size=4,
                lr=4e-3,
                weight_decay=0.01,
                warmup=30,
                seed=run,
            )
            figures[name].append(_objects(net))
    return figures


RECIPES = (_recipe("culture", "unet-cells"), _recipe("tissue", "unet-tissue"))
STUDIES = (
    Study(
        name="cells-ablation",
        chapter="unet",
        measure=_ablate,
        data=f"drawn cultures of {SIDE}x{SIDE}, {STEPS} steps of 4; measured on 24 others of 256x256; {SEEDS} seeds",
    ),
)
