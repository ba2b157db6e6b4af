"""
The nets of super-resolution: SRCNN, ESPCN, a small EDSR for each factor, and one that goes by features, not pixels.

All learn from the same photographs. The small pictures are made from them, so the truth is known: by bicubic reduction,
and half of those for the net that goes by features as many cameras might make them.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate, pixel_unshuffle
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as TF

from xferlib import zoo
from xferlib.data import augment
from xferlib.data.benchmarks import home
from xferlib.data.cameras import jpeg, snapshot
from xferlib.losses.perceptual import Targets, Weights, mean_gram, perceptual_loss, style_loss
from xferlib.losses.restoration import charbonnier, checkerboard, l1, l2
from xferlib.metrics.restoration import detail, luma_psnr, luma_ssim, smooth
from xferlib.nets.edsr import EDSR, SLIM
from xferlib.nets.espcn import ESPCN
from xferlib.nets.srcnn import SRCNN
from xferlib.ops.colour import to_ycbcr
from xferlib.ops.degrade import downscale, modcrop, to_bytes, upscale
from xferlib.train.fit import Loss
from xferlib.train.precision import half_precision
from xferlib.train.recipe import Recipe
from xferlib.train.recipes.loss_network import as_bytes, photographs
from xferlib.train.recipes.styles import chequers
from xferlib.train.schedule import restarts
from xferlib.train.stream import shuffled
from xferlib.train.study import Study, Trainer
from xferlib.zoo.loss_network import loss_network

SIDE, BATCH = 32, 16
"""Pixels a side of the small pieces of photographs that nets enlarge in training, and pieces a step."""
FRAME, PAPERS = 8, 0.5
"""Where pieces come from cameras: pixels around one that the blocks of JPEG begin in, and the share that is made small
as in papers after all."""
LONGEST = 288
"""Pixels a side of the middle of the photographs that nets are measured on; 2, 3 and 4 divide it."""
SEEN = {"relu2_2": 1.0, "relu3_4": 1.0}
"""Layers of the loss network by which all nets are measured."""
CONTENT = {"relu1_2": 0.05, "relu2_2": 0.05, "relu3_4": 0.025}
TEXTURES = {"relu1_2": 0.075, "relu2_2": 0.075, "relu3_2": 0.075}
"""How much a layer counts beside the absolute error: place by place, and by the Gram matrices of patches."""
PATCH = 16
"""Pixels a side of a patch of texture. Larger ones say less of where the texture belongs."""
CHECKERBOARD = 300.0
"""How much a pattern counts that is the same in neighbouring blocks of the pixel shuffle."""
SHARE = 0.75
"""How far the weights of the net that goes by features are from those of the net that goes by pixels."""

Sample = tuple[Tensor, Tensor]


# What is enlarged


def pairs(pictures: Sequence[Tensor], factor: int, side: int = SIDE) -> list[Sample]:
    """
    Make the small picture of each photograph.

    Parameters
    ----------
    pictures : sequence of Tensor, shape (3, H, W), uint8
        Photographs.
    factor : int
        How many times smaller.
    side : int
        Photographs whose small picture has a side of fewer pixels are left out.

    Returns
    -------
    list of tuple of Tensor
        Each small picture (3, h, w), and its photograph (3, factor * h, factor * w), cut off to fit; uint8.
    """
    fitting = [modcrop(picture, factor) for picture in pictures if min(picture.shape[1:]) >= factor * side]
    return [(as_bytes(downscale(picture[None] / 255, factor)[0]), picture) for picture in fitting]


def piece(pair: Sample, generator: Generator, side: int = SIDE) -> Sample:
    """
    Cut the same random piece out of a small picture and of its photograph, turned and mirrored at random.

    Parameters
    ----------
    pair : tuple of Tensor
        One of `pairs`.
    generator : Generator
        Source of randomness.
    side : int
        Pixels a side of the small piece.

    Returns
    -------
    tuple of Tensor, shapes (3, side, side) and (3, factor * side, factor * side)
        Both pieces, RGB in [0, 1].
    """
    small, large = pair
    factor = large.shape[-1] // small.shape[-1]
    top, left = _corner(small, side, generator)
    wanted = _cut(large, factor * side, (factor * top, factor * left))
    return augment.turn(_cut(small, side, (top, left)) / 255, wanted / 255, generator)


def shot(photograph: Tensor, generator: Generator, side: int = SIDE) -> Sample:
    """
    Cut a random piece out of a photograph, and make it small as in papers or as one of many cameras might.

    Parameters
    ----------
    photograph : Tensor, shape (3, H, W), uint8
        Photograph of at least ``4 * (side + 2 * FRAME)`` pixels a side.
    generator : Generator
        Source of randomness.
    side : int
        Pixels a side of the small piece.

    Returns
    -------
    tuple of Tensor, shapes (3, side, side) and (3, 4 * side, 4 * side)
        Both pieces, RGB in [0, 1].
    """
    whole = 4 * (side + 2 * FRAME)
    large = _cut(photograph, whole, _corner(photograph, whole, generator)) / 255
    papers = augment.uniform(0, 1, generator) < PAPERS
    small = to_bytes(downscale(large[None], 4))[0] if papers else snapshot(large, 4, generator)
    top, left = _corner(small, side, generator)
    return augment.turn(_cut(small, side, (top, left)), _cut(large, 4 * side, (4 * top, 4 * left)), generator)


def _corner(picture: Tensor, side: int, generator: Generator) -> tuple[int, int]:
    top, left = (int(torch.randint(n - side + 1, (), generator=generator)) for n in picture.shape[1:])
    return top, left


def _cut(picture: Tensor, side: int, corner: tuple[int, int]) -> Tensor:
    top, left = corner
    return picture[:, top : top + side, left : left + side]


def _shots(data: Path | None, seed: int) -> Dataset:
    least = 4 * (SIDE + 2 * FRAME)
    return shuffled([each for each in photographs(data) if min(each.shape[1:]) >= least], seed, shot)


def _stream(factor: int, side: int, data: Path | None, seed: int) -> Dataset:
    return shuffled(pairs(photographs(data), factor, side), seed, partial(piece, side=side))


def _noisy(images: Tensor) -> Tensor:
    return images + 0.04 * torch.randn(images.shape, generator=Generator().manual_seed(0))


CAMERAS: dict[str, Callable[[Tensor], Tensor]] = {
    "as in papers": partial(downscale, factor=4),
    "blurred before": lambda images: downscale(smooth(images, 2.0), 4),
    "no antialias": partial(interpolate, scale_factor=1 / 4, mode="bicubic"),
    "JPEG of quality 60": lambda images: jpeg(to_bytes(downscale(images, 4))[0], 60)[None],
    "noise": lambda images: _noisy(downscale(images, 4)),
}
"""Ways of making a photograph (1, 3, H, W) 4 times smaller, not yet in bytes."""


# What nets are trained by


def _enlarged(net: nn.Module, small: Tensor) -> Tensor:
    """Enlarge with convolutions in half precision; Fabric's own mixed precision would round the pictures, too."""
    with half_precision(small.device):
        return net(small).float()


