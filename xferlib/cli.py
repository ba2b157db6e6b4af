"""The command line: ``xferlib list | apply | train | data | export``."""

import argparse
import errno
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from textwrap import shorten
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xferlib.train import Study
    from xferlib.zoo import Row


class UsageError(ValueError):
    """A command that cannot be carried out; the message names the value and the way out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after ``xferlib``; by default those of the process.

    Returns
    -------
    int
        Exit status: 0 if all went well, 1 if some of the files could not be done, or data are missing, 2 for a command
        that makes no sense, 130 if it was interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"\nxferlib: stopped{options.after_stop}", file=sys.stderr)
        return 130
    except _bad_use() as error:
        print(f"xferlib {options.command}: error: {error}", file=sys.stderr)
        return 2


def _bad_use() -> tuple[type[Exception], ...]:
    """Errors that the user can mend; looked up only once one is raised, for the import takes seconds."""
    from xferlib.data.images import ImageError
    from xferlib.train import CheckpointError, RecipeError
    from xferlib.zoo import ZooError

    return UsageError, ZooError, RecipeError, CheckpointError, ImageError, FloatingPointError, OSError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xferlib", description="Nets for dense prediction and image transfer.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{list,apply,train,data,export}")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str, after_stop: str = "") -> Any:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run, after_stop=after_stop)
        return sub

    zoo = {
        "metavar": "DIR",
        "type": _folder,
        "help": "nets you trained, such as runs/NAME, instead of the shipped ones",
    }

    listing = command("list", _list, "List the shipped nets.")
    listing.add_argument("--zoo", **zoo)

    apply = command("apply", _apply, "Apply a net to pictures.", "; every file in the output folder is whole")
    apply.add_argument("name", metavar="NAME", help="a net, as `xferlib list` names it")
    apply.add_argument("inputs", metavar="FILE", type=Path, nargs="+", help="pictures, or folders of pictures")
    apply.add_argument("-o", "--out", metavar="DIR", type=Path, required=True, help="folder for the results")
    apply.add_argument(
        "--overlay", action="store_true", help="also write STEM-overlay.jpg, to look at labels or objects"
    )
    probable = "also write STEM-CLASS.png: how probable that class is at each pixel, in grey, white for certain"
    apply.add_argument("--probability", metavar="CLASS", help=probable)
    there = apply.add_mutually_exclusive_group()
    there.add_argument("--resume", action="store_true", help="keep files that are there already, and make the others")
    there.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    apply.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"), help="what to compute on")
    memory = (
        "memory that the net may take, such as 2G (half of all; on a GPU of what is free); larger pictures are tiled"
    )
    apply.add_argument("--max-memory", metavar="SIZE", type=_bytes, help=memory)
    views = "views of a picture to average over: 1, 2 with its mirror image, 8 turned and mirrored (the net's own)"
    apply.add_argument("--views", metavar="N", type=int, choices=(1, 2, 8), help=views)
    full = "let the net see a large picture as it is, where it is reduced for it otherwise"
    size = apply.add_mutually_exclusive_group()
    size.add_argument("--full-size", action="store_true", help=full)
    fewer = "pixels to reduce a larger picture to, for nets of labels, objects, reflections and styles (the net's own)"
    size.add_argument("--pixels", metavar="N", type=_positive, help=f"{fewer}; fewer make larger strokes")
    white = "value that stands for white in grey pictures of more than 8 bits: 4095 for 12 bits (65535; 1 for floats)"
    apply.add_argument("--white", metavar="VALUE", type=float, help=white)
    style = "for a net of several styles: one of them, perhaps with its share; more than one blends"
    apply.add_argument("--style", metavar="STYLE[:SHARE]", type=_share, action="append", default=[], help=style)
    apply.add_argument("--zoo", **zoo)

    export = command("export", _export, "Write a net as ONNX: bytes in, bytes or labels out, at any size.")
    export.add_argument("name", metavar="NAME", help="a net that makes pictures or labels, as `xferlib list` names it")
    export.add_argument(
        "-o", "--out", metavar="FILE", type=Path, required=True, help="file to write, such as NAME.onnx"
    )
    export.add_argument("--zoo", **zoo)

    after_stop = "; the same command goes on from the last checkpoint, of which there is one every two minutes"
    train = command("train", _train, "Train a net by its recipe.", after_stop)
    train.add_argument("name", metavar="NAME", help="a recipe; an unknown name shows all of them")
    train.add_argument("--steps", metavar="N", type=_positive, help="steps, instead of the recipe's")
    train.add_argument("--seed", metavar="S", type=_natural, help="seed, instead of the recipe's")
    train.add_argument("--data", metavar="DIR", type=_folder, help="your pictures and masks, or other real data")
    train.add_argument("--resume", action="store_true", help="insist on a checkpoint; one that is there is used anyway")
    train.add_argument(
        "--smoke", action="store_true", help="see in seconds whether it runs: two steps, nothing measured"
    )
    train.add_argument("--out", metavar="DIR", type=Path, help="folder for the trained net and its record")
    train.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"), help="what to train on")
    train.add_argument("--devices", metavar="N", type=_positive, default=1, help="how many, one process each")
    kinds = ("32-true", "bf16-mixed", "16-mixed")
    train.add_argument("--precision", choices=kinds, help="arithmetic, instead of the recipe's; mixed is fast on a GPU")

    data = command("data", _data_list, "Say what data there is, and what of a public set is missing.")
    asks = data.add_subparsers(metavar="{list,check,where}")
    asks.add_parser("list", help="drawn sets, photographs, and public sets").set_defaults(run=_data_list)
    check = asks.add_parser("check", help="say file by file what of a public set is missing")
    check.add_argument("name", metavar="NAME", help="a public set, as `xferlib data list` names it")
    check.add_argument("folder", metavar="DIR", type=Path, nargs="?", help="its folder, if it is not in XFERLIB_DATA")
    check.set_defaults(run=_data_check)
    asks.add_parser("where", help="say where public sets are looked for").set_defaults(run=_data_where)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: no such folder")
    return Path(text)


def _bytes(text: str) -> int:
    from xferlib.zoo.memory import bytes_of

    try:
        return bytes_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from None


def _share(text: str) -> tuple[str, float]:
    name, colon, share = text.partition(":")
    try:
        return name, float(share) if colon else 1.0
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a style, or a style and its share: mosaic:0.5") from None


def _list(options: argparse.Namespace) -> int:
    from xferlib import zoo

    rows = [
        (row.name, row.task, row.chapter, shorten(row.data, 44, placeholder=" …"), _megabytes(row), _headline(row))
        for row in zoo.rows(options.zoo)
    ]
    _table(("name", "task", "chapter", "data", "size", "result"), rows)
    if not rows:
        print("no nets yet; `xferlib train NAME` makes one")
    return 0


def _megabytes(row: "Row") -> str:
    return f"{row.bytes / 1e6:.1f} MB"


def _headline(row: "Row") -> str:
    """First of the figures that were measured."""
    return next((f"{name} {value}" for name, value in row.result.items()), "")


def _apply(options: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from xferlib import zoo
    from xferlib.zoo.inference import PICTURES, sizes_seen, style_shares
    from xferlib.zoo.memory import available, device_of
    from xferlib.zoo.weights import load_row

    row = zoo.row(options.name, options.zoo)
    styles = dict(options.style)
    if len(styles) < len(options.style):
        raise UsageError(f"--style: a style is named twice; there are {', '.join(name for name, _ in options.style)}")
    shares = style_shares(row, styles)
    sizes_seen(row, options.full_size, options.pixels)
    if options.overlay and row.task in PICTURES:
        raise UsageError(f"--overlay: {row.name!r} makes pictures, and there are no labels to lay over them")
    probable, known = options.probability, row.classes if row.task == "segmentation" else ()
    if probable is not None and probable not in known:
        classes = ", ".join(known) or "none"
        raise UsageError(f"--probability {probable}: not a class that {row.name!r} gives a pixel; it knows {classes}")
    endings = {"result": ".png"} | ({"overlay": "-overlay.jpg"} if options.overlay else {})
    if probable:
        endings["probability"] = "-" + re.sub(r"[^\w.-]+", "-", probable) + ".png"
    jobs = _jobs(options.inputs, options.out, endings)
    there = next((to for targets in jobs.values() for to in targets.values() if to.exists()), None)
    if there and not (options.resume or options.overwrite):
        raise UsageError(
            f"{there} is there already: name another folder with -o, or say --resume, to keep what is there, or "
            "--overwrite"
        )
    net = load_row(row, options.zoo).to(_device(options.device))
    _make_writable(options.out)
    lacking = {
        path: {kind: to for kind, to in targets.items() if not (options.resume and to.exists())}
        for path, targets in jobs.items()
    }
    left = {path: targets for path, targets in lacking.items() if targets}
    how = {
        "max_memory": options.max_memory or available(device_of(net)),
        "views": options.views,
        "full_size": options.full_size,
        "pixels": options.pixels,
    }
    done, failed = len(jobs) - len(left), []
    for path, targets in tqdm(left.items(), desc=row.name, unit="picture", leave=False, disable=len(left) < 2):
        try:
            _apply_one(net, row, path, targets, probable, shares, how, options.white)
            done += 1
        except zoo.ZooError:
            raise
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            failed.append(f"{error}" if str(path) in str(error) else f"{path}: {error}")
            if _is_full(error):
                failed.append("no space is left: make room, and go on with --resume")
                break
    before = f", {len(jobs) - len(left)} of them before" if len(left) < len(jobs) else ""
    print(f"{done} of {len(jobs)} pictures done{before}: {options.out}")
    for message in failed:
        print(f"xferlib apply: not done: {message}", file=sys.stderr)
    return 1 if failed else 0


def _export(options: argparse.Namespace) -> int:
    from xferlib.web.export import export

    try:
        file = export(options.name, options.out, options.zoo)
    except ImportError as error:
        raise UsageError(str(error)) from error
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    return 0


def _device(name: str) -> str:
    """Give PyTorch's name of the hardware asked for."""
    import torch

    found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else None
    if name == "gpu" and found is None:
        raise UsageError("--device gpu: this PyTorch finds no GPU; use --device cpu")
    return "cpu" if name == "cpu" else found or "cpu"


