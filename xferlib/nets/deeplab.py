"""DeepLab's pyramid: kernels of several dilations side by side (ASPP)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from xferlib.nets.backbones import Dense, conv3x3, dilated
from xferlib.nets.resnet import ResNet

RATES = (6, 12, 18, 24)


class ASPP(nn.Module):
    """
    Score a map by several dilated convolutions at once, and add the scores.

    Parameters
    ----------
    channels : int
        Channels of the map.
    num_classes : int
        Classes.
    rates : sequence of int
        Dilations, in cells of the map.
    hidden : int
        Channels of each branch after its 3x3 convolution.

    References
    ----------
    Chen et al., "DeepLab", TPAMI 2018, section 3.2 and figure 7b.
    """

    def __init__(self, channels: int, num_classes: int, rates: Sequence[int] = RATES, hidden: int = 1024) -> None:
        super().__init__()
        # Differs from Chen et al.: batch normalisation, and one 1x1 convolution after the 3x3 instead of two.
        self.branches = nn.ModuleList(
            nn.Sequential(conv3x3(channels, hidden, dilation=rate), nn.Conv2d(hidden, num_classes, 1)) for rate in rates
        )

    def forward(self, x: Tensor) -> Tensor:
        """
        Add the branches' scores.

        Parameters
        ----------
        x : Tensor, shape (B, channels, H, W)
            The map.

        Returns
        -------
        Tensor, shape (B, num_classes, H, W)
            Logits.
        """
        return sum(branch(x) for branch in self.branches)


class DeepLab(Dense):
    """
    DeepLab with ASPP on a dilated ResNet.

    Parameters
    ----------
    num_classes : int
        Classes to tell apart.
    rates : sequence of int
        Dilations of the branches.
    hidden : int
        Channels of each branch.
    stride : int
        Stride of the backbone's last maps.
    auxiliary : int
        Channels of an auxiliary head, as PSPNet has one; 0 for none, as in the paper.
    **resnet
        Arguments of `xferlib.nets.resnet.ResNet`.

    References
    ----------
    Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
    Connected CRFs", TPAMI 2018.
    """

    def __init__(
        self,
        num_classes: int = 21,
        *,
        rates: Sequence[int] = RATES,
        hidden: int = 1024,
        stride: int = 8,
        auxiliary: int = 0,
        **resnet: Any,
    ) -> None:
        backbone = dilated(ResNet(**resnet), stride)
        head = ASPP(backbone.out_channels[-1], num_classes, rates, hidden)
        super().__init__(backbone, head, num_classes, auxiliary)
