"""Our FCN-8s on VGG-16 against torchvision's FCN on ResNet-50, at equal work, in the same run."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import Row, pair, table
from xferlib.nets.fcn import FCN

# isort: split
# After xferlib, which lets torchvision import.
from torchvision.models.segmentation import fcn_resnet50

# Wider than VGG-16, so that both nets multiply and add equally often.
WIDTHS = (72, 144, 288, 576, 576)


def multiply_adds(net: nn.Module, image: Tensor) -> float:
    """
    Count the multiply-adds of one forward pass.

    Parameters
    ----------
    net : nn.Module
        The net.
    image : Tensor, shape (B, C, H, W)
        Its input.

    Returns
    -------
    float
        Multiply-adds, in billions.
    """
    with FlopCounterMode(display=False) as counter:
        net(image)
    return counter.get_total_flops() / 2e9


@torch.inference_mode()
def run() -> list[Row]:
    """
    Time both nets at one and two threads on one 256x256 image, ours divided by its share of the peer's work.

    Returns
    -------
    list of (str, float, float)
        What was done, our milliseconds at the peer's number of multiply-adds, the peer's milliseconds.
    """
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    ours = FCN(21, 8, widths=WIDTHS, padding=1).eval()
    peer = fcn_resnet50(weights=None, weights_backbone=None, num_classes=21).eval()
    work, peer_work = multiply_adds(ours, image), multiply_adds(peer, image)
    rows, threads_before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        mine, others = pair(lambda: ours(image), lambda: peer(image), repeats=7)
        name = f"FCN 256x256, {work:.1f} against {peer_work:.1f} G multiply-adds, {threads} thread{'s' * (threads > 1)}"
        rows.append((name, mine * peer_work / work, others))
    torch.set_num_threads(threads_before)
    return rows


if __name__ == "__main__":
    print(table(run()))
