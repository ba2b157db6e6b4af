"""
CEILNet on photographs behind drawn glass: the shipped net, and small ones that each lack or add one thing.

The small nets are trained alike: the same photographs in the same order, as many steps, as many residual blocks. What
each one lacks or adds is all that tells it from ``reflection-small``. Two more interpolate on the way up and read the
maps of an EfficientNet-Lite0, which begins with what it learned of ImageNet in ``reflection-taught``, and with random
weights in ``reflection-untaught``; that is all that tells these two apart. Of ``reflection``, ``reflection-naive`` and
``reflection-icnn`` the weights are shipped, of the others only the figures are kept.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as TF

from xferlib.data import augment
from xferlib.data.benchmarks import ImageFolder, ReflectionTriples
from xferlib.data.reflections import Blend, ceilnet_blend, naive_blend, zhang_blend
from xferlib.losses.separation import edge_loss, image_loss, separation_loss
from xferlib.metrics.restoration import psnr, ssim
from xferlib.nets.ceilnet import CEILNet
from xferlib.nets.efficientnet import imagenet_lite
from xferlib.ops.views import average_views
from xferlib.train.recipe import Recipe
from xferlib.train.recipes.loss_network import as_bytes, photographs, reduced
from xferlib.train.schedule import restarts
from xferlib.train.stream import item_seed, shuffled
from xferlib.zoo.loss_network import loss_network

SIDE, PANE = 112, 224
"""The small nets see pieces of so many pixels a side, cut from blends of the size that Fan et al. use."""
SCALES = (0.6, 1.1)
"""Photographs are resized by a factor between these first."""
WEAK, LIGHT, CLEAN = 0.15, 0.1, 0.04
"""Shares of `mixed_blend` with a weakened reflection, of those made in light as Zhang et al. do, and without any."""
SHORT, LONG, UPRIGHT = (144, 304), (192, 456), 0.25
"""Late views have a shorter and a longer side between these, in pixels; such a share of the batches is upright."""
SPOTLESS, SHARP, BORDERLESS = 0.12, 0.12, 0.2
"""Of the late views that are not just as Fan et al. make them, the share without a reflection; of the rest, those with
one that is hardly blurred; and of all, those cut out of a larger pane, whose reflection does not end at their border.
"""
SHARP_SIGMAS, MARGIN, RELIT = (0.3, 2.0), 8, 0.15
BOLD_SCALES, STRETCH = (0.5, 1.2), 0.2
SATURATIONS, GAMMA, SWAPPED = (0.3, 1.5), 0.4, 0.3
"""The factors by which the photographs of bold views are resized, and the logarithm of how much one side is by more.
How much they are recoloured, the logarithm of the exponent of all values, and, of these, the share whose channels
change places."""
INNER = 0.7
"""Where two photographs are joined: at most this far from the middle, of the way to the corner."""
MORE = {"camvid/train": 6, "low_light": 1}
"""Folders whose pictures are looked at beside the photographs: one of so many."""
LARGE = (282, 450)
"""The commonest size of the triples; it is no multiple of a net's stride."""
PIXELS = 150_000
"""About the largest view that the shipped net sees in training; the triples have less."""
REDUCED = 320 / PANE
MISFIT = 0.02
"""A triple whose input differs by more from the sum of its layers, in the mean, cannot be measured by."""
DECIBELS, FLOOR, GRADIENTS = 0.092, 1e-3, 8.0
"""What a decibel counts in the loss of the shipped net, the squared error below which there are hardly any, and how
much more gradients count than Fan et al. have them."""
LAYERS = {"input": 1.0, "relu1_2": 0.1, "relu2_2": 0.2, "relu3_2": 0.2}
"""Weights of the loss network's layers, whose mean activations are 1."""
MIDDLE = 64
"""The loss network sees so many pixels a side of each piece, for it costs several times what the net does."""
Blender = Callable[[Tensor, Tensor, Generator], Blend]
Cutter = Callable[[Tensor, tuple[int, int], Generator], Tensor]


# What is looked at


