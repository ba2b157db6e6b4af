"""
The loss network: a slim VGG that learns from photographs to tell textures, places and things apart.

The first filters are given: cosines, in grey and in two opponent colours, which miss nothing that nine neighbouring
pixels hold. All others learn. Every piece of a photograph is seen twice, each time cut and lit differently, and often
damaged. The Gram matrices of the layers that styles are read from must say which two belong together, which photograph
they are from, and what the damage is; the deeper layers must find the same points again, and name the things in a
street. So every layer has something of its own to learn.
"""

from pathlib import Path
from statistics import mean
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as TF

from xferlib.data import augment, photos, streets
from xferlib.data.benchmarks import CamVid, ImageFolder
from xferlib.losses.consistency import info_nce
from xferlib.losses.perceptual import mean_gram
from xferlib.losses.segmentation import cross_entropy
from xferlib.nets.folding import fold
from xferlib.nets.vgg import VGG, equalise
from xferlib.train.recipe import Recipe
from xferlib.train.stream import item_seed, shuffled

SLIM = {"widths": (32, 48, 64, 128, 128), "convs": (2, 2, 4, 4, 2), "pooling": "average", "normalise": True}
TEXTURES = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
PLACES = ("relu3_4", "relu4_2", "relu5_2")
THINGS = ("relu3_4", "relu5_2")
SIZE, POINTS = 96, 32
LONGEST = 640
"""Larger photographs are reduced to this many pixels a side."""
HELD_BACK = 6
"""Of so many photographs of a folder, one is not trained on."""
MOST = 512
"""The heads have room for so many photographs; further ones share a number with another."""
DAMAGES = ("none", "noise", "coloured noise", "blur", "shifted colours")
Sample = tuple[Tensor, ...]


# What is looked at


def photographs(data: Path | None, held_back: bool = False) -> list[Tensor]:
    """
    Read the photographs that are trained on, or those that are not.

    Parameters
    ----------
    data : Path or None
        Folder of real data, with pictures in ``photos``.
    held_back : bool
        Whether to give every sixth one, which is not trained on, in place of the others.

    Returns
    -------
    list of Tensor, shape (3, H, W), uint8
        The photographs, the longer side at most 640 pixels; those that scikit-image ships for training among the
        others.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or too few pictures are in it.
    """
    if data is None:
        raise FileNotFoundError("XFERLIB_DATA is not set; set it to the folder that holds photos/ and camvid/")
    folder = ImageFolder(data / "photos")
    numbers = [i for i in range(len(folder)) if (i % HELD_BACK == HELD_BACK - 1) == held_back]
    if not numbers:
        raise FileNotFoundError(
            f"{data / 'photos'} has {len(folder)} pictures; one in {HELD_BACK} is held back, give more"
        )
    found = [reduced(folder[i]) for i in numbers]
    return found if held_back else found + [reduced(photos.load(name)) for name in photos.TRAIN]


def reduced(image: Tensor) -> Tensor:
    """
    Reduce a photograph to what is trained on.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        The photograph, RGB in [0, 1].

    Returns
    -------
    Tensor, shape (3, h, w), uint8
        The photograph, its longer side at most 640 pixels.
    """
    share = min(1.0, LONGEST / max(image.shape))
    return as_bytes(TF.resize(image, [round(share * n) for n in image.shape[1:]], antialias=True))


def as_bytes(image: Tensor) -> Tensor:
    """
    Round an image to the bytes of a file.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB, about in [0, 1].

    Returns
    -------
    Tensor, shape (3, H, W), uint8
        RGB in 0 to 255.
    """
    return (image.clamp(0, 1) * 255).round().byte()


