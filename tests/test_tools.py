"""The book's commands: what is executed when, what stops a build, what is written."""

import asyncio
import threading
import time
import urllib.request
from dataclasses import replace

import nbformat
import pytest

from tools import book, cards, execute, ledger, notebooks, serve
from xferlib import zoo
from xferlib.claims import MIME

HTML = {"text/html": "<b>static</b>", "text/plain": "static"}
VIEW = {"application/vnd.jupyter.widget-view+json": {"model_id": "1234"}}


def notebook(*sources, markdown="# A title"):
    cells = [nbformat.v4.new_markdown_cell(markdown), *map(nbformat.v4.new_code_cell, sources)]
    return nbformat.v4.new_notebook(cells=cells)


def display(data, metadata=None):
    return nbformat.v4.new_output("display_data", data=data, metadata=metadata or {})


def run_all(tmp_path, limit=60, **jobs):
    return asyncio.run(execute.run_all(jobs, tmp_path / "run", limit))


@pytest.fixture
def chapters(tmp_path, monkeypatch):
    """Let copies go to a folder of the test's own, with inputs that the test can change."""
    monkeypatch.setattr(execute, "EXECUTED", tmp_path / "executed")
    monkeypatch.setattr(execute, "inputs_digest", lambda: "the same")

    def write(*args, **kwargs):
        notebooks.write(notebook(*args, **kwargs), tmp_path / "one.ipynb")
        return [tmp_path / "one.ipynb"]

    return write


def result(tmp_path):
    copy = notebooks.read(tmp_path / "executed" / "one.ipynb")
    return copy, copy.cells[1].outputs[0].text


