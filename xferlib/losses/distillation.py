"""Losses with which a small net learns from a large one: from its probabilities, its features and its attention."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from xferlib.losses.segmentation import cross_entropy
from xferlib.ops._halves import exact, wide
from xferlib.ops.boxes import check


def soft_target_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float, mask: Tensor | None = None
) -> Tensor:
    """
    Measure how far a student's probabilities lie from its teacher's, both softened by a temperature.

    Parameters
    ----------
    student_logits : Tensor, shape (B, C) or (B, C, H, W)
        Class scores of the net that learns.
    teacher_logits : Tensor, same shape
        Those of the net that it follows; they get no gradient.
    temperature : float
        T, above 0, by which all scores are divided. The higher, the more the small probabilities count.
    mask : Tensor of bool, shape (B,) or (B, H, W), optional
        Which pictures or pixels count; by default all.

    Returns
    -------
    Tensor
        Scalar: T^2 times the Kullback-Leibler divergence of the student from the teacher, the mean over all that
        counts. It is zero, with a gradient of zero, where nothing does.

    Raises
    ------
    ValueError
        If the shapes do not belong together, or the temperature is not above 0.

    Notes
    -----
    The gradient of the divergence shrinks as 1 / T^2; the factor makes up for that, so that the share of the labels
    need not change with the temperature. As T grows, the gradient goes to (z - v) / C for scores z and v of mean 0.

    The cross-entropy of the paper differs from the divergence by the entropy of the teacher, a constant.

    References
    ----------
    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, sections 2 and 2.1.
    """
    _check_logits(student_logits, teacher_logits)
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} is not above 0; 1 leaves the scores alone, 2 to 20 soften them")
    if mask is not None and mask.shape != student_logits[:, 0].shape:
        raise ValueError(f"mask of shape {tuple(mask.shape)} for scores of {tuple(student_logits.shape)}")
    student = F.log_softmax(wide(student_logits) / temperature, 1)
    teacher = F.log_softmax(wide(teacher_logits.detach()) / temperature, 1)
    each = F.kl_div(student, teacher, reduction="none", log_target=True).sum(1)
    counts = torch.ones_like(each) if mask is None else mask.to(each.dtype)
    return temperature**2 * (each * counts).sum() / counts.sum().clamp(min=1)


def distillation_loss(
    student_logits: Tensor,
    labels: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float,
    share: float,
    ignore: int = 255,
) -> Tensor:
    """
    Weigh what the labels say against what the teacher says.

    Parameters
    ----------
    student_logits : Tensor, shape (B, C) or (B, C, H, W)
        Class scores of the net that learns.
    labels : Tensor, shape (B,) or (B, H, W), int64
        Classes. In a map of labels, pixels of `ignore` count in neither term.
    teacher_logits : Tensor, shape (B, C) or (B, C, H, W)
        Scores of the net that it follows; they get no gradient.
    temperature : float
        T of the soft targets, above 0.
    share : float
        Weight of the soft targets in [0, 1]; the labels have the rest.
    ignore : int
        Label of void pixels.

    Returns
    -------
    Tensor
        Scalar: (1 - share) times the cross-entropy at temperature 1, plus share times `soft_target_loss`.

    Raises
    ------
    ValueError
        If the shapes do not belong together, a label is no class, the temperature is not above 0, or the share is
        not in [0, 1].

    References
    ----------
    Hinton, Vinyals, Dean, 2015, section 2, who find a considerably lower weight on the labels best.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share {share} of the soft targets is not in [0, 1]; 0.9 leaves a tenth to the labels")
    dense = student_logits.ndim > 2
    soft = soft_target_loss(student_logits, teacher_logits, temperature, labels != ignore if dense else None)
    scores, classes = (student_logits, labels) if dense else (student_logits[..., None, None], labels[:, None, None])
    # Without a map there is no void: a label of 255 is then a class like any other, or a mistake.
    if not dense and (labels < 0).any():
        raise ValueError(f"label {int(labels.min())} is no class; they count from 0")
    hard = cross_entropy(scores, classes, ignore=ignore if dense else -1)
    return (1 - share) * hard + share * soft


def hint_loss(guided: Tensor, hint: Tensor) -> Tensor:
    """
    Measure how far a student's features lie from those of its teacher.

    Parameters
    ----------
    guided : Tensor, shape (B, N, H, W)
        Features of the student's guided layer, after the regressor.
    hint : Tensor, shape (B, N, H, W)
        Features of the teacher's hint layer; they get no gradient.

    Returns
    -------
    Tensor
        Scalar: half the squared differences, the mean over the pictures and over the N H W values of each.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, equation 3.
    """
    _check_features(guided, hint)
    # Differs from Romero et al.: the mean of the values and not their sum, so that one weight serves all layers.
    return 0.5 * F.mse_loss(wide(guided), wide(hint.detach()))


def attention_map(features: Tensor) -> Tensor:
    """
    Say where a layer looks: how strong its features are at each place, whatever they are.

    Parameters
    ----------
    features : Tensor, shape (B, N, H, W)
        Features of one layer.

    Returns
    -------
    Tensor, shape (B, H, W)
        Sum of squares over the channels, of length one over the places of each picture; 0 where no feature fires.

    Raises
    ------
    ValueError
        If the features are not (B, N, H, W).

    References
    ----------
    Zagoruyko, Komodakis, "Paying More Attention to Attention", ICLR 2017, section 3.1, with p = 2.
    """
    if features.ndim != 4:
        raise ValueError(f"features of shape {tuple(features.shape)}; expected (B, N, H, W), so one picture is [None]")
    return F.normalize(wide(features).square().sum(1).flatten(1), dim=1).unflatten(1, features.shape[2:])


