"""Our confusion matrix against torchmetrics', on the same label maps in the same run."""

import torch
from torch import Tensor

import xferlib.metrics.segmentation as ours
from benchmarks import Row, pair, table

# isort: split
# After xferlib, which lets torchvision import: torchmetrics imports it.
from torchmetrics.functional.classification import multiclass_confusion_matrix

NUM_CLASSES = 11


def _label_maps(count: int, height: int, width: int, cell: int = 8) -> tuple[Tensor, Tensor]:
    """Give seeded (prediction, target) of patches, as label maps have them, with a twentieth void."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(NUM_CLASSES, (count, height // cell, width // cell), generator=generator)
    target = coarse.repeat_interleave(cell, 1).repeat_interleave(cell, 2)
    prediction = target.roll(2, 2)
    void = torch.rand(coarse.shape, generator=generator) < 0.05
    return prediction, target.masked_fill(void.repeat_interleave(cell, 1).repeat_interleave(cell, 2), 255)


def _peer(prediction: Tensor, target: Tensor, checked: bool) -> Tensor:
    return multiclass_confusion_matrix(prediction, target, NUM_CLASSES, ignore_index=255, validate_args=checked)


def run() -> list[Row]:
    """
    Time both at one and two threads, with the peer's checks of its input and without; ours always checks.

    Returns
    -------
    list of (str, float, float)
        What was done, our milliseconds, the peer's milliseconds.

    Raises
    ------
    AssertionError
        If the two disagree on a count.
    """
    rows, threads_before = [], torch.get_num_threads()
    for count, height, width in ((1, 128, 256), (64, 128, 256)):
        maps = _label_maps(count, height, width)
        assert torch.equal(ours.confusion(*maps, NUM_CLASSES), _peer(*maps, checked=True))
        for checked in (True, False):
            for threads in (1, 2):
                torch.set_num_threads(threads)
                times = pair(
                    lambda maps=maps: ours.confusion(*maps, NUM_CLASSES),
                    lambda maps=maps, checked=checked: _peer(*maps, checked=checked),
                )
                name = f"confusion {count}x{height}x{width}, peer {'' if checked else 'un'}checked"
                rows.append((f"{name}, {threads} thread{'s' * (threads > 1)}", *times))
    torch.set_num_threads(threads_before)
    return rows


if __name__ == "__main__":
    print(table(run()))
