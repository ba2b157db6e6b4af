"""What both widgets are: a live widget and, for a page without a kernel, HTML."""

import html
from typing import Any

import ipywidgets


class Live(ipywidgets.VBox):
    """
    A widget that also carries HTML: JupyterLab takes the live view, the static page the HTML.

    Parameters
    ----------
    children : list of ipywidgets.Widget
        The parts of the live view.
    page : str
        The HTML for the static page, without any script of its own.
    text : str
        What stands where neither can be shown.
    """

    def __init__(self, children: list[ipywidgets.Widget], page: str, text: str) -> None:
        super().__init__(children)
        self.page = page
        self.text = text

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        data = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/html": self.page, "text/plain": self.text}


def figure(content: str, caption: str) -> str:
    """
    Give the HTML of a figure that brings its own style, for the live view, where no style sheet of ours is.

    Parameters
    ----------
    content : str
        HTML.
    caption : str
        Text below, announced to screen readers when it changes.

    Returns
    -------
    str
        HTML.
    """
    words = html.escape(caption)
    below = f'<figcaption aria-live="polite" style="margin-top:0.4em;line-height:1.4">{words}</figcaption>'
    return f'<figure style="margin:0.5em 0">{content}{below}</figure>'


def image(uri: str, alt: str, size: tuple[int, int], style: str = "") -> str:
    """
    Give the HTML of a picture.

    Parameters
    ----------
    uri : str
        Its address.
    alt : str
        What it shows.
    size : tuple of int
        Width and height on the page, in CSS pixels.
    style : str
        CSS, for the live view.

    Returns
    -------
    str
        HTML.
    """
    style = f' style="{style}"' if style else ""
    return (
        f'<img class="xf-frame dark-light" src="{uri}" alt="{html.escape(alt)}"'
        f' width="{size[0]}" height="{size[1]}"{style}>'
    )


def page_size(width: int, height: int, most: int = 640) -> tuple[int, int]:
    """
    Choose how large a picture stands on the page: enlarged by a whole factor while it fits.

    Parameters
    ----------
    width, height : int
        Size of the picture in pixels.
    most : int
        Width, and half the height, that are not passed by enlarging, in CSS pixels.

    Returns
    -------
    tuple of int
        Width and height in CSS pixels.
    """
    factor = max(1, min(most // width, 2 * most // height))
    return factor * width, factor * height
