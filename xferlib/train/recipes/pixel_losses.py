"""What each loss makes of one small net: the same photographs, noise, seeds and budget, measured on others."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset

from xferlib.data import photos
from xferlib.losses import restoration
from xferlib.losses.perceptual import LossNetwork, Targets, Weights, perceptual_loss
from xferlib.metrics.restoration import checkerboard, chroma, colour_difference, detail, psnr, smooth, ssim
from xferlib.nets.restorer import Restorer
from xferlib.train.fit import Loss
from xferlib.train.stream import item_seed
from xferlib.train.study import Study, Trainer
from xferlib.zoo.loss_network import loss_network

SIDE, STEPS, BATCH, RATE, SEEDS = 48, 300, 8, 4e-3, 3
SATURATION, NOISE = 0.25, 0.06
LONGEST = 384
"""Photographs are reduced to so many pixels on the longer side, so that a small piece shows something."""
LAYERS = {"relu2_2": 1.0, "relu3_2": 1.0}
PixelLoss = Callable[[Tensor, Tensor], Tensor | dict[str, Tensor]]
"""Called with what was made and what is true, (B, 3, H, W) each."""


def degrade(images: Tensor, generator: Generator) -> Tensor:
    """
    Take from pictures what is then to be restored: half the resolution, most of the colour, and clarity.

    Parameters
    ----------
    images : Tensor, shape (B, 3, H, W)
        RGB in [0, 1], of even sides.
    generator : Generator
        Source of the noise.

    Returns
    -------
    Tensor, shape (B, 3, H / 2, W / 2)
        Each pixel the mean of four, a quarter as far from grey, plus noise that differs from channel to channel.

    Raises
    ------
    ValueError
        If a side is odd.
    """
    if images.shape[-1] % 2 or images.shape[-2] % 2:
        raise ValueError(f"pictures of {images.shape[-2]}x{images.shape[-1]} cannot be halved; crop them to even sides")
    small = F.avg_pool2d(images, 2)
    grey = small.mean(1, keepdim=True)
    faded = grey + SATURATION * (small - grey)
    return (faded + NOISE * torch.randn(faded.shape, generator=generator)).clamp(0, 1)


@lru_cache(maxsize=32)
def _reduced(name: str) -> Tensor:
    photo = photos.load(name)[None]
    share = min(1.0, LONGEST / max(photo.shape[-2:]))
    return F.interpolate(photo, scale_factor=share, mode="bicubic", antialias=True)[0].clamp(0, 1)


class Pieces(Dataset):
    """
    Pieces of the photographs that may be trained on, degraded and whole: (3, SIDE / 2, SIDE / 2) and (3, SIDE, SIDE).

    Parameters
    ----------
    seed : int
        Seed of the places and of the noise, 0 or larger.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Sample `index`; it depends on the seed and the index alone."""
        generator = Generator().manual_seed(item_seed(self.seed, index))
        photo = _reduced(photos.TRAIN[index % len(photos.TRAIN)])
        top, left = (int(torch.randint(n - SIDE + 1, (1,), generator=generator)) for n in photo.shape[1:])
        piece = photo[:, top : top + SIDE, left : left + SIDE]
        if torch.rand(1, generator=generator) < 0.5:
            piece = piece.flip(2)
        return degrade(piece[None], generator)[0], piece.contiguous()


def held_out(side: int = 192) -> tuple[Tensor, Tensor]:
    """
    Give the pictures that nothing is trained on: the middles of the photographs kept for tests.

    Parameters
    ----------
    side : int
        Height and width in pixels, even.

    Returns
    -------
    tuple of Tensor, shapes (N, 3, side / 2, side / 2) and (N, 3, side, side)
        Degraded, always by the same noise, and true.
    """
    true = []
    for name in photos.TEST:
        photo = _reduced(name)
        top, left = ((n - side) // 2 for n in photo.shape[1:])
        true.append(photo[:, top : top + side, left : left + side])
    whole = torch.stack(true)
    return degrade(whole, Generator().manual_seed(0)), whole


def perceptual(images: Tensor, targets: Tensor, net: LossNetwork) -> Tensor:
    """
    Compare pictures by what a fixed net sees in them.

    Parameters
    ----------
    images, targets : Tensor, shape (B, 3, H, W)
        What was made, and what is true, RGB in [0, 1].
    net : callable
        Loss network.

    Returns
    -------
    Tensor
        Scalar: half the mean squared difference of the features, summed over the layers of `LAYERS`.
    """
    with torch.no_grad():
        wanted = Targets(net(targets, tuple(LAYERS)))
    return perceptual_loss(net, images, wanted, Weights(LAYERS))["content"]


def losses(net: LossNetwork | None = None) -> dict[str, PixelLoss]:
    """
    Give the losses on trial.

    Parameters
    ----------
    net : callable, optional
        Loss network of those that need one; by default the shipped one.

    Returns
    -------
    dict of str to callable
        Each loss by its name.
    """
    seen = partial(perceptual, net=net or loss_network())
    l1, edges = restoration.l1, restoration.gradient
    return {
        "L1": l1,
        "L2": restoration.l2,
        "Charbonnier": restoration.charbonnier,
        "SSIM": restoration.dissimilarity,
        "SSIM + L1": restoration.mixed,
        "gradient": edges,
        "L1 + gradient": _joined(l1=(1.0, l1), gradient=(1.0, edges)),
        "perceptual": seen,
        "perceptual + L1": _joined(perceptual=(0.1, seen), l1=(1.0, l1)),
        "perceptual + gradient": _joined(perceptual=(0.1, seen), gradient=(1.0, edges)),
    }


def _joined(**terms: tuple[float, PixelLoss]) -> PixelLoss:
    return partial(_sum, terms)


def _sum(terms: dict[str, tuple[float, PixelLoss]], images: Tensor, targets: Tensor) -> dict[str, Tensor]:
    return {name: weight * loss(images, targets) for name, (weight, loss) in terms.items()}


def as_loss(compare: PixelLoss) -> Loss:
    """
    Make of a loss on pictures one that `fit` takes.

    Parameters
    ----------
    compare : callable
        Called with what was made and what is true.

    Returns
    -------
    callable
        Called as ``loss(net, batch)``.
    """
    return partial(_compared, compare)


def _compared(compare: PixelLoss, net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor | dict[str, Tensor]:
    degraded, true = batch
    return compare(net(degraded), true)


def new_net(seed: int, even: bool = False) -> Restorer:
    """
    Give the net that every loss begins with.

    Parameters
    ----------
    seed : int
        Seed of its weights.
    even : bool
        Whether it enlarges without deconvolutions.

    Returns
    -------
    Restorer
        The untrained net.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Restorer(even=even)


