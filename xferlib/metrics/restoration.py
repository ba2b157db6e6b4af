"""How near a restored picture comes to the true one: in its values, structure, colour, detail, and false patterns."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from xferlib.ops._halves import check_floats, exact, wide
from xferlib.ops.colour import to_light, to_ycbcr
from xferlib.ops.degrade import to_bytes

_ROUNDING = 1e-6  # what a blur may take away from a flat picture in [0, 1]
_WHITE = (0.95047, 1.0, 1.08883)  # D65, seen by the 2 degree observer
_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)


def psnr(images: Tensor, targets: Tensor, *, data_range: float) -> Tensor:
    """
    Measure the peak signal-to-noise ratio: the mean squared error on a logarithmic scale.

    Parameters
    ----------
    images, targets : Tensor, shape (B, C, H, W)
        What was made, and what is true.
    data_range : float
        Largest value less the smallest that a pixel may have: 1 for pictures in [0, 1], 255 for floats from 0 to 255.
        It is not guessed from the pictures, for a wrong guess passes unseen and moves every result.

    Returns
    -------
    Tensor, shape (B,)
        ``10 log10(data_range^2 / mean squared error)`` in dB; infinite where both are equal. Float32 for pictures of
        half precision.

    Raises
    ------
    ValueError
        If the shapes differ or are not (B, C, H, W), the values are no floats, or the range is not above 0.
    """
    _check(images, targets, data_range)
    errors = (wide(images) - wide(targets)).square().mean((1, 2, 3))
    return 10 * torch.log10(data_range**2 / errors)


@exact
def ssim(images: Tensor, targets: Tensor, *, data_range: float, window: int = 11, sigma: float = 1.5) -> Tensor:
    """
    Measure structural similarity: whether windows of both pictures agree in mean, in contrast and in structure.

    Parameters
    ----------
    images, targets : Tensor, shape (B, C, H, W)
        What was made, and what is true. A gradient flows.
    data_range : float
        As for `psnr`.
    window : int
        Side of the window in pixels, odd. Only windows that lie in the picture count.
    sigma : float
        Standard deviation of the Gaussian that weighs a window's pixels.

    Returns
    -------
    Tensor, shape (B,)
        The mean over windows and channels, in [-1, 1]; 1 where both are equal. Float32 for pictures of half precision.

    Raises
    ------
    ValueError
        If the shapes differ or are not (B, C, H, W), the range or sigma is not above 0, the window is not odd, or the
        pictures are smaller than it.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
    TIP 2004, equation 13, with K1 = 0.01, K2 = 0.03 and section III-C's window.
    """
    _check(images, targets, data_range)
    if window < 1 or window % 2 == 0 or not sigma > 0:
        raise ValueError(f"window {window} of sigma {sigma}; the window must be odd and sigma above 0")
    if min(images.shape[-2:]) < window:
        raise ValueError(f"pictures of {images.shape[-2]}x{images.shape[-1]} are smaller than the window of {window}")
    images, targets = wide(images), wide(targets)
    line = _gaussian(sigma, window // 2, images)
    # Four means in one pass, of the sum, the difference and their squares: 2xy and x^2 + y^2 are half of what the
    # squares differ by and add up to.
    total, apart = images + targets, images - targets
    stacked = torch.cat([total, apart, total.square(), apart.square()], 1)
    sums, differences, sum_squares, difference_squares = _convolved(stacked, line).chunk(4, 1)
    s, d = sums.square(), differences.square()
    c1, c2 = 2 * (0.01 * data_range) ** 2, 2 * (0.03 * data_range) ** 2
    means = (s - d + c1) / (s + d + c1)
    s, d = sum_squares - s, difference_squares - d
    structure = (s - d + c2) / (s + d + c2)
    return (means * structure).mean((1, 2, 3))


def luma_psnr(images: Tensor, targets: Tensor, border: int) -> Tensor:
    """
    Score enlarged pictures as papers on super-resolution do: the PSNR of luma, without the border.

    Parameters
    ----------
    images, targets : Tensor, shape (B, 3, H, W)
        RGB in [0, 1]: what was made, and what is true. Both are cut off at 0 and 1 and rounded to bytes first.
    border : int
        Pixels that do not count on each side, by custom as many as the factor of enlargement.

    Returns
    -------
    Tensor, shape (B,)
        PSNR in dB; infinite where the luma of both is equal.

    Raises
    ------
    ValueError
        If the shapes differ or are not (B, 3, H, W), or the border is negative or leaves nothing.

    Notes
    -----
    Luma is that of `xferlib.ops.colour.to_ycbcr` and is not rounded again. It spans 219 of 255 steps, yet the data
    range is 255 by custom, so a grey error scores 1.32 dB better than in RGB. MATLAB's ``rgb2ycbcr`` of bytes rounds
    luma, too, which moves a score by a few hundredths of a dB.
    """
    return psnr(_luma(images, border), _luma(targets, border), data_range=1)


def luma_ssim(images: Tensor, targets: Tensor, border: int) -> Tensor:
    """
    Score enlarged pictures by the structural similarity of luma, without the border.

    Parameters
    ----------
    images, targets : Tensor, shape (B, 3, H, W)
        As for `luma_psnr`.
    border : int
        As for `luma_psnr`.

    Returns
    -------
    Tensor, shape (B,)
        `ssim` of luma with a data range of 255 steps, in [-1, 1]; 1 where the luma of both is equal.

    Raises
    ------
    ValueError
        As for `luma_psnr`, and if less than a window of 11 pixels is left.
    """
    return ssim(_luma(images, border), _luma(targets, border), data_range=1)


@exact
def lab(images: Tensor) -> Tensor:
    """
    Convert sRGB to CIE L*a*b*, where equal distances look about equally far.

    Parameters
    ----------
    images : Tensor, shape (B, 3, H, W)
        RGB in [0, 1]; what lies outside is cut off, for such a colour cannot be shown.

    Returns
    -------
    Tensor, shape (B, 3, H, W)
        Lightness in [0, 100], green to red, blue to yellow, for the white of daylight (D65).

    Raises
    ------
    ValueError
        If the images are not (B, 3, H, W), or no floats.

    References
    ----------
    IEC 61966-2-1 for sRGB; CIE 15, section 8.2.1.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images of shape {tuple(images.shape)}; expected RGB of (B, 3, H, W)")
    check_floats(images)
    rgb = images.clamp(0, 1)
    linear = to_light(rgb)
    xyz = torch.einsum("ij,bjhw->bihw", linear.new_tensor(_TO_XYZ), linear)
    share = xyz / xyz.new_tensor(_WHITE).view(3, 1, 1)
    f = torch.where(share > 0.008856, share.clamp_min(1e-6) ** (1 / 3), 7.787 * share + 16 / 116)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def colour_difference(images: Tensor, targets: Tensor, *, lightness: bool = True) -> Tensor:
    """
    Measure how far apart colours look, pixel by pixel.

    Parameters
    ----------
    images, targets : Tensor, shape (B, 3, H, W)
        RGB in [0, 1].
    lightness : bool
        Whether light and dark count; without, only hue and saturation do.

    Returns
    -------
    Tensor, shape (B, H, W)
        CIE 1976 Delta E: the distance in L*a*b*, or in a*b*. About 2 can just be seen. Where both are equal it has no
        gradient.

    Raises
    ------
    ValueError
        If the shapes differ or are not (B, 3, H, W).
    """
    _check(images, targets)
    first = 0 if lightness else 1
    return (lab(images) - lab(targets))[:, first:].square().sum(1).sqrt()


