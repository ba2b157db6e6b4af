"""CEILNet: predict the edges of the background first, then the background with their help."""

from collections.abc import Sequence
from itertools import chain, pairwise, zip_longest
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xferlib.nets.efficientnet import EfficientNetLite
from xferlib.nets.vgg import initialise
from xferlib.ops.edges import edges

MIDDLE = 115 / 255
"""What is taken from every input, so that it lies about zero."""
SPREAD = 7.0
"""About the standard deviation of each map of EfficientNet-Lite0 over photographs."""


class Separation(NamedTuple):
    """
    What a CEILNet finds in pictures.

    Parameters
    ----------
    background : Tensor, shape (B, 3, H, W)
        The picture without its reflection, about in [0, 1].
    reflection : Tensor or None, shape (B, 3, H, W)
        The reflection, where the net has two layers.
    edges : Tensor or None, shape (B, 1, H, W)
        The background's edge map as E-CNN predicts it, where the net has an E-CNN.
    """

    background: Tensor
    reflection: Tensor | None
    edges: Tensor | None


class CEILNet(nn.Module):
    """
    Remove the reflection of a pane from a picture: E-CNN predicts the edges of the background, I-CNN the background.

    Parameters
    ----------
    widths : sequence of int
        Channels at the picture's size, at half of it, and so on; the residual blocks work at the last. With
        ``interpolate`` the first are those at half the size.
    dilations : sequence of int
        The dilation of each residual block of I-CNN.
    edge_dilations : sequence of int, optional
        Those of E-CNN, by default the same. Without any, ``()``, there is no E-CNN.
    layers : int
        1 for the background, 2 for the reflection beside it, as Zhang et al. have it.
    norm : bool
        Whether convolutions are followed by batch normalisation.
    skips : bool
        Whether features on the way down are added on the way up, and the nets predict what to take from their input.
    interpolate : bool
        Whether all that the nets make is interpolated on the way up, and not deconvolved.
    fine_blocks : sequence of int, optional
        Residual blocks of I-CNN at each scale but the coarsest, the finest first; by default none.
    passes : int
        How often I-CNN looks. With more than one it also reads what it took away the time before, at first nothing.
    rise_blocks : sequence of int, optional
        Residual blocks of I-CNN on the way up, at each scale but the coarsest, the finest first; by default none.
    stages : int
        Stages of an EfficientNet-Lite0 whose maps both nets read too, each at the scale that has its size; by default
        there is none. It needs ``interpolate``, and a width for each of its strides. Its weights are random; those of
        ImageNet are ``net.backbone = imagenet_lite(stages)``, of `xferlib.nets.efficientnet`.

    Attributes
    ----------
    stride : int
        Period in pixels of the coarsest scale.
    halo : int
        How many pixels away a pixel of the picture can matter, at most.
    backbone : EfficientNetLite or None
        The net whose maps are read.

    Raises
    ------
    ValueError
        If the widths, dilations or passes are not positive, there are neither 1 nor 2 layers, fine or rise blocks are
        negative or more than there are scales for them, or there are not so many stages, or their maps do not fit the
        scales.

    References
    ----------
    Fan, Yang, Hua, Chen, Wipf, "A Generic Deep Architecture for Single Image Reflection Removal and Image Smoothing",
    ICCV 2017, section 3. The defaults are theirs.
    Zhang, Ng, Chen, "Single Image Reflection Separation with Perceptual Losses", CVPR 2018, on the two layers.
    """

    # Differs from Fan et al. where an argument is not the default. Skips: details need not pass the coarse scale, and a
    # net that predicts nothing gives the picture back. No norm: the statistics of few pictures are noise. Dilated
    # blocks at a small scale: they see as far as many more at half the size, at a fraction of the cost. Fine blocks:
    # what tells two layers apart, such as blur, shows at the finer scales. Interpolation: a deconvolution leaves
    # stripes, and what is taken away is blurred, so half the size can hold it. Passes: a second look doubles the
    # depth for the few weights that read what the first one took away. Rise blocks: after the coarse scales are known,
    # the fine ones can be looked at again. Stages: a net that has learned from a million photographs knows what things
    # look like; a few hundred behind glass teach that slowly.

    def __init__(
        self,
        widths: Sequence[int] = (64, 64),
        dilations: Sequence[int] = (1,) * 13,
        edge_dilations: Sequence[int] | None = None,
        *,
        layers: int = 1,
        norm: bool = True,
        skips: bool = False,
        interpolate: bool = False,
        fine_blocks: Sequence[int] = (),
        passes: int = 1,
        rise_blocks: Sequence[int] = (),
        stages: int = 0,
    ) -> None:
        super().__init__()
        edge_dilations = tuple(dilations if edge_dilations is None else edge_dilations)
        if min(widths, default=0) < 1 or min((passes, *dilations, *edge_dilations)) < 1 or layers not in (1, 2):
            raise ValueError(
                f"widths {tuple(widths)}, dilations {tuple(dilations)} and {edge_dilations}, {layers} layers, {passes} "
                "passes; expected positive numbers, one width at least, and 1 or 2 layers"
            )
        for name, blocks in (("fine_blocks", fine_blocks), ("rise_blocks", rise_blocks)):
            if len(blocks) >= len(widths) or min(blocks, default=0) < 0:
                raise ValueError(
                    f"{name} {tuple(blocks)} with widths {tuple(widths)}; expected numbers of 0 or more, one "
                    f"for each scale but the coarsest, {len(widths) - 1} at most"
                )
        self.backbone = EfficientNetLite(stages) if stages else None
        maps = self.backbone.out_channels if stages else ()
        if stages and (len(maps) != len(widths) or not interpolate):
            raise ValueError(
                f"{stages} stages have maps at {len(maps)} strides from 2 on, the net has {len(widths)} scales from "
                f"{2 if interpolate else 1} on; expected a width for each stride, and interpolate"
            )
        self.layers, self.skips, self.passes = layers, skips, passes
        reads_edges = bool(edge_dilations)
        how = {"norm": norm, "skips": skips, "interpolate": interpolate, "maps": maps}
        self.e_cnn = SubNet(4, 1, widths, edge_dilations, **how) if reads_edges else None
        reads = 3 + reads_edges + 3 * (passes > 1)
        blocks = {"fine_blocks": fine_blocks, "rise_blocks": rise_blocks}
        self.i_cnn = SubNet(reads, 3 * layers, widths, dilations, **how, **blocks)
        self.stride = self.i_cnn.stride
        self.halo = passes * self.i_cnn.halo + (self.e_cnn.halo + 1 if reads_edges else 0)
        if stages:
            self.halo += self.backbone.halo

    def forward(self, images: Tensor, parts: bool = False) -> Tensor | Separation:
        """
        Remove the reflection.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1], of any size.
        parts : bool
            Whether to give everything that the net finds.

        Returns
        -------
        Tensor, shape (B, 3, H, W), or Separation
            The background, about in [0, 1]; or all parts.

        Raises
        ------
        ValueError
            If the images are not (B, 3, H, W), or have no pixels.
        """
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[-2:]:
            raise ValueError(
                f"images of shape {tuple(images.shape)}; expected RGB of (B, 3, H, W), at least a pixel each: one "
                "picture is [None], an alpha channel is left out by [:, :3]"
            )
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        found = self._separate(padded)
        cut = Separation(*(part if part is None else part[..., :height, :width] for part in found))
        return cut if parts else cut.background

    def separate(self, images: Tensor) -> Separation:
        """
        Find background, reflection and edges.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1], of any size.

        Returns
        -------
        Separation
            All that the net has a part for.
        """
        return self(images, parts=True)

    def _separate(self, images: Tensor) -> Separation:
        seen, found = images - MIDDLE, None
        maps = [] if self.backbone is None else [each / SPREAD for each in self.backbone(images)]
        if self.e_cnn is not None:
            shown = edges(images)
            # Differs from Fan et al.: E-CNN reads edges as they are; 50 times larger, they would drown the picture.
            found = self.e_cnn(torch.cat([seen, shown - MIDDLE], 1), maps)
            found = shown - found if self.skips else found
            seen = torch.cat([seen, found - MIDDLE], 1)
        background = images
        for _ in range(self.passes):
            values = self.i_cnn(torch.cat([seen, images - background], 1) if self.passes > 1 else seen, maps)
            background = images - values[:, :3] if self.skips else values[:, :3]
        return Separation(background, values[:, 3:] if self.layers == 2 else None, found)


