"""What a reader may be shown, as picture files: tensors, label maps, figures."""

import io
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from xferlib.data import images
from xferlib.viz import masks

FIGURE_DPI = 144


@dataclass(frozen=True)
class File:
    """
    A picture in memory as a file.

    Parameters
    ----------
    mime : str
        ``"image/jpeg"`` or ``"image/png"``.
    data : bytes
        The file's content.
    """

    mime: str
    data: bytes

    @property
    def base64(self) -> str:
        """The content in base64, as notebooks store it."""
        return b64encode(self.data).decode()

    @property
    def uri(self) -> str:
        """The file as a ``data:`` address."""
        return f"data:{self.mime};base64,{self.base64}"


def is_labels(image: Any) -> bool:
    """
    Tell whether a value is a label map: two axes of integers.

    Parameters
    ----------
    image : object
        Any value.

    Returns
    -------
    bool
        True for an integer or boolean array or tensor of two axes.
    """
    if isinstance(image, Tensor):
        return image.ndim == 2 and not image.is_floating_point()
    return isinstance(image, np.ndarray) and image.ndim == 2 and image.dtype.kind in "iub"


def picture(image: Any, palette: ArrayLike | None = None) -> Image.Image:
    """
    Turn what a chapter computes into a picture.

    Parameters
    ----------
    image : Tensor, ndarray, Figure or PIL image
        RGB or grey ``(3, H, W)``, ``(1, H, W)`` or ``(H, W)`` as floats, clipped to [0, 1]; a label map
        ``(H, W)`` of integers; a matplotlib figure, which is closed; or a PIL image of any mode, its transparent pixels
        laid over white.
    palette : array_like of uint8, shape (C, 3), or None
        Colours of the labels; None chooses some.

    Returns
    -------
    PIL.Image.Image
        In mode RGB.

    Raises
    ------
    ValueError
        If the shape is none of these, or the image holds nan or infinity.
    TypeError
        If the value is none of these.
    """
    if isinstance(image, Image.Image):
        return images.to_pil(images.from_pil(image))
    if isinstance(image, Figure):
        return _drawn(image)
    if not isinstance(image, Tensor | np.ndarray):
        raise TypeError(f"cannot show a {type(image).__name__}; give a tensor, array, figure or picture")
    if is_labels(image):
        image = masks.colorize(image, _enough(image) if palette is None else palette)
    return _from_floats(torch.as_tensor(image).detach().cpu())


def encode(image: Image.Image, quality: int = 88, dense: bool = False) -> File:
    """
    Write a picture to memory as JPEG, or as PNG where that is smaller: photographs and flat colours.

    Parameters
    ----------
    image : PIL.Image.Image
        In mode RGB.
    quality : int
        Quality of the JPEG, 1 to 95.
    dense : bool
        Whether the picture has several pixels for one on the page, so that colour may be stored at half the
        resolution.

    Returns
    -------
    File
        The smaller of the two.
    """
    jpeg, png = io.BytesIO(), io.BytesIO()
    image.save(jpeg, "JPEG", quality=quality, subsampling=2 if dense else 0)
    image.save(png, "PNG", optimize=True)
    if png.tell() <= jpeg.tell():
        return File("image/png", png.getvalue())
    return File("image/jpeg", jpeg.getvalue())


def _enough(labels: Tensor | np.ndarray) -> np.ndarray:
    labels = torch.as_tensor(labels).long()
    known = labels[labels != masks.VOID]
    return masks.palette(int(known.max()) + 1 if known.numel() else 1)


def _from_floats(image: Tensor) -> Image.Image:
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3 or image.shape[0] not in (1, 3) or not image.is_floating_point():
        raise ValueError(
            f"cannot show shape {tuple(image.shape)} of {image.dtype}; "
            "give floats (3, H, W), (1, H, W) or (H, W), or labels (H, W)"
        )
    return images.to_pil(image.expand(3, -1, -1))


def _drawn(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=FIGURE_DPI)
    plt.close(figure)
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")
