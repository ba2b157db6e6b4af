"""Checkpoints of a training run: written whole or not at all, read without unpickling code."""

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from xferlib.zoo.weights import write_whole


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
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_whole({path: content.getvalue()})


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
    except (RuntimeError, UnpicklingError, EOFError, LookupError, TypeError, ValueError, IsADirectoryError) as error:
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
