"""Handwritten digits distilled: small perceptrons that learn from labels, and from what a convolutional net thinks."""

from collections.abc import Callable, Mapping
from functools import partial
from statistics import mean, stdev
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset

from xferlib import train
from xferlib.data import digits
from xferlib.losses.distillation import distillation_loss
from xferlib.metrics import cost
from xferlib.nets.digit_nets import SIDE, DigitNet, Perceptron
from xferlib.train.fit import Loss
from xferlib.train.stream import item_seed
from xferlib.train.study import Study, Trainer

TEACHER_STEPS, STEPS, BATCH, RATE, SEEDS = 500, 2000, 100, 3e-3, 10
WIDTHS = (32, 128)
"""Units of each of a student's two hidden layers."""
TEMPERATURES = (1, 2, 4, 8, 20)
SHARE = 0.9
"""Weight of the soft targets; the labels have the rest."""
MISSING = {"no 3": (3,), "only 7 and 8": (0, 1, 2, 3, 4, 5, 6, 9)}
"""Transfer sets by name, and the classes that they lack."""
MISSING_WIDTH, MISSING_TEMPERATURE = 128, 8


class Lessons(Dataset):
    """
    Batches of digits; item i is a batch, each part of it taken from the same digits at random.

    Parameters
    ----------
    *parts : Tensor, shape (N, ...)
        Images, labels, and whatever else belongs to them.
    batch : int
        Digits a batch.
    seed : int
        Seed of the choice and of the shifts, 0 or larger.
    shifted : bool
        Whether each image is moved by up to a pixel along both axes.
    """

    def __init__(self, *parts: Tensor, batch: int, seed: int, shifted: bool = False) -> None:
        self.parts, self.batch, self.seed, self.shifted = parts, batch, seed, shifted

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """Batch `index`; it depends on the seed and the index alone."""
        generator = Generator().manual_seed(item_seed(self.seed, index))
        chosen = torch.randperm(len(self.parts[0]), generator=generator)[: self.batch]
        images, *rest = (part[chosen] for part in self.parts)
        return (digits.shift(images, generator) if self.shifted else images), *rest


def from_labels(net: nn.Module, batch: tuple[Tensor, ...], smoothing: float = 0.0) -> Tensor:
    """
    Learn from labels alone.

    Parameters
    ----------
    net : nn.Module
        The net.
    batch : tuple of Tensor
        One item of `Lessons` with a leading axis of 1: images, labels, and what is not looked at.
    smoothing : float
        Share of the probability that is spread evenly over all classes, in [0, 1].

    Returns
    -------
    Tensor
        Cross-entropy.
    """
    images, labels, *_ = (part[0] for part in batch)
    return F.cross_entropy(net(images), labels, label_smoothing=smoothing)


def from_teacher(net: nn.Module, batch: tuple[Tensor, ...], temperature: float, share: float = SHARE) -> Tensor:
    """
    Learn from labels and from a teacher's scores.

    Parameters
    ----------
    net : nn.Module
        The student.
    batch : tuple of Tensor
        One item of `Lessons` with a leading axis of 1: images, labels, the teacher's scores (B, 10).
    temperature : float
        By which all scores are divided, above 0.
    share : float
        Weight of the soft targets, in [0, 1].

    Returns
    -------
    Tensor
        `distillation_loss`.
    """
    images, labels, scores, *_ = (part[0] for part in batch)
    return distillation_loss(net(images), labels, scores, temperature=temperature, share=share)