def measure(images: Tensor, targets: Tensor) -> dict[str, float]:
    """
    Measure restored pictures in every way that the lecture speaks of.

    Parameters
    ----------
    images, targets : Tensor, shape (B, 3, H, W)
        Restored and true, RGB; values outside [0, 1] are cut off first.

    Returns
    -------
    dict of str to float
        "PSNR" and "SSIM"; "colour", the mean difference in a*b* of pictures blurred by 2 pixels; "chroma", how
        colourful they are as a share of the truth; "detail", the share of true fine detail kept, and "false detail"
        beside it; "grid 2" and "grid 4", the amplitude of patterns of that period in thousandths, where the true
        picture is flat.
    """
    images = images.clamp(0, 1)
    broad, true = smooth(images, 2.0), smooth(targets, 2.0)
    kept, false = detail(images, targets)
    flat = _flat(targets)
    grids = {f"grid {p}": 1e3 * checkerboard(images, p)[flat].mean().sqrt().item() for p in (2, 4)}
    return {
        "PSNR": psnr(images, targets, data_range=1).mean().item(),
        "SSIM": ssim(images, targets, data_range=1).mean().item(),
        "colour": colour_difference(broad, true, lightness=False).mean().item(),
        "chroma": (chroma(broad).mean() / chroma(true).mean()).item(),
        "detail": kept.mean().item(),
        "false detail": false.mean().item(),
        **grids,
    }


def _flat(targets: Tensor) -> Tensor:
    """Choose the half of each picture's places with the least detail of their own, (B, H, W)."""
    local = smooth((targets - smooth(targets, 1.5)).square().mean(1, keepdim=True), 3.0)[:, 0]
    return local <= local.flatten(1).median(1).values[:, None, None]


def _compare(train: Trainer, seed: int) -> Mapping[str, Any]:
    degraded, true = held_out()
    plain = F.interpolate(degraded, scale_factor=2, mode="bilinear")
    figures: dict[str, Any] = {"truth": measure(true, true), "interpolated": measure(plain, true)}
    del figures["truth"]["PSNR"]  # infinite, which JSON has no word for
    trials = losses()
    arms = {name: (compare, False) for name, compare in trials.items()}
    arms |= {f"{name}, no deconvolution": (trials[name], True) for name in ("L1", "perceptual")}
    for name, (compare, even) in arms.items():
        runs = []
        for run in range(seed, seed + SEEDS):
            net = new_net(run, even)
            options = {"steps": STEPS, "batch_size": BATCH, "lr": RATE, "seed": run}
            label = "".join(letter if letter.isalnum() else "-" for letter in name)
            train(f"{label}-run{run}", net, as_loss(compare), Pieces(run), **options)
            with torch.inference_mode():
                runs.append(measure(net(degraded), true))
        figures[name] = {"runs": runs, "mean": {key: sum(run[key] for run in runs) / SEEDS for key in runs[0]}}
    return figures


STUDIES = (
    Study(
        name="pixel-losses",
        chapter="pixel_losses",
        measure=_compare,
        data=f"photographs of {LONGEST} pixels, halved, faded to {SATURATION} of their colour, noise of {NOISE}; "
        f"trained on {STEPS} x {BATCH} pieces of {SIDE}x{SIDE}, {SEEDS} seeds; measured on the middles of "
        f"{len(photos.TEST)} others",
    ),
)
