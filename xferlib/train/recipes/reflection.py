"""
CEILNet on photographs behind drawn glass: the shipped net, and small ones that each lack or add one thing.

The small nets are trained alike: the same photographs in the same order, as many steps, as many residual blocks. What
each one lacks or adds is all that tells it from ``reflection-small``. Of that one and of ``reflection-layers`` only the
figures are kept.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as TF

from xferlib.data import augment
from xferlib.data.benchmarks import ReflectionTriples
from xferlib.data.reflections import Blend, ceilnet_blend, naive_blend, zhang_blend
from xferlib.losses.separation import edge_loss, image_loss, separation_loss
from xferlib.metrics.restoration import psnr, ssim
from xferlib.nets.ceilnet import CEILNet
from xferlib.train.recipe import Recipe
from xferlib.train.recipes.loss_network import as_bytes, photographs
from xferlib.train.stream import item_seed, shuffled
from xferlib.zoo.loss_network import loss_network

SIDE, PANE = 112, 224
"""The small nets see pieces of so many pixels a side, cut from blends of the size that Fan et al. use."""
SCALES = (0.6, 1.1)
"""Photographs are resized by a factor between these first."""
WEAK, LIGHT, CLEAN = 0.15, 0.1, 0.04
"""Shares of `mixed_blend` with a weakened reflection, of those made in light as Zhang et al. do, and without any."""
MISFIT = 0.02
"""A triple whose input differs by more from the sum of its layers, in the mean, cannot be measured by."""
LAYERS = {"input": 1.0, "relu1_2": 0.1, "relu2_2": 0.2, "relu3_2": 0.2}
"""Weights of the loss network's layers, whose mean activations are 1."""
MIDDLE = 64
"""The loss network sees so many pixels a side of each piece, for it costs several times what the net does."""
Blender = Callable[[Tensor, Tensor, Generator], Blend]


# What is looked at


def mixed_blend(background: Tensor, reflection: Tensor, generator: Generator) -> Blend:
    """
    Add a reflection, most often as Fan et al. do, now and then as Zhang et al. do, now and then a weak one or none.

    Parameters
    ----------
    background, reflection : Tensor, shape (3, H, W)
        Two pictures, RGB in [0, 1].
    generator : Generator
        Source of randomness.

    Returns
    -------
    Blend
        The picture and its layers.
    """
    kind, strength = augment.uniform(0, 1, generator), augment.uniform(0, 1, generator)
    if kind < LIGHT:
        return zhang_blend(background, reflection, generator, strength=strength)
    if kind < LIGHT + WEAK:
        return ceilnet_blend(background, reflection, generator, strength=strength)
    return ceilnet_blend(background, reflection, generator, strength=0.0 if kind < LIGHT + WEAK + CLEAN else 1.0)


class Panes(Dataset):
    """
    Pieces of photographs behind glass: three of (3, side, side), picture, background and reflection.

    Parameters
    ----------
    photographs : list of Tensor, each (3, H, W), uint8
        Two at least; a background never mirrors itself.
    seed : int
        Seed of the order, the pieces and the blends, 0 or larger.
    blend : callable
        Called as ``blend(background, reflection, generator)``.
    side : int
        Pixels a side of a piece, at most `PANE`.

    Raises
    ------
    ValueError
        If there are less than two photographs.
    """

    def __init__(self, photographs: list[Tensor], seed: int, blend: Blender, side: int = SIDE) -> None:
        if len(photographs) < 2:
            raise ValueError(f"{len(photographs)} photographs; a background and a reflection need 2 at least")
        self.photographs, self.seed, self.blend, self.side = photographs, seed, blend, side
        self.order = shuffled(range(len(photographs)), seed)

    def __getitem__(self, index: int) -> Blend:
        """Sample `index`; it depends on the seed and the index alone."""
        generator = Generator().manual_seed(item_seed(self.seed, index))
        first = self.order[index]
        second = first + 1 + int(torch.randint(len(self.photographs) - 1, (), generator=generator))
        pair = [self.photographs[i % len(self.photographs)] for i in (first, second)]
        pane = self.blend(*(_window(photograph, generator) for photograph in pair), generator)
        top, left = (int(torch.randint(PANE - self.side + 1, (), generator=generator)) for _ in range(2))
        return Blend(*(layer[:, top : top + self.side, left : left + self.side].contiguous() for layer in pane))


