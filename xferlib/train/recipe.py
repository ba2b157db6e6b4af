"""What a recipe of a shipped net is, and how one is run."""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from torch import nn
from torch.utils.data import Dataset

from xferlib import zoo
from xferlib.data.benchmarks import home
from xferlib.ops.views import Views
from xferlib.train import record
from xferlib.train.fit import Loss, fit
from xferlib.train.log import Log
from xferlib.zoo.manifest import data_folder

LOG = "log.csv"
"""Name of a run's log in its folder."""

SMOKE_STEPS = 2
"""Steps of a run that is only to show whether it runs."""


class RecipeError(ValueError):
    """A recipe that does not exist or cannot be run; the message says why and the way out."""


@dataclass(frozen=True)
class Recipe:
    """
    How one shipped net is made.

    Parameters
    ----------
    name : str
        Name of the net and of the recipe, such as "fcn8s-camvid".
    task : str
        What the net does, such as "segmentation".
    chapter : str
        Chapter of the book that explains it.
    net : type
        Class of the net, of `xferlib.nets`.
    arguments : mapping
        Its keyword arguments.
    loss : callable
        As `fit` takes it.
    dataset : callable
        Called as ``dataset(data, seed)``; returns the stream of samples that `fit` takes. ``data`` is the
        folder of real data, or None where the user named none.
    evaluate : callable
        Called as ``evaluate(net, data)`` with the trained net; returns what was measured, by name. The first
        figure is the one that lists show.
    steps, batch_size : int
        As `fit` takes them.
    data, terms : str
        What the net is trained on, and the terms of that data.
    lr : float
        As `fit` takes it.
    seed : int
        Seed of the net's first weights, of the samples and of the training.
    classes : tuple of str
        Names of the classes, or of the styles; empty where it has neither.
    palette : str, optional
        Module of `xferlib.data` with their colours.
    views : {1, 2, 8}
        Views of a picture that applying the net averages over where nothing else is asked.
    pixels : tuple of int
        Pixels, about, that a larger picture is reduced to for a net that knows one scale, or draws strokes of one,
        where it is applied; it sees each of these sizes.
    options : mapping
        Further arguments of `fit`, such as ``warmup`` or ``workers``.
    learner : callable, optional
        Called without arguments; gives the module that is trained, where that is not the net itself but, say, one
        with normalisation and heads that only the training needs.
    finish : callable, optional
        Called as ``finish(learner, data)`` with what was trained; gives the net that is measured and shipped.
    adapt : callable, optional
        Called as ``adapt(recipe, data)`` where the user's folder decides on the classes; gives the recipe for it. What
        such a recipe makes stays with the user, in ``runs/NAME``.
    drawn : bool
        Whether its pictures are all drawn, so that there is no folder of data to name.
    shipped : bool
        Whether the net is shipped; of one that is not, ``data/results`` keeps the figures alone.
    """

    name: str
    task: str
    chapter: str
    net: type[nn.Module]
    arguments: Mapping[str, Any]
    loss: Loss
    dataset: Callable[[Path | None, int], Dataset]
    evaluate: Callable[[nn.Module, Path | None], Mapping[str, Any]]
    steps: int
    batch_size: int
    data: str
    terms: str
    lr: float = 1e-3
    seed: int = 0
    classes: tuple[str, ...] = ()
    palette: str | None = None
    views: Views = 1
    pixels: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    learner: Callable[[], nn.Module] | None = None
    finish: Callable[[nn.Module, Path | None], nn.Module] | None = None
    adapt: Callable[["Recipe", Path], "Recipe"] | None = None
    drawn: bool = False
    shipped: bool = True


