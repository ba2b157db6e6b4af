"""The cards of the shipped nets, made from the manifest and the records of their trainings, put into models.md."""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from statistics import median
from typing import Any

from tools.notebooks import ROOT
from xferlib.zoo.manifest import Row, rows

MARK = "<!-- the cards -->"


def page(template: str) -> str:
    """Put an overview and a card for every shipped net in place of the mark in the page's template."""
    if MARK not in template:
        raise ValueError(f"models.md has lost the line that the cards replace: {MARK}")
    nets = sorted(rows(), key=lambda row: (row.task, row.name))
    parts = [_overview(nets), *(card(net, record(net.name)) for net in nets)]
    return template.replace(MARK, "\n\n".join(parts))


def record(name: str) -> Mapping[str, Any]:
    """Read what is on record of a net's training; nothing where there is no record."""
    path = ROOT / "data" / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def card(net: Row, of: Mapping[str, Any]) -> str:
    """Describe one net: a heading, and a table of what is known."""
    lines = "\n".join(f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in _facts(net, of))
    table = f'<table class="table card-of-a-net">\n<tbody>\n{lines}\n</tbody></table>'
    return f'## {net.name}\n\n<div class="pst-scrollable-table-container">{table}</div>'


def _facts(net: Row, of: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "task", escape(net.task)
    yield "chapter", f'<a href="chapters/{net.chapter}.html">{escape(net.chapter.replace("_", " "))}</a>'
    yield "class", f"<code>xferlib.nets.{escape(net.net)}({escape(_call(net.arguments))})</code>"
    yield "size", f"{net.parameters:,} parameters, {net.bytes / 1e6:.1f} MB"
    if net.classes:
        yield "styles" if net.task == "style" else "classes", escape(", ".join(net.classes))
    yield "trained on", escape(net.data)
    yield "terms", escape(net.terms)
    yield "measured", "<br>".join(_figures(net.result))
    if net.views > 1:
        yield "views", f"{net.views} of a picture are averaged when it is applied, unless told otherwise"
    if net.pixels:
        *others, last = (f"{number:,}" for number in net.pixels)
        sizes = f"{', '.join(others)} and {last}" if others else last
        yield "sizes", f"a larger picture is reduced to {sizes} pixels for it, unless told otherwise"
    yield "cost", f"{_duration(net.cost['seconds'])} on {escape(net.cost['hardware'])}"
    if net.curve:
        yield "loss", _drawn(net.curve)
    steps = f", {of['steps']} steps" if "steps" in of else ""
    yield "made by", f"<code>xferlib train {escape(net.recipe)}</code>, seed {net.seed}{steps}{_commit(net.commit)}"
    yield "sha256", f"<code>{net.sha256}</code>"


def _call(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _figures(result: Mapping[str, Any]) -> Iterator[str]:
    """Give a line for the single figures and one for each table of them; tables of tables are left to the record."""
    single = {name: value for name, value in result.items() if not isinstance(value, (Mapping, list))}
    yield escape(_listed(single))
    for name, value in result.items():
        if isinstance(value, Mapping) and not any(isinstance(each, (Mapping, list)) for each in value.values()):
            yield f"{escape(name)}: {escape(_listed(value))}"


def _listed(figures: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in figures.items()
    )


def _drawn(curve: Sequence[float]) -> str:
    """Draw losses from 0 up, as high as a line of text; what lies above twice their median is cut off."""
    top = min(max(curve), 2 * median(curve)) or 1
    across, down = 120 / max(len(curve) - 1, 1), 20 / top
    points = " ".join(f"{i * across:.1f},{down * (top - min(loss, top)):.1f}" for i, loss in enumerate(curve))
    return (
        '<svg class="xf-curve" viewBox="-1 -1 122 22" width="122" height="22" aria-hidden="true">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg> '
        f"from {curve[0]:.3g} to {curve[-1]:.3g}"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _commit(known: str | None) -> str:
    if not known:
        return ""
    commit, _, rest = known.partition(" ")
    return f", commit <code>{commit[:12]}</code>{' ' + escape(rest) if rest else ''}"


def _overview(nets: list[Row]) -> str:
    """List all nets in one table, each with a link to its card."""
    lines = []
    for net in nets:
        headline = escape(_listed(dict([*net.result.items()][:1])))
        cells = (f'<a href="#{net.name}">{net.name}</a>', escape(net.task), f"{net.bytes / 1e6:.1f} MB", headline)
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("net", "task", "size", "measured"))
    rows_of = "\n".join(lines)
    return (
        '<div class="pst-scrollable-table-container"><table class="table nets">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows_of}\n</tbody></table></div>"
    )
