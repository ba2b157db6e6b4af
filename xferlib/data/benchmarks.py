"""Readers of public datasets in the layout in which they are distributed, from wherever a user keeps them."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from xferlib.data.images import ImageError, read, read_labels

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""Endings of files that count as pictures, also where Pillow cannot read them, so that none is left out in silence."""

_VOID = 255


def home() -> Path | None:
    """
    Say where public sets are looked for.

    Returns
    -------
    Path or None
        The folder that XFERLIB_DATA names; None if that is not set.
    """
    folder = os.environ.get("XFERLIB_DATA")
    return Path(folder).expanduser() if folder else None


class ImageFolder(Dataset):
    """
    Every picture below a folder, in the order of its path.

    Item ``i`` is the picture ``paths[i]`` as (3, H, W) float32 in [0, 1]; sizes may differ.

    Parameters
    ----------
    root : str or path-like
        The folder. Pictures in folders within it count too; hidden files do not.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no picture below it.
    """

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = Path(root)
        self.paths = _pictures(self.root, "**/*")
        if not self.paths:
            known = ", ".join(sorted(SUFFIXES))
            raise FileNotFoundError(f"{self.root.absolute()}: no folder with pictures in it ({known})")

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """Read picture `index`."""
        return read(self.paths[index])


class CamVid(Dataset):
    """
    CamVid, street frames with eleven classes, in the layout of the SegNet tutorial.

    Item ``i`` is a pair: the frame as (3, H, W) float32 in [0, 1], and its labels as (H, W) int64, where 0 to
    10 are the classes of ``xferlib.data.streets.CLASSES`` and 255 is void (11 in the files).

    Parameters
    ----------
    root : str or path-like, optional
        The folder that holds ``train``, ``trainannot`` and so on; by default ``camvid`` in the folder that
        the environment variable XFERLIB_DATA names.
    split : {"train", "val", "test"}, default "train"
        Which frames.
    size : tuple of int, optional
        (height, width) to bring the frames to, bilinearly with antialiasing, and the labels, by the nearest
        pixel. By default both keep their size.

    Raises
    ------
    FileNotFoundError
        If the folders are not there or empty, or a frame has no labels.
    ValueError
        If ``split`` is none of the three, or ``size`` is not two positive integers.

    References
    ----------
    Brostow, Fauqueur, Cipolla, "Semantic object classes in video: A high-definition ground truth database",
    Pattern Recognition Letters 30(2), 2009.
    Badrinarayanan, Kendall, Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
    Segmentation", PAMI 39(12), 2017.
    """

    def __init__(
        self,
        root: str | os.PathLike | None = None,
        split: str = "train",
        size: tuple[int, int] | None = None,
    ) -> None:
        if split not in ("train", "val", "test"):
            raise ValueError(f"split {split!r} is none of 'train', 'val', 'test'")
        if size is not None and (len(size) != 2 or any(not isinstance(n, int) or n < 1 for n in size)):
            raise ValueError(f"size {size!r} is not (height, width) with two positive integers")
        self.root = _root(root, "camvid")
        self.split = split
        self.size = None if size is None else tuple(size)
        self.paths = _pictures(self.root / split, "*")
        self.label_paths = [self.root / f"{split}annot" / f"{path.stem}.png" for path in self.paths]
        self._check()

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read frame `index` and its labels."""
        image = read(self.paths[index])
        labels = read_labels(self.label_paths[index])
        if image.shape[1:] != labels.shape:
            raise ImageError(
                f"{self.label_paths[index]}: labels of {tuple(labels.shape)} do not fit their frame of "
                f"{tuple(image.shape[1:])}; fetch both again"
            )
        labels = torch.where(labels == 11, _VOID, labels)
        wrong = labels[(labels > 10) & (labels != _VOID)]
        if len(wrong):
            raise ImageError(f"{self.label_paths[index]}: label {int(wrong[0])}; CamVid has 0 to 10, and 11 for void")
        return (image, labels) if self.size is None else _resized(image, labels, self.size)

    def _check(self) -> None:
        if not self.paths:
            root = self.root.absolute()
            raise FileNotFoundError(
                f"no CamVid frames in {root / self.split}. Expected in {root}: frames in {self.split}/ (.png "
                f"or .jpg), labels of the same name in {self.split}annot/ (.png), as in the SegNet tutorial. "
                "Pass that folder as root, or set XFERLIB_DATA to the folder that holds camvid/"
            )
        for path, labels in zip(self.paths, self.label_paths, strict=True):
            if not labels.is_file():
                raise FileNotFoundError(f"{labels}: no such file, the labels of {path}; fetch the set again")


class ISBI(Dataset):
    """
    ISBI 2012, slices of a fly's nerve cord under the electron microscope, with its membranes marked.

    Item ``i`` is a pair: the slice as (1, H, W) float32 in [0, 1], and its labels as (H, W) int64: 0 membrane,
    1 cell, as in ``xferlib.data.cells.CLASSES``.

    Parameters
    ----------
    root : str or path-like, optional
        The folder that holds ``image`` and ``label``, both with one picture a slice under the same name; by
        default ``isbi2012`` in the folder that the environment variable XFERLIB_DATA names.
    slices : sequence of int, optional
        Which slices, in the order of their names; negative ones count from the end. By default all.

    Raises
    ------
    FileNotFoundError
        If the folders are not there or empty, or a slice has no labels.
    IndexError
        If there is no such slice.

    References
    ----------
    Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics",
    Frontiers in Neuroanatomy 9, 2015.
    """

    def __init__(self, root: str | os.PathLike | None = None, slices: Sequence[int] | None = None) -> None:
        self.root = _root(root, "isbi2012")
        found = _pictures(self.root / "image", "*")
        if not found:
            raise FileNotFoundError(
                f"no slices in {(self.root / 'image').absolute()}. Expected beside it: label/ with pictures of the "
                "same names. Pass the folder of both as root, or set XFERLIB_DATA to the folder that holds isbi2012/"
            )
        wrong = [i for i in slices or () if not -len(found) <= i < len(found)]
        if wrong:
            raise IndexError(f"slice {wrong[0]} of {len(found)}; they are counted from 0")
        self.paths = found if slices is None else [found[i] for i in slices]
        self.label_paths = [self.root / "label" / path.name for path in self.paths]
        for path, labels in zip(self.paths, self.label_paths, strict=True):
            if not labels.is_file():
                raise FileNotFoundError(f"{labels}: no such file, the labels of {path}; fetch the set again")

    def __len__(self) -> int:
        """Count the slices."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read slice `index` and its labels."""
        image = read(self.paths[index]).mean(0, keepdim=True)
        numbers = read_labels(self.label_paths[index])
        if image.shape[1:] != numbers.shape:
            raise ImageError(
                f"{self.label_paths[index]}: labels of {tuple(numbers.shape)} do not fit their slice of "
                f"{tuple(image.shape[1:])}; fetch both again"
            )
        wrong = numbers[(numbers != 0) & (numbers != 255)]
        if len(wrong):
            raise ImageError(f"{self.label_paths[index]}: value {int(wrong[0])}; a membrane is 0 and a cell 255")
        return image, (numbers == 255).long()


