"""Our confusion matrix against torchmetrics', and our average precision against pycocotools', each in one run."""

import contextlib
import io
import math

import numpy as np
import torch
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

import xferlib.metrics.segmentation as ours
from benchmarks import Row, pair, table
from xferlib.metrics.instances import average_precision
from xferlib.ops.instances import Instances, boxes_of

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


def _confusion_rows() -> list[Row]:
    """Time both at one and two threads, with the peer's checks of its input and without; ours always checks."""
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


def _images(count: int, side: int, objects: int) -> tuple[list[Instances], list[Instances]]:
    """Give seeded (predictions, truths): discs of three classes, which overlap, and the same moved by some pixels."""
    generator = torch.Generator().manual_seed(0)
    predictions, truths = [], []
    for _ in range(count):
        centres = torch.rand(objects, 2, generator=generator) * side
        radii = 6 + torch.rand(objects, generator=generator) * 14
        classes = torch.randint(1, 4, (objects,), generator=generator)
        masks, moved = (
            _discs(centres + shift * torch.randn(objects, 2, generator=generator), radii, side) for shift in (0, 1.5)
        )
        truths.append(Instances(boxes_of(masks), classes, masks))
        predictions.append(Instances(boxes_of(moved), classes, moved, torch.rand(objects, generator=generator)))
    return predictions, truths


def _discs(centres: Tensor, radii: Tensor, side: int) -> Tensor:
    places = torch.arange(side) + 0.5
    x, y = ((places - centre[:, None]) ** 2 for centre in centres.clamp(1, side - 1).unbind(1))
    return y[:, :, None] + x[:, None] < radii[:, None, None] ** 2


def _peer_precision(predictions: list[Instances], truths: list[Instances]) -> list[float]:
    """Let pycocotools do it, from boolean masks as ours does: so with the encoding of its masks, without its prints."""
    images = [{"id": i, "height": t.masks.shape[1], "width": t.masks.shape[2]} for i, t in enumerate(truths)]
    with contextlib.redirect_stdout(io.StringIO()):
        true = COCO()
        true.dataset = {
            "images": images,
            "annotations": _annotations(truths),
            "categories": [{"id": c} for c in (1, 2, 3)],
        }
        true.createIndex()
        run = COCOeval(true, true.loadRes(_annotations(predictions)), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [value if value >= 0 else math.nan for value in run.stats[:6].tolist()]


def _annotations(images: list[Instances]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for image, objects in enumerate(images):
        codes = rle.encode(np.asfortranarray(objects.masks.permute(1, 2, 0).numpy().view(np.uint8)))
        classes = objects.classes.tolist()
        scores = [0.0] * len(classes) if objects.scores is None else objects.scores.tolist()
        for code, c, score in zip(codes, classes, scores, strict=True):
            row = {"id": len(rows) + 1, "image_id": image, "category_id": c, "segmentation": code, "score": score}
            rows.append(row | {"iscrowd": 0, "area": int(rle.area(code))})
    return rows


def _precision_rows() -> list[Row]:
    """Time both at one thread, of which the peer has no more; its time includes the encoding of its masks."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    images = _images(count=20, side=256, objects=60)
    found, expected = list(average_precision(*images).values()), _peer_precision(*images)
    assert np.allclose(found, expected, rtol=0, atol=1e-6, equal_nan=True), f"{found} is not {expected}"
    times = pair(lambda: average_precision(*images), lambda: _peer_precision(*images), repeats=5)
    torch.set_num_threads(threads_before)
    return [("mask AP 20x256x256, 60 objects each, peer encodes to RLE, 1 thread", *times)]


def run() -> list[Row]:
    """
    Time the confusion matrix and the average precision.

    Returns
    -------
    list of (str, float, float)
        What was done, our milliseconds, the peer's milliseconds.

    Raises
    ------
    AssertionError
        If ours and a peer disagree: on a count, or by more than 1e-6 on an average precision.
    """
    return _confusion_rows() + _precision_rows()


if __name__ == "__main__":
    print(table(run()))