def chroma(images: Tensor) -> Tensor:
    """
    Measure how colourful pixels are.

    Parameters
    ----------
    images : Tensor, shape (B, 3, H, W)
        RGB in [0, 1].

    Returns
    -------
    Tensor, shape (B, H, W)
        Distance from grey in a*b*; 0 for grey.
    """
    return lab(images)[:, 1:].square().sum(1).sqrt()


def detail(images: Tensor, targets: Tensor, sigma: float = 1.5) -> tuple[Tensor, Tensor]:
    """
    Tell true fine detail from false.

    Detail is what a blur takes away. That of the picture is split into a multiple of the target's and a rest that has
    nothing to do with it: noise, checkerboards, edges where there are none.

    Parameters
    ----------
    images, targets : Tensor, shape (B, C, H, W)
        What was made, and what is true.
    sigma : float
        Standard deviation in pixels of the Gaussian blur.

    Returns
    -------
    kept : Tensor, shape (B,)
        The multiple: 1 if all of the target's detail is there, 0 if none is; nan for a flat target.
    false : Tensor, shape (B,)
        Energy of the rest as a share of the energy of the target's detail; 0 at best, nan for a flat target.

    Raises
    ------
    ValueError
        If the shapes differ or are not (B, C, H, W), or sigma is not above 0.

    Notes
    -----
    The energies add up: that of the picture's detail is ``kept^2 + false`` times that of the target's. A ratio of
    energies alone would take noise for sharpness.
    """
    _check(images, targets)
    found, true = (each - smooth(each, sigma) for each in (images, targets))
    energy = true.square().sum((1, 2, 3))
    energy = energy.masked_fill(energy <= _ROUNDING**2 * math.prod(true.shape[1:]), math.nan)
    kept = (found * true).sum((1, 2, 3)) / energy
    rest = found - kept.view(-1, 1, 1, 1) * true
    return kept, rest.square().sum((1, 2, 3)) / energy


