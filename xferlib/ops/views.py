"""Averaging what a net says over several ways to mirror and turn a picture."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

Views = Literal[1, 2, 8]


def average_views(predict: Callable[[Tensor], Tensor], image: Tensor, views: Views) -> Tensor:
    """
    Average predictions over views of a picture, each turned back.

    Parameters
    ----------
    predict : callable
        Takes (C, H, W) or (C, W, H), gives (K, s * H, s * W) or the like: probabilities, or a picture.
    image : Tensor, shape (C, H, W)
        The picture.
    views : {1, 2, 8}
        1 is the picture as it is; 2 also its mirror image, left for right; 8 all ways to turn it by quarters and
        mirror it, for pictures that have no upright, such as those of a microscope.

    Returns
    -------
    Tensor, shape (K, s * H, s * W)
        The mean.

    Raises
    ------
    ValueError
        If there is no such number of views.

    References
    ----------
    Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015, table 1,
    average seven rotated versions. Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution",
    CVPRW 2017, section 3.4, average eight.
    """
    if views not in (1, 2, 8):
        raise ValueError(f"{views} views; there are 1, 2 with the mirror image, or 8 turned and mirrored ones")
    total = None
    for quarters in range(4 if views == 8 else 1):
        turned = image.rot90(quarters, (-2, -1))
        for mirrored in (False, True)[: min(views, 2)]:
            made = predict(turned.flip(-1) if mirrored else turned)
            made = (made.flip(-1) if mirrored else made).rot90(-quarters, (-2, -1))
            total = made if total is None else total + made
    return total / views