def run(
    recipe: Recipe,
    *,
    steps: int | None = None,
    seed: int | None = None,
    data: str | os.PathLike | None = None,
    out: str | os.PathLike | None = None,
    runs: str | os.PathLike = "runs",
    progress: bool = True,
    resume: bool = False,
    smoke: bool = False,
    **hardware: Any,
) -> zoo.Row | None:
    """
    Train a recipe's net, measure it, and save both.

    A run that is killed goes on where it was when it is started again, with the same ``data``: its checkpoint lies in
    ``runs/NAME/`` until the net is saved. A line for every step is in ``log.csv`` beside it.

    Parameters
    ----------
    recipe : Recipe
        What to run.
    steps, seed : int, optional
        In place of the recipe's own.
    data : path, optional
        Folder of real data, laid out as XFERLIB_DATA; by default what that environment variable names.
    out : path, optional
        Folder for the weights, their manifest and the record of the run. By default the repository's
        ``data/weights`` and ``data/results``. A run with other steps, another seed or precision or with ``data``, or
        without a repository, goes to ``runs/NAME`` instead, so that it does not take the shipped net's place, and so
        do the weights of a net that is not shipped.
    runs : path
        Folder of unfinished runs.
    progress : bool
        Whether to show a progress bar.
    resume : bool
        Whether there must be a checkpoint to go on from.
    smoke : bool
        Whether to see only if it runs: two steps of small batches, nothing measured, saved in ``runs/NAME/smoke``.
    **hardware
        ``accelerator``, ``devices``, ``strategy`` and ``precision``, as `fit` takes them.

    Returns
    -------
    Row or None
        The net's row in the manifest; None in all but the first process under ``fabric run``.

    Raises
    ------
    CheckpointError
        If the folder of the unfinished run holds one with other settings.
    FileNotFoundError
        If the recipe needs real data that is not there.
    RecipeError
        If there should be a checkpoint and is none, the recipe is for the user's own data and none is named, or for
        drawn pictures and some is, several processes cannot share a batch, a package is missing whose weights the net
        begins with, or the net of another run would be lost.
    """
    if recipe.drawn and data is not None:
        raise RecipeError(
            f"--data {data}: {recipe.name!r} learns from drawn pictures alone; leave it out, or train fcn8s, segnet, "
            "unet or enet on pictures of your own"
        )
    if recipe.adapt:
        if data is None:
            raise RecipeError(f"{recipe.name!r} trains on your own data: name its folder, --data DIR")
        recipe = recipe.adapt(recipe, Path(data).expanduser())
    processes = sharing(recipe.batch_size, **hardware)
    if smoke:
        steps, out = SMOKE_STEPS, Path(runs) / recipe.name / "smoke"
    command = _command(recipe, steps, seed, data, hardware.get("precision"))
    departs = command != _command(recipe)
    steps = recipe.steps if steps is None else steps
    seed = recipe.seed if seed is None else seed
    own = _mark(data) if data else ""
    data = Path(data).expanduser() if data else home()
    folder = Path(out) if smoke else Path(runs) / recipe.name
    checkpoint = None if smoke else folder / f"steps{steps}-seed{seed}{own}.pt"
    if resume and not (checkpoint and checkpoint.exists()):
        named = checkpoint or "a trial of two steps"
        raise RecipeError(f"{named}: there is no checkpoint to go on from; start without --resume")
    weights, records = _places(recipe, out, folder, departs)
    for place in (weights, folder, *(path.parent for path in records)):
        place.mkdir(parents=True, exist_ok=True)  # better fail now than after hours
    if not smoke:
        for path in records:
            _spare(path, command)

    commit = record.commit()
    stream = recipe.dataset(data, seed)
    net = _first_net(recipe, seed)
    with closing(Log(folder / LOG)) as log:
        history = fit(
            net,
            recipe.loss,
            stream,
            steps=steps,
            batch_size=2 * processes if smoke else recipe.batch_size,
            lr=recipe.lr,
            seed=seed,
            checkpoint=checkpoint,
            progress=progress,
            on_step=log,
            **{**recipe.options, **hardware},
        )
    if record.rank_and_processes()[0]:
        return None

    if recipe.finish:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = recipe.finish(net, data)
    net.half().float()  # what is measured is what is shipped: float16 weights
    result = {"steps": steps} if smoke else record.plain(recipe.evaluate(net, data))
    cost = {"seconds": round(history.seconds), "hardware": record.hardware(**hardware)}
    row = zoo.save(
        net,
        name=recipe.name,
        task=recipe.task,
        chapter=recipe.chapter,
        arguments=recipe.arguments,
        classes=recipe.classes,
        palette=recipe.palette,
        recipe=recipe.name,
        commit=commit,
        seed=seed,
        data=recipe.data,
        terms=recipe.terms,
        result=result,
        cost=cost,
        curve=record.curve(history.loss),
        views=recipe.views,
        pixels=recipe.pixels,
        folder=weights,
    )
    found = {
        "command": command,
        "commit": commit,
        "seed": seed,
        "steps": steps,
        "data": recipe.data,
        "figures": result,
        "cost": cost,
    }
    for path in records:
        record.write(path, found)
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return row


