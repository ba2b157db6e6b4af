"""The one training loop: the same call serves a chapter, a recipe, a GPU and several machines."""

import logging
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from xferlib.train import checkpoint as checkpoints
from xferlib.train.precision import bfloat16_is_fast
from xferlib.train.schedule import cosine
from xferlib.train.stream import batches, step_seed

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Fabric announces each process that joins; here, so that it holds in spawned processes too.
for _module in ("distributed", "rank_zero"):
    logging.getLogger(f"lightning_fabric.utilities.{_module}").setLevel(logging.WARNING)

Loss = Callable[[nn.Module, Any], Tensor | dict[str, Tensor]]


@dataclass(frozen=True)
class Progress:
    """
    Where a training run is, as ``on_step`` gets it after each step.

    Parameters
    ----------
    step, steps : int
        Steps done, from 1, and steps of the whole run.
    loss : float
        Loss of this step, before its update.
    losses : dict
        The terms that the loss is the sum of, by name; ``{"loss": ...}`` where it has one term.
    lr : float
        Learning rate of this step.
    seconds : float
        Training time so far, that of interrupted runs included.
    net : nn.Module
        The net in training mode. A callback may switch it to evaluation and need not switch it back.
    """

    step: int
    steps: int
    loss: float
    losses: dict[str, float]
    lr: float
    seconds: float
    net: nn.Module


@dataclass
class History:
    """
    What a training run did, to be plotted.

    Parameters
    ----------
    loss : list of float
        Loss of each step, averaged over the batch, before the step's update.
    losses : dict
        The terms of the loss, by name, a list with one value a step.
    lr : list of float
        Learning rate of each step.
    seconds : float
        Training time, that of interrupted runs included.
    """

    loss: list[float] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)
    lr: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def _add(self, losses: dict[str, float], lr: float, seconds: float) -> None:
        self.loss.append(sum(losses.values()))
        for name, value in losses.items():
            self.losses.setdefault(name, []).append(value)
        self.lr.append(lr)
        self.seconds = seconds


