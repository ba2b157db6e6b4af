"""Nets of segmentation for a folder of pictures and masks, a reader's own, VOC's or that of Cityscapes."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset

from xferlib import train
from xferlib.data import augment
from xferlib.data.folders import masks
from xferlib.losses.segmentation import class_weights, cross_entropy, pixel_counts
from xferlib.metrics.segmentation import evaluate
from xferlib.nets.enet import ENet
from xferlib.nets.fcn import FCN
from xferlib.nets.segnet import SegNet
from xferlib.nets.unet import UNet
from xferlib.train.recipe import Recipe, RecipeError
from xferlib.train.recipes.streets import SLIM, WIDTHS
from xferlib.zoo.memory import apply_within

CROP, SCALES = (256, 256), (0.6, 1.4)


def _augmented(sample: tuple[Tensor, Tensor], generator: Generator) -> tuple[Tensor, Tensor]:
    image, labels = augment.scaled_crop(*sample, CROP, SCALES, generator)
    image, labels = augment.flip(image, labels, generator)
    return augment.relight(image, generator), labels


def _pictures(data: Path, seed: int) -> Dataset:
    return train.shuffled(masks(data, "train"), seed, _augmented)


def _loss(net: nn.Module, batch: tuple[Tensor, Tensor], weights: tuple[float, ...] | None = None) -> Tensor:
    images, labels = batch
    return cross_entropy(net(images), labels, None if weights is None else torch.tensor(weights, device=images.device))


def _measure(net: nn.Module, data: Path) -> dict[str, float]:
    held_back = masks(data, "val")
    return evaluate(partial(_labels, net), held_back, len(held_back.classes))


def _labels(net: nn.Module, images: Tensor) -> Tensor:
    """Label a picture of any size, (1, H, W), within the memory that applying the net would take."""
    return apply_within(net, images[0], then=lambda logits: logits.argmax(1))[None]


def _weights(pixels: Tensor) -> tuple[float, ...]:
    """Let rare classes count more: square roots of ENet's weights, with a mean of 1 over pixels."""
    weights = class_weights(pixels).sqrt()
    return tuple((weights / (weights * pixels / pixels.sum()).sum()).tolist())


def _counted(pictures: Dataset) -> tuple[Tensor, list[torch.Size]]:
    """Read all masks, count the pixels of each class, and give the sizes of the pictures."""
    sizes, counts = zip(
        *((labels.shape, pixel_counts(labels, len(pictures.classes))) for _, labels in pictures), strict=True
    )
    return sum(counts), list(sizes)


def _adapted(recipe: Recipe, data: Path) -> Recipe:
    """Fit a recipe to the classes and sizes of a folder; what is wrong with a picture or mask is found now."""
    try:
        pictures, held_back = masks(data, "train"), masks(data, "val")
        classes = pictures.classes
        (pixels, sizes), (others, other_sizes) = _counted(pictures), _counted(held_back)
        arguments = {**recipe.arguments, "num_classes": max(2, len(classes))}
        with torch.device("meta"), torch.no_grad():  # sizes alone, in no memory
            recipe.net(**arguments).eval()(torch.zeros(1, 3, *min(other_sizes, key=min)))
    except ValueError as error:
        raise RecipeError(str(error)) from error
    for count, which in ((pixels, "to train on"), (others, "held back, every sixth,")):
        if not count.any():
            raise RecipeError(f"{data}: the masks {which} are void everywhere, 255; label some of their pixels")
    present = [name for name, count in zip(classes, pixels + others, strict=True) if count]
    if len(present) < 2:
        raise RecipeError(
            f"{data}: the masks hold {' and '.join(present) or 'no class'} alone, and a net needs two classes to tell "
            "apart. The value 255 is void: where a mask has 0 and 255, write 1 for 255"
        )
    return replace(
        recipe,
        arguments=arguments,
        classes=classes,
        loss=partial(_loss, weights=_weights(pixels)),
        pixels=(max(size.numel() for size in sizes),),
        data=f"{len(pictures)} pictures of {data.absolute().name}, {len(classes)} classes",
        adapt=None,
    )


_recipe: Any = partial(
    Recipe,
    task="segmentation",
    loss=_loss,
    dataset=_pictures,
    evaluate=_measure,
    steps=1500,
    batch_size=8,
    lr=4e-3,
    classes=("class 0", "class 1"),
    data="your own folder of pictures and masks",
    terms="yours",
    options={"weight_decay": 0.01, "warmup": 50, "workers": 1},
    adapt=_adapted,
)

RECIPES = (
    _recipe(name="fcn8s", chapter="fcn", net=FCN, arguments={"num_classes": 2, "stride": 8, **SLIM}),
    _recipe(name="segnet", chapter="fcn", net=SegNet, arguments={"num_classes": 2, "widths": WIDTHS}),
    _recipe(
        name="unet",
        chapter="unet",
        net=UNet,
        arguments={
            "in_channels": 3,
            "num_classes": 2,
            "width": 16,
            "padding": "zeros",
            "norm": True,
            "dropout": 0.1,
        },
    ),
    _recipe(name="enet", chapter="enet", net=ENet, arguments={"num_classes": 2}),
)