def _pixels(net: nn.Module, batch: Sample) -> Tensor:
    small, true = batch
    return charbonnier(_enlarged(net, small), true)


def _luma(net: nn.Module, batch: Sample) -> Tensor:
    """Take the mean squared error of luma; that of colour is not up to these nets."""
    small, true = batch
    made, wanted = (to_ycbcr(images)[:, :1] for images in (net(small), true))
    return l2(made, wanted)


@lru_cache(maxsize=2)
def _judge(device: torch.device) -> nn.Module:
    return loss_network().to(device)


def _features(images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    return _judge(images.device)(images, tuple(layers))


def _half_features(images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Compute features in half precision; what is summed over them is not."""
    with half_precision(images.device):
        found = _features(images, layers)
    return {layer: features.float() for layer, features in found.items()}


def patches(features: Tensor, count: int) -> Tensor:
    """
    Cut maps into patches.

    Parameters
    ----------
    features : Tensor, shape (B, N, H, W)
        Maps whose sides ``count`` divides.
    count : int
        Patches along each side.

    Returns
    -------
    Tensor, shape (B * count**2, N, H / count, W / count)
        The patches, picture by picture and row by row.
    """
    cut = features.unflatten(3, (count, -1)).unflatten(2, (count, -1))  # B, N, rows, h, columns, w
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def _perception(net: nn.Module, batch: Sample) -> dict[str, Tensor]:
    """
    Judge what a net makes by features place by place, by the textures of small patches, by pixels, and by its grid.

    Features alone leave a fine grid where pictures are flat, for there it costs them next to nothing; an absolute
    error does not fade as the error does. Textures by patches, here without an adversary, are from Sajjadi, Schoelkopf,
    Hirsch, "EnhanceNet: Single Image Super-Resolution Through Automated Texture Synthesis", ICCV 2017. They ask for
    grain, which is cheapest if it is the same in all blocks of the pixel shuffle.
    """
    small, true = batch
    made = _enlarged(net, small)
    pattern = checkerboard(made, true, true.shape[-1] // small.shape[-1])
    return {**_seen(made, true), "checkerboard": CHECKERBOARD * pattern}


def _features_alone(net: nn.Module, batch: Sample) -> dict[str, Tensor]:
    small, true = batch
    return _seen(_enlarged(net, small), true)


def _seen(made: Tensor, true: Tensor) -> dict[str, Tensor]:
    layers = tuple(dict.fromkeys([*CONTENT, *TEXTURES]))
    with torch.no_grad():
        wanted = _half_features(true, layers)
    found = _half_features(made, layers)
    count = true.shape[-1] // PATCH
    textures = {layer: mean_gram(patches(wanted[layer], count)) for layer in TEXTURES}
    local = {layer: patches(found[layer], count) for layer in TEXTURES}
    content = perceptual_loss(lambda *_: found, made, Targets(wanted), Weights(CONTENT))["content"]
    style = style_loss(local, textures, TEXTURES)
    return {"features": content, "textures": style, "pixels": l1(made, true)}


# What they are worth


def held_back(data: Path | None, factor: int) -> list[Sample]:
    """
    Give the pictures that nets are measured on.

    Parameters
    ----------
    data : Path or None
        Folder of real data.
    factor : int
        How many times they are enlarged.

    Returns
    -------
    list of tuple of Tensor, shapes (1, 3, h, w) and (1, 3, factor * h, factor * w)
        Small pictures, and the middles of photographs that nothing was trained on, RGB in [0, 1].
    """
    found = photographs(data, held_back=True)
    middles = [modcrop(TF.center_crop(each, [min(LONGEST, n) for n in each.shape[1:]]), factor) for each in found]
    return [(to_bytes(downscale(each[None] / 255, factor)), each[None] / 255) for each in middles]


@torch.no_grad()
def measure(enlarge: Callable[[Tensor], Tensor], pictures: Sequence[Sample]) -> dict[str, float]:
    """
    Measure enlarged pictures as papers do, and how sharp they are.

    Parameters
    ----------
    enlarge : callable
        Called with small pictures (1, 3, h, w).
    pictures : sequence of tuple of Tensor
        As `held_back` gives them.

    Returns
    -------
    dict of str to float
        The means of "PSNR" and "SSIM" of luma, as many pixels of the border as the factor left out; of "detail", the
        share of true fine detail that is there, and "false detail" beside it; and of "features", the distance that the
        loss network sees.
    """
    rows = []
    for small, true in pictures:
        made, border = enlarge(small).clamp(0, 1), true.shape[-1] // small.shape[-1]
        kept, false = detail(made, true)
        seen = perceptual_loss(_features, made, Targets(_features(true, SEEN)), Weights(SEEN))["content"]
        row = (luma_psnr(made, true, border), luma_ssim(made, true, border), kept, false, seen)
        rows.append([value.item() for value in row])
    names = ("PSNR", "SSIM", "detail", "false detail", "features")
    return dict(zip(names, map(mean, zip(*rows, strict=True)), strict=True))


def _measure(factor: int, net: nn.Module, data: Path | None) -> dict[str, Any]:
    pictures = held_back(data, factor)
    return {**measure(net, pictures), "bicubic": measure(partial(upscale, factor=factor), pictures)}


def by_camera(enlarge: Callable[[Tensor], Tensor], data: Path | None) -> dict[str, dict[str, float]]:
    """
    Measure a way of enlarging 4 times on pictures that are made small in each way of `CAMERAS`.

    Parameters
    ----------
    enlarge : callable
        Called with small pictures (1, 3, h, w).
    data : Path or None
        Folder of real data.

    Returns
    -------
    dict of str to dict
        For each camera what `measure` gives.
    """
    true = [large for _, large in held_back(data, 4)]
    return {
        name: measure(enlarge, [(to_bytes(take(large)), large) for large in true]) for name, take in CAMERAS.items()
    }


def _measure_cameras(net: nn.Module, data: Path | None) -> dict[str, Any]:
    return {**_measure(4, net, data), "cameras": by_camera(net, data)}


def _grown(factor: int) -> nn.Module:
    """Build the net of another factor or loss, which starts from the one that pixels taught to enlarge 4 times."""
    net = EDSR(factor, **SLIM)
    taught = zoo.load("sr-x4", fast=False).state_dict()
    kept = {key: value for key, value in taught.items() if factor == 4 or not key.startswith("tail")}
    net.load_state_dict({**net.state_dict(), **kept})
    return net


def _blended(learner: nn.Module, data: Path | None) -> nn.Module:
    """
    Go most of the way from the net that goes by pixels to the one that goes by features, weight by weight.

    At the end of the way fur and hair are hatched. The blend is from Wang et al., "ESRGAN: Enhanced Super-Resolution
    Generative Adversarial Networks", ECCV Workshops 2018, section 3.4.
    """
    start = _grown(4).state_dict()
    learner.load_state_dict({key: torch.lerp(start[key], end, SHARE) for key, end in learner.state_dict().items()})
    return learner


def _recipe(
    name: str,
    factor: int,
    net: type[nn.Module],
    loss: Loss,
    steps: int,
    side: int = SIDE,
    how: str = "",
    **more: Any,
) -> Recipe:
    return Recipe(
        name=name,
        task="super-resolution",
        chapter="super_resolution",
        net=net,
        loss=loss,
        steps=steps,
        data=f"photographs of CBSD68, Sun-Hays 80, Urban100 and VOC 2012, one in six held back, and those of "
        f"scikit-image and scikit-learn for training; reduced {factor} times{how}",
        terms="research use; cite BSDS, Sun and Hays 2012, Huang et al. 2015, VOC 2012",
        **{
            "dataset": partial(_stream, factor, side),
            "evaluate": partial(_measure, factor),
            "batch_size": BATCH,
            "lr": 1e-3,
            **more,
        },
    )


_OPTIONS = {"warmup": 50}
BY_FEATURES = {"batch_size": 8, "lr": 7e-4}
"""How the net that goes by features is trained."""


def _two_cosines(first: int, second: int) -> dict[str, Any]:
    steps = first + second
    schedule = partial(restarts, rises=(first,), steps=steps, again=0.75, **_OPTIONS)
    return {"steps": steps, "options": {**_OPTIONS, "schedule": schedule}}


RECIPES = (
    # The shipped files of the three nets by pixels were made in two runs, one for each cosine: the second began with an
    # optimiser without memory, with samples of another seed, and with the weights of the first in float16. Those for 2
    # and 3 times started from the net for 4 times as its first run had left it.
    _recipe("sr-x4", 4, EDSR, _pixels, lr=2e-3, arguments={"factor": 4, **SLIM}, **_two_cosines(4500, 9000)),
    *(
        _recipe(
            f"sr-x{factor}",
            factor,
            EDSR,
            _pixels,
            arguments={"factor": factor, **SLIM},
            learner=partial(_grown, factor),
            **_two_cosines(*steps),
        )
        for factor, steps in ((2, (7000, 14_000)), (3, (3000, 7000)))
    ),
    _recipe(
        "sr-x4-feature",
        4,
        EDSR,
        _perception,
        steps=1600,
        how=", half of them as many cameras might do it",
        arguments={"factor": 4, **SLIM},
        dataset=_shots,
        evaluate=_measure_cameras,
        learner=partial(_grown, 4),
        finish=_blended,
        options=_OPTIONS,
        **BY_FEATURES,
    ),
    _recipe("srcnn-x4", 4, SRCNN, _luma, 1500, side=24, arguments={"factor": 4}, options=_OPTIONS),
    _recipe("espcn-x4", 4, ESPCN, _luma, 2000, arguments={"factor": 4}, options=_OPTIONS),
)


def _taught(
    train: Trainer, name: str, loss: Loss, pieces: Dataset, steps: int, seed: int, data: Path | None
) -> nn.Module:
    """Make a net as the recipe makes the one that goes by features."""
    learner = _grown(4).to(memory_format=torch.channels_last)
    train(name.replace(" ", "-"), learner, loss, pieces, steps=steps, seed=seed, **BY_FEATURES, **_OPTIONS)
    return _blended(learner, data).eval()


# What the term against patterns is worth

WEAVE_STEPS = 450
LOSSES = {"features": _features_alone, "features and no pattern": _perception}


def _weave(train: Trainer, seed: int) -> dict[str, Any]:
    data = home()
    pieces, pictures, figures = _stream(4, SIDE, data, seed), held_back(data, 4), {}
    for name, loss in LOSSES.items():
        net = _taught(train, name, loss, pieces, WEAVE_STEPS, seed, data)
        with torch.no_grad():
            made = [net(small).clamp(0, 1) for small, _ in pictures]
        figures[name] = {**measure(net, pictures), **_pattern(made)}
    return {**figures, "photographs": _pattern([true for _, true in pictures])}


def _pattern(pictures: Sequence[Tensor]) -> dict[str, Any]:
    """Say how strong the pattern is that all blocks of a picture share, and what it looks like in the mean."""
    blocks = [pixel_unshuffle(picture, 4).mean((2, 3)).view(3, 4, 4) for picture in pictures]
    block = torch.stack(blocks).mean(0)
    return {"pattern": mean(map(chequers, pictures)), "block": (block - block.mean((1, 2), keepdim=True)).tolist()}


# What it is worth to learn from many cameras

CAMERA_STEPS = 600


def _one_or_many(train: Trainer, seed: int) -> dict[str, Any]:
    data = home()
    figures = {"sr-x4": by_camera(zoo.load("sr-x4"), data), "bicubic": by_camera(partial(upscale, factor=4), data)}
    for name, pieces in {"one camera": _stream(4, SIDE, data, seed), "many cameras": _shots(data, seed)}.items():
        figures[name] = by_camera(_taught(train, name, _perception, pieces, CAMERA_STEPS, seed, data), data)
    return figures


STUDIES = (
    Study(
        name="sr-weave",
        chapter="super_resolution",
        measure=_weave,
        data=f"photographs of the recipe sr-x4, {WEAVE_STEPS} steps with the settings of sr-x4-feature; measured on "
        "those held back",
    ),
    Study(
        name="sr-cameras",
        chapter="super_resolution",
        measure=_one_or_many,
        data=f"photographs of the recipe sr-x4-feature, small as in papers or from many cameras, {CAMERA_STEPS} steps "
        "each; measured on those held back, taken by five cameras",
    ),
)
