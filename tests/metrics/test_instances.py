"""Object metrics: by hand on tiny maps, against scikit-image, and unmoved by the objects' numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.measure import label
from skimage.metrics import adapted_rand_error, contingency_table
from torch import tensor

from xferlib.data.cells import draw
from xferlib.metrics.instances import Matches, components, count, count_error, match, pixel_error, rand_f, thinned

TWO = tensor([[1, 1, 0, 2, 2]] * 2)
MERGED = tensor([[1, 1, 1, 1, 1]] * 2)
NOTHING = torch.zeros(2, 5, dtype=torch.int64)

maps = arrays.arrays(np.int64, (6, 7), elements=st.integers(0, 5)).map(torch.from_numpy)


def renumbered(instances, seed):
    numbers = torch.randperm(1000, generator=torch.Generator().manual_seed(seed)) + 2**40
    numbers[0] = 0
    return numbers[instances]


def test_components_by_sides_and_by_corners():
    mask = tensor([[1, 1, 0, 0], [0, 0, 1, 0], [7, 0, 0, 0]])
    assert components(mask).tolist() == [[1, 1, 0, 0], [0, 0, 2, 0], [3, 0, 0, 0]]
    assert components(mask, connectivity=2).tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [2, 0, 0, 0]]
    assert components(mask > 0).dtype == torch.int64
    assert not components(torch.zeros(3, 3)).any()


@given(maps, st.sampled_from([1, 2]))
@settings(max_examples=40, deadline=None)
def test_components_are_those_of_scikit_image(instances, connectivity):
    ours, theirs = components(instances > 2, connectivity), label(instances.numpy() > 2, connectivity=connectivity)
    assert ours.max() == theirs.max()
    assert rand_f(ours, torch.from_numpy(theirs)) == 1 or not theirs.any()


def test_components_of_drawn_cells_are_the_cells():
    instances = draw(3, 96, 96)[1]
    assert torch.equal(components(instances > 0), instances)


@pytest.mark.parametrize(
    ("mask", "connectivity", "message"),
    [(torch.ones(1, 4, 4), 1, r"shape \(1, 4, 4\)"), (torch.ones(4, 4), 8, "connectivity 8")],
)
def test_components_of_bad_input(mask, connectivity, message):
    with pytest.raises(ValueError, match=message):
        components(mask, connectivity)


def test_count_leaves_out_specks():
    instances = tensor([[5, 5, 5, 0, 9], [5, 0, 0, 7, 7]])
    assert [count(instances, least) for least in (1, 2, 3, 4, 5)] == [3, 2, 1, 1, 0]
    assert count(NOTHING) == 0


def test_count_error_by_hand():
    assert count_error(TWO, TWO) == 0
    assert count_error(MERGED, TWO) == 0.5
    assert count_error(NOTHING, TWO) == 1
    assert count_error(TWO, MERGED) == 1
    assert count_error(NOTHING, tensor([[1, 2, 3, 4, 5]] * 2)) == 1
    assert math.isnan(count_error(TWO, NOTHING))


def test_count_error_leaves_out_specks_of_both():
    speckled = tensor([[1, 1, 0, 2, 2], [1, 1, 3, 2, 2]])
    assert count_error(speckled, TWO) == 0.5
    assert count_error(speckled, TWO, least=2) == 0
    assert count_error(TWO, speckled, least=2) == 0


def test_match_of_the_same_and_of_nothing():
    assert match(TWO, TWO) == Matches(true_positives=2)
    assert match(NOTHING, TWO) == Matches(false_negatives=2)
    assert match(TWO, NOTHING) == Matches(false_positives=2)
    assert match(NOTHING, NOTHING) == Matches()


def test_a_merge_and_a_split():
    assert match(MERGED, TWO) == Matches(0, 1, 2, merges=1)
    assert match(TWO, MERGED) == Matches(0, 2, 1, splits=1)
    three = tensor([[1, 1, 0, 2, 2, 0, 3, 3]])
    assert match(tensor([[1, 1, 1, 1, 1, 1, 1, 1]]), three).merges == 1
    assert match(tensor([[4, 4, 4, 4, 4, 0, 6, 6]]), three) == Matches(1, 1, 2, merges=1)


def test_half_is_not_more_than_half():
    truth = tensor([[1, 1, 2, 2]])
    assert match(tensor([[0, 1, 1, 0]]), truth).merges == 0
    assert match(tensor([[1, 1, 1, 0]]), truth).merges == 0
    assert match(tensor([[0, 1, 1, 0]]), tensor([[1, 1, 1, 1]])) == Matches(0, 1, 1)
    assert match(tensor([[0, 1, 1, 1]]), tensor([[1, 1, 1, 1]])) == Matches(1, 0, 0)


def test_match_needs_the_overlap_that_is_asked():
    truth, prediction = tensor([[1] * 10 + [0] * 2]), tensor([[0, 0] + [1] * 9 + [0]])
    assert [match(prediction, truth, iou).true_positives for iou in (0.5, 0.72, 8 / 11, 0.75)] == [1, 1, 0, 0]


def test_scores_by_hand():
    found = Matches(true_positives=3, false_positives=1, false_negatives=2)
    assert (found.precision, found.recall) == (3 / 4, 3 / 5)
    assert found.f1 == pytest.approx(2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5))
    assert math.isnan(Matches().f1) and math.isnan(Matches().precision) and math.isnan(Matches().recall)


def test_matches_add_up():
    total = sum([match(TWO, TWO), match(MERGED, TWO), match(TWO, MERGED)], Matches())
    assert total == Matches(2, 3, 3, 1, 1)
    with pytest.raises(TypeError):
        total + 1


@given(maps, maps, st.sampled_from([0.5, 0.6, 0.75, 0.9]))
@settings(max_examples=60, deadline=None)
def test_match_agrees_with_all_pairs_compared(prediction, truth, iou):
    objects = [prediction == k for k in prediction.unique() if k > 0]
    true = [truth == k for k in truth.unique() if k > 0]
    pairs = sum(int((a & b).sum() / (a | b).sum() > iou) for a in objects for b in true)
    merges = sum(sum(int((a & b).sum() * 2 > b.sum()) for b in true) > 1 for a in objects)
    splits = sum(sum(int((a & b).sum() * 2 > a.sum()) for a in objects) > 1 for b in true)
    assert match(prediction, truth, iou) == Matches(pairs, len(objects) - pairs, len(true) - pairs, merges, splits)


@given(maps, maps, st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_numbers_do_not_matter(prediction, truth, seed):
    other = renumbered(prediction, seed), renumbered(truth, seed + 1)
    assert match(*other) == match(prediction, truth)
    assert count_error(*other, 2) == pytest.approx(count_error(prediction, truth, 2), nan_ok=True)
    assert rand_f(*other) == pytest.approx(rand_f(prediction, truth), nan_ok=True)
    assert pixel_error(*other) == pixel_error(prediction, truth)


@given(maps, maps)
@settings(max_examples=40, deadline=None)
def test_prediction_and_truth_change_places(prediction, truth):
    here, there = match(prediction, truth), match(truth, prediction)
    assert (here.false_positives, here.merges) == (there.false_negatives, there.splits)
    assert here.true_positives == there.true_positives


@given(maps)
@settings(max_examples=40, deadline=None)
def test_the_truth_itself_is_perfect(truth):
    empty = not truth.any()
    assert match(truth, truth) == Matches(true_positives=count(truth))
    assert rand_f(truth, truth) == pytest.approx(math.nan if empty else 1, nan_ok=True)
    assert pixel_error(truth, truth) == 0


def test_rand_of_a_merge_and_a_split_by_hand():
    # Two cells of 4 pixels in one segment: sum p^2 = 16 + 16, sum s^2 = 64, sum t^2 = 32, all over 64.
    assert rand_f(MERGED, TWO) == pytest.approx(32 / ((64 + 32) / 2))
    # One cell of 10 pixels in segments of 4 and 4, with 2 pixels alone: sum p^2 = sum s^2 = 34, sum t^2 = 100.
    assert rand_f(TWO, MERGED) == pytest.approx(34 / ((34 + 100) / 2))


def test_rand_of_pixels_taken_for_membrane_by_hand():
    # Eight pixels, each a segment of its own: sum p^2 = sum s^2 = 8, sum t^2 = 32.
    assert rand_f(NOTHING, TWO) == pytest.approx(8 / 20)
    apart = torch.arange(1, 11).view(2, 5)
    assert rand_f(apart, TWO) == rand_f(NOTHING, TWO)


def test_rand_does_not_see_what_is_predicted_on_true_membrane():
    wider = tensor([[1, 1, 1, 2, 2], [1, 1, 2, 2, 2]])
    assert rand_f(wider, TWO) == 1
    assert rand_f(tensor([[1, 1, 9, 2, 2]] * 2), TWO) == 1
    assert math.isnan(rand_f(TWO, NOTHING))


def test_one_gap_in_a_membrane_costs_more_than_many_wrong_pixels():
    truth = torch.ones(40, 41, dtype=torch.int64)
    truth[:, 20], truth[:, 21:] = 0, 2
    gap = (truth > 0).long()
    gap[5, 20] = 1
    thick = (truth > 0).long()
    thick[:, 18:23] = 0
    assert pixel_error(gap, truth) < pixel_error(thick, truth) / 50
    assert rand_f(components(gap), truth) < 0.7 < 0.85 < rand_f(components(thick), truth)


@given(maps, maps)
@settings(max_examples=80, deadline=None)
def test_rand_is_that_of_the_contingency_table(prediction, truth):
    if not truth.any():
        return
    alone = prediction.clone()
    alone[prediction == 0] = torch.arange(100, 100 + int((prediction == 0).sum()))
    table = contingency_table(truth.numpy(), alone.numpy(), ignore_labels=(0,), normalize=True).toarray()
    f = (table**2).sum() / (0.5 * (table.sum(0) ** 2).sum() + 0.5 * (table.sum(1) ** 2).sum())
    assert rand_f(prediction, truth) == pytest.approx(f)


@given(maps, maps)
@settings(max_examples=80, deadline=None)
def test_rand_is_scikit_images_but_for_the_pairs_of_a_pixel_with_itself(prediction, truth):
    n = int((truth > 0).sum())
    alone = prediction.clone()
    alone[prediction == 0] = torch.arange(100, 100 + int((prediction == 0).sum()))
    sizes = torch.cat([m[truth > 0].unique(return_counts=True)[1] for m in (alone, truth)])
    pairs = (int((sizes**2).sum()) - 2 * n) / 2
    if not n or any(len(m[truth > 0].unique()) == n for m in (alone, truth)):
        return  # scikit-image then divides 0 by 0
    theirs = 1 - adapted_rand_error(truth.numpy(), alone.numpy())[0]
    if not math.isnan(theirs):
        assert rand_f(prediction, truth) == pytest.approx((theirs * pairs + n) / (pairs + n))


@given(maps, maps)
@settings(max_examples=40, deadline=None)
def test_rand_lies_between_0_and_1(prediction, truth):
    if truth.any():
        assert 0 < rand_f(prediction, truth) <= 1


def test_rand_of_a_large_image():
    truth = torch.arange(1024 * 1024).view(1024, 1024) // 2**19 + 1
    assert rand_f(torch.ones_like(truth), truth) == pytest.approx(0.5 / 0.75)


def test_thinned_by_hand():
    cells = torch.zeros(6, 10, dtype=torch.int32)
    cells[:, :3], cells[:, 7:] = 7, 2
    assert thinned(cells).tolist() == [[7] * 5 + [2] * 5] * 6
    assert torch.equal(thinned(torch.where(cells == 7, 7, 0)), torch.full_like(cells, 7, dtype=torch.int64))
    assert torch.equal(thinned(NOTHING), NOTHING)


@given(maps)
@settings(max_examples=40, deadline=None)
def test_each_pixel_goes_to_a_nearest_cell(cells):
    thin, places = thinned(cells), cells.nonzero()
    if not len(places):
        return
    distances = torch.cdist((cells >= 0).nonzero().double(), places.double())
    nearest = distances <= distances.min(1, keepdim=True).values + 1e-9
    assert (nearest & (cells[cells > 0] == thin.view(-1, 1))).any(1).all()
    assert torch.equal(thin[cells > 0], cells[cells > 0])


def test_thick_membranes_cost_rand_nothing_once_thinned_but_a_gap_does():
    truth = torch.ones(40, 41, dtype=torch.int64)
    truth[:, 20], truth[:, 21:] = 0, 2
    thick, gap = truth.clone(), truth.clone()
    thick[:, 18:23] = 0
    gap[5, 20] = 1
    assert rand_f(thick, truth) < 0.9 and rand_f(thinned(thick), truth) == 1
    assert rand_f(thinned(components(gap)), truth) == rand_f(components(gap), truth) < 0.7


def test_pixel_error_by_hand():
    truth = tensor([[0, 3], [4, 0]])
    assert pixel_error(tensor([[0.1, 0.9], [0.5, 0.6]]), truth) == 0.25
    assert pixel_error(tensor([[0.1, 0.9], [0.5, 0.6]]), truth, threshold=0.55) == 0.5
    assert pixel_error(tensor([[True, True], [True, True]]), truth > 0) == 0.5
    assert pixel_error(tensor([[0, 1], [1, 0]]), truth) == 0
    assert pixel_error(tensor([[8, 0], [0, 9]]), truth) == 1


@pytest.mark.parametrize("metric", [count_error, match, rand_f, pixel_error])
@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (TWO, TWO[:1], r"prediction and truth have shapes \(2, 5\) and \(1, 5\)"),
        (TWO[None], TWO[None], r"prediction of shape \(1, 2, 5\); expected \(H, W\)"),
        (TWO[:0], TWO[:0], r"prediction of shape \(0, 5\); expected \(H, W\)"),
        (TWO - 1, TWO, "prediction has the number -1"),
        (TWO, TWO - 1, "truth has the number -1"),
        (TWO, TWO.float(), "truth is torch.float32; expected integers"),
    ],
)
def test_bad_maps(metric, prediction, truth, message):
    with pytest.raises(ValueError, match=message):
        metric(prediction, truth)


def test_bad_maps_to_thin():
    with pytest.raises(ValueError, match=r"instances is torch.bool; .* components\(mask\)"):
        thinned(TWO > 0)
    with pytest.raises(ValueError, match="instances has the number -1"):
        thinned(TWO - 1)


@pytest.mark.parametrize("metric", [count_error, match, rand_f])
def test_a_mask_is_no_instance_map(metric):
    with pytest.raises(ValueError, match=r"prediction is torch.bool; .* components\(mask\)"):
        metric(TWO > 0, TWO)


@pytest.mark.parametrize("iou", [0.4, 1.0, math.nan, -1])
def test_thresholds_that_do_not_match_one_to_one(iou):
    with pytest.raises(ValueError, match=r"iou .* is not in \[0.5, 1\)"):
        match(TWO, TWO, iou)


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan])
def test_logits_are_no_probabilities(value):
    with pytest.raises(ValueError, match=r"outside \[0, 1\] or nan"):
        pixel_error(torch.full((2, 5), value), TWO)


def test_nothing_is_changed_in_place():
    prediction, truth = MERGED.clone(), TWO.clone()
    match(prediction, truth), rand_f(prediction, truth), count_error(prediction, truth), pixel_error(prediction, truth)
    assert torch.equal(prediction, MERGED) and torch.equal(truth, TWO)


def test_an_overlap_of_just_the_threshold_is_no_match():
    # 117 of 180 pixels are .65 of them, which in single precision would be a little more.
    truth = torch.cat([torch.ones(150), torch.zeros(30)]).long()[None]
    found = torch.cat([torch.zeros(33), torch.ones(147)]).long()[None]
    assert match(found, truth, 0.65).true_positives == 0
    assert match(found, truth, 0.6499).true_positives == 1


@pytest.mark.parametrize("kind", [torch.uint16, torch.uint32])
def test_numbers_may_be_those_of_a_deep_png(kind):
    found, truth = MERGED.to(kind), (300 * TWO).to(kind)
    assert count(truth) == 2 and count_error(found, truth) == 0.5
    assert match(found, truth) == match(MERGED, TWO)
    assert rand_f(found, truth) == rand_f(MERGED, TWO) and pixel_error(found, truth) == pixel_error(MERGED, TWO)
    assert torch.equal(thinned(truth), thinned(300 * TWO))
