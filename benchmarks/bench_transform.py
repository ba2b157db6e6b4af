"""Painting in one pass: our net of all styles against the public one, and against the iterations of Gatys et al."""

from collections.abc import Callable
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import Row, command, pair
from xferlib.data import paintings, photos
from xferlib.losses.perceptual import LossNetwork
from xferlib.nets.folding import accelerate
from xferlib.nets.transform_net import SLIM, TransformNet
from xferlib.train.stylize import stylize
from xferlib.zoo.loss_network import loss_network

SIDES, STYLES = (256, 512), len(paintings.STYLES)
ITERATIONS = 100
TIMED = {256: 100, 512: 20, 1024: 5}
"""How many of the iterations are timed at each size; the rest are taken to last as long as each after the first."""


def _conv(before: int, after: int, kernel: int, stride: int = 1, enlarge: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(before, after, kernel, stride)]
    return nn.Sequential(*([nn.Upsample(scale_factor=enlarge)] if enlarge > 1 else []), *layers)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(_conv(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True))
        self.second = nn.Sequential(_conv(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu(self.first(x))) + x


def public_net() -> nn.Sequential:
    """
    Build the net that PyTorch's examples have for fast neural style, as it is published: 1,679,235 parameters.

    Returns
    -------
    nn.Sequential
        The net with random weights, in evaluation mode. Sides of its pictures are multiples of 4.
    """

    def normed(*conv: int) -> list[nn.Module]:
        return [_conv(*conv), nn.InstanceNorm2d(conv[1], affine=True), nn.ReLU()]

    down = [*normed(3, 32, 9), *normed(32, 64, 3, 2), *normed(64, 128, 3, 2)]
    up = [*normed(128, 64, 3, 1, 2), *normed(64, 32, 3, 1, 2), _conv(32, 3, 9)]
    return nn.Sequential(*down, *(_Residual(128) for _ in range(5)), *up).eval()


def painter(**arguments: object) -> Callable[[Tensor], Tensor]:
    """
    Give one of our nets as the zoo gives it, set to one style.

    Parameters
    ----------
    **arguments
        Of `TransformNet`.

    Returns
    -------
    callable
        Called as ``paint(images)`` with (B, 3, H, W).
    """
    net = accelerate(TransformNet(**arguments).eval().requires_grad_(False))
    shares = () if arguments.get("styles") is None else (torch.eye(STYLES)[0],)
    return lambda images: net(images, *shares)


def against_the_public_net(threads: int, repeats: int) -> list[Row]:
    """
    Time one pass of our nets and of the public one.

    Parameters
    ----------
    threads : int
        Threads of both.
    repeats : int
        How often each is timed.

    Returns
    -------
    list of (str, float, float)
        What was done, our milliseconds, the public net's milliseconds.
    """
    torch.set_num_threads(threads)
    public, rows = public_net(), []
    ours = {"the net of all styles": painter(**SLIM, styles=STYLES), "the paper's net": painter()}
    with torch.inference_mode():
        for side in SIDES:
            image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
            for name, paint in ours.items():
                times = pair(lambda p=paint, x=image: p(x), lambda x=image: public(x), repeats)
                rows.append((f"{name} at {side}x{side}, threads {threads}, against the public net", *times))
    return rows


def iterations(picture: Tensor, painting: Tensor, net: LossNetwork, count: int) -> float:
    """
    Paint as Gatys et al. do, by iterations of L-BFGS on the pixels, and tell how long `ITERATIONS` of them take.

    Parameters
    ----------
    picture, painting : Tensor, shape (3, H, W)
        Content and style.
    net : callable
        The loss network.
    count : int
        How many evaluations of the loss are made, two or more.

    Returns
    -------
    float
        Milliseconds: those made, and for the others, as many as each after the first took.
    """
    start = perf_counter()
    seconds = stylize(picture, painting, net, steps=count, progress=False).history.seconds
    taken, each = perf_counter() - start, (seconds[-1] - seconds[0]) / (len(seconds) - 1)
    return 1000 * (taken + (ITERATIONS - count) * each)


def against_gatys(threads: int, repeats: int = 5) -> list[Row]:
    """
    Time one pass of the net of all styles, and the iterations that it stands for.

    Parameters
    ----------
    threads : int
        Threads of both.
    repeats : int
        How often the pass is timed; the iterations are timed once.

    Returns
    -------
    list of (str, float, float)
        What was done, our milliseconds, the milliseconds of the iterations.
    """
    torch.set_num_threads(threads)
    net, paint, rows = loss_network(), painter(**SLIM, styles=STYLES), []
    painting = paintings.draw("stained-glass", 256, 256)
    iterations(photos.square(photos.load("china"), 64), painting, net, 2)
    for side, count in TIMED.items():
        picture = photos.square(photos.load("china"), side)
        theirs = iterations(picture, painting, net, count)
        with torch.inference_mode():
            ours, _ = pair(lambda x=picture[None]: paint(x), lambda: None, repeats)
        how = "" if count == ITERATIONS else f" ({count} timed)"
        name = (
            f"the net of all styles at {side}x{side}, threads {threads}, against {ITERATIONS} iterations of pixels{how}"
        )
        rows.append((name, ours, theirs))
    return rows


def run(repeats: int = 15) -> list[Row]:
    """
    Make all comparisons: nets at two threads and one, iterations at two.

    Parameters
    ----------
    repeats : int
        How often each pass is timed.

    Returns
    -------
    list of (str, float, float)
        What was done, our milliseconds, the peer's milliseconds.
    """
    before = torch.get_num_threads()
    rows = [row for threads in (2, 1) for row in against_the_public_net(threads, repeats)] + against_gatys(2)
    torch.set_num_threads(before)
    return rows


if __name__ == "__main__":
    command(__doc__, run, repeats=15)
