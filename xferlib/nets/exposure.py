"""The enhancer after Cai, Gu and Zhang: a dark picture's luminance and detail are lifted apart, then joined."""

from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xferlib.nets.vgg import initialise
from xferlib.ops.colour import luminance
from xferlib.ops.guided import box_mean

SLIM: dict[str, Any] = {"widths": (32, 16, 24), "depths": (5, 3, 4), "stride": 8}
"""Arguments of a net that a laptop's processor runs in a fraction of the time."""


class Parts(NamedTuple):
    """
    What the net does on its way, to be looked at.

    Parameters
    ----------
    base, detail : Tensor, shape (B, 1, H, W)
        The picture's luminance, smooth but for its edges, and what is left of it; their sum is the luminance.
    enhanced_base, enhanced_detail : Tensor, shape (B, 1, H, W)
        What the two branches make of them.
    joined : Tensor, shape (B, 3, H, W)
        The two together, with the picture's colours lifted as its base is.
    result : Tensor, shape (B, 3, H, W)
        The picture after the last convolutions.
    """

    base: Tensor
    detail: Tensor
    enhanced_base: Tensor
    enhanced_detail: Tensor
    joined: Tensor
    result: Tensor


class ExposureNet(nn.Module):
    """
    Make of one picture that is too dark what a fusion of many exposures would show.

    Parameters
    ----------
    widths : tuple of int
        Channels of the base branch, of the detail branch and of the convolutions that join them.
    depths : tuple of int
        Convolutions of each of the three.
    stride : int
        The base branch sees the picture reduced by so much, each pixel the mean of a square.
    knots : int
        Points of each of its tone curves, at least 2.
    radius, epsilon : int, float
        Of the split, as `split` takes them.

    Raises
    ------
    ValueError
        If a number is below what it must be.

    Notes
    -----
    The base branch draws a curve for each place: by how many powers of two to lift what is black there, what is
    white, and what lies between. Its maps may be coarse and yet leave edges sharp, since neighbours on both sides of
    an edge read the same curves at different points. All starts as the identity.

    References
    ----------
    Cai, Gu, Zhang, "Learning a Deep Single Image Contrast Enhancer from Multi-Exposure Images", IEEE TIP 2018,
    section IV. Gharbi et al., "Deep Bilateral Learning for Real-Time Image Enhancement", SIGGRAPH 2017, on curves from
    a small picture.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (64, 64, 64),
        depths: tuple[int, int, int] = (5, 5, 5),
        stride: int = 1,
        knots: int = 8,
        radius: int = 8,
        epsilon: float = 0.03,
    ) -> None:
        super().__init__()
        if min(*widths, *depths, stride, radius) < 1 or knots < 2 or not epsilon > 0:
            raise ValueError(
                f"widths {widths}, depths {depths}, stride {stride}, {knots} knots, radius {radius}, epsilon {epsilon}"
                "; expected at least 1, 2 knots, and an epsilon above 0"
            )
        self.stride, self.knots, self.radius, self.epsilon = stride, knots, radius, epsilon
        self.base_branch = _convolutions(4, widths[0], depths[0])
        # Differs from Cai et al.: the mean over the picture, which tells a dark picture from a dark place.
        self.whole = nn.Conv2d(widths[0], widths[0], 1)
        self.curves = _convolution(widths[0], knots)
        self.detail_branch = _convolutions(4, widths[1], depths[1])
        self.lift = _convolution(widths[1], 1)
        self.join = _convolutions(4 + widths[1], widths[2], depths[2])
        self.last = _convolution(widths[2], 3)
        initialise(self)
        for layer in (self.curves, self.lift, self.last):
            nn.init.zeros_(layer.weight)

    def forward(self, images: Tensor) -> Tensor:
        """
        Enhance pictures.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1], of any size.

        Returns
        -------
        Tensor, shape (B, 3, H, W)
            The enhanced pictures, about in [0, 1].

        Raises
        ------
        ValueError
            If the pictures are not (B, 3, H, W), or have no pixel.
        """
        return self.parts(images).result

    def parts(self, images: Tensor) -> Parts:
        """
        Enhance pictures, and show each step.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1], of any size.

        Returns
        -------
        Parts
            Base and detail as they were and as they become, and the result.

        Raises
        ------
        ValueError
            If the pictures are not (B, 3, H, W), or have no pixel.
        """
        _check(images)
        layers = self._split(images)
        return self._developed(images, *layers, self._stops(images, layers[0]))

    @property
    def whole_and_local(self) -> tuple[nn.Module, nn.Module]:
        """
        The net in two: what must see a picture whole, and what can go over it tile by tile.

        The first gives by how many powers of two to lift each pixel, (B, 1, H, W). The second takes the picture and
        that, (B, 4, H, W), and gives the result. They share the net's weights.
        """
        return _Metering(self), _Development(self)

    def _split(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return split(luminance(images), self.radius, self.epsilon)

    def _developed(self, images: Tensor, base: Tensor, detail: Tensor, stops: Tensor) -> Parts:
        """Lift base and detail by so many powers of two, and join them."""
        gain = stops.exp2()
        seen = self.detail_branch(torch.cat([detail / (base + 0.01), _roots(images)], 1))
        # Differs from Cai et al.: what the branches find multiplies, as exposure does, rather than being added.
        enhanced_base = base * gain
        enhanced_detail = detail * gain * self.lift(seen).to(gain.dtype).exp2()

        joined = enhanced_base + enhanced_detail + gain * (images - luminance(images))
        residual = self.last(self.join(torch.cat([joined, stops, seen.to(stops.dtype)], 1)))
        return Parts(base, detail, enhanced_base, enhanced_detail, joined, joined + residual)

    def _stops(self, images: Tensor, base: Tensor) -> Tensor:
        """Draw the curves on a small picture and read them where each pixel's base lies, (B, 1, H, W)."""
        height, width = base.shape[-2:]
        base = _roots(base)
        small = torch.cat([base, _roots(images)], 1)
        small = F.pad(small, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        seen = self.base_branch(F.avg_pool2d(small, self.stride))
        seen = seen + self.whole(seen.mean((2, 3), keepdim=True))
        curves = F.interpolate(self.curves(seen).to(base.dtype), scale_factor=self.stride, mode="bilinear")
        at = torch.arange(self.knots, dtype=base.dtype, device=base.device).view(1, -1, 1, 1)
        near = (1 - (base * (self.knots - 1) - at).abs()).relu()
        return (near * curves[..., :height, :width]).sum(1, keepdim=True)


class _Stage(nn.Module):
    def __init__(self, net: ExposureNet) -> None:
        super().__init__()
        self.net = net


class _Metering(_Stage):
    def forward(self, images: Tensor) -> Tensor:
        return self.net._stops(images, self.net._split(images)[0])


class _Development(_Stage):
    in_channels, stride = 4, 1

    @property
    def halo(self) -> int:
        return 2 * self.net.radius + len(self.net.detail_branch) // 2 + len(self.net.join) // 2 + 2

    def forward(self, seen: Tensor) -> Tensor:
        images, stops = seen[:, :3], seen[:, 3:]
        return self.net._developed(images, *self.net._split(images), stops).result


def split(grey: Tensor, radius: int = 8, epsilon: float = 0.03) -> tuple[Tensor, Tensor]:
    """
    Split luminance into a base that keeps its edges, and detail.

    Parameters
    ----------
    grey : Tensor, shape (B, 1, H, W)
        Luminance in [0, 1], of any size.
    radius : int
        Windows have sides of ``2 * radius + 1`` pixels, and end at the picture's border.
    epsilon : float
        Variance, as a share of the squared mean, below which a window counts as flat; above 0.

    Returns
    -------
    tuple of Tensor, shape (B, 1, H, W)
        Base and detail, whose sum is the luminance. Of half the luminance both are half.

    Raises
    ------
    ValueError
        If the radius is below 1, or epsilon is not positive.

    References
    ----------
    He, Sun, Tang, "Guided Image Filtering", TPAMI 2013, equations 5 to 8, guided by itself.
    """
    # Differs from Cai et al.: the guided filter in place of weighted least squares, which would need a solver.
    # Differs from He et al.: epsilon is relative, so that a dark picture is split as a bright one is.
    if radius < 1 or not epsilon > 0:
        raise ValueError(f"radius {radius} and epsilon {epsilon}; expected at least 1, and above 0")
    mean = box_mean(grey, radius)
    variance = (box_mean(grey * grey, radius) - mean * mean).clamp_min(0)
    slope = variance / (variance + epsilon * mean * mean + 1e-8)
    base = box_mean(slope, radius) * grey + box_mean((1 - slope) * mean, radius)
    return base, grey - base


def _roots(x: Tensor) -> Tensor:
    # Differs from Cai et al.: the branches see square roots and relative detail, which spread out the shadows.
    return x.clamp_min(1e-4).sqrt()


def _convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate")


def _convolutions(before: int, width: int, depth: int) -> nn.Sequential:
    sides = [before] + [width] * depth
    layers = [(_convolution(*pair), nn.ReLU()) for pair in pairwise(sides)]
    return nn.Sequential(*(layer for pair in layers for layer in pair))


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        alpha = "; drop an alpha channel with x[:, :3]" if images.ndim == 4 and images.shape[1] == 4 else ""
        raise ValueError(
            f"images of shape {tuple(images.shape)}; this net takes RGB of (B, 3, H, W), one picture as [None]{alpha}"
        )