class SubNet(nn.Module):
    """
    E-CNN or I-CNN: convolutions down to the coarsest scale, residual blocks there, and up again.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the map that it reads and of the one that it makes.
    widths : sequence of int
        Channels of each scale, the finest first.
    dilations : sequence of int
        The dilation of each residual block.
    norm : bool
        Whether convolutions are followed by batch normalisation.
    skips : bool
        Whether features on the way down are added on the way up.
    interpolate : bool
        Whether the finest scale is half the map's size, and all goes up by interpolation, not by deconvolution.
    fine_blocks, rise_blocks : sequence of int, optional
        Residual blocks on the way down and up, at each scale but the coarsest, the finest first; by default none.
    maps : sequence of int, optional
        Channels of maps that it reads too, one for each scale; by default none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        dilations: Sequence[int],
        *,
        norm: bool,
        skips: bool,
        interpolate: bool = False,
        fine_blocks: Sequence[int] = (),
        rise_blocks: Sequence[int] = (),
        maps: Sequence[int] = (),
    ) -> None:
        super().__init__()
        scales, up = list(pairwise(widths)), _widen if interpolate else _deconv
        self.skips, self.first = skips, 2 if interpolate else 1  # pixels a side of a cell of the finest scale
        self.enter = nn.Sequential(
            *_conv(in_channels, widths[0], norm, stride=self.first), *_conv(widths[0], widths[0], norm)
        )
        self.down = nn.ModuleList(nn.Sequential(*_conv(fine, coarse, norm, stride=2)) for fine, coarse in scales)
        self.fine, self.rise = (
            nn.ModuleList(
                nn.Sequential(*(Block(width, 1, norm) for _ in range(number)))
                for width, number in zip_longest(widths[:-1], blocks, fillvalue=0)
            )
            for blocks in (fine_blocks, rise_blocks)
        )
        self.read = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels, width in zip(maps, widths, strict=False))
        self.blocks = nn.Sequential(*(Block(widths[-1], dilation, norm) for dilation in dilations))
        self.up = nn.ModuleList(nn.Sequential(*up(coarse, fine, norm)) for fine, coarse in reversed(scales))
        self.leave = nn.Sequential(*_conv(widths[0], widths[0], norm), nn.Conv2d(widths[0], out_channels, 1))
        self.last = nn.Upsample(scale_factor=2, mode="bilinear") if interpolate else nn.Identity()
        initialise(self)
        if not norm:
            for block in chain(self.blocks, *self.fine, *self.rise):
                nn.init.zeros_(block.second[0].weight)  # each block begins as the identity, so that depth does no harm
        if skips:
            nn.init.normal_(self.leave[-1].weight, std=0.01)  # it begins near the picture itself
        for read in self.read:
            nn.init.zeros_(read.weight)
        stride = 2 ** len(scales)
        halo = 3 + (5 if interpolate else 3) * (stride - 1) + 2 * sum(dilations) * stride
        for blocks in (fine_blocks, rise_blocks):
            halo += 2 * sum(number * 2**scale for scale, number in enumerate(blocks))
        self.stride, self.halo = self.first * stride, self.first * halo + interpolate

    def forward(self, x: Tensor, maps: Sequence[Tensor] = ()) -> Tensor:
        """
        Transform a map.

        Parameters
        ----------
        x : Tensor, shape (B, in_channels, H, W)
            Values about zero; sides divisible by the stride.
        maps : sequence of Tensor, optional
            What it reads too, of each scale's size.

        Returns
        -------
        Tensor, shape (B, out_channels, H, W)
            The map that is made.
        """
        told = [read(each) for read, each in zip(self.read, maps, strict=True)]
        x = self.enter(x)
        passed = []
        for scale, (fine, down) in enumerate(zip(self.fine, self.down, strict=True)):
            x = fine(x + told[scale] if told else x)
            passed.append(x)
            x = down(x)
        x = x + told[-1] if told else x
        x = self.blocks(x)
        for up, rise in zip(self.up, reversed(self.rise), strict=True):
            skip = passed.pop()
            x = rise(up(x) + skip if self.skips else up(x))
        return self.last(self.leave(x))


class Block(nn.Module):
    """
    Two convolutions, of which the result is added to what they read.

    Parameters
    ----------
    width : int
        Channels.
    dilation : int
        Distance in cells between the taps of the kernels.
    norm : bool
        Whether they are followed by batch normalisation.
    """

    def __init__(self, width: int, dilation: int, norm: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(*_conv(width, width, norm, dilation=dilation))
        self.second = nn.Sequential(*_conv(width, width, norm, dilation=dilation)[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """
        Add what the convolutions find.

        Parameters
        ----------
        x : Tensor, shape (B, width, h, w)
            The map.

        Returns
        -------
        Tensor, shape of ``x``
            The sum.
        """
        return x + self.second(self.first(x))


def _conv(before: int, after: int, norm: bool, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, 3, stride, padding=dilation, dilation=dilation, bias=not norm)
    return [conv, *_finish(after, norm)]


def _deconv(before: int, after: int, norm: bool) -> list[nn.Module]:
    return [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=not norm), *_finish(after, norm)]


def _widen(before: int, after: int, norm: bool) -> list[nn.Module]:
    return [*_conv(before, after, norm), nn.Upsample(scale_factor=2, mode="bilinear")]


def _finish(channels: int, norm: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)] if norm else [nn.ReLU(inplace=True)]
