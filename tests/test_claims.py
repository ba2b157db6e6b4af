import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from xferlib import claims

ROOT = Path(__file__).parents[1]
ROW = {
    "id": "fcn-skips",
    "statement": "Each skip raises the mean IU.",
    "source": "Long et al. 2015, Table 2",
    "paper": "59.4 < 62.4",
    "ours": "≈0.41 < ≈0.43",
}


@pytest.fixture(autouse=True)
def _fresh_ids(monkeypatch):
    monkeypatch.setattr(claims, "_made", {})


def test_a_claim_that_holds_prints_one_line(capsys):
    claims.check(**ROW, holds=True)
    line = capsys.readouterr().out
    assert line == (
        "✓ fcn-skips: Each skip raises the mean IU. [Long et al. 2015, Table 2] "
        "paper: 59.4 < 62.4; ours: ≈0.41 < ≈0.43; holds\n"
    )


@pytest.mark.parametrize(("holds", "expected"), [(True, True), (True, False), (False, True), (False, False)])
def test_fails_exactly_when_the_text_is_wrong(capsys, holds, expected):
    if holds == expected:
        claims.check(**ROW, holds=holds, expected=expected)
    else:
        with pytest.raises(AssertionError, match="fcn-skips") as failure:
            claims.check(**ROW, holds=holds, expected=expected)
        assert failure.type is claims.ClaimFailed
    assert ("✓" if holds else "✗") in capsys.readouterr().out


def test_what_judges_truth_may_be_anything_with_a_truth_value(capsys):
    import numpy as np
    import torch

    claims.check(**ROW, holds=torch.tensor(2.0) > 1)
    claims.check(**ROW, holds=np.float32(2) > 1)
    with pytest.raises(claims.ClaimFailed):
        claims.check(**ROW, holds=float("nan") > 1)


def test_an_id_stands_for_one_statement(capsys):
    claims.check(**ROW, holds=True)
    claims.check(**ROW, holds=True)
    with pytest.raises(ValueError, match="already stands for 'Each skip raises"):
        claims.check(**ROW | {"statement": "Another."}, holds=True)


@pytest.mark.parametrize("id", ["", "FCN", "fcn skips", "-fcn", "fcn-", 'a"b', "fcn--skips"])
def test_ids_can_stand_in_an_address(id):
    with pytest.raises(ValueError, match="claim id"):
        claims.check(**ROW | {"id": id}, holds=True)


def test_figures_are_written_as_text():
    with pytest.raises(TypeError, match=r"ours is 0\.43"):
        claims.check(**ROW | {"ours": 0.43}, holds=True)


def test_html_is_escaped_and_can_be_linked_to():
    claim = claims.Claim(**ROW | {"statement": "a <b> & c"}, holds=False, expected=False, recipe="<x>")
    data, metadata = claim._repr_mimebundle_()
    assert "a &lt;b&gt; &amp; c" in data["text/html"]
    assert "<code>&lt;x&gt;</code>" in data["text/html"]
    assert 'id="claim-fcn-skips"' in data["text/html"]
    assert "does not hold here, as the text says" in data["text/html"]
    assert "59.4 &lt; 62.4" in data["text/html"]
    assert claims.Claim(**metadata[claims.MIME]) == claim
    json.dumps(metadata)


