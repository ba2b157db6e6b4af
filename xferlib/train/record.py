"""The record of a run: what was done, on what, and what came out, kept as JSON beside the shipped nets."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from xferlib.zoo.manifest import data_folder
from xferlib.zoo.weights import write_whole


def results_folder(out: str | os.PathLike | None, folder: Path, departs: bool) -> Path:
    """
    Choose where a record goes.

    Parameters
    ----------
    out : path or None
        What the user asked for.
    folder : Path
        Folder of the run.
    departs : bool
        Whether the run differs from what is shipped, so that it must not take its place.

    Returns
    -------
    Path
        ``out``, or the repository's ``data/results``, or the folder of the run.
    """
    if out is not None:
        return Path(out)
    return folder if departs or not in_checkout() else data_folder() / "results"


def in_checkout() -> bool:
    """
    Say whether this package lies in a checkout of its repository.

    Returns
    -------
    bool
        False for an installed package.
    """
    return (data_folder().parent / "pyproject.toml").is_file()


def commit() -> str | None:
    """
    Name the commit of the checkout that this package lies in.

    Returns
    -------
    str or None
        The commit, marked where files of the library differ from it; None without a repository.
    """
    if not in_checkout():
        return None
    try:
        git = ["git", "-C", str(data_folder().parent)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = [*git, "status", "--porcelain", "--", "xferlib"]
        changes = subprocess.run(status, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + (" and uncommitted changes" if changes.stdout else "")


def hardware(accelerator: str = "auto", devices: int = 1, **_: Any) -> str:
    """
    Describe what a run uses.

    Parameters
    ----------
    accelerator : str
        As `xferlib.train.fit` takes it.
    devices : int
        Likewise.
    **_
        Further arguments of `fit`, which say nothing here.

    Returns
    -------
    str
        Such as "1 thread of a CPU (x86_64)".
    """
    devices *= rank_and_processes()[1]
    if accelerator != "cpu" and torch.cuda.is_available():
        return f"{devices} x {torch.cuda.get_device_name()}"
    if accelerator != "cpu" and torch.backends.mps.is_available():
        return f"{devices} x GPU of an Apple processor ({platform.machine()})"
    threads = devices * torch.get_num_threads()
    return f"{threads} thread{'s' if threads > 1 else ''} of a CPU ({platform.machine()})"


def rank_and_processes() -> tuple[int, int]:
    """
    Number this process and count all, under ``fabric run``.

    Returns
    -------
    tuple of int
        Rank and number of processes; 0 and 1 without it.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def plain(value: Any) -> Any:
    """
    Round measured numbers to what means something: four significant digits.

    Parameters
    ----------
    value : object
        A number, a tensor or array of one number, or a list or mapping of such; anything else is kept.

    Returns
    -------
    object
        The same, as JSON can hold it.
    """
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) or (hasattr(value, "item") and getattr(value, "ndim", 1) == 0):
        number = value.item() if hasattr(value, "item") else value
        return float(f"{number:.4g}") if isinstance(number, float) else number
    return value


def curve(losses: Sequence[float], parts: int = 24) -> list[float]:
    """
    Shorten the losses of a training to a curve.

    Parameters
    ----------
    losses : sequence of float
        Loss of each step.
    parts : int
        How many equal parts; a step each where there are fewer steps.

    Returns
    -------
    list of float
        Mean loss in each part, to four significant digits.
    """
    return plain([part.mean().item() for part in torch.tensor(losses).tensor_split(min(parts, len(losses)))])


def write(path: Path, record: Mapping[str, Any]) -> None:
    """
    Write a record, whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    record : mapping
        What JSON can hold.
    """
    write_whole({path: (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()})
