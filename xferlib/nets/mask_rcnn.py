"""Mask R-CNN: find the objects, classify each, and mark its pixels."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from xferlib.nets.fpn import FPN
from xferlib.nets.resnet import DEPTHS, WIDTHS, ResNet
from xferlib.nets.roi_heads import BoxHead, FlatMaskHead, MaskHead, Pooler
from xferlib.nets.rpn import RPN, Proposals
from xferlib.ops import boxes as box_ops
from xferlib.ops.instances import Instances
from xferlib.ops.masks import crop, paste
from xferlib.ops.views import Views, views_of

CODE = (10.0, 10.0, 5.0, 5.0)
"""Weights of the box head's code, which make its four numbers about equally large."""


class Learned(NamedTuple):
    """
    What the net said in training, with what it should have said.

    Parameters
    ----------
    proposals : Proposals
        What was said of the anchors.
    true_boxes : list of Tensor
        True boxes (N, 4) of each picture.
    logits : Tensor, shape (R, num_classes)
        Classes of the sampled boxes of all pictures.
    classes : Tensor, shape (R,)
        Their true classes; 0 for background.
    codes, true_codes : Tensor, shape (P, 4)
        Of those that are objects: the corrections of their boxes.
    masks : Tensor, shape (P, num_classes, M, M)
        Of those that are objects: logits of the masks.
    true_masks : Tensor, shape (P, M, M)
        The true masks, bool.
    sampled : sequence of Tensor
        The sampled boxes (R_i, 4) of each picture.
    """

    proposals: Proposals
    true_boxes: list[Tensor]
    logits: Tensor
    classes: Tensor
    codes: Tensor
    true_codes: Tensor
    masks: Tensor
    true_masks: Tensor
    sampled: Sequence[Tensor] = ()


