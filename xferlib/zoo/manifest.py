"""The manifest of the shipped nets: one row a net, in ``data/weights/manifest.json``."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from xferlib.ops.views import Views
from xferlib.zoo.scale import SCALED

_PACKAGE = Path(__file__).resolve().parents[1]
_FILE = "manifest.json"


class ZooError(ValueError):
    """A shipped net that is unknown, missing, damaged or unfit; the message says which and the way out."""


@dataclass(frozen=True)
class Row:
    """
    What the manifest says of one shipped net.

    Parameters
    ----------
    name : str
        Name of the net, such as "fcn8s-streets".
    task : str
        What it does, such as "segmentation".
    chapter : str
        Chapter of the book that explains it.
    net : str
        Its class below `xferlib.nets`, such as "fcn.FCN".
    arguments : mapping
        Keyword arguments of that class.
    classes : tuple of str
        Names of its classes in order, or of its styles; empty where it has neither.
    palette : str or None
        Module of `xferlib.data` whose ``PALETTE`` colours the classes.
    recipe : str
        Name of the recipe that trained it.
    commit : str or None
        Commit of the repository that it ran from, as far as known.
    seed : int
        Seed of that training.
    data, terms : str
        What it was trained on, and the terms of that data with whom to cite.
    file, sha256, bytes : str, str, int
        Weights beside the manifest, their hash and their size.
    parameters : int
        Number of parameters.
    result : mapping
        What was measured, by name.
    cost : mapping
        ``seconds`` of training and the ``hardware`` in plain words.
    curve : tuple of float
        Mean loss in each of equal parts of the training; empty where it is not known.
    views : {1, 2, 8}
        Views of a picture that applying the net averages over where nothing else is asked, see
        `xferlib.ops.views.views_of`.
    pixels : tuple of int
        Pixels, about, that a larger picture is reduced to for a net that knows one scale, or draws strokes of one; it
        sees each of these sizes. Empty for a net that sees every picture as it is.
    """

    name: str
    task: str
    chapter: str
    net: str
    arguments: Mapping[str, Any]
    classes: tuple[str, ...]
    palette: str | None
    recipe: str
    commit: str | None
    seed: int
    data: str
    terms: str
    file: str
    sha256: str
    bytes: int
    parameters: int
    result: Mapping[str, Any]
    cost: Mapping[str, Any]
    curve: tuple[float, ...] = ()
    views: Views = 1
    pixels: tuple[int, ...] = ()


def data_folder() -> Path:
    """
    Folder of the shipped data: ``xferlib/_data`` in an installed wheel, ``data`` in a checkout.

    Returns
    -------
    Path
        The folder.
    """
    installed = _PACKAGE / "_data"
    return installed if installed.is_dir() else _PACKAGE.parent / "data"


def weights_folder(folder: str | os.PathLike | None = None) -> Path:
    """
    Folder of a zoo: the one given, or that of the shipped nets.

    Parameters
    ----------
    folder : path, optional
        Folder with a manifest and weights.

    Returns
    -------
    Path
        The folder.
    """
    return data_folder() / "weights" if folder is None else Path(folder)


def rows(folder: str | os.PathLike | None = None) -> list[Row]:
    """
    List the nets of a zoo.

    Parameters
    ----------
    folder : path, optional
        Folder with a manifest and weights; by default that of the shipped nets.

    Returns
    -------
    list of Row
        One row a net, sorted by name; empty where there is no manifest.

    Raises
    ------
    ZooError
        If the manifest cannot be read.
    """
    file = weights_folder(folder) / _FILE
    if not file.exists():
        return []
    try:
        entries = json.loads(file.read_text("utf-8"))["nets"]
        return sorted((_row(entry) for entry in entries), key=lambda row: row.name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ZooError(f"{file}: not a readable manifest ({error}); restore it from the repository") from error


def row(name: str, folder: str | os.PathLike | None = None) -> Row:
    """
    Look one net up.

    Parameters
    ----------
    name : str
        Name of the net.
    folder : path, optional
        Folder with a manifest and weights; by default that of the shipped nets.

    Returns
    -------
    Row
        Its row.

    Raises
    ------
    ZooError
        If there is no such net, or the manifest cannot be read.
    """
    known = {row.name: row for row in rows(folder)}
    if name in known:
        return known[name]
    close = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ZooError(f"no net is named {name!r}; {hint}there are: {', '.join(known) or 'none yet'}")


def manifest_text(rows: Iterable[Row]) -> str:
    """
    The manifest as it is written: sorted by name, so that a new net changes only its own lines.

    Parameters
    ----------
    rows : iterable of Row
        Rows in any order.

    Returns
    -------
    str
        JSON.
    """
    entries = [asdict(row) for row in sorted(rows, key=lambda row: row.name)]
    return json.dumps({"nets": entries}, indent=2, ensure_ascii=False) + "\n"


def _row(entry: Mapping[str, Any]) -> Row:
    name = entry.get("name", "?")
    required = {field.name for field in fields(Row) if field.default is MISSING}
    missing, unknown = sorted(required - set(entry)), sorted(set(entry) - {field.name for field in fields(Row)})
    if missing or unknown:
        raise ValueError(f"row {name!r}: missing {missing}, unknown {unknown}")
    texts = ("name", "task", "chapter", "net", "recipe", "data", "terms", "file", "sha256")
    wrong = [field for field in texts if not isinstance(entry[field], str)]
    wrong += [field for field in ("arguments", "result", "cost") if not isinstance(entry[field], dict)]
    wrong += [field for field in ("commit", "palette") if not isinstance(entry[field], (str, type(None)))]
    wrong += [field for field in ("seed", "bytes", "parameters") if not isinstance(entry[field], int)]
    wrong += [field for field in ("curve", "pixels") if not isinstance(entry.get(field, []), list)]
    names = entry["classes"]
    wrong += [] if isinstance(names, list) and all(isinstance(each, str) for each in names) else ["classes"]
    if wrong:
        raise ValueError(f"row {name!r}: wrong type of {wrong}")
    if Path(entry["file"]).name != entry["file"]:
        raise ValueError(f"row {name!r}: file {entry['file']!r} is not beside the manifest")
    row = Row(**{**entry, **{field: tuple(entry.get(field, ())) for field in ("classes", "curve", "pixels")}})
    check_sight(row)
    return row


def check_sight(row: Row) -> None:
    """
    Refuse a row that says of how the net sees a picture what makes no sense.

    Parameters
    ----------
    row : Row
        The row.

    Raises
    ------
    ZooError
        If there is no such number of views, or the pixels are not numbers from 1, or of a net whose result on a reduced
        picture cannot be brought back, or several of one whose results have no mean.
    """
    if type(row.views) is not int or row.views not in get_args(Views):
        raise ZooError(f"row {row.name!r}: views {row.views!r} are not 1, 2 or 8")
    if any(type(number) is not int or number < 1 for number in row.pixels):
        raise ZooError(f"row {row.name!r}: pixels {row.pixels!r} are not whole numbers from 1")
    if row.pixels and row.task not in SCALED:
        raise ZooError(f"row {row.name!r}: pixels {row.pixels!r}; only nets for {', '.join(SCALED)} see less")
    if len(row.pixels) > 1 and row.task == "instances":
        raise ZooError(f"row {row.name!r}: pixels {row.pixels!r}; objects found at several sizes have no mean")
