"""From one dark exposure to what a fusion of seven shows, and what each part of the enhancer is worth."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage.exposure import equalize_adapthist, equalize_hist
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as TF

from xferlib.data import augment, exposures
from xferlib.data.benchmarks import home
from xferlib.losses.restoration import l1, l2
from xferlib.metrics.restoration import colour_difference, psnr, ssim
from xferlib.nets.exposure import SLIM, ExposureNet, Parts, split
from xferlib.ops.colour import luminance
from xferlib.ops.fusion import fuse_exposures
from xferlib.train.recipe import Recipe
from xferlib.train.recipes.loss_network import as_bytes, photographs
from xferlib.train.schedule import restarts
from xferlib.train.stream import item_seed, shuffled
from xferlib.train.study import Study, Trainer

SIDE, SMALL = 144, 192
"""Side of a crop in pixels; shorter side of the reduced photographs, of which a crop shows most."""
DARKEST, DIM, BRIGHTEST = -3.0, -1.0, 0.0
"""Stops of the exposures that are trained on: at first up to the second, then also pictures that are not dark."""
STOPS = (-1.0, -2.0, -3.0)
"""Stops of those that are measured."""
RISE, STEPS, BATCH = 5200, 6200, 8
"""Steps before the learning rate rises again and the exposures get brighter, all steps, and crops of a step."""
SHOWN = 0.49
"""Mean luminance of the brightened pictures, that of the references."""
Scene = tuple[Tensor, Tensor]
Enhancer = Callable[[Tensor], Tensor]
"""Called with a picture (3, H, W) in [0, 1]; gives the enhanced one."""


def scene(photograph: Tensor, seed: int = 0) -> Scene:
    """
    Expose a photograph seven times, with noise, and fuse the exposures.

    Parameters
    ----------
    photograph : Tensor, shape (3, H, W), uint8
        What stands for the scene.
    seed : int
        Seed of the noise.

    Returns
    -------
    tuple of Tensor, shape (3, H, W), uint8
        The photograph, and the fusion.
    """
    stack = exposures.stack(photograph / 255, generator=Generator().manual_seed(seed))
    return photograph, as_bytes(fuse_exposures(stack))


class Crops(Dataset):
    """
    Crops of photographs, each dark and as it ought to be: two of (3, SIDE, SIDE).

    Every other crop is of a photograph reduced to ``SMALL`` pixels on its shorter side, and so shows most of it.

    Parameters
    ----------
    photographs : list of Tensor
        Pictures (3, H, W), uint8, of at least ``SIDE`` pixels a side.
    seed : int
        Seed of the order, of the places, of the exposures and of their noise, 0 or larger.
    bright_from : float
        Sample from which on exposures go up to ``BRIGHTEST``, and not to ``DIM``; by default none does.

    Raises
    ------
    ValueError
        If a photograph is smaller.
    """

    def __init__(self, photographs: list[Tensor], seed: int, bright_from: float = float("inf")) -> None:
        if small := [tuple(photo.shape) for photo in photographs if min(photo.shape[1:]) < SIDE]:
            raise ValueError(f"photographs of {small} have no crop of {SIDE} pixels a side; leave them out")
        self.photographs, self.seed, self.bright_from = photographs, seed, bright_from
        self.order = shuffled(range(len(photographs)), seed)
        self.scenes: dict[tuple[int, bool], Scene] = {}

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Sample `index`; it depends on the seed and the index alone."""
        generator = Generator().manual_seed(item_seed(self.seed, index))
        reduced = augment.uniform(0, 1, generator) < 0.5
        photo, fused = self._scene(self.order[index], reduced)
        top, left = (int(torch.randint(n - SIDE + 1, (1,), generator=generator)) for n in photo.shape[1:])
        cut = (slice(None), slice(top, top + SIDE), slice(left, left + SIDE))
        stops = augment.uniform(DARKEST, BRIGHTEST if index >= self.bright_from else DIM, generator)
        dark = exposures.expose(photo[cut] / 255, stops, generator)
        return augment.flip(dark, fused[cut] / 255, generator)

    def _scene(self, number: int, reduced: bool) -> Scene:
        """Fuse the whole of a photograph when it is first asked for, and keep the result."""
        if (number, reduced) not in self.scenes:
            photo = self.photographs[number]
            if reduced and min(photo.shape[1:]) > SMALL:
                photo = TF.resize(photo, [SMALL], antialias=True)
            self.scenes[number, reduced] = scene(photo, number)
        return self.scenes[number, reduced]


