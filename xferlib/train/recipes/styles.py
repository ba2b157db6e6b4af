"""
The nets that paint in one pass: one for all styles of the drawn paintings, and one for each style by itself.

They are trained on photographs, without labels: the loss of a painted photograph is that which `stylize` lowers for
one picture at a time, with its layers and weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as TF

from xferlib.data import augment, paintings, photos
from xferlib.losses.perceptual import (
    LossNetwork,
    Targets,
    Weights,
    perceptual_loss,
    style_loss,
    style_targets,
)
from xferlib.nets.transform_net import SLIM, TransformNet
from xferlib.ops.resample import checkerboard_energy
from xferlib.train.precision import half_precision
from xferlib.train.recipe import Recipe
from xferlib.train.recipes.loss_network import as_bytes, photographs, squares
from xferlib.train.stream import item_seed, shuffled
from xferlib.train.study import Study, Trainer
from xferlib.train.stylize import CONTENT_LAYERS, STYLE_LAYERS, stylize
from xferlib.zoo.loss_network import loss_network

NAMES = paintings.STYLES
PIXELS = "pixels"
PAINTING = 256
"""Pixels a side of the paintings."""
SIDE, BATCH, STEPS = 144, 4, 6000
"""Pixels a side of the pieces of photographs that a net of one style paints in training, pieces a step, and steps."""
LARGE_SIDE, LARGE_BATCH, LARGE_STEPS = 256, 16, 7593
"""The same for the net of all styles, which takes a GPU, or a processor's patience."""
LARGEST = 1_000_000
"""Pixels that a net paints at most: strokes have a size in pixels, and on a larger picture, seen whole, are dust."""
FRAME = 16
"""Mirrored pixels around a picture that is measured, as in `stylize`."""
MEASURED = 8
"""Photographs that a net is measured on."""

_DEFAULTS = stylize.__kwdefaults__
WEIGHTS = Weights(
    {layer: _DEFAULTS["content_weight"] / len(CONTENT_LAYERS) for layer in CONTENT_LAYERS},
    {layer: _DEFAULTS["style_weight"] / len(STYLE_LAYERS) for layer in STYLE_LAYERS},
    _DEFAULTS["variation_weight"],
)
"""How much each layer and term counts: as in `stylize`, so that the two can be compared."""

TRAINING = {"lr": 3e-3, "warmup": 100, "clip": 10.0, "precision": "bf16-mixed"}
"""How all these nets are trained, as `xferlib.train.fit` takes it."""

Sample = tuple[Tensor, Tensor]


# What is painted