class Shares(NamedTuple):
    """
    How much of the late views is changed.

    Parameters
    ----------
    varied : float
        Share of the views that are not just as Fan et al. make them.
    turned, recoloured : float
        Shares of the photographs that are turned by any number of quarters, and that are recoloured.
    joined : tuple of float
        Shares of the backgrounds and of the reflected pictures that are two photographs, joined at a straight edge.
    """

    varied: float
    turned: float = 0.0
    recoloured: float = 0.0
    joined: tuple[float, float] = (0.0, 0.0)


def _shares(batch: int) -> Shares:
    if batch < BOLD:
        return Shares(0.5)
    if batch < JOINED:
        return Shares(0.5, 0.5, 0.6)
    return Shares(0.5, 0.5, 0.6, (0.25, 0.5)) if batch < PLAIN else Shares(0.25, 0.1, 0.25)


def pictures(data: Path | None) -> list[Tensor]:
    """
    Read what the shipped net looks at: the photographs, and a few frames of streets and pictures in bad light.

    Parameters
    ----------
    data : Path or None
        Folder of real data, with pictures in ``photos`` and in the folders of `MORE`.

    Returns
    -------
    list of Tensor, shape (3, H, W), uint8
        The pictures, the longer side at most 640 pixels.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or too few pictures are in it.
    """
    found = photographs(data)
    for name, step in MORE.items():
        folder = ImageFolder(data / name)
        found += [reduced(folder[i]) for i in range(0, len(folder), step)]
    return found


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


