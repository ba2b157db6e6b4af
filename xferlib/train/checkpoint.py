"""Checkpoints of a training run: written whole or not at all, read without unpickling code."""

import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


class CheckpointError(ValueError):
    """A checkpoint that cannot be resumed from."""


def write(path: Path, state: Mapping[str, Any]) -> None:
    """
    Write a checkpoint; a reader finds the old one or the new one, never a half.

    Parameters
    ----------
    path : Path
        File to write; its folder is made where missing.
    state : mapping
        What `read` returns: tensors, numbers, strings, and lists and dicts of them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """
    Read a checkpoint and make sure that it belongs to this run.

    Parameters
    ----------
    path : Path
        File that `write` wrote.
    run : mapping
        What the run is: the value of ``"run"`` in the state must equal it.

    Returns
    -------
    dict or None
        The state, its tensors on the CPU; None where there is no such file.

    Raises
    ------
    CheckpointError
        If the file is not a checkpoint, or is one of another run.
    """
    if not path.exists():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of a foreign pickle before it refuses it
            state = torch.load(path, map_location="cpu", weights_only=True)
        saved = dict(state["run"])
    except (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError, IsADirectoryError) as error:
        raise CheckpointError(f"{path} is no checkpoint of train.fit: delete it to start afresh") from error
    differing = [
        f"{key} was {saved.get(key)!r} and is now {run.get(key)!r}"
        for key in sorted(saved.keys() | run.keys())
        if saved.get(key) != run.get(key)
    ]
    if differing:
        raise CheckpointError(
            f"{path} is the checkpoint of a different run ({'; '.join(differing)}): "
            "delete it to start afresh, or name another file"
        )
    return state
