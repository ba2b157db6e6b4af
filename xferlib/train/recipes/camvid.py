"""
FCN-8s, and SegNet and ENet that are shown where it looks, on the real street frames of CamVid.

For comparison SegNet also learns from labels alone, and from what FCN-8s says of every pixel; of these two nets only
the figures are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate
from torch.optim.swa_utils import update_bn
from torch.utils.data import Dataset

from xferlib import train, zoo
from xferlib.data import augment, streets
from xferlib.data.benchmarks import CamVid
from xferlib.losses.distillation import attention_transfer, soft_target_loss
from xferlib.losses.segmentation import cross_entropy, soft_iu_loss
from xferlib.metrics.segmentation import evaluate
from xferlib.nets.enet import ENet
from xferlib.nets.fcn import FCN
from xferlib.nets.hints import Watched
from xferlib.nets.segnet import SegNet
from xferlib.ops.views import average_views
from xferlib.train.cached import Cached
from xferlib.train.recipe import Recipe
from xferlib.train.study import Study, Trainer
from xferlib.zoo.scale import average_sizes

CROP, SCALES = (192, 256), (0.5, 1.1)
# Square roots of ENet's class weights, from the pixels of the training frames, with a mean of 1 over pixels.
WEIGHTS = (0.96, 0.84, 2.34, 0.74, 1.59, 1.19, 2.27, 2.29, 1.45, 2.49, 2.68)
TEACHER, START = "fcn8s-camvid", "enet-streets"
SHARE, LEAST = 0.5, 1e-3
"""Weight of the teacher's opinion beside the cross-entropy of the labels, and the least probability that it gives."""
LOOKS = ("pool2", "pool3")
"""The teacher's layers with which attention is compared, of strides 4 and 8."""
LAYERS = {ENet: ("bottleneck1_4", "bottleneck3_7"), SegNet: ("encoder.2", "encoder.3")}
"""The learner's layers of these strides."""
VIEWS = 2
"""A frame and its mirror image; streets have an upright."""
PIXELS = (60_000, 90_000, 360 * 480)
"""A frame is seen at .6 and .7 of its sides and as it is, all within the `SCALES` that pieces are learned at."""


def _root(data: Path | None) -> Path | None:
    return None if data is None else data / "camvid"


def _augmented(sample: Sequence[Tensor], generator: Generator) -> tuple[Tensor, ...]:
    image, labels, *opinion = sample
    layers = torch.cat([image, *(interpolate(o[None], image.shape[1:], mode="bilinear")[0] for o in opinion)])
    layers, labels = augment.scaled_crop(layers, labels, CROP, SCALES, generator)
    layers, labels = augment.flip(layers, labels, generator)
    image = augment.relight(layers[:3], generator)
    return (image, labels, layers[3:]) if opinion else (image, labels)


def _frames(data: Path | None, seed: int) -> Dataset:
    return train.shuffled(CamVid(_root(data), "train"), seed, _augmented)


def _taught(data: Path | None, seed: int) -> Dataset:
    return train.shuffled(_opinions(data), seed, _augmented)


@lru_cache(maxsize=1)
def _opinions(data: Path | None) -> Dataset:
    """Let the teacher see whole frames, once, and keep its probabilities at half the size."""
    return Cached(CamVid(_root(data), "train"), zoo.load(TEACHER), _opinion, batch_size=1)


def _opinion(teacher: nn.Module, frames: Tensor) -> Tensor:
    return avg_pool2d(_of_views(teacher, frames[0])[None], 2)


def _begun() -> nn.Module:
    return zoo.load(START, fast=False).train()


def _watched(net: nn.Module) -> nn.Module:
    return Watched(net, LAYERS[type(net)])


def _loss(net: nn.Module, batch: Sequence[Tensor]) -> dict[str, Tensor]:
    """
    Learn from the labels, and where the batch has it, from the teacher's opinion on every pixel, void ones too.

    The opinion takes over `SHARE` of the cross-entropy; the other term of the labels stays whole.
    """
    images, labels, *opinion = batch
    scores = net(images)
    terms = _labels_loss(scores, labels)
    if not opinion:
        return terms
    soft = soft_target_loss(scores, opinion[0].clamp_min(LEAST).log(), 1.0, mask=opinion[0].sum(1) > 0.5)
    return {**terms, "labels": (1 - SHARE) * terms["labels"], "soft targets": SHARE * soft}


