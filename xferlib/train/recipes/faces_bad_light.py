"""Faces in bad light: which enhancer helps a recogniser, judged by others; and what a retrained recogniser does."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage.exposure import equalize_hist
from skimage.feature import hog
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset

from xferlib.data import faces
from xferlib.losses.consistency import info_nce
from xferlib.losses.restoration import l1
from xferlib.metrics.restoration import psnr
from xferlib.metrics.verification import redrawn, true_accepts
from xferlib.nets.face_embedding import FaceEmbedding
from xferlib.nets.restorer import Restorer
from xferlib.train.fit import Loss
from xferlib.train.stream import item_seed
from xferlib.train.study import Study, Trainer

STEPS, ENHANCER_STEPS, BATCH, SEEDS = 400, 400, 16, 3
DRAWS = 4
"""Probes of each face."""
FALSE_ACCEPTS = 0.01
MORE = {"shift": 2.0, "turn": 10.0, "zoom": 0.1}
"""How far faces are moved in training: further than in the test."""
PROBE_SEED = 1000
Judge = Callable[[Tensor], Tensor]
"""Turns faces (B, 1, 25, 25) into vectors of length one (B, D)."""


class Lessons(Dataset):
    """
    Pairs of views of the faces that may be trained on; item i is two tensors (N, 1, 25, 25), face by face.

    Parameters
    ----------
    kind : {"good light", "any light", "enhance"}
        Both views in good light; the second in bad light; or the first in bad light and the second the same view in
        good.
    seed : int
        Seed of all that is drawn, 0 or larger.
    count : int
        Faces an item.
    """

    def __init__(self, kind: str, seed: int, count: int = len(faces.TRAIN)) -> None:
        self.kind, self.seed, self.count = kind, seed, count
        self.faces = faces.load(faces.TRAIN)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Lesson `index`; it depends on the seed and the index alone."""
        generator = Generator().manual_seed(item_seed(self.seed, index))
        chosen = self.faces[torch.randperm(len(self.faces), generator=generator)[: self.count]]
        mirrored = torch.rand(len(chosen), 1, 1, 1, generator=generator) < 0.5
        chosen = torch.where(mirrored, chosen.flip(3), chosen)
        one = faces.jitter(chosen, generator, **MORE)
        if self.kind == "enhance":
            return faces.darken(one, generator), one
        if self.kind == "any light":
            return _relit(one, generator), faces.probes(chosen, generator)
        return _relit(one, generator), _relit(faces.jitter(chosen, generator, **MORE), generator)


def _relit(views: Tensor, generator: Generator) -> Tensor:
    """Change exposure as it changes in good light, with a little noise."""
    gain, lift = torch.rand(2, len(views), 1, 1, 1, generator=generator)
    noise = 0.03 * torch.randn(views.shape, generator=generator)
    return (views * (0.7 + 0.6 * gain) + 0.2 * (lift - 0.5) + noise).clamp(0, 1)


