"""Streets without a single label: dense features learned by telling pixels apart, then clustered."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.cluster import MiniBatchKMeans
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset

from xferlib.data import augment, streets
from xferlib.losses.consistency import info_nce
from xferlib.metrics.clustering import matched
from xferlib.metrics.segmentation import confusion, scores
from xferlib.nets.fcn import FCN
from xferlib.train.recipes.streets import SLIM, TEST_SEED
from xferlib.train.stream import item_seed
from xferlib.train.study import Study, Trainer

CLASSES = len(streets.CLASSES)
CHANNELS, POINTS, SIZE = 32, 48, (96, 192)
STEPS, BATCH, SEEDS = 800, 8, 2
Features = Callable[[Tensor], Tensor]


class Views(Dataset):
    """
    Two views of each scene, and where in each the same points lie.

    Item i is ``(one, other, points, others)``: two crops (3, 96, 192), each scaled, relit and perhaps mirrored by
    itself, and `POINTS` points (POINTS, 2), x and y in [-1, 1] of each view, as `torch.nn.functional.grid_sample` has
    them.

    Parameters
    ----------
    scenes : Dataset
        Gives (image, ...).
    seed : int
        Seed of the views, 0 or larger.
    """

    def __init__(self, scenes: Dataset, seed: int) -> None:
        self.scenes, self.seed = scenes, seed

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Views of scene `index`; they depend on the seed and the index alone."""
        image = self.scenes[index][0]
        generator = Generator().manual_seed(item_seed(self.seed, index))
        windows = [_window(image.shape[1:], generator) for _ in range(2)]
        points = augment.common_points(windows, POINTS, generator)
        (one, at), (other, also_at) = (_view(image, window, points, generator) for window in windows)
        return one, other, at, also_at


def _window(size: tuple[int, int], generator: Generator) -> Tensor:
    """Choose a window of 60 to 100 % of each side: top, left, height, width. Any two of them overlap."""
    sides = torch.tensor(size) * augment.uniform(0.6, 1.0, generator)
    corner = (torch.tensor(size) - sides) * torch.rand(2, generator=generator)
    return torch.cat([corner, sides]).round()


def _view(image: Tensor, window: Tensor, points: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    view, places = augment.view(image, window, SIZE, points, generator)
    return augment.relight(view, generator, 0.5), places


def tell_apart(net: nn.Module, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """
    Ask the features of each point in one view to be nearest to those of the same point in the other.

    Parameters
    ----------
    net : nn.Module
        Gives features at every pixel.
    batch : tuple of Tensor
        A batch of `Views`.

    Returns
    -------
    Tensor
        The loss of all points of the batch against each other.
    """
    one, other, points, others = batch
    features = net(torch.cat([one, other]))
    at = F.grid_sample(features, torch.cat([points, others])[:, :, None], align_corners=False)[..., 0]
    return info_nce(*at.transpose(1, 2).flatten(0, 1).chunk(2))


def _clustered(features: Features, seed: int) -> dict[str, float]:
    """Cluster the features of some scenes, and measure the clusters on others after matching them with the classes."""
    known = [_pixels(features, i, seed=TEST_SEED + 1)[::16] for i in range(32)]
    clusters = MiniBatchKMeans(CLASSES, random_state=seed, n_init=5, batch_size=4096).fit(torch.cat(known).numpy())
    total = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
    for i in range(48):
        labels = streets.Streets(48, seed=TEST_SEED)[i][1]
        found = torch.from_numpy(clusters.predict(_pixels(features, i, seed=TEST_SEED).numpy())).long()
        total += confusion(found.view_as(labels), labels, CLASSES)
    result = scores(matched(total))
    return {"mean IU": result.mean_iu, "pixel accuracy": result.pixel_accuracy}


@torch.no_grad()
def _pixels(features: Features, index: int, seed: int) -> Tensor:
    return features(streets.Streets(48, seed=seed)[index][0][None])[0].flatten(1).T.contiguous()


def with_place(features: Tensor) -> Tensor:
    """
    Append to features the place of each pixel.

    Parameters
    ----------
    features : Tensor, shape (B, C, H, W)
        Colours, or a net's features.

    Returns
    -------
    Tensor, shape (B, C + 2, H, W)
        The same, then row and column, from 0 to 1.
    """
    sides = [torch.linspace(0, 1, side) for side in features.shape[2:]]
    places = torch.stack(torch.meshgrid(*sides, indexing="ij")).expand(len(features), -1, -1, -1)
    return torch.cat([features, places], 1)


def _of(name: str, net: nn.Module) -> dict[str, Features]:
    """Name a net's features, as directions: alone, and with the place of each pixel."""

    def directions(images: Tensor) -> Tensor:
        return F.normalize(net.eval()(images), dim=1)

    return {name: directions, f"{name} and place": lambda images: with_place(directions(images))}


def _study(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    figures: dict[str, list[dict[str, float]]] = {}

    def measure(ways: Mapping[str, Features], run: int) -> None:
        for name, features in ways.items():
            figures.setdefault(name, []).append(_clustered(features, run))

    for run in range(seed, seed + SEEDS):
        torch.manual_seed(run)
        net = FCN(CHANNELS, 8, **SLIM).to(memory_format=torch.channels_last)
        for layer in net.score.values():
            nn.init.normal_(layer.weight, std=0.1)  # with scores that start at zero, a random net has no features
        measure({"colour and place": with_place, **_of("random net", net)}, run)
        scenes = streets.Streets(2**32, seed=TEST_SEED + 2 + run)
        options = {"steps": STEPS, "batch_size": BATCH, "lr": 2e-3, "weight_decay": 0.01, "warmup": 50}
        trainer(f"run{run}", net, tell_apart, Views(scenes, run), seed=run, **options)
        measure(_of("self-supervised net", net), run)
    return figures


STUDIES = (
    Study(
        name="streets-no-labels",
        chapter="developments",
        measure=_study,
        data=f"drawn streets of 128x256 without labels, {STEPS} steps of {BATCH}; 48 others clustered; {SEEDS} seeds",
    ),
)