class Pieces(Dataset):
    """
    Square pieces of photographs, each with the number of the style to paint it in.

    Item i is a piece (3, side, side), RGB in [0, 1], perhaps mirrored, and its number, int64.

    Parameters
    ----------
    photographs : list of Tensor
        Pictures (3, H, W), uint8.
    styles : sequence of int
        Numbers to draw from, all alike.
    seed : int
        Seed of the order, of the pieces and of the numbers, 0 or larger.
    side : int
        Pixels a side; they show between 45 % and all of the photograph's shorter side.
    """

    def __init__(self, photographs: list[Tensor], styles: Sequence[int], seed: int, side: int = SIDE) -> None:
        self.photographs = shuffled(photographs, seed)
        self.styles, self.seed, self.side = tuple(styles), seed, side

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`; it depends on the seed and the index alone."""
        generator = Generator().manual_seed(item_seed(self.seed, index))
        image = self.photographs[index]
        short = min(image.shape[1:])
        length = max(1, round(short * augment.uniform(0.45, 1.0, generator)))
        top, left = (int(torch.randint(n - length + 1, (), generator=generator)) for n in image.shape[1:])
        piece = image[:, top : top + length, left : left + length] / 255
        piece = TF.resize(piece, [self.side] * 2, antialias=True).clamp(0, 1)
        if augment.uniform(0, 1, generator) < 0.5:
            piece = piece.flip(-1)
        style = self.styles[int(torch.randint(len(self.styles), (), generator=generator))]
        return piece, torch.tensor(style)


# What it is judged by


@lru_cache(maxsize=2)
def _judge(device: torch.device) -> tuple[LossNetwork, dict[str, Tensor], Tensor]:
    """Load the loss network; compute by layer what it makes of each painting, and how far photographs are from each."""
    net = loss_network()
    drawn = [paintings.draw(name, PAINTING, PAINTING)[None] for name in paintings.STYLES]
    each = [style_targets(net, [painting], STYLE_LAYERS) for painting in drawn]
    plain = photos.squares(photos.TRAIN, SIDE)
    with torch.no_grad():
        features = net(plain, STYLE_LAYERS)
        far = [style_loss(features, grams, WEIGHTS.style) for grams in each]
    grams = {layer: torch.cat([found[layer] for found in each]).to(device) for layer in STYLE_LAYERS}
    return net.to(device), grams, torch.stack(far).to(device)


def _targets(
    net: LossNetwork, grams: Mapping[str, Tensor], contents: Tensor, styles: Tensor, weights: Weights
) -> Targets:
    """Compute what the features of each picture should come to."""
    with torch.no_grad():
        content = net(contents, tuple(weights.content)) if weights.content else {}
    return Targets(content, {layer: gram[styles] for layer, gram in grams.items()})


def _features(net: LossNetwork, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Compute features in half precision, what is summed over them is not; the layer "pixels" is the picture."""
    with half_precision(images.device):
        found = net(images, tuple(layer for layer in layers if layer != PIXELS))
    return {layer: images if layer == PIXELS else found[layer].float() for layer in layers}


def _loss(net: nn.Module, batch: Sample, weights: Weights = WEIGHTS, every: bool = False) -> dict[str, Tensor]:
    """Judge what a net makes of a batch; a net of every style is told which one."""
    contents, styles = batch
    judge, grams, far = _judge(contents.device)
    judge = partial(_features, judge)
    painted = net(contents, F.one_hot(styles, len(NAMES)).to(contents)) if every else net(contents)
    targets = _targets(judge, grams, contents, styles, weights)
    features = judge(painted, tuple(dict.fromkeys([*weights.content, *weights.style])))

    terms = torch.vmap(partial(_terms, weights))(painted, features, targets.content, targets.style)
    # Divided by how far photographs are from the style, so that in one net no style outweighs the others.
    return {name: (term / far[styles]).mean() for name, term in terms.items()}


def _terms(weights: Weights, *parts: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    """Judge one picture by its features, and by what they should come to for content and for style."""
    image, features, content, style = (_batch_of_one(part) for part in parts)
    return perceptual_loss(lambda *_: features, image, Targets(content, style), weights)


def _batch_of_one(part: Tensor | dict[str, Tensor]) -> Any:
    return part[None] if isinstance(part, Tensor) else {layer: tensor[None] for layer, tensor in part.items()}


# What it is worth


@torch.no_grad()
def relative_loss(paint: Callable[[Tensor], Tensor], style: str, contents: Tensor) -> float:
    """
    Measure painted photographs by the loss that `stylize` lowers, over that of the photographs as they are.

    Parameters
    ----------
    paint : callable
        Called as ``paint(content)`` with (1, 3, H, W); gives the painted picture.
    style : str
        One of `NAMES`.
    contents : Tensor, shape (B, 3, H, W)
        Photographs, RGB in [0, 1].

    Returns
    -------
    float
        The mean over the photographs; where it is 1, nothing is gained.
    """
    net, grams, _ = _judge(contents.device)
    number = torch.tensor([NAMES.index(style)])
    found = []
    for content in contents:
        before, after = (F.pad(each, (FRAME,) * 4, "reflect") for each in (content[None], paint(content[None])))
        targets = _targets(net, grams, before, number, WEIGHTS)
        losses = [sum(perceptual_loss(net, each, targets, WEIGHTS).values()) for each in (after, before)]
        found.append((losses[0] / losses[1]).item())
    return mean(found)


def _measure(names: Sequence[str], net: nn.Module, data: Path | None) -> dict[str, Any]:
    held_back = photographs(data, held_back=True)
    contents = squares(held_back[:: max(1, len(held_back) // MEASURED)][:MEASURED])
    shares = torch.eye(len(NAMES))
    losses = {}
    for name in names:
        own = shares[NAMES.index(name)]
        losses[name] = relative_loss(net if net.styles is None else partial(net, shares=own), name, contents)
    found: dict[str, Any] = {"relative loss": mean(losses.values())}
    return {**found, "relative loss by style": losses} if len(losses) > 1 else found


def _recipe(name: str, names: Sequence[str]) -> Recipe:
    every = len(names) > 1
    side, batch_size, steps = (LARGE_SIDE, LARGE_BATCH, LARGE_STEPS) if every else (SIDE, BATCH, STEPS)
    numbers = [NAMES.index(style) for style in names]
    return Recipe(
        name=name,
        task="style",
        chapter="perceptual_loss",
        net=TransformNet,
        arguments={**SLIM, "styles": len(names)} if every else SLIM,
        loss=partial(_loss, every=every),
        dataset=lambda data, seed: Pieces(photographs(data), numbers, seed, side),
        evaluate=partial(_measure, names),
        steps=steps,
        batch_size=batch_size,
        lr=TRAINING["lr"],
        classes=tuple(names),
        pixels=(LARGEST,),
        data="photographs of CBSD68, Sun-Hays 80, Urban100 and VOC 2012, one in six held back, and those of "
        "scikit-image and scikit-learn for training, without labels; paintings drawn by this project",
        terms="research use; cite BSDS, Sun and Hays 2012, Huang et al. 2015, VOC 2012",
        options={key: value for key, value in TRAINING.items() if key != "lr"},
        shipped=name in ("styles", "style-stained-glass"),
    )


RECIPES = (
    _recipe("styles", NAMES),
    *(_recipe(f"style-{style}", (style,)) for style in paintings.STYLES),
)


# What each part is worth

STYLE, STUDY_SIDE, STUDY_STEPS = "stained-glass", 128, 600
"""Painting, pixels a side and steps of the study."""


def chequers(images: Tensor, period: int = 4) -> float:
    """
    Measure the pattern that repeats every few pixels: what a deconvolution of stride 2 leaves, twice over.

    Parameters
    ----------
    images : Tensor, shape (B, 3, H, W)
        RGB in [0, 1], of more than 40 pixels a side. The outermost 16 do not count.
    period : int
        Pixels after which the pattern repeats.

    Returns
    -------
    float
        Standard deviation, over the places of a period x period cell, of the mean colour at that place; the mean over
        pictures and colours. A flat picture has 0, a chessboard of single black and white pixels 0.5.
    """
    maps = images[..., FRAME:-FRAME, FRAME:-FRAME].flatten(0, 1)
    return mean((checkerboard_energy(each, period) * each.var(correction=0).item()) ** 0.5 for each in maps)


@torch.no_grad()
def _pixel_weight() -> float:
    """Find the weight with which the pixels of a grey picture cost as much as its features do."""
    net, _, _ = _judge(torch.device("cpu"))
    plain = photos.squares(photos.TRAIN, STUDY_SIDE)
    grey = torch.full_like(plain, 0.5)
    targets = Targets({**net(plain, CONTENT_LAYERS), PIXELS: plain})
    judge = partial(_features, net)
    features, pixels = (
        perceptual_loss(judge, grey, targets, Weights(content))["content"].item()
        for content in (WEIGHTS.content, {PIXELS: 1.0})
    )
    return features / pixels


def _ablate(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    arms: dict[str, tuple[dict[str, Any], Weights]] = {
        "everything": ({}, WEIGHTS),
        "pixels instead of features": ({}, replace(WEIGHTS, content={PIXELS: _pixel_weight()})),
        "without total variation": ({}, replace(WEIGHTS, variation=0.0)),
        "batch normalisation": ({"norm": "batch"}, WEIGHTS),
        "without normalisation": ({"norm": None}, WEIGHTS),
        "deconvolutions": ({"upsampling": "deconvolution"}, WEIGHTS),
    }
    stream = Pieces([as_bytes(photos.load(name)) for name in photos.TRAIN], [NAMES.index(STYLE)], seed, STUDY_SIDE)
    contents = photos.squares(photos.TEST, PAINTING)
    figures = {}
    for number, (name, (changes, weights)) in enumerate(arms.items()):
        torch.manual_seed(seed)
        net = TransformNet(**SLIM, **changes).to(memory_format=torch.channels_last)
        trainer(
            f"arm{number}",
            net,
            partial(_loss, weights=weights),
            stream,
            steps=STUDY_STEPS,
            batch_size=BATCH,
            seed=seed,
            **TRAINING,
        )
        figures[name] = _judged(net.eval(), contents)
    return figures


@torch.no_grad()
def _judged(net: nn.Module, contents: Tensor) -> dict[str, float]:
    """Measure a net by the whole loss, whatever it was trained by, by its terms, and by the pattern it leaves."""
    judge, grams, _ = _judge(contents.device)
    styles = torch.full((len(contents),), NAMES.index(STYLE))
    painted = net(contents)
    terms = perceptual_loss(judge, painted, _targets(judge, grams, contents, styles, WEIGHTS), WEIGHTS)
    return {
        "relative loss": relative_loss(net, STYLE, contents),
        **{name: term.item() for name, term in terms.items()},
        "chequers": chequers(painted),
        "chequers on grey": chequers(net(torch.full_like(contents[:1], 0.5))),
    }


STUDIES = (
    Study(
        name="style-ablations",
        chapter="perceptual_loss",
        measure=_ablate,
        data=f"slim nets for {STYLE}, {STUDY_STEPS} steps of {BATCH} pieces of {STUDY_SIDE} pixels a "
        "side of the photographs of scikit-image and scikit-learn for training; measured on those for testing, 256x256",
    ),
)
