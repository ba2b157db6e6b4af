"""What a small detector gains by mimicking a large one: half-size Mask R-CNNs on drawn shapes."""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xferlib import zoo
from xferlib.data import shapes
from xferlib.losses.detection import mask_rcnn_loss
from xferlib.losses.distillation import region_mimic_loss
from xferlib.metrics import cost
from xferlib.nets.hints import Regressor, layer_outputs
from xferlib.nets.mask_rcnn import Learned, MaskRCNN
from xferlib.ops.instances import Instances
from xferlib.train.recipes.mask_rcnn_shapes import (
    OPTIONS,
    SLIM,
    TEST_SEED,
    Mapped,
    Sample,
    instance_loss,
    precision,
)
from xferlib.train.study import Study, Trainer

TEACHER = "mask-rcnn-shapes"
HALF = {**SLIM, "widths": (8, 16, 32, 48), "stem": 8, "channels": 32, "hidden": 128, "mask_width": 16}
"""The teacher with half the channels: a quarter of its weights and of its work."""
STEPS, BATCH, LR, RUNS = 600, 8, 2e-3, 2
WEIGHT = 5.0
"""Of the mimicry beside the five terms of the labels; for whole maps a fifth of it is tried too."""
MEASURED = 100
"""Scenes that a net is measured on."""
SIDE = 128


