"""Verification: whether two pictures show the same person, judged by the score of the pair."""

import torch
from torch import Generator, Tensor


def threshold(impostors: Tensor, false_accepts: float) -> float:
    """
    Find the lowest score to ask for, so that few pairs of strangers pass.

    Parameters
    ----------
    impostors : Tensor, shape (N,)
        Scores of pairs of strangers; higher is more alike.
    false_accepts : float
        Largest share of them that may pass, in [0, 1).

    Returns
    -------
    float
        A pair passes if its score is above this. It is the score of a stranger: with N pairs the share can only be a
        multiple of 1 / N, and is rounded down.

    Raises
    ------
    ValueError
        If there is no score, one is nan, or the share is outside [0, 1).
    """
    if impostors.ndim != 1 or not len(impostors) or not 0 <= false_accepts < 1:
        raise ValueError(
            f"scores of shape {tuple(impostors.shape)} and share {false_accepts}; expected (N,) and [0, 1)"
        )
    _check_numbers(impostors)
    passing = int(false_accepts * len(impostors) + 1e-9)
    return impostors.sort(descending=True).values[passing].item()


def true_accepts(scores: Tensor, false_accepts: float = 0.01) -> float:
    """
    Measure the true accept rate at a fixed false accept rate.

    Parameters
    ----------
    scores : Tensor, shape (P, G)
        Likeness of each probe to each picture of the gallery; probe i shows person ``i % G`` of it.
    false_accepts : float
        Share of the pairs of strangers that may pass.

    Returns
    -------
    float
        Share of the probes that pass as the person they show.

    Raises
    ------
    ValueError
        If the probes are not a multiple of the gallery, the gallery has fewer than two pictures, or a score is nan.
    """
    own, others = _pairs(scores)
    return (own > threshold(others, false_accepts)).float().mean().item()


def redrawn(scores: Tensor, false_accepts: float = 0.01, *, draws: int = 1000, seed: int = 0) -> Tensor:
    """
    Measure the true accept rate again and again, as if other persons had been drawn: the bootstrap.

    Parameters
    ----------
    scores : Tensor, shape (P, G)
        As for `true_accepts`.
    false_accepts : float
        Share of the pairs of strangers that may pass.
    draws : int
        How often the G persons are drawn anew, with replacement, gallery and probes of a person together. Where all
        are the same one, who has no stranger, that draw is made again.
    seed : int
        Seed of the draws. Of one seed, draw i has the same persons for any scores of this gallery, so that rates may be
        subtracted draw by draw.

    Returns
    -------
    Tensor, shape (draws,)
        The rates; their quantiles .025 and .975 bound an interval of 95 %.

    Raises
    ------
    ValueError
        If the scores are not those of `true_accepts`, or there is no draw.

    References
    ----------
    Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 1979.
    """
    if draws < 1:
        raise ValueError(f"{draws} draws; at least one")
    _pairs(scores)
    persons, generator = scores.shape[1], Generator().manual_seed(seed)
    table, rates = scores.view(-1, persons, persons), []
    for _ in range(draws):
        chosen = _draw(persons, generator)
        drawn = table[:, chosen][:, :, chosen]
        strangers = chosen[:, None] != chosen[None]  # a person drawn twice is no stranger to itself
        least = threshold(drawn[:, strangers].flatten(), false_accepts)
        rates.append((drawn.diagonal(dim1=1, dim2=2) > least).float().mean())
    return torch.stack(rates)


def _draw(persons: int, generator: Generator) -> Tensor:
    while True:
        chosen = torch.randint(persons, (persons,), generator=generator)
        if (chosen != chosen[0]).any():
            return chosen


def _pairs(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Part scores into those of probes with themselves, (P,), and with strangers, (P * (G - 1),)."""
    if scores.ndim != 2 or scores.shape[1] < 2 or len(scores) == 0 or len(scores) % scores.shape[1]:
        raise ValueError(f"scores of shape {tuple(scores.shape)}; expected (P, G), P a multiple of G, and G at least 2")
    _check_numbers(scores)
    gallery = scores.shape[1]
    own = torch.arange(len(scores))[:, None] % gallery == torch.arange(gallery)[None]
    return scores[own], scores[~own]


def _check_numbers(scores: Tensor) -> None:
    if scores.isnan().any():
        place = tuple(scores.isnan().nonzero()[0].tolist())
        raise ValueError(f"score {place} is nan; what made it has failed, and every pair needs a number")
