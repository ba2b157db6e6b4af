"""Region and boundary scores, against hand-computed values, scikit-learn and brute force."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from xferlib.metrics.segmentation import Scores, boundary_f1, class_iu, confusion, scores

# One wrong pixel of class 0, one void pixel, nothing of class 2 in the truth.
TARGET = torch.tensor([[0, 0, 1], [0, 1, 255], [1, 1, 1]])
PREDICTION = torch.tensor([[0, 1, 1], [0, 1, 0], [1, 1, 2]])


def labels(seed, shape=(3, 8, 9), num_classes=4, void=0.1):
    """Give seeded (prediction, target) with some void pixels; about half of the pixels agree."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(num_classes, shape, generator=generator)
    other = torch.randint(num_classes, shape, generator=generator)
    prediction = torch.where(torch.rand(shape, generator=generator) < 0.5, target, other)
    return prediction, target.masked_fill(torch.rand(shape, generator=generator) < void, 255)


seeds = st.integers(0, 2**31)

# ------------------------------------------------------------------ confusion


def test_confusion_by_hand():
    assert confusion(PREDICTION, TARGET, 3).tolist() == [[2, 1, 0], [0, 4, 1], [0, 0, 0]]


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_confusion_is_that_of_scikit_learn(seed):
    prediction, target = labels(seed)
    kept = target != 255
    theirs = metrics.confusion_matrix(target[kept], prediction[kept], labels=range(4))
    ours = confusion(prediction, target, 4)
    assert ours.dtype == torch.int64
    assert np.array_equal(ours.numpy(), theirs)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_confusion_adds_up_over_batches(seed):
    prediction, target = labels(seed)
    parts = sum(confusion(p, t, 4) for p, t in zip(prediction, target, strict=True))
    assert torch.equal(confusion(prediction, target, 4), parts)
    assert parts.sum() == (target != 255).sum()


@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 4, 5), (0, 4)])
def test_confusion_of_any_shape(shape):
    ones = torch.ones(shape, dtype=torch.long)
    assert confusion(ones, ones, 3).tolist() == [[0, 0, 0], [0, math.prod(shape), 0], [0, 0, 0]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64])
def test_labels_of_any_integers(dtype):
    void = 100
    prediction, target = PREDICTION.to(dtype), torch.where(TARGET == 255, void, TARGET).to(dtype)
    assert torch.equal(confusion(prediction, target, 3, void), confusion(PREDICTION, TARGET, 3))
    assert boundary_f1(prediction, target, 3, void=void) == boundary_f1(PREDICTION, TARGET, 3)


def test_confusion_of_masks():
    prediction, target = torch.tensor([True, True, False]), torch.tensor([True, False, False])
    assert confusion(prediction, target, 2).tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("void", [-1, -100, 3, 255, 1000, 2**40])
def test_confusion_with_another_void(void):
    target = torch.where(TARGET == 255, void, TARGET)
    assert torch.equal(confusion(PREDICTION, target, 3, void=void), confusion(PREDICTION, TARGET, 3))


def test_a_class_may_be_void():
    target = torch.where(TARGET == 255, 0, TARGET)
    assert confusion(PREDICTION, target, 3, void=0).tolist() == [[0, 0, 0], [0, 4, 1], [0, 0, 0]]


@pytest.mark.parametrize("anything", [-7, 255, 2**40])
def test_confusion_takes_any_prediction_where_the_target_is_void(anything):
    prediction = torch.where(TARGET == 255, anything, PREDICTION)
    assert torch.equal(confusion(prediction, TARGET, 3), confusion(PREDICTION, TARGET, 3))


def test_confusion_with_more_classes_than_a_byte_holds():
    numbers = torch.arange(300)
    assert torch.equal(confusion(numbers, numbers.flip(0), 300, void=-1), torch.eye(300).long().flip(0))


def test_confusion_changes_no_argument():
    prediction, target = PREDICTION.clone(), TARGET.clone()
    confusion(prediction, target, 3)
    assert torch.equal(prediction, PREDICTION) and torch.equal(target, TARGET)


def score_boundary(prediction, target, num_classes):
    return boundary_f1(prediction, target, num_classes)


