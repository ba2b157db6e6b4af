"""What a study is: trainings compared, too long for a chapter, of which the figures are kept and not the nets."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from xferlib.train import record
from xferlib.train.fit import History, Loss, fit
from xferlib.train.recipe import sharing

Trainer = Callable[..., History]
"""As `fit`, with the name of the training before its arguments."""


@dataclass(frozen=True)
class Study:
    """
    How one table of a chapter is made.

    Parameters
    ----------
    name : str
        Name of the study, such as "cells-losses".
    chapter : str
        Chapter of the book that shows it.
    measure : callable
        Called as ``measure(train, seed)``; returns the figures, by name, as JSON can hold them. It trains with
        ``train(name, net, loss, dataset, steps=..., ...)``, which is `fit` with a checkpoint of that name.
    data : str
        What the nets are trained on and measured on.
    seed : int
        Seed of the whole study.
    """

    name: str
    chapter: str
    measure: Callable[[Trainer, int], Mapping[str, Any]]
    data: str
    seed: int = 0


def run(
    study: Study,
    *,
    seed: int | None = None,
    out: str | os.PathLike | None = None,
    runs: str | os.PathLike = "runs",
    progress: bool = True,
    **hardware: Any,
) -> dict[str, Any]:
    """
    Make the trainings of a study, and keep the figures.

    A study that is killed goes on where it was when it is started again: the checkpoints of its trainings lie
    in ``runs/NAME/`` until its figures are saved.

    Parameters
    ----------
    study : Study
        What to run.
    seed : int, optional
        In place of the study's own.
    out : path, optional
        Folder for the record. By default the repository's ``data/results``; with another seed, or without a
        repository, ``runs/NAME``.
    runs : path
        Folder of unfinished trainings.
    progress : bool
        Whether to show progress bars.
    **hardware
        ``accelerator``, ``devices``, ``strategy`` and ``precision``, as `fit` takes them.

    Returns
    -------
    dict
        The record: command, commit, seed, data, figures and cost.

    Raises
    ------
    CheckpointError
        If the folder of an unfinished training holds one with other settings.
    RecipeError
        If several devices cannot share a batch equally.
    """
    folder = Path(runs) / study.name
    departs = seed not in (None, study.seed)
    seed = study.seed if seed is None else seed
    place = record.results_folder(out, folder, departs)
    for made in (folder, place):
        made.mkdir(parents=True, exist_ok=True)  # better fail now than after hours
    commit, began, before = record.commit(), perf_counter(), 0.0

    def train(name: str, net: nn.Module, loss: Loss, dataset: Dataset, **options: Any) -> History:
        nonlocal before
        sharing(options["batch_size"], **hardware)
        checkpoint, start = folder / f"{name}-seed{seed}.pt", perf_counter()
        history = fit(net, loss, dataset, checkpoint=checkpoint, progress=progress, **{**options, **hardware})
        before += max(0.0, history.seconds - (perf_counter() - start))  # what a run that was killed has done
        return history

    figures = study.measure(train, seed)
    found = {
        "command": f"xferlib train {study.name}" + (f" --seed {seed}" if departs else ""),
        "commit": commit,
        "seed": seed,
        "data": study.data,
        "figures": record.plain(figures),
        "cost": {"seconds": round(before + perf_counter() - began), "hardware": record.hardware(**hardware)},
    }
    if record.rank_and_processes()[0]:
        return found
    record.write(place / f"{study.name}.json", found)
    for checkpoint in folder.glob(f"*-seed{seed}.pt"):
        checkpoint.unlink()
    return found
