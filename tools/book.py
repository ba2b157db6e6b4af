"""Build the site: `make book` executes the chapters first, `make site` (--committed) does not.

The book is put together under _build/src, so the source tree stays as it is; files whose content did not
change keep their time stamp, so Sphinx reads again only what changed.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat

from tools import cards, demo, execute, ledger, notebooks, runtime
from tools.notebooks import ROOT

BUILD = ROOT / "_build"
SOURCE = BUILD / "src"
SITE = BUILD / "html"
DOCTREES = BUILD / ".doctrees"
BUILT = BUILD / "site.sha256"
PAGE_FILES = ("widgets.js", "widgets.css", "demo.js", "demo.css")


def page_source(page: str) -> Path:
    """Find the file of a page of the table of contents."""
    for suffix in (".ipynb", ".md"):
        if (ROOT / (page + suffix)).exists():
            return ROOT / (page + suffix)
    raise FileNotFoundError(f"_toc.yml lists {page}, but there is neither {page}.ipynb nor {page}.md")


def gather(chapters: Path) -> dict[str, bytes]:
    """Collect every file of the book, by its path under _build/src; notebooks come from `chapters`."""
    files = {name: (ROOT / name).read_bytes() for name in ("_config.yml", "_toc.yml", "references.bib")}
    for path in sorted((ROOT / "_static").rglob("*")):
        if path.is_file():
            files[path.relative_to(ROOT).as_posix()] = path.read_bytes()
    for name in PAGE_FILES:
        path = ROOT / "xferlib" / "web" / name
        if path.exists():
            files[f"_static/{name}"] = path.read_bytes()
    for page in notebooks.toc_pages():
        path = page_source(page)
        if path.suffix == ".ipynb":
            notebook = notebooks.without_progress_bars(notebooks.read(chapters / path.name))
            notebook.metadata.pop("xferlib_key", None)
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    cell.source = demo.introduced(cell.source)
            files[f"{page}.ipynb"] = nbformat.writes(notebook).encode()
        else:
            files[f"{page}.md"] = demo.introduced(path.read_text(encoding="utf-8")).encode()
    executed = [chapters / path.name for path in notebooks.chapter_paths()]
    files["claims.md"] = ledger.page(files["claims.md"].decode(), executed).encode()
    files["playground.md"] = demo.with_times(files["playground.md"].decode()).encode()
    files["models.md"] = cards.page(files["models.md"].decode()).encode()
    return files


def stage(files: dict[str, bytes]) -> bool:
    """Bring _build/src to exactly `files`; tell whether the book's set of files or its settings changed."""
    before = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*") if path.is_file()}
    reshaped = before != files.keys()
    for name in before - files.keys():
        (SOURCE / name).unlink()
    for name, content in files.items():
        path = SOURCE / name
        if not path.exists() or path.read_bytes() != content:
            reshaped |= name in ("_config.yml", "_toc.yml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return reshaped


def build_site(fresh: bool) -> bool:
    """Run Jupyter Book, warnings as errors; `fresh` forgets earlier builds. Tell whether it succeeded."""
    if fresh or not BUILT.exists():  # what was not built to its end may have warned
        _forget()
    BUILT.unlink(missing_ok=True)
    if fresh:
        shutil.rmtree(SITE, ignore_errors=True)
    program = Path(sys.executable).with_name("jupyter-book")
    options = ["--path-output", str(ROOT), "-W", "-n", "--keep-going"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}  # where our Sphinx extension is
    result = subprocess.run([program, "build", SOURCE, *options], env=environment, check=False)
    if result.returncode:
        _forget()  # or the next build, reading only what changed, would pass over these warnings
    return result.returncode == 0


def _forget() -> None:
    shutil.rmtree(DOCTREES, ignore_errors=True)


def site_digest(files: dict[str, bytes]) -> str:
    """Digest all that the site is built from: the book's files, our extension, the tested set."""
    parts = files | {path: (ROOT / path).read_bytes() for path in ("tools/without_thebe.py", "constraints.txt")}
    digest = hashlib.sha256()
    for name, content in sorted(parts.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--committed", action="store_true", help="use the committed outputs, execute nothing")
    args = parser.parse_args()
    started = time.monotonic()
    if not args.committed:
        failed = execute.execute_copies(notebooks.chapter_paths())
        if failed:
            execute.report(failed)
            return 1
    print("==> Building the site", flush=True)
    chapters = notebooks.CHAPTERS if args.committed else execute.EXECUTED
    files = gather(chapters)
    digest = site_digest(files)
    if BUILT.exists() and BUILT.read_text() == digest and (SITE / "index.html").exists():
        print("    nothing has changed since the last build")
    elif build_site(fresh=stage(files)):
        BUILT.write_text(digest)
    else:
        print("\nThe site did not build without warnings; they are listed above.", file=sys.stderr)
        return 1
    try:
        demo.install(SITE)
    except runtime.RuntimeMissingError as error:
        print(f"\nThe pages are built, their demos are not: {error}.", file=sys.stderr)
        return 1
    print(f"\nThe book is built, in {time.monotonic() - started:.0f} s: {(SITE / 'index.html').as_uri()}")
    print("Open that file, or serve it: make serve")
    return 0


if __name__ == "__main__":
    sys.exit(main())
