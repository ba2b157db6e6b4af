"""FCN-8s, and ENet that learns from it, on the real street frames of CamVid."""

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import Dataset

from xferlib import train, zoo
from xferlib.data import augment, streets
from xferlib.data.benchmarks import CamVid
from xferlib.losses.distillation import soft_target_loss
from xferlib.losses.segmentation import cross_entropy
from xferlib.metrics.segmentation import evaluate
from xferlib.nets.enet import ENet
from xferlib.nets.fcn import FCN
from xferlib.train.recipe import Recipe
from xferlib.train.schedule import cosine

CROP, SCALES = (192, 256), (0.5, 1.1)
# Square roots of ENet's class weights, from the pixels of the training frames, with a mean of 1 over pixels.
WEIGHTS = (0.96, 0.84, 2.34, 0.74, 1.59, 1.19, 2.27, 2.29, 1.45, 2.49, 2.68)
TEACHER, START = "fcn8s-camvid", "enet-streets"
SHARE = 0.5
"""Weight of the teacher's opinion; the labels have the rest."""
BATCH, LATE = 8, 1400
"""From step `LATE` on ENet's labels have the whole of its class weights; poles and signs are still at 0 by then."""


def _root(data: Path | None) -> Path | None:
    return None if data is None else data / "camvid"


def _augmented(sample: tuple[Tensor, Tensor], generator: Generator) -> tuple[Tensor, Tensor]:
    image, labels = augment.scaled_crop(*sample, CROP, SCALES, generator)
    image, labels = augment.flip(image, labels, generator)
    return augment.relight(image, generator), labels


def _frames(data: Path | None, seed: int) -> Dataset:
    return train.shuffled(CamVid(_root(data), "train"), seed, _augmented)


class _Marked(Dataset):
    """Frames, each with a mark: whether its step is a late one."""

    def __init__(self, frames: Dataset) -> None:
        self.frames = frames

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        return *self.frames[index], torch.tensor(index >= BATCH * LATE)


def _marked_frames(data: Path | None, seed: int) -> Dataset:
    return _Marked(_frames(data, seed))


def _labels_loss(scores: Tensor, labels: Tensor, power: int = 1) -> Tensor:
    return cross_entropy(scores, labels, torch.tensor(WEIGHTS, device=scores.device) ** power)


def _loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    images, labels = batch
    return _labels_loss(net(images), labels)


def _begun() -> nn.Module:
    return zoo.load(START, fast=False).train()


@lru_cache(maxsize=2)
def _teacher(device: torch.device) -> nn.Module:
    return zoo.load(TEACHER).eval().requires_grad_(False).to(device)


def _distilled(net: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    """Learn from the labels, and from what the teacher makes of every pixel, void ones too."""
    images, labels, late = batch
    with torch.no_grad():
        opinion = _teacher(images.device)(images).contiguous()
    scores = net(images).contiguous()  # with the classes outermost the losses take half the time
    return {
        "labels": (1 - SHARE) * _labels_loss(scores, labels, 2 if late.all() else 1),
        "soft targets": SHARE * soft_target_loss(scores, opinion, 1.0),
    }


def _schedule(fraction: float) -> float:
    """Begin as the cosine of a longer run does, and go straight down to 0 in the end."""
    return min(cosine(0.8 * fraction), 1.355 * (1 - fraction))


def _settled(net: nn.Module, data: Path | None) -> nn.Module:
    """Let the norms know whole frames, every fourth that the net was trained on, in place of pieces at other scales."""
    frames = CamVid(_root(data), "train")
    update_bn((frames[i][0][None] for i in range(0, len(frames), 4)), net)
    return net


def _measure(net: nn.Module, data: Path | None) -> dict[str, float]:
    return evaluate(net, CamVid(_root(data), "val"), len(streets.CLASSES))


_recipe: Any = partial(
    Recipe,
    task="segmentation",
    evaluate=_measure,
    batch_size=BATCH,
    lr=4e-3,
    classes=streets.CLASSES,
    palette="streets",
    terms="academic use; cite Brostow et al. 2008, 2009 and the SegNet tutorial's split",
)
_MEASURED = "measured on the 101 validation frames at 360x480"
_OPTIONS = {"weight_decay": 0.01, "warmup": 100, "workers": 1}

RECIPES = (
    _recipe(
        name="fcn8s-camvid",
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
        steps=2400,
        data=f"CamVid, 367 training frames; {_MEASURED}",
        options=_OPTIONS,
    ),
    _recipe(
        name="enet-camvid",
        chapter="enet",
        net=ENet,
        arguments={"num_classes": len(streets.CLASSES)},
        learner=_begun,
        loss=_distilled,
        dataset=_marked_frames,
        finish=_settled,
        steps=2400,
        data=f"CamVid, 367 training frames, and what {TEACHER} says of them; first weights of {START}; {_MEASURED}",
        options={**_OPTIONS, "schedule": _schedule, "precision": "bf16-mixed"},
    ),
)