def begin(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """
    Build a net whose weights depend on a seed alone.

    Parameters
    ----------
    build : callable
        Called without arguments, gives the net.
    seed : int
        Seed of its weights.

    Returns
    -------
    nn.Module
        The untrained net.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def study(
    net: nn.Module,
    loss: Loss,
    lessons: Lessons,
    steps: int = STEPS,
    seed: int = 0,
    trainer: Callable | None = None,
    rate: float = RATE,
) -> float:
    """
    Train a net on digits.

    Parameters
    ----------
    net : nn.Module
        The net, trained in place.
    loss : callable
        Called as ``loss(net, batch)``.
    lessons : Lessons
        What it sees.
    steps : int
        Number of batches.
    seed : int
        Seed of dropout.
    trainer : callable, optional
        In place of `xferlib.train.fit`.
    rate : float
        Learning rate at its highest.

    Returns
    -------
    float
        Seconds.
    """
    fit = trainer or partial(train.fit, progress=False)
    return fit(net, loss, lessons, steps=steps, batch_size=1, lr=rate, clip=None, seed=seed).seconds


def teacher(seed: int = 0, steps: int = TEACHER_STEPS, trainer: Callable | None = None) -> tuple[DigitNet, float]:
    """
    Train the teacher: a convolutional net with dropout, on shifted digits.

    Parameters
    ----------
    seed : int
        Seed of its weights and of what it sees.
    steps : int
        Number of batches.
    trainer : callable, optional
        In place of `xferlib.train.fit`.

    Returns
    -------
    net : DigitNet
        The trained net.
    seconds : float
        Time of its training.
    """
    net = begin(partial(DigitNet, dropout=0.4), seed)
    lessons = Lessons(*digits.load(digits.TRAIN), batch=BATCH, seed=seed, shifted=True)
    return net, study(net, from_labels, lessons, steps, seed, trainer)


@torch.no_grad()
def scores(net: nn.Module, images: Tensor) -> Tensor:
    """
    Let a net score digits.

    Parameters
    ----------
    net : nn.Module
        A net in evaluation mode.
    images : Tensor, shape (N, 1, 8, 8)
        Ink, in [0, 1].

    Returns
    -------
    Tensor, shape (N, 10)
        Logits.
    """
    return net(images)


def errors(logits: Tensor, labels: Tensor) -> int:
    """
    Count the digits that are read wrongly.

    Parameters
    ----------
    logits : Tensor, shape (N, 10)
        Scores.
    labels : Tensor, shape (N,)
        Classes.

    Returns
    -------
    int
        Their number.
    """
    return int((logits.argmax(1) != labels).sum())


def share_right(logits: Tensor, labels: Tensor, classes: tuple[int, ...]) -> float:
    """
    Give the share of some classes that is read rightly.

    Parameters
    ----------
    logits : Tensor, shape (N, 10)
        Scores.
    labels : Tensor, shape (N,)
        Classes.
    classes : tuple of int
        Which classes count.

    Returns
    -------
    float
        In [0, 1].
    """
    these = torch.isin(labels, torch.tensor(classes))
    return (logits[these].argmax(1) == labels[these]).float().mean().item()


def shift_bias(logits: Tensor, classes: tuple[int, ...], share: float) -> float:
    """
    Find what must be added to the scores of some classes so that they are read as often as they occur.

    No label is needed, only how common the classes are.

    Parameters
    ----------
    logits : Tensor, shape (N, 10)
        Scores.
    classes : tuple of int
        Which classes are shifted.
    share : float
        Share of the digits that are of these classes, in (0, 1).

    Returns
    -------
    float
        The shift: halfway between the last digit that it turns and the first that it does not.
    """
    ours = torch.zeros(logits.shape[1], dtype=torch.bool)
    ours[list(classes)] = True
    needed = (logits[:, ~ours].amax(1) - logits[:, ours].amax(1)).sort().values
    count = min(max(1, round(share * len(needed))), len(needed) - 1)
    return needed[count - 1 : count + 1].mean().item()


def shifted(logits: Tensor, classes: tuple[int, ...], bias: float) -> Tensor:
    """
    Add a bias to the scores of some classes.

    Parameters
    ----------
    logits : Tensor, shape (N, 10)
        Scores.
    classes : tuple of int
        Which.
    bias : float
        What is added.

    Returns
    -------
    Tensor, shape (N, 10)
        The new scores.
    """
    out = logits.clone()
    out[:, list(classes)] += bias
    return out


def best_bias(logits: Tensor, labels: Tensor, classes: tuple[int, ...]) -> float:
    """
    Find the shift with the fewest errors on the test itself, as the paper does.

    Parameters
    ----------
    logits : Tensor, shape (N, 10)
        Scores.
    labels : Tensor, shape (N,)
        Classes.
    classes : tuple of int
        Which classes are shifted.

    Returns
    -------
    float
        The shift, in steps of 0.1 from -15 to 15; of equals the one nearest to 0.
    """
    biases = sorted((step / 10 for step in range(-150, 151)), key=abs)
    return min(biases, key=lambda bias: errors(shifted(logits, classes, bias), labels))


ARMS: dict[str, tuple[Loss, bool]] = {
    "labels": (from_labels, False),
    "labels, digits shifted": (from_labels, True),
    "labels smoothed": (partial(from_labels, smoothing=0.1), False),
    **{f"T = {t}": (partial(from_teacher, temperature=t), False) for t in TEMPERATURES},
}
"""For each way its loss, and whether the digits that the student sees are shifted."""


def summary(values: list[float]) -> dict[str, Any]:
    """
    Set the values of several seeds as figures to keep.

    Parameters
    ----------
    values : list of float
        One a seed.

    Returns
    -------
    dict of str to object
        "each", "mean", and "spread", the standard deviation over seeds (0 of one).
    """
    return {"each": values, "mean": mean(values), "spread": stdev(values) if len(values) > 1 else 0.0}


def _missing(
    net: nn.Module, lessons: Lessons, loss: Loss, lack: tuple[int, ...], trainer: Callable
) -> dict[str, float]:
    """Train on a transfer set that lacks classes; move the bias of those that are rarer than they should be."""
    study(net, loss, lessons, trainer=trainer)
    images, labels = digits.load(digits.TEST)
    found = scores(net, images)
    few = lack if len(lack) < digits.CLASSES / 2 else tuple(c for c in range(digits.CLASSES) if c not in lack)
    out = {"errors": errors(found, labels), "right": share_right(found, labels, lack)}
    ways = {
        "known share": shift_bias(found, few, len(few) / digits.CLASSES),
        "test labels": best_bias(found, labels, few),
    }
    for name, bias in ways.items():
        moved = shifted(found, few, bias)
        out |= {f"bias, {name}": bias, f"errors, {name}": errors(moved, labels)}
        out[f"right, {name}"] = share_right(moved, labels, lack)
    return out


def _compare(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    (seen, labels), test = digits.load(digits.TRAIN), digits.load(digits.TEST)
    errs: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    missing: dict[str, list[dict[str, float]]] = {}

    def log(name: str, net: nn.Module, seconds: float) -> None:
        errs.setdefault(name, []).append(errors(scores(net, test[0]), test[1]))
        times.setdefault(name, []).append(seconds)

    for run in range(seed, seed + SEEDS):
        big, seconds = teacher(run, trainer=partial(trainer, f"teacher-run{run}"))
        log("teacher", big, seconds)
        answers = scores(big, seen)
        for width in WIDTHS:
            for number, (name, (loss, moved)) in enumerate(ARMS.items()):
                net = begin(partial(Perceptron, (width, width)), run)
                lessons = Lessons(seen, labels, answers, batch=BATCH, seed=run, shifted=moved)
                took = study(net, loss, lessons, trainer=partial(trainer, f"student{width}-{number}-run{run}"))
                log(f"{width}: {name}", net, took)
        for which, lack in MISSING.items():
            kept = ~torch.isin(labels, torch.tensor(lack))
            lessons = Lessons(seen[kept], labels[kept], answers[kept], batch=BATCH, seed=run)
            # Labels, too, would say that what is missing never occurs: the teacher alone is heard.
            soft = partial(from_teacher, temperature=MISSING_TEMPERATURE, share=1.0)
            for name, loss in (("labels", from_labels), ("distilled", soft)):
                net = begin(partial(Perceptron, (MISSING_WIDTH, MISSING_WIDTH)), run)
                ours = partial(trainer, f"{which}-{name}-run{run}".replace(" ", "-"))
                missing.setdefault(f"{which}: {name}", []).append(_missing(net, lessons, loss, lack, ours))
    nets = {"teacher": DigitNet(), **{str(w): Perceptron((w, w)) for w in WIDTHS}}
    return {
        "errors": {name: summary(values) for name, values in errs.items()},
        "seconds": {name: summary(values) for name, values in times.items()},
        "missing": {name: {k: summary([e[k] for e in each]) for k in each[0]} for name, each in missing.items()},
        "nets": {name: cost.summary(net, (1, SIDE, SIDE)) for name, net in nets.items()},
        "test digits": len(test[1]),
    }


STUDIES = (
    Study(
        name="digits-distilled",
        chapter="distillation",
        measure=_compare,
        data=f"{digits.ORIGIN}; the first 1000 to learn from, the other 797 to measure; teacher {TEACHER_STEPS} steps "
        f"of {BATCH} shifted digits, students {STEPS} of {BATCH}; {SEEDS} seeds",
    ),
)
