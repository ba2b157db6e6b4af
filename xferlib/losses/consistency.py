"""Losses that need no label: what a net says of a changed picture, held against what was said of the plain one."""

import torch
import torch.nn.functional as F
from torch import Tensor

VOID = 255


def pseudo_labels(logits: Tensor, confidence: float = 0.9) -> Tensor:
    """
    Take what a net is sure of for labels.

    Parameters
    ----------
    logits : Tensor, shape (B, C, H, W)
        Class scores.
    confidence : float
        Least probability of the likeliest class, in [0, 1].

    Returns
    -------
    Tensor, shape (B, H, W), int64
        The likeliest class of each pixel, or void, 255, where its probability is lower.

    Raises
    ------
    ValueError
        If the confidence is not in [0, 1].

    References
    ----------
    Lee, "Pseudo-Label", ICML Workshop on Challenges in Representation Learning, 2013.
    """
    if not 0 <= confidence <= 1:
        raise ValueError(f"confidence {confidence} is not a probability; give a number in [0, 1]")
    probability, labels = logits.detach().softmax(1).max(1)
    return labels.where(probability >= confidence, VOID)


def consistency(logits: Tensor, guess: Tensor, confidence: float = 0.0) -> Tensor:
    """
    Hold two sets of class probabilities against each other: squared differences, summed over the classes.

    Parameters
    ----------
    logits : Tensor, shape (B, C, H, W)
        Class scores of the net that learns.
    guess : Tensor, shape (B, C, H, W)
        Those of the net that it follows; they get no gradient.
    confidence : float
        The loss is scaled by the share of pixels at which the guess gives a class at least this probability, so
        that a teacher that knows nothing yet is hardly heard. 0 leaves the loss as it is.

    Returns
    -------
    Tensor
        Scalar in [0, 2], the mean over the pixels.

    Raises
    ------
    ValueError
        If the shapes differ, or the confidence is not in [0, 1].

    References
    ----------
    Tarvainen, Valpola, "Mean teachers are better role models", NIPS 2017, section 2; the scale as in French et
    al., "Semi-supervised semantic segmentation needs strong, varied perturbations", BMVC 2020, section 3.
    """
    if logits.shape != guess.shape:
        raise ValueError(f"logits of shape {tuple(logits.shape)} and a guess of {tuple(guess.shape)} do not match")
    if not 0 <= confidence <= 1:
        raise ValueError(f"confidence {confidence} is not a probability; give a number in [0, 1]")
    target = guess.detach().softmax(1)
    sure = (target.amax(1) >= confidence).float().mean()
    return sure * F.mse_loss(logits.softmax(1), target, reduction="none").sum(1).mean()


def info_nce(one: Tensor, other: Tensor, temperature: float = 0.1) -> Tensor:
    """
    Ask of each feature which of the others belongs to it, by cross-entropy over their similarities.

    Parameters
    ----------
    one, other : Tensor, shape (N, D)
        Features; row i of both shows the same thing, every other row another one. They are scaled to length one.
    temperature : float
        Divides the similarities; above 0. The lower, the more only the nearest wrong rows count.

    Returns
    -------
    Tensor
        Scalar, the mean over both directions: log N where nothing is told apart, 0 at best.

    Raises
    ------
    ValueError
        If the shapes differ or are not (N, D), or the temperature is not positive.

    References
    ----------
    van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, equation 4.
    """
    if one.ndim != 2 or one.shape != other.shape:
        raise ValueError(f"features of shape {tuple(one.shape)} and {tuple(other.shape)}; expected (N, D) twice")
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} is not positive; 0.1 is usual")
    similarity = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T / temperature
    truth = torch.arange(len(one), device=one.device)
    return (F.cross_entropy(similarity, truth) + F.cross_entropy(similarity.T, truth)) / 2
