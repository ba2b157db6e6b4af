"""What a small net gains from a stronger one's opinion of every pixel: ENet learns from FCN-8s on drawn streets."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from xferlib import zoo
from xferlib.data import streets
from xferlib.losses.distillation import attention_transfer, soft_target_loss
from xferlib.losses.segmentation import cross_entropy
from xferlib.metrics import cost
from xferlib.metrics.segmentation import evaluate
from xferlib.nets.enet import ENet
from xferlib.nets.hints import Watched
from xferlib.train.recipes import streets_few_labels
from xferlib.train.recipes.streets import TEST_SEED
from xferlib.train.study import Study, Trainer

TEACHER = "fcn8s-streets"
"""The strongest shipped net on streets of 128x256."""
CLASSES = len(streets.CLASSES)
STEPS, BATCH, RUNS = 600, 8, 2
LONGER = 1.33
"""How many steps with labels alone take as long on one thread as one step with the teacher's opinion."""
SIZE = (3, 128, 256)
OPTIONS = {"batch_size": BATCH, "lr": 4e-3, "weight_decay": 0.01, "warmup": 50}
ATTENTION = 1.0
"""Weight of the distance of each two attention maps."""
LAYERS = {"bottleneck1_4": "backbone.pool2", "bottleneck3_7": "backbone.pool3"}
"""Where the student's attention is compared with the teacher's: at strides 4 and 8."""


@lru_cache(maxsize=2)
def _teacher(device: torch.device) -> Watched:
    return Watched(zoo.load(TEACHER, fast=False), LAYERS.values()).eval().requires_grad_(False).to(device)


@torch.no_grad()
def _opinion(images: Tensor) -> tuple[Tensor, list[Tensor]]:
    return _teacher(images.device)(images)


def distilled(
    net: Watched,
    batch: tuple[Tensor, ...],
    *,
    share: float = 0.0,
    temperature: float = 1.0,
    attention: float = 0.0,
) -> dict[str, Tensor]:
    """
    Learn from the labels, from what the teacher makes of every pixel, and from where it looks.

    Parameters
    ----------
    net : Watched
        The student, with the layers of `LAYERS`.
    batch : tuple of Tensor
        Images (B, 3, H, W), labels (B, H, W), and more that is not used.
    share : float
        Weight of the soft targets in [0, 1]; the labels have the rest, and at 1 are not looked at.
    temperature : float
        That of the soft targets.
    attention : float
        Weight of the distance of each two attention maps. Without it and a share the teacher is not asked.

    Returns
    -------
    dict of str to Tensor
        Those of the terms "labels", "soft targets" and "attention" that have a weight.
    """
    images, labels = batch[:2]
    scores, layers = net(images)
    terms = {} if share == 1 else {"labels": (1 - share) * cross_entropy(scores, labels)}
    if share or attention:
        guess, theirs = _opinion(images)
    if share:
        terms["soft targets"] = share * soft_target_loss(scores, guess, temperature)
    if attention:
        distances = [attention_transfer(*pair) for pair in zip(layers, theirs, strict=True)]
        terms["attention"] = attention * torch.stack(distances).sum()
    return terms


