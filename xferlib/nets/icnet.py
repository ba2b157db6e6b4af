"""ICNet: the whole net for a small picture, a part of it for a middling one, next to nothing for the large one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xferlib.nets.backbones import conv3x3, dilated, enlarge
from xferlib.nets.pspnet import BINS, PyramidPooling
from xferlib.nets.resnet import ResNet
from xferlib.ops._halves import check_floats


class CascadeFeatureFusion(nn.Module):
    """
    Join a coarse map with one of twice its resolution.

    Parameters
    ----------
    coarse, fine : int
        Channels of the two maps.
    channels : int
        Channels of what comes out.
    num_classes : int
        Classes of the scores of the coarse map, which training looks at.

    References
    ----------
    Zhao et al., "ICNet for Real-Time Semantic Segmentation on High-Resolution Images", ECCV 2018, section 3.3 and
    figure 3.
    """

    def __init__(self, coarse: int, fine: int, channels: int, num_classes: int) -> None:
        super().__init__()
        spread = nn.Conv2d(coarse, channels, 3, padding=2, dilation=2, bias=False)
        project = nn.Conv2d(fine, channels, 1, bias=False)
        self.spread, self.project = (nn.Sequential(conv, nn.BatchNorm2d(channels)) for conv in (spread, project))
        self.classify = nn.Conv2d(coarse, num_classes, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        """
        Enlarge the coarse map and add the fine one.

        Parameters
        ----------
        coarse : Tensor, shape (B, coarse, h, w)
            The coarse map.
        fine : Tensor, shape (B, fine, H, W)
            The fine one.

        Returns
        -------
        Tensor, shape (B, channels, H, W)
            The joined map.
        Tensor, shape (B, coarse, H, W)
            The coarse map enlarged, for `classify`, which only training needs.
        """
        coarse = enlarge(coarse, fine.shape[-2:])
        return (self.spread(coarse) + self.project(fine)).relu(), coarse


class ICNet(nn.Module):
    """
    The image cascade network; its defaults are the paper's on ResNet-50.

    Parameters
    ----------
    num_classes : int
        Classes to tell apart.
    channels : int
        Channels of the joined maps.
    high : sequence of int
        Channels of the three convolutions that see the image at full resolution.
    bins : sequence of int
        Grids of the pyramid pooling; it is summed here, not appended.
    **resnet
        Arguments of `xferlib.nets.resnet.ResNet`, of four stages.

    References
    ----------
    Zhao et al., "ICNet for Real-Time Semantic Segmentation on High-Resolution Images", ECCV 2018, section 3.2 and
    figure 2.
    """

    def __init__(
        self,
        num_classes: int = 19,
        *,
        channels: int = 128,
        high: Sequence[int] = (32, 32, 64),
        bins: Sequence[int] = BINS,
        **resnet: Any,
    ) -> None:
        super().__init__()
        self.backbone = dilated(ResNet(**resnet), 8)
        middle, last = self.backbone.out_channels[1], self.backbone.out_channels[-1]
        self.pyramid = nn.Sequential(PyramidPooling(last, bins), conv3x3(2 * last, 2 * channels, 1))
        steps = zip((3, *high), high, strict=False)
        self.high = nn.Sequential(*(conv3x3(before, after, stride=2) for before, after in steps))
        self.fusions = nn.ModuleList(
            (
                CascadeFeatureFusion(2 * channels, middle, channels, num_classes),
                CascadeFeatureFusion(channels, high[-1], channels, num_classes),
            )
        )
        self.classify = nn.Conv2d(channels, num_classes, 1)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        """
        Score every pixel.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1]; any H and W from 32 on.

        Returns
        -------
        Tensor, shape (B, num_classes, H, W), or dict of str to Tensor
            Logits. In training mode a dict for `xferlib.losses.segmentation.cascade_loss`: "low", "middle" at a 16th
            and an 8th of the image's resolution, and "high" at a fourth.

        Raises
        ------
        ValueError
            If the images are no floats, or smaller than 32 pixels.
        """
        height, width = images.shape[-2:]
        if min(height, width) < 32:
            raise ValueError(f"an image of {height}x{width} is too small for ICNet's quarter of it; 32x32 is the least")
        check_floats(images)
        x = (images - self.mean) / self.std
        half, quarter = (enlarge(x, ((height + n - 1) // n, (width + n - 1) // n)) for n in (2, 4))
        # Differs from Zhao et al.'s released net, as the paper says it: the small branch reads the small picture, and
        # does not take over the middle branch's maps.
        low = self.pyramid(self.backbone(quarter)[-1])
        middle = self.backbone(half, 2)[-1]
        joined, low = self.fusions[0](low, middle)
        joined, middle = self.fusions[1](joined, self.high(x))
        # Interpolation and a 1x1 convolution may change places, and the scores are fewer than the channels.
        scores = enlarge(self.classify(joined), ((height + 3) // 4, (width + 3) // 4))
        if self.training:
            low, middle = (fusion.classify(x) for fusion, x in zip(self.fusions, (low, middle), strict=True))
            return {"low": low, "middle": middle, "high": scores}
        return enlarge(scores, (height, width))