class HalfInput(MaskRCNN):
    """
    Mask R-CNN that looks at its pictures at half their size; boxes and masks stay in the pixels of the whole ones.

    Parameters
    ----------
    **arguments
        As `xferlib.nets.mask_rcnn.MaskRCNN` takes them.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        for part in (self.rpn, self.box_pooler, self.mask_pooler):
            part.strides = tuple(2 * stride for stride in part.strides)

    def levels(self, images: Tensor) -> list[Tensor]:
        """
        Compute the maps on which objects are found.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            Images in [0, 1].

        Returns
        -------
        list of Tensor
            Maps (B, channels, H_k, W_k), the finest first; a side is half as long as of the whole picture's maps.
        """
        return super().levels(F.interpolate(images, scale_factor=0.5, mode="area"))


class Mimic(nn.Module):
    """
    A student, with the regressors that bring the levels of its pyramid to the channels and sizes of its teacher's.

    The regressors are for training alone: the trained net is ``student``.

    Parameters
    ----------
    student : MaskRCNN
        The net to train.
    channels : int
        Channels of the teacher's levels.
    """

    def __init__(self, student: MaskRCNN, channels: int) -> None:
        super().__init__()
        enlarge = 2 if isinstance(student, HalfInput) else 1
        self.student = student
        self.regressors = nn.ModuleList(
            Regressor(_channels(student), channels, enlarge=enlarge) for _ in student.rpn.strides
        )

    def forward(self, images: Tensor, truths: list[Instances]) -> tuple[Learned, list[Tensor]]:
        """
        Compare the student with the truth, and guess the teacher's levels.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            Images in [0, 1].
        truths : list of Instances
            True objects of each image.

        Returns
        -------
        Learned
            As the student gives it.
        list of Tensor
            The guesses (B, channels, H_k, W_k), the finest first.
        """
        with layer_outputs(self.student, ["neck"]) as found:
            learned = self.student(images, truths)
        return learned, self.guesses(found["neck"])

    def guesses(self, levels: list[Tensor]) -> list[Tensor]:
        """
        Guess the teacher's levels from the student's.

        Parameters
        ----------
        levels : list of Tensor
            The student's.

        Returns
        -------
        list of Tensor
            Of the teacher's channels and sizes.
        """
        return [regress(level) for regress, level in zip(self.regressors, levels, strict=True)]


@lru_cache(maxsize=2)
def _teacher(device: torch.device) -> MaskRCNN:
    return zoo.load(TEACHER, fast=False).requires_grad_(False).to(device)


def mimic_loss(net: Mimic, batch: Sample, *, regions: bool, weight: float = WEIGHT) -> dict[str, Tensor]:
    """
    Learn from the labels, and to see as the teacher sees.

    Parameters
    ----------
    net : Mimic
        The student and its regressors, in training mode.
    batch : tuple of Tensor
        Images (B, 3, H, W), instance maps (B, H, W), and the class of each pixel (B, H, W).
    regions : bool
        Whether the maps are compared only inside the boxes that the student's heads learn from: proposals of its own
        RPN, sampled, three quarters of them at least background that it may mistake for an object. Otherwise whole.
    weight : float
        Of the comparison.

    Returns
    -------
    dict of Tensor
        The five terms of Mask R-CNN, and "mimic", the mean over the levels.

    References
    ----------
    Li, Jin, Yan, "Mimicking Very Efficient Network for Object Detection", CVPR 2017, section 3.2.
    """
    images, numbers, labels = batch
    teacher = _teacher(images.device)
    with torch.no_grad():
        wanted = teacher.levels(images)
    learned, guesses = net(images, [Instances.from_map(n, c) for n, c in zip(numbers, labels, strict=True)])
    # Differs from Li et al.: a pyramid has several maps, and every region counts on each, for the RPN sees them all.
    distance = _distance(guesses, wanted, learned.sampled if regions else None)
    return {**mask_rcnn_loss(learned), "mimic": weight * distance}


def _distance(guesses: list[Tensor], wanted: list[Tensor], boxes: Any) -> Tensor:
    strides = _teacher(wanted[0].device).rpn.strides
    each = [
        region_mimic_loss(guess, level, boxes, stride=stride)
        for guess, level, stride in zip(guesses, wanted, strides, strict=True)
    ]
    return torch.stack(each).mean()


@cache
def _objects(scenes: int) -> tuple[Tensor, list[Tensor]]:
    """Draw the pictures of scenes that are held back, and the true boxes of each."""
    drawn = shapes.Shapes(scenes, SIDE, SIDE, seed=TEST_SEED, split="test")
    images, numbers, classes = zip(*(drawn[i] for i in range(scenes)), strict=True)
    return torch.stack(images), [Instances.from_map(*pair).boxes for pair in zip(numbers, classes, strict=True)]


@torch.no_grad()
def unlike(net: Mimic, scenes: int = 32) -> dict[str, float]:
    """
    Measure how far a trained student's guesses are from the teacher's levels.

    Parameters
    ----------
    net : Mimic
        Student and regressors, in evaluation mode.
    scenes : int
        Number of scenes, which are held back.

    Returns
    -------
    dict of float
        Squared distance over that of a guess of zero, on the whole maps ("unlike, everywhere") and inside the true
        boxes ("unlike, on objects"): 0 is the same, 1 no better than nothing.
    """
    images, boxes = _objects(scenes)
    wanted = _teacher(images.device).levels(images)
    guesses = net.guesses(net.student.levels(images))
    nothing = [torch.zeros_like(level) for level in wanted]
    return {
        f"unlike, {name}": (_distance(guesses, wanted, where) / _distance(nothing, wanted, where)).item()
        for name, where in (("everywhere", None), ("on objects", boxes))
    }


ARMS: dict[str, tuple[Callable[[], MaskRCNN], Callable[..., Any]]] = {
    "labels alone": (partial(MaskRCNN, **HALF), instance_loss),
    "whole maps": (partial(MaskRCNN, **HALF), partial(mimic_loss, regions=False)),
    "whole maps, less weight": (partial(MaskRCNN, **HALF), partial(mimic_loss, regions=False, weight=WEIGHT / 5)),
    "regions": (partial(MaskRCNN, **HALF), partial(mimic_loss, regions=True)),
    "half the input, labels alone": (partial(HalfInput, **SLIM), instance_loss),
    "half the input, regions": (partial(HalfInput, **SLIM), partial(mimic_loss, regions=True)),
}
"""For each way the student and its loss. Students of one kind have the same start, scenes and number of steps."""


def _costs(net: MaskRCNN) -> dict[str, int]:
    """Count the weights, and the multiply-adds of all maps and of the box head for one proposal."""
    side = SIDE // 2 if isinstance(net, HalfInput) else SIDE
    maps = nn.Sequential(net.backbone, net.neck)
    return {
        "parameters": cost.parameters(net),
        "multiply-adds of the maps": cost.multiply_adds(maps, (3, side, side)),
        "multiply-adds a proposal": cost.multiply_adds(net.box_head, (_channels(net), 7, 7)),
    }


def _channels(net: MaskRCNN) -> int:
    return net.neck.smooth[0].out_channels


def _compare(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    teacher = _teacher(torch.device("cpu"))
    figures: dict[str, Any] = {"teacher": {**_costs(teacher), "runs": [precision(teacher, MEASURED)]}}
    for name, (build, loss) in ARMS.items():
        for run in range(seed, seed + RUNS):
            torch.manual_seed(run)
            student = build()
            net = student if loss is instance_loss else Mimic(student, SLIM["channels"])
            net = net.to(memory_format=torch.channels_last)
            options = {**OPTIONS, "steps": STEPS, "batch_size": BATCH, "lr": LR, "seed": run}
            # Not the scenes that the teacher learned from.
            scenes = Mapped(shapes.Shapes(2**32, SIDE, SIDE, seed=TEST_SEED + 100 + run))
            history = trainer(_short(name, run), net, loss, scenes, **options)
            found = {**precision(student, MEASURED), "seconds": history.seconds}
            figures.setdefault(name, {**_costs(student), "runs": []})["runs"].append(
                {**found, **unlike(net)} if isinstance(net, Mimic) else found
            )
    return figures


def _short(name: str, run: int) -> str:
    return "-".join(name.replace(",", "").split()) + f"-run{run}"


STUDIES = (
    Study(
        name="shapes-mimic",
        chapter="distillation",
        measure=_compare,
        data=f"drawn shapes of 128x128, {STEPS} steps of {BATCH}; measured on {MEASURED} other scenes; {RUNS} seeds",
    ),
)
