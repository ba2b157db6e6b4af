"""A picture with controls: every setting rendered once, for a page that has no kernel."""

import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from numbers import Real
from typing import Any

import ipywidgets
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from xferlib.viz import pictures
from xferlib.widgets import live

MOST_FRAMES = 200
MOST_BYTES = 1_500_000


@dataclass(frozen=True)
class Control:
    """
    One thing that the reader can change.

    Parameters
    ----------
    name : str
        Name of the argument of ``render``.
    labels : tuple of str
        What the reader sees for each value.
    values : tuple
        What ``render`` gets.
    """

    name: str
    labels: tuple[str, ...]
    values: tuple[Any, ...]

    @property
    def title(self) -> str:
        """The name as the reader sees it."""
        return self.name.replace("_", " ")

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers in a row, which a slider shows best."""
        return all(isinstance(v, Real) and not isinstance(v, bool) for v in self.values)


@dataclass(frozen=True)
class Frame:
    """
    What is shown for one setting: a picture, or HTML.

    Parameters
    ----------
    content : str
        Address of the picture, or the HTML.
    alt : str
        What it shows.
    size : tuple of int or None
        Width and height on the page in CSS pixels; None for HTML.
    """

    content: str
    alt: str
    size: tuple[int, int] | None

    def shown(self, style: str = "") -> str:
        """
        Give the frame as HTML.

        Parameters
        ----------
        style : str
            CSS of the picture, for the live view.

        Returns
        -------
        str
            HTML.
        """
        if self.size is None:
            return f'<div class="xf-html">{self.content}</div>'
        return live.image(self.content, self.alt, self.size, style)


def explore(
    render: Callable[..., Any],
    *,
    alt: str | Callable[..., str],
    palette: ArrayLike | None = None,
    quality: int = 85,
    **controls: Sequence[Any] | Mapping[str, Any],
) -> live.Live:
    """
    Let the reader change arguments of a function and see what it draws.

    In JupyterLab the function runs again at each change. For the static page it runs once here for every
    setting.

    Parameters
    ----------
    render : callable
        Called with one value of each control, by name. Returns an image ``(3, H, W)`` in [0, 1], a label map
        ``(H, W)`` of integers, a matplotlib figure, a PIL image, or HTML as a str.
    alt : str or callable
        What the picture shows, in words; a callable gets the values as ``render`` does.
    palette : array_like of uint8, shape (C, 3), or None
        Colours of label maps.
    quality : int
        Quality of the pictures' JPEG, 1 to 95.
    **controls : sequence, or mapping of str to value
        Values of each argument: numbers give a slider, all else a menu; a mapping gives each value a label.
        The first value of each is shown first.

    Returns
    -------
    Live
        The widget; make it the last line of the cell.

    Raises
    ------
    ValueError
        If there is no control or one without values, there are more than 200 settings, their frames take more
        than 1.5 MB, or only some of them are pictures.
    TypeError
        If ``render`` returns something that cannot be shown.
    """
    chosen = [_control(name, values) for name, values in controls.items()]
    if not chosen:
        raise ValueError("no control; give at least one, such as weight=[0, 0.5, 1]")
    count = prod(len(control.values) for control in chosen)
    if count > MOST_FRAMES:
        sizes = " × ".join(f"{len(control.values)} {control.name}" for control in chosen)
        raise ValueError(f"{sizes} make {count} frames, over {MOST_FRAMES}; give fewer values")

    def frame(*values: Any) -> Frame:
        settings = {control.name: value for control, value in zip(chosen, values, strict=True)}
        words = alt(**settings) if callable(alt) else alt
        return _frame(render(**settings), words, palette, quality)

    frames = _all_frames(frame, chosen, count)
    settings = ", ".join(f"{control.title} ({len(control.values)})" for control in chosen)
    text = f"explore {settings}: {frames[0].alt}"
    return live.Live(_live(chosen, frames[0], frame), _page(chosen, frames), text)


def _all_frames(frame: Callable[..., Frame], controls: list[Control], count: int) -> list[Frame]:
    frames: list[Frame] = []
    sizes: dict[str, int] = {}
    for values in product(*(control.values for control in controls)):
        frames.append(frame(*values))
        sizes[frames[-1].content] = len(frames[-1].content)
        if (used := sum(sizes.values())) > MOST_BYTES:
            raise ValueError(
                f"{len(frames)} of {count} frames already take {used / 1e6:.1f} MB, over {MOST_BYTES / 1e6}; "
                "give fewer values, smaller pictures or a lower quality"
            )
    if len({frame.size is None for frame in frames}) > 1:
        raise ValueError("render gives HTML for some settings and pictures for others; give one of them")
    return frames


def _control(name: str, values: Sequence[Any] | Mapping[str, Any]) -> Control:
    if isinstance(values, str) or not len(values):
        raise ValueError(f"control {name!r} is {values!r}; give the values to choose from, such as [1, 2, 4]")
    if isinstance(values, Mapping):
        return Control(name, tuple(map(str, values)), tuple(values.values()))
    return Control(name, tuple(map(_label, values)), tuple(values))


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _frame(result: Any, alt: str, palette: ArrayLike | None, quality: int) -> Frame:
    if isinstance(result, str):
        return Frame(result, alt, None)
    density = pictures.FIGURE_DPI / 96 if isinstance(result, Figure) else None
    picture = pictures.picture(result, palette)
    if density:
        size = round(picture.width / density), round(picture.height / density)
    else:
        size = live.page_size(*picture.size)
    return Frame(pictures.encode(picture, quality).uri, alt, size)


def _live(controls: list[Control], first: Frame, frame: Callable[..., Frame]) -> list[ipywidgets.Widget]:
    """Give the parts of the live view, wired to render again at each change."""
    output = ipywidgets.HTML(_live_html(first))
    inputs = []
    for control in controls:
        make = ipywidgets.SelectionSlider if control.numeric else ipywidgets.Dropdown
        options = list(zip(control.labels, range(len(control.values)), strict=True))
        style = {"description_width": "initial"}
        inputs.append(make(options=options, value=0, description=control.title, style=style))

    def update(_: Any) -> None:
        values = [control.values[choice.value] for control, choice in zip(controls, inputs, strict=True)]
        output.value = _live_html(frame(*values))

    for choice in inputs:
        choice.observe(update, "value")
    return [output, *inputs]


def _live_html(frame: Frame) -> str:
    return live.figure(frame.shown("max-width:100%;height:auto;image-rendering:pixelated"), frame.alt)


def _page(controls: list[Control], frames: list[Frame]) -> str:
    """Give the HTML of the static page: the first frame, the controls and all frames, for widgets.js."""
    inputs = "".join(_slider(control) if control.numeric else _menu(control) for control in controls)
    return (
        '<figure class="xf-widget xf-explore" data-xf="explore">'
        f'<div class="xf-stage">{frames[0].shown()}</div>'
        f'<div class="xf-controls" hidden>{inputs}</div>'
        f'<figcaption aria-live="polite">{html.escape(frames[0].alt)}</figcaption>'
        f'<div class="xf-frames" hidden>{"".join(_stored(frames))}</div></figure>'
    )


def _slider(control: Control) -> str:
    labels = html.escape(json.dumps(control.labels, ensure_ascii=False))
    first, width = html.escape(control.labels[0]), max(map(len, control.labels))
    return (
        f'<div class="xf-control"><label><span>{html.escape(control.title)}</span>'
        f'<input type="range" min="0" max="{len(control.values) - 1}" step="1" value="0" autocomplete="off"'
        f' aria-valuetext="{first}" data-labels="{labels}"></label>'
        f'<span class="xf-value" aria-hidden="true" style="min-width:{width}ch">{first}</span></div>'
    )


def _menu(control: Control) -> str:
    options = "".join(f"<option>{html.escape(label)}</option>" for label in control.labels)
    return (
        f'<div class="xf-control"><label><span>{html.escape(control.title)}</span>'
        f'<select autocomplete="off">{options}</select></label></div>'
    )


def _stored(frames: list[Frame]) -> list[str]:
    """Give one element a frame; a picture that an earlier frame has is a reference to it, such as #3."""
    seen: dict[str, int] = {}
    stored = []
    for number, frame in enumerate(frames):
        earlier = seen.setdefault(frame.content, number)
        alt = f' data-alt="{html.escape(frame.alt)}"'
        if frame.size is None:
            stored.append(f'<i{alt} data-html="{html.escape(frame.content)}"></i>')
            continue
        content = frame.content if earlier == number > 0 else f"#{earlier}"
        size = f' data-width="{frame.size[0]}" data-height="{frame.size[1]}"'
        stored.append(f'<i{alt}{size} data-frame="{content}"></i>')
    return stored
