"""What nets of super-resolution share: a whole factor, RGB of any size in, and RGB so many times larger out."""

import torch
from torch import Tensor, nn

from xferlib.ops.colour import from_ycbcr, to_ycbcr
from xferlib.ops.degrade import upscale


class Enlarger(nn.Module):
    """
    Base of the nets that enlarge pictures; those that work on colour override `enlarge`.

    Parameters
    ----------
    factor : int
        How many times pictures are enlarged, at least 2.

    Attributes
    ----------
    factor : int
        As given.
    halo : int
        How many pixels away a pixel of the small picture can matter; each net says so.
    stride : int
        Period of the net's downsampling, for tiling: 1, as there is none.

    Raises
    ------
    ValueError
        If the factor is not a whole number of at least 2.
    """

    halo: int
    stride = 1

    def __init__(self, factor: int) -> None:
        super().__init__()
        if factor != int(factor) or factor < 2:
            raise ValueError(
                f"factor {factor} is not a whole number of at least 2; for a size between, enlarge by the next factor "
                "and bring the result to that size with resize_bicubic"
            )
        self.factor = int(factor)

    def forward(self, images: Tensor) -> Tensor:
        """
        Enlarge pictures.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1], of any size from one pixel on.

        Returns
        -------
        Tensor, shape (B, 3, factor * H, factor * W)
            The enlarged pictures, about in [0, 1].

        Raises
        ------
        ValueError
            If the pictures are not (B, 3, H, W), hold no pixel, or are not floating point.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point() or not images.numel():
            raise ValueError(
                f"images of shape {tuple(images.shape)}, {images.dtype}; this net takes RGB in [0, 1] of (B, 3, H, W) "
                f"with at least one pixel. {_way_out(images)}"
            )
        return self.enlarge(images)

    def enlarge(self, images: Tensor) -> Tensor:
        """
        Enlarge pictures that have been checked.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1].

        Returns
        -------
        Tensor, shape (B, 3, factor * H, factor * W)
            The enlarged pictures.
        """
        raise NotImplementedError


class LumaEnlarger(Enlarger):
    """
    Base of the nets that enlarge luma alone, in `enlarge_luma`; differences of colour are enlarged bicubically.

    The eye sees colour less sharply than brightness, so that papers enlarge and measure luma only.

    Parameters
    ----------
    factor : int
        How many times pictures are enlarged, at least 2.
    """

    def enlarge(self, images: Tensor) -> Tensor:
        """
        Enlarge luma by the net, Cb and Cr bicubically.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1].

        Returns
        -------
        Tensor, shape (B, 3, factor * H, factor * W)
            The enlarged pictures.
        """
        luma, chroma = to_ycbcr(images).split((1, 2), 1)
        return from_ycbcr(torch.cat([self.enlarge_luma(luma), upscale(chroma, self.factor)], 1))

    def enlarge_luma(self, luma: Tensor) -> Tensor:
        """
        Enlarge luma.

        Parameters
        ----------
        luma : Tensor, shape (B, 1, H, W)
            Y of `xferlib.ops.colour.to_ycbcr`, in [16/255, 235/255].

        Returns
        -------
        Tensor, shape (B, 1, factor * H, factor * W)
            Enlarged luma.
        """
        raise NotImplementedError


def conv(before: int, after: int, kernel: int) -> nn.Conv2d:
    """
    Make a convolution that keeps the size: beyond the border the outermost pixels go on.

    Parameters
    ----------
    before, after : int
        Channels in and out.
    kernel : int
        Side of the kernel, odd.

    Returns
    -------
    nn.Conv2d
        The convolution, with a bias.
    """
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, padding_mode="replicate")


def _way_out(images: Tensor) -> str:
    if images.ndim == 3:
        return "One picture is [None]"
    if images.ndim == 4 and images.shape[1] == 4:
        return "The fourth channel is alpha: put the picture on a ground first, or drop it with [:, :3]"
    if images.ndim == 4 and images.shape[1] == 1:
        return "Repeat a grey picture with expand(-1, 3, -1, -1)"
    return "Divide bytes by 255 first" if not images.is_floating_point() else "Check how it was read"
