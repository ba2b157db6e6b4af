"""What pictures without labels are worth: FCN-8s on drawn streets, of which one in twenty has labels."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache, partial
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset

from xferlib import train
from xferlib.data import augment, streets
from xferlib.losses.consistency import VOID, consistency, pseudo_labels
from xferlib.losses.segmentation import cross_entropy
from xferlib.metrics.segmentation import evaluate
from xferlib.nets.fcn import FCN
from xferlib.train.mean_teacher import MeanTeacher, WithUnlabelled
from xferlib.train.recipes.streets import SLIM, TEST_SEED
from xferlib.train.study import Study, Trainer

SCENES, LABELLED = 400, 20
FIRST, STEPS, BATCH, SEEDS = 600, 800, 4, 2
"""Steps from random weights on labels alone, steps from there in each way, and pictures of each kind a step."""
OPTIONS = {"batch_size": BATCH, "lr": 4e-3, "weight_decay": 0.01, "warmup": 50}
CONFIDENCE = 0.9


@cache
def scenes(seed: int) -> list[tuple[Tensor, Tensor]]:
    """
    Draw the scenes to learn from, once.

    Parameters
    ----------
    seed : int
        Which set, from 0.

    Returns
    -------
    list of (image, labels)
        Of `SCENES` scenes; the first `LABELLED` are those whose labels may be used.
    """
    drawn = streets.Streets(SCENES, seed=TEST_SEED + 100 + seed)
    return [drawn[i] for i in range(SCENES)]


def _mirrored(sample: tuple[Tensor, Tensor], generator: Generator) -> tuple[Tensor, Tensor]:
    image, labels = augment.flip(*sample, generator)
    return augment.relight(image, generator), labels


def relit(image: Tensor, generator: Generator) -> Tensor:
    """
    Change the light of a picture much, and add noise.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].
    generator : Generator
        Source of randomness.

    Returns
    -------
    Tensor, shape (3, H, W)
        RGB in [0, 1].
    """
    lit = augment.relight(image, generator, 0.6)
    noise = torch.randn(image.shape, generator=generator) * augment.uniform(0, 0.1, generator)
    return (lit + noise).clamp(0, 1)


def stream(seed: int, labelled: int = LABELLED, pictures: list[tuple[Tensor, Tensor]] | None = None) -> Dataset:
    """
    Give the samples of a run: labelled scenes mirrored and relit, each beside one without a label.

    Parameters
    ----------
    seed : int
        Seed of the scenes, of their order and of the changes.
    labelled : int
        How many of the scenes have labels.
    pictures : list of (image, labels), optional
        Scenes in place of those of the seed.

    Returns
    -------
    Dataset
        See `xferlib.train.mean_teacher.WithUnlabelled`.
    """
    pictures = pictures or scenes(seed)
    known = train.shuffled(pictures[:labelled], seed, _mirrored)
    unknown = train.shuffled(pictures, seed + 1, _mirrored)
    return WithUnlabelled(known, unknown, relit, seed)


def labels_alone(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """
    Learn from the labelled pictures alone.

    Parameters
    ----------
    net : nn.Module
        The net itself, or one that is averaged as it learns.
    batch : tuple of Tensor
        A batch of `stream`.

    Returns
    -------
    Tensor
        Cross-entropy.
    """
    return cross_entropy(net(batch[0]), batch[1])


def with_unlabelled(
    net: nn.Module, batch: tuple[Tensor, ...], *, own: bool = False, mix: bool = False
) -> dict[str, Tensor]:
    """
    Learn from the pictures without labels too.

    Parameters
    ----------
    net : nn.Module
        A `xferlib.train.mean_teacher.MeanTeacher`.
    batch : tuple of Tensor
        A batch of `stream`.
    own : bool
        Whether what the teacher is sure of is learned as a label; otherwise its probabilities are to be met.
    mix : bool
        Whether each picture, and what the teacher says of it, has a rectangle of the next one pasted into it.

    Returns
    -------
    dict of str to Tensor
        The terms "labelled" and "unlabelled".
    """
    images, labels, plain, changed, mask = batch
    if mix:
        changed = changed.where(mask, changed.roll(1, 0))
    scores, seen, guess = net(images, plain, changed)
    if mix:
        guess = guess.where(mask, guess.roll(1, 0))
    target = pseudo_labels(guess, CONFIDENCE)
    sure = (target != VOID).float().mean()
    unlabelled = sure * cross_entropy(seen, target) if own else consistency(seen, guess, CONFIDENCE)
    return {"labelled": cross_entropy(scores, labels), "unlabelled": unlabelled}


ARMS: dict[str, tuple[Callable[..., Any], float | None, int]] = {
    "labels alone": (labels_alone, None, LABELLED),
    "labels alone, averaged": (labels_alone, 0.98, LABELLED),
    "pseudo-labels": (partial(with_unlabelled, own=True), 0.0, LABELLED),
    "mean teacher": (with_unlabelled, 0.98, LABELLED),
    "mean teacher, CutMix": (partial(with_unlabelled, mix=True), 0.98, LABELLED),
    "all labels": (labels_alone, None, SCENES),
}
"""For each way its loss, the teacher's decay (None for no teacher), and the number of labelled scenes."""


def start(trainer: Trainer, seed: int) -> nn.Module:
    """
    Train the net that all ways go on from: on the labelled scenes alone.

    Parameters
    ----------
    trainer : callable
        As a study gets it.
    seed : int
        Seed of the first weights and of the samples.

    Returns
    -------
    nn.Module
        FCN-8s.
    """
    torch.manual_seed(seed)
    net = FCN(len(streets.CLASSES), 8, **SLIM).to(memory_format=torch.channels_last)
    trainer(f"start-run{seed}", net, labels_alone, stream(seed), steps=FIRST, seed=seed, **OPTIONS)
    return net


def _compare(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    figures: dict[str, list[dict[str, float]]] = {"start": [], **{name: [] for name in ARMS}}
    test = streets.Streets(48, seed=TEST_SEED)
    for run in range(seed, seed + SEEDS):
        first = start(trainer, run)
        figures["start"].append(evaluate(first, test, len(streets.CLASSES)))
        for number, (name, (loss, decay, labelled)) in enumerate(ARMS.items()):
            net = deepcopy(first)
            net = net if decay is None else MeanTeacher(net, decay)
            # Another seed than the start's, so that its samples come in another order.
            lessons = stream(SEEDS + run, labelled, scenes(run))
            trainer(f"arm{number}-run{run}", net, loss, lessons, steps=STEPS, seed=run, **OPTIONS)
            figures[name].append(evaluate(net, test, len(streets.CLASSES)))
    return figures


STUDIES = (
    Study(
        name="streets-few-labels",
        chapter="developments",
        measure=_compare,
        data=f"{SCENES} drawn streets of 128x256, {LABELLED} with labels; {FIRST} steps of {BATCH} on labels alone, "
        f"then {STEPS} steps of {BATCH} in each way, and of {BATCH} more without labels where it uses them; "
        f"measured on 48 others; {SEEDS} seeds",
    ),
)
