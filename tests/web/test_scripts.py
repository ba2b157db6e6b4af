"""The page's scripts: their types, which stand in comments, and their size."""

import subprocess

import pytest

from tools import runtime
from tools.notebooks import ROOT

WEB = ROOT / "xferlib" / "web"


def typescript(*arguments: str) -> subprocess.CompletedProcess:
    try:
        files = runtime.fetch(runtime.TYPESCRIPT, ROOT / "_build" / "typescript")
    except runtime.RuntimeMissingError as error:
        pytest.skip(str(error))
    compiler = next(file for file in files if file.name == "tsc.js")
    options = ("--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022", "--module", "es2022")
    command = [*runtime.node(), str(compiler), *options, *arguments]
    return subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("script", "library"),
    [("demo.js", "es2022,dom,dom.iterable"), ("worker.mjs", "es2022,webworker,webworker.iterable")],
)
def test_types_hold(script, library):
    checked = typescript("--lib", library, script)
    assert checked.returncode == 0, checked.stdout


def test_a_wrong_type_is_found(tmp_path):
    wrong = tmp_path / "wrong.js"
    wrong.write_text('/** @type {number} */\nconst side = "wide";\n')
    assert "TS2322" in typescript(str(wrong)).stdout


@pytest.mark.parametrize(("script", "most"), [("demo.js", 700), ("worker.mjs", 350)])
def test_scripts_stay_small(script, most):
    assert len((WEB / script).read_text(encoding="utf-8").splitlines()) <= most