def varied_blend(background: Tensor, reflection: Tensor, generator: Generator) -> Blend:
    """
    Add a reflection as `mixed_blend` does, now and then one that is hardly blurred, and more often none.

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
    if augment.uniform(0, 1, generator) < SPOTLESS:
        return ceilnet_blend(background, reflection, generator, strength=0.0)
    if augment.uniform(0, 1, generator) >= SHARP:
        return mixed_blend(background, reflection, generator)
    sigma, strength = augment.uniform(*SHARP_SIGMAS, generator), augment.uniform(0, 1, generator)
    return ceilnet_blend(background, reflection, generator, sigma=sigma, strength=strength)


def _window(photograph: Tensor, size: tuple[int, int], generator: Generator) -> Tensor:
    """Cut a rectangle out of a photograph at a random scale, perhaps mirrored, (3, H, W)."""
    scale = max(augment.uniform(*SCALES, generator), *_least(photograph, size))
    return _cut(photograph, size, (scale, scale), generator)


def _bold_window(shares: Shares, photograph: Tensor, size: tuple[int, int], generator: Generator) -> Tensor:
    """Cut a rectangle out of a photograph, perhaps turned and recoloured, its sides at random scales, (3, H, W)."""
    if augment.uniform(0, 1, generator) < shares.turned:
        photograph = photograph.rot90(int(torch.randint(4, (), generator=generator)), (1, 2))
    stretch, scale = math.exp(augment.uniform(-STRETCH, STRETCH, generator)), augment.uniform(*BOLD_SCALES, generator)
    scales = [max(pair) for pair in zip((scale * stretch, scale / stretch), _least(photograph, size), strict=True)]
    cut = _cut(photograph, size, scales, generator)
    return _recoloured(cut, generator) if augment.uniform(0, 1, generator) < shares.recoloured else cut


def _recoloured(image: Tensor, generator: Generator) -> Tensor:
    image = TF.adjust_saturation(image, augment.uniform(*SATURATIONS, generator))
    image = image ** math.exp(augment.uniform(-GAMMA, GAMMA, generator))
    swaps = augment.uniform(0, 1, generator) < SWAPPED
    return image[torch.randperm(3, generator=generator)] if swaps else image


def _joined(first: Tensor, second: Tensor, generator: Generator) -> Tensor:
    """Put one picture in the place of another on one side of a straight edge, (3, H, W)."""
    angle = augment.uniform(0, 2 * math.pi, generator)
    down, right = (torch.arange(side) - (side - 1) / 2 for side in first.shape[1:])
    across = right * math.cos(angle) + down[:, None] * math.sin(angle)
    reach = INNER * across.amax().item()
    return torch.lerp(first, second, (across - augment.uniform(-reach, reach, generator) + 0.5).clamp(0, 1))


def _least(photograph: Tensor, size: tuple[int, int]) -> list[float]:
    """Give the factors by which a photograph must be resized at least, to be as large as a rectangle."""
    return [side / most for side, most in zip(size, photograph.shape[1:], strict=True)]


def _cut(photograph: Tensor, size: tuple[int, int], scales: Sequence[float], generator: Generator) -> Tensor:
    """Cut a rectangle out of a photograph that is resized by these factors, perhaps mirrored, (3, H, W)."""
    whole = photograph.shape[1:]
    height, width = (min(round(side / scale), most) for side, scale, most in zip(size, scales, whole, strict=True))
    top, left = (
        int(torch.randint(most - side + 1, (), generator=generator))
        for most, side in zip(whole, (height, width), strict=True)
    )
    cut = photograph[:, top : top + height, left : left + width]
    cut = cut.flip(-1) if augment.uniform(0, 1, generator) < 0.5 else cut
    return TF.resize(cut / 255, list(size), antialias=True).clamp(0, 1)


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
        pane = self.blend(*self._windows(index, (PANE, PANE), generator), generator)
        top, left = (int(torch.randint(PANE - self.side + 1, (), generator=generator)) for _ in range(2))
        return Blend(*(layer[:, top : top + self.side, left : left + self.side].contiguous() for layer in pane))

    def _windows(self, index: int, size: tuple[int, int], generator: Generator, cut: Cutter = _window) -> list[Tensor]:
        """Cut a background and what it mirrors, each (3, H, W)."""
        first = self.order[index]
        second = first + 1 + int(torch.randint(len(self.photographs) - 1, (), generator=generator))
        return [cut(self.photographs[i % len(self.photographs)], size, generator) for i in (first, second)]


class Views(Panes):
    """
    What the shipped net sees: `EARLY` batches of `Panes`, then batches of another size and shape each.

    A reflection darkens towards the border, and the net learns to judge its strength by that. So it must see what its
    padding makes of the border of any size, and also pictures without it. From batch `BOLD` on the photographs are
    turned, stretched and recoloured, for a net that knows them by heart is worse on others, and from batch `JOINED` on
    many are two in one. From batch `PLAIN` on most are left as they are, like those that are to come.

    Parameters
    ----------
    photographs : list of Tensor, each (3, H, W), uint8
        Two at least.
    seed : int
        Seed of everything, 0 or larger.
    """

    def __init__(self, photographs: list[Tensor], seed: int) -> None:
        super().__init__(photographs, seed, mixed_blend, PANE)

    def __getitem__(self, index: int) -> Blend:
        """Sample `index`; it depends on the seed and the index alone, its size on the seed and the batch."""
        if index < EARLY * BATCH:
            return super().__getitem__(index)
        size = _size(Generator().manual_seed(item_seed(self.seed + 1, index // BATCH)))
        generator, shares = Generator().manual_seed(item_seed(self.seed, index)), _shares(index // BATCH)
        varied = augment.uniform(0, 1, generator) < shares.varied
        margin = MARGIN if varied and augment.uniform(0, 1, generator) < BORDERLESS else 0
        height, width = (side + 2 * margin for side in size)
        cut = partial(_bold_window, shares) if index >= BOLD * BATCH else _window
        windows = self._windows(index, (height, width), generator, cut)
        for layer, share in enumerate(shares.joined):
            if augment.uniform(0, 1, generator) < share:
                other = self.photographs[int(torch.randint(len(self.photographs), (), generator=generator))]
                windows[layer] = _joined(windows[layer], cut(other, (height, width), generator), generator)
        pair = [augment.relight(window, generator, RELIT) for window in windows]
        pane = (varied_blend if varied else ceilnet_blend)(*pair, generator)
        return Blend(*(layer[:, margin : height - margin, margin : width - margin].contiguous() for layer in pane))


def _size(generator: Generator) -> tuple[int, int]:
    """Choose a height and a width."""
    short, long = (round(augment.uniform(*sides, generator)) for sides in (SHORT, LONG))
    return (long, short) if augment.uniform(0, 1, generator) < UPRIGHT else (short, long)


def held_back(data: Path | None, size: tuple[int, int] = (PANE, PANE)) -> list[Blend]:
    """
    Blend the photographs that are not trained on, always alike, as Fan et al. do.

    Parameters
    ----------
    data : Path or None
        Folder of real data.
    size : tuple of int
        Height and width of the pictures.

    Returns
    -------
    list of Blend
        For every photograph one picture of (3, H, W), with the seventh before it as the reflection: their middles, as
        large as they can be, but reduced by at most `REDUCED`.
    """
    return _blended(photographs(data, True), size)


def _blended(photographs: list[Tensor], size: tuple[int, int]) -> list[Blend]:
    middles = [_middle(image, size) for image in photographs]
    generator = Generator().manual_seed(0)
    return [ceilnet_blend(image, middles[(i - 7) % len(middles)], generator) for i, image in enumerate(middles)]


def _middle(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut the middle out of a photograph, (3, H, W)."""
    scale = min(REDUCED, *(most / side for side, most in zip(size, image.shape[1:], strict=True)))
    cut = TF.center_crop(image, [round(scale * side) for side in size]) / 255
    return TF.resize(cut, list(size), antialias=True).clamp(0, 1)


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


