"""Pictures and label maps in files: read whatever a person may bring, write what every program reads."""

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from PIL import Image, ImageCms, UnidentifiedImageError
from torch import Tensor

MAX_PIXELS = 2**27
"""Pixels above which a picture is refused unless the caller raises the limit; read, these take 1.6 GB."""

_EXIF_ORIENTATION = 0x0112
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
_VOID = 255
_DIM = 2**14 - 1
"""A picture of 16 bits that is no brighter has probably fewer bits."""

# Pillow's pixel limit and Python's warning filters belong to the whole process: one thread at a time.
_decoding = threading.Lock()


class ImageError(ValueError):
    """A picture that cannot be read or written; the message names the file, the cause and the way out."""


def read(path: str | os.PathLike, max_pixels: int = MAX_PIXELS, white: float | None = None) -> Tensor:
    """
    Read a picture of any common format as RGB.

    Parameters
    ----------
    path : str or path-like
        A PNG, JPEG, WebP, TIFF, GIF or any other file that Pillow decodes; of several frames the first.
    max_pixels : int, default MAX_PIXELS
        Refuse a picture with more pixels than this. A small file can hold a picture that fills the memory
        (a decompression bomb); raise the limit only for files you trust.
    white : float, optional
        The stored value that means white, as in `from_pil`.

    Returns
    -------
    Tensor, shape (3, H, W), float32
        The picture in [0, 1], turned upright as its EXIF orientation says.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImageError
        If the file is a folder, empty, cut short, too large or no picture.

    Notes
    -----
    Transparent pixels are laid over white. Grey pictures keep their 16 bits or floats; Pillow decodes 16-bit
    colour, and 16-bit grey with transparency, to 8 bits a channel. A picture of 8 bits that brings a colour profile
    other than sRGB's is converted to sRGB.
    """
    with _opened(path, max_pixels) as image:
        picture, mode = _converted(image, white), image.mode
    _warn_if_dim(picture, mode, white, os.fspath(path))
    return picture


