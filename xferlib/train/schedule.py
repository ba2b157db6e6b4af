"""Learning-rate schedules: the factor on the learning rate as a function of the fraction of the run done."""

import math


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