def fit(
    net: nn.Module,
    loss: Loss,
    dataset: Dataset,
    *,
    steps: int,
    batch_size: int,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    optimizer: Callable[..., Optimizer] = AdamW,
    schedule: Callable[[float], float] = cosine,
    warmup: int = 0,
    clip: float | None = 1.0,
    seed: int = 0,
    workers: int = 0,
    checkpoint: str | Path | None = None,
    save_every: float = 120.0,
    on_step: Callable[[Progress], None] | None = None,
    progress: bool = True,
    accelerator: str = "auto",
    devices: int = 1,
    strategy: str = "auto",
    precision: str | None = None,
) -> History:
    """
    Train a net in place.

    Same arguments, same weights: the samples of step s are items ``s * batch_size`` and on of `dataset`,
    and whatever the net draws at random in that step (dropout) depends on `seed` and s alone. A run that
    was killed and is called again with its checkpoint therefore ends, on a CPU, with the very bits of one
    that was not.

    Parameters
    ----------
    net : nn.Module
        Net to train. Parameters that do not require a gradient stay as they are. It comes back on the
        device it came from, in evaluation mode (also after an error), ready to be used.
    loss : callable
        Called as ``loss(net, batch)``; returns a scalar, or a dict of named scalars that are summed. The
        net it is given must be called, ``net(images)``, for mixed precision and several processes to work.
    dataset : Dataset
        Item i is the i-th sample of the run and depends on i alone. See `shuffled` for a finite dataset.
    steps, batch_size : int
        Number of updates, and samples an update (over all processes).
    lr, weight_decay : float
        Peak learning rate, and the optimizer's weight decay, which biases and norms are spared.
    optimizer : callable
        Called as ``optimizer(groups, lr=lr, weight_decay=weight_decay)``: a class of `torch.optim`, or a
        `functools.partial` of one.
    schedule : callable
        Factor on the learning rate for the fraction of the run done: `constant`, `cosine`, `poly` or your
        own.
    warmup : int
        Steps over which the learning rate rises linearly from 0 to what the schedule says.
    clip : float or None
        Largest norm of the gradient of all parameters together; larger ones are scaled down.
    seed : int
        Seed of what the net draws at random, 0 or larger. The caller's own random state is left as it was.
    workers : int
        Processes that prepare batches ahead of time; 0 prepares them in this one. The result is the same.
    checkpoint : path, optional
        File to save to and, where it exists, to resume from.
    save_every : float
        Seconds between two saves. The end of the run is always saved.
    on_step : callable, optional
        Called with a `Progress` after each step (in the first process), for plots.
    progress : bool
        Whether to show a progress bar, which goes away at the end.
    accelerator : str
        Hardware: "auto", "cpu", "gpu" or "mps", as in Lightning Fabric.
    devices : int
        Devices, each with a process of its own that takes an equal share of each batch and exists for the
        length of this call. As with all spawning in Python, the calling script needs its ``if __name__ ==
        "__main__"``. Under ``fabric run``, on one machine or many, hardware and processes are what that
        command says.
    strategy : str
        How processes work together, as in Lightning Fabric; "auto" is "ddp" where there are several.
    precision : str, optional
        Arithmetic: "32-true", "bf16-mixed" or "16-mixed", as in Lightning Fabric. On a CPU "16-mixed" is "bf16-mixed",
        and where that has no instructions for bfloat16, both are "32-true", which there is many times as fast. A run
        goes on in the precision that it began in.

    Returns
    -------
    History
        Loss and learning rate of each step, and the time spent.

    Raises
    ------
    ValueError
        If a number makes no sense, or the dataset is too short for the run.
    FloatingPointError
        If a loss or its gradient is not finite; the weights are those before that step.
    CheckpointError
        If the checkpoint cannot be read or is one of a different run.
    """
    if min(steps, batch_size, devices) < 1 or not lr > 0 or min(seed, warmup) < 0 or not (clip is None or clip > 0):
        raise ValueError(f"cannot train with {steps=}, {batch_size=}, {lr=}, {clip=}, {seed=}, {warmup=}, {devices=}")
    if batch_size % devices:
        raise ValueError(f"a batch of {batch_size} cannot be shared equally by {devices} devices")
    home = next((p.device for p in net.parameters()), None)
    if home is None:
        raise ValueError(f"{type(net).__name__} has no parameters to train")
    fabric, spawns = _hardware(accelerator, devices, strategy, precision)
    options = {
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "optimizer": optimizer,
        "schedule": schedule,
        "warmup": warmup,
        "clip": clip,
        "seed": seed,
        "workers": workers,
        "checkpoint": None if checkpoint is None else Path(checkpoint),
        "save_every": save_every,
        "on_step": on_step,
        "progress": progress,
    }
    try:
        if not spawns:
            return _loop(fabric, net, loss, dataset, **options)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 dislikes the fork of a notebook
            file = Path(folder) / "trained.pt"
            fabric.launch(_loop_elsewhere, file, net, loss, dataset, options)
            trained = torch.load(file, weights_only=True)
        net.load_state_dict(trained["net"])
        return History(**trained["history"])
    finally:
        net.to(home).eval()


