"""Our structural similarity against pytorch-msssim's, at the same convention: windows of 11, sigma 1.5, valid ones."""

from collections.abc import Callable
from importlib.util import find_spec

import torch

from benchmarks import Row, command, pair
from xferlib.data import photos
from xferlib.metrics.restoration import ssim

SIDE = 512


def run(repeats: int = 15) -> list[Row]:
    """
    Time both at one and two threads on one pair of pictures, and on four with gradients, as a loss is used.

    Parameters
    ----------
    repeats : int
        How often each is timed.

    Returns
    -------
    list of (str, float, float)
        What was done, our milliseconds, the peer's milliseconds. Where the two differ by more than 1e-5, a
        RuntimeError says so.
    """
    from pytorch_msssim import ssim as theirs

    targets = photos.squares(("chelsea", "china", "astronaut", "motorcycle"), SIDE)
    noise = 0.05 * torch.randn(targets.shape, generator=torch.Generator().manual_seed(0))
    images = (targets + noise).clamp(0, 1)

    def ours(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ssim(images, targets, data_range=1.0)

    def peer(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return theirs(images, targets, data_range=1.0, size_average=False)

    apart = (ours(images, targets) - peer(images, targets)).abs().max().item()
    if apart > 1e-5:
        raise RuntimeError(f"ours and the peer's differ by {apart:.1e}")

    def gradient(measured: Callable[..., torch.Tensor]) -> None:
        made = images.clone().requires_grad_()
        measured(made, targets).sum().backward()

    rows: list[Row] = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        once = pair(lambda: ours(images[:1], targets[:1]), lambda: peer(images[:1], targets[:1]), repeats)
        rows.append((f"one pair of {SIDE}x{SIDE}x3, threads {threads}", *once))
        trained = pair(lambda: gradient(ours), lambda: gradient(peer), max(1, repeats // 3))
        rows.append((f"four pairs of {SIDE}x{SIDE}x3 and the gradient, threads {threads}", *trained))
    torch.set_num_threads(before)
    return rows


if __name__ == "__main__":
    if find_spec("pytorch_msssim"):
        command(__doc__, run, repeats=15)
    else:
        print("pytorch-msssim is not installed, so there is no peer: pip install --no-deps pytorch-msssim")