def _places(recipe: Recipe, out: str | os.PathLike | None, folder: Path, departs: bool) -> tuple[Path, list[Path]]:
    """Choose the folder of the weights and the files of the record; the shipped nets have their manifest alone."""
    results, shipped = record.results_folder(out, folder, departs), data_folder() / "weights"
    weights = results
    if results == data_folder() / "results":
        weights = shipped if recipe.shipped else folder
    return weights, [place / f"{recipe.name}.json" for place in {results, results if weights == shipped else weights}]


def _mark(data: str | os.PathLike) -> str:
    """Tell the checkpoints of one folder from those of another."""
    return f"-data{crc32(str(Path(data).expanduser().resolve()).encode()):08x}"


def sharing(batch_size: int, devices: int = 1, **_: Any) -> int:
    """
    Count the processes of a run, and make sure that each gets an equal share of a batch.

    Parameters
    ----------
    batch_size : int
        Samples a step over all processes.
    devices : int
        As `fit` takes it; under ``fabric run`` that command decides.
    **_
        Further arguments of `fit`, which say nothing here.

    Returns
    -------
    int
        The processes.

    Raises
    ------
    RecipeError
        If they cannot share the batch equally.
    """
    processes = int(os.environ.get("WORLD_SIZE", 1)) if "LT_CLI_USED" in os.environ else devices
    if batch_size % processes:
        able = ", ".join(str(number) for number in range(1, batch_size + 1) if batch_size % number == 0)
        raise RecipeError(f"--devices {processes}: they cannot share a batch of {batch_size} equally; {able} can")
    return processes


def _spare(path: Path, command: str) -> None:
    """Refuse to put a net in the place of one that another command made."""
    try:
        other = json.loads(path.read_text("utf-8"))["command"] if path.exists() else command
    except (ValueError, KeyError, TypeError):
        other = "another command"
    if other != command:
        raise RecipeError(
            f"{path.parent} holds what {other!r} made, and {command!r} would take its place: move that folder away, or "
            "name another, --out DIR"
        )


def _first_net(recipe: Recipe, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            net = recipe.learner() if recipe.learner else recipe.net(**recipe.arguments)
        except ImportError as error:  # of a package that brings the weights it begins with
            raise RecipeError(f"{recipe.name}: {error}") from error
        # The order in which a CPU convolves fastest; the same numbers.
        return net.to(memory_format=torch.channels_last)


def _command(
    recipe: Recipe,
    steps: int | None = None,
    seed: int | None = None,
    data: str | os.PathLike | None = None,
    precision: str | None = None,
) -> str:
    """Give the command of a run, with what differs from the recipe."""
    own = {"steps": recipe.steps, "seed": recipe.seed, "data": None, "precision": recipe.options.get("precision")}
    asked = {"steps": steps, "seed": seed, "data": data and Path(data), "precision": precision}
    changed = [f"--{name} {value}" for name, value in asked.items() if value not in (None, own[name])]
    return " ".join(["xferlib train", recipe.name, *changed])
