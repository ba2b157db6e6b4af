"""Our tiled inference against MONAI's: time, memory and error; and how they grow with the tile and the image."""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import Row, pair, table, write
from xferlib.nets.unet import UNet
from xferlib.ops.tiling import apply_tiled, map_tiles, reach
from xferlib.train import record

# isort: split
# After xferlib, which lets torchvision import: MONAI imports it.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from monai.inferers import sliding_window_inference
    from monai.networks.nets import BasicUNet

SIZE, TILE, OVERLAP = 1024, 256, 0.25
STRIDE = 16
MIB = 2**20


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """
    Build a net for measuring: seeded, in evaluation mode, with statistics as if it had been trained.

    Parameters
    ----------
    build : callable
        Gives the net.

    Returns
    -------
    nn.Module
        The net.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build().eval()
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 2)
    return net


def peer_net() -> nn.Module:
    """
    Build the net of the comparison: MONAI's own U-Net, with batch normalisation so that one pass has no seams.

    Returns
    -------
    nn.Module
        BasicUNet for RGB and two classes.
    """
    widths = (16, 16, 32, 64, 128, 16)
    return seeded(lambda: BasicUNet(spatial_dims=2, in_channels=3, out_channels=2, features=widths, norm="batch"))


def slim_net() -> UNet:
    """
    Build the net with which tiles and images grow.

    Returns
    -------
    UNet
        Padded, three scales deep, 8 channels wide.
    """
    return seeded(lambda: UNet(3, 11, width=8, depth=3, padding="zeros", norm=True))


def photo(size: int) -> Tensor:
    """
    Make an image; its content does not matter here.

    Parameters
    ----------
    size : int
        Side in pixels.

    Returns
    -------
    Tensor, shape (3, size, size)
        Noise in [0, 1].
    """
    return torch.rand(3, size, size, generator=torch.Generator().manual_seed(0))


def labels(logits: Tensor) -> Tensor:
    """
    Keep the most likely class only.

    Parameters
    ----------
    logits : Tensor, shape (B, K, H, W)
        Scores of the classes.

    Returns
    -------
    Tensor of uint8, shape (B, H, W)
        The class.
    """
    return logits.argmax(1).to(torch.uint8)


@torch.inference_mode()
def ours(net: nn.Module, image: Tensor, **kwargs: object) -> Tensor:
    """
    Run our tiles at the size and overlap of the comparison.

    Parameters
    ----------
    net : nn.Module
        The net.
    image : Tensor, shape (3, H, W)
        Image.
    **kwargs
        As `apply_tiled` takes them.

    Returns
    -------
    Tensor, shape (K, H, W)
        Logits.
    """
    return apply_tiled(net, image, TILE, halo=round(TILE * OVERLAP / 2), stride=STRIDE, **kwargs)


@torch.inference_mode()
def peer(net: nn.Module, image: Tensor, mode: str = "constant") -> Tensor:
    """
    Run MONAI's sliding window at the same size and overlap.

    Parameters
    ----------
    net : nn.Module
        The net.
    image : Tensor, shape (3, H, W)
        Image.
    mode : {"constant", "gaussian"}
        How overlapping tiles are averaged.

    Returns
    -------
    Tensor, shape (K, H, W)
        Logits.
    """
    return sliding_window_inference(image[None], TILE, 1, net, overlap=OVERLAP, mode=mode)[0]


def run(repeats: int = 5) -> list[Row]:
    """
    Time both at one and two threads, as a user calls them and with the peer's net laid out as our tiles are.

    Parameters
    ----------
    repeats : int
        How often each is timed.

    Returns
    -------
    list of (str, float, float)
        What was done, our milliseconds, the peer's milliseconds.
    """
    image, net, last = photo(SIZE), peer_net(), peer_net().to(memory_format=torch.channels_last)
    rows, threads_before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for name, other in (("as called", net), ("both channels last", last)):
            name = f"BasicUNet {SIZE}x{SIZE}, tile {TILE}, {name}, {threads} thread{'s' * (threads > 1)}"
            rows.append((name, *pair(partial(ours, net, image), partial(peer, other, image), repeats)))
    torch.set_num_threads(threads_before)
    return rows


def errors(result: Tensor, whole: Tensor) -> dict[str, float]:
    """
    Tell how far tiles are from one pass.

    Parameters
    ----------
    result, whole : Tensor
        Results of the tiles and of one pass.

    Returns
    -------
    dict of str to float
        The largest difference, in units of the mean and of the largest activation.
    """
    largest, size = (result - whole).abs().max(), whole.abs()
    return {"error/mean": (largest / size.mean()).item(), "error/max": (largest / size.max()).item()}


def exactness(tile: int = 512, step: int = 288) -> list[dict[str, float | str]]:
    """
    Measure how far ours in its exact mode and MONAI's are from one pass, at the same tile and step.

    Parameters
    ----------
    tile, step : int
        Side of a tile and distance to the next, in pixels.

    Returns
    -------
    list of dict
        What was run, the halo in pixels, and the errors; our halo is the reach of the net.
    """
    image, net = photo(SIZE), peer_net()
    with torch.inference_mode():
        whole = net(image[None])[0]
        halo, found = reach(net, 3, STRIDE), []
        for name, memory_format in (("ours", torch.channels_last), ("same layout", torch.contiguous_format)):
            result = apply_tiled(net, image, tile, step=step, halo=halo, stride=STRIDE, memory_format=memory_format)
            found.append({"tiles": name, "halo": halo, **errors(result, whole)})
        for mode in ("constant", "gaussian"):
            result = sliding_window_inference(image[None], tile, 1, net, overlap=1 - step / tile, mode=mode)[0]
            found.append({"tiles": f"MONAI {mode[:5]}", "halo": (tile - step) // 2, **errors(result, whole)})
    return found


def peaks(repeats: int = 3) -> dict[str, float]:
    """
    Measure the memory of both at the tile and overlap of the comparison.

    Parameters
    ----------
    repeats : int
        Processes to measure each in.

    Returns
    -------
    dict of str to float
        The median of the peaks beyond net and image, in MiB, of ours and of MONAI's.
    """
    return {kind: median(peak(kind)["MiB"] for _ in range(repeats)) for kind in ("ours", "peer")}


def by_tile(tiles: tuple[int, ...] = (128, 256, 512, 1024), size: int = SIZE) -> list[dict[str, float]]:
    """
    Measure time, error and memory against the size of the tile.

    Parameters
    ----------
    tiles : tuple of int
        Sides of the tile in pixels; the image's own is one pass.
    size : int
        Side of the image in pixels.

    Returns
    -------
    list of dict
        Tile, halo, errors, seconds, MiB beyond image and result.
    """
    net, image, found = slim_net(), photo(size), []
    whole = apply_tiled(net, image, size)
    for halo in (reach(net, 3), 0):
        for tile in tiles:
            off = errors(apply_tiled(net, image, tile, halo=halo), whole)
            found.append({"tile": tile, "halo": halo, **off, **peak("slim", size, tile, halo)})
    return found


def by_size(
    sizes: tuple[int, ...] = (512, 1024, 2048), tile: int = 512, whole_to: int = 2048
) -> list[dict[str, float]]:
    """
    Measure time and peak memory as the image grows, tiled with halo = reach and in one pass, keeping labels only.

    Parameters
    ----------
    sizes : tuple of int
        Sides of the image in pixels.
    tile : int
        Side of a tile in pixels.
    whole_to : int
        Side of the largest image to process in one pass too.

    Returns
    -------
    list of dict
        Side, tile, seconds, MiB beyond image and result.
    """
    halo = reach(slim_net(), 3)
    cases = [(size, tile) for size in sizes] + [(size, size) for size in sizes if tile < size <= whole_to]
    return [{"size": size, "tile": used, **peak("slim", size, used, halo)} for size, used in cases]


def peak(kind: str, *numbers: int) -> dict[str, float]:
    """
    Run one case in a process of its own and measure the memory it takes.

    Parameters
    ----------
    kind : {"ours", "peer", "slim", "zarr"}
        Our tiles on the peer's net, MONAI's, our tiles on the slim net, or an image larger than memory.
    *numbers
        For "slim" the image's side, the tile and the halo; for "zarr" the image's side and the cap in MiB.

    Returns
    -------
    dict of str to float
        "MiB" is the highest use beyond image and net (and result, for "slim"); "seconds" are of one thread's
        own time, so that what else the machine does adds nothing.
    """
    command = [sys.executable, "-m", "benchmarks.bench_tiling", "--case", kind, *map(str, numbers)]
    # Memory that is freed goes back to the system, so that the peak is what was in use at once. That takes time.
    found = _run(command, MALLOC_ARENA_MAX="1", MALLOC_MMAP_THRESHOLD_="262144")
    return {**found, "seconds": _run(command)["seconds"]} if kind == "slim" else found


def _run(command: list[str], **environment: str) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[3:])} failed: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def beyond_memory(size: int = 7168, cap: int = 512) -> dict[str, float]:
    """
    Process a Zarr image that is larger than the memory its process may take.

    Parameters
    ----------
    size : int
        Side of the image in pixels; it takes 12 bytes a pixel.
    cap : int
        Memory beyond what the process takes when it starts, in MiB; the system refuses more.

    Returns
    -------
    dict of str to float
        MiB of the image, the cap, the peak; seconds; and whether the whole image at once was refused.
    """
    return peak("zarr", size, cap)


def _highest() -> float:
    """Give the highest use of memory so far, in MiB."""
    # Not getrusage: Linux starts a child's maximum at what its parent used.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _case(kind: str, numbers: list[int]) -> dict[str, float]:
    """Run one case in this process."""
    if kind == "zarr":
        return _from_zarr(*numbers)
    if kind == "slim":
        size, tile, halo = numbers
        net, image, out = slim_net(), photo(size), torch.zeros(size, size, dtype=torch.uint8)
        work = partial(apply_tiled, net, image, tile, halo=halo, then=labels, out=out)
    else:
        net, image = peer_net(), photo(SIZE)
        work = partial({"ours": ours, "peer": peer}[kind], net, image)
    before, start = _highest(), process_time()
    work()
    return {"seconds": process_time() - start, "MiB": _highest() - before}


def _from_zarr(size: int, cap: int) -> dict[str, float]:
    import dask
    import dask.array as da
    import zarr

    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 1})  # each thread's stack counts
    net, side = slim_net(), 512
    with tempfile.TemporaryDirectory() as folder, dask.config.set(scheduler="single-threaded"):
        line = da.arange(size, chunks=side, dtype=np.float32) / np.float32(size)
        da.stack([line[:, None] + 0 * line, line[:, None] * line, 0 * line[:, None] + line]).rechunk(
            (3, side, side)
        ).to_zarr(f"{folder}/image.zarr")
        used = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + cap * MIB, resource.RLIM_INFINITY))
        refused = False
        try:
            np.empty((3, size, size), np.float32)
        except MemoryError:
            refused = True
        before, start = _highest(), process_time()
        image = da.from_zarr(f"{folder}/image.zarr")
        map_tiles(net, image, side, halo=reach(net, 3), then=labels).to_zarr(f"{folder}/labels.zarr")
        seconds = process_time() - start
        assert da.from_zarr(f"{folder}/labels.zarr").shape == (size, size)
    whole = 12 * size**2 / MIB
    return {"image MiB": whole, "cap MiB": cap, "MiB": _highest() - before, "seconds": seconds, "refused": refused}


def times(repeats: int = 7) -> list[dict[str, float | str]]:
    """
    Measure the time of one thread that both take; what else the machine does adds nothing to it.

    Parameters
    ----------
    repeats : int
        How often each is timed, in turn.

    Returns
    -------
    list of dict
        Layout of the peer's net, our seconds, the peer's seconds, and their ratio: medians.
    """
    image, net, found, threads_before = photo(SIZE), peer_net(), [], torch.get_num_threads()
    torch.set_num_threads(1)
    for layout in ("as called", "channels last"):
        if layout == "channels last":
            net = net.to(memory_format=torch.channels_last)
        taken: list[tuple[float, float]] = []
        for _ in range(repeats + 1):
            start = process_time()
            ours(net, image)
            middle = process_time()
            peer(net, image)
            taken.append((middle - start, process_time() - middle))
        mine, others = (median(column) for column in zip(*taken[1:], strict=True))
        found.append({"net": layout, "ours s": mine, "MONAI s": others, "ratio": mine / others})
    torch.set_num_threads(threads_before)
    return found


PARTS = {
    f"seconds of one thread, BasicUNet on {SIZE}x{SIZE}, tile {TILE}, overlap {OVERLAP}": times,
    "peak memory, MiB": peaks,
    f"largest error against one pass, BasicUNet on {SIZE}x{SIZE}, tile 512, step 288": exactness,
    f"tiles on an image of {SIZE}x{SIZE}": by_tile,
    "images by tiles of 512x512, and in one pass": partial(by_size, (512, 1024, 2048, 4096, 8192)),
    "an image larger than the memory": beyond_memory,
}


def _lines(part: dict[str, float] | list[dict[str, float]]) -> str:
    if isinstance(part, dict):
        return "\n".join(f"{name}: {value:.4g}" for name, value in part.items())
    head = " ".join(f"{name:>13}" for name in part[0])
    return "\n".join([head, *(" ".join(map(_cell, row.values())) for row in part)])


def _cell(value: float | str) -> str:
    return f"{value:>13}" if isinstance(value, str) else f"{value:>13.4g}"


def main(arguments: list[str] | None = None) -> None:
    """
    Measure everything and print it; without ``--json`` the table of `run` as well.

    Parameters
    ----------
    arguments : list of str, optional
        ``--json PATH`` writes the figures to a file; by default those of the command line.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to this file")
    parser.add_argument("--case", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        kind, *numbers = options.case
        print(json.dumps(_case(kind, [int(number) for number in numbers])))
        return
    start, found = perf_counter(), {}
    if not options.json:
        print(table(run()))
    for name, measure in PARTS.items():
        found[name] = record.plain(measure())
        print(f"\n{name}", _lines(found[name]), sep="\n", flush=True)
    if options.json:
        write(options.json, found, perf_counter() - start)


if __name__ == "__main__":
    main()