def _window(photograph: Tensor, generator: Generator) -> Tensor:
    """Cut a square out of a photograph at a random scale, perhaps mirrored, (3, PANE, PANE)."""
    height, width = photograph.shape[1:]
    side = min(height, width, round(PANE / augment.uniform(*SCALES, generator)))
    top, left = (int(torch.randint(n - side + 1, (), generator=generator)) for n in (height, width))
    cut = photograph[:, top : top + side, left : left + side]
    cut = cut.flip(-1) if augment.uniform(0, 1, generator) < 0.5 else cut
    return TF.resize(cut / 255, [PANE, PANE], antialias=True).clamp(0, 1)


def held_back(data: Path | None) -> list[Blend]:
    """
    Blend the photographs that are not trained on, always alike, as Fan et al. do.

    Parameters
    ----------
    data : Path or None
        Folder of real data.

    Returns
    -------
    list of Blend
        For every photograph one picture of (3, 224, 224), with the seventh before it as the reflection.
    """
    middles = [TF.center_crop(image, [min(*image.shape[1:], 320)] * 2) / 255 for image in photographs(data, True)]
    middles = [TF.resize(image, [PANE, PANE], antialias=True).clamp(0, 1) for image in middles]
    generator = Generator().manual_seed(0)
    return [ceilnet_blend(image, middles[(i - 7) % len(middles)], generator) for i, image in enumerate(middles)]


# What is asked


def ceilnet_loss(net: nn.Module, batch: Blend) -> dict[str, Tensor]:
    """
    Compute the loss of CEILNet, both nets at once.

    Parameters
    ----------
    net : nn.Module
        A `CEILNet`.
    batch : Blend
        Pictures, backgrounds and reflections.

    Returns
    -------
    dict of str to Tensor
        The terms.
    """
    # Differs from Fan et al.: both nets are trained together from the start, for one short run.
    return _terms(net(batch[0], parts=True), batch)


def layers_loss(net: nn.Module, batch: Blend) -> dict[str, Tensor]:
    """
    Compute the loss of CEILNet and beside it that of Zhang et al., for both layers.

    Parameters
    ----------
    net : nn.Module
        A `CEILNet` with two layers.
    batch : Blend
        Pictures, backgrounds and reflections.

    Returns
    -------
    dict of str to Tensor
        The terms.
    """
    found = net(batch[0], parts=True)
    made, true = (
        [TF.center_crop(layer, [MIDDLE, MIDDLE]) for layer in layers]
        for layers in ((found.background, found.reflection), batch[1:])
    )
    return {**_terms(found, batch), **separation_loss(_loss_network().to(batch[0].device), made, true, LAYERS)}


def _terms(found: Any, batch: Blend) -> dict[str, Tensor]:
    terms = image_loss(found.background, batch[1])
    return terms if found.edges is None else {**terms, "edges": edge_loss(found.edges, batch[1])}


@lru_cache(maxsize=1)
def _loss_network() -> nn.Module:
    return loss_network()


# What it is worth


@torch.inference_mode()
def measure(net: nn.Module, blends: list[Blend]) -> dict[str, float]:
    """
    Measure a net on pictures whose backgrounds are known.

    Parameters
    ----------
    net : nn.Module
        Gives the background of pictures.
    blends : list of Blend
        Pictures, backgrounds and reflections (3, H, W), of any size.

    Returns
    -------
    dict of str to float
        "PSNR" in dB and "SSIM" (Gaussian window of 11 pixels, mean over RGB), the mean over the pictures, of results
        rounded to bytes as a file would hold them.
    """
    scores = []
    for image, background, _ in blends:
        found = as_bytes(net(image[None])) / 255
        scores.append([score(found, background[None], data_range=1).item() for score in (psnr, ssim)])
    return {name: mean(values) for name, values in zip(("PSNR", "SSIM"), zip(*scores, strict=True), strict=True)}


