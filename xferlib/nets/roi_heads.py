"""The heads of Mask R-CNN, which look at one proposed box at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xferlib.ops.roi import roi_align, roi_pool, roi_warp

POOLINGS = {"align": roi_align, "warp": roi_warp, "pool": roi_pool}
"""The ways to cut a box out of a map, by name."""


def level_of(boxes: Tensor, strides: Sequence[int], canonical: float = 224.0) -> Tensor:
    """
    Choose the level of the pyramid from which each box is cut: small boxes from fine maps.

    Parameters
    ----------
    boxes : Tensor, shape (N, 4)
        Corners x1 y1 x2 y2 in pixels.
    strides : sequence of int
        Pixels a cell of each level, each twice the one before.
    canonical : float
        Side in pixels of the smallest square that belongs to the level of stride 16.

    Returns
    -------
    Tensor of int64, shape (N,)
        Index into `strides`.

    References
    ----------
    Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, equation 1.
    """
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
    octaves = torch.floor(torch.log2(sides / canonical * 16 / strides[0] + 1e-6))
    return octaves.clamp(0, len(strides) - 1).long()


class Pooler(nn.Module):
    """
    Cut boxes out of the levels of a pyramid, all to one size.

    Parameters
    ----------
    strides : sequence of int
        Pixels a cell of each level.
    size : int
        Rows and columns of what is cut.
    pooling : str
        Key of `POOLINGS`.
    canonical : float
        As in `level_of`.

    Raises
    ------
    ValueError
        If there is no pooling of that name.
    """

    def __init__(self, strides: Sequence[int], size: int, pooling: str = "align", canonical: float = 224.0) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling {pooling!r} is not known; choose one of {', '.join(POOLINGS)}")
        self.strides, self.size, self.pooling, self.canonical = tuple(strides), size, pooling, canonical

    def forward(self, levels: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """
        Cut.

        Parameters
        ----------
        levels : sequence of Tensor
            Maps (B, C, H_k, W_k), one for each stride.
        boxes : sequence of Tensor
            Boxes (N_i, 4) of each picture in pixels.

        Returns
        -------
        Tensor, shape (N, C, size, size)
            The boxes of the first picture, then those of the second, and so on.
        """
        together = torch.cat(list(boxes))
        images = torch.arange(len(boxes), device=together.device).repeat_interleave(
            torch.tensor([len(b) for b in boxes], device=together.device)
        )
        numbered = torch.cat([images[:, None].to(together), together], dim=1)
        wanted = level_of(together, self.strides, self.canonical)
        parts, order = [], []
        for k, (level, stride) in enumerate(zip(levels, self.strides, strict=False)):
            index = (wanted == k).nonzero()[:, 0]
            parts.append(POOLINGS[self.pooling](level, numbered[index], self.size, 1 / stride))
            order.append(index)
        return torch.cat(parts)[torch.cat(order).argsort()]


class BoxHead(nn.Module):
    """
    Classify a box and correct it, separately for each class.

    Parameters
    ----------
    channels, size : int
        Channels, and rows and columns, of what is cut from the maps.
    num_classes : int
        Number of classes, with the background.
    hidden : int
        Units of the two fully connected layers.

    References
    ----------
    Girshick, "Fast R-CNN", ICCV 2015, section 2.1.
    """

    def __init__(self, channels: int, size: int, num_classes: int, hidden: int = 1024) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels * size * size, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.classes = nn.Linear(hidden, num_classes)
        self.deltas = nn.Linear(hidden, 4 * num_classes)

    def forward(self, cut: Tensor) -> tuple[Tensor, Tensor]:
        """
        Judge.

        Parameters
        ----------
        cut : Tensor, shape (N, channels, size, size)
            What was cut out of the maps.

        Returns
        -------
        Tensor, shape (N, num_classes)
            Logits of the classes, 0 for background.
        Tensor, shape (N, num_classes, 4)
            Changes of the box for each class.
        """
        hidden = self.fc2(self.fc1(cut.flatten(1)).relu()).relu()
        return self.classes(hidden), self.deltas(hidden).unflatten(1, (-1, 4))


class MaskHead(nn.Sequential):
    """
    A small fully convolutional net for each box: it keeps the layout of what it sees, and doubles its size.

    Parameters
    ----------
    channels : int
        Channels of what is cut from the maps.
    num_classes : int
        Number of classes, with the background; each has a mask of its own.
    width, depth : int
        Channels and number of the 3x3 convolutions.

    References
    ----------
    He et al., "Mask R-CNN", ICCV 2017, figure 4.
    """

    def __init__(self, channels: int, num_classes: int, width: int = 256, depth: int = 4) -> None:
        super().__init__()
        before = channels
        for i in range(1, depth + 1):
            self.add_module(f"conv{i}", nn.Conv2d(before, width, 3, padding=1))
            self.add_module(f"relu{i}", nn.ReLU())
            before = width
        self.deconv = nn.ConvTranspose2d(before, width, 2, 2)
        self.relu = nn.ReLU()
        self.masks = nn.Conv2d(width, num_classes, 1)
        for name, weight in self.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.zeros_(weight)


class FlatMaskHead(nn.Sequential):
    """
    A mask from fully connected layers, which lose the layout and must learn it for every pixel anew.

    Parameters
    ----------
    channels, size : int
        Channels, and rows and columns, of what is cut from the maps.
    num_classes : int
        Number of classes, with the background; each has a mask of its own, twice the size.
    hidden : int
        Units of the two hidden layers.

    References
    ----------
    He et al., "Mask R-CNN", ICCV 2017, table 2e.
    """

    def __init__(self, channels: int, size: int, num_classes: int, hidden: int = 1024) -> None:
        out = (num_classes, 2 * size, 2 * size)
        super().__init__()
        # Differs from He et al.: the maps are halved first, or the first layer would be larger than all the rest.
        self.halve = nn.AvgPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(channels * (size // 2) ** 2, hidden)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(hidden, hidden)
        self.relu2 = nn.ReLU()
        self.masks = nn.Linear(hidden, num_classes * (2 * size) ** 2)
        self.unflatten = nn.Unflatten(1, out)
