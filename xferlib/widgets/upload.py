"""A shipped net on the reader's own picture, in JupyterLab."""

import html
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path

import ipywidgets
from torch import Tensor

from xferlib import viz, zoo
from xferlib.data import images
from xferlib.viz import pictures
from xferlib.widgets import live
from xferlib.widgets.compare import compare
from xferlib.zoo.inference import PICTURES


def upload(name: str, *, styles: Mapping[str, float] | None = None) -> live.Live:
    """
    Let the reader choose a picture, apply a net to it, and show it before and after.

    Parameters
    ----------
    name : str
        Name of the net, as `xferlib.zoo.rows` lists it.
    styles : mapping of str to float, optional
        For a net of several styles, as `xferlib.apply` takes it.

    Returns
    -------
    Live
        The widget; make it the last line of the cell. It needs a kernel: a static page shows a sentence.

    Raises
    ------
    ZooError
        If there is no such net.
    """
    row = zoo.row(name)
    button = ipywidgets.FileUpload(accept="image/*", multiple=False, description="Choose a picture")
    button.layout.width = "auto"
    result = ipywidgets.VBox([ipywidgets.HTML(f"Its {html.escape(row.task)} by {html.escape(name)} appears here.")])

    def show(change: Mapping[str, object]) -> None:
        if not change["new"]:
            return
        (file,) = change["new"]
        result.children = [ipywidgets.HTML("Working …")]
        try:
            result.children = _shown(row, file["name"], bytes(file["content"]), styles)
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            result.children = [ipywidgets.HTML(f'<p role="alert">{html.escape(str(error))}</p>')]

    button.observe(show, "value")
    sentence = f"Open this page in JupyterLab to apply {name} to a picture of your own."
    return live.Live([button, result], f"<p>{html.escape(sentence)}</p>", sentence)


def _shown(row: zoo.Row, file: str, content: bytes, styles: Mapping[str, float] | None) -> list[ipywidgets.Widget]:
    image = _read(file, content)
    found = zoo.apply(row.name, image, styles=styles)
    after = found if row.task in PICTURES else viz.found(row, image, found)
    before = image if after.shape == image.shape else _enlarged(image, after)
    divider = compare(before, after, alt=f"{file} and what {row.name} makes of it.")
    return [*divider.children, ipywidgets.HTML(_link(after, f"{Path(file).stem}-{row.name}.png"))]


def _read(file: str, content: bytes) -> Tensor:
    """Read an uploaded picture as a file is read, with the same checks and messages."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, Path(file).name or "picture")
        path.write_bytes(content)
        try:
            return images.read(path)
        except (ValueError, OSError) as error:
            raise ValueError(str(error).replace(str(path), Path(file).name)) from error


def _enlarged(image: Tensor, like: Tensor) -> Tensor:
    picture = images.to_pil(image).resize((like.shape[-1], like.shape[-2]))
    return images.from_pil(picture)


def _link(picture: Tensor, name: str) -> str:
    buffer = io.BytesIO()
    images.to_pil(picture).save(buffer, "PNG")
    uri = pictures.File("image/png", buffer.getvalue()).uri
    return f'<a download="{html.escape(name)}" href="{uri}">Save {html.escape(name)}</a>'
