"""Our RoIAlign against torchvision's: its Python reference in eager mode, and its compiled operator where it loads."""

import argparse
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from benchmarks import Row, pair, table, write
from xferlib.ops.roi import roi_align

# isort: split
# After xferlib, which lets torchvision import.
from torchvision.ops import roi_align as compiled
from torchvision.ops.roi_align import _roi_align

REFERENCE = getattr(_roi_align, "__wrapped__", _roi_align)  # without its lazy torch.compile
CASES = {
    "100 boxes 7x7 on 256x50x50": (100, 7, (50, 50)),
    "100 boxes 14x14 on 256x50x50": (100, 14, (50, 50)),
    "512 boxes 7x7 on 256x50x50": (512, 7, (50, 50)),
    "200 boxes 14x14 on 256x200x304": (200, 14, (200, 304)),
}
CHANNELS, RATIO = 256, 2
Cut = Callable[[Tensor, Tensor, int], Tensor]


def boxes(number: int, size: tuple[int, int]) -> Tensor:
    """
    Draw boxes within a map, their sides evenly from 2 cells up to what fits.

    Parameters
    ----------
    number : int
        How many.
    size : tuple of int
        Rows and columns of the map.

    Returns
    -------
    Tensor, shape (number, 5)
        Image 0, then corners in cells.
    """
    generator = torch.Generator().manual_seed(0)
    whole = torch.tensor([size[1], size[0]])
    corner = torch.rand(number, 2, generator=generator) * (whole - 3) + 0.5
    side = 2 + torch.rand(number, 2, generator=generator) * (whole - corner - 2.5)
    return torch.cat([torch.zeros(number, 1), corner, corner + side], 1)


def ours(features: Tensor, regions: Tensor, out: int) -> Tensor:
    """
    Cut with `xferlib.ops.roi.roi_align`.

    Parameters
    ----------
    features : Tensor, shape (1, C, H, W)
        The map.
    regions : Tensor, shape (K, 5)
        Image and corners.
    out : int
        Bins along each axis.

    Returns
    -------
    Tensor, shape (K, C, out, out)
        The bins.
    """
    return roi_align(features, regions, out, 1.0, RATIO, True)


def peers() -> dict[str, Cut]:
    """
    Give torchvision's ways that work here.

    Returns
    -------
    dict of str to callable
        Each is called as `ours`.
    """
    found: dict[str, Cut] = {"reference": lambda f, b, n: REFERENCE(f, b, 1.0, n, n, RATIO, True)}
    if hasattr(torch.ops.torchvision, "roi_align"):
        found["compiled"] = lambda f, b, n: compiled(f, b, n, 1.0, RATIO, True)
    return found


def run(repeats: int = 5) -> dict[str, dict[str, dict[str, float]]]:
    """
    Time all cases at one and two threads, forward and with the way back.

    Parameters
    ----------
    repeats : int
        How often each side of a pair is timed.

    Returns
    -------
    dict
        For each number of threads and case the milliseconds of ours and of the peer, and how many times as fast ours
        is. Ours and the peer agree to 1e-5, or a RuntimeError says by how much they do not.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for case, (number, out, size) in CASES.items():
            features = torch.randn(1, CHANNELS, *size, generator=torch.Generator().manual_seed(1), requires_grad=True)
            regions = boxes(number, size)
            back = torch.ones(number, CHANNELS, out, out)
            for peer, cut in peers().items():
                with torch.no_grad():
                    apart = (ours(features, regions, out) - cut(features, regions, out)).abs().max().item()
                    if apart > 1e-5:
                        raise RuntimeError(f"{case}: ours and torchvision's {peer} differ by {apart:.1e}")
                    forward = pair(
                        lambda f=features, r=regions, n=out: ours(f, r, n),
                        lambda f=features, r=regions, n=out, cut=cut: cut(f, r, n),
                        repeats,
                    )
                both = pair(
                    lambda f=features, r=regions, n=out, g=back: torch.autograd.grad(ours(f, r, n), f, g),
                    lambda f=features, r=regions, n=out, g=back, cut=cut: torch.autograd.grad(cut(f, r, n), f, g),
                    repeats,
                )
                for name, (mine, theirs) in (("forward", forward), ("with backward", both)):
                    label = f"{case}, {name}, against the {peer}"
                    found.setdefault(f"threads {threads}", {})[label] = {
                        "ours ms": round(mine, 1),
                        "peer ms": round(theirs, 1),
                        "times as fast": round(theirs / mine, 1),
                        "largest difference": apart,
                    }
    torch.set_num_threads(before)
    return found


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    start, found = perf_counter(), run(options.repeats)
    rows: list[Row] = [
        (f"{case}, {threads}", figures["ours ms"], figures["peer ms"])
        for threads, cases in found.items()
        for case, figures in cases.items()
    ]
    print(table(rows))
    if options.json:
        write(options.json, found, perf_counter() - start)


if __name__ == "__main__":
    main()