class Pieces(Dataset):
    """
    Two views of a piece of a photograph, where in each the same points lie, and a street.

    Item i is ``(one, other, points, others, damage, other_damage, number, frame, labels)``: crops (3, 96, 96), points
    (32, 2) as `torch.nn.functional.grid_sample` has them, the number of each view's damage in `DAMAGES` and that of the
    photograph, another crop, and the classes (96, 96) in it.

    Parameters
    ----------
    photographs : list of Tensor
        Pictures (3, H, W), uint8.
    frames : Dataset
        Street frames and their labels.
    seed : int
        Seed of the order and of the crops, 0 or larger.
    """

    def __init__(self, photographs: list[Tensor], frames: Dataset, seed: int) -> None:
        self.photographs = shuffled(list(enumerate(photographs)), seed)
        self.frames = shuffled(frames, seed)
        self.seed = seed

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`; it depends on the seed and the index alone."""
        generator = Generator().manual_seed(item_seed(self.seed, index))
        number, image = self.photographs[index]
        frame, labels = self.frames[index]
        windows = _windows(image.shape[1:], generator)
        points = augment.common_points(windows, POINTS, generator)
        (one, at, damage), (other, also_at, also) = (_view(image, window, points, generator) for window in windows)
        frame, labels = augment.scaled_crop(frame, labels, (SIZE, SIZE), (0.4, 0.8), generator)
        frame, labels = augment.flip(frame, labels, generator)
        told = torch.tensor([damage, also, number % MOST])
        return one, other, at, also_at, *told, augment.relight(frame, generator), labels


def _windows(size: tuple[int, int], generator: Generator) -> list[Tensor]:
    """Choose a square neighbourhood, and two windows (top, left, height, width) in it that overlap."""
    side = augment.uniform(0.4, 0.65, generator) * min(size)
    corner = (torch.tensor(size) - side) * torch.rand(2, generator=generator)
    found = []
    for _ in range(2):
        length = side * augment.uniform(0.6, 1.0, generator)
        within = corner + (side - length) * torch.rand(2, generator=generator)
        found.append(torch.cat([within, torch.tensor([length, length])]).floor())
    return found


def _view(image: Tensor, window: Tensor, points: Tensor, generator: Generator) -> tuple[Tensor, Tensor, int]:
    view, places = augment.view(image / 255, window, (SIZE, SIZE), points, generator)
    damage = max(0, int(torch.randint(-3, len(DAMAGES), (1,), generator=generator)))
    return damaged(augment.relight(view, generator), damage, generator), places, damage


def damaged(image: Tensor, damage: int, generator: Generator) -> Tensor:
    """
    Damage an image as pictures are that were made from features.

    Parameters
    ----------
    image : Tensor, shape (3, H, W)
        RGB in [0, 1].
    damage : int
        Number of the damage in `DAMAGES`.
    generator : Generator
        Source of randomness.

    Returns
    -------
    Tensor, shape (3, H, W)
        RGB in [0, 1].
    """
    amount = augment.uniform(0.3, 1.0, generator)
    if DAMAGES[damage] == "noise":
        image = image + 0.1 * amount * torch.randn(image.shape, generator=generator)
    elif DAMAGES[damage] == "coloured noise":
        noise = TF.gaussian_blur(torch.randn(image.shape, generator=generator), 7, [augment.uniform(0.3, 2, generator)])
        noise = noise - noise.mean(0)
        image = image + 0.12 * amount * noise / noise.std()
    elif DAMAGES[damage] == "blur":
        image = TF.gaussian_blur(image, 7, [2 * amount])
    elif DAMAGES[damage] == "shifted colours":
        steps = 1 + torch.randint(2, (2,), generator=generator)
        image = torch.stack([image[0].roll(int(steps[0]), 0), image[1], image[2].roll(int(steps[1]), 1)])
    return image.clamp(0, 1)


# What is asked


class Texture(nn.Module):
    """
    Say of the Gram matrix of a layer which texture it is, of which photograph, and what has damaged it.

    Parameters
    ----------
    channels : int
        Channels of the layer. More than 32 are mixed to 32 first.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix: nn.Module = nn.Identity()
        if channels > 32:
            self.mix = nn.Sequential(nn.Conv2d(channels, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        rows, columns = torch.triu_indices(min(channels, 32), min(channels, 32))
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.embed = nn.Sequential(nn.BatchNorm1d(len(rows)), nn.Linear(len(rows), 96), nn.BatchNorm1d(96))
        self.identity, self.number, self.damage = nn.Linear(96, 64), nn.Linear(96, MOST), nn.Linear(96, len(DAMAGES))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        Read the features of a layer.

        Parameters
        ----------
        features : Tensor, shape (B, channels, H, W)
            The features, not negative.

        Returns
        -------
        Tensor, shape (B, 64)
            What should be alike for two views of the same texture.
        Tensor, shape (B, 512)
            Scores of the photographs.
        Tensor, shape (B, 5)
            Scores of the damages.
        """
        mixed = self.mix(features).flatten(2)
        products = (mixed @ mixed.mT).float() / mixed.shape[2]
        found = self.embed((products[:, self.rows, self.columns] + 1e-3).sqrt())
        return self.identity(found), self.number(found), self.damage(found)


def cosines() -> Tensor:
    """
    Give the filters of the first layer.

    Returns
    -------
    Tensor, shape (32, 3, 3, 3)
        The nine cosines of a 3x3 square in grey, in red against blue and in green against both, each of norm 1: an
        orthonormal basis of its 27 values. Then the negatives of the three flat ones and of the two first slopes in
        grey, as a ReLU hides what is below the mean.
    """
    at, grid = torch.arange(3), torch.arange(3)[:, None]
    waves = F.normalize(torch.cos(torch.pi * (at + 0.5) * grid / 3), dim=1)
    colours = F.normalize(torch.tensor([[1.0, 1, 1], [1, 0, -1], [-1, 2, -1]]), dim=1)
    basis = torch.einsum("pc,ui,vj->uvpcij", colours, waves, waves).reshape(27, 3, 3, 3)
    return torch.cat([basis, -basis[[0, 1, 2, 3, 9]]])


class Learner(nn.Module):
    """The loss network to be, with batch normalisation, and a head for each question that is asked of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.vgg = VGG(**SLIM, norm=True)
        self.vgg.conv1_1.weight = nn.Parameter(cosines(), requires_grad=False)
        for layer in self.vgg.children():
            if isinstance(layer, nn.BatchNorm2d):  # with fixed shifts each filter fires at about half of all places
                layer.requires_grad_(False)
        widths = {layer: SLIM["widths"][int(layer[4]) - 1] for layer in (*TEXTURES, *PLACES, *THINGS)}
        self.textures = nn.ModuleDict({layer: Texture(widths[layer]) for layer in TEXTURES})
        self.places = nn.ModuleDict({layer: nn.Conv2d(widths[layer], 64, 1) for layer in PLACES})
        self.things = nn.ModuleDict({layer: nn.Conv2d(widths[layer], len(streets.CLASSES), 1) for layer in THINGS})

    def forward(self, images: Tensor) -> dict[str, dict[str, Tensor]]:
        """
        Answer everything about all images.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1].

        Returns
        -------
        dict
            By question, then by layer: "identities" (B, 64), "numbers" (B, 512), "damages" (B, 5), "places" (B, 64, h,
            w) and "things" (B, 11, h, w).
        """
        found = self.vgg(images, {*TEXTURES, *PLACES, *THINGS})
        textures = {layer: head(found[layer]) for layer, head in self.textures.items()}
        return {
            "identities": {layer: answers[0] for layer, answers in textures.items()},
            "numbers": {layer: answers[1] for layer, answers in textures.items()},
            "damages": {layer: answers[2] for layer, answers in textures.items()},
            "places": {layer: head(found[layer]) for layer, head in self.places.items()},
            "things": {layer: head(found[layer]) for layer, head in self.things.items()},
        }


def _loss(net: nn.Module, batch: Sample) -> dict[str, Tensor]:
    one, other, points, others, damage, other_damage, numbers, frames, labels = batch
    answers = net(torch.cat([one, other, frames]))
    pieces, at = 2 * len(one), torch.cat([points, others])[:, :, None]
    terms = dict.fromkeys(("identities", "numbers", "damages", "places", "things"), 0.0)
    for layer in TEXTURES:
        found = {question: answers[question][layer][:pieces] for question in ("identities", "numbers", "damages")}
        terms["identities"] += 0.5 * info_nce(*found["identities"].chunk(2))
        terms["numbers"] += F.cross_entropy(found["numbers"], numbers.repeat(2), label_smoothing=0.1)
        terms["damages"] += F.cross_entropy(found["damages"], torch.cat([damage, other_damage]))
    for layer in PLACES:
        found = F.grid_sample(answers["places"][layer][:pieces], at, align_corners=False)[..., 0]
        terms["places"] += info_nce(*found.mT.flatten(0, 1).chunk(2))
    for layer in THINGS:
        scores = F.interpolate(answers["things"][layer][pieces:], labels.shape[1:], mode="bilinear")
        terms["things"] += cross_entropy(scores, labels)
    return terms


# What becomes of it


def _pieces(data: Path | None, seed: int) -> Dataset:
    return Pieces(photographs(data), CamVid(data / "camvid", "train"), seed)


def _finished(learner: nn.Module, data: Path | None) -> VGG:
    """Take the net out of its heads, without normalisation and with mean activations of one over photographs."""
    return equalise(_folded(learner.vgg), squares(photographs(data)[::4]))


def _folded(normed: VGG) -> VGG:
    net = VGG(**SLIM)
    net.load_state_dict({key: value for key, value in fold(normed).state_dict().items() if key.startswith("conv")})
    return net.eval()


def random_weights(images: Tensor, seed: int = 0) -> VGG:
    """
    Build the loss network with random weights, normalised as the trained one: what training has to beat.

    Parameters
    ----------
    images : Tensor, shape (B, 3, H, W)
        Photographs.
    seed : int
        Seed of the weights.

    Returns
    -------
    VGG
        The net, its first filters random too: given cosines, and random weights behind them, it makes worse pictures.
        Each convolution's shift centres it on the photographs, as batch normalisation would, so that no filter is
        silent.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        learner = VGG(**SLIM, norm=True)
        for layer in learner.children():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None  # the statistics are those of this one batch
        learner(images, ("relu5_2",))
    return equalise(_folded(learner.eval()), images).requires_grad_(False)


# What it is worth


def squares(pictures: list[Tensor], size: int = 256) -> Tensor:
    """
    Bring photographs to one size.

    Parameters
    ----------
    pictures : list of Tensor, shape (3, H, W), uint8
        Photographs.
    size : int
        Side to bring the largest square in the middle of each to.

    Returns
    -------
    Tensor, shape (len(pictures), 3, size, size)
        RGB in [0, 1].
    """
    return torch.stack([photos.square(image / 255, size) for image in pictures])


def probe(net: nn.Module, pictures: list[Tensor]) -> dict[str, float]:
    """
    Ask how well a linear classifier tells textures by the Gram matrices of each layer.

    Parameters
    ----------
    net : nn.Module
        A loss network.
    pictures : list of Tensor, shape (3, H, W), uint8
        Photographs that it was not trained on, each a class. Grey pieces from above the middle line, all of the same
        mean and contrast, are learned; the classifier is asked about pieces from below it.

    Returns
    -------
    dict
        Share of the pieces whose photograph is found, by layer, in [0, 1].
    """
    above, below = (torch.cat(pieces) for pieces in zip(*map(_texture_pieces, squares(pictures)), strict=True))
    numbers = torch.arange(len(pictures)).repeat_interleave(len(above) // len(pictures))
    figures = {}
    for layer in TEXTURES:
        learned, asked = _grams(net, above, layer), _grams(net, below, layer)
        classifier = make_pipeline(StandardScaler(), RidgeClassifier(alpha=len(learned[0])))
        figures[layer] = classifier.fit(learned, numbers).score(asked, numbers)
    return figures


def _texture_pieces(image: Tensor) -> tuple[Tensor, Tensor]:
    """Cut pieces of 64x64 from above and from below the middle line, eight of each."""
    grey = image.mean(0)
    halves = []
    for top in (64, 128):
        pieces = torch.stack([grey[top : top + 64, left : left + 64] for left in range(0, 193, 27)])
        level, spread = pieces.mean((1, 2), keepdim=True), pieces.std((1, 2), keepdim=True)
        halves.append((0.45 + 0.2 * (pieces - level) / spread.clamp(min=0.01))[:, None].expand(-1, 3, -1, -1))
    return halves[0], halves[1]


@torch.no_grad()
def _grams(net: nn.Module, images: Tensor, layer: str) -> Any:
    grams = torch.cat([mean_gram(net(some, (layer,))[layer]) for some in images.split(64)])
    return grams.sqrt().flatten(1).numpy()


def _measure(net: nn.Module, data: Path | None) -> dict[str, Any]:
    held_back = photographs(data, held_back=True)
    rival = random_weights(squares(photographs(data)[::4]))
    trained, untrained = probe(net, held_back), probe(rival, held_back)
    return {
        "texture": mean(trained.values()),
        "random weights": mean(untrained.values()),
        "texture by layer": trained,
        "random weights by layer": untrained,
    }


RECIPE = Recipe(
    name="loss-network",
    task="features",
    chapter="gatys",
    net=VGG,
    arguments=SLIM,
    learner=Learner,
    finish=_finished,
    loss=_loss,
    dataset=_pieces,
    evaluate=_measure,
    steps=3600,
    batch_size=12,
    lr=3e-3,
    data="photographs of CBSD68, Sun-Hays 80, Urban100 and VOC 2012, one in six held back, those of scikit-image and "
    "scikit-learn for training, without labels; the 367 training frames of CamVid with theirs",
    terms="research use; cite BSDS, Sun and Hays 2012, Huang et al. 2015, VOC 2012, Brostow et al. 2008, 2009",
    options={"weight_decay": 0.05, "warmup": 100, "clip": 5.0, "precision": "bf16-mixed"},
)
