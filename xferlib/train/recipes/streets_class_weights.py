"""What class weights are worth: E-Net on drawn streets, rare classes counting as much as others, or more."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xferlib.data import streets
from xferlib.losses.segmentation import class_weights, cross_entropy, pixel_counts
from xferlib.metrics.segmentation import confusion, evaluate
from xferlib.nets.enet import ENet
from xferlib.train.recipes.streets import BATCH, TEST_SEED
from xferlib.train.study import Study, Trainer

CLASSES = len(streets.CLASSES)
POWERS = {"no weights": 0.0, "their square roots": 0.5, "E-Net's weights": 1.0}
"""For each way of training, the power to which E-Net's weights are raised."""
STEPS, COUNTED, MEASURED = 600, 200, 48
"""Steps in each way, training scenes whose pixels are counted, and scenes to measure on."""
OPTIONS = {"batch_size": BATCH, "lr": 4e-3, "weight_decay": 0.01, "warmup": 50}


def weights(seed: int) -> Tensor:
    """
    Give E-Net's class weights for drawn streets.

    Parameters
    ----------
    seed : int
        Seed of the scenes that are trained on.

    Returns
    -------
    Tensor, shape (C,)
        The weights, from the pixels of some of these scenes.
    """
    scenes = streets.Streets(COUNTED, seed=TEST_SEED + 1 + seed)
    return class_weights(sum(pixel_counts(labels, CLASSES) for _, labels in scenes))


def _loss(net: nn.Module, batch: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
    images, labels = batch
    return cross_entropy(net(images), labels, weights.to(images.device))


def shares_found(predict: Callable[[Tensor], Tensor], scenes: streets.Streets) -> dict[str, float]:
    """
    Measure which share of each class's pixels is found.

    Parameters
    ----------
    predict : callable
        Gives scores (1, C, H, W) of images.
    scenes : Streets
        What to measure on.

    Returns
    -------
    dict of str to float
        The share of each class, by name.
    """
    table = sum(confusion(predict(image[None])[0].argmax(0), labels, CLASSES) for image, labels in scenes)
    return dict(zip(streets.CLASSES, (table.diag() / table.sum(1)).tolist(), strict=True))


def _weigh(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    figures, bounded, test = {}, weights(seed), streets.Streets(MEASURED, seed=TEST_SEED)
    for name, power in POWERS.items():
        torch.manual_seed(seed)
        net = ENet(CLASSES).to(memory_format=torch.channels_last)
        scenes = streets.Streets(2**32, seed=TEST_SEED + 1 + seed)
        loss = partial(_loss, weights=bounded**power)
        trainer(name.replace(" ", "-").replace("'", ""), net, loss, scenes, steps=STEPS, seed=seed, **OPTIONS)
        with torch.inference_mode():
            figures[name] = {**evaluate(net, test, CLASSES), "found": shares_found(net, test)}
    return figures


STUDIES = (
    Study(
        name="streets-class-weights",
        chapter="enet",
        measure=_weigh,
        data=f"drawn streets, 128x256, {STEPS} steps of {BATCH}; measured on {MEASURED} others",
    ),
)
