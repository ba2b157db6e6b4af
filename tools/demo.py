"""The nets in the reader's browser: graphs, sample pictures and posters, put into the built site."""

import hashlib
import io
import json
import re
import shutil
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from tools import runtime
from tools.execute import cores
from tools.notebooks import ROOT
from xferlib import zoo
from xferlib.data import cells, exposures, images, photos, reflections, streets
from xferlib.ops.degrade import downscale, upscale
from xferlib.ops.resample import resize_bicubic
from xferlib.viz import found
from xferlib.web import export
from xferlib.zoo.inference import Painter, colours
from xferlib.zoo.memory import bytes_per_pixel, halo_of

CACHE = ROOT / "_build" / "demo"
WEB = ROOT / "xferlib" / "web"
STAMP = "assembled.sha256"
TIMES, LIVE = "<!-- the times -->", "styles, 256x192, camera / net"

RUNTIME_BYTES = 14.3e6
"""What a panel loads beside its net, for pages to say before they ask."""
MEMORY = 600e6
"""Bytes that a net may take for one pass in a page."""
MOST = {"cells": 262_144, "super-resolution": 65_536}
"""Pixels of one pass of a net that is not best near the size that it was trained at."""
MOST_ELSE = 1_000_000
WIDEST_HALO = 64
POSTER = 420
"""Longer side of a poster in pixels."""
POSTER_BYTES = 18_000

SAMPLES = {
    "street": "a drawn street",
    "town": "another drawn street",
    "avenue": "a drawn street, larger",
    "suburb": "another drawn street, larger",
    "culture": "drawn cells",
    "tissue": "drawn tissue",
    "cat": "a cat",
    "tower": "a tower by a lake",
    "astronaut": "an astronaut",
    "dark": "a dark room",
    "evening": "the lake, underexposed",
    "pane": "a tower behind a pane",
    "window": "a cat behind a pane",
    "small": "a small cat",
    "stamp": "a small tower",
}
PICTURES = ("cat", "tower", "astronaut")

# net: its title, what to know of it, and its sample pictures, the first one shown at the start
NETS = {
    "fcn8s-streets": ("FCN-8s", "trained on drawn streets", ("street", "town")),
    "fcn16s-streets": ("FCN-16s", "trained on drawn streets", ("street", "town")),
    "fcn32s-streets": ("FCN-32s", "trained on drawn streets", ("street", "town")),
    "fcn8s-camvid": ("FCN-8s, real streets", "trained on CamVid", ("street", "town")),
    "segnet-streets": ("SegNet", "trained on drawn streets", ("street", "town")),
    "unet-streets": ("U-Net", "trained on drawn streets", ("street", "town")),
    "enet-streets": ("E-Net", "trained on drawn streets", ("street", "town")),
    "enet-camvid": ("E-Net, real streets", "trained on CamVid", ("street", "town")),
    "segnet-camvid": ("SegNet, real streets", "trained on CamVid", ("street", "town")),
    "icnet-streets": ("ICNet", "trained on drawn streets", ("avenue", "suburb")),
    "pspnet-streets": ("PSPNet", "trained on drawn streets", ("avenue", "suburb")),
    "unet-cells": ("U-Net, cell culture", "trained on drawn cells", ("culture",)),
    "unet-tissue": ("U-Net, tissue", "trained on drawn tissue", ("tissue",)),
    "unet-isbi": ("U-Net, electron microscopy", "trained on ISBI 2012", ("tissue",)),
    "styles": ("Eight styles", "one net, styles to choose and to mix with the picture", PICTURES),
    "style-stained-glass": ("Stained glass", "one net, one style", PICTURES),
    "enhance": ("Two branches", "for pictures that are too dark", ("dark", "evening")),
    "reflection": ("CEILNet", "removes the reflection of a pane", ("window", "pane")),
    "reflection-icnn": ("I-CNN only", "the same without edges", ("window", "pane")),
    "reflection-naive": ("CEILNet, naive data", "trained on plain sums of pictures", ("window", "pane")),
    "sr-x2": ("Twice as large", "pixel loss", ("small", "stamp")),
    "sr-x3": ("Three times as large", "pixel loss", ("small", "stamp")),
    "sr-x4": ("Four times as large", "pixel loss", ("small", "stamp")),
    "sr-x4-feature": ("Four times, feature loss", "sharper, less true; learned from JPEG, too", ("small", "stamp")),
    "srcnn-x4": ("SRCNN, four times", "8,129 weights", ("small", "stamp")),
    "espcn-x4": ("ESPCN, four times", "computes at the small size", ("small", "stamp")),
}