def decibel_loss(net: nn.Module, batch: Blend) -> dict[str, Tensor]:
    """
    Compute the loss of CEILNet with the error of each picture in decibels, as it is measured in the end.

    Parameters
    ----------
    net : nn.Module
        A `CEILNet` with an E-CNN.
    batch : Blend
        Pictures, backgrounds and reflections.

    Returns
    -------
    dict of str to Tensor
        The terms "decibels", "gradients" and "edges".
    """
    # Differs from Fan et al.: with plain squared errors the few worst pictures outweigh all others, and gradients do
    # not count.
    found = net(batch[0], parts=True)
    errors = (found.background - batch[1]).square().mean((1, 2, 3))
    terms = _terms(found, batch)
    return {
        "decibels": DECIBELS * 10 * (errors + FLOOR).log10().mean(),
        "gradients": GRADIENTS * terms["gradients"],
        "edges": terms["edges"],
    }


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
def measure(net: Callable[[Tensor], Tensor], blends: list[Blend]) -> dict[str, float]:
    """
    Measure a net on pictures whose backgrounds are known.

    Parameters
    ----------
    net : callable
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
        background may be shifted against it; "..., held back"; "..., held back, large", of the commonest size of the
        triples; "..., learned from, large", made alike of every fifth photograph that is trained on. Each also for the
        input as it is, "input ..."; and "..., 8 views" on all triples, the mean of each picture turned and mirrored.
    """
    triples = [Blend(*triple) for triple in ReflectionTriples(data / "reflection_synthetic" if data else None)]
    fitting = [t for t in triples if (t.image - (t.background + t.reflection).clamp(0, 1)).abs().mean() < MISFIT]
    sets = {"": triples, ", fitting triples": fitting, ", held back": held_back(data)}
    sets[", held back, large"] = held_back(data, LARGE)
    sets[", learned from, large"] = _blended(photographs(data)[::5], LARGE)
    figures = {}
    for name, blends in sets.items():
        for prefix, found in (("", net), ("input ", nn.Identity())):
            figures |= {f"{prefix}{key}{name}": value for key, value in measure(found, blends).items()}
    figures |= {f"{key}, 8 views": value for key, value in measure(partial(_of_eight_views, net), triples).items()}
    return {**figures, "triples": len(triples), "fitting triples": len(fitting)}


def _of_eight_views(net: nn.Module, images: Tensor) -> Tensor:
    return average_views(lambda view: net(view[None])[0], images[0], 8)[None]


# The recipes

SHIPPED = {
    "widths": (32, 48, 64, 64),
    "dilations": (1, 2, 2, 1, 2),
    "edge_dilations": (1,),
    "interpolate": True,
    "fine_blocks": (1, 3, 2),
    "passes": 2,
}
SMALL = {"widths": (16, 16, 32, 48), "dilations": (1, 2, 4), "edge_dilations": (1, 2)}
SINGLE = {"widths": (16, 16, 32, 48), "dilations": (1, 1, 2, 2, 4), "edge_dilations": ()}
"""I-CNN alone, with the residual blocks that E-CNN would have. Widths are multiples of 16: with others, gradients of
dilated kernels in bfloat16 are not finite on some CPUs (oneDNN, in PyTorch 2.13)."""
READER = {**SMALL, "interpolate": True, "stages": 5}