def gradient_error(images: Tensor, targets: Tensor) -> Tensor:
    """
    Measure how wrong the differences of neighbouring pixels are.

    Parameters
    ----------
    images, targets : Tensor, shape (B, C, H, W)
        What was made, and what is true.

    Returns
    -------
    Tensor, shape (B,)
        Mean absolute error of the differences along rows, plus that along columns.

    Raises
    ------
    ValueError
        If the shapes differ or are not (B, C, H, W), or a side has a single pixel.
    """
    _check(images, targets)
    if min(images.shape[-2:]) < 2:
        raise ValueError(f"pictures of {images.shape[-2]}x{images.shape[-1]}; differences take 2 pixels on each side")
    error = images - targets
    return sum(error.diff(dim=axis).abs().mean((1, 2, 3)) for axis in (-1, -2))


def checkerboard(images: Tensor, period: int = 2, sigma: float = 3.0) -> Tensor:
    """
    Measure, place by place, the patterns that repeat every few pixels.

    A deconvolution of stride 2 leaves such patterns with a period of 2 pixels, two in a row also with one of 4. They
    are strong here and weak there, so each place is asked on its own.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
        Pictures.
    period : int
        Period in pixels along rows and columns, 2 or more.
    sigma : float
        Standard deviation in pixels of the Gaussian over which a pattern is sought.

    Returns
    -------
    Tensor, shape (B, H, W)
        Energy of the waves with ``1 / period`` cycles a pixel along rows, along columns, and along both, the mean over
        channels. A checkerboard of amplitude a and period 2 has a^2. Float32 for pictures of half precision.

    Raises
    ------
    ValueError
        If the pictures are not (B, C, H, W), the period is below 2, or sigma is not above 0.

    Notes
    -----
    Pictures have textures of that period too. Compare with the energy of the true picture, or look where it is flat.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016, on where the patterns come from.
    """
    if images.ndim != 4 or period < 2:
        raise ValueError(
            f"images of shape {tuple(images.shape)}, period {period}; expected (B, C, H, W) and at least 2"
        )
    images = wide(images)  # bfloat16 counts pixels to 256
    height, width = images.shape[-2:]
    angle = 2 * math.pi / period
    down = (angle * torch.arange(height, device=images.device, dtype=images.dtype))[:, None]
    along = (angle * torch.arange(width, device=images.device, dtype=images.dtype))[None]
    phases = {"rows": down.expand(height, width), "columns": along.expand(height, width), "both": down + along}
    if period > 2:
        phases["crossed"] = down - along
    even = images - smooth(images, sigma)  # else the mean would leak in at the border
    energy = 0.0
    for phase in phases.values():
        parts = [smooth(even * wave, sigma).square() for wave in (phase.cos(), phase.sin())]
        # Half the amplitude of a wave goes to its negative frequency; with a period of 2 the two are one.
        energy = energy + sum(parts) * (1 if period == 2 else 2)
    return energy.mean(1)


@exact
def smooth(images: Tensor, sigma: float) -> Tensor:
    """
    Blur pictures with a Gaussian; beyond the border the last row and column go on.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
        Pictures.
    sigma : float
        Standard deviation in pixels, above 0; the kernel ends after four of them.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        The blurred pictures.

    Raises
    ------
    ValueError
        If sigma is not above 0.
    """
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}; it must be above 0")
    reach = int(4 * sigma + 0.5)
    padded = F.pad(images, [reach] * 4, mode="replicate")
    return _convolved(padded, _gaussian(sigma, reach, images))


def _luma(images: Tensor, border: int) -> Tensor:
    check_floats(images)
    luma = to_ycbcr(to_bytes(wide(images)))[:, :1]
    height, width = luma.shape[-2:]
    if border < 0 or 2 * border >= min(height, width):
        raise ValueError(f"a border of {border} pixels of {height}x{width}; it must leave some picture, 0 leaves all")
    return luma[..., border : height - border, border : width - border]


def _gaussian(sigma: float, reach: int, like: Tensor) -> Tensor:
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=like.device, dtype=like.dtype) / sigma).square())
    return line / line.sum()


def _convolved(images: Tensor, line: Tensor) -> Tensor:
    """Convolve each channel with a line along both axes, where it lies in the picture."""
    count = images.shape[1]
    across, down = (line.view(shape).expand(count, -1, -1, -1) for shape in ((1, 1, 1, -1), (1, 1, -1, 1)))
    return F.conv2d(F.conv2d(images, across, groups=count), down, groups=count)


def _check(images: Tensor, targets: Tensor, data_range: float = 1.0) -> None:
    if images.ndim != 4 or images.shape != targets.shape:
        shapes = f"{tuple(images.shape)} and {tuple(targets.shape)}"
        raise ValueError(f"images and targets of shape {shapes}; expected (B, C, H, W) twice, so one picture is [None]")
    if not data_range > 0:
        raise ValueError(f"data range {data_range} is not above 0; it is 1 for pictures in [0, 1]")
    check_floats(images)
    check_floats(targets)
