"""Feature pyramid network: fine maps that know what coarse ones know."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FPN(nn.Module):
    """
    Give every level of a backbone the knowledge of the levels above it.

    Parameters
    ----------
    in_channels : sequence of int
        Channels of the backbone's maps, the finest first.
    channels : int
        Channels of every level of the pyramid.
    extra : bool
        Whether to add one level above the coarsest, every second pixel of it, for anchors larger still.

    References
    ----------
    Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, section 3 and figure 3.
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 256, *, extra: bool = True) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(n, channels, 1) for n in in_channels)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels)
        self.extra = extra
        for layer in (*self.lateral, *self.smooth):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """
        Build the pyramid from the top down.

        Parameters
        ----------
        maps : sequence of Tensor
            The backbone's maps (B, in_channels[k], H_k, W_k), the finest first.

        Returns
        -------
        list of Tensor
            P2, P3 and so on: as many maps of the same sizes with ``channels`` channels, and one more of half the
            coarsest size where ``extra`` is set.

        Raises
        ------
        ValueError
            If the number of maps is not that of ``in_channels``.
        """
        if len(maps) != len(self.lateral):
            raise ValueError(f"{len(maps)} maps for a pyramid of {len(self.lateral)} levels")
        tops = [self.lateral[-1](maps[-1])]
        for lateral, fine in zip(list(self.lateral)[-2::-1], maps[-2::-1], strict=True):
            coarse = F.interpolate(tops[0], fine.shape[-2:], mode="nearest")
            tops.insert(0, lateral(fine) + coarse)
        levels = [smooth(top) for smooth, top in zip(self.smooth, tops, strict=True)]
        return [*levels, levels[-1][:, :, ::2, ::2]] if self.extra else levels
