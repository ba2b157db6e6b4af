"""Learning-rate schedules: the factor on the learning rate as a function of the fraction of the run done."""

import math
from bisect import bisect_right
from collections.abc import Sequence


def constant(fraction: float) -> float:
    """
    Keep the learning rate.

    Parameters
    ----------
    fraction : float
        Share of the run done, in [0, 1).

    Returns
    -------
    float
        1.
    """
    return 1.0


def cosine(fraction: float) -> float:
    """
    Half a cosine, from 1 to 0.

    Parameters
    ----------
    fraction : float
        Share of the run done, in [0, 1).

    Returns
    -------
    float
        Factor in (0, 1].

    References
    ----------
    Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, equation 5.
    """
    return (1 + math.cos(math.pi * fraction)) / 2


def restarts(fraction: float, *, rises: Sequence[int], steps: int, again: float, warmup: int) -> float:
    """
    Several cosines, one after the other.

    Parameters
    ----------
    fraction : float
        Share of the run done, in [0, 1).
    rises : sequence of int
        Steps after which the learning rate rises again, in order.
    steps : int
        Steps of the whole run.
    again : float
        Factor with which every cosine but the first begins.
    warmup : int
        Steps over which each of those rises linearly to what its cosine says.

    Returns
    -------
    float
        Factor in [0, 1].

    Raises
    ------
    ValueError
        If the rises are not in order, or not within the run.

    References
    ----------
    Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.
    """
    if list(rises) != sorted({*rises}) or not all(0 < rise < steps for rise in rises):
        raise ValueError(f"the rises {tuple(rises)} do not follow each other within {steps} steps")
    step, bounds = round(fraction * steps, 6), (0, *rises, steps)  # 0.29 * 100 is a little less than 29
    part = bisect_right(rises, step)
    start, end = bounds[part : part + 2]
    factor = cosine((step - start) / (end - start))
    return again * min(1, (step - start + 1) / max(warmup, 1)) * factor if part else factor


def poly(fraction: float) -> float:
    """
    The "poly" policy of segmentation papers, from 1 to 0.

    Parameters
    ----------
    fraction : float
        Share of the run done, in [0, 1).

    Returns
    -------
    float
        Factor (1 - fraction) ** 0.9.

    References
    ----------
    Chen et al., "DeepLab", TPAMI 2018, section 4.1.
    """
    return (1 - fraction) ** 0.9
