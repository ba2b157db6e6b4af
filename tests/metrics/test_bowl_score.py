"""The Data Science Bowl's score: by hand, against all pairs compared in fractions, and unmoved by numbers."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import tensor

from xferlib.metrics.instances import bowl_score, bowl_scores, match

TWO = tensor([[1, 1, 0, 2, 2]] * 2)
MERGED = tensor([[1, 1, 1, 1, 1]] * 2)
NOTHING = torch.zeros(2, 5, dtype=torch.int64)
THRESHOLDS = [Fraction(k, 20) for k in range(10, 20)]

maps = arrays.arrays(np.int64, (5, 6), elements=st.integers(0, 4)).map(torch.from_numpy)


def row(*lengths):
    """A map of one row of 20 pixels an object, of which the first so many are its own."""
    return torch.cat([(torch.arange(20) < n) * i for i, n in enumerate(lengths, start=1)])[None]


def all_pairs(prediction, truth):
    """Give the score at each threshold, from every two masks compared."""
    found, true = ([m == k for k in m.unique() if k > 0] for m in (prediction, truth))
    overlaps = [Fraction(int((a & b).sum()), int((a | b).sum())) for a in found for b in true]
    if not found and not true:
        return [Fraction(1)] * 10
    hits = [sum(overlap > t for overlap in overlaps) for t in THRESHOLDS]
    return [Fraction(n, len(found) + len(true) - n) for n in hits]


def test_the_same_and_nothing():
    assert bowl_score(TWO, TWO) == bowl_score(MERGED, MERGED) == 1
    assert bowl_score(NOTHING, TWO) == bowl_score(TWO, NOTHING) == 0
    assert bowl_score(NOTHING, NOTHING) == 1


@pytest.mark.parametrize(("pixels", "passed"), [(9, 0), (10, 0), (11, 1), (12, 2), (13, 3), (15, 5), (19, 9), (20, 10)])
def test_an_overlap_has_to_exceed_the_threshold(pixels, passed):
    assert bowl_score(row(pixels), row(20)) == bowl_score(row(20), row(pixels)) == passed / 10


def test_misses_and_false_alarms_by_hand():
    # Overlaps of 1 and 13/20: both up to .60, one of three objects' union above.
    assert bowl_score(row(20, 13), row(20, 20)) == pytest.approx((3 * 1 + 7 / 3) / 10)
    assert bowl_score(row(20, 20, 20), row(20, 0, 0)) == pytest.approx(1 / 3)
    assert bowl_score(row(20, 0, 0), row(20, 20, 20)) == pytest.approx(1 / 3)
    # Each half of a split object overlaps it by 1/2, which is not above 1/2.
    assert bowl_score(tensor([[1] * 10 + [2] * 10]), tensor([[1] * 20])) == 0


@given(maps, maps)
@settings(max_examples=80, deadline=None)
def test_agrees_with_all_pairs_compared(prediction, truth):
    shares = all_pairs(prediction, truth)
    assert bowl_score(prediction, truth) == pytest.approx(float(sum(shares) / 10))
    assert bowl_scores([prediction], [truth])["at .5"] == pytest.approx(float(shares[0]))


@given(maps, st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_agrees_where_prediction_and_truth_are_close(truth, seed):
    truth = truth.repeat_interleave(5, 0).repeat_interleave(5, 1)
    noise = np.random.default_rng(seed)
    prediction = torch.where(torch.from_numpy(noise.random(truth.shape) < 0.2), 0, truth)
    assert bowl_score(prediction, truth) == pytest.approx(float(sum(all_pairs(prediction, truth)) / 10))


@given(maps, maps, st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_numbers_and_sides_do_not_matter(prediction, truth, seed):
    numbers = torch.randperm(1000, generator=torch.Generator().manual_seed(seed)) + 2**40
    numbers[0] = 0
    expected = bowl_score(prediction, truth)
    assert bowl_score(numbers[prediction], numbers.flip(0)[:5].where(torch.arange(5) > 0, 0)[truth]) == expected
    assert bowl_score(truth, prediction) == expected
    assert bowl_score(prediction.T, truth.T) == expected


@given(maps, maps)
@settings(max_examples=40, deadline=None)
def test_at_a_half_it_counts_the_matches(prediction, truth):
    found = match(prediction, truth)
    everything = found.true_positives + found.false_positives + found.false_negatives
    expected = found.true_positives / everything if everything else 1
    assert bowl_scores([prediction], [truth])["at .5"] == pytest.approx(expected)


def test_the_mean_over_images():
    images = [(row(13), row(20)), (TWO, TWO), (NOTHING, NOTHING), (MERGED, TWO)]
    scores = bowl_scores(*zip(*images, strict=True))
    assert scores == pytest.approx({"score": (0.3 + 1 + 1 + 0) / 4, "at .5": 3 / 4})
    assert scores["score"] == pytest.approx(sum(bowl_score(*image) for image in images) / 4)
    assert list(scores) == ["score", "at .5"] and all(type(value) is float for value in scores.values())


def test_hundreds_of_objects():
    # 25 by 25 cells of 8 by 8 pixels: a quarter whole, a quarter 7 columns of 8, a quarter half, a quarter missed.
    cells = torch.arange(1, 626).view(25, 25).repeat_interleave(8, 0).repeat_interleave(8, 1)
    kept = torch.tensor([8, 7, 4, 0])[(cells - 1) % 4]
    found = torch.where(torch.arange(200) % 8 < kept, cells, 0)
    whole, most, half, missed = 157, 156, 156, 156
    loose, strict = whole + most, whole
    everything = 625 + whole + most + half
    expected = (8 * loose / (everything - loose) + 2 * strict / (everything - strict)) / 10  # 7/8 exceeds .85, not .90
    assert missed == 625 - whole - most - half
    assert bowl_score(found, cells) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_small_integers_count_as_far(dtype):
    truth = torch.arange(1, 251).repeat(40, 1)
    assert bowl_score(truth.to(dtype), truth.to(dtype)) == 1


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (TWO, TWO[:1], r"shapes \(2, 5\) and \(1, 5\)"),
        (TWO[None], TWO[None], r"prediction of shape \(1, 2, 5\); expected \(H, W\)"),
        (TWO, TWO.float(), "truth is torch.float32; expected integers"),
        (TWO > 0, TWO, r"prediction is torch.bool; .* components\(mask\)"),
        (TWO, TWO - 1, "truth has the number -1"),
    ],
)
def test_bad_maps(prediction, truth, message):
    with pytest.raises(ValueError, match=message):
        bowl_score(prediction, truth)
    with pytest.raises(ValueError, match=message):
        bowl_scores([prediction], [truth])


@pytest.mark.parametrize(("predictions", "truths"), [([TWO], [TWO, TWO]), ([], [])])
def test_as_many_predictions_as_truths(predictions, truths):
    with pytest.raises(ValueError, match=f"{len(predictions)} predictions for {len(truths)} truths"):
        bowl_scores(predictions, truths)


def test_nothing_is_changed_in_place():
    prediction, truth = MERGED.clone(), TWO.clone()
    bowl_scores([prediction], [truth])
    assert torch.equal(prediction, MERGED) and torch.equal(truth, TWO)