class Learner(nn.Module):
    """The net, which in training shows its parts too."""

    def __init__(self) -> None:
        super().__init__()
        self.net = ExposureNet(**SLIM)

    def forward(self, images: Tensor) -> Parts:
        """
        Enhance pictures, and show each step.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1].

        Returns
        -------
        Parts
            As `ExposureNet.parts` gives them.
        """
        return self.net.parts(images)


def _loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    images, targets = batch
    parts = net(images)
    base, detail = split(luminance(targets))
    return {
        "l1": l1(parts.result, targets),
        "dssim": 0.25 * _dissimilarity(parts.result, targets),
        # Of its halves each branch learns its own, as the paper's first stage has it.
        "base": l2(parts.enhanced_base, base),
        "detail": l1(parts.enhanced_detail, detail),
    }


def _dissimilarity(images: Tensor, targets: Tensor) -> Tensor:
    """Take one minus the structural similarity in blocks of 8x8 pixels, as Cai et al. do; fast to differentiate."""
    stacked = torch.cat([images, targets, images.square(), targets.square(), images * targets], 1)
    x, y, xx, yy, xy = F.avg_pool2d(stacked, 8).chunk(5, 1)
    means = (2 * x * y + 1e-4) / (x.square() + y.square() + 1e-4)
    structure = (2 * (xy - x * y) + 1e-3) / (xx - x.square() + yy - y.square() + 1e-3)
    return 1 - (means * structure).mean()


# The rivals


def brightened(image: Tensor) -> Tensor:
    """
    Raise a picture to the power that brings its mean luminance to `SHOWN`.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].

    Returns
    -------
    Tensor, shape (3, H, W)
        RGB in [0, 1].
    """
    low, high = 0.02, 5.0
    for _ in range(20):
        gamma = (low * high) ** 0.5
        low, high = (gamma, high) if luminance(image[None] ** gamma).mean() > SHOWN else (low, gamma)
    return image**gamma


def equalised(image: Tensor) -> Tensor:
    """
    Spread luminance evenly over [0, 1].

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].

    Returns
    -------
    Tensor, shape (3, H, W)
        RGB in [0, 1], each pixel scaled as its luminance is.
    """
    return _relit(image, equalize_hist)


def clahe(image: Tensor) -> Tensor:
    """
    Spread luminance evenly in each neighbourhood, as far as a limit on the contrast allows.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].

    Returns
    -------
    Tensor, shape (3, H, W)
        RGB in [0, 1], each pixel scaled as its luminance is.

    References
    ----------
    Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV 1994.
    """
    return _relit(image, equalize_adapthist)


