"""Execute the chapters side by side on the cores, and only those whose inputs changed.

`make book` executes copies under _build/executed; `make chapters` (--in-place) rewrites the committed ones.
"""

import argparse
import asyncio
import hashlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tools import notebooks
from tools.notebooks import ROOT

EXECUTED = ROOT / "_build" / "executed"
CHAPTER_SECONDS = 600
REPORT_SECONDS = 5


class ChapterError(Exception):
    """A chapter did not run to its end; the message says which, where and why."""


@dataclass
class Progress:
    """Tell at most every few seconds how far a chapter has come."""

    name: str
    cells: int
    started: float
    told: float = 0.0

    def tell(self, number: int) -> None:
        now = time.monotonic()
        if now - self.told >= REPORT_SECONDS:
            self.told = now
            print(f"    {self.name}: cell {number} of {self.cells}, {now - self.started:.0f} s", flush=True)


def cores() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def inputs_digest(root: Path = ROOT) -> str:
    """Digest all that a chapter's outputs depend on besides its own code."""
    digest = hashlib.sha256(sys.version.encode())
    files = [root / "requirements.txt", root / "constraints.txt"]
    for folder in ("xferlib", "data"):
        files += sorted(path for path in (root / folder).rglob("*") if path.is_file())
    for path in files:
        if "__pycache__" not in path.parts:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def chapter_key(notebook: nbformat.NotebookNode, inputs: str) -> str:
    """Digest a chapter's code cells together with its other inputs."""
    digest = hashlib.sha256(inputs.encode())
    for cell in notebooks.code_cells(notebook):
        digest.update(hashlib.sha256(cell.source.encode()).digest())
    return digest.hexdigest()


def with_cached_outputs(notebook: nbformat.NotebookNode, cached: nbformat.NotebookNode) -> None:
    """Copy, in place, the outputs of an earlier run of the same code cells."""
    for cell, run in zip(notebooks.code_cells(notebook), notebooks.code_cells(cached), strict=True):
        cell.outputs, cell.execution_count = run.outputs, run.execution_count


def _forget(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


async def run(name: str, notebook: nbformat.NotebookNode, folder: Path, threads: int, limit: float) -> None:
    """Execute a notebook in place, in a fresh kernel whose working folder is `folder`."""
    _forget(notebook)
    started = time.monotonic()
    progress = Progress(name, len(notebooks.code_cells(notebook)), started, told=started)
    number = 0

    async def on_cell_execute(cell, cell_index):
        nonlocal number
        number += 1
        progress.tell(number)

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        timeout_func=lambda cell: max(1.0, limit - (time.monotonic() - started)),
        extra_arguments=["--log-level=ERROR"],
        store_widget_state=False,
        record_timing=False,
        on_cell_execute=on_cell_execute,
    )
    kernel_env = os.environ | {"OMP_NUM_THREADS": str(threads)}
    try:
        await client.async_execute(env=kernel_env)
    except CellTimeoutError as error:
        raise ChapterError(f"{name}: took longer than {limit:.0f} s in all\n{error}") from None
    except DeadKernelError:
        raise ChapterError(f"{name}: the kernel died in code cell {number}") from None
    except RuntimeError as error:
        raise ChapterError(f"{name}: the kernel did not start\n{error}") from None
    except CellExecutionError as error:
        raise ChapterError(f"{name}: code cell {number} of {progress.cells} failed\n{error}") from None
    print(f"    {name}: done, {progress.cells} cells in {time.monotonic() - started:.0f} s", flush=True)


async def run_all(
    jobs: dict[str, nbformat.NotebookNode], folder: Path, limit: float, keep: Callable[[str], None] = lambda name: None
) -> dict[str, ChapterError]:
    """Execute notebooks in place, side by side, and keep each that is done; return those that failed."""
    workers = max(1, min(len(jobs), cores()))
    threads = max(1, cores() // workers)
    gate = asyncio.Semaphore(workers)
    failed = {}
    folder.mkdir(parents=True, exist_ok=True)

    async def one(name, notebook):
        async with gate:
            try:
                await run(name, notebook, folder, threads, limit)
                keep(name)
            except ChapterError as error:
                failed[name] = error
                print(f"    {name}: FAILED", flush=True)

    await asyncio.gather(*(one(*job) for job in jobs.items()))
    return failed


def execute_copies(paths: list[Path], limit: float = CHAPTER_SECONDS) -> dict[str, ChapterError]:
    """Bring `_build/executed` up to date with the chapters, running only those that changed."""
    inputs = inputs_digest()
    jobs = {}
    for path in paths:
        notebook, copy = notebooks.read(path), EXECUTED / path.name
        key = chapter_key(notebook, inputs)
        cached = notebooks.read(copy) if copy.exists() else None
        if cached is not None and cached.metadata.get("xferlib_key") == key:
            with_cached_outputs(notebook, cached)
            _keep(notebook, copy, key)
        else:
            jobs[path.stem] = notebook, key
    print(f"==> Executing {len(jobs)} of {len(paths)} chapters; the others have not changed", flush=True)

    def keep(name: str) -> None:
        notebook, key = jobs[name]
        _keep(notebook, EXECUTED / f"{name}.ipynb", key)

    running = {name: notebook for name, (notebook, _) in jobs.items()}
    return asyncio.run(run_all(running, EXECUTED, limit, keep))


def _keep(notebook: nbformat.NotebookNode, copy: Path, key: str) -> None:
    notebooks.normalise(notebook)
    notebook.metadata["xferlib_key"] = key
    notebooks.write(notebook, copy)


def execute_in_place(paths: list[Path], limit: float = CHAPTER_SECONDS) -> dict[str, ChapterError]:
    """Execute the committed chapters and rewrite those that ran to their end."""
    print(f"==> Executing {len(paths)} chapters in place", flush=True)
    jobs = {path.stem: notebooks.read(path) for path in paths}
    places = {path.stem: path for path in paths}

    def keep(name: str) -> None:
        notebooks.normalise(jobs[name])
        notebooks.write(jobs[name], places[name])

    return asyncio.run(run_all(jobs, EXECUTED, limit, keep))


def report(failed: dict[str, ChapterError]) -> None:
    """Print each failed chapter's error with its cell and traceback."""
    for error in failed.values():
        print(f"\nFAILED {error}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="chapters to execute, by name (default: all)")
    parser.add_argument("--in-place", action="store_true", help="rewrite the committed notebooks")
    parser.add_argument("--limit", type=float, default=CHAPTER_SECONDS, help="seconds a chapter may take")
    args = parser.parse_args()
    paths = notebooks.chapter_paths()
    unknown = set(args.names) - {path.stem for path in paths}
    if unknown:
        parser.error(f"no such chapter in _toc.yml: {', '.join(sorted(unknown))}")
    paths = [path for path in paths if not args.names or path.stem in args.names]
    failed = (execute_in_place if args.in_place else execute_copies)(paths, args.limit)
    report(failed)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