def attention_transfer(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """
    Measure how far from each other two nets look.

    Parameters
    ----------
    student_features : Tensor, shape (B, N, H, W)
        Features of a layer of the net that learns.
    teacher_features : Tensor, shape (B, M, H, W)
        Those of the net that it follows, of any number of channels; they get no gradient.

    Returns
    -------
    Tensor
        Scalar in [0, 2]: squared distance of the attention maps, the mean over the pictures.

    Raises
    ------
    ValueError
        If the batches or the sizes of the maps differ.

    References
    ----------
    Zagoruyko, Komodakis, "Paying More Attention to Attention", ICLR 2017, section 3.1, equation 2.
    """
    maps = attention_map(student_features), attention_map(teacher_features.detach())
    if maps[0].shape != maps[1].shape:
        raise ValueError(
            f"student features of shape {tuple(student_features.shape)} and teacher features of "
            f"{tuple(teacher_features.shape)}: channels may differ, pictures and size may not; take layers of one "
            "stride, or resize one with torch.nn.functional.interpolate"
        )
    # Differs from Zagoruyko and Komodakis: the distance is squared, so that it has a gradient where it is 0.
    return (maps[0] - maps[1]).square().sum() / len(maps[0])


def region_mimic_loss(
    student_map: Tensor, teacher_map: Tensor, boxes: Sequence[Tensor] | None, *, stride: float
) -> Tensor:
    """
    Measure how far a student's map lies from its teacher's inside regions; a map's background would drown them.

    Parameters
    ----------
    student_map : Tensor, shape (B, N, H, W)
        Features of the student, after the regressor.
    teacher_map : Tensor, shape (B, N, H, W)
        Features of the teacher; they get no gradient.
    boxes : sequence of B Tensors, shape (K_i, 4), or None
        Regions of each picture: corners x1 y1 x2 y2 in pixels. A region is made of the cells that its box touches
        and counts as much as any other, however large. None takes each whole map for one region.
    stride : float
        Pixels of the picture a cell of the maps.

    Returns
    -------
    Tensor
        Scalar: half the squared differences, the mean over the values of each region, and over the regions of all
        pictures. It is zero, with a gradient of zero, where no box lies on its map.

    Raises
    ------
    ValueError
        If the shapes differ, there is not one set of boxes a picture, the boxes are not (K, 4) finite numbers in
        order, or the stride is not above 0.

    References
    ----------
    Li, Jin, Yan, "Mimicking Very Efficient Network for Object Detection", CVPR 2017, section 3.2.
    """
    _check_features(student_map, teacher_map)
    if boxes is None:
        return hint_loss(student_map, teacher_map)
    if len(boxes) != len(student_map):
        raise ValueError(
            f"{len(boxes)} sets of boxes for {len(student_map)} pictures; give one a picture, (0, 4) if none"
        )
    if not stride > 0:
        raise ValueError(f"stride {stride} is not above 0; it is the pixels of the picture a cell of the map")
    each = (wide(student_map) - wide(teacher_map.detach())).square().mean(1)
    found = [_inside(*pair, stride) for pair in zip(each, boxes, strict=True)]
    means = torch.cat([means for means, _ in found])
    return 0.5 * means.sum() / max(1, sum(count for _, count in found))


@exact
def _inside(values: Tensor, boxes: Tensor, stride: float) -> tuple[Tensor, int]:
    """Give the mean of a map (H, W) inside each box, 0 for boxes beside the map, and how many lie on it."""
    check(boxes)
    across = [
        _touched(boxes[:, axis::2].to(values) / stride, size) for axis, size in ((1, len(values)), (0, values.shape[1]))
    ]
    cells = across[0].sum(1) * across[1].sum(1)
    sums = torch.einsum("kh,hw,kw->k", across[0], values, across[1])
    return sums / cells.clamp(min=1), int((cells > 0).sum())


def _touched(ends: Tensor, size: int) -> Tensor:
    """Mark by ones (K, size) which cells of an axis each stretch (K, 2) touches, at least one where it lies on it."""
    first = ends[:, :1].floor()
    last = torch.maximum(ends[:, 1:].ceil(), first + 1)
    cell = torch.arange(size, device=ends.device)
    return ((cell >= first) & (cell < last)).to(ends.dtype)


def _check_logits(student: Tensor, teacher: Tensor) -> None:
    if student.ndim < 2:
        raise ValueError(f"scores of shape {tuple(student.shape)}; expected (B, C) or (B, C, H, W)")
    if student.ndim == teacher.ndim and student.shape[1] != teacher.shape[1]:
        raise ValueError(
            f"the student scores {student.shape[1]} classes and the teacher {teacher.shape[1]}; "
            "both must score the same ones in the same order"
        )
    if student.shape != teacher.shape:
        raise ValueError(
            f"student scores of shape {tuple(student.shape)} and teacher scores of {tuple(teacher.shape)} do not "
            "match: give both nets the same pictures, and resize the smaller map of scores"
        )


def _check_features(student: Tensor, teacher: Tensor) -> None:
    if student.ndim != 4 or student.shape != teacher.shape:
        raise ValueError(
            f"student features of shape {tuple(student.shape)} and teacher features of {tuple(teacher.shape)} do not "
            "match: expected (B, N, H, W) twice; a regressor brings the student's to the teacher's channels and size "
            "(xferlib.nets.hints.Regressor)"
        )