class MaskRCNN(nn.Module):
    """
    Mask R-CNN on a ResNet, with or without a feature pyramid.

    Parameters
    ----------
    num_classes : int
        Number of classes, with the background as class 0.
    depths, widths : sequence of int
        Of the backbone, see `xferlib.nets.resnet.ResNet`; by default ResNet-50.
    expansion, stem : int
        Of the backbone too.
    norm : str
        Of the backbone too.
    channels : int
        Channels of the levels.
    pyramid : bool
        Whether to find objects on the levels of a feature pyramid; without it all are found on the backbone's map
        of stride 16 (C4).
    anchors : sequence of float
        Sides of the square anchors in pixels: one a level from stride 4 on; without a pyramid all of them at each
        cell. One more size than stages adds a level above the last.
    canonical : float
        As in `xferlib.nets.roi_heads.level_of`.
    hidden, mask_width : int
        Units of the box head's layers, and channels of the mask head's.
    pooling : {"align", "warp", "pool"}
        How boxes are cut out of the maps.
    mask_head : {"fcn", "mlp"}
        Whether masks come from convolutions or from fully connected layers.
    coupled : bool
        Whether the classes compete for each pixel of a mask (softmax), as in an FCN; by default each class has its
        own mask (sigmoid) and the box head alone chooses the class.
    candidates, proposals : int
        As in `RPN`.
    sampled : int
        Proposals of each picture to learn from, at most a quarter of them objects.
    detections : int
        Objects found in a picture at most.
    score : float
        Least score of an object, in [0, 1].
    overlap : float
        Largest overlap of the boxes of two objects of one class, in [0, 1]: of two that overlap more, the surer one
        stays.
    sure : float
        Score from which an object counts where there is no room for doubtful ones, as in a map of objects.

    Raises
    ------
    ValueError
        If a choice is not known, or the anchors do not fit the levels.

    References
    ----------
    He et al., "Mask R-CNN", ICCV 2017, section 3.
    """

    def __init__(
        self,
        num_classes: int = 81,
        *,
        depths: Sequence[int] = DEPTHS,
        widths: Sequence[int] = WIDTHS,
        expansion: int = 4,
        stem: int = 64,
        norm: str = "frozen",
        channels: int = 256,
        pyramid: bool = True,
        anchors: Sequence[float] = (32, 64, 128, 256, 512),
        canonical: float = 224.0,
        hidden: int = 1024,
        mask_width: int = 256,
        pooling: str = "align",
        mask_head: str = "fcn",
        coupled: bool = False,
        candidates: int = 1000,
        proposals: int = 1000,
        sampled: int = 512,
        detections: int = 100,
        score: float = 0.05,
        overlap: float = 0.5,
        sure: float = 0.5,
    ) -> None:
        super().__init__()
        if mask_head not in ("fcn", "mlp"):
            raise ValueError(f"mask head {mask_head!r} is not known; choose one of fcn, mlp")
        stages = len(depths) if pyramid else 3
        if pyramid and len(anchors) not in (stages, stages + 1):
            raise ValueError(f"{len(anchors)} anchor sizes for {stages} stages; give one a stage, or one more")
        self.backbone = ResNet(depths[:stages], widths[:stages], expansion=expansion, stem=stem, norm=norm)
        if pyramid:
            strides, extra = [4 * 2**k for k in range(len(anchors))], len(anchors) > stages
            self.neck: nn.Module = FPN(self.backbone.out_channels, channels, extra=extra)
            sizes = [[size] for size in anchors]
        else:
            strides, sizes = [16], [list(anchors)]
            self.neck = nn.Conv2d(self.backbone.out_channels[-1], channels, 1)
        self.pyramid = pyramid
        self.rpn = RPN(channels, strides, sizes, candidates=candidates, proposals=proposals)
        cut = strides[:stages] if pyramid else strides  # nothing is cut from the extra level
        self.box_pooler = Pooler(cut, 7, pooling, canonical)
        self.box_head = BoxHead(channels, 7, num_classes, hidden)
        self.mask_pooler = Pooler(cut, 14, pooling, canonical)
        convolutional = mask_head == "fcn"
        self.mask_head: nn.Module = (
            MaskHead(channels, num_classes, mask_width)
            if convolutional
            else FlatMaskHead(channels, 14, num_classes, hidden)
        )
        self.coupled, self.sampled = coupled, sampled
        self.detections, self.score, self.overlap, self.sure = detections, score, overlap, sure
        self.largest = max(anchors)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def forward(self, images: Tensor, truths: Sequence[Instances] | None = None) -> list[Instances] | Learned:
        """
        Find the objects; or, given the true ones, compare.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            Images in [0, 1], of any size.
        truths : sequence of Instances, optional
            True objects of each image; an image may have none.

        Returns
        -------
        list of Instances or Learned
            The objects of each image, those of the highest score first; given the truths what the loss compares,
            see `xferlib.losses.detection`.

        Raises
        ------
        ValueError
            If the images are not floats (B, 3, H, W), there is not one truth an image, or one cannot be true (see
            `Instances.check`) or is of a class that the net does not have.
        """
        levels = self.levels(images)
        found = self.rpn(levels)
        size = tuple(images.shape[2:])
        proposals = self.rpn.propose(found, size)
        if truths is None:
            return self._detect(levels, proposals, size)
        _check(truths, images, self.box_head.classes.out_features)
        return self._compare(
            levels, found, proposals, [Instances(*(t.to(images.device) for t in truth[:3])) for truth in truths]
        )

    def levels(self, images: Tensor) -> list[Tensor]:
        """
        Compute the maps on which objects are found.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            Images in [0, 1].

        Returns
        -------
        list of Tensor
            Maps (B, channels, H_k, W_k), the finest first.

        Raises
        ------
        ValueError
            If the images are not floats (B, 3, H, W).
        """
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape or not images.is_floating_point():
            raise ValueError(f"images {tuple(images.shape)} of {images.dtype}; Mask R-CNN takes floats (B, 3, H, W)")
        maps = self.backbone((images - self.mean) / self.std)
        return self.neck(maps) if self.pyramid else [self.neck(maps[-1])]

    def _compare(
        self, levels: list[Tensor], found: Proposals, proposals: list[Tensor], truths: Sequence[Instances]
    ) -> Learned:
        boxes, objects, classes, codes, masks = [], [], [], [], []
        for proposed, truth in zip(proposals, truths, strict=True):
            candidates = torch.cat([proposed, truth.boxes])
            matches = box_ops.match(box_ops.iou(candidates, truth.boxes), 0.5, 0.5)
            yes, no = box_ops.sample(matches, self.sampled, 0.25)
            boxes.append(candidates[torch.cat([yes, no])])
            objects.append(candidates[yes])
            classes += [truth.classes[matches[yes]], torch.zeros_like(no)]
            codes.append(box_ops.encode(truth.boxes[matches[yes]], candidates[yes], CODE))
            masks.append(crop(truth.masks[matches[yes]], candidates[yes], 28))
        true = torch.cat(classes)
        logits, deltas = self.box_head(self.box_pooler(levels, boxes))
        rows = true.nonzero()[:, 0]
        return Learned(
            found,
            [truth.boxes for truth in truths],
            logits,
            true,
            deltas[rows, true[rows]],
            torch.cat(codes),
            self.mask_head(self.mask_pooler(levels, objects)),
            torch.cat(masks),
            boxes,
        )

    @torch.no_grad()
    def detect(self, image: Tensor, views: Views = 1) -> Instances:
        """
        Find the objects of one picture, judged in several views of it.

        Each view classifies, corrects and marks what the picture as it is proposes; scores, boxes and masks are the
        means over the views.

        Parameters
        ----------
        image : Tensor, shape (3, H, W)
            Image in [0, 1].
        views : {1, 2, 8}
            How many, see `xferlib.ops.views.views_of`.

        Returns
        -------
        Instances
            The objects, those of the highest score first.

        Raises
        ------
        ValueError
            If the image is not floats (3, H, W), or there is no such number of views.
        """
        if image.ndim != 3:
            raise ValueError(f"image {tuple(image.shape)}; give one picture, (3, H, W)")
        size = tuple(image.shape[1:])
        seen = [(view, self.levels(view.of(image)[None])) for view in views_of(views)]
        (proposals,) = self.rpn.propose(self.rpn(seen[0][1]), size)
        judged = [self._judge(levels, [view.boxes_in_view(proposals, size)]) for view, levels in seen]
        corrected = [view.boxes_in_picture(boxes, size) for (view, _), (boxes, _) in zip(seen, judged, strict=True)]
        boxes, classes, scores = self._choose(_mean(corrected), _mean([scores for _, scores in judged]), size)
        masks = []
        for view, levels in seen:
            logits = self.mask_head(self.mask_pooler(levels, [view.boxes_in_view(boxes, size)])).float()
            masks.append(view.back(self.mask_of(logits, classes)))
        return Instances(boxes, classes, paste(_mean(masks), boxes, size), scores)

    @torch.no_grad()
    def _detect(self, levels: list[Tensor], proposals: list[Tensor], size: tuple[int, int]) -> list[Instances]:
        counts = [len(boxes) for boxes in proposals]
        judged = (part.split(counts) for part in self._judge(levels, proposals))
        kept = [self._choose(*parts, size) for parts in zip(*judged, strict=True)]
        masks = self.mask_head(self.mask_pooler(levels, [boxes for boxes, _, _ in kept])).float()
        found = []
        for (boxes, classes, scores), each in zip(kept, masks.split([len(k[0]) for k in kept]), strict=True):
            found.append(Instances(boxes, classes, paste(self.mask_of(each, classes), boxes, size), scores))
        return found

    def _judge(self, levels: list[Tensor], proposals: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Correct the proposals of all pictures for each class (R, C, 4), and score them (R, C)."""
        logits, deltas = self.box_head(self.box_pooler(levels, proposals))
        proposed = torch.cat(proposals).repeat_interleave(logits.shape[1], 0)
        boxes = box_ops.decode(deltas.float().flatten(0, 1), proposed, CODE)
        return boxes.view_as(deltas), logits.float().softmax(1)

    def mask_of(self, logits: Tensor, classes: Tensor) -> Tensor:
        """
        Take the mask of each object's class.

        Parameters
        ----------
        logits : Tensor, shape (N, num_classes, M, M)
            What the mask head gave.
        classes : Tensor of int64, shape (N,)
            Classes of the objects.

        Returns
        -------
        Tensor, shape (N, M, M)
            Probability of each part of the box; where classes compete, above .5 where this one wins.
        """
        rows = torch.arange(len(classes), device=classes.device)
        if not self.coupled:
            return logits[rows, classes].sigmoid()
        probabilities = logits.softmax(1)
        own = probabilities[rows, classes]
        probabilities[rows, classes] = 0
        return own / (own + probabilities.amax(1))

    def _choose(self, boxes: Tensor, scores: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the objects of one picture: boxes, classes and scores."""
        row, column = (scores[:, 1:] > self.score).nonzero().unbind(1)
        classes = column + 1
        boxes, scores = box_ops.clip(boxes[row, classes], size), scores[row, classes]
        large = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
        boxes, classes, scores = boxes[large], classes[large], scores[large]
        best = box_ops.batched_nms(boxes, scores, classes, self.overlap)[: self.detections]
        return boxes[best], classes[best], scores[best]


def _mean(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).mean(0)


def _check(truths: Sequence[Instances], images: Tensor, num_classes: int) -> None:
    if len(truths) != len(images):
        raise ValueError(f"{len(truths)} truths for {len(images)} images; give each image its own, empty ones too")
    for truth in truths:
        truth.check()
        if len(truth.classes) and truth.classes.max() >= num_classes:
            raise ValueError(f"class {int(truth.classes.max())} of an object; this net's are 1 to {num_classes - 1}")
        if truth.masks.shape[1:] != images.shape[2:]:
            shapes = f"{tuple(truth.masks.shape[1:])} for images of {tuple(images.shape[2:])}"
            raise ValueError(f"masks of {shapes}; they must be as large")