def test_a_chapter_that_is_done_is_kept_though_the_next_is_interrupted(tmp_path, chapters, monkeypatch):
    paths = chapters("print(1)")
    notebooks.write(notebook("print(2)"), tmp_path / "two.ipynb")
    ran = []

    async def run(name, notebook, *rest):
        if ran:
            raise KeyboardInterrupt
        ran.append(name)
        notebook.cells[1].outputs = [display(HTML)]

    monkeypatch.setattr(execute, "run", run)
    monkeypatch.setattr(execute, "cores", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        execute.execute_in_place([*paths, tmp_path / "two.ipynb"])
    assert [len(notebooks.read(path).cells[1].outputs) for path in (*paths, tmp_path / "two.ipynb")] == [1, 0]


def test_only_what_changed_is_executed(tmp_path, chapters, monkeypatch):
    code = "import time; print(time.time_ns())"
    assert execute.execute_copies(chapters(code)) == {}
    _, first = result(tmp_path)

    execute.execute_copies(chapters(code, markdown="# Another text"))
    copy, second = result(tmp_path)
    assert second == first and copy.cells[0].source == "# Another text"

    execute.execute_copies(chapters(code + "  # changed"))
    _, third = result(tmp_path)
    assert third != first

    monkeypatch.setattr(execute, "inputs_digest", lambda: "the library changed")
    execute.execute_copies(chapters(code + "  # changed"))
    assert result(tmp_path)[1] != third


def test_an_error_names_its_cell_and_does_not_stop_the_others(tmp_path):
    good, bad = notebook("print(1 + 1)"), notebook("a = 0", "def f():\n    return 1 / a", "f()")
    failed = run_all(tmp_path, good=good, bad=bad)
    assert list(failed) == ["bad"]
    assert "bad: code cell 3 of 3" in str(failed["bad"])
    assert "ZeroDivisionError" in str(failed["bad"])
    assert good.cells[1].outputs[0].text == "2\n"


def test_a_failed_chapter_is_executed_again(tmp_path, chapters):
    paths = chapters("1 / 0")
    assert execute.execute_copies(paths) and execute.execute_copies(paths)
    assert not (tmp_path / "executed" / "one.ipynb").exists()


def test_each_chapter_is_kept_as_soon_as_it_is_done(tmp_path):
    jobs, kept = {"good": notebook("1"), "bad": notebook("1 / 0")}, []
    asyncio.run(execute.run_all(jobs, tmp_path, 60, kept.append))
    assert kept == ["good"]


def test_a_kernel_that_does_not_start_does_not_stop_the_others(tmp_path, monkeypatch):
    async def silent(self, **_):
        raise RuntimeError("Kernel didn't respond in 60 seconds")

    monkeypatch.setattr(execute.NotebookClient, "async_execute", silent)
    failed = run_all(tmp_path, one=notebook("1"), two=notebook("2"))
    assert "one: the kernel did not start\nKernel didn't respond" in str(failed["one"])
    assert "two" in failed


def test_a_notebook_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    notebooks.write(notebook("1"), tmp_path / "one.ipynb")
    before = (tmp_path / "one.ipynb").read_bytes()

    def full(content, path):
        path.write_text("{half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(notebooks.nbformat, "write", full)
    with pytest.raises(OSError, match="No space"):
        notebooks.write(notebook("2"), tmp_path / "one.ipynb")
    assert [path.name for path in tmp_path.iterdir()] == ["one.ipynb"]
    assert (tmp_path / "one.ipynb").read_bytes() == before


def test_a_chapter_has_a_time_limit(tmp_path):
    failed = run_all(tmp_path, limit=4, slow=notebook("import time", "time.sleep(60)"))
    assert "took longer than 4 s" in str(failed["slow"])


def test_the_inputs_are_the_library_the_data_and_the_requirements(tmp_path):
    for name in ("requirements.txt", "constraints.txt", "xferlib/a.py", "data/b.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    digests = {execute.inputs_digest(tmp_path)}
    for name in ("constraints.txt", "xferlib/a.py", "data/b.bin", "xferlib/new.py"):
        (tmp_path / name).write_text("2")
        digests.add(execute.inputs_digest(tmp_path))
    assert len(digests) == 5
    (tmp_path / "xferlib" / "__pycache__").mkdir()
    (tmp_path / "xferlib" / "__pycache__" / "a.pyc").write_text("3")
    (tmp_path / "README.md").write_text("3")
    assert execute.inputs_digest(tmp_path) in digests


def test_normalising_drops_what_differs_between_equal_runs():
    written = notebook("x")
    written.metadata["language_info"] = {"name": "python", "version": "3.99"}
    written.cells[1].metadata["execution"] = {"iopub.execute_input": "now"}
    written.cells[1].outputs = [display(HTML | VIEW, {MIME: {"id": "a"}})]
    notebooks.normalise(written)
    assert "3.99" not in nbformat.writes(written) and "now" not in nbformat.writes(written)
    assert written.cells[1].outputs[0].data == HTML
    assert written.cells[1].outputs[0].metadata == {MIME: {"id": "a"}}


def test_progress_bars_leave_the_page_and_nothing_else_does():
    written = notebook("x")
    kept = [display(HTML), display({"text/plain": "it is 50% done"})]
    bars = [display({"text/plain": "  0%|          | 0/20 [00:00<?, ?it/s]"} | view) for view in ({}, VIEW)]
    written.cells[1].outputs = [*kept, *bars]
    assert notebooks.without_progress_bars(written).cells[1].outputs == kept


def test_contents_are_read_in_order(tmp_path):
    (tmp_path / "_toc.yml").write_text(
        "root: a\nparts:\n- caption: P\n  chapters:\n  - file: b\n    sections:\n    - file: c\n  - file: d\n"
    )
    assert notebooks.toc_pages(tmp_path / "_toc.yml") == ["a", "b", "c", "d"]


CLAIM = {"id": "x", "statement": "a < b", "source": "s", "paper": "1", "ours": "≈2", "holds": True}


def executed(path, *claims, title="# T"):
    written = notebook("x", markdown=title)
    written.cells[1].outputs = [display(HTML, {MIME: claim}) for claim in claims]
    written.cells[1].execution_count = 1
    notebooks.write(written, path)
    return path


def test_the_ledger_has_every_claim(tmp_path):
    failing = CLAIM | {"id": "y", "holds": False, "expected": False, "recipe": "r"}
    paths = [executed(tmp_path / "one.ipynb", CLAIM, failing, title="# First"), executed(tmp_path / "two.ipynb")]
    page = ledger.page(f"before\n{ledger.MARK}\nafter", paths)
    assert page.startswith("before") and page.endswith("after")
    assert "**2 claims:** 1 found to hold, 1 found not to; 1 measured live, 1 by a recipe." in page
    assert '<a href="chapters/one.html#claim-x">a &lt; b</a>' in page
    assert "## [First](chapters/one.ipynb)" in page and "two" not in page
    assert page.count("✓ holds") == page.count("✗ does not hold") == 1


def test_a_ledger_without_its_mark_is_an_error():
    with pytest.raises(ValueError, match="has lost the line"):
        ledger.page("no mark", [])


def test_each_shipped_net_has_a_card():
    page = cards.page(f"before\n{cards.MARK}\nafter")
    assert page.startswith("before") and page.endswith("after")
    for net in zoo.rows():
        assert page.count(f"\n## {net.name}\n") == 1 and f'<a href="#{net.name}">' in page
        assert net.sha256 in page and f"xferlib train {net.recipe}</code>, seed {net.seed}" in page


def test_a_card_says_what_is_on_record():
    net = zoo.Row(
        name="a-net", task="style", chapter="gatys", net="fcn.FCN", arguments={"stride": 8}, classes=("x<y", "z"),
        palette=None, recipe="a-net", commit="abcdef0123456789 and uncommitted changes",
        seed=3, data="drawn", terms="ours & free", file="a.safetensors", sha256="0" * 64,
        bytes=1_500_000, parameters=12345,
        result={"loss": 0.25, "images": 3, "by style": {"a": 1.0, "b": 2}, "by all": {"x": {}}},
        cost={"seconds": 3600, "hardware": "a CPU"},
    )  # fmt: skip
    card = cards.card(net, {"steps": 70})
    for part in (
        "## a-net", '<a href="chapters/gatys.html">gatys</a>', "xferlib.nets.fcn.FCN(stride=8)",
        "x&lt;y, z", "ours &amp; free", "12,345 parameters, 1.5 MB", "loss 0.25; images 3<br>by style: a 1; b 2<",
        "60 minutes on a CPU",
        "<code>xferlib train a-net</code>, seed 3, 70 steps, commit <code>abcdef012345</code> and uncommitted changes",
    ):  # fmt: skip
        assert part in card
    assert "seed 3</td>" in cards.card(replace(net, commit=None), {})
    assert "polyline" not in card and "views" not in card
    assert "<td>8 of a picture are averaged when it is applied" in cards.card(replace(net, views=8), {})
    assert "sizes" not in card
    assert "<td>a larger picture is reduced to 600 and 51,200 pixels" in cards.card(
        replace(net, pixels=(600, 51_200)), {}
    )


def test_a_card_draws_the_losses():
    points = cards._drawn((8.0, 2.0, 1.0, 1.0)).split('points="')[1].split('"')[0]
    assert points == "0.0,0.0 40.0,6.7 80.0,13.3 120.0,13.3"  # the median is 1.5, the top 3
    assert cards._drawn((0.5,)).endswith("from 0.5 to 0.5")
    assert "nan" not in cards._drawn((0.0, 0.0))


def test_models_without_their_mark_are_an_error():
    with pytest.raises(ValueError, match="has lost the line"):
        cards.page("no mark")


def test_staging_touches_only_what_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "SOURCE", tmp_path)
    assert book.stage({"_toc.yml": b"1", "a/b.md": b"1", "c.md": b"1"})
    before = (tmp_path / "a/b.md").stat().st_mtime_ns
    assert not book.stage({"_toc.yml": b"1", "a/b.md": b"1", "c.md": b"2"})
    assert (tmp_path / "a/b.md").stat().st_mtime_ns == before
    assert (tmp_path / "c.md").read_bytes() == b"2"
    assert book.stage({"_toc.yml": b"2", "a/b.md": b"1", "c.md": b"2"})
    assert book.stage({"_toc.yml": b"2", "a/b.md": b"1"})
    assert not (tmp_path / "c.md").exists()


@pytest.fixture
def builder(tmp_path, monkeypatch):
    """Put a script in place of Jupyter Book, and the folders of the build into the test's own."""
    for name in ("SOURCE", "SITE", "DOCTREES"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(book, name, tmp_path / name)
    monkeypatch.setattr(book, "BUILT", tmp_path / "key")
    monkeypatch.setattr(book.sys, "executable", str(tmp_path / "python"))
    program = tmp_path / "jupyter-book"
    program.touch(0o755)
    return lambda script: program.write_text(f"#!/bin/sh\n{script}\n")


def test_a_failed_build_is_forgotten(tmp_path, builder):
    builder("exit 1")
    assert not book.build_site(fresh=False)
    assert not (tmp_path / "DOCTREES").exists()


def test_an_interrupted_build_is_forgotten(tmp_path, builder):
    builder(f"ls {tmp_path} > {tmp_path}/seen")
    assert book.build_site(fresh=False)
    assert "DOCTREES" not in (tmp_path / "seen").read_text()
    (tmp_path / "DOCTREES").mkdir()
    (tmp_path / "key").write_text("of a build that came to its end")
    assert book.build_site(fresh=False)
    assert "DOCTREES" in (tmp_path / "seen").read_text()


@pytest.mark.parametrize(("port", "says"), [(None, "name another with --port"), (70_000, "0-65535")])
def test_a_port_that_cannot_be_had_is_said(tmp_path, monkeypatch, capsys, port, says):
    (tmp_path / "index.html").write_text("")
    monkeypatch.setattr(serve, "SITE", tmp_path)
    with serve.open_server(tmp_path, [0]) as first:
        monkeypatch.setattr("sys.argv", ["serve", "--port", str(port or first.server_port)])
        assert serve.main() == 1
    assert says in capsys.readouterr().err


def test_serving_takes_a_free_port_and_isolates_pages(tmp_path):
    (tmp_path / "a.mjs").write_text("1")
    with serve.open_server(tmp_path, [0]) as first:
        taken = first.server_port
        with pytest.raises(OSError, match="no free port"):
            serve.open_server(tmp_path, [taken])
        threading.Thread(target=first.serve_forever, daemon=True).start()
        with urllib.request.urlopen(f"http://127.0.0.1:{taken}/a.mjs") as reply:
            assert reply.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert reply.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            assert reply.headers["Content-Type"] == "text/javascript"
        first.shutdown()


def test_progress_is_told_now_and_then(capsys):
    progress = execute.Progress("one", 4, started=time.monotonic(), told=time.monotonic())
    progress.tell(1)
    assert capsys.readouterr().out == ""
    progress.told -= execute.REPORT_SECONDS
    progress.tell(2)
    assert "one: cell 2 of 4" in capsys.readouterr().out
