"""Mask R-CNN on drawn shapes, and what each of its parts is worth there."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from xferlib.data import shapes
from xferlib.losses.detection import mask_rcnn_loss
from xferlib.metrics.instances import average_precision
from xferlib.nets.mask_rcnn import MaskRCNN
from xferlib.ops.instances import Instances
from xferlib.train.recipe import Recipe
from xferlib.train.study import Study, Trainer

TEST_SEED = 1
"""The scenes of this seed are for measuring; training draws those of seed 2 and on."""
AREAS = {"small": (0, 16**2), "medium": (16**2, 32**2), "large": (32**2, 1e10)}
"""Areas of small, medium and large objects in pixels squared; our scenes are a fifth as wide as COCO's pictures."""
SLIM = {
    "num_classes": len(shapes.CLASSES),
    "depths": (1, 1, 1, 1),
    "widths": (16, 32, 64, 96),
    "expansion": 1,
    "stem": 16,
    "norm": "batch",
    "channels": 64,
    "anchors": (12, 24, 48, 96),
    "canonical": 112.0,
    "hidden": 256,
    "mask_width": 32,
    "candidates": 300,
    "proposals": 200,
    "sampled": 64,
}
"""A Mask R-CNN of 1.4 million weights for scenes of 128x128."""
Sample = tuple[Tensor, Tensor, Tensor]


class Mapped(Dataset):
    """
    Scenes whose objects are told by two maps, which can be stacked where the numbers of objects differ.

    Parameters
    ----------
    dataset : Dataset
        Triples of an image (3, H, W), its instance map (H, W) and the classes of the objects (N,).
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`: image, instance map, and the class of each pixel."""
        image, numbers, classes = self.dataset[index]
        return image, numbers, torch.cat([classes.new_zeros(1), classes])[numbers]


def instance_loss(net: nn.Module, batch: Sample, *, coupled: bool = False) -> dict[str, Tensor]:
    """
    Compare what Mask R-CNN finds in images with instance maps.

    Parameters
    ----------
    net : nn.Module
        The net, in training mode.
    batch : tuple of Tensor
        Images (B, 3, H, W), instance maps (B, H, W), and the class of each pixel (B, H, W).
    coupled : bool
        As in `xferlib.losses.detection.mask_loss`.

    Returns
    -------
    dict of Tensor
        The five terms.
    """
    images, numbers, labels = batch
    truths = [Instances.from_map(n, c) for n, c in zip(numbers, labels, strict=True)]
    return mask_rcnn_loss(net(images, truths), coupled=coupled)


def _scenes(data: Path | None, seed: int) -> Dataset:
    return Mapped(shapes.Shapes(2**32, seed=TEST_SEED + 1 + seed))


def precision(net: nn.Module, scenes: int = 200) -> dict[str, float]:
    """
    Measure a net on held-back scenes.

    Parameters
    ----------
    net : nn.Module
        A Mask R-CNN for the classes of `xferlib.data.shapes`.
    scenes : int
        Number of scenes.

    Returns
    -------
    dict
        Average precision of the masks by area, and of the boxes, in [0, 1].
    """
    net.eval()
    found, truths = [], []
    with torch.no_grad():
        for image, numbers, classes in (shapes.Shapes(scenes, seed=TEST_SEED, split="test")[i] for i in range(scenes)):
            found += net(image[None])
            truths.append(Instances.from_map(numbers, classes))
    boxes = average_precision(found, truths, of="boxes", areas=AREAS)
    return {
        **average_precision(found, truths, areas=AREAS),
        **{f"box {name}": boxes[name] for name in ("AP", "AP50", "AP75")},
    }


def _measure(net: nn.Module, data: Path | None) -> dict[str, float]:
    return precision(net)


ARMS: dict[str, dict[str, Any]] = {
    "one map, RoIAlign": {"pyramid": False},
    "one map, RoIWarp": {"pyramid": False, "pooling": "warp"},
    "one map, RoIPool": {"pyramid": False, "pooling": "pool"},
    "pyramid, RoIAlign": {},
    "pyramid, fully connected masks": {"mask_head": "mlp"},
    "pyramid, classes compete in the masks": {"coupled": True},
}
"""What the study compares, each with the same seed, scenes and number of steps."""
SEEDS, STEPS = 2, 600


def _ablate(train: Trainer, seed: int) -> Mapping[str, Any]:
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in ARMS}
    for run in range(seed, seed + SEEDS):
        for number, (name, changes) in enumerate(ARMS.items()):
            torch.manual_seed(run)
            net = MaskRCNN(**{**SLIM, **changes}).to(memory_format=torch.channels_last)
            loss: Callable[..., Any] = partial(instance_loss, coupled=net.coupled)
            scenes = _scenes(None, run)
            train(f"arm{number}-run{run}", net, loss, scenes, steps=STEPS, batch_size=8, lr=2e-3, seed=run, **OPTIONS)
            figures[name].append(precision(net))
    return figures


OPTIONS = {"weight_decay": 0.01, "warmup": 50}
RECIPE = Recipe(
    name="mask-rcnn-shapes",
    task="instances",
    chapter="mask_rcnn",
    net=MaskRCNN,
    arguments=SLIM,
    loss=instance_loss,
    dataset=_scenes,
    evaluate=_measure,
    steps=4000,
    batch_size=8,
    lr=2e-3,
    classes=shapes.CLASSES,
    palette="shapes",
    data="drawn shapes (xferlib.data.shapes), 128x128",
    terms="drawn by this project on photographs shipped by scikit-image and scikit-learn",
    options=OPTIONS,
    drawn=True,
)
STUDIES = (
    Study(
        name="mask-rcnn-ablation",
        chapter="mask_rcnn",
        measure=_ablate,
        data=f"drawn shapes of 128x128, {STEPS} steps of 8; measured on 200 other scenes; {SEEDS} seeds",
    ),
)
