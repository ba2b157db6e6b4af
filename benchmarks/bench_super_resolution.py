"""Enlarging four times: our net against spandrel's SRVGGNetCompact, and ESPCN against SRCNN at equal output."""

from importlib.util import find_spec

import torch
from torch import nn

from benchmarks import Row, command, pair
from xferlib.nets.edsr import EDSR, SLIM
from xferlib.nets.enlarger import Enlarger
from xferlib.nets.espcn import ESPCN
from xferlib.nets.folding import accelerate
from xferlib.nets.srcnn import SRCNN

FACTOR, SIDE = 4, 128


def ours(net: Enlarger) -> nn.Module:
    """
    Give one of our nets as the zoo gives it.

    Parameters
    ----------
    net : Enlarger
        The net.

    Returns
    -------
    nn.Module
        A copy for inference.
    """
    return accelerate(net.eval().requires_grad_(False))


def compact() -> nn.Module:
    """
    Give the compact net of Real-ESRGAN as spandrel loads it from a file of weights: 64 channels, 16 convolutions.

    Returns
    -------
    nn.Module
        The net with random weights, in evaluation mode.
    """
    from spandrel import ModelLoader
    from spandrel.architectures.Compact import Compact

    return ModelLoader("cpu").load_from_state_dict(Compact(upscale=FACTOR).state_dict()).model.eval()


def run(repeats: int = 15) -> list[Row]:
    """
    Time one pass of each on a picture of 128x128, at two threads and one.

    Parameters
    ----------
    repeats : int
        How often each is timed.

    Returns
    -------
    list of (str, float, float)
        What was done, the milliseconds of ours or of ESPCN, those of spandrel's net or of SRCNN.
    """
    before, rows = torch.get_num_threads(), []
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    pairs = {
        "the small EDSR against SRVGGNetCompact": (ours(EDSR(FACTOR, **SLIM)), compact()),
        "ESPCN against SRCNN": (ours(ESPCN(FACTOR)), ours(SRCNN(FACTOR))),
    }
    with torch.inference_mode():
        for threads in (2, 1):
            torch.set_num_threads(threads)
            for name, (net, peer) in pairs.items():
                assert net(image).shape == peer(image).shape
                times = pair(lambda n=net: n(image), lambda p=peer: p(image), repeats)
                rows.append((f"{SIDE}x{SIDE} to {FACTOR * SIDE}x{FACTOR * SIDE}, threads {threads}, {name}", *times))
    torch.set_num_threads(before)
    return rows


if __name__ == "__main__":
    if find_spec("spandrel") is None:
        print("left out: spandrel is not installed; pip install spandrel")
    else:
        command(__doc__, run, repeats=15)