def few_labels(net: Watched, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """
    Learn from the labels of a few pictures, and from what the teacher makes of others.

    Parameters
    ----------
    net : Watched
        The student.
    batch : tuple of Tensor
        A batch of `xferlib.train.recipes.streets_few_labels.stream`, of which half is used of each kind.

    Returns
    -------
    dict of str to Tensor
        The terms "labels" and "soft targets", each of half the weight.
    """
    images, labels, others = (part[: len(part) // 2] for part in batch[:3])
    scores, guesses = net(torch.cat([images, others]))[0].split(len(images))
    soft = soft_target_loss(guesses, _opinion(others)[0], 1.0)
    return {"labels": 0.5 * cross_entropy(scores, labels), "soft targets": 0.5 * soft}


def _scenes(run: int) -> Dataset:
    """Give scenes that the teacher has not learned from."""
    return streets.Streets(2**32, seed=TEST_SEED + 200 + run)


_BOTH = {"share": 0.5}
ARMS: dict[str, tuple[Callable[..., Any], float, Callable[[int], Dataset]]] = {
    "labels": (distilled, 1.0, _scenes),
    "labels, for as long": (distilled, LONGER, _scenes),
    "soft targets, no labels": (partial(distilled, share=1.0), 1.0, _scenes),
    "labels and soft targets": (partial(distilled, **_BOTH), 1.0, _scenes),
    "labels and soft targets, T = 4": (partial(distilled, temperature=4.0, **_BOTH), 1.0, _scenes),
    "labels and attention": (partial(distilled, attention=ATTENTION), 1.0, _scenes),
    "soft targets and attention, no labels": (partial(distilled, share=1.0, attention=ATTENTION), 1.0, _scenes),
    "20 labels": (distilled, 1.0, streets_few_labels.stream),
    "20 labels and soft targets": (few_labels, 1.0, streets_few_labels.stream),
}
"""For each way its loss, how many times `STEPS` it takes, and the scenes of a run."""


def measure(net: nn.Module, scenes: int = 48) -> dict[str, float]:
    """
    Measure a net on held-back scenes.

    Parameters
    ----------
    net : nn.Module
        Net of images (B, 3, H, W), in evaluation mode.
    scenes : int
        Number of scenes.

    Returns
    -------
    dict of float
        As `xferlib.metrics.segmentation.evaluate` gives it; and "agreement", the share of the pixels of which it says
        what the teacher says.
    """
    alike = []

    def predict(images: Tensor) -> Tensor:
        scores = net(images)
        alike.append((scores.argmax(1) == _opinion(images)[0].argmax(1)).float().mean())
        return scores

    with torch.no_grad():
        found = evaluate(predict, streets.Streets(scenes, seed=TEST_SEED), CLASSES)
    return {**found, "agreement": torch.stack(alike).mean().item()}


def _compare(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    teacher = _teacher(torch.device("cpu")).net
    figures: dict[str, Any] = {
        "teacher": {**cost.summary(teacher, SIZE), **measure(teacher)},
        "student": cost.summary(ENet(CLASSES), SIZE),
        "seconds a step": _seconds_a_step(),
        "runs": {name: [] for name in ARMS},
    }
    for run in range(seed, seed + RUNS):
        for name, (loss, longer, scenes) in ARMS.items():
            torch.manual_seed(run)
            net = Watched(ENet(CLASSES), LAYERS).to(memory_format=torch.channels_last)
            steps = round(longer * STEPS)
            history = trainer(_short(name, run), net, loss, scenes(run), steps=steps, seed=run, **OPTIONS)
            figures["runs"][name].append({**measure(net.net), "steps": steps, "seconds": history.seconds})
    return figures


def _seconds_a_step() -> dict[str, float]:
    """Time a step of the student on this machine's CPU, with labels alone and with the teacher's opinion."""
    batch = tuple(map(torch.stack, zip(*(streets.draw(seed) for seed in range(BATCH)), strict=True)))
    net = Watched(ENet(CLASSES), LAYERS).to(memory_format=torch.channels_last)
    works = {"labels": distilled, "labels and soft targets": partial(distilled, **_BOTH)}
    return cost.seconds({name: partial(_step, net, batch, loss) for name, loss in works.items()}, repeats=5)


def _step(net: nn.Module, batch: tuple[Tensor, ...], loss: Callable[..., dict[str, Tensor]]) -> None:
    torch.stack(list(loss(net, batch).values())).sum().backward()


def _short(name: str, run: int) -> str:
    return "-".join(name.replace(",", "").replace("=", "").lower().split()) + f"-run{run}"


STUDIES = (
    Study(
        name="streets-distilled",
        chapter="distillation",
        measure=_compare,
        data=f"drawn streets of 128x256, {STEPS} steps of {BATCH} in each way; measured on 48 others; {RUNS} seeds",
    ),
)