def with_times(page: str) -> str:
    """Put a table of what the benchmark measured in place of the mark in the playground's text."""
    figures = json.loads((ROOT / "data" / "results" / "web.json").read_text(encoding="utf-8"))["figures"]
    lines = ["| net | weights | side | browser | ONNX Runtime | `xferlib.apply` |", "|---|--:|--:|--:|--:|--:|"]
    for work, native in figures.items():
        name, side, peer = work.split(", ")
        if peer == "browser / native":
            torch_ms = figures[f"{name}, {side}, browser / PyTorch"]["peer ms"]
            times = " | ".join(f"{value:.0f} ms" for value in (native["ours ms"], native["peer ms"], torch_ms))
            lines.append(f"| {NETS[name][0]} | {zoo.row(name).bytes / 1e6:.1f} MB | {side} | {times} |")
    rate = 1000 / figures[LIVE]["ours ms"]
    lines += ["", f"On the camera the eight styles paint {rate:.1f} pictures of 256x192 pixels a second, all in."]
    return page.replace(TIMES, "\n".join(lines))


def introduced(page: str) -> str:
    """Write into a page's panels what they say before they are touched and may load nothing."""
    return re.sub(r'<xfer-demo (?=[^>]*?\bnet="([^"]+)")', _introduction, page)


def _introduction(tag: re.Match) -> str:
    title, about, _ = NETS[tag[1]]
    megabytes = round((RUNTIME_BYTES + zoo.row(tag[1]).bytes) / 1e6)
    return f'{tag[0]}heading="{title}" about="{about}" megabytes="{megabytes}" '


def net_file(name: str, cache: Path = CACHE) -> Path:
    """Have a net's graph: the one exported before from the same weights, code and exporter, or a new one."""
    row = zoo.row(name)
    digest = hashlib.sha256(row.sha256.encode())
    for package in ("torch", "onnx", "onnx_ir", "onnxscript"):
        digest.update(version(package).encode())
    folders = (ROOT / "xferlib" / name for name in ("ops", "nets", "zoo"))
    code = [*(path for folder in folders for path in sorted(folder.glob("*.py"))), WEB / "export.py"]
    for path in code:
        digest.update(path.read_bytes())
    file = cache / "nets" / f"{name}.{digest.hexdigest()[:8]}.onnx"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        export.export(name, file)
    return file