def read_labels(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> Tensor:
    """
    Read a label map: the stored numbers of an indexed or grey picture.

    Parameters
    ----------
    path : str or path-like
        A file without lossy compression, such as an indexed PNG or a grey PNG of 8 or 16 bits.
    max_pixels : int, default MAX_PIXELS
        Refuse a picture with more pixels than this.

    Returns
    -------
    Tensor, shape (H, W), int64
        The class number of each pixel. The palette and the EXIF orientation are not looked at.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImageError
        If the file cannot be read as a picture, holds colours instead of numbers, or is a JPEG.
    """
    with _opened(path, max_pixels) as image:
        if image.format in ("JPEG", "MPO"):
            raise ImageError("JPEG alters class numbers; keep labels as PNG")
        if image.mode not in ("1", "L", "P", "I") and not image.mode.startswith("I;16"):
            raise ImageError(f"mode {image.mode} holds colours, not class numbers; save them as an indexed or grey PNG")
        numbers = np.array(image).astype(np.int64)
        if image.format == "PNG" and image.mode == "L":
            numbers //= 255 // (2 ** _bit_depth(path) - 1)  # Pillow spreads fewer than 8 bits over 0 to 255
        return torch.from_numpy(numbers)


def _bit_depth(path: str | os.PathLike) -> int:
    """Read the bits of a PNG's channel out of its header."""
    with Path(path).open("rb") as file:
        return file.read(25)[24]


def from_pil(image: Image.Image, white: float | None = None) -> Tensor:
    """
    Convert a Pillow picture of any mode to RGB.

    Parameters
    ----------
    image : PIL.Image.Image
        The picture; it is not changed. Its colour profile counts as in `read`.
    white : float, optional
        The stored value that means white in a mode without a fixed range. The default is 65535 for integers
        of 16 or 32 bits and 1 for floats; a 12-bit picture in a 16-bit file takes 4095, and warns without it.
        Modes of 8 bits ignore it.

    Returns
    -------
    Tensor, shape (3, H, W), float32
        The picture in [0, 1]: upright, and transparent pixels laid over white.

    Raises
    ------
    ImageError
        If ``white`` is not positive, or a pixel divided by it leaves [0, 1].
    """
    picture = _converted(image, white)
    _warn_if_dim(picture, image.mode, white, "this picture")
    return picture


def _converted(image: Image.Image, white: float | None) -> Tensor:
    image = _upright(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep_grey(image, white)
    if image.has_transparency_data:
        rgba = _unit(_in_srgb(image.convert("RGBA")))
        return rgba[:3] * rgba[3] + (1 - rgba[3])
    return _unit(_in_srgb(image if image.mode in ("CMYK", "L") else image.convert("RGB")).convert("RGB"))


def _in_srgb(image: Image.Image) -> Image.Image:
    """Convert colours that are not sRGB's; a profile that cannot be read or does not fit is passed over."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(given).lower()
        if "srgb" in name and "linear" not in name and "g10" not in name:
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        return ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return image


def to_pil(image: Tensor) -> Image.Image:
    """
    Convert a picture to an 8-bit Pillow picture.

    Parameters
    ----------
    image : Tensor, shape (3, H, W) or (1, H, W), floating point
        RGB or grey in [0, 1]. Values beyond are clamped, and the 256 levels are rounded to the nearest.

    Returns
    -------
    PIL.Image.Image
        The picture, mode RGB or L.

    Raises
    ------
    ImageError
        If the tensor is not of this shape, not floating point, or holds a value that is not finite.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise ImageError(
            f"shape {tuple(image.shape)} is not (3, H, W) or (1, H, W); for a batch, take one picture: batch[0]"
        )
    if not image.is_floating_point():
        raise ImageError(f"{image.dtype} is not floating point; for 0..255 divide by 255 first")
    image = image.detach().cpu().float()
    if not image.isfinite().all():
        bad = int((~image.isfinite()).sum())
        raise ImageError(f"{bad} of {image.numel()} values are nan or infinite; see torch.nan_to_num")
    levels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray((levels[0] if len(levels) == 1 else levels.permute(1, 2, 0)).contiguous().numpy())


def write(path: str | os.PathLike, image: Tensor, quality: int = 95) -> None:
    """
    Write a picture; a reader never sees half a file.

    Parameters
    ----------
    path : str or path-like
        Where to. The suffix gives the format: .png, .jpg, .jpeg, .webp, .tif or .tiff.
    image : Tensor, shape (3, H, W) or (1, H, W), floating point
        RGB or grey in [0, 1], clamped and rounded to 8 bits as by `to_pil`.
    quality : int, default 95
        Of JPEG and WebP, 1 to 100. PNG and TIFF keep every pixel.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ImageError
        If the suffix or the picture is not as above, or the format cannot hold a picture of this size.
    """
    path = Path(path)
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise ImageError(f"{path}: unknown suffix {path.suffix!r}; use one of {', '.join(_FORMATS)}")
    if not 1 <= quality <= 100:
        raise ImageError(f"{path}: quality {quality} is not in 1 to 100")
    try:
        picture = to_pil(image)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    options = {"quality": quality} if form in ("JPEG", "WEBP") else {}
    _save(picture, path, form, **options)


def write_labels(path: str | os.PathLike, labels: Tensor, palette: np.ndarray) -> None:
    """
    Write a label map as an indexed PNG, whose pixel values are the class numbers.

    Parameters
    ----------
    path : str or path-like
        Where to, with the suffix .png.
    labels : Tensor of int, shape (H, W)
        Class numbers, each with a colour in the palette, or 255 for void.
    palette : numpy.ndarray, shape (C, 3), uint8
        The colour of each class. Void is black unless the palette has 256 colours.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ImageError
        If the suffix, the labels or the palette are not as above.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ImageError(f"{path}: labels are written as .png, not {path.suffix!r}; others may alter the numbers")
    try:
        colours = _full_palette(palette)
        picture = Image.fromarray(_indices(labels, len(palette)))
        picture.putpalette(colours.tobytes())
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    _save(picture, path, "PNG")


def write_numbers(path: str | os.PathLike, numbers: Tensor) -> None:
    """
    Write an instance map as a grey PNG of 16 bits, whose pixel values are the numbers of the objects.

    Parameters
    ----------
    path : str or path-like
        Where to, with the suffix .png.
    numbers : Tensor of int, shape (H, W)
        Number of the object at each pixel, from 0 to 65535.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ImageError
        If the suffix or the map is not as above.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ImageError(f"{path}: numbers are written as .png, not {path.suffix!r}; others may alter them")
    if numbers.ndim != 2 or numbers.numel() == 0 or numbers.is_floating_point() or numbers.dtype == torch.bool:
        raise ImageError(f"{path}: numbers of shape {tuple(numbers.shape)}, {numbers.dtype}, are not (H, W) integers")
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high > 65535:
        raise ImageError(f"{path}: numbers from {low} to {high} do not fit 16 bits; number the objects from 1")
    _save(Image.fromarray(numbers.detach().cpu().numpy().astype(np.uint16)), path, "PNG")


def _indices(labels: Tensor, num_classes: int) -> np.ndarray:
    if labels.ndim != 2 or labels.numel() == 0:
        raise ImageError(f"labels of shape {tuple(labels.shape)} are not (H, W)")
    if labels.is_floating_point() or labels.is_complex():
        raise ImageError(f"labels are {labels.dtype}, not integers; for logits take argmax first")
    labels = labels.detach().cpu().long()
    wrong = labels[((labels < 0) | (labels >= num_classes)) & (labels != _VOID)]
    if len(wrong):
        raise ImageError(f"label {int(wrong[0])} has no colour: the palette has {num_classes}, and {_VOID} is void")
    return labels.to(torch.uint8).numpy()


def _full_palette(palette: np.ndarray) -> np.ndarray:
    palette = np.asarray(palette)
    if palette.ndim != 2 or palette.shape[1] != 3 or len(palette) > 256 or palette.dtype != np.uint8:
        raise ImageError(f"palette of shape {palette.shape}, {palette.dtype}, is not (C <= 256, 3), uint8")
    full = np.zeros((256, 3), np.uint8)
    full[: len(palette)] = palette
    return full


def _unit(image: Image.Image) -> Tensor:
    return torch.tensor(np.asarray(image)).permute(2, 0, 1) / 255


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # a TIFF is turned, and says so, only then
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a picture with damaged EXIF is still a picture
        orientation = 1
    return image.transpose(_TRANSPOSES[orientation]) if orientation in _TRANSPOSES else image


def _deep_grey(image: Image.Image, white: float | None) -> Tensor:
    stored = np.asarray(image).astype(np.float64)
    low, high = stored.min(), stored.max()
    if white is None:
        white = 1.0 if image.mode == "F" else 65535.0
    if not white > 0:
        raise ImageError(f"white={white} is not positive")
    if not (low >= 0 and high <= white):
        raise ImageError(
            f"mode {image.mode} runs from {low:g} to {high:g}, not within 0 to {white:g}; give white=, or "
            "--white, the value that means white; no pixel may be negative or nan"
        )
    grey = stored / white
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[stored == transparent] = 1
    return torch.from_numpy(grey).float().repeat(3, 1, 1)


def _warn_if_dim(picture: Tensor, mode: str, white: float | None, name: str) -> None:
    if white is not None or not (mode == "I" or mode.startswith("I;16")):
        return
    brightest = round(picture.max().item() * 65535)
    if 0 < brightest <= _DIM:
        bits = brightest.bit_length()
        warnings.warn(
            f"the brightest pixel of {name} is {brightest} of 65535: if its camera has {bits} bits, give "
            f"white={2**bits - 1}, or --white {2**bits - 1}",
            stacklevel=3,
        )


@contextmanager
def _opened(path: str | os.PathLike, max_pixels: int) -> Iterator[Image.Image]:
    """Open and decode; whatever goes wrong inside the block becomes an ImageError that names the file."""
    path = Path(path)
    _check_file(path)
    try:
        # Opened here and not by name: from a name, Pillow maps a turned TIFF with its sides confused.
        with _strict_pillow(max_pixels), path.open("rb") as file, Image.open(file) as image:
            image.load()
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{path}: more than {max_pixels} pixels, perhaps a decompression bomb ({error}); if you "
            "trust the file, read it with xferlib.data.images.read(path, max_pixels=...)"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path}: not a picture that Pillow can read; convert it to PNG or JPEG (HEIC needs that, too)"
        ) from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # on broken files Pillow's decoders raise errors of a dozen kinds
        raise ImageError(f"{path}: damaged or cut short ({error}); fetch or export it again") from error


def _check_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        folder = path.absolute().parent
        known = "though its folder is there" if folder.is_dir() else f"nor is there a folder {folder}"
        raise FileNotFoundError(f"{path}: no such file, {known}; check the spelling") from None
    if path.is_dir():
        raise ImageError(f"{path}: a folder, not a picture; see xferlib.data.benchmarks.ImageFolder")
    if size == 0:
        raise ImageError(f"{path}: the file is empty; fetch or export it again")
    if not os.access(path, os.R_OK):
        raise ImageError(f"{path}: no permission to read the file; see its owner and mode")


@contextmanager
def _strict_pillow(max_pixels: int) -> Iterator[None]:
    """Let Pillow raise on more than `max_pixels`, and keep its other warnings to itself."""
    with _decoding, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _save(picture: Image.Image, path: Path, form: str, **options: int) -> None:
    """Save beside the target under a name of its own, then rename, which happens whole or not at all."""
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.absolute().parent}; make it first")
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            picture.save(file, form, **options)
        temporary.replace(path)
    except Exception as error:  # Pillow's encoders raise errors of several kinds
        raise ImageError(f"{path}: {form} of {picture.width} x {picture.height} not written ({error})") from error
    finally:
        temporary.unlink(missing_ok=True)
