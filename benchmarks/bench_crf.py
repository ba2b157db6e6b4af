"""Our fully connected CRF against pydensecrf2, a lattice in C++: time, and how far both are from all pairs summed."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import Row, pair, table, write
from xferlib.data import photos
from xferlib.ops import crf

LABELS, ITERATIONS = 21, 5
KERNELS = {"bilateral": 10.0, "position": 80.0, "colour": 13.0, "spatial": 3.0, "spread": 3.0}


def problem(size: tuple[int, int], name: str = "chelsea") -> tuple[Tensor, Tensor]:
    """
    Make energies of a photograph: its colours in 21 shades, blurred and made noisy, as a coarse net might say.

    Parameters
    ----------
    size : tuple of int
        Height and width.
    name : str
        A photograph.

    Returns
    -------
    Tensor, shape (1, 21, H, W)
        Energies.
    Tensor, shape (1, 3, H, W)
        The picture in 256 steps.
    """
    image = F.interpolate(photos.load(name)[None], size, mode="bilinear", antialias=True)
    image = (image * 255).round() / 255
    shade = (image.mean(1).flatten().argsort().argsort() * LABELS // image[0, 0].numel()).view(1, *size)
    one_hot = F.one_hot(shade, LABELS).permute(0, 3, 1, 2).float()
    coarse = torch.randn(1, LABELS, size[0] // 4, size[1] // 4, generator=torch.Generator().manual_seed(0))
    logits = 4 * F.avg_pool2d(one_hot, 9, 1, 4) + F.interpolate(coarse, size, mode="bilinear")
    return crf.unary(logits.softmax(1)), image


def peer(unary: Tensor, image: Tensor) -> Tensor:
    """
    Infer with pydensecrf2.

    Parameters
    ----------
    unary : Tensor, shape (1, L, H, W)
        Energies.
    image : Tensor, shape (1, 3, H, W)
        The picture.

    Returns
    -------
    Tensor, shape (1, L, H, W)
        Beliefs.
    """
    import pydensecrf.densecrf as densecrf

    _, labels, height, width = unary.shape
    field = densecrf.DenseCRF2D(width, height, labels)
    field.setUnaryEnergy(np.ascontiguousarray(unary[0].flatten(1).numpy()))
    field.addPairwiseGaussian(sxy=KERNELS["spread"], compat=KERNELS["spatial"])
    pixels = np.ascontiguousarray((image[0] * 255).round().byte().permute(1, 2, 0).numpy())
    field.addPairwiseBilateral(
        sxy=KERNELS["position"], srgb=KERNELS["colour"], rgbim=pixels, compat=KERNELS["bilateral"]
    )
    return torch.from_numpy(np.array(field.inference(ITERATIONS))).view_as(unary)


def distance(beliefs: Tensor, exact: Tensor) -> dict[str, float]:
    """
    Compare beliefs with those of all pairs.

    Parameters
    ----------
    beliefs, exact : Tensor, shape (1, L, H, W)
        Beliefs.

    Returns
    -------
    dict of str to float
        The share of pixels whose likeliest label is the same, and the mean absolute difference of a belief.
    """
    same = (beliefs.argmax(1) == exact.argmax(1)).double().mean().item()
    return {"same labels": same, "mean difference": (beliefs - exact).abs().mean().item()}


def errors(size: tuple[int, int]) -> dict[str, dict[str, float]]:
    """
    Hold ours and the peer's against the exact sum over all pairs.

    Parameters
    ----------
    size : tuple of int
        Height and width of the picture; the exact sum grows with their square.

    Returns
    -------
    dict of str to dict
        For "ours" and "peer" what `distance` says.
    """
    unary, image = problem(size)
    exact = crf.mean_field(unary, image, iterations=ITERATIONS, method="exact", **KERNELS)
    fast = crf.mean_field(unary, image, iterations=ITERATIONS, method="fast", **KERNELS)
    return {"ours": distance(fast, exact), "peer": distance(peer(unary, image), exact)}


def run(repeats: int = 7) -> dict[str, dict[str, float]]:
    """
    Time both at one and two threads; the peer uses one.

    Parameters
    ----------
    repeats : int
        How often each side is timed.

    Returns
    -------
    dict of str to dict
        For each number of threads the milliseconds of ours and of the peer, and their ratio.
    """
    unary, image = problem((240, 320))
    found, before = {}, torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        ours, theirs = pair(
            lambda: crf.mean_field(unary, image, iterations=ITERATIONS, method="fast", **KERNELS),
            lambda: peer(unary, image),
            repeats,
        )
        name = f"320x240, {LABELS} labels, {ITERATIONS} iterations, threads {threads}"
        found[name] = {"ours ms": ours, "peer ms": theirs, "ratio": ours / theirs}
    torch.set_num_threads(before)
    return found


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file for the figures; with it the errors are measured on 160x120")
    options = parser.parse_args()
    if find_spec("pydensecrf") is None:
        print("left out: pydensecrf2 is not installed, for it has to be compiled; pip install pydensecrf2")
        return
    start, times = perf_counter(), run()
    rows: list[Row] = [(name, figures["ours ms"], figures["peer ms"]) for name, figures in times.items()]
    print(table(rows))
    size = (120, 160) if options.json else (90, 120)
    found = errors(size)
    for name, figures in found.items():
        print(f"{name}, {size[1]}x{size[0]}, against all pairs: {figures}")
    if options.json:
        write(options.json, {"times": times, f"errors, {size[1]}x{size[0]}": found}, perf_counter() - start)


if __name__ == "__main__":
    main()
