"""SegNet: an encoder, and a decoder that unpools at the places where the encoder's maxima were."""

from collections.abc import Sequence

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from xferlib.nets.vgg import CONVS, WIDTHS, conv_stage, initialise


class SegNet(nn.Module):
    """
    SegNet; its defaults are the paper's, on VGG-16.

    Parameters
    ----------
    num_classes : int
        Classes to tell apart.
    in_channels : int
        Channels of the image.
    widths, convs : sequence of int
        Channels and convolutions of the encoder's stages; the decoder mirrors them.

    Raises
    ------
    ValueError
        If ``widths`` and ``convs`` differ in length.

    References
    ----------
    Badrinarayanan, Kendall, Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
    Segmentation", PAMI 2017, section 3.
    """

    def __init__(
        self,
        num_classes: int = 11,
        *,
        in_channels: int = 3,
        widths: Sequence[int] = WIDTHS,
        convs: Sequence[int] = CONVS,
    ) -> None:
        super().__init__()
        if len(widths) != len(convs):
            raise ValueError(f"{len(widths)} widths for {len(convs)} stages; give one width a stage")
        self.stride = 2 ** len(widths)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        before = in_channels
        for stage, (width, count) in enumerate(zip(widths, convs, strict=True), start=1):
            self.encoder.append(nn.Sequential(conv_stage(stage, [before, *[width] * count], norm=True)))
            after = before if stage > 1 else width
            self.decoder.insert(0, nn.Sequential(conv_stage(stage, [*[width] * count, after], norm=True)))
            before = width
        # The decoder's last convolution gives the scores: no normalisation or ReLU behind it.
        last = self.decoder[-1]
        del last[-3:]
        last.add_module("score", nn.Conv2d(widths[0], num_classes, 3, padding=1))
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """
        Score every pixel.

        Parameters
        ----------
        image : Tensor, shape (B, in_channels, H, W)
            RGB in [0, 1]; any H and W of at least 2 to the number of stages.

        Returns
        -------
        Tensor, shape (B, num_classes, H, W)
            Logits.

        Raises
        ------
        ValueError
            If the image is smaller than that.
        """
        least = 2 ** len(self.encoder)
        if min(image.shape[-2:]) < least:
            raise ValueError(f"image of {tuple(image.shape[-2:])} pixels; SegNet with this depth needs {least}")
        x, places = image, []
        for stage in self.encoder:
            full = stage(x)
            x, indices = F.max_pool2d(full, 2, return_indices=True)
            places.append((indices, full.shape[-2:]))
        for stage in self.decoder:
            indices, size = places.pop()
            x = stage(F.max_unpool2d(x, indices, 2, output_size=size))
        return x