def net_files(names: list[str]) -> dict[str, Path]:
    """Have the graphs of several nets, exported side by side on the cores."""
    with ProcessPoolExecutor(min(cores(), len(names)), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        return dict(zip(names, pool.map(net_file, names), strict=True))


def sample(name: str) -> Tensor:
    """Make a sample picture, (3, H, W) in [0, 1]: drawn ones and photographs that no net was trained on."""
    tower, cat = photos.load("china"), photos.load("chelsea")
    generator = torch.Generator().manual_seed(0)
    match name:
        case "street" | "town":
            return streets.draw(20_000 if name == "street" else 20_003, 160, 320)[0]
        case "avenue" | "suburb":
            return streets.draw(20_000 if name == "avenue" else 20_003, 256, 512)[0]
        case "culture" | "tissue":
            return cells.draw(20_000, 256, 384, kind=name)[0].expand(3, -1, -1)
        case "cat":
            return cat
        case "tower":
            return fitted(tower, 480)
        case "astronaut":
            return fitted(photos.load("astronaut"), 480)
        case "dark":
            return exposures.expose(fitted(photos.load("motorcycle"), 480), -3.0, generator)
        case "evening":
            return exposures.expose(fitted(tower, 480), -3.0, generator)
        case "pane" | "window":
            behind, before = (tower, cat) if name == "pane" else (cat, photos.load("astronaut"))
            behind = fitted(behind, 400)
            before = resize_bicubic(before[None], behind.shape[1:])[0].clamp(0, 1)
            return reflections.ceilnet_blend(behind, before, sigma=3.0, strength=0.5).image
        case "small" | "stamp":
            return downscale(fitted(cat if name == "small" else tower, 512)[None], 4)[0]
    raise ValueError(f"no sample picture is named {name!r}")


def fitted(image: Tensor, side: int) -> Tensor:
    """Reduce a picture to a longer side, to multiples of 4 pixels."""
    size = [round(length * side / max(image.shape[1:]) / 4) * 4 for length in image.shape[1:]]
    return resize_bicubic(image[None], size)[0].clamp(0, 1)


def entry(name: str, file: Path) -> dict:
    """Say of one net what the page needs to know."""
    row, net = zoo.row(name), zoo.load(name)
    if row.task == "style" and len(row.classes) > 1:
        net = Painter(net, torch.full((len(row.classes),), 1 / len(row.classes))).eval()
    title, about, pictures = NETS[name]
    halo, scale = halo_of(net), getattr(net, "factor", 1)
    most = min(max(row.pixels, default=_most(row)), int(MEMORY / bytes_per_pixel(net)))
    tiled = row.task != "segmentation" and halo is not None and halo <= WIDEST_HALO
    legend = []
    if row.task == "segmentation":
        legend = [
            {"name": each, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
            for each, colour in zip(row.classes, colours(row), strict=False)
        ]
    return {
        "title": title,
        "about": about,
        "task": row.task,
        "file": f"nets/{file.name}",
        "bytes": file.stat().st_size,
        "scale": scale,
        "most": most,
        "tile": {"halo": halo, "stride": getattr(net, "stride", 1)} if tiled else None,
        "classes": legend,
        "styles": list(row.classes) if row.task == "style" else [],
        "samples": list(pictures),
    }


def poster(name: str) -> bytes:
    """Show in one JPEG a net's first sample picture, half as it is and half as the net makes it."""
    row, before = zoo.row(name), sample(NETS[name][2][0])
    styles = {row.classes[0]: 1.0} if len(row.classes) > 1 and row.task == "style" else None
    after = zoo.apply(name, before, styles=styles, views=1)
    if row.task == "segmentation":
        after = found(row, before, after)
    before = upscale(before[None], after.shape[1] // before.shape[1])[0] if after.shape != before.shape else before
    middle = after.shape[2] // 2
    joined = torch.cat([before[..., :middle], after[..., middle:]], 2)
    picture = images.to_pil(joined.clamp(0, 1))
    picture.thumbnail((POSTER, POSTER))
    middle = picture.width // 2
    ImageDraw.Draw(picture).line((middle, 0, middle, picture.height), fill="white", width=2)
    attempts = (jpeg(picture, quality) for quality in range(75, 30, -5))
    return next((content for content in attempts if len(content) <= POSTER_BYTES), jpeg(picture, 30))


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """Write a picture to bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def assemble(folder: Path = CACHE) -> Path:
    """Have all that the demos load in one folder; what is there already, from the same sources, is kept."""
    names = [row.name for row in export.exportable() if row.name in NETS]
    stamp, digest = folder / STAMP, _digest(names)
    if stamp.exists() and stamp.read_text() == digest:
        return folder
    print(f"    {len(names)} nets for the reader's browser, exported where they are new", flush=True)
    stamp.unlink(missing_ok=True)
    files = net_files(names)
    keep_only(folder / "nets", {file.name for file in files.values()})
    runtime_files = runtime.fetch(runtime.ORT, folder / "ort")
    write_all(folder / "samples", {f"{name}.jpg": jpeg(images.to_pil(sample(name)), 92) for name in SAMPLES})
    write_all(folder / "posters", {f"{name}.jpg": poster(name) for name in names})
    worker = (WEB / "worker.mjs").read_bytes()
    code = f"worker.{hashlib.sha256(worker).hexdigest()[:8]}.mjs"
    catalogue = {
        "worker": code,
        "runtime": {"version": runtime.ORT.version, "bytes": sum(file.stat().st_size for file in runtime_files)},
        "samples": {name: {"title": title, "file": f"samples/{name}.jpg"} for name, title in SAMPLES.items()},
        "nets": {name: entry(name, files[name]) for name in names},
    }
    for old in folder.glob("worker.*.mjs"):
        old.unlink()
    write_all(folder, {"nets.json": json.dumps(catalogue, indent=1).encode() + b"\n", code: worker})
    stamp.write_text(digest)
    return folder


def install(site: Path) -> None:
    """Put what the demos load into a built site."""
    source, target = assemble(), site / "_static" / "demo"
    stamp = target / STAMP
    if stamp.exists() and stamp.read_text() == (source / STAMP).read_text():
        return
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(STAMP, "*.complete", "*.part", "tmp*"))
    shutil.copyfile(source / STAMP, stamp)  # last: what was interrupted is done again


def keep_only(folder: Path, names: set[str]) -> None:
    """Delete the files of a folder that are not among the names."""
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()


def write_all(folder: Path, files: dict[str, bytes]) -> None:
    """Write files to a folder, making it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _most(row: zoo.Row) -> int:
    return next((MOST[key] for key in (row.palette, row.task) if key in MOST), MOST_ELSE)


def _digest(names: list[str]) -> str:
    """Digest all that the demos' files are made of."""
    digest = hashlib.sha256(" ".join([*names, *(repr(zoo.row(name)) for name in names)]).encode())
    digest.update((ROOT / "constraints.txt").read_bytes())
    sources = [*sorted((ROOT / "xferlib").rglob("*.py")), WEB / "worker.mjs", *sorted((ROOT / "tools").glob("*.py"))]
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()
