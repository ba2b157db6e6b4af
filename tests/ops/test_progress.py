"""Bars: shown where they are asked for, and else only in a terminal and after a while."""

from contextlib import redirect_stderr
from io import StringIO

import nbformat
import pytest
from nbclient import NotebookClient

from xferlib.ops import progress


class Stream(StringIO):
    """What stands in for a terminal, or for a file."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def shown(total: int, asked: bool | None, terminal: bool, unit: str = "tile") -> str:
    """Do some work in four steps, and give what was shown."""
    with redirect_stderr(Stream(terminal)) as stream, progress.bar(total, unit, asked) as bar:
        bar.mininterval = 0
        for _ in range(4):
            bar.update(total // 4)
    return stream.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("asked", [True, False])
def test_a_bar_is_shown_if_it_is_asked_for(asked, terminal):
    assert ("3/12 [" in shown(12, asked, terminal)) == asked


@pytest.mark.parametrize(("patience", "terminal", "seen"), [(0, True, True), (0, False, False), (60, True, False)])
def test_without_being_asked_only_a_terminal_shows_one_and_not_at_once(monkeypatch, patience, terminal, seen):
    monkeypatch.setattr(progress, "PATIENCE", patience)
    assert ("3/12 [" in shown(12, None, terminal)) == seen


@pytest.mark.parametrize("asked", [True, None])
def test_a_notebook_shows_only_a_bar_that_is_asked_for(asked):
    cell = f"""
from xferlib.ops import progress
progress.PATIENCE = 0
with progress.bar(12, "tile", {asked}) as bar:
    bar.update(3)
    bar.refresh()
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    NotebookClient(notebook, kernel_name="python3").execute()
    shown = [output.data["text/plain"] for output in notebook.cells[0].outputs if "data" in output]
    assert ["/12 [" in text for text in shown] == ([True] if asked else [])


def test_large_numbers_are_shortened():
    text = shown(12_000_000, True, True, "pixel")
    assert "3.00M/12.0M [" in text and "pixel/s" in text
