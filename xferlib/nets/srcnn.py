"""SRCNN: super-resolution by three convolutions on the bicubically enlarged picture, the first such net."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from xferlib.nets.enlarger import LumaEnlarger, conv
from xferlib.nets.vgg import initialise
from xferlib.ops.degrade import upscale


class SRCNN(LumaEnlarger):
    """
    Enlarge luma bicubically, then correct it: patches, a non-linear map of each, and the patches put together.

    Parameters
    ----------
    factor : int
        How many times pictures are enlarged, at least 2.
    widths : sequence of int
        Channels of the two hidden maps.
    kernels : sequence of int
        Sides of the three kernels, odd. The paper has 9-1-5 as its basic net, and 9-3-5 and 9-5-5, which are slower
        and better.

    Raises
    ------
    ValueError
        If the factor is no whole number of at least 2, or the widths or kernels make no sense.

    References
    ----------
    Dong, Loy, He, Tang, "Image Super-Resolution Using Deep Convolutional Networks", IEEE TPAMI 2016, section 3.1; its
    basic net has 8,032 weights, biases aside.
    """

    def __init__(self, factor: int = 3, widths: Sequence[int] = (64, 32), kernels: Sequence[int] = (9, 1, 5)) -> None:
        if len(widths) != 2 or min(widths) < 1 or len(kernels) != 3 or any(k < 1 or k % 2 == 0 for k in kernels):
            raise ValueError(f"{widths=}, {kernels=}; give two widths and three odd kernels")
        super().__init__(factor)
        self.halo = 2 + math.ceil(sum(kernel // 2 for kernel in kernels) / factor)  # bicubic enlargement reaches 2
        # Differs from Dong et al.: the border goes on; they padded with zeros, or lost it in training.
        self.patches = conv(1, widths[0], kernels[0])
        self.mapping = conv(widths[0], widths[1], kernels[1])
        self.reconstruction = conv(widths[1], 1, kernels[2])
        initialise(self)
        self._pass_on()

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
        x = self.patches(upscale(luma, self.factor)).relu()
        return self.reconstruction(self.mapping(x).relu())

    @torch.no_grad()
    def _pass_on(self) -> None:
        """Let the first channel of each map be the bicubic picture, and the result nothing else at first."""
        # Differs from Dong et al., whose weights all start at random: no training goes into what bicubic shows already.
        for layer in (self.patches, self.mapping, self.reconstruction):
            layer.weight[0] = 0
            layer.weight[0, 0, layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] = 1