def _make_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(f"{out}: cannot be written to ({error.strerror}); give another folder to -o") from error


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def _apply_one(
    net: "nn.Module",
    row: "Row",
    path: Path,
    targets: Mapping[str, Path],
    probable: str | None,
    shares: "Tensor | None",
    how: Mapping[str, Any],
    white: float | None,
) -> None:
    from xferlib.data import images
    from xferlib.zoo.inference import PICTURES, class_probabilities, colours, run

    image = images.read(path, white=white)
    # The result is written last, so that it never lacks what goes with it.
    if probable:
        chances = class_probabilities(net, row, image, **how)
        if "probability" in targets:
            images.write(targets["probability"], chances[row.classes.index(probable)][None])
        found = chances.argmax(0)
    else:
        found = run(net, row, image, shares, **how)
    if "overlay" in targets:
        from xferlib import viz

        images.write(targets["overlay"], viz.found(row, image, found))
    if "result" not in targets:
        return
    if row.task in PICTURES:
        images.write(targets["result"], found)
    elif row.task == "instances":
        images.write_numbers(targets["result"], found)
    else:
        images.write_labels(targets["result"], found, colours(row))


def _jobs(inputs: Iterable[Path], out: Path, endings: Mapping[str, str]) -> dict[Path, dict[str, Path]]:
    """Name the files to write for each picture, and refuse two results of one name, and one over a picture."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: give -o a folder")
    pictures = list(dict.fromkeys(path for given in inputs for path in _pictures(given, out)))
    jobs = {path: {kind: out / f"{path.stem}{end}" for kind, end in endings.items()} for path in pictures}
    sources = {path.resolve(): path for path in pictures}
    writers: dict[str, Path] = {}
    for path, targets in jobs.items():
        for target in targets.values():
            # Some file systems take "A.png" and "a.png" for one file.
            other = writers.setdefault(target.name.casefold(), path)
            if other is not path:
                raise UsageError(f"{other} and {path} would both be written to {target}: rename one")
            if target.resolve() in sources:
                raise UsageError(f"{path} would be written over the picture {target}: give another folder to -o")
    return jobs


def _pictures(path: Path, out: Path) -> list[Path]:
    """List the pictures of a folder, but not the results in a folder within it; a file is a picture."""
    if path.is_dir():
        from xferlib.data.benchmarks import ImageFolder

        made = out.resolve()
        found = ImageFolder(path).paths
        within = made != path.resolve() and made.is_relative_to(path.resolve())
        return [each for each in found if not (within and each.resolve().is_relative_to(made))]
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; check the spelling")
    return [path]


def _train(options: argparse.Namespace) -> int:
    from xferlib.train import Study, recipes
    from xferlib.train.recipe import LOG, SMOKE_STEPS, run, sharing

    recipe = recipes.find(options.name)
    _device(options.device)
    if isinstance(recipe, Study):
        return _study(recipe, options)
    if options.smoke and (options.steps or options.out or options.resume):
        raise UsageError("--smoke takes two steps, in a folder of its own; leave out --steps, --out and --resume")
    sharing(recipe.batch_size, options.devices)
    own = recipe.adapt and options.data
    if own:
        recipe = recipe.adapt(recipe, options.data)
    if os.environ.get("RANK", "0") == "0":  # under `fabric run` only the first process speaks
        steps = SMOKE_STEPS if options.smoke else options.steps or recipe.steps
        print(f"{recipe.name}: {steps} steps on {recipe.data}", flush=True)
    row = run(
        recipe,
        steps=options.steps,
        seed=options.seed,
        data=options.data,
        out=options.out,
        resume=options.resume,
        smoke=options.smoke,
        accelerator=options.device,
        devices=options.devices,
        **({"precision": options.precision} if options.precision else {}),
    )
    if row is not None:
        figures = ", ".join(f"{name} {value}" for name, value in row.result.items())
        print(f"{row.name}: {figures}; {row.cost['seconds']} s on {row.cost['hardware']}")
        log = Path("runs", recipe.name, *(["smoke"] if options.smoke else []), LOG)
        if log.exists():
            print(f"each step is in {log}, its curves are in {_draw_curves(log)}")
        if own:
            print(f"use it: xferlib apply {row.name} --zoo {options.out or log.parent} PICTURE -o out/")
    return 0


def _draw_curves(log: Path) -> Path:
    """Draw the losses of a training beside its log."""
    from xferlib import viz
    from xferlib.train.log import read

    lines = read(log)
    names = [name for name in lines[0] if name not in ("step", "seconds", "lr")]
    terms = {name: [float(line[name]) for line in lines] for name in names}
    values = [value for term in terms.values() for value in term]
    viz.style()
    wide = 0 < 10 * min(values) < max(values)
    figure = viz.curves(terms, steps=[int(line["step"]) for line in lines], log=wide)
    picture = log.with_name("curves.png")
    figure.savefig(picture, dpi=150)
    return picture


def _study(study: "Study", options: argparse.Namespace) -> int:
    from xferlib.train.record import rank_and_processes
    from xferlib.train.study import run

    for name in ("steps", "data", "smoke", "resume", "precision"):
        if getattr(options, name) not in (None, False):
            raise UsageError(f"--{name}: {study.name} is a study, whose trainings are fixed")
    print(f"{study.name}: {study.data}", flush=True)
    found = run(study, seed=options.seed, out=options.out, accelerator=options.device, devices=options.devices)
    if rank_and_processes()[0] == 0:
        print(f"{json.dumps(found['figures'], indent=2)}\n{found['cost']['seconds']} s on {found['cost']['hardware']}")
    return 0


def _data_list(options: argparse.Namespace) -> int:
    from xferlib.data import photos, public
    from xferlib.data.benchmarks import home

    print("Drawn, exactly labelled, any number of them:")
    _table((), _drawn())
    print("\nPhotographs that scikit-image and scikit-learn ship:")
    parts = [(name, "test" if name in photos.TEST else "train", photos.ORIGINS[name]) for name in photos.NAMES]
    _table((), [(name, part, of.title, of.author, of.terms) for name, part, of in parts])
    print(f"\nPublic sets, in the folder that XFERLIB_DATA names ({home() or 'not set'}):")
    _table((), [(name, found, of.title, of.page, of.terms) for name, of, found in public.overview()])
    return 0


def _data_check(options: argparse.Namespace) -> int:
    from xferlib.data import public

    try:
        of, found = public.find(options.name), public.check(options.name, options.folder)
    except ValueError as error:
        raise UsageError(str(error)) from error
    print(f"{of.title}\npage: {of.page}\nterms: {of.terms}\nlayout: {of.layout}")
    there = [part for part in found if part.items]
    for part in found:
        print(f"{part.part}: " + (f"{part.items} found, {len(part.missing)} missing" if part.items else "not there"))
        for line in part.missing if part in there or not there else ():
            print(f"  {line}")
    return 0 if there and not any(part.missing for part in there) else 1


def _data_where(options: argparse.Namespace) -> int:
    from xferlib.data.benchmarks import home

    folder = home()
    if folder is None:
        print("XFERLIB_DATA is not set. Set it to a folder, and put each public set into one of its own name there.")
        return 1
    from xferlib.data import public

    print(folder.absolute())
    _table((), [(str(folder.absolute() / name), found) for name, _, found in public.overview()])
    return 0


def _drawn() -> list[tuple[str, str]]:
    """Each module of xferlib.data that draws, with the first line of its description."""
    from xferlib import data

    names = sorted(found.name for found in iter_modules(data.__path__) if not found.name.startswith("_"))
    modules = [import_module(f"xferlib.data.{name}") for name in names]
    drawing = [module for module in modules if hasattr(module, "draw")]
    return [(module.__name__.rpartition(".")[2], module.__doc__.strip().splitlines()[0]) for module in drawing]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [head, *rows] if head else list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