def _labels_loss(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    scores = scores.contiguous()  # with the classes outermost the losses take half the time
    weights = torch.tensor(WEIGHTS, device=scores.device)
    return {
        "labels": cross_entropy(scores, labels, weights),
        "intersection over union": soft_iu_loss(scores, labels),
    }


def _attentive(net: nn.Module, batch: Sequence[Tensor]) -> dict[str, Tensor]:
    """Learn from the labels, and from where the teacher looks."""
    images, labels = batch
    scores, layers = net(images)
    with torch.no_grad():
        theirs = _backbone(images.device)(images, LOOKS)
    distances = [attention_transfer(*pair) for pair in zip(layers, theirs.values(), strict=True)]
    return {**_labels_loss(scores, labels), "attention": torch.stack(distances).sum()}


@lru_cache(maxsize=2)
def _backbone(device: torch.device) -> nn.Module:
    return zoo.load(TEACHER, fast=False).backbone.requires_grad_(False).to(device)


def _settled(net: nn.Module, data: Path | None) -> nn.Module:
    """Let the norms know whole frames, every fourth that the net learned from, in place of pieces at other scales."""
    frames = CamVid(_root(data), "train")
    update_bn((frames[i][0][None] for i in range(0, len(frames), 4)), net)
    return net


def _measure(net: nn.Module, data: Path | None) -> dict[str, float]:
    return evaluate(net, CamVid(_root(data), "val"), len(streets.CLASSES))


def _measure_applied(net: nn.Module, data: Path | None) -> dict[str, float]:
    """Measure a net on frames as they are, and on what it gives when it is applied."""

    def applied(frames: Tensor) -> Tensor:
        return average_sizes(partial(_of_views, net), frames[0], PIXELS)[None]

    averaged = evaluate(applied, CamVid(_root(data), "val"), len(streets.CLASSES))
    return {**_measure(net, data), "mean IU, as applied": averaged["mean IU"]}


def _of_views(net: nn.Module, frame: Tensor) -> Tensor:
    return average_views(lambda view: net(view[None])[0].softmax(0), frame, VIEWS)


_OPTIONS = {"weight_decay": 0.01, "warmup": 100, "workers": 1, "precision": "bf16-mixed"}
_recipe: Any = partial(
    Recipe,
    task="segmentation",
    dataset=_frames,
    loss=_loss,
    evaluate=_measure_applied,
    finish=_settled,
    batch_size=8,
    lr=4e-3,
    classes=streets.CLASSES,
    palette="streets",
    views=VIEWS,
    pixels=PIXELS,
    options=_OPTIONS,
    terms="academic use; cite Brostow et al. 2008, 2009 and the SegNet tutorial's split",
)
_shown: Any = partial(_recipe, loss=_attentive, finish=lambda learner, data: _settled(learner.net, data))
_MEASURED = "measured on the 101 validation frames at 360x480"
_SEGNET: Any = {"num_classes": len(streets.CLASSES), "widths": (16, 32, 64, 64, 64), "convs": (1, 2, 2, 2, 2)}

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
        steps=4500,
        data=f"CamVid, 367 training frames; {_MEASURED}",
    ),
    _shown(
        name="segnet-camvid",
        chapter="fcn",
        net=SegNet,
        arguments=_SEGNET,
        learner=lambda: _watched(SegNet(**_SEGNET)),
        steps=4500,
        data=f"CamVid, 367 training frames, and where {TEACHER} looks in them; {_MEASURED}",
    ),
    _recipe(
        name="segnet-camvid-labels",
        chapter="distillation",
        net=SegNet,
        arguments=_SEGNET,
        steps=4500,
        data=f"CamVid, 367 training frames; {_MEASURED}",
        shipped=False,
    ),
    _recipe(
        name="segnet-camvid-soft",
        chapter="distillation",
        net=SegNet,
        dataset=_taught,
        arguments=_SEGNET,
        steps=4500,
        data=f"CamVid, 367 training frames, and what {TEACHER} says of them; {_MEASURED}",
        shipped=False,
    ),
    _shown(
        name="enet-camvid",
        chapter="enet",
        net=ENet,
        arguments={"num_classes": len(streets.CLASSES)},
        learner=lambda: _watched(_begun()),
        steps=4500,
        data=f"CamVid, 367 training frames, and where {TEACHER} looks in them; first weights of {START}; {_MEASURED}",
    ),
)

# What it is worth to be shown where the teacher looks: ENet with and without it, from the same weights, with the same
# pieces of frames.

STEPS, RUNS = 1200, 3
WAYS = {"labels": (_loss, lambda net: net), "labels and attention": (_attentive, _watched)}
"""For each way its loss, and what makes of ENet the module that learns."""


def _anew(run: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run)
        return ENet(len(streets.CLASSES)).train()


def _compare(first: Callable[[int], nn.Module], trainer: Trainer, seed: int) -> Mapping[str, Any]:
    figures: dict[str, Any] = {"steps": STEPS, "runs": {name: [] for name in WAYS}}
    options = {**_OPTIONS, "warmup": 50, "batch_size": 8, "lr": 4e-3, "steps": STEPS}
    for run in range(seed, seed + RUNS):
        for name, (loss, learner) in WAYS.items():
            net = first(run).to(memory_format=torch.channels_last)
            trainer(f"{name.replace(' ', '-')}-run{run}", learner(net), loss, _frames(None, run), seed=run, **options)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(run)
                _settled(net.train(), None)
            figures["runs"][name].append(_measure(net.eval(), None))
    return figures


def _study(name: str, first: Callable[[int], nn.Module], weights: str) -> Study:
    return Study(
        name=name,
        chapter="distillation",
        measure=lambda trainer, seed: _compare(first, trainer, seed),
        data=f"CamVid, 367 training frames, {STEPS} steps of 8 in each way, {weights}, taught by {TEACHER}; "
        f"{_MEASURED}; {RUNS} seeds",
    )


STUDIES = (
    _study("camvid-distilled", lambda run: _begun(), f"first weights of {START}"),
    _study("camvid-distilled-anew", _anew, "random first weights"),
)
