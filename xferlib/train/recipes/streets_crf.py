"""What a CRF makes of FCN's answers on drawn streets, beside a guided filter and a vote in superpixels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import torch
from skimage.segmentation import slic
from torch import Tensor, nn
from torch.utils.data import Dataset

from xferlib import zoo
from xferlib.data import streets
from xferlib.losses.segmentation import cross_entropy
from xferlib.metrics.segmentation import evaluate
from xferlib.nets.crf_rnn import CRFasRNN
from xferlib.ops import crf
from xferlib.ops.guided import guided_filter
from xferlib.train.recipes.streets import TEST_SEED
from xferlib.train.study import Study, Trainer

CLASSES = len(streets.CLASSES)
TUNING_SEED, TUNING = 2000, 12
FIELD = {"bilateral": (5.0, 10.0), "position": (10.0, 20.0, 50.0), "colour": (5.0, 10.0), "spatial": (1.0, 3.0)}
FILTER = {"radius": (2, 4, 8, 16), "epsilon": (1e-5, 1e-4, 1e-3, 1e-2)}
VOTE = {"segments": (100, 200, 400, 800, 1600), "compactness": (3.0, 10.0, 30.0)}
"""For each method the numbers to choose from."""
STEPS, BATCH = 100, 2
Refine = Callable[..., Tensor]
"""From probabilities (B, L, H, W) and images (B, 3, H, W), and numbers by name, to better probabilities."""


def vote(probabilities: Tensor, images: Tensor, segments: int = 400, compactness: float = 10.0) -> Tensor:
    """
    Give all pixels of a superpixel the mean of their probabilities.

    Parameters
    ----------
    probabilities : Tensor, shape (B, L, H, W)
        Of the labels.
    images : Tensor, shape (B, 3, H, W)
        RGB in [0, 1].
    segments : int
        Superpixels an image, roughly.
    compactness : float
        How much nearness counts against colour, as in `skimage.segmentation.slic`.

    Returns
    -------
    Tensor, shape (B, L, H, W)
        Of the labels, constant in each superpixel.
    """
    voted = []
    for own, image in zip(probabilities, images, strict=True):
        parts = slic(image.permute(1, 2, 0).numpy(), segments, compactness, start_label=0)
        parts = torch.from_numpy(parts).flatten()
        sums = own.new_zeros(len(own), int(parts.max()) + 1).index_add_(1, parts, own.flatten(1))
        voted.append((sums / parts.bincount())[:, parts].view_as(own))
    return torch.stack(voted)


def smoothed(probabilities: Tensor, images: Tensor, **numbers: Any) -> Tensor:
    """
    Run mean-field iterations on a net's probabilities.

    Parameters
    ----------
    probabilities : Tensor, shape (B, L, H, W)
        Of the labels.
    images : Tensor, shape (B, 3, H, W)
        RGB in [0, 1].
    **numbers
        As `xferlib.ops.crf.mean_field` takes them.

    Returns
    -------
    Tensor, shape (B, L, H, W)
        Beliefs.
    """
    return crf.mean_field(crf.unary(probabilities), images, **numbers)


def _answers(net: nn.Module, refine: Refine | None) -> Callable[[Tensor], Tensor]:
    """Refine a net's probabilities; as logits, which are what is measured."""

    @torch.inference_mode()
    def predict(images: Tensor) -> Tensor:
        probabilities = net(images).softmax(1)
        return (refine(probabilities, images) if refine else probabilities).clamp_min(1e-6).log()

    return predict


def _scenes(count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    return [*streets.Streets(count, seed=seed)]


def _settings(grid: Mapping[str, Sequence[float]]) -> Iterator[dict[str, float]]:
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _tuned(
    net: nn.Module, method: Refine, grid: Mapping[str, Sequence[float]], scenes: list[tuple[Tensor, Tensor]]
) -> dict[str, float]:
    """Choose the numbers with the best boundary F1 on scenes kept for that."""

    def quality(numbers: dict[str, float]) -> float:
        return evaluate(_answers(net, partial(method, **numbers)), scenes, CLASSES)["boundary F1"]

    return max(_settings(grid), key=quality)


def _loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    images, labels = batch
    return cross_entropy(net(images), labels)


class _Fixed(nn.Module):
    """A trained net that stays as it is, whatever is trained behind it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.net.eval()(images)


def _learned(trainer: Trainer, net: nn.Module, numbers: Mapping[str, float], seed: int) -> CRFasRNN:
    """Train the weights and the compatibilities of the field behind a net that stays as it is."""
    field = CRFasRNN(_Fixed(net), CLASSES, **numbers)
    lessons: Dataset = streets.Streets(2**32, seed=TUNING_SEED + 1 + seed)
    trainer("crf-as-rnn", field, _loss, lessons, steps=STEPS, batch_size=BATCH, lr=0.02, seed=seed)
    field.iterations = 10
    return field


def _compare(trainer: Trainer, seed: int) -> Mapping[str, Any]:
    coarse, fine = (zoo.load(f"fcn{stride}s-streets", fast=False) for stride in (32, 8))
    test, tuning = _scenes(48, TEST_SEED), _scenes(TUNING, TUNING_SEED)
    numbers, numbers_fine = (_tuned(net, smoothed, FIELD, tuning) for net in (coarse, fine))
    filtering, voting = _tuned(coarse, guided_filter, FILTER, tuning), _tuned(coarse, vote, VOTE, tuning)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "FCN-32s": _answers(coarse, None),
        "FCN-32s, guided filter": _answers(coarse, partial(guided_filter, **filtering)),
        "FCN-32s, superpixel vote": _answers(coarse, partial(vote, **voting)),
        "FCN-32s, CRF": _answers(coarse, partial(smoothed, **numbers)),
        "FCN-32s, CRF as RNN": _learned(trainer, coarse, numbers, seed),
        "FCN-8s": _answers(fine, None),
        "FCN-8s, CRF": _answers(fine, partial(smoothed, **numbers_fine)),
    }
    with torch.inference_mode():
        figures = {name: evaluate(predict, test, CLASSES) for name, predict in ways.items()}
    chosen = {"FCN-32s, guided filter": filtering, "FCN-32s, superpixel vote": voting}
    return {"kernels": {"FCN-32s": numbers, "FCN-8s": numbers_fine}, "chosen": chosen, **figures}


STUDIES = (
    Study(
        name="streets-crf",
        chapter="developments",
        measure=_compare,
        data=f"drawn streets of 128x256; numbers chosen on {TUNING}, weights learned in {STEPS} steps of {BATCH}; "
        "measured on 48 others",
    ),
)