class Nuclei(Dataset):
    """
    Data Science Bowl 2018, cell nuclei under the microscope, every single one with its outline.

    Item ``i`` is a pair: the picture as (3, H, W) float32 in [0, 1], and its instance map as (H, W) int64: 0 ground,
    k the k-th nucleus. Sizes differ.

    Parameters
    ----------
    root : str or path-like, optional
        The folder that holds ``image`` and ``label``, both with one picture under the same name, labels as PNG of
        16 bits; by default ``nuclei`` in the folder that the environment variable XFERLIB_DATA names.
    split : {"train", "val"}, optional
        By default all pictures. The set has no public split of its own: "val" are those whose name, less its suffix,
        has a SHA-256 that is divisible by 6, about one in six; "train" are the others.

    Raises
    ------
    FileNotFoundError
        If the folders are not there or empty, or a picture has no labels.
    ValueError
        If there is no split of that name.

    References
    ----------
    Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl", Nature Methods 16,
    2019. Set BBBC038 of the Broad Bioimage Benchmark Collection.
    """

    def __init__(self, root: str | os.PathLike | None = None, split: str | None = None) -> None:
        if split not in (None, "train", "val"):
            raise ValueError(f"split {split!r} is none of 'train', 'val'; leave it out for all pictures")
        self.root, self.split = _root(root, "nuclei"), split
        found = _pictures(self.root / "image", "*")
        if not found:
            raise FileNotFoundError(
                f"no pictures in {(self.root / 'image').absolute()}. Expected beside it: label/ with PNG files of the "
                "same names. Pass the folder of both as root, or set XFERLIB_DATA to the folder that holds nuclei/"
            )
        self.paths = [path for path in found if split in (None, _part(path.stem))]
        self.label_paths = [self.root / "label" / f"{path.stem}.png" for path in self.paths]
        for path, labels in zip(self.paths, self.label_paths, strict=True):
            if not labels.is_file():
                raise FileNotFoundError(f"{labels}: no such file, the labels of {path}; fetch the set again")

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read picture `index` and its instance map."""
        image, numbers = read(self.paths[index]), read_labels(self.label_paths[index])
        if image.shape[1:] != numbers.shape:
            raise ImageError(
                f"{self.label_paths[index]}: labels of {tuple(numbers.shape)} do not fit their picture of "
                f"{tuple(image.shape[1:])}; fetch both again"
            )
        return image, numbers

    @staticmethod
    def kind(image: Tensor) -> str:
        """
        Say how a picture was taken, by its ground.

        Parameters
        ----------
        image : Tensor, shape (3, H, W)
            A picture of the set.

        Returns
        -------
        str
            "fluorescence" where the median value is below .4, nuclei that shine on a dark ground; else "stained".
        """
        return "fluorescence" if image.median() < 0.4 else "stained"


class ReflectionTriples(Dataset):
    """
    Pictures with a reflection, and the two layers that they are made of, as CEILNet's authors distribute them.

    Item ``i`` is a triple: picture, background and reflection, each (3, H, W) float32 in [0, 1]. Sizes differ from
    triple to triple.

    Parameters
    ----------
    root : str or path-like, optional
        The folder with ``X-input``, ``X-label1`` (background) and ``X-label2`` (reflection) for each name X; by default
        ``reflection_synthetic`` in the folder that the environment variable XFERLIB_DATA names.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, no input in it, or an input lacks a layer.

    References
    ----------
    Fan, Yang, Hua, Chen, Wipf, "A Generic Deep Architecture for Single Image Reflection Removal and Image Smoothing",
    ICCV 2017.
    """

    def __init__(self, root: str | os.PathLike | None = None) -> None:
        self.root = _root(root, "reflection_synthetic")
        self.paths = _pictures(self.root, "*-input.*")
        if not self.paths:
            raise FileNotFoundError(
                f"no pictures named X-input in {self.root.absolute()}. Expected beside each: X-label1 and X-label2. "
                "Pass their folder as root, or set XFERLIB_DATA to the folder that holds reflection_synthetic/"
            )
        self.label_paths = [tuple(self._layer(path, kind) for kind in ("label1", "label2")) for path in self.paths]

    def __len__(self) -> int:
        """Count the triples."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Read triple `index`."""
        paths = (self.paths[index], *self.label_paths[index])
        image, background, reflection = map(read, paths)
        for path, layer in zip(paths[1:], (background, reflection), strict=True):
            if layer.shape != image.shape:
                raise ImageError(
                    f"{path}: a layer of {tuple(layer.shape[1:])} does not fit its picture of "
                    f"{tuple(image.shape[1:])}; fetch both again"
                )
        return image, background, reflection

    @staticmethod
    def _layer(path: Path, kind: str) -> Path:
        found = path.with_name(f"{path.stem.removesuffix('input')}{kind}{path.suffix}")
        if not found.is_file():
            raise FileNotFoundError(f"{found}: no such file, a layer of {path}; fetch the set again")
        return found


def _part(name: str) -> str:
    return "train" if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 6 else "val"


def _root(root: str | os.PathLike | None, name: str) -> Path:
    if root is not None:
        return Path(root)
    folder = home()
    if folder is None:
        raise FileNotFoundError(
            f"XFERLIB_DATA is not set; set it to the folder that holds {name}/, or pass {name}/ as root"
        )
    return folder / name


def _pictures(folder: Path, pattern: str) -> list[Path]:
    found = (path for path in folder.glob(pattern) if path.suffix.lower() in SUFFIXES)
    shown = (path for path in found if not _hidden(path.relative_to(folder)))
    return sorted(path for path in shown if path.is_file())


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _resized(image: Tensor, labels: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    image = interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    numbers = interpolate(labels[None, None].to(torch.uint8), size, mode="nearest-exact")
    return image.clamp(0, 1), numbers[0, 0].long()
