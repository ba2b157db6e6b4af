"""Making a picture worse by known means, so that the truth is known: fewer pixels, and values rounded to bytes."""

from torch import Tensor

from xferlib.ops._halves import check_floats
from xferlib.ops.resample import resize_bicubic


def modcrop(images: Tensor, factor: int) -> Tensor:
    """
    Cut off, at the right and below, the pixels that a factor leaves over.

    Parameters
    ----------
    images : Tensor, shape (..., H, W)
        Pictures.
    factor : int
        What shall divide both sides, at least 1.

    Returns
    -------
    Tensor, shape (..., h, w)
        A view of the pictures with the largest multiples of the factor as sides.

    Raises
    ------
    ValueError
        If the factor is below 1, or the pictures are smaller than it.
    """
    factor = _whole(factor)
    height, width = (side // factor * factor for side in images.shape[-2:])
    if not height * width:
        raise ValueError(
            f"pictures of {images.shape[-2]}x{images.shape[-1]} are smaller than the factor {factor}: nothing is left. "
            "Take a larger picture or a smaller factor"
        )
    return images[..., :height, :width]


def downscale(images: Tensor, factor: int) -> Tensor:
    """
    Make pictures smaller by a whole factor, as the small pictures of papers on super-resolution are made.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
        Pictures, floating point, whose sides the factor divides.
    factor : int
        At least 1.

    Returns
    -------
    Tensor, shape (B, C, H / factor, W / factor)
        The pictures by `resize_bicubic`, neither clamped nor rounded; a small file would hold them after `to_bytes`.

    Raises
    ------
    ValueError
        If the factor is below 1 or does not divide a side, or `resize_bicubic` refuses the images.
    """
    factor, (height, width) = _whole(factor), images.shape[-2:]
    if height % factor or width % factor:
        raise ValueError(
            f"the factor {factor} does not divide {height}x{width}; modcrop(images, {factor}) cuts the rest off"
        )
    return resize_bicubic(images, (height // factor, width // factor))


def upscale(images: Tensor, factor: int) -> Tensor:
    """
    Make pictures larger by a whole factor without a net: the answer that a net has to beat.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
        Pictures, floating point.
    factor : int
        At least 1.

    Returns
    -------
    Tensor, shape (B, C, factor * H, factor * W)
        The pictures by `resize_bicubic`, not clamped.

    Raises
    ------
    ValueError
        If the factor is below 1, or `resize_bicubic` refuses the images.
    """
    factor, (height, width) = _whole(factor), images.shape[-2:]
    return resize_bicubic(images, (factor * height, factor * width))


def to_bytes(images: Tensor) -> Tensor:
    """
    Round pictures to the 256 values that a byte can hold, as a file or a screen does.

    Parameters
    ----------
    images : Tensor
        Values in [0, 1]; what lies outside is cut off.

    Returns
    -------
    Tensor, shape of ``images``
        Multiples of 1/255 in [0, 1], in the images' own type.

    Raises
    ------
    ValueError
        If the images are no floats.
    """
    check_floats(images)
    return (255 * images.clamp(0, 1)).round() / 255


def _whole(factor: int) -> int:
    if factor < 1 or factor % 1:
        raise ValueError(f"factor {factor} is not a whole number of at least 1")
    return int(factor)