def write(path, *sources):
    cells = [nbformat.v4.new_markdown_cell("# Title"), *map(nbformat.v4.new_code_cell, sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def stored(path, *ids):
    """Write a notebook as if it had shown claims of these ids."""
    cells = []
    for id in ids:
        data, metadata = claims.Claim(**ROW | {"id": id}, holds=True)._repr_mimebundle_()
        output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
        cells.append(nbformat.v4.new_code_cell("...", execution_count=1, outputs=[output]))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_collect_keeps_the_order_and_names_the_notebook(tmp_path):
    paths = stored(tmp_path / "fcn.ipynb", "b", "a"), stored(tmp_path / "unet.ipynb", "c")
    assert [(c.id, c.notebook) for c in claims.collect(*paths)] == [("b", "fcn"), ("a", "fcn"), ("c", "unet")]


def test_collect_refuses_an_id_used_twice(tmp_path):
    with pytest.raises(ValueError, match="'a' is used twice, in fcn and fcn"):
        claims.collect(stored(tmp_path / "fcn.ipynb", "a", "a"))
    with pytest.raises(ValueError, match="'a' is used twice, in fcn and unet"):
        claims.collect(stored(tmp_path / "fcn.ipynb", "a"), stored(tmp_path / "unet.ipynb", "a"))


def test_collect_refuses_a_notebook_that_was_not_executed(tmp_path):
    with pytest.raises(ValueError, match=r"not executed: 'claims\.check"):
        claims.collect(write(tmp_path / "fcn.ipynb", "claims.check(1)"))


NOTEBOOK = (
    "import os, torch\nfrom xferlib import claims, widgets\nscore = float(os.environ['SCORE'])",
    "claims.check('unet-best', 'U-Net wins.', 'Table 1', '0.92 > 0.83', f'≈{score} > ≈0.1', score > 0.1)",
    "claims.check('unet-slow', 'It is slow.', 'section 5', 'none', '2 steps', False, False)",
    "widgets.explore(lambda gain: (gain * score * torch.ones(3, 8, 8)).sin().abs(), gain=[1, 2],\n"
    "    alt=lambda gain: f'Grey at gain {gain}, mean ≈{gain * score}.')",
)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A notebook with two claims and a widget, executed where the score is 0.4301."""
    folder = tmp_path_factory.mktemp("nbval")
    path = write(folder / "unet.ipynb", *NOTEBOOK)
    notebook = nbformat.read(path, 4)
    NotebookClient(notebook, kernel_name="python3").execute(env=environment(SCORE="0.4301"))
    nbformat.write(notebook, path)
    return path


def environment(**extra):
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **extra}


def nbval(path, **extra):
    (path.parent / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-W", "ignore", "-m", "pytest", "-c", "pytest.ini", "--nbval", path.name]
    command += ["--nbval-sanitize-with", str(ROOT / "tests" / "chapters" / "sanitize.cfg")]
    command += ["-rA", "-p", "no:cacheprovider", "-p", "no:xdist", "--nbval-kernel-name", "python3"]
    clean = {name: value for name, value in environment(**extra).items() if not name.startswith("PYTEST_")}
    return subprocess.run(command, cwd=path.parent, env=clean, capture_output=True, text=True).stdout


def test_a_kernel_records_claims_that_collect_reads(executed):
    best, slow = claims.collect(executed)
    assert best == claims.Claim(
        "unet-best", "U-Net wins.", "Table 1", "0.92 > 0.83", "≈0.4301 > ≈0.1", True, notebook="unet"
    )
    assert (slow.holds, slow.expected) == (False, False)
    first = json.loads(executed.read_text(encoding="utf-8"))["cells"][2]["outputs"][0]
    assert set(first["data"]) == {"text/html", "text/plain"}


def test_nbval_lets_only_numbers_behind_their_sign_and_pictures_move(executed, tmp_path):
    changed = tmp_path / executed.name
    changed.write_text(executed.read_text(encoding="utf-8").replace("ours: 2 steps", "ours: 3 steps"))
    report = nbval(changed, SCORE="0.5179")
    passed = [f"PASSED unet.ipynb::Cell {i}" in report for i in range(4)]
    failed = [f"FAILED unet.ipynb::Cell {i}" in report for i in range(4)]
    assert (passed, failed) == ([True, True, False, True], [False, False, True, False]), report


def test_the_summary_lists_each_claim_once_with_its_verdict_and_a_link(capsys):
    claims.check("a-one", "One < two.", "nowhere", "1", "≈1", True)
    claims.check("a-two", "Two.", "nowhere", "2", "≈2", False, expected=False)
    claims.check("a-one", "One < two.", "nowhere", "1", "≈1.5", True)
    summary = claims.summary()
    assert str(summary) == "✓ One < two. ≈1.5\n✗ Two. ≈2"
    page = summary._repr_mimebundle_()["text/html"]
    assert '<a href="#claim-a-one">One &lt; two.</a> ≈1.5' in page
    assert 'aria-label="does not hold here, as the text says"' in page
