"""A loss network without any training: random filters and one ReLU on a pyramid of scales."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from xferlib.nets.vgg import Normalise


class RandomFilters(nn.Module):
    """
    One layer of random filters of several sizes, on several scales of the picture.

    Parameters
    ----------
    sizes : sequence of int
        Sides of the filters in pixels, odd.
    channels : int
        Filters of each size.
    colours : int
        Filters of a single pixel, which see colour and no form.
    levels : int
        Scales; each is half the size of the one before.
    seed : int
        Seed of the filters.

    Raises
    ------
    ValueError
        If a size is even, or there is no filter or no level.

    Notes
    -----
    Layers are called "scale1", the picture's own size, to "scaleL". Each has ``len(sizes) * channels + colours``
    channels, each of a mean of about 1 over pictures whose spectrum falls as that of photographs does.

    References
    ----------
    Ustyuzhaninov, Brendel, Gatys, Bethge, "What does it take to generate natural textures?", ICLR 2017.
    """

    def __init__(
        self, sizes: Sequence[int] = (5, 9), channels: int = 32, colours: int = 8, levels: int = 5, *, seed: int = 0
    ) -> None:
        super().__init__()
        if not sizes or min(channels, levels) < 1 or colours < 0:
            raise ValueError(f"{sizes=}, {channels=}, {colours=}, {levels=}; give at least one of each")
        if wrong := [size for size in sizes if size < 1 or size % 2 == 0]:
            raise ValueError(f"filter sizes {wrong} are not odd; an odd one has a centre")
        generator = torch.Generator().manual_seed(seed)
        self.levels, self.normalise = levels, Normalise()
        self.register_buffer("halving", torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16)
        self.filters = nn.ParameterList([_drawn(channels, size, generator) for size in sizes])
        self.filters.extend([_drawn(colours, 1, generator)] if colours else [])
        self._even_out(_pink(256, generator))

    def forward(self, images: Tensor, layers: Iterable[str] = ("scale1",)) -> dict[str, Tensor]:
        """
        Compute the activations of the named layers.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1].
        layers : iterable of str
            Names, "scale1" to "scaleL".

        Returns
        -------
        dict of str to Tensor
            The activations by name, not negative; those of "scaleK" are ``(B, C, ceil(H / 2**(K-1)), ...)``.

        Raises
        ------
        ValueError
            If there is no layer of that name.
        """
        wanted, names = set(layers), [f"scale{level}" for level in range(1, self.levels + 1)]
        if unknown := wanted - set(names):
            raise ValueError(f"no layer {sorted(unknown)}; this net has {', '.join(names)}")
        found: dict[str, Tensor] = {}
        x = self.normalise(images)
        for name, gains in zip(names, self.gains, strict=True):
            if name in wanted:
                found[name] = self._filtered(x) * gains[:, None, None]
            if len(found) == len(wanted):
                break
            x = self._halved(x)
        return found

    def _filtered(self, x: Tensor) -> Tensor:
        # Differs from Ustyuzhaninov et al.: small filters on a pyramid in place of filters of up to 55x55 pixels.
        return torch.cat([F.conv2d(_framed(x, w.shape[-1] // 2), w) for w in self.filters], 1).relu()

    def _halved(self, x: Tensor) -> Tensor:
        """Smooth and take every second pixel: averages of 2x2 squares would show as squares."""
        kernel = self.halving.repeat(x.shape[1], 1, 1, 1)
        x = F.conv2d(F.pad(x, (0, 0, 2, 2), "replicate"), kernel.mT, groups=x.shape[1], stride=(2, 1))
        return F.conv2d(F.pad(x, (2, 2, 0, 0), "replicate"), kernel, groups=x.shape[1], stride=(1, 2))

    @torch.no_grad()
    def _even_out(self, x: Tensor) -> None:
        """Scale every channel of every level to a mean of 1 over a picture."""
        gains = []
        for _ in range(self.levels):
            gains.append(1 / self._filtered(x).mean((0, 2, 3)))
            x = self._halved(x)
        self.register_buffer("gains", torch.stack(gains))


def _framed(x: Tensor, margin: int) -> Tensor:
    """Mirror a map beyond its borders, or, where it is too small for that, repeat its outermost pixels."""
    return F.pad(x, (margin,) * 4, "reflect" if margin < min(x.shape[-2:]) else "replicate")


def _drawn(channels: int, size: int, generator: torch.Generator) -> nn.Parameter:
    """Draw filters of length 1, which see differences alone where they have more than one pixel."""
    weights = torch.rand(channels, 3, size, size, generator=generator) - 0.5
    if size > 1:
        weights = weights - weights.mean((2, 3), keepdim=True)
    return nn.Parameter(F.normalize(weights.flatten(1)).view_as(weights), requires_grad=False)


def _pink(side: int, generator: torch.Generator) -> Tensor:
    """Draw noise whose amplitude falls with the frequency, (1, 3, side, side), of variance 1."""
    rows, columns = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)
    frequency = torch.hypot(rows, columns)
    frequency[0, 0] = torch.inf
    noise = torch.randn(1, 3, side, side, generator=generator)
    pink = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(side, side))
    return pink / pink.std()
