"""A small net that restores pictures: in, down, and up again by deconvolutions, as the first such nets did."""

import torch.nn.functional as F
from torch import Tensor, nn

from xferlib.nets.upsampling import ResizeConv
from xferlib.nets.vgg import initialise


class Restorer(nn.Module):
    """
    Restore a picture and, if asked, double its size.

    Its deconvolutions have kernels of 3 and a stride of 2, which do not fit each other: nothing in the net keeps it
    from leaving checkerboards, so that the loss alone decides.

    Parameters
    ----------
    channels : int
        Channels of the picture.
    width : int
        Channels of the net at the picture's size; twice as many at half of it.
    enlarge : bool
        Whether the result is twice as large as the picture.
    even : bool
        Whether the deconvolutions give way to interpolation and a convolution, which cannot leave checkerboards.

    Raises
    ------
    ValueError
        If channels or width is below 1.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016, on kernels and strides.
    """

    def __init__(self, channels: int = 3, width: int = 24, *, enlarge: bool = True, even: bool = False) -> None:
        super().__init__()
        if channels < 1 or width < 1:
            raise ValueError(f"{channels} channels, width {width}; both must be at least 1")
        self.channels, self.enlarge = channels, enlarge
        self.enter = nn.Conv2d(channels, width, 3, padding=1, padding_mode="replicate")
        self.down = nn.Conv2d(width, 2 * width, 3, 2, padding=1, padding_mode="replicate")
        self.middle = nn.ModuleList(
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, padding_mode="replicate") for _ in range(2)
        )
        self.up = ResizeConv(2 * width, width) if even else _deconvolution(2 * width, width)
        if not enlarge:
            self.leave = nn.Conv2d(width, channels, 3, padding=1, padding_mode="replicate")
        else:
            self.leave = ResizeConv(width, channels) if even else _deconvolution(width, channels)
        initialise(self)
        last = self.leave.conv if isinstance(self.leave, ResizeConv) else self.leave
        nn.init.normal_(last.weight, std=0.01)  # it starts near the interpolated picture

    def forward(self, images: Tensor) -> Tensor:
        """
        Restore.

        Parameters
        ----------
        images : Tensor, shape (B, channels, H, W)
            Values in [0, 1], of any size.

        Returns
        -------
        Tensor, shape (B, channels, 2H, 2W) or (B, channels, H, W)
            The restored pictures, about in [0, 1]: the picture itself, interpolated, plus what the net adds.

        Raises
        ------
        ValueError
            If the pictures are not (B, channels, H, W).
        """
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise ValueError(f"images of shape {tuple(images.shape)}; this net takes (B, {self.channels}, H, W)")
        skip = self.enter(images).relu()
        x = self.down(skip).relu()
        for conv in self.middle:
            x = x + conv(x).relu()
        x = self.up(x).relu()[..., : skip.shape[-2], : skip.shape[-1]] + skip
        base = F.interpolate(images, scale_factor=2, mode="bilinear") if self.enlarge else images
        return base + self.leave(x)


def _deconvolution(before: int, after: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
