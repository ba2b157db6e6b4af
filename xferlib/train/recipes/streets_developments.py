"""What came after FCN, on drawn streets: backbones, dilation, context, pyramids and cascades, trained alike."""

import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from xferlib.data import streets
from xferlib.losses.segmentation import cascade_loss
from xferlib.metrics import cost
from xferlib.metrics.segmentation import evaluate
from xferlib.nets.backbones import Dense, DilatedVGG, conv3x3
from xferlib.nets.context import Context
from xferlib.nets.deeplab import DeepLab
from xferlib.nets.icnet import ICNet
from xferlib.nets.pspnet import PSPNet
from xferlib.train.recipe import Recipe
from xferlib.train.recipes.streets import TEST_SEED
from xferlib.train.study import Study, Trainer

CLASSES = len(streets.CLASSES)
SMALL, LARGE = (128, 256), (256, 512)
STEPS, SEEDS = 1000, 2
OPTIONS = {"lr": 4e-3, "weight_decay": 0.01, "warmup": 50}
RESNET = {"depths": (2, 2, 2, 2), "widths": (24, 32, 48, 64), "expansion": 1, "stem": 16}
SLIM = {"num_classes": CLASSES, "channels": 64, "auxiliary": 0, **RESNET}
SLIM_ICNET = {"num_classes": CLASSES, "channels": 48, "high": (8, 16, 32), **RESNET}
VGG = {"widths": (12, 24, 40, 56, 72), "convs": (1, 2, 2, 2, 2), "norm": True}
"""As many multiply-adds as the ResNet."""
GUIDANCE = {"low": 0.16, "middle": 0.4, "high": 1.0}
"""ICNet's weights of the three resolutions."""


def guided(net: nn.Module, batch: tuple[Tensor, Tensor], weights: Mapping[str, float]) -> dict[str, Tensor]:
    """
    Compute the loss of a net with several score maps.

    Parameters
    ----------
    net : nn.Module
        Gives score maps by name in training mode.
    batch : tuple of Tensor
        Images and labels.
    weights : mapping of str to float
        See `xferlib.losses.segmentation.cascade_loss`.

    Returns
    -------
    dict of str to Tensor
        The terms.
    """
    images, labels = batch
    return cascade_loss(net(images), labels, weights)


def on_vgg() -> nn.Module:
    """
    Build the plain net on VGG.

    Returns
    -------
    nn.Module
        VGG at stride 8, one 3x3 convolution and the classifier.
    """
    backbone = DilatedVGG(**VGG)
    head = nn.Sequential(conv3x3(VGG["widths"][-1], 64), nn.Dropout2d(0.1), nn.Conv2d(64, CLASSES, 1))
    return Dense(backbone, head, CLASSES, 0)


MAIN = {"main": 1.0}
ARMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int], Mapping[str, float]]] = {
    "VGG": (on_vgg, SMALL, MAIN),
    "ResNet": (partial(PSPNet, bins=(), **SLIM), SMALL, MAIN),
    "ResNet, stride 32": (partial(PSPNet, bins=(), stride=32, **SLIM), SMALL, MAIN),
    "ResNet, pyramid pooling": (partial(PSPNet, **SLIM), SMALL, MAIN),
    "ResNet, ASPP": (partial(DeepLab, CLASSES, rates=(2, 4, 6, 8), hidden=32, **RESNET), SMALL, MAIN),
    "PSPNet, 256x512": (partial(PSPNet, **SLIM), LARGE, MAIN),
    "ICNet, 256x512": (partial(ICNet, **SLIM_ICNET), LARGE, GUIDANCE),
    "ICNet without guidance, 256x512": (partial(ICNet, **SLIM_ICNET), LARGE, {"low": 0.0, "middle": 0.0, "high": 1.0}),
}
"""For each net how it is built, the size of its scenes, and the weights of its score maps."""
LONGER: dict[str, Callable[[], nn.Module]] = {
    "ResNet, trained on": nn.Identity,
    "ResNet, context module": partial(Context, CLASSES),
}
"""What is put behind the scores of the trained ResNet, before both are trained for half as many steps again."""


def _scenes(seed: int, size: tuple[int, int]) -> Dataset:
    return streets.Streets(2**32, *size, seed=TEST_SEED + 1 + seed)


def _measure(net: nn.Module, size: tuple[int, int]) -> dict[str, float]:
    return evaluate(net, streets.Streets(48, *size, seed=TEST_SEED), CLASSES)


def _batch(size: tuple[int, int]) -> int:
    return 8 if size == SMALL else 4


def _compare(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    figures: dict[str, Any] = {}
    for run in range(seed, seed + SEEDS):
        for name, net, figure in _trained(trainer, run):
            costs = cost.summary(net, (3, *_size(name)))
            figures.setdefault(name, {**costs, "runs": []})["runs"].append(figure)
    return figures


def _trained(trainer: Trainer, run: int) -> Iterator[tuple[str, nn.Module, dict[str, float]]]:
    """Train every net, and the longer ones from the ResNet; give each with its name and what was measured."""
    for name, (build, size, weights) in ARMS.items():
        torch.manual_seed(run)
        net = build().to(memory_format=torch.channels_last)
        options = {**OPTIONS, "steps": STEPS, "batch_size": _batch(size), "seed": run}
        trainer(_short(name, run), net, partial(guided, weights=weights), _scenes(run, size), **options)
        yield name, net, _measure(net, size)
        if name == "ResNet":
            front = deepcopy(net)
    for name, behind in LONGER.items():
        net = deepcopy(front)
        net.head.append(behind())
        options = {**OPTIONS, "lr": OPTIONS["lr"] / 2, "steps": STEPS // 2, "batch_size": _batch(SMALL), "seed": run}
        trainer(_short(name, run), net, partial(guided, weights=MAIN), _scenes(run, SMALL), **options)
        yield name, net, _measure(net, SMALL)


def _size(name: str) -> tuple[int, int]:
    return ARMS[name][1] if name in ARMS else SMALL


def _short(name: str, run: int) -> str:
    return "-".join(name.replace(",", "").lower().split()) + f"-run{run}"


def _large(name: str, net: type[nn.Module], arguments: Mapping[str, Any], weights: Mapping[str, float]) -> Recipe:
    def dataset(data: Path | None, seed: int) -> Dataset:
        return _scenes(seed, LARGE)

    def measure(net: nn.Module, data: Path | None) -> dict[str, float]:
        return _measure(net, LARGE)

    return Recipe(
        name=name,
        task="segmentation",
        chapter="developments",
        net=net,
        arguments=arguments,
        loss=partial(guided, weights=weights),
        dataset=dataset,
        evaluate=measure,
        steps=STEPS,
        batch_size=_batch(LARGE),
        lr=OPTIONS["lr"],
        classes=streets.CLASSES,
        palette="streets",
        pixels=(math.prod(LARGE),),
        data="drawn streets (xferlib.data.streets), 256x512",
        terms="drawn by this project with textures from photographs shipped by scikit-image",
        options={name: value for name, value in OPTIONS.items() if name != "lr"},
        drawn=True,
    )


RECIPES = (
    _large("pspnet-streets", PSPNet, SLIM, MAIN),
    _large("icnet-streets", ICNet, SLIM_ICNET, GUIDANCE),
)
STUDIES = (
    Study(
        name="streets-developments",
        chapter="developments",
        measure=_compare,
        data=f"drawn streets, {STEPS} steps of 8 at 128x256, of 4 at 256x512; measured on 48 others; {SEEDS} seeds",
    ),
)
