"""Pictures side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike
from PIL import Image

from xferlib.viz import pictures
from xferlib.viz.style import INK

DENSITY = 2
"""Pixels of the picture for each pixel of the page, so that text is crisp on fine screens."""

_GAP, _CAPTION, _LINE = 8, 22, 19


def show(
    images: Mapping[str, Any] | Sequence[Any],
    titles: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    palette: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    width: int = 720,
) -> None:
    """
    Show pictures in a grid, as `grid` lays them out, in the notebook.

    Parameters
    ----------
    images : sequence, or mapping of title to image
        See `grid`.
    titles : sequence of str or None
        One an image, or one a column.
    columns : int or None
        Images in a row.
    palette : array_like of uint8, shape (C, 3), or None
        Colours of label maps.
    names : sequence of str or None
        Names of the classes; adds a legend.
    width : int
        Width on the page, in CSS pixels, at most.
    """
    from IPython.display import display

    sheet = grid(images, titles, columns=columns, palette=palette, names=names, width=width)
    file = pictures.encode(sheet, quality=80, dense=True)
    captions = ", ".join(images if isinstance(images, Mapping) else titles or ())
    text = f"{len(images)} picture{'s' * (len(images) != 1)}" + (f": {captions}" if captions else "")
    size = {"width": min(width, round(sheet.width / DENSITY))}
    display({file.mime: file.base64, "text/plain": text}, metadata={file.mime: size}, raw=True)


def grid(
    images: Mapping[str, Any] | Sequence[Any],
    titles: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    palette: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    width: int = 720,
) -> Image.Image:
    """
    Lay pictures out in a grid.

    Small images are enlarged by a whole factor without smoothing, so that their pixels can be seen, but to at
    most twice the width of their place in height; images too large for their place are reduced.

    Parameters
    ----------
    images : sequence, or mapping of title to image
        Images ``(3, H, W)``, ``(1, H, W)`` or ``(H, W)`` of floats in [0, 1], label maps ``(H, W)`` of
        integers, figures or PIL images.
    titles : sequence of str or None
        One an image, or one a column.
    columns : int or None
        Images in a row; None puts up to four in one.
    palette : array_like of uint8, shape (C, 3), or None
        Colours of label maps.
    names : sequence of str or None
        Names of the classes; adds a legend of those in the label maps.
    width : int
        Width on the page, in CSS pixels, at most.

    Returns
    -------
    PIL.Image.Image
        The sheet, `DENSITY` times as wide as it should be shown.

    Raises
    ------
    ValueError
        If there is no image, the titles fit neither images nor columns, or names come without a palette.
    """
    if isinstance(images, Mapping):
        images, titles = list(images.values()), list(images)
    if not len(images):
        raise ValueError("no image to show")
    columns = columns or min(len(images), 4)
    if titles is not None and len(titles) not in (len(images), columns):
        raise ValueError(f"{len(titles)} titles for {len(images)} images in {columns} columns; one each")
    if names is not None and (palette is None or len(names) != len(palette)):
        raise ValueError(f"{len(names)} names need a palette of as many colours")
    place = (DENSITY * (width - (columns - 1) * _GAP)) // columns
    cells = [_fitted(image, palette, place) for image in images]
    entries = _present(images, names, palette) if names is not None else []
    return _Sheet(cells, columns, list(titles or ()), entries).drawn()


class _Sheet:
    """The layout of a grid, in device pixels from the top left."""

    def __init__(
        self,
        cells: list[Image.Image],
        columns: int,
        titles: list[str],
        entries: list[tuple[str, np.ndarray]],
    ) -> None:
        self.cells, self.columns, self.titles, self.entries = cells, columns, titles, entries
        rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
        self.cell_width = max(cell.width for cell in cells)
        self.row_heights = [max(cell.height for cell in row) for row in rows]
        self.captions = [DENSITY * _CAPTION * self._has_titles(i) for i in range(len(rows))]
        gap = DENSITY * _GAP
        self.width = columns * self.cell_width + (columns - 1) * gap
        self.legend_columns = max(1, min(len(entries), self.width // (DENSITY * 96)))
        legend_rows = -(-len(entries) // self.legend_columns) if entries else 0
        self.grid_height = sum(self.row_heights) + sum(self.captions) + (len(rows) - 1) * gap
        self.height = self.grid_height + legend_rows * DENSITY * _LINE + (gap if entries else 0)

    def _has_titles(self, row: int) -> bool:
        return bool(self.titles) and (row == 0 or len(self.titles) == len(self.cells))

    def drawn(self) -> Image.Image:
        dpi = 72 * DENSITY
        self.figure = Figure(figsize=(self.width / dpi, self.height / dpi), dpi=dpi, facecolor="white")
        canvas = FigureCanvasAgg(self.figure)
        top = 0
        for row, height in enumerate(self.row_heights):
            top += self.captions[row]
            for column in range(self.columns):
                self._place(row * self.columns + column, column, top, height, bool(self.captions[row]))
            top += height + DENSITY * _GAP
        for index, (name, color) in enumerate(self.entries):
            self._entry(index, name, color)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())

    def _place(self, index: int, column: int, top: int, height: int, titled: bool) -> None:
        if index >= len(self.cells):
            return
        cell = self.cells[index]
        left = column * (self.cell_width + DENSITY * _GAP)
        x, y = left + (self.cell_width - cell.width) // 2, top + (height - cell.height) // 2
        self.figure.figimage(np.asarray(cell), x, self.height - y - cell.height)
        if titled:
            self._write(left + self.cell_width / 2, top - DENSITY * 6, self.titles[index], 13, ha="center")

    def _entry(self, index: int, name: str, color: np.ndarray) -> None:
        row, column = divmod(index, self.legend_columns)
        x = column * self.width / self.legend_columns
        y = self.grid_height + DENSITY * (_GAP + row * _LINE + 13)
        box = Rectangle(
            (x, self.height - y),
            DENSITY * 14,
            DENSITY * 10,
            facecolor=color / 255,
            edgecolor="0.4",
            linewidth=0.5,
            transform=None,
        )
        self.figure.add_artist(box)
        self._write(x + DENSITY * 19, y, name, 12)

    def _write(self, x: float, y: float, text: str, size: float, **options: Any) -> None:
        self.figure.text(x, self.height - y, text, fontsize=size, color=INK, transform=None, va="baseline", **options)


def _fitted(image: Any, palette: ArrayLike | None, place: int) -> Image.Image:
    """Enlarge a picture by a whole factor to about the place it has, at most twice as high, or reduce it to that."""
    picture = pictures.picture(image, palette)
    if picture.width > place:
        size = (place, max(1, round(picture.height * place / picture.width)))
        smooth = Image.Resampling.NEAREST if pictures.is_labels(image) else Image.Resampling.LANCZOS
        return picture.resize(size, smooth)
    factor = max(1, min(round(place / picture.width), 2 * place // picture.height))
    return picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST)


def _present(images: Sequence[Any], names: Sequence[str], palette: ArrayLike) -> list[tuple[str, np.ndarray]]:
    maps = [torch.as_tensor(image).cpu().numpy() for image in images if pictures.is_labels(image)]
    found = np.unique(np.concatenate([labels.ravel() for labels in maps])) if maps else range(len(names))
    return [(names[int(i)], np.asarray(palette)[int(i)]) for i in found if i < len(names)]