@pytest.mark.parametrize("metric", [confusion, score_boundary])
@pytest.mark.parametrize(
    ("prediction", "target", "num_classes", "message"),
    [
        (TARGET[:2], TARGET, 3, r"prediction of \(2, 3\) and target of \(3, 3\) differ"),
        (
            torch.rand(3, 3),
            TARGET,
            3,
            r"prediction is torch.float32, not integers; for logits take argmax\(1\)",
        ),
        (PREDICTION, TARGET.double(), 3, r"target is torch.float64, not integers"),
        (PREDICTION, TARGET, 2, r"prediction has the label 2, not in 0 to 1"),
        (PREDICTION - 1, TARGET, 3, r"prediction has the label -1, not in 0 to 2$"),
        (PREDICTION, TARGET + 2, 3, r"target has the label 3, not in 0 to 2, nor the void label 255"),
        (PREDICTION, TARGET - 1, 3, r"target has the label -1, not in 0 to 2, nor the void label 255"),
        (PREDICTION, torch.where(TARGET == 1, 2**40, TARGET), 3, r"target has the label 1099511627776"),
        (PREDICTION, TARGET, 0, "num_classes 0 is smaller than 1"),
    ],
)
def test_what_is_no_pair_of_label_maps(metric, prediction, target, num_classes, message):
    with pytest.raises(ValueError, match=message):
        metric(prediction, target, num_classes)


# ------------------------------------------------------------------ scores


def test_scores_by_hand():
    counts = torch.tensor([[2, 1, 0], [0, 4, 1], [0, 0, 0]])
    # Class 0: 2 of 3, union 3. Class 1: 4 of 5, union 6. Class 2: not in the truth, predicted once.
    assert scores(counts) == pytest.approx((6 / 8, (2 / 3 + 4 / 5) / 2, (2 / 3 + 4 / 6 + 0) / 3, 2 / 3))
    assert class_iu(counts).tolist() == pytest.approx([2 / 3, 2 / 3, 0])


def test_frequency_weighs_the_classes():
    counts = torch.tensor([[9, 0], [1, 0]])
    assert scores(counts) == pytest.approx((0.9, 0.5, 0.45, 0.9 * 0.9))


def test_a_class_in_neither_is_left_out():
    counts = torch.tensor([[3, 0, 1], [0, 0, 0], [0, 0, 4]])
    iu = class_iu(counts)
    assert iu[1].isnan() and iu[[0, 2]].tolist() == pytest.approx([3 / 4, 4 / 5])
    assert scores(counts).mean_iu == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_scores_of_nothing_are_nan():
    assert all(math.isnan(score) for score in scores(torch.zeros(3, 3, dtype=torch.long)))


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_scores_are_those_of_scikit_learn(seed):
    prediction, target = labels(seed)
    kept = target != 255
    truth, guess = target[kept], prediction[kept]
    counts = confusion(prediction, target, 4)
    iu = metrics.jaccard_score(truth, guess, labels=range(4), average=None)
    assert class_iu(counts).tolist() == pytest.approx(iu.tolist())
    assert scores(counts) == pytest.approx(
        (
            metrics.accuracy_score(truth, guess),
            metrics.balanced_accuracy_score(truth, guess),
            iu.mean(),
            metrics.jaccard_score(truth, guess, average="weighted"),
        )
    )


@settings(max_examples=30, deadline=None)
@given(seeds, st.permutations(range(4)))
def test_names_of_classes_do_not_matter(seed, order):
    prediction, target = labels(seed)
    renamed = torch.tensor([*order, *range(4, 255), 255])
    before, after = (prediction, target), (renamed[prediction], renamed[target])
    assert scores(confusion(*after, 4)) == pytest.approx(scores(confusion(*before, 4)))
    assert torch.allclose(class_iu(confusion(*after, 4))[list(order)], class_iu(confusion(*before, 4)))
    assert boundary_f1(*after, 4, 1) == pytest.approx(boundary_f1(*before, 4, 1))


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_a_perfect_prediction_scores_one(seed):
    _, target = labels(seed)
    assert scores(confusion(target, target, 4)) == (1, 1, 1, 1)
    assert boundary_f1(target, target, 4, 0) == 1


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_scores_lie_between_zero_and_one_and_in_order(seed):
    result = scores(confusion(*labels(seed), 4))
    assert all(0 <= score <= 1 for score in result)
    assert result.mean_iu <= result.mean_accuracy
    assert result.frequency_weighted_iu <= result.pixel_accuracy


