"""The losses of Mask R-CNN: of the anchors, the classes, the boxes and the masks."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from xferlib.nets.mask_rcnn import Learned
from xferlib.nets.rpn import Proposals
from xferlib.ops import boxes as box_ops

_BETA = 1 / 9


def proposal_loss(
    found: Proposals, true_boxes: Sequence[Tensor], *, count: int = 256, low: float = 0.3, high: float = 0.7
) -> dict[str, Tensor]:
    """
    Compare what was said of the anchors with the true boxes.

    Parameters
    ----------
    found : Proposals
        What the region proposal network gave.
    true_boxes : sequence of Tensor
        True boxes (N, 4) of each picture; N may be 0.
    count : int
        Anchors of each picture to learn from, chosen at random, at most half of them objects.
    low, high : float
        Overlaps below and from which an anchor is background and object, see `xferlib.ops.boxes.match`.

    Returns
    -------
    dict of Tensor
        "objectness": binary cross-entropy; "anchor boxes": smooth L1 distance of the objects' codes, with its bend
        at 1/9. Both are sums over the chosen anchors divided by their number.

    References
    ----------
    Ren et al., "Faster R-CNN", NIPS 2015, section 3.1.2, equation 1.
    """
    logits, wanted, codes, true_codes = [], [], [], []
    anchors = found.anchors
    for objectness, deltas, boxes in zip(found.objectness, found.deltas, true_boxes, strict=True):
        matches = box_ops.match(box_ops.iou(anchors, boxes), low, high, best=True)
        objects, ground = box_ops.sample(matches, count, 0.5)
        logits += [objectness[objects], objectness[ground]]
        wanted += [torch.ones_like(logits[-2]), torch.zeros_like(logits[-1])]
        codes.append(deltas[objects])
        true_codes.append(box_ops.encode(boxes[matches[objects]], anchors[objects]))
    scores = torch.cat(logits)
    number = max(1, len(scores))
    return {
        "objectness": F.binary_cross_entropy_with_logits(scores, torch.cat(wanted), reduction="sum") / number,
        "anchor boxes": F.smooth_l1_loss(torch.cat(codes), torch.cat(true_codes), beta=_BETA, reduction="sum") / number,
    }


def mask_loss(logits: Tensor, classes: Tensor, masks: Tensor, *, coupled: bool = False) -> Tensor:
    """
    Compare masks with the true ones.

    Parameters
    ----------
    logits : Tensor, shape (P, num_classes, M, M)
        A mask for each class.
    classes : Tensor of int64, shape (P,)
        True classes, from 1.
    masks : Tensor of bool, shape (P, M, M)
        True masks.
    coupled : bool
        By default the mask of the true class alone is compared, by binary cross-entropy: the other classes say
        nothing. With this, all classes compete for each pixel, background (class 0) among them.

    Returns
    -------
    Tensor, shape ()
        Mean over all pixels; 0 where there is no object.

    Raises
    ------
    ValueError
        If the numbers or the sizes of logits and masks differ, or the classes are not as many integers.

    References
    ----------
    He et al., "Mask R-CNN", ICCV 2017, section 3 and table 2b.
    """
    if logits[:, 0].shape != masks.shape or classes.shape != masks.shape[:1] or classes.is_floating_point():
        shapes = f"logits {tuple(logits.shape)}, classes {tuple(classes.shape)} of {classes.dtype}"
        raise ValueError(f"{shapes}, masks {tuple(masks.shape)}; expected (P, C, M, M), (P,) integers and (P, M, M)")
    if not len(classes):
        return logits.sum() * 0
    if coupled:
        return F.cross_entropy(logits, classes[:, None, None] * masks)
    own = logits[torch.arange(len(classes), device=classes.device), classes]
    return F.binary_cross_entropy_with_logits(own, masks.to(own))


def mask_rcnn_loss(learned: Learned, *, coupled: bool = False) -> dict[str, Tensor]:
    """
    Compare all that Mask R-CNN said with what it should have said.

    Parameters
    ----------
    learned : Learned
        What the net gave for images and their truths.
    coupled : bool
        As in `mask_loss`; what the net was made with.

    Returns
    -------
    dict of Tensor
        The five terms, of equal weight: those of `proposal_loss`, "classes", "boxes" and "masks".

    References
    ----------
    He et al., "Mask R-CNN", ICCV 2017, section 3: L = L_cls + L_box + L_mask.
    """
    number = max(1, len(learned.classes))
    boxes = F.smooth_l1_loss(learned.codes, learned.true_codes, beta=_BETA, reduction="sum") / number
    classes = F.cross_entropy(learned.logits, learned.classes, reduction="sum") / number
    objects = learned.classes[learned.classes > 0]
    return {
        **proposal_loss(learned.proposals, learned.true_boxes),
        "classes": classes,
        "boxes": boxes,
        "masks": mask_loss(learned.masks, objects, learned.true_masks, coupled=coupled),
    }