def recogniser(kind: str, seed: int) -> FaceEmbedding:
    """
    Give an untrained recogniser.

    Parameters
    ----------
    kind : {"A", "B", "retrained"}
        A has three layers of 3x3; B two of 5x5; the retrained one is A, with each picture brought to one exposure.
    seed : int
        Seed of its weights.

    Returns
    -------
    FaceEmbedding
        The net.

    Raises
    ------
    ValueError
        If there is no such recogniser.
    """
    options: dict[str, dict[str, Any]] = {
        "A": {},
        "B": {"widths": (24, 48), "kernel": 5},
        "retrained": {"standardise": True},
    }
    if kind not in options:
        raise ValueError(f"no recogniser is named {kind!r}; there are {', '.join(options)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 100 * list(options).index(kind))
        return FaceEmbedding(**options[kind])


def enhancer(seed: int) -> Restorer:
    """
    Give an untrained enhancer.

    Parameters
    ----------
    seed : int
        Seed of its weights.

    Returns
    -------
    Restorer
        The net, of grey pictures whose size it keeps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Restorer(1, enlarge=False)


def tell_apart(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """
    Ask a recogniser which of two rows of views belong together.

    Parameters
    ----------
    net : nn.Module
        The recogniser.
    batch : tuple of Tensor
        A batch of one lesson.

    Returns
    -------
    Tensor
        Scalar, `info_nce` at a temperature of 0.1.
    """
    one, other = (net(views.flatten(0, 1)) for views in batch)
    return info_nce(one, other)


def features(images: Tensor, targets: Tensor, eye: FaceEmbedding) -> Tensor:
    """
    Compare faces by what a recogniser sees in them.

    Parameters
    ----------
    images, targets : Tensor, shape (B, 1, 25, 25)
        Enhanced faces, and the same in good light.
    eye : FaceEmbedding
        The recogniser; its weights are not trained.

    Returns
    -------
    Tensor
        Scalar: over its layers, the squared difference as a share of the target's energy, half of it; plus half of one
        minus the cosine between the vectors.
    """
    *found, vector = eye.features(images)
    with torch.no_grad():
        *wanted, truth = eye.features(targets)
    layers = [(a - b).square().mean() / b.square().mean() for a, b in zip(found, wanted, strict=True)]
    return 0.5 * sum(layers) + 0.5 * (1 - (vector * truth).sum(1)).mean()


def enhance_loss(kind: str, eye: FaceEmbedding) -> Loss:
    """
    Give the loss of an enhancer.

    Parameters
    ----------
    kind : {"pixel", "feature", "both"}
        Mean absolute error, the recogniser's features, or the sum.
    eye : FaceEmbedding
        The recogniser.

    Returns
    -------
    callable
        Called as ``loss(net, batch)`` with a batch of one lesson.

    Raises
    ------
    ValueError
        If there is no such loss.
    """
    terms: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"pixel": l1, "feature": partial(features, eye=eye)}
    if kind not in (*terms, "both"):
        raise ValueError(f"no loss is named {kind!r}; there are pixel, feature and both")

    def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        dark, good = (views.flatten(0, 1) for views in batch)
        enhanced = net(dark)
        return {name: term(enhanced, good) for name, term in terms.items() if kind in (name, "both")}

    return loss


def probes(numbers: range = faces.TEST, draws: int = DRAWS) -> tuple[Tensor, Tensor]:
    """
    Give the probes of the test, always the same.

    Parameters
    ----------
    numbers : range
        Which faces.
    draws : int
        Probes of each face.

    Returns
    -------
    tuple of Tensor, shape (draws * N, 1, 25, 25)
        In bad light, and the same views in good light; probe i shows face ``i % N``.
    """
    gallery, good, dark = faces.load(numbers), [], []
    for draw in range(draws):
        generator = Generator().manual_seed(PROBE_SEED + draw)
        good.append(faces.jitter(gallery, generator))
        dark.append(faces.darken(good[-1], generator))
    return torch.cat(dark), torch.cat(good)


def stretched(dark: Tensor) -> Tensor:
    """
    Give every face the same mean by a gain: what a camera's automatic does.

    Parameters
    ----------
    dark : Tensor, shape (N, 1, H, W)
        Faces in [0, 1].

    Returns
    -------
    Tensor, shape (N, 1, H, W)
        With a mean of 0.45 before what goes beyond 1 is cut off.
    """
    return (0.45 * dark / dark.mean((1, 2, 3), keepdim=True).clamp_min(1e-3)).clamp(0, 1)


def equalised(dark: Tensor) -> Tensor:
    """
    Equalise the histogram of each face.

    Parameters
    ----------
    dark : Tensor, shape (N, 1, H, W)
        Faces in [0, 1].

    Returns
    -------
    Tensor, shape (N, 1, H, W)
        Faces whose values are spread evenly over [0, 1].
    """
    return torch.from_numpy(np.stack([equalize_hist(face.numpy()) for face in dark])).float()


def gradients(views: Tensor) -> Tensor:
    """
    Describe faces without any training: by histograms of oriented gradients.

    Parameters
    ----------
    views : Tensor, shape (N, 1, 25, 25)
        Faces in [0, 1].

    Returns
    -------
    Tensor, shape (N, D)
        Vectors of length one.

    References
    ----------
    Dalal, Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005.
    """
    found = [hog(face[0].numpy(), orientations=8, pixels_per_cell=(5, 5), cells_per_block=(2, 2)) for face in views]
    return F.normalize(torch.from_numpy(np.stack(found)).float(), dim=1)


@torch.inference_mode()
def likeness(judge: Judge, views: Tensor, gallery: Tensor) -> Tensor:
    """
    Score every pair of a probe and a picture of the gallery.

    Parameters
    ----------
    judge : callable
        Turns faces into vectors of length one.
    views : Tensor, shape (P, 1, 25, 25)
        Probes.
    gallery : Tensor, shape (G, 1, 25, 25)
        Gallery, in good light.

    Returns
    -------
    Tensor, shape (P, G)
        Cosines.
    """
    return judge(views.clamp(0, 1)) @ judge(gallery).T


def _compare(train: Trainer, seed: int) -> Mapping[str, Any]:
    gallery = faces.load(faces.TEST)
    dark, good = probes()
    runs: dict[str, list[dict[str, float]]] = {}
    drawn: dict[str, Tensor] = {}

    def judged(name: str, views: Tensor, judges: Mapping[str, Judge]) -> None:
        row = {"PSNR": psnr(views.clamp(0, 1), good, data_range=1).mean().item()} if views is not good else {}
        for key, judge in judges.items():
            scores = likeness(judge, views, gallery)
            row[key] = true_accepts(scores, FALSE_ACCEPTS)
            drawn[f"{name}|{key}"] = drawn.get(f"{name}|{key}", 0) + redrawn(scores, FALSE_ACCEPTS) / SEEDS
        runs.setdefault(name, []).append(row)

    for run in range(seed, seed + SEEDS):
        nets = {}
        for kind in ("A", "B", "retrained"):
            nets[kind] = recogniser(kind, run)
            lessons = Lessons("any light" if kind == "retrained" else "good light", run)
            train(
                f"{kind}-run{run}",
                nets[kind],
                tell_apart,
                lessons,
                steps=STEPS,
                batch_size=1,
                lr=2e-3,
                warmup=40,
                seed=run,
            )
            nets[kind].requires_grad_(False)
        judges: dict[str, Judge] = {"A": nets["A"], "B": nets["B"], "HOG": gradients}
        judged("good light", good, judges)
        for name, views in {"as it is": dark, "brighter": stretched(dark), "equalised": equalised(dark)}.items():
            judged(name, views, judges)
        for kind in ("pixel", "feature", "both"):
            net = enhancer(run)
            lessons = Lessons("enhance", run, BATCH)
            options = {"steps": ENHANCER_STEPS, "batch_size": 1, "lr": 4e-3, "warmup": 20, "seed": run}
            train(f"{kind}-run{run}", net, enhance_loss(kind, nets["A"]), lessons, **options)
            with torch.inference_mode():
                judged(kind, net(dark), judges)
        judged("retrained", dark, {"retrained": nets["retrained"]})
    return {name: _summary(name, rows, drawn) for name, rows in runs.items()} | {"differences": _differences(drawn)}


def _summary(name: str, rows: list[dict[str, float]], drawn: Mapping[str, Tensor]) -> dict[str, Any]:
    mean = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
    return {
        "runs": rows,
        "mean": mean,
        "interval": {key: _bounds(drawn[f"{name}|{key}"]) for key in mean if key != "PSNR"},
    }


def _differences(drawn: Mapping[str, Tensor]) -> dict[str, Any]:
    """Compare the feature loss and both with the pixel loss, person by person drawn alike."""
    pairs = [(name, key) for name in ("feature", "both") for key in ("A", "B", "HOG")]
    gaps = {f"{name} - pixel|{key}": drawn[f"{name}|{key}"] - drawn[f"pixel|{key}"] for name, key in pairs}
    gaps["retrained - feature|B"] = drawn["retrained|retrained"] - drawn["feature|B"]
    return {name: {"mean": gap.mean().item(), "interval": _bounds(gap)} for name, gap in gaps.items()}


def _bounds(rates: Tensor) -> list[float]:
    return rates.quantile(torch.tensor([0.025, 0.975])).tolist()


STUDIES = (
    Study(
        name="faces-bad-light",
        chapter="pixel_losses",
        measure=_compare,
        data=f"50 faces of LFW as scikit-image ships them to train on, 50 others to test, {DRAWS} dark probes of each; "
        f"{SEEDS} seeds; true accepts at {FALSE_ACCEPTS:.0%} false accepts; intervals by redrawing the 50 persons",
    ),
)
