"""The chapters as files: which there are, and how a committed notebook is written."""

import re
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = ROOT / "chapters"

_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_PROGRESS_BAR = re.compile(r"^[^\n]*\d+%\|[^\n]*$")


def toc_pages(toc: Path = ROOT / "_toc.yml") -> list[str]:
    """List every page of the table of contents, in reading order, without suffix."""

    def walk(node):
        if isinstance(node, dict):
            yield from (node[key] for key in ("root", "file") if key in node)
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for item in node:
                yield from walk(item)

    return list(walk(yaml.safe_load(toc.read_text(encoding="utf-8"))))


def chapter_paths(root: Path = ROOT) -> list[Path]:
    """List the notebooks of the table of contents, in reading order."""
    pages = (root / f"{page}.ipynb" for page in toc_pages(root / "_toc.yml"))
    return [path for path in pages if path.exists()]


def read(path: Path) -> nbformat.NotebookNode:
    """Read a notebook as format 4."""
    return nbformat.read(path, as_version=4)


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook, whole or not at all, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        nbformat.write(notebook, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """List the code cells that have something to run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def normalise(notebook: nbformat.NotebookNode) -> None:
    """
    Drop, in place, what differs between two equal runs: times, widget ids, the machine's Python.

    A live widget's view means nothing without its kernel; the static form of the same output stays.
    """
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(_WIDGET_VIEW, None)


def without_progress_bars(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop, in place, the outputs that are nothing but a finished progress bar; return the notebook."""

    def is_bar(output):
        data = output.get("data", {})
        return set(data) - {_WIDGET_VIEW} == {"text/plain"} and bool(_PROGRESS_BAR.match(data["text/plain"].strip()))

    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if not is_bar(output)]
    return notebook
