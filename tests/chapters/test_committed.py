"""The committed notebooks as files: executed, in order, small, described. Needs no kernel."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tools import notebooks
from xferlib import claims
from xferlib.train import recipes

MAX_BYTES = 2 * 2**20
MAX_LINES = 25
MEDIAN_LINES = 6
SECONDS, SECONDS_IN_ALL = 60, 480
PICTURES = {"image/png", "image/jpeg", "image/svg+xml"}

PATHS = sorted(notebooks.CHAPTERS.glob("*.ipynb"))


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def cells(path):
    return notebooks.code_cells(notebooks.read(path))


def outputs(cell, kind):
    return [output for output in cell.outputs if output.output_type == kind]


def test_there_are_chapters_and_the_contents_list_them_all():
    assert PATHS
    assert set(PATHS) == set(notebooks.chapter_paths())


def test_small(path):
    assert path.stat().st_size <= MAX_BYTES


def test_executed_from_top_to_bottom(cells):
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_quick():
    took = {path.stem: re.findall(r"This chapter took ≈(\d+) s\.", path.read_text("utf-8")) for path in PATHS}
    assert all(len(seconds) == 1 for seconds in took.values()), took
    times = {name: int(seconds) for name, (seconds,) in took.items()}
    assert max(times.values()) <= SECONDS and sum(times.values()) <= SECONDS_IN_ALL, times


def test_no_errors_and_nothing_on_stderr(cells):
    for cell in cells:
        if "raises-exception" not in cell.metadata.get("tags", []):
            assert not outputs(cell, "error"), cell.source
        assert all(output.name != "stderr" for output in outputs(cell, "stream")), cell.source


def test_short_cells(cells):
    lengths = sorted(len(cell.source.splitlines()) for cell in cells)
    assert lengths[-1] <= MAX_LINES
    assert lengths[len(lengths) // 2] <= MEDIAN_LINES


def test_figures_have_alt_text(cells):
    for cell in cells:
        drawn = [
            output
            for output in cell.outputs
            if PICTURES & set(output.get("data", {})) and "text/html" not in output.data
        ]
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        assert not drawn or len(alt.split()) >= 3, f"a figure without alt text:\n{cell.source}"


def test_written_by_make_chapters(path):
    notebook = notebooks.read(path)
    normal = notebooks.read(path)
    notebooks.normalise(normal)
    assert notebook == normal, "run `make chapters` before committing"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


def test_a_claim_by_recipe_names_a_command_that_there_is(path):
    commands = [claim.recipe for claim in claims.collect(path) if claim.recipe]
    for command in commands:
        program, name = command.rsplit(maxsplit=1)
        assert {"xferlib train": recipes.find, "python -m": find_spec}[program](name), command
    text = "\n".join(cell.source for cell in notebooks.read(path).cells if cell.cell_type == "markdown")
    assert ("while it ran, or by the recipe that it names:" in text) == bool(commands)


def test_ends_as_a_chapter_should(path):
    text = "\n".join(cell.source for cell in notebooks.read(path).cells if cell.cell_type == "markdown")
    headings = {line.lstrip("#").strip().lower() for line in text.splitlines() if line.startswith("## ")}
    for wanted in ("claims", "summary", "exercises", "further reading"):
        assert any(wanted in heading for heading in headings), f"no section on {wanted}"
