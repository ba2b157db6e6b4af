"""ESPCN: super-resolution at the price of the small picture; only the last step, a shuffle, makes it large."""

from collections.abc import Sequence

from torch import Tensor

from xferlib.nets.enlarger import LumaEnlarger, conv
from xferlib.nets.upsampling import SubPixelConv


class ESPCN(LumaEnlarger):
    """
    Convolve luma as it is, and lay the last convolution's channels out as pixels.

    Parameters
    ----------
    factor : int
        How many times pictures are enlarged, at least 2.
    widths : sequence of int
        Channels of the two hidden maps.
    kernels : sequence of int
        Sides of the three kernels, odd.

    Raises
    ------
    ValueError
        If the factor is no whole number of at least 2, or the widths or kernels make no sense.

    References
    ----------
    Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
    Network", CVPR 2016, sections 3.2 and 4.1: 5-3-3, 64 and 32 channels, tanh.
    """

    def __init__(self, factor: int = 3, widths: Sequence[int] = (64, 32), kernels: Sequence[int] = (5, 3, 3)) -> None:
        if len(widths) != 2 or min(widths) < 1 or len(kernels) != 3 or any(k < 1 or k % 2 == 0 for k in kernels):
            raise ValueError(f"{widths=}, {kernels=}; give two widths and three odd kernels")
        super().__init__(factor)
        self.halo = max(2, sum(kernel // 2 for kernel in kernels))  # bicubic enlargement of colour reaches 2
        self.first = conv(1, widths[0], kernels[0])
        self.second = conv(widths[0], widths[1], kernels[1])
        # Differs from Shi et al.: it starts as nearest-neighbour enlargement (ICNR), so without checkerboards.
        self.shuffle = SubPixelConv(widths[1], 1, self.factor, kernels[2])

    def enlarge_luma(self, luma: Tensor) -> Tensor:
        """
        Enlarge luma.

        Parameters
        ----------
        luma : Tensor, shape (B, 1, H, W)
            Luma in [0, 1].

        Returns
        -------
        Tensor, shape (B, 1, factor * H, factor * W)
            Enlarged luma.
        """
        return self.shuffle(self.second(self.first(luma).tanh()).tanh())