def test_dividing_before_summing_is_another_thing():
    small, large = torch.tensor([[1, 0], [0, 1]]), torch.tensor([[4, 4], [0, 0]])
    assert scores(small + large).mean_iu == pytest.approx((5 / 9 + 1 / 5) / 2)
    assert (scores(small).mean_iu + scores(large).mean_iu) / 2 == pytest.approx(0.625)


def test_scores_are_python_floats_and_print_in_percent():
    result = scores(torch.tensor([[2, 1], [0, 4]]))
    assert isinstance(result, Scores) and all(type(score) is float for score in result)
    assert str(Scores(0.90321, 0.759, 0.6271, 0.8324)) == (
        "pixel accuracy 90.3 %, mean accuracy 75.9 %, mean IU 62.7 %, frequency weighted IU 83.2 %"
    )


@pytest.mark.parametrize("metric", [scores, class_iu])
def test_what_is_no_confusion_matrix(metric):
    with pytest.raises(ValueError, match=r"shape \(2, 3\) is not \(C, C\)"):
        metric(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="negative count -1"):
        metric(torch.tensor([[1, -1], [0, 0]]))


# ------------------------------------------------------------------ boundaries


def brute_boundary(numbers, target, label, void):
    """List the (row, column) of the pixels of a class with a valid 4-neighbour of another class."""
    height, width = numbers.shape
    found = []
    for y in range(height):
        for x in range(width):
            if numbers[y, x] != label or target[y, x] == void:
                continue
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= v < height and 0 <= u < width
                if inside and target[v, u] != void and numbers[v, u] != label:
                    found.append((y, x))
                    break
    return np.array(found, float).reshape(-1, 2)


def near_share(some, others, tolerance):
    distances = np.linalg.norm(some[:, None] - others[None], axis=2)
    return (distances <= tolerance).any(1).mean()


def brute_f1(prediction, target, num_classes, tolerance, void=255):
    """Compute boundary F1 of (B, H, W) from all pairwise distances."""
    images = []
    for guess, truth in zip(prediction.numpy(), target.numpy(), strict=True):
        classes = []
        for label in range(num_classes):
            a, b = brute_boundary(guess, truth, label, void), brute_boundary(truth, truth, label, void)
            if len(a) == 0 and len(b) == 0:
                continue
            if len(a) == 0 or len(b) == 0:
                classes.append(0.0)
                continue
            precision, recall = near_share(a, b, tolerance), near_share(b, a, tolerance)
            both = precision + recall
            classes.append(2 * precision * recall / both if both else 0.0)
        if classes:
            images.append(np.mean(classes))
    return np.mean(images) if images else math.nan


def blobs(seed, height, width, num_classes, shift):
    """Give (prediction, target) of some rectangles, the prediction's moved a little; some void."""
    rng = np.random.default_rng(seed)
    target = np.zeros((2, height, width), np.int64)
    prediction = target.copy()
    for numbers, guess in zip(target, prediction, strict=True):
        for label in rng.integers(num_classes, size=4):
            y, x = rng.integers(height), rng.integers(width)
            h, w = rng.integers(1, height + 1), rng.integers(1, width + 1)
            dy, dx = rng.integers(-shift, shift + 1, 2)
            numbers[y : y + h, x : x + w] = label
            guess[max(y + dy, 0) : max(y + dy + h, 0), max(x + dx, 0) : max(x + dx + w, 0)] = label
        if rng.random() < 0.5:
            y, x = rng.integers(height), rng.integers(width)
            numbers[y : y + 3, x : x + 2] = 255
    return torch.from_numpy(prediction), torch.from_numpy(target)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 14), st.integers(1, 14), st.integers(0, 20))
def test_boundary_f1_is_that_of_all_pairwise_distances(seed, height, width, tolerance):
    prediction, target = blobs(seed, height, width, 4, 3)
    ours, theirs = boundary_f1(prediction, target, 4, tolerance), brute_f1(prediction, target, 4, tolerance)
    assert ours == pytest.approx(theirs, nan_ok=True)


def test_boundary_f1_with_more_classes_than_bits():
    numbers = torch.arange(64).view(1, 8, 8)
    prediction = numbers.roll(1, 2)
    for tolerance in (0, 1, 2):
        assert boundary_f1(prediction, numbers, 64, tolerance) == pytest.approx(
            brute_f1(prediction, numbers, 64, tolerance)
        )


