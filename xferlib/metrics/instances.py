"""How well single objects are found: their number, each one by its overlap, and the partition as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from xferlib.metrics._average_precision import AREAS, AveragePrecision, average_precision
from xferlib.metrics._instance_maps import check, found_shares, overlaps, ratio

__all__ = [
    "AREAS",
    "AveragePrecision",
    "Matches",
    "average_precision",
    "bowl_score",
    "bowl_scores",
    "components",
    "count",
    "count_error",
    "match",
    "pixel_error",
    "rand_f",
    "thinned",
]


@dataclass(frozen=True)
class Matches:
    """
    How the objects of a prediction meet those of the truth.

    Matches can be added, so that ``sum(matches, Matches())`` counts over a dataset.

    Parameters
    ----------
    true_positives, false_positives, false_negatives : int
        Objects that were found, objects of the prediction that match none, and true ones that were missed.
    merges : int
        Objects of the prediction that cover more than half of each of two or more true ones.
    splits : int
        True objects that cover more than half of each of two or more predicted ones.
    """

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    merges: int = 0
    splits: int = 0

    def __add__(self, other: "Matches") -> "Matches":
        """Add count by count."""
        if not isinstance(other, Matches):
            return NotImplemented
        return Matches(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def precision(self) -> float:
        """Share of the predicted objects that match a true one, in [0, 1]; nan if none is predicted."""
        return ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the true objects that were found, in [0, 1]; nan if there is none."""
        return ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]; nan if there is no object in either."""
        twice = 2 * self.true_positives
        return ratio(twice, twice + self.false_positives + self.false_negatives)


def components(mask: Tensor, connectivity: int = 1) -> Tensor:
    """
    Number the connected components of a mask.

    Parameters
    ----------
    mask : Tensor, shape (H, W)
        Non-zero where there is an object.
    connectivity : {1, 2}
        1 joins pixels that share a side, 2 also those that share a corner.

    Returns
    -------
    Tensor, shape (H, W), int64
        0 outside the mask, 1 to n on its components.

    Raises
    ------
    ValueError
        If the mask is not (H, W), or the connectivity is neither 1 nor 2.
    """
    if mask.ndim != 2:
        raise ValueError(f"mask of shape {tuple(mask.shape)}; expected (H, W), one image at a time")
    if connectivity not in (1, 2):
        raise ValueError(f"connectivity {connectivity} is neither 1, by sides, nor 2, by sides and corners")
    joined = ndimage.generate_binary_structure(2, connectivity)
    numbers = ndimage.label((mask != 0).numpy(force=True), joined)[0]
    return torch.from_numpy(numbers.astype(np.int64)).to(mask.device)


def count(instances: Tensor, least: int = 1) -> int:
    """
    Count the objects of an instance map.

    Parameters
    ----------
    instances : Tensor of int, shape (H, W)
        Number of the object at each pixel, 0 where there is none.
    least : int
        Objects of fewer pixels are specks and are not counted.

    Returns
    -------
    int
        Number of objects.

    Raises
    ------
    ValueError
        If the map is not (H, W) integers from 0 up.
    """
    check(instances=instances)
    instances = instances.long()
    return int((instances[instances > 0].unique(return_counts=True)[1] >= least).sum())


def count_error(prediction: Tensor, truth: Tensor, least: int = 1) -> float:
    """
    Tell how far the number of objects is off, whichever way.

    Parameters
    ----------
    prediction, truth : Tensor of int, shape (H, W)
        Instance maps: number of the object at each pixel, 0 where there is none.
    least : int
        Objects of fewer pixels are specks and are not counted, in either map.

    Returns
    -------
    float
        ``|n - m| / m`` for n objects in the prediction and m in the truth, 0 at best; nan if m is 0.

    Raises
    ------
    ValueError
        If the shapes differ, or a map is not (H, W) integers from 0 up.

    Notes
    -----
    A merge and a split in the same image cancel here; `match` tells them apart.
    """
    check(prediction=prediction, truth=truth)
    expected = count(truth, least)
    return ratio(abs(count(prediction, least) - expected), expected)


def match(prediction: Tensor, truth: Tensor, iou: float = 0.5) -> Matches:
    """
    Match each predicted object with the true one that it overlaps most.

    Parameters
    ----------
    prediction, truth : Tensor of int, shape (H, W)
        Instance maps: number of the object at each pixel, 0 where there is none. The numbers themselves do not
        matter.
    iou : float
        Two objects match if their intersection over union is above this, at least 0.5 and below 1: so no object
        can match two.

    Returns
    -------
    Matches
        Numbers of matched and unmatched objects, of merges and of splits.

    Raises
    ------
    ValueError
        If the shapes differ, a map is not (H, W) integers from 0 up, or the threshold lies outside [0.5, 1).
    """
    check(prediction=prediction, truth=truth)
    if not 0.5 <= iou < 1:
        raise ValueError(f"iou {iou} is not in [0.5, 1); below 0.5 one object could match two")
    pairs = overlaps(prediction, truth)
    true_sizes, sizes = pairs.true_sizes[pairs.true], pairs.sizes[pairs.predicted]
    union = (true_sizes + sizes - pairs.shared).double()
    found = int((pairs.shared > iou * union).sum())
    swallowed = pairs.predicted[2 * pairs.shared > true_sizes]
    fragments = pairs.true[2 * pairs.shared > sizes]
    return Matches(
        true_positives=found,
        false_positives=len(pairs.sizes) - found,
        false_negatives=len(pairs.true_sizes) - found,
        merges=int((swallowed.bincount() > 1).sum()),
        splits=int((fragments.bincount() > 1).sum()),
    )


def bowl_score(prediction: Tensor, truth: Tensor) -> float:
    """
    Score found objects as the Data Science Bowl of 2018 does, by how many are found at ten levels of strictness.

    Parameters
    ----------
    prediction, truth : Tensor of int, shape (H, W)
        Instance maps: number of the object at each pixel, 0 where there is none. The numbers themselves do not
        matter.

    Returns
    -------
    float
        Mean of ``TP / (TP + FP + FN)`` over the thresholds 0.50, 0.55, ..., 0.95 of the intersection over union, which
        a match has to exceed; in [0, 1].

    Raises
    ------
    ValueError
        If the shapes differ, or a map is not (H, W) integers from 0 up.

    Notes
    -----
    In an image without objects one false alarm makes the score 0; hence it is 1, not nan, where nothing is found and
    nothing is there, so that every image counts in a mean.

    References
    ----------
    Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl", Nature Methods 16,
    2019.
    """
    return found_shares(prediction, truth).mean().item()


def bowl_scores(predictions: Sequence[Tensor], truths: Sequence[Tensor]) -> dict[str, float]:
    """
    Average the Data Science Bowl's score over images.

    Parameters
    ----------
    predictions, truths : sequence of Tensor of int, shape (H, W)
        Instance maps as `bowl_score` takes them; sizes may differ from image to image.

    Returns
    -------
    dict of str to float
        "score", the mean of `bowl_score`, and "at .5", the mean of its part at the threshold 0.5; in [0, 1].

    Raises
    ------
    ValueError
        If there is no image, there are not as many predictions as truths, or a map is not as `bowl_score` asks.
    """
    if len(predictions) != len(truths) or not len(truths):
        raise ValueError(f"{len(predictions)} predictions for {len(truths)} truths; give one of each an image")
    found = torch.stack([found_shares(*maps) for maps in zip(predictions, truths, strict=True)])
    return {"score": found.mean().item(), "at .5": found[:, 0].mean().item()}


def rand_f(prediction: Tensor, truth: Tensor) -> float:
    """
    Score a partition into cells by pairs of pixels, as the ISBI 2012 challenge does.

    Parameters
    ----------
    prediction, truth : Tensor of int, shape (H, W)
        Instance maps: number of the cell at each pixel, 0 on membranes. For a net's answer these are the
        `components` of its cell pixels.

    Returns
    -------
    float
        Foreground-restricted Rand F-score in (0, 1], 1 if the cells are the same; nan if the truth has none.

    Raises
    ------
    ValueError
        If the shapes differ, or a map is not (H, W) integers from 0 up.

    Notes
    -----
    Only the pixels in true cells count. Let p_ij be the share of them that lies in predicted cell i and true cell j,
    s_i the sum over j and t_j that over i. Then ::

        F = sum p_ij^2 / (sum s_i^2 / 2 + sum t_j^2 / 2)

    which is the harmonic mean of two probabilities: that two pixels of one predicted cell are of one true cell, and
    the reverse. Hence one gap in a long membrane, which merges two large cells, costs much more than its few pixels.
    A pixel of a true cell that is predicted as membrane is a segment of its own: with c such pixels among n, both
    sum p_ij^2 and sum s_i^2 gain c / n^2. A pixel predicted as cell on a true membrane does not count, but it may
    join two cells. As in the reference's definition of the index, a pixel also makes a pair with itself.

    The challenge of 2012 reports the Rand error ``1 - F`` at the best threshold of the probabilities. Its later
    V_rand is F after the predicted membranes are `thinned`.

    References
    ----------
    Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics",
    Frontiers in Neuroanatomy 9, 2015.
    """
    check(prediction=prediction, truth=truth)
    pairs = overlaps(prediction, truth)
    within = pairs.shared.new_zeros(len(pairs.sizes)).index_add(0, pairs.predicted, pairs.shared)
    alone = int(pairs.true_sizes.sum() - within.sum())
    together, merged, whole = (int((counts**2).sum()) for counts in (pairs.shared, within, pairs.true_sizes))
    return ratio(2 * (together + alone), merged + alone + whole)


def thinned(instances: Tensor) -> Tensor:
    """
    Thin membranes to nothing: each of their pixels goes to the nearest cell.

    Parameters
    ----------
    instances : Tensor of int, shape (H, W)
        Number of the cell at each pixel, 0 on membranes.

    Returns
    -------
    Tensor of int64, shape (H, W)
        Number of the nearest cell at each pixel, that of its own in a cell; all 0 if there is no cell.

    Raises
    ------
    ValueError
        If the map is not (H, W) integers from 0 up.

    Notes
    -----
    How thick a membrane is drawn is a matter of taste, and of the threshold; which cells it parts is not. So the
    challenge's final measure, V_rand, is `rand_f` of thinned membranes. Its organisers leave lines of one pixel.

    References
    ----------
    Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics",
    Frontiers in Neuroanatomy 9, 2015.
    """
    check(instances=instances)
    cells = instances.numpy(force=True).astype(np.int64)
    if cells.any():
        rows, columns = ndimage.distance_transform_edt(cells == 0, return_distances=False, return_indices=True)
        cells = cells[rows, columns]
    return torch.from_numpy(cells).to(instances.device)


def pixel_error(prediction: Tensor, truth: Tensor, threshold: float = 0.5) -> float:
    """
    Give the share of pixels that are taken for the wrong one of membrane and cell.

    Parameters
    ----------
    prediction : Tensor, shape (H, W)
        Probability of a cell in [0, 1], a boolean mask of the cells, or an instance map of integers from 0 up.
    truth : Tensor of int or bool, shape (H, W)
        Mask or instance map: 0 on membranes, anything else is a cell.
    threshold : float
        A probability from here up counts as cell; for masks and instance maps it plays no part.

    Returns
    -------
    float
        Error in [0, 1].

    Raises
    ------
    ValueError
        If the shapes differ or are empty, or a map is not (H, W) probabilities or integers from 0 up.
    """
    if prediction.is_floating_point():
        if prediction.numel() and not (prediction.min() >= 0 and prediction.max() <= 1):
            raise ValueError("prediction has values outside [0, 1] or nan; apply softmax or sigmoid to logits first")
        prediction = prediction >= threshold
    maps = {
        name: cells.byte() if cells.dtype == torch.bool else cells
        for name, cells in (("prediction", prediction), ("truth", truth))
    }
    check(**maps)
    return ((maps["prediction"].long() > 0) != (maps["truth"].long() > 0)).double().mean().item()
