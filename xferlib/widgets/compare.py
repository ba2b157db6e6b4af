"""Two pictures over each other with a divider to drag."""

import html
from typing import Any

import ipywidgets
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from xferlib.viz import pictures
from xferlib.widgets import live


def compare(
    before: Any,
    after: Any,
    *,
    alt: str,
    labels: tuple[str, str] = ("before", "after"),
    palette: ArrayLike | None = None,
    quality: int = 88,
) -> live.Live:
    """
    Lay one picture over another, with a divider that the reader drags.

    Parameters
    ----------
    before, after : Tensor, ndarray, Figure or PIL image
        Two pictures of the same size: images ``(3, H, W)`` in [0, 1] or label maps ``(H, W)`` of integers.
    alt : str
        What both show and how they differ, in words.
    labels : tuple of str
        Names of the two.
    palette : array_like of uint8, shape (C, 3), or None
        Colours of label maps.
    quality : int
        Quality of the pictures' JPEG, 1 to 95.

    Returns
    -------
    Live
        The widget; make it the last line of the cell.

    Raises
    ------
    ValueError
        If the pictures differ in size, or there are not two labels.
    """
    if len(labels) != 2:
        raise ValueError(f"{len(labels)} labels; give two, for before and after")
    pair = pictures.picture(before, palette), pictures.picture(after, palette)
    if pair[0].size != pair[1].size:
        sizes = " and ".join(f"{picture.height}×{picture.width}" for picture in pair)
        raise ValueError(f"pictures of {sizes} pixels; resize one to the other first")
    text = f"compare {labels[0]} with {labels[1]}: {alt}"
    return live.Live(_live(pair, labels, alt, quality), _page(pair, labels, alt, quality), text)


def _live(
    pair: tuple[Image.Image, Image.Image], labels: tuple[str, str], alt: str, quality: int
) -> list[ipywidgets.Widget]:
    size = live.page_size(*pair[0].size)

    def split(percent: int) -> str:
        uri = pictures.encode(_joined(pair, percent), quality).uri
        style = "max-width:100%;height:auto;image-rendering:pixelated"
        return live.figure(live.image(uri, f"{percent} % {labels[0]}. {alt}", size, style), alt)

    output = ipywidgets.HTML(split(50))
    slider = ipywidgets.IntSlider(50, 0, 100, description=f"% {labels[0]}")
    slider.observe(lambda change: setattr(output, "value", split(change["new"])), "value")
    return [output, slider]


def _joined(pair: tuple[Image.Image, Image.Image], percent: int) -> Image.Image:
    """Take the left part of the first picture and the right part of the second."""
    joined, (width, height) = pair[1].copy(), pair[1].size
    edge = round(width * percent / 100)
    joined.paste(pair[0].crop((0, 0, edge, height)), (0, 0))
    if 0 < edge < width:
        ImageDraw.Draw(joined).line([(edge, 0), (edge, height)], fill="white", width=max(1, width // 200))
    return joined


def _page(pair: tuple[Image.Image, Image.Image], labels: tuple[str, str], alt: str, quality: int) -> str:
    size = live.page_size(*pair[0].size)
    sides = "".join(
        f'<div class="xf-side">{live.image(pictures.encode(picture, quality).uri, f"{label}: {alt}", size)}'
        f'<span class="xf-tag" aria-hidden="true">{html.escape(label)}</span></div>'
        for picture, label in zip(pair, labels, strict=True)
    )
    name = html.escape(f"Divider between {labels[0]} and {labels[1]}")
    first = html.escape(labels[0])
    return (
        f'<figure class="xf-widget xf-compare" data-xf="compare"><div class="xf-pair">{sides}'
        f'<input type="range" min="0" max="100" step="1" value="50" autocomplete="off" hidden'
        f' aria-label="{name}" aria-valuetext="50 % {first}" data-label="{first}"></div>'
        f"<figcaption>{html.escape(alt)}</figcaption></figure>"
    )
