"""E-Net as a user gets it from us against the same net in plain eager mode, in the same run."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks import Row, pair, table
from xferlib.nets.enet import ENet
from xferlib.nets.folding import accelerate, channels_last, fold, swap_pooling

SIZES = ((512, 512), (360, 640))
FORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "fast": accelerate,
    "folded": fold,
    "channels last": channels_last,
    "folded, channels last": lambda net: channels_last(fold(net)),
    "pooling swapped": swap_pooling,
}


def _net() -> ENet:
    """Give an E-Net whose normalisation has something to do."""
    torch.manual_seed(0)
    net = ENet()
    with torch.no_grad():
        net(torch.rand(4, 3, 96, 96))
    return net.eval()


def _check_labels(logits: Tensor, expected: Tensor) -> None:
    differing = (logits.argmax(1) != expected.argmax(1)).float().mean().item()
    if differing > 1e-4:
        raise AssertionError(f"{differing:.2%} of the labels differ")


@torch.inference_mode()
def run() -> list[Row]:
    """
    Time each form of the net at one and two threads on one image of each size.

    Returns
    -------
    list of (str, float, float)
        What was done, the form's milliseconds, the plain net's milliseconds.

    Raises
    ------
    AssertionError
        If a form gives other labels on more than one pixel in ten thousand.
    """
    plain = _net()
    forms = {name: make(plain) for name, make in FORMS.items()}
    rows, threads_before = [], torch.get_num_threads()
    for size in SIZES:
        image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
        for name, net in forms.items():
            _check_labels(net(image), plain(image))
            for threads in (2, 1):
                torch.set_num_threads(threads)
                times = pair(lambda net=net, image=image: net(image), lambda image=image: plain(image), repeats=9)
                name_and_size = f"E-Net {size[0]}x{size[1]}, {name}"
                rows.append((f"{name_and_size}, {threads} thread{'s' * (threads > 1)}", *times))
    torch.set_num_threads(threads_before)
    return rows


if __name__ == "__main__":
    print(table(run()))