def evaluate(net: nn.Module, data: Path | None) -> dict[str, float]:
    """
    Measure a net on CEILNet's synthetic triples, and on the photographs that are held back.

    Parameters
    ----------
    net : nn.Module
        Gives the background of pictures.
    data : Path or None
        Folder of real data.

    Returns
    -------
    dict of str to float
        "PSNR" and "SSIM" on all triples; "..., fitting triples" on those whose layers add up to their input, as some
        background may be shifted against it; "..., held back". Each also for the input as it is, "input ...".
    """
    triples = [Blend(*triple) for triple in ReflectionTriples(data / "reflection_synthetic" if data else None)]
    fitting = [t for t in triples if (t.image - (t.background + t.reflection).clamp(0, 1)).abs().mean() < MISFIT]
    sets = {"": triples, ", fitting triples": fitting, ", held back": held_back(data)}
    figures = {}
    for name, blends in sets.items():
        for prefix, found in (("", net), ("input ", nn.Identity())):
            figures |= {f"{prefix}{key}{name}": value for key, value in measure(found, blends).items()}
    return {**figures, "triples": len(triples), "fitting triples": len(fitting)}


# The recipes

SHIPPED = {
    "widths": (32, 48, 64, 64),
    "dilations": (1, 2, 1, 2, 1, 2),
    "edge_dilations": (1, 2, 1, 2),
    "interpolate": True,
}
SMALL = {"widths": (16, 16, 32, 48), "dilations": (1, 2, 4), "edge_dilations": (1, 2)}
SINGLE = {"widths": (16, 16, 32, 48), "dilations": (1, 1, 2, 2, 4), "edge_dilations": ()}
"""I-CNN alone, with the residual blocks that E-CNN would have. Widths are multiples of 16: with others, gradients of
dilated kernels in bfloat16 are not finite on some CPUs (oneDNN, in PyTorch 2.13)."""


def _recipe(
    name: str,
    arguments: dict[str, Any],
    steps: int,
    blend: Blender,
    loss: Callable = ceilnet_loss,
    side: int = SIDE,
    batch_size: int = 8,
) -> Recipe:
    def dataset(data: Path | None, seed: int) -> Dataset:
        return Panes(photographs(data), seed, blend, side)

    return Recipe(
        name=name,
        task="reflection removal",
        chapter="reflection",
        net=CEILNet,
        arguments={**arguments, "norm": False, "skips": True},
        loss=loss,
        dataset=dataset,
        evaluate=evaluate,
        steps=steps,
        batch_size=batch_size,
        lr=1.5e-3,
        data="BSDS68, Sun and Hays 80, Urban100 at half size, VOC 2012 (the photographs not held back), blended",
        terms="photographs for research use; cite BSDS, Sun and Hays 2012, Huang et al. 2015, VOC 2012",
        options={"weight_decay": 1e-4, "warmup": 100, "clip": 0.5, "precision": "bf16-mixed"},
    )


STEPS, SMALL_STEPS = 9000, 900
RECIPES = (
    _recipe("reflection", SHIPPED, STEPS, mixed_blend, side=PANE, batch_size=4),
    _recipe("reflection-small", SMALL, SMALL_STEPS, ceilnet_blend),
    _recipe("reflection-naive", SMALL, SMALL_STEPS, naive_blend),
    _recipe("reflection-icnn", SINGLE, SMALL_STEPS, ceilnet_blend),
    _recipe("reflection-layers", {**SMALL, "layers": 2}, SMALL_STEPS, ceilnet_blend, layers_loss),
)
