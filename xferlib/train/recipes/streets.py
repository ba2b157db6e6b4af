"""FCN-32s, FCN-16s, FCN-8s, SegNet, U-Net and ENet on drawn streets, trained alike."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from xferlib import zoo
from xferlib.data import streets
from xferlib.losses.segmentation import cross_entropy
from xferlib.metrics.segmentation import evaluate
from xferlib.nets.enet import ENet
from xferlib.nets.fcn import FCN
from xferlib.nets.segnet import SegNet
from xferlib.nets.unet import UNet
from xferlib.train.recipe import Recipe
from xferlib.train.study import Study, Trainer

WIDTHS = (16, 32, 48, 64, 96)
SLIM = {"widths": WIDTHS, "hidden": 128, "hidden_kernel": 3, "padding": 1, "norm": True, "dropout": 0.1}
STEPS, BATCH = 1000, 8
PIXELS = 160 * 320
"""On pictures up to a quarter larger than the scenes trained on, 128x256, the nets are about as good; beyond, worse."""
TEST_SEED = 1
"""The scenes of this seed are for measuring; training draws those of seed 2 and on."""


def _loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    images, labels = batch
    return cross_entropy(net(images), labels)


def _scenes(data: Path | None, seed: int) -> Dataset:
    return streets.Streets(2**32, seed=TEST_SEED + 1 + seed)


def _measure(net: nn.Module, data: Path | None) -> dict[str, float]:
    return evaluate(net, streets.Streets(48, seed=TEST_SEED), len(streets.CLASSES))


_recipe: Any = partial(
    Recipe,
    task="segmentation",
    loss=_loss,
    dataset=_scenes,
    evaluate=_measure,
    steps=STEPS,
    batch_size=BATCH,
    lr=4e-3,
    classes=streets.CLASSES,
    palette="streets",
    pixels=(PIXELS,),
    data="drawn streets (xferlib.data.streets), 128x256",
    terms="drawn by this project with textures from photographs shipped by scikit-image",
    options={"weight_decay": 0.01, "warmup": 50},
    drawn=True,
)

RECIPES = (
    *(
        _recipe(
            name=f"fcn{stride}s-streets",
            chapter="fcn",
            net=FCN,
            arguments={"num_classes": len(streets.CLASSES), "stride": stride, **SLIM},
        )
        for stride in (32, 16, 8)
    ),
    _recipe(
        name="segnet-streets",
        chapter="fcn",
        net=SegNet,
        arguments={"num_classes": len(streets.CLASSES), "widths": WIDTHS},
    ),
    # As many multiply-adds as SegNet.
    _recipe(
        name="unet-streets",
        chapter="unet",
        net=UNet,
        arguments={
            "in_channels": 3,
            "num_classes": len(streets.CLASSES),
            "width": 12,
            "padding": "zeros",
            "norm": True,
            "dropout": 0.1,
        },
    ),
    _recipe(name="enet-streets", chapter="enet", net=ENet, arguments={"num_classes": len(streets.CLASSES)}),
)

EQUAL_TIME = {"fcn8s-streets": 1000, "segnet-streets": 550, "unet-streets": 490, "enet-streets": 560}
"""Steps that take as long as a thousand of FCN-8s on one thread; the study measures how well that holds."""


def _first_net(recipe: Recipe, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return recipe.net(**recipe.arguments).to(memory_format=torch.channels_last)


def _seconds_a_step(recipes: Mapping[str, Recipe], rounds: int = 7) -> dict[str, float]:
    """Time one step of each net in turn, several times, so that whatever else the machine does hits all alike."""
    nets = {name: _first_net(recipe, 0) for name, recipe in recipes.items()}
    samples = [streets.draw(seed) for seed in range(BATCH)]
    images, labels = (torch.stack(parts) for parts in zip(*samples, strict=True))
    batch = (images.contiguous(memory_format=torch.channels_last), labels)
    times: dict[str, list[float]] = {name: [] for name in nets}
    for turn in range(rounds + 1):
        for name, net in nets.items():
            start = time.perf_counter()
            _loss(net, batch).backward()
            if turn:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def _equal_time(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    recipes = {recipe.name: recipe for recipe in RECIPES if recipe.name in EQUAL_TIME}
    seconds = _seconds_a_step(recipes)
    figures = {}
    for name, steps in EQUAL_TIME.items():
        recipe = recipes[name]
        if (steps, seed) == (recipe.steps, recipe.seed):
            net = zoo.load(name)  # the same training has been made
        else:
            net = _first_net(recipe, seed)
            options = {"batch_size": BATCH, "lr": recipe.lr, "seed": seed, **recipe.options}
            trainer(name, net, _loss, _scenes(None, seed), steps=steps, **options)
        figures[name] = {"steps": steps, "seconds a step": seconds[name], **_measure(net, None)}
    return figures


STUDIES = (
    Study(
        name="streets-equal-time",
        chapter="enet",
        measure=_equal_time,
        data="drawn streets, 128x256; each net for as long as a thousand steps of 8 take FCN-8s",
    ),
)
