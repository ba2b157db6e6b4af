"""FCN-8s on the real street frames of CamVid."""

from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset

from xferlib import train
from xferlib.data import augment, streets
from xferlib.data.benchmarks import CamVid
from xferlib.losses.segmentation import cross_entropy
from xferlib.metrics.segmentation import evaluate
from xferlib.nets.fcn import FCN
from xferlib.train.recipe import Recipe

CROP, SCALES = (192, 256), (0.5, 1.1)
# Square roots of ENet's class weights, from the pixels of the training frames, with a mean of 1 over pixels.
WEIGHTS = (0.96, 0.84, 2.34, 0.74, 1.59, 1.19, 2.27, 2.29, 1.45, 2.49, 2.68)


def _root(data: Path | None) -> Path | None:
    return None if data is None else data / "camvid"


def _augmented(sample: tuple[Tensor, Tensor], generator: Generator) -> tuple[Tensor, Tensor]:
    image, labels = augment.scaled_crop(*sample, CROP, SCALES, generator)
    image, labels = augment.flip(image, labels, generator)
    return augment.relight(image, generator), labels


def _frames(data: Path | None, seed: int) -> Dataset:
    return train.shuffled(CamVid(_root(data), "train"), seed, _augmented)


def _loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    images, labels = batch
    return cross_entropy(net(images), labels, torch.tensor(WEIGHTS, device=images.device))


def _measure(net: nn.Module, data: Path | None) -> dict[str, float]:
    return evaluate(net, CamVid(_root(data), "val"), len(streets.CLASSES))


RECIPE = Recipe(
    name="fcn8s-camvid",
    task="segmentation",
    chapter="fcn",
    net=FCN,
    arguments={
        "num_classes": len(streets.CLASSES),
        "stride": 8,
        "widths": (16, 32, 64, 96, 128),
        "hidden": 192,
        "hidden_kernel": 3,
        "padding": 1,
        "norm": True,
        "dropout": 0.1,
    },
    loss=_loss,
    dataset=_frames,
    evaluate=_measure,
    steps=2400,
    batch_size=8,
    lr=4e-3,
    classes=streets.CLASSES,
    palette="streets",
    data="CamVid, 367 training frames; measured on the 101 validation frames at 360x480",
    terms="academic use; cite Brostow et al. 2008, 2009 and the SegNet tutorial's split",
    options={"weight_decay": 0.01, "warmup": 100, "workers": 1},
)
