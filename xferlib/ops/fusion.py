"""Exposure fusion: one picture from several exposures, each taken where it shows most."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from xferlib.ops._halves import wide
from xferlib.ops.colour import LUMA
from xferlib.ops.pyramid import collapse, count, expand, gaussian, laplacian, mirrored, reduce

_LEAST = 1e-12  # where all exposures are flat or grey, they are averaged
_SMALL = 2**15
"""Pixels of maps that are blended for all exposures at once; larger ones one by one, or they would leave the cache."""


def quality(image: Tensor, contrast: float = 1.0, saturation: float = 1.0, exposedness: float = 1.0) -> Tensor:
    """
    Judge each pixel of an exposure: is there contrast, is there colour, is it neither too dark nor too bright.

    Parameters
    ----------
    image : Tensor, shape (C, H, W) or (B, C, H, W)
        Grey or RGB, in [0, 1].
    contrast : float
        Exponent of the first measure, the absolute value of the Laplacian of the grey picture, at least 0.
    saturation : float
        Exponent of the second, the standard deviation of the three channels. A picture of one channel goes without
        it; a grey one of three has none, and so no quality: pass one channel of it.
    exposedness : float
        Exponent of the third, the product over channels of ``exp(-(x - 0.5)^2 / (2 * 0.2^2))``.

    Returns
    -------
    Tensor, shape (1, H, W) or (B, 1, H, W)
        The product of the three. With an exponent of 0 a measure does not count. Float32 for half precision.

    Raises
    ------
    ValueError
        If an exponent is negative, or the image is not of that kind.

    References
    ----------
    Mertens, Kautz, Van Reeth, "Exposure Fusion", Pacific Graphics 2007, section 3.1.
    """
    _check([image])
    if not all(exponent >= 0 for exponent in (contrast, saturation, exposedness)):
        raise ValueError(
            f"exponents {contrast} of contrast, {saturation} of saturation, {exposedness} of exposedness; "
            "each must be at least 0, which leaves its measure out"
        )
    image = wide(image)
    found = _power(_laplacian(_grey(image)).abs_(), contrast) * _power(_middle(image), exposedness)
    if image.shape[-3] == 3:
        found = found * _power(_deviation(image), saturation)
    return found


def weigh(
    stack: Tensor | Sequence[Tensor], contrast: float = 1.0, saturation: float = 1.0, exposedness: float = 1.0
) -> Tensor:
    """
    Give each exposure its share of each pixel, by its quality there.

    Parameters
    ----------
    stack : Tensor or sequence of Tensor
        N exposures of one shape, (C, H, W) or (B, C, H, W), in [0, 1].
    contrast, saturation, exposedness : float
        Exponents of the measures, as `quality` takes them.

    Returns
    -------
    Tensor, shape (N, 1, H, W) or (N, B, 1, H, W)
        Shares that sum to 1 over the exposures; even ones where no exposure has any quality. Float32 for half
        precision.

    Raises
    ------
    ValueError
        If there is no exposure, the exposures differ in shape, or `quality` refuses one.

    References
    ----------
    Mertens et al. 2007, section 3.1.
    """
    _check(stack)
    shares = torch.stack([quality(image, contrast, saturation, exposedness) for image in stack]).add_(_LEAST)
    return shares.div_(shares.sum(0))


def blend(stack: Tensor | Sequence[Tensor], weights: Tensor | Sequence[Tensor], levels: int | None = None) -> Tensor:
    """
    Average exposures scale by scale: the finer the detail, the sharper the seams of the weights may be.

    Parameters
    ----------
    stack : Tensor or sequence of Tensor
        N exposures of one shape, (C, H, W) or (B, C, H, W).
    weights : Tensor or sequence of Tensor
        Share of each exposure, (1, H, W) or (B, 1, H, W), as `weigh` gives them.
    levels : int, optional
        How often the resolution is halved; as often as `xferlib.ops.pyramid.depth` says unless given. With 0 the
        pixels are averaged as they are.

    Returns
    -------
    Tensor, shape of one exposure
        The sum over exposures of each one's Laplacian pyramid times the Gaussian pyramid of its weights, collapsed.

    Raises
    ------
    ValueError
        If there is no exposure, the exposures differ in shape or in number from their weights, or the pyramid has no
        such levels.

    References
    ----------
    Mertens et al. 2007, section 3.2; Burt, Adelson, "A Multiresolution Spline with Application to Image Mosaics",
    ACM Transactions on Graphics 1983.
    """
    _check(stack)
    if len(stack) != len(weights) or any(each.shape[-2:] != stack[0].shape[-2:] for each in weights):
        shapes = sorted({tuple(each.shape) for each in weights})
        raise ValueError(
            f"{len(weights)} weights of {shapes} for {len(stack)} exposures of {tuple(stack[0].shape)}; "
            "expected one for each exposure, of its height and width"
        )
    images = [wide(image).reshape(-1, *image.shape[-3:]) for image in stack]
    shares = [wide(weight).expand(len(images[0]), *weight.shape[-3:]) for weight in weights]
    levels, maps = count(images[0].shape[-2:], levels), []
    while levels and images[0][0, 0].numel() > _SMALL:
        coarse = [reduce(image) for image in images]
        size = images[0].shape[-2:]
        details = (image - expand(below, size) for image, below in zip(images, coarse, strict=True))
        maps.append(_weighted(details, shares))
        images, shares, levels = coarse, [reduce(share) for share in shares], levels - 1
    rest = zip(laplacian(torch.cat(images), levels), gaussian(torch.cat(shares), levels), strict=True)
    maps += [(detail * share).unflatten(0, (len(stack), -1)).sum(0) for detail, share in rest]
    return collapse(maps).view(stack[0].shape).to(torch.result_type(stack[0], weights[0]))


def _weighted(images: Iterable[Tensor], shares: Sequence[Tensor]) -> Tensor:
    """Average pictures without holding more than one of them."""
    pairs = zip(images, shares, strict=True)
    image, share = next(pairs)
    total = image * share
    for image, share in pairs:
        total.addcmul_(image, share)
    return total


def fuse_exposures(
    stack: Tensor | Sequence[Tensor],
    contrast: float = 1.0,
    saturation: float = 1.0,
    exposedness: float = 1.0,
    levels: int | None = None,
) -> Tensor:
    """
    Fuse exposures of one scene into one picture, without making a picture of high dynamic range first.

    Parameters
    ----------
    stack : Tensor or sequence of Tensor
        N exposures of one shape, (C, H, W) or (B, C, H, W), grey or RGB in [0, 1], in any order. Gradients pass where
        the measures have one: not at grey pixels with saturation.
    contrast, saturation, exposedness : float
        Exponents of the three measures, as `quality` takes them.
    levels : int, optional
        How often the resolution is halved, as `blend` takes it.

    Returns
    -------
    Tensor, shape of one exposure
        The fused picture. It may leave [0, 1], by 0.3 in a stack from -3 to 3 stops; the caller cuts it off. One
        exposure, or several that are the same, come back as they are.

    Raises
    ------
    ValueError
        If there is no exposure, or they differ in shape, have an alpha channel or are not floating point.

    Notes
    -----
    OpenCV's ``createMergeMertens`` gives the same within rounding, when called with bytes in the order RGB and an
    exposure weight of 1. Its defaults differ from the paper: the exposure weight is 0, so well-exposedness does not
    count; and the grey picture of what ``imread`` gives, BGR, takes red for blue. It takes the root of the sum of
    squared deviations for the standard deviation, which cancels in the shares. Where every exposure is flat or grey,
    its shares follow rounding errors; here these measures are exactly 0, and the exposures are averaged.

    References
    ----------
    Mertens, Kautz, Van Reeth, "Exposure Fusion", Pacific Graphics 2007.
    """
    return blend(stack, weigh(stack, contrast, saturation, exposedness), levels).to(stack[0].dtype)


def _power(measure: Tensor, exponent: float) -> Tensor:
    return measure if exponent == 1 else measure.pow(exponent)


def _grey(image: Tensor) -> Tensor:
    if image.shape[-3] == 1:
        return image
    red, green, blue = image.split(1, -3)
    return (LUMA[0] * red).add_(LUMA[1] * green).add_(LUMA[2] * blue)  # the same numbers in each place, unlike alpha


def _laplacian(grey: Tensor) -> Tensor:
    """Sum the differences to the four neighbours; beyond the border the picture is mirrored."""
    x = mirrored(grey, 1)
    across, down = x[..., 1:-1, :-2] + x[..., 1:-1, 2:], x[..., :-2, 1:-1] + x[..., 2:, 1:-1]
    return across.add_(down).sub_(grey, alpha=4)  # in this order exactly 0 where the picture is flat


def _middle(image: Tensor) -> Tensor:
    first, *others = (image - 0.5).split(1, -3)
    total = first * first
    for channel in others:
        total.addcmul_(channel, channel)
    return total.div_(-2 * 0.2**2).exp_()


def _deviation(image: Tensor) -> Tensor:
    """Take the standard deviation of three channels by their differences, so that it is exactly 0 for grey."""
    red, green, blue = image.split(1, -3)
    one, other = red - green, green - blue
    # The third difference is their sum, and (a^2 + b^2 + (a + b)^2) / 9 = 2/9 (a^2 + b (a + b)).
    return torch.addcmul(one * one, other, one + other).mul_(2 / 9).sqrt_()


def _check(stack: Tensor | Sequence[Tensor]) -> None:
    if len(stack) == 0:
        raise ValueError("a stack of no exposures; one is the least")
    shape = tuple(stack[0].shape)
    for number, image in enumerate(stack):
        if tuple(image.shape) != shape:
            raise ValueError(
                f"exposure {number} has shape {tuple(image.shape)}, exposure 0 {shape}; "
                "align and crop them to one size first"
            )
    if len(shape) not in (3, 4) or not stack[0].is_floating_point():
        raise ValueError(
            f"exposures of shape {shape} and {stack[0].dtype}; expected (C, H, W) or (B, C, H, W), floating point "
            "in [0, 1]"
        )
    if shape[-3] not in (1, 3):
        alpha = "; is the last one alpha? Drop it with x[..., :-1, :, :]" if shape[-3] in (2, 4) else ""
        raise ValueError(f"exposures of {shape[-3]} channels; expected 1 or 3{alpha}")
