"""FCN-8s, and SegNet and ENet that learn from it, on the real street frames of CamVid."""

from collections.abc import Mapping
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
from xferlib.losses.segmentation import cross_entropy, soft_iu_loss
from xferlib.metrics.segmentation import evaluate
from xferlib.nets.enet import ENet
from xferlib.nets.fcn import FCN
from xferlib.nets.segnet import SegNet
from xferlib.train.recipe import Recipe
from xferlib.train.study import Study, Trainer

CROP, SCALES = (192, 256), (0.5, 1.1)
# Square roots of ENet's class weights, from the pixels of the training frames, with a mean of 1 over pixels.
WEIGHTS = (0.96, 0.84, 2.34, 0.74, 1.59, 1.19, 2.27, 2.29, 1.45, 2.49, 2.68)
TEACHER, START = "fcn8s-camvid", "enet-streets"
SHARE = 0.5
"""Weight of the teacher's opinion beside that of the labels."""


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
    return _labels_loss(net(images), labels)


def _labels_loss(scores: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(scores, labels, torch.tensor(WEIGHTS, device=scores.device))


def _begun() -> nn.Module:
    return zoo.load(START, fast=False).train()


@lru_cache(maxsize=2)
def _teacher(device: torch.device) -> nn.Module:
    return zoo.load(TEACHER).eval().requires_grad_(False).to(device)


def _distilled(net: nn.Module, batch: tuple[Tensor, Tensor], *, share: float = SHARE) -> dict[str, Tensor]:
    """Learn from the labels, and from what the teacher makes of every pixel, void ones too."""
    images, labels = batch
    scores = net(images).contiguous()  # with the classes outermost the losses take half the time
    terms = {
        "labels": (1 - share) * _labels_loss(scores, labels),
        "intersection over union": soft_iu_loss(scores, labels),
    }
    if not share:
        return terms
    with torch.no_grad():
        opinion = _teacher(images.device)(images).contiguous()
    return {**terms, "soft targets": share * soft_target_loss(scores, opinion, 1.0)}


def _settled(net: nn.Module, data: Path | None) -> nn.Module:
    """Let the norms know whole frames, every fourth that the net learned from, in place of pieces at other scales."""
    frames = CamVid(_root(data), "train")
    update_bn((frames[i][0][None] for i in range(0, len(frames), 4)), net)
    return net


def _measure(net: nn.Module, data: Path | None) -> dict[str, float]:
    return evaluate(net, CamVid(_root(data), "val"), len(streets.CLASSES))


_recipe: Any = partial(
    Recipe,
    task="segmentation",
    dataset=_frames,
    evaluate=_measure,
    batch_size=8,
    lr=4e-3,
    classes=streets.CLASSES,
    palette="streets",
    terms="academic use; cite Brostow et al. 2008, 2009 and the SegNet tutorial's split",
)
_MEASURED = "measured on the 101 validation frames at 360x480"
_OPTIONS = {"weight_decay": 0.01, "warmup": 100, "workers": 1}
_student: Any = partial(_recipe, loss=_distilled, finish=_settled, options={**_OPTIONS, "precision": "bf16-mixed"})

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
        steps=2400,
        data=f"CamVid, 367 training frames; {_MEASURED}",
        options=_OPTIONS,
    ),
    _student(
        name="segnet-camvid",
        chapter="fcn",
        net=SegNet,
        arguments={"num_classes": len(streets.CLASSES), "widths": (16, 32, 64, 64, 64), "convs": (1, 2, 2, 2, 2)},
        steps=4500,
        data=f"CamVid, 367 training frames, and what {TEACHER} says of them; {_MEASURED}",
    ),
    _student(
        name="enet-camvid",
        chapter="enet",
        net=ENet,
        arguments={"num_classes": len(streets.CLASSES)},
        learner=_begun,
        steps=4000,
        data=f"CamVid, 367 training frames, and what {TEACHER} says of them; first weights of {START}; {_MEASURED}",
    ),
)

# What the teacher's opinion is worth: ENet with and without it, from the same weights, with the same pieces of frames.

STEPS, RUNS = 450, 3
SHARES = {"labels": 0.0, "labels and soft targets": SHARE}


def _compare(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    figures: dict[str, Any] = {"steps": STEPS, "runs": {name: [] for name in SHARES}}
    options = {**_OPTIONS, "warmup": 50, "precision": "bf16-mixed", "batch_size": 8, "lr": 4e-3, "steps": STEPS}
    for run in range(seed, seed + RUNS):
        for name, share in SHARES.items():
            net = _begun().to(memory_format=torch.channels_last)
            short = f"{name.replace(' ', '-')}-run{run}"
            trainer(short, net, partial(_distilled, share=share), _frames(None, run), seed=run, **options)
            figures["runs"][name].append(_measure(_settled(net.train(), None).eval(), None))
    return figures


STUDIES = (
    Study(
        name="camvid-distilled",
        chapter="distillation",
        measure=_compare,
        data=f"CamVid, 367 training frames, {STEPS} steps of 8 in each way; {_MEASURED}; {RUNS} seeds",
    ),
)