def _loop(
    fabric: "Fabric",
    net: nn.Module,
    loss: Loss,
    dataset: Dataset,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    optimizer: Callable[..., Optimizer],
    schedule: Callable[[float], float],
    warmup: int,
    clip: float | None,
    seed: int,
    workers: int,
    checkpoint: Path | None,
    save_every: float,
    on_step: Callable[[Progress], None] | None,
    progress: bool,
) -> History:
    first_process = fabric.is_global_zero
    on_gpu = fabric.device.type == "cuda"
    scales_loss = getattr(fabric.strategy.precision, "scaler", None) is not None
    run = {
        "net": f"{type(net).__name__} of {sum(p.numel() for p in net.parameters())} parameters",
        "data": type(dataset).__name__,
        "loss": _name(loss),
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "optimizer": _name(optimizer),
        "schedule": _name(schedule),
        "warmup": warmup,
        "clip": clip,
        "seed": seed,
        "precision": fabric.strategy.precision.precision,
    }
    plain_solver = optimizer(_groups(net, weight_decay), lr=lr, weight_decay=weight_decay)
    model, solver = fabric.setup(net, plain_solver)  # these know of devices, processes and precision

    start, history = 0, History()
    state = checkpoints.read(checkpoint, run) if checkpoint and first_process else None
    state = fabric.broadcast(state)
    if state:
        start, history = state["step"], History(**state["history"])
        net.load_state_dict(state["net"])
        solver.load_state_dict(state["optimizer"])
        fabric.strategy.precision.load_state_dict(state["precision"])

    stream = batches(
        dataset,
        start=start,
        steps=steps,
        batch_size=batch_size,
        rank=fabric.global_rank,
        processes=fabric.world_size,
        workers=workers,
        pin_memory=on_gpu,
    )
    began = saved = time.monotonic()
    spent = history.seconds
    bar = tqdm(total=steps, initial=start, leave=False, disable=not (progress and first_process))
    with torch.random.fork_rng(devices=[fabric.device] if on_gpu else []), bar:
        for step, batch in enumerate(stream, start):
            # the learning rate, and the random numbers of this step
            rate = lr * min(1.0, (step + 1) / warmup if warmup else 1.0) * schedule(step / steps)
            for group in solver.param_groups:
                group["lr"] = rate
            torch.manual_seed(step_seed(seed, step, fabric.global_rank))

            # forward
            if not net.training:
                net.train()
            terms = loss(model, fabric.to_device(batch))
            terms = terms if isinstance(terms, dict) else {"loss": terms}
            total = sum(terms.values())
            means = fabric.all_reduce(torch.stack([term.detach() for term in terms.values()])).tolist()
            losses = dict(zip(terms, means, strict=True))
            if not all(map(math.isfinite, means)):
                raise FloatingPointError(f"loss {losses} at step {step + 1} of {steps}: try a lower lr")

            # backward
            solver.zero_grad()
            fabric.backward(total)
            norm = fabric.clip_gradients(
                model, solver, max_norm=math.inf if clip is None else clip, error_if_nonfinite=False
            )
            if not (norm.isfinite() or scales_loss):  # who scales the loss leaves such a step out
                raise FloatingPointError(f"gradient of norm {norm:g} at step {step + 1} of {steps}: try a lower lr")
            solver.step()

            # log
            now = time.monotonic()
            history._add(losses, rate, spent + now - began)
            bar.set_postfix_str(f"loss {_smooth(history.loss):.4g}", refresh=False)
            bar.update()

            # save
            done = step + 1
            if checkpoint and first_process and (done == steps or now - saved >= save_every):
                state = {
                    "run": run,
                    "step": done,
                    "history": asdict(history),
                    "net": net.state_dict(),
                    "optimizer": solver.state_dict(),
                    "precision": fabric.strategy.precision.state_dict(),
                }
                checkpoints.write(checkpoint, state)
                saved = time.monotonic()
            if on_step and first_process:
                on_step(Progress(done, steps, history.loss[-1], losses, rate, history.seconds, net))
    fabric.barrier()
    return history


def _loop_elsewhere(
    fabric: "Fabric", file: Path, net: nn.Module, loss: Loss, dataset: Dataset, options: dict[str, Any]
) -> None:
    """Train in a spawned process; the first one leaves net and history in a file for the caller's process."""
    history = _loop(fabric, net, loss, dataset, **options)
    if fabric.is_global_zero:
        checkpoints.write(file, {"net": net.state_dict(), "history": asdict(history)})


def _hardware(accelerator: str, devices: int, strategy: str, precision: str | None) -> tuple["Fabric", bool]:
    """Make the Fabric, ready for use, and say whether the processes are still to be spawned."""
    from lightning_fabric import Fabric  # here because it takes seconds to import

    joins = "LT_CLI_USED" in os.environ  # under `fabric run`, whose choices come through the environment
    spawns = devices > 1 and not joins
    if spawns and strategy in ("auto", "ddp"):
        strategy = "ddp_notebook" if hasattr(sys, "ps1") else "ddp_spawn"
    make = partial(Fabric, accelerator=accelerator, devices="auto" if joins else devices, strategy=strategy)
    fabric = make(precision=precision)
    takes = fabric.strategy.precision.precision  # on a CPU "bf16-mixed" where "16-mixed" was asked for
    if takes == "bf16-mixed" and "LT_PRECISION" not in os.environ and not bfloat16_is_fast(fabric.device):
        fabric = make(precision="32-true")
    if not spawns and not joins:
        fabric.launch()
    return fabric, spawns


def _groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters to train, in two groups: kernels and matrices decay, biases and norms do not."""
    trained = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _smooth(values: list[float], window: int = 20) -> float:
    recent = values[-window:]
    return sum(recent) / len(recent)


def _name(function: Callable[..., Any]) -> str:
    """Name a function, and the plain arguments that are bound to it."""
    if isinstance(function, partial):
        bound = {key: value for key, value in function.keywords.items() if isinstance(value, (int, float, str, tuple))}
        return f"{_name(function.func)}{bound or ''}"
    return getattr(function, "__qualname__", type(function).__name__)
