"""Accepting the right person and not the wrong one."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from xferlib.metrics.verification import redrawn, threshold, true_accepts


def scored(persons=12, draws=3, signal=1.0):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(draws * persons, persons, generator=generator)
    return scores + signal * torch.eye(persons).repeat(draws, 1)


def test_the_threshold_lets_the_asked_share_pass_and_no_more():
    impostors = torch.arange(100.0)[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    for share, passing in ((0.0, 0), (0.01, 1), (0.019, 1), (0.05, 5), (0.29, 29)):
        assert (impostors > threshold(impostors, share)).sum() == passing
    ties = torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert (ties > threshold(ties, 0.25)).sum() == 0  # three pass together or none; one was allowed


def test_true_accepts_by_hand():
    # Two persons, two probes of each. Strangers score 0.1, 0.9, 0.2, 0.3; at 25 % one of them may pass.
    scores = torch.tensor([[0.8, 0.1], [0.9, 0.4], [0.3, 0.2], [0.3, 0.2]])
    assert true_accepts(scores, 0.25) == 0.5  # the threshold is 0.3: 0.8 and 0.4 pass, 0.3 and 0.2 do not
    assert true_accepts(scores, 0.0) == 0.0


def test_true_accepts_against_scikit_learn():
    scores = scored(signal=2.0)
    own = np.tile(np.eye(12, dtype=bool), (3, 1))
    false, true, _ = roc_curve(own.ravel(), scores.numpy().ravel(), drop_intermediate=False)
    for share in (0.01, 0.05, 0.2):
        assert true_accepts(scores, share) == pytest.approx(true[false <= share].max())


def test_perfect_and_chance():
    assert true_accepts(scored(signal=100.0)) == 1
    assert abs(true_accepts(scored(persons=60, draws=4, signal=0.0), 0.2) - 0.2) < 0.08


def test_redrawing_persons_brackets_the_rate_and_pairs_alike():
    scores = scored(persons=40, signal=2.0)
    rates = redrawn(scores, 0.05, draws=300)
    low, high = rates.quantile(torch.tensor([0.025, 0.975])).tolist()
    assert low < true_accepts(scores, 0.05) < high and 0.05 < high - low < 0.5
    assert torch.equal(rates, redrawn(scores, 0.05, draws=300))
    assert not torch.equal(rates, redrawn(scores, 0.05, draws=300, seed=1))
    # Any rising change of the scores changes nothing, draw by draw: the persons drawn are the same.
    assert torch.equal(rates, redrawn(scores.exp(), 0.05, draws=300))


def test_a_person_drawn_twice_is_no_stranger_to_itself():
    assert (redrawn(scored(persons=8, signal=100.0), 0.0, draws=100) == 1).all()


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"shape \(5, 2\); expected \(P, G\), P a multiple of G"):
        true_accepts(torch.rand(5, 2))
    with pytest.raises(ValueError, match="G at least 2"):
        true_accepts(torch.rand(5, 1))
    with pytest.raises(ValueError, match=r"share 1.0; expected \(N,\) and \[0, 1\)"):
        threshold(torch.rand(4), 1.0)
    with pytest.raises(ValueError, match="0 draws"):
        redrawn(torch.rand(4, 4), draws=0)


@pytest.mark.parametrize("place", [(1, 1), (3, 0)])
def test_a_score_that_is_no_number_is_named(place):
    scores = torch.rand(4, 2)
    scores[place] = torch.nan
    for measure in (true_accepts, redrawn):
        with pytest.raises(ValueError, match=rf"score \({place[0]}, {place[1]}\) is nan; what made it has failed"):
            measure(scores)
    with pytest.raises(ValueError, match=r"score \(2,\) is nan"):
        threshold(torch.tensor([0.1, 0.2, torch.nan]), 0.5)


def test_of_two_persons_some_strangers_are_left_in_every_draw():
    scores = torch.tensor([[0.8, 0.1], [0.2, 0.9]])
    assert redrawn(scores, 0.0, draws=200).tolist() == [1.0] * 200