def _relit(image: Tensor, change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    grey = luminance(image[None])[0]
    wanted = torch.from_numpy(change(grey[0].numpy())).to(image)
    return (image * wanted / grey.clamp_min(1 / 255)).clamp(0, 1)


RIVALS: dict[str, Enhancer] = {
    "dark": lambda dark: dark,
    "gamma": brightened,
    "equalised": equalised,
    "CLAHE": clahe,
}
"""What needs no training, by name."""


# What it is worth


def measure(enhance: Enhancer, scenes: list[Scene], stops: float) -> dict[str, float]:
    """
    Enhance a dark exposure of each scene, and compare with the fusion.

    Parameters
    ----------
    enhance : callable
        What makes one of the other.
    scenes : list of (Tensor, Tensor)
        Photographs and fusions, as `scene` gives them.
    stops : float
        Of the exposures.

    Returns
    -------
    dict of str to float
        "PSNR", "SSIM" and "colour", the mean distance in L*a*b*, each a mean over the scenes.
    """
    rows = []
    for number, (photograph, fused) in enumerate(scenes):
        dark = exposures.expose(photograph / 255, stops, Generator().manual_seed(item_seed(number, 0)))
        found, true = enhance(dark).clamp(0, 1)[None], fused[None] / 255
        figures = (psnr(found, true, data_range=1), ssim(found, true, data_range=1), colour_difference(found, true))
        rows.append([each.mean().item() for each in figures])
    return dict(zip(("PSNR", "SSIM", "colour"), np.mean(rows, 0).tolist(), strict=True))


@torch.inference_mode()
def _measure(net: nn.Module, data: Path | None) -> dict[str, Any]:
    scenes = [scene(photograph, number) for number, photograph in enumerate(photographs(data, held_back=True))]
    arms: dict[str, Enhancer] = {"ours": partial(_enhanced, net, False), **RIVALS}
    by_stops = {name: {str(stops): measure(arm, scenes, stops) for stops in STOPS} for name, arm in arms.items()}
    means = {
        name: {key: float(np.mean([each[key] for each in found.values()])) for key in ("PSNR", "SSIM", "colour")}
        for name, found in by_stops.items()
    }
    at_zero = {name: measure(arms[name], scenes, 0.0) for name in ("ours", "dark")}
    return {**means.pop("ours"), **means, "by stops": by_stops, "at 0 stops": at_zero}


RECIPE = Recipe(
    name="enhance",
    task="enhancement",
    chapter="enhancement",
    net=ExposureNet,
    arguments=SLIM,
    learner=Learner,
    finish=lambda learner, data: learner.net,
    loss=_loss,
    dataset=lambda data, seed: Crops(photographs(data), seed, RISE * BATCH),
    evaluate=_measure,
    steps=STEPS,
    batch_size=BATCH,
    lr=3e-3,
    data="photographs of CBSD68, Sun-Hays 80, Urban100 and VOC 2012, one in six held back, those of scikit-image and "
    "scikit-learn for training; exposed by our camera model",
    terms="research use; cite BSDS, Sun and Hays 2012, Huang et al. 2015, VOC 2012",
    # The shipped file was made in two runs, in float32: the second, from the rise on, began with an optimiser without
    # memory, with samples of another seed, and with the weights of the first in float16.
    options={
        "weight_decay": 0.01,
        "warmup": 100,
        "precision": "bf16-mixed",
        "schedule": partial(restarts, rises=(RISE,), steps=STEPS, again=0.4, warmup=50),
    },
)


# What each part is worth

ARMS = ("whole", "base only", "detail only", "channel by channel")
TRIAL = {"steps": 240, "batch_size": 6, "lr": 3e-3, "weight_decay": 0.01, "warmup": 30, "precision": "bf16-mixed"}
TRIED = 4
"""The arms are compared on one in so many of the photographs held back, so on some of each kind."""


class _Silent(nn.Module):
    """In place of a layer that is left out: zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def apart(images: Tensor) -> Tensor:
    """
    Make of each channel a grey picture of its own.

    Parameters
    ----------
    images : Tensor, shape (B, 3, H, W)
        RGB.

    Returns
    -------
    Tensor, shape (3B, 3, H, W)
        Pictures of three equal channels: red, green and blue of the first, then of the next.
    """
    return images.flatten(0, 1)[:, None].expand(-1, 3, -1, -1)


def together(images: Tensor) -> Tensor:
    """
    Join what `apart` has taken apart.

    Parameters
    ----------
    images : Tensor, shape (3B, 3, H, W)
        Pictures whose channels need no longer be equal; their mean counts.

    Returns
    -------
    Tensor, shape (B, 3, H, W)
        RGB.
    """
    return images.mean(1).unflatten(0, (-1, 3))


def arm(name: str, seed: int) -> Learner:
    """
    Build the net of an arm.

    Parameters
    ----------
    name : str
        One of `ARMS`.
    seed : int
        Seed of the weights, the same for all arms.

    Returns
    -------
    Learner
        The net, whole or with a branch that says nothing.

    Raises
    ------
    ValueError
        If there is no such arm.
    """
    if name not in ARMS:
        raise ValueError(f"no arm is named {name!r}; there are {', '.join(ARMS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        learner = Learner()
    if name == "base only":
        learner.net.detail_branch.append(_Silent())
    if name == "detail only":
        learner.net.curves = nn.Sequential(learner.net.curves, _Silent())
    return learner.to(memory_format=torch.channels_last)


def _channel_loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    return _loss(net, (apart(batch[0]), apart(batch[1])))


def _ablate(train: Trainer, seed: int) -> dict[str, Any]:
    data = home()
    crops, figures = Crops(photographs(data)[::3], seed), {}
    tried = photographs(data, held_back=True)[::TRIED]
    scenes = [scene(photograph, number) for number, photograph in enumerate(tried)]
    for name in ARMS:
        learner, channels = arm(name, seed), name == "channel by channel"
        options = {**TRIAL, "seed": seed}
        if channels:  # each picture is three
            options["batch_size"] //= 3
        train(name.replace(" ", "-"), learner, _channel_loss if channels else _loss, crops, **options)
        with torch.inference_mode():
            figures[name] = measure(partial(_enhanced, learner.net, channels), scenes, -2.0)
    return figures


def _enhanced(net: nn.Module, channels: bool, dark: Tensor) -> Tensor:
    return (together(net(apart(dark[None]))) if channels else net(dark[None]))[0]


STUDIES = (
    Study(
        name="enhance-ablations",
        chapter="enhancement",
        measure=_ablate,
        data=f"a third of the photographs of the recipe enhance; {TRIAL['steps']} x {TRIAL['batch_size']} crops of "
        f"{SIDE}x{SIDE}, a third as many pictures channel by channel; measured on one in {TRIED} of "
        "those held back at -2 stops",
    ),
)