def _recipe(
    name: str,
    arguments: dict[str, Any],
    steps: int,
    blend: Blender,
    loss: Callable = ceilnet_loss,
) -> Recipe:
    def dataset(data: Path | None, seed: int) -> Dataset:
        return Panes(photographs(data), seed, blend)

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
        batch_size=8,
        lr=1.5e-3,
        pixels=(PIXELS,),
        data="BSDS68, Sun and Hays 80, Urban100 at half size, VOC 2012 (the photographs not held back), blended",
        terms="photographs for research use; cite BSDS, Sun and Hays 2012, Huang et al. 2015, VOC 2012",
        options={"weight_decay": 1e-4, "warmup": 100, "clip": 0.5, "precision": "bf16-mixed"},
        shipped=name in ("reflection", "reflection-naive", "reflection-icnn"),
    )


def _taught(untaught: Recipe) -> Recipe:
    def learner() -> CEILNet:
        net = CEILNet(**untaught.arguments)
        net.backbone = imagenet_lite(READER["stages"])
        return net

    return replace(
        untaught,
        name="reflection-taught",
        learner=learner,
        data=f"{untaught.data}; the weights of EfficientNet-Lite0, trained on ImageNet",
        terms=f"{untaught.terms}, Deng et al. 2009; those weights: Apache License 2.0",
    )


SMALL_STEPS = 900
EARLY, BOLD, JOINED, PLAIN, STEPS = 9000, 38000, 120541, 131090, 137017
"""Batches of `Panes` that the shipped net sees first; those before the photographs are turned and recoloured, before
they are joined, and before most of them are left as they are; and all batches."""
BATCH = 4
"""Pictures of each of these batches."""
RISES = (EARLY, 15500, 25500, BOLD, 40800, 45200, 48277, 52046, 74032, 93785, 117541)
"""Batches before the learning rate rises again."""


def _shipped(small: Recipe) -> Recipe:
    # The shipped file was made in twelve runs: each began with an optimiser without memory, and with the weights of the
    # one before in float16. The second had no views of `SPOTLESS`. In the third, `CLEAN` was 0.06 and the first half
    # had the learning rate of a run half as long again. The last ten had the samples of other seeds. Before `JOINED`
    # there were only the photographs. In the first three the net had no fine blocks, and at the coarsest scale one more
    # in I-CNN and three more in E-CNN. The first four had `ceilnet_loss`, and the curve beside the file is theirs; the
    # fifth and sixth were in float32, and the fifth rose to 8 / 15. The last six rose to 1 / 5, 4 / 15, 7 / 15 and
    # thrice 1 / 3 within 50 batches, the last four within 150, and fell as a cosine of the time spent, the last one
    # only from `PLAIN` on. Only in the last four did I-CNN look twice; what reads the first look began at 0, and two
    # processes took half of each batch.
    return replace(
        small,
        dataset=lambda data, seed: Views(pictures(data), seed),
        loss=decibel_loss,
        data=f"{small.data}; every sixth frame of CamVid, SICE (demo)",
        terms=f"{small.terms}; cite Brostow et al. 2008/2009 and SegNet, Cai et al. 2018",
        batch_size=BATCH,
        views=8,
        options={**small.options, "schedule": partial(restarts, rises=RISES, steps=STEPS, again=2 / 3, warmup=200)},
    )


RECIPES = (
    _shipped(_recipe("reflection", SHIPPED, STEPS, mixed_blend)),
    _recipe("reflection-small", SMALL, SMALL_STEPS, ceilnet_blend),
    _recipe("reflection-naive", SMALL, SMALL_STEPS, naive_blend),
    _recipe("reflection-icnn", SINGLE, SMALL_STEPS, ceilnet_blend),
    _recipe("reflection-twice", {**SMALL, "passes": 2}, SMALL_STEPS, ceilnet_blend),
    _recipe("reflection-layers", {**SMALL, "layers": 2}, SMALL_STEPS, ceilnet_blend, layers_loss),
    _recipe("reflection-untaught", READER, SMALL_STEPS, ceilnet_blend),
    _taught(_recipe("reflection-untaught", READER, SMALL_STEPS, ceilnet_blend)),
)
