"""Region proposal network: which of many boxes laid over the picture may hold an object."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from xferlib.ops import boxes as box_ops


class Proposals(NamedTuple):
    """
    What the region proposal network says of every anchor.

    Parameters
    ----------
    anchors : Tensor, shape (A, 4)
        The anchors of all levels, corners x1 y1 x2 y2 in pixels; float32 whatever the net's precision.
    levels : Tensor, shape (A,)
        Level of each anchor, int64.
    objectness : Tensor, shape (B, A)
        Logit of each anchor's holding an object.
    deltas : Tensor, shape (B, A, 4)
        Change of each anchor, see `xferlib.ops.boxes.decode`.
    """

    anchors: Tensor
    levels: Tensor
    objectness: Tensor
    deltas: Tensor


def anchors(shape: tuple[int, int], stride: float, sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """
    Lay boxes over a map, one of each size and form at the centre of every cell.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the map.
    stride : float
        Pixels of the picture a cell.
    sizes : sequence of float
        Sides of the square anchors in pixels.
    ratios : sequence of float
        Heights by widths; a form has the area of the square.

    Returns
    -------
    Tensor, shape (rows * columns * len(sizes) * len(ratios), 4)
        Corners x1 y1 x2 y2 in pixels; row by row, in each cell size by size and for each one of each ratio.
    """
    y, x = ((torch.arange(n) + 0.5) * stride for n in shape)
    centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).repeat(1, 1, 2)
    halves = torch.tensor([[size / math.sqrt(r) / 2, size * math.sqrt(r) / 2] for size in sizes for r in ratios])
    return (centres[:, :, None] + torch.cat([-halves, halves], dim=1)).reshape(-1, 4)


class RPN(nn.Module):
    """
    Slide one small net over all levels, and propose the boxes that look most like objects.

    Parameters
    ----------
    channels : int
        Channels of the levels.
    strides : sequence of int
        Pixels of the picture a cell, of each level.
    sizes : sequence of sequences of float
        Sides of the square anchors of each level, in pixels, as many at every level.
    ratios : sequence of float
        Heights by widths of the anchors.
    candidates : int
        Boxes that each level sends to non-maximum suppression.
    proposals : int
        Boxes kept of an image.
    threshold : float
        Largest overlap of two proposals of one level.

    Raises
    ------
    ValueError
        If there are not sizes for every level, or not as many at each.

    References
    ----------
    Ren et al., "Faster R-CNN", NIPS 2015, section 3.1.
    Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, section 4.1.
    """

    def __init__(
        self,
        channels: int,
        strides: Sequence[int],
        sizes: Sequence[Sequence[float]],
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        *,
        candidates: int = 1000,
        proposals: int = 1000,
        threshold: float = 0.7,
    ) -> None:
        super().__init__()
        if len(strides) != len(sizes) or len({len(level) for level in sizes}) != 1:
            raise ValueError(f"anchor sizes {sizes} for {len(strides)} levels; give each level as many")
        self.strides, self.sizes, self.ratios = tuple(strides), tuple(map(tuple, sizes)), tuple(ratios)
        forms = len(ratios) * len(sizes[0])
        self.candidates, self.proposals, self.threshold = candidates, proposals, threshold
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, forms, 1)
        self.deltas = nn.Conv2d(channels, 4 * forms, 1)
        for layer in (self.conv, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, levels: Sequence[Tensor]) -> Proposals:
        """
        Judge every anchor.

        Parameters
        ----------
        levels : sequence of Tensor
            Maps (B, channels, H_k, W_k), one for each stride.

        Returns
        -------
        Proposals
            Logits and changes of all anchors of all levels.
        """
        laid, numbers, objectness, deltas = [], [], [], []
        for k, (level, stride, sizes) in enumerate(zip(levels, self.strides, self.sizes, strict=True)):
            hidden = self.conv(level).relu()
            objectness.append(self.objectness(hidden).permute(0, 2, 3, 1).flatten(1))
            changes = self.deltas(hidden).unflatten(1, (-1, 4))
            deltas.append(changes.permute(0, 3, 4, 1, 2).flatten(1, 3))
            laid.append(anchors(tuple(level.shape[2:]), stride, sizes, self.ratios).to(level.device))
            numbers.append(torch.full((len(laid[-1]),), k, device=level.device))
        return Proposals(torch.cat(laid), torch.cat(numbers), torch.cat(objectness, 1), torch.cat(deltas, 1))

    @torch.no_grad()
    def propose(self, found: Proposals, size: tuple[int, int]) -> list[Tensor]:
        """
        Choose the boxes that the heads will look at.

        Parameters
        ----------
        found : Proposals
            What `forward` gave.
        size : tuple of int
            Height and width of the pictures in pixels.

        Returns
        -------
        list of Tensor
            For each picture boxes (R, 4), the best first, within the picture and at least one pixel wide and high.
        """
        levels = [(found.levels == k).nonzero()[:, 0] for k in range(len(self.strides))]
        chosen = []
        for objectness, deltas in zip(found.objectness.float(), found.deltas.float(), strict=True):
            best = [level[objectness[level].topk(min(self.candidates, len(level))).indices] for level in levels]
            index = torch.cat(best)
            boxes = box_ops.clip(box_ops.decode(deltas[index], found.anchors[index]), size)
            large = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
            boxes, index = boxes[large], index[large]
            kept = box_ops.batched_nms(boxes, objectness[index], found.levels[index], self.threshold)
            chosen.append(boxes[kept[: self.proposals]])
        return chosen