def test_boundary_f1_by_hand():
    # Truth: the edge lies between columns 2 and 3; prediction: between columns 3 and 4.
    target = (torch.arange(8) >= 3).long().expand(5, 8)
    prediction = (torch.arange(8) >= 4).long().expand(5, 8)
    assert boundary_f1(prediction, target, 2, tolerance=0) == 0
    assert boundary_f1(prediction, target, 2, tolerance=1) == 1


def test_boundary_f1_averages_precision_and_recall_harmonically():
    # One pixel of class 1 in the truth, the same and a far one in the prediction.
    target = torch.zeros(1, 20, dtype=torch.long)
    target[0, 2] = 1
    prediction = target.clone()
    prediction[0, 15] = 1
    # Class 1: precision 1/2, recall 1. Class 0: predicted at 1, 3, 14, 16, true at 1, 3: the same.
    assert boundary_f1(prediction, target, 2, 0) == pytest.approx(2 / 3)


def test_the_tolerance_is_euclidean():
    target, prediction = torch.zeros(9, 9, dtype=torch.long), torch.zeros(9, 9, dtype=torch.long)
    target[2, 2] = prediction[4, 4] = 1
    near, far = boundary_f1(prediction, target, 3, 3), boundary_f1(prediction, target, 3, 2)
    assert near == 1 and far < 0.5, "2 and 2 aside is 2.83 away"


def test_the_default_tolerance_is_a_share_of_the_diagonal():
    for shape, tolerance in (((30, 40), 1), ((128, 256), 3), ((375, 500), 5)):
        target = (torch.arange(shape[1]) >= 15).long().expand(shape)
        reach = [boundary_f1(target.roll(k, 1)[:, 10:30], target[:, 10:30], 2, tolerance) for k in (0, 1)]
        assert reach == [1, 1]
        at, beyond = ((torch.arange(shape[1]) >= 15 + tolerance + k).long().expand(shape) for k in (0, 1))
        assert boundary_f1(at, target, 2) == 1
        assert boundary_f1(beyond, target, 2) == 0


def test_a_class_on_one_side_only_counts_as_zero():
    target = torch.zeros(6, 6, dtype=torch.long)
    target[2:4, 2:4] = 1
    assert boundary_f1(target.clamp(max=0), target, 2) == 0
    assert boundary_f1(target, target.clamp(max=0), 2) == 0


def test_images_count_alike_and_those_without_boundary_do_not():
    target = torch.zeros(3, 6, 12, dtype=torch.long)
    target[:2, :, 6:] = 1
    prediction = target.clone()
    prediction[1] = 0
    assert boundary_f1(prediction, target, 2) == pytest.approx(0.5)
    assert math.isnan(boundary_f1(target[2], target[2], 2))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_what_is_predicted_on_void_does_not_matter(seed):
    prediction, target = labels(seed, void=0.3)
    other = torch.where(target == 255, 255, prediction)
    assert boundary_f1(prediction, target, 4, 1) == boundary_f1(other, target, 4, 1)
    assert torch.equal(confusion(prediction, target, 4), confusion(other, target, 4))


def test_void_alone_makes_no_boundary():
    target = torch.zeros(6, 6, dtype=torch.long)
    target[2:4] = 255
    assert math.isnan(boundary_f1(torch.zeros_like(target), target, 2))


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(0, 5))
def test_precision_and_recall_change_places(seed, tolerance):
    prediction, target = labels(seed, void=0)
    assert boundary_f1(prediction, target, 4, tolerance) == pytest.approx(boundary_f1(target, prediction, 4, tolerance))


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_more_tolerance_never_lowers_the_score(seed):
    prediction, target = labels(seed, (2, 16, 16))
    row = [boundary_f1(prediction, target, 4, tolerance) for tolerance in range(6)]
    assert row == sorted(row)
    assert all(0 <= score <= 1 for score in row)


def test_boundary_f1_of_what_is_no_image():
    one = torch.zeros(1, 1, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match=r"shape \(1, 1, 4, 4\) are not \(H, W\) or \(B, H, W\)"):
        boundary_f1(one, one, 2)
    with pytest.raises(ValueError, match="are not"):
        boundary_f1(one[0, :, :0], one[0, :, :0], 2)
    with pytest.raises(ValueError, match="tolerance -1 is negative"):
        boundary_f1(one[0], one[0], 2, -1)
