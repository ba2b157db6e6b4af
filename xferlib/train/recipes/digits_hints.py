"""FitNets on handwritten digits: nets thinner and deeper than their teacher, with and without a hint."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xferlib.data import digits
from xferlib.losses.distillation import attention_transfer, hint_loss
from xferlib.metrics import cost
from xferlib.nets.digit_nets import SIDE, DigitNet, thin
from xferlib.nets.hints import Regressor, Watched, layer_outputs
from xferlib.train.recipes.digits import (
    RATE,
    Lessons,
    begin,
    errors,
    from_labels,
    from_teacher,
    scores,
    study,
    summary,
    teacher,
)
from xferlib.train.study import Study, Trainer

LAYERS, WIDTH, SEEDS = (6, 12, 18), 8, 5
"""Convolutions of the students, and channels of each; the teacher has three, of 24 and 48."""
STEPS, HINT_STEPS, BATCH = 1800, 1000, 32
"""Batches in all, and how many of them go to the first stage where there is one."""
HINT = "body.relu2_1"
TEMPERATURE, ATTENTION = 2, 1.0
WAYS = ("labels", "distilled", "hint + labels", "hint + distilled", "attention + distilled")


def middle(layers: int) -> str:
    """
    Name the guided layer of a student: the one in its middle.

    Parameters
    ----------
    layers : int
        Convolutions of the student.

    Returns
    -------
    str
        Name as `layer_outputs` wants it.
    """
    return f"body.relu2_{layers // 2 - 1}"


class Guided(nn.Module):
    """
    A student up to its guided layer, and the regressor behind it.

    Parameters
    ----------
    student : DigitNet
        The net whose first layers are trained.
    layer : str
        Name of its guided layer, in its body.
    regressor : nn.Module
        What guesses the hint.
    """

    def __init__(self, student: DigitNet, layer: str, regressor: nn.Module) -> None:
        super().__init__()
        self.body, self.layer, self.regressor = student.body, layer.removeprefix("body."), regressor

    def forward(self, images: Tensor) -> Tensor:
        return self.regressor(self.body(images, (self.layer,))[self.layer])


def from_hint(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """
    Learn what the teacher's hint layer gives: the first stage.

    Parameters
    ----------
    net : nn.Module
        A `Guided`.
    batch : tuple of Tensor
        One item of `Lessons` with a leading axis of 1: images, labels, the teacher's scores, the hints.

    Returns
    -------
    Tensor
        `hint_loss`.
    """
    return hint_loss(net(batch[0][0]), batch[3][0])


def from_attention(net: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """
    Learn from labels, from the teacher's scores, and from where it looks.

    Parameters
    ----------
    net : nn.Module
        A `Watched` of one layer.
    batch : tuple of Tensor
        As for `from_hint`.

    Returns
    -------
    dict of str to Tensor
        The terms "scores" and "attention".
    """
    found, (features,) = net(batch[0][0])
    told = from_teacher(lambda images: found, batch, TEMPERATURE)
    return {"scores": told, "attention": ATTENTION * attention_transfer(features, batch[3][0])}


@torch.no_grad()
def hints(net: nn.Module, images: Tensor) -> Tensor:
    """
    Ask a teacher for its hints.

    Parameters
    ----------
    net : nn.Module
        The teacher, in evaluation mode.
    images : Tensor, shape (N, 1, 8, 8)
        Ink, in [0, 1].

    Returns
    -------
    Tensor, shape (N, 48, 4, 4)
        Features of its hint layer.
    """
    with layer_outputs(net, [HINT]) as found:
        net(images)
    return found[HINT]


def first_stage(
    net: DigitNet, layer: str, lessons: Lessons, seed: int = 0, trainer: Callable | None = None, rate: float = RATE
) -> float:
    """
    Train a student up to its guided layer; the regressor is thrown away.

    Parameters
    ----------
    net : DigitNet
        The student, trained in place.
    layer : str
        Name of its guided layer.
    lessons : Lessons
        Images, labels, scores and hints.
    seed : int
        Seed of the regressor.
    trainer : callable, optional
        In place of `xferlib.train.fit`.
    rate : float
        Learning rate at its highest.

    Returns
    -------
    float
        Seconds.
    """
    regressor = begin(partial(Regressor, WIDTH, lessons.parts[3].shape[1]), seed)
    return study(Guided(net, layer, regressor), from_hint, lessons, HINT_STEPS, seed, trainer, rate)


def learn(
    arm: str, net: DigitNet, layers: int, lessons: Lessons, trainer: Trainer, name: str, rate: float = RATE
) -> float:
    """
    Train a student in one way.

    Parameters
    ----------
    arm : str
        The way, one of `WAYS`. All have the same number of steps.
    net : DigitNet
        The student, trained in place.
    layers : int
        Its convolutions.
    lessons : Lessons
        Images, labels, scores and hints.
    trainer : callable
        As a study gets it.
    name : str
        Of the training.
    rate : float
        Learning rate at its highest, of each stage.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    ValueError
        If there is no such way.
    """
    if arm not in WAYS:
        raise ValueError(f"no way is named {arm!r}; there are {', '.join(WAYS)}")
    first, _, then = arm.rpartition(" + ")
    loss = from_labels if then == "labels" else partial(from_teacher, temperature=TEMPERATURE)
    main = partial(trainer, name)
    if first == "attention":
        return study(Watched(net, [middle(layers)]), from_attention, lessons, STEPS, trainer=main, rate=rate)
    spent, steps = 0.0, STEPS
    if first == "hint":
        steps -= HINT_STEPS
        spent = first_stage(net, middle(layers), lessons, trainer=partial(trainer, f"{name}-hint"), rate=rate)
    return spent + study(net, loss, lessons, steps, trainer=main, rate=rate)


ARMS = ("labels", "distilled", "hint + distilled")
TRIALS = [(layers, "shrinking", arm) for layers in LAYERS for arm in ARMS]
TRIALS += [
    *((LAYERS[-1], "shrinking", arm) for arm in ("hint + labels", "attention + distilled")),
    *((LAYERS[-1], "he", arm) for arm in ARMS),
]
"""Layers of the student, how its weights are drawn, and the way it learns."""
RATES = (RATE / 3, 3 * RATE)
"""Other learning rates at which the deepest students are tried, in the first run."""


def _at(rate: float, arm: str, lessons: Lessons, test: tuple[Tensor, Tensor], trainer: Trainer, run: int) -> int:
    """Count the errors of a deepest student that learned at another rate."""
    net = begin(partial(thin, LAYERS[-1], WIDTH), run)
    learn(arm, net, LAYERS[-1], lessons, trainer, f"rate{rate:g}-{arm}-run{run}", rate)
    return errors(scores(net, test[0]), test[1])


def _compare(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    (seen, labels), test = digits.load(digits.TRAIN), digits.load(digits.TEST)
    found: dict[str, dict[str, list[float]]] = {}

    def log(name: str, net: nn.Module, seconds: float) -> None:
        row = found.setdefault(name, {"errors": [], "seconds": []})
        row["errors"].append(errors(scores(net, test[0]), test[1]))
        row["seconds"].append(seconds)

    for run in range(seed, seed + SEEDS):
        big, seconds = teacher(run, trainer=partial(trainer, f"teacher-run{run}"))
        log("teacher", big, seconds)
        lessons = Lessons(seen, labels, scores(big, seen), hints(big, seen), batch=BATCH, seed=run)
        for number, (layers, init, arm) in enumerate(TRIALS):
            net = begin(partial(thin, layers, WIDTH, init), run)
            took = learn(arm, net, layers, lessons, trainer, f"trial{number}-run{run}")
            log(f"{layers} layers, {init}: {arm}", net, took)
        if run == seed:
            rates = {arm: [_at(rate, arm, lessons, test, trainer, run) for rate in RATES] for arm in ARMS}
    nets = {"teacher": DigitNet(), **{f"{n} layers": thin(n, WIDTH) for n in LAYERS}}
    return {
        "trials": {name: {key: summary(values) for key, values in row.items()} for name, row in found.items()},
        "errors at other rates": {"rates": RATES, **rates},
        "nets": {name: cost.summary(net, (1, SIDE, SIDE)) for name, net in nets.items()},
        "test digits": len(test[1]),
    }


STUDIES = (
    Study(
        name="digits-hints",
        chapter="distillation",
        measure=_compare,
        data=f"{digits.ORIGIN}; the first 1000 to learn from, the other 797 to measure; students {STEPS} steps of "
        f"{BATCH}, of which {HINT_STEPS} go to the hint where there is one; {SEEDS} seeds",
    ),
)
