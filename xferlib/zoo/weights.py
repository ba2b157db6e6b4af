"""Weights of the shipped nets: float16 safetensors whose hash is checked before a byte is parsed."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from xferlib.nets.folding import accelerate
from xferlib.ops.views import Views
from xferlib.zoo.manifest import _FILE, Row, ZooError, check_sight, manifest_text, row, rows, weights_folder

_NETS = "xferlib.nets."


def load(name: str, folder: str | os.PathLike | None = None, *, fast: bool = True) -> nn.Module:
    """
    Load a shipped net.

    Parameters
    ----------
    name : str
        Name of the net, as `rows` lists it.
    folder : path, optional
        Folder with a manifest and weights; by default that of the shipped nets.
    fast : bool
        Whether to give the form that runs fastest, see `xferlib.nets.folding.accelerate`; without it the net
        is as it was trained, and can be trained further.

    Returns
    -------
    nn.Module
        The net in evaluation mode, float32, on the CPU; the caller's own.

    Raises
    ------
    ZooError
        If there is no such net, its weights are missing or not those of the manifest, or do not fit the net.

    Notes
    -----
    Loading runs no code from the file: the weights are plain tensors, and the class comes from
    `xferlib.nets`.
    """
    return load_row(row(name, folder), folder, fast=fast)


def load_row(row: Row, folder: str | os.PathLike | None = None, *, fast: bool = True) -> nn.Module:
    """
    Load the net of a manifest row.

    Parameters
    ----------
    row : Row
        Row of the manifest.
    folder : path, optional
        Folder with the weights; by default that of the shipped nets.
    fast : bool
        As in `load`.

    Returns
    -------
    nn.Module
        The net in evaluation mode, float32, on the CPU.

    Raises
    ------
    ZooError
        If the weights are missing, are not those of the manifest, or do not fit the net.
    """
    file = weights_folder(folder) / row.file
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise ZooError(
            f"{file}: the weights of {row.name!r} are missing; fetch the repository's data/weights again, "
            f"or train them: xferlib train {row.recipe}"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != row.sha256:
        raise ZooError(
            f"{file}: the weights of {row.name!r} are damaged or another version: their sha256 begins with "
            f"{found[:12]}, the manifest's with {row.sha256[:12]}; fetch both again"
        )
    try:
        state = safetensors.torch.load(content)
    except SafetensorError as error:
        raise ZooError(f"{file}: not a safetensors file ({error}); fetch it again") from error
    net = _built(row.name, row.net, row.arguments, state)
    return accelerate(net) if fast else net


def save(
    net: nn.Module,
    *,
    name: str,
    task: str,
    chapter: str,
    arguments: Mapping[str, Any],
    recipe: str,
    seed: int,
    data: str,
    terms: str,
    result: Mapping[str, Any],
    cost: Mapping[str, Any],
    classes: Sequence[str] = (),
    palette: str | None = None,
    commit: str | None = None,
    curve: Sequence[float] = (),
    views: Views = 1,
    pixels: Sequence[int] = (),
    folder: str | os.PathLike | None = None,
) -> Row:
    """
    Add a net to a zoo, or replace the one of that name.

    Parameters
    ----------
    net : nn.Module
        Net of a class of `xferlib.nets`. Its floating-point tensors are stored as float16, others as they
        are.
    name, task, chapter : str
        See `Row`.
    arguments : mapping
        Keyword arguments that make such a net; plain values that JSON can hold.
    recipe, seed, data, terms : str, int, str, str
        See `Row`.
    result, cost : mapping
        See `Row`.
    classes : sequence of str
        Names of the classes.
    palette : str, optional
        Module of `xferlib.data` with their colours.
    commit : str, optional
        See `Row`.
    curve : sequence of float
        See `Row`.
    views : {1, 2, 8}
        See `Row`.
    pixels : sequence of int
        See `Row`.
    folder : path, optional
        Folder of the zoo, made where missing; by default that of the shipped nets.

    Returns
    -------
    Row
        The row as written.

    Raises
    ------
    ZooError
        If the net could not be loaded again: its name is no file name, its class is not in `xferlib.nets`,
        the arguments make another net, a weight is not finite in float16, or its views or pixels make no sense. Nothing
        is written then.
    """
    if not re.fullmatch(r"[a-z0-9]+(?:[-_][a-z0-9]+)*", name):
        raise ZooError(f"{name!r} is no name for a net: use small letters, digits and hyphens: 'fcn8s-streets'")
    state = _stored(name, net)
    content = safetensors.torch.save(state)
    entry = Row(
        name=name,
        task=task,
        chapter=chapter,
        net=_specification(type(net)),
        arguments=dict(arguments),
        classes=tuple(classes),
        palette=palette,
        recipe=recipe,
        commit=commit,
        seed=seed,
        data=data,
        terms=terms,
        file=f"{name}.safetensors",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        parameters=sum(p.numel() for p in net.parameters()),
        result=dict(result),
        cost=dict(cost),
        curve=tuple(curve),
        views=views,
        pixels=tuple(pixels),
    )
    check_sight(entry)
    _built(name, entry.net, entry.arguments, state)
    folder = weights_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    others = [row for row in rows(folder) if row.name != name]
    text = manifest_text([*others, entry])
    write_whole({folder / entry.file: content, folder / _FILE: text.encode()})
    return entry


def _stored(name: str, net: nn.Module) -> dict[str, Tensor]:
    state = {}
    for key, tensor in net.state_dict().items():
        stored = tensor.detach().cpu()
        stored = (stored.half() if stored.is_floating_point() else stored).clone().contiguous()
        if stored.is_floating_point() and not stored.isfinite().all():
            largest = tensor.abs().max().item()
            raise ZooError(f"{key} of {name!r} does not fit float16: its largest value is {largest:g}")
        state[key] = stored
    return state


def _specification(kind: type[nn.Module]) -> str:
    if not kind.__module__.startswith(_NETS):
        raise ZooError(f"{kind.__module__}.{kind.__qualname__} is not in xferlib.nets, as a zoo's nets must be")
    return f"{kind.__module__.removeprefix(_NETS)}.{kind.__qualname__}"


def _resolve(specification: str) -> type[nn.Module]:
    """Find the class "fcn.FCN" in xferlib.nets, and nothing else anywhere else."""
    module, _, name = specification.rpartition(".")
    problem = ZooError(f"{specification!r} is not a net of xferlib.nets, such as 'fcn.FCN'")
    if not re.fullmatch(r"[a-z]\w*(\.[a-z]\w*)*", module) or not re.fullmatch(r"[A-Z]\w*", name):
        raise problem
    try:
        kind = getattr(import_module(_NETS + module), name)
    except (ModuleNotFoundError, AttributeError):
        raise problem from None
    if not (isinstance(kind, type) and issubclass(kind, nn.Module) and kind.__module__.startswith(_NETS)):
        raise problem
    return kind


def _built(name: str, specification: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    kind = _resolve(specification)
    try:
        with torch.random.fork_rng(devices=[]):  # its first weights are drawn, then overwritten
            net = kind(**arguments)
        net.load_state_dict({key: t.float() if t.is_floating_point() else t for key, t in state.items()})
    except (TypeError, ValueError, RuntimeError) as error:
        call = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        reason = " ".join(str(error).split())
        raise ZooError(f"the weights of {name!r} do not fit {specification}({call}): {reason}") from error
    return net.eval()


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """
    Write files, each whole or not at all: beside their targets first, then in place, in this order.

    Parameters
    ----------
    contents : mapping of Path to bytes
        What to write, by file; their folders must be there.

    Raises
    ------
    OSError
        If a file cannot be written; then none is. If one cannot take its place, those before it already have.
    """
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in contents}
    try:
        for path, content in contents.items():
            parts[path].write_bytes(content)
            with parts[path].open("r+b") as file:
                os.fsync(file.fileno())  # else a power cut after the renaming may leave it empty
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
