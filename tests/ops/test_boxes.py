"""Boxes: hand-computed overlaps and codes, torchvision where it is pure Python, and a greedy loop for suppression."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xferlib.ops import boxes as box_ops

# isort: split
from torchvision.ops import box_iou, clip_boxes_to_image


def some(number, seed=0, side=60.0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(number, 2, generator=generator) * side
    return torch.cat([corner, corner + 1 + torch.rand(number, 2, generator=generator) * side / 2], 1)


def greedy(boxes, scores, groups, threshold):
    """Non-maximum suppression as it is told: take the best, drop what overlaps it, and so on."""
    left, kept = sorted(range(len(boxes)), key=lambda i: (-scores[i].item(), i)), []
    overlaps = box_iou(boxes, boxes) if len(boxes) else None
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if groups[i] != groups[best] or overlaps[best, i] <= threshold]
    return kept


def test_overlap_by_hand():
    one = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    others = torch.tensor([[0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4], [1, 1, 3, 3], [2, 2, 2, 2.0]])
    assert torch.allclose(box_ops.iou(one, others), torch.tensor([[1, 8 / 24, 0, 4 / 16, 0]]))
    assert torch.equal(box_ops.area(others), torch.tensor([16.0, 16, 16, 4, 0]))


def test_two_empty_boxes_do_not_overlap():
    empty = torch.tensor([[2.0, 2, 2, 2]])
    assert box_ops.iou(empty, empty).item() == 0


def test_overlap_agrees_with_torchvision():
    a, b = some(40), some(30, seed=1)
    assert torch.allclose(box_ops.iou(a, b), box_iou(a, b))
    assert torch.equal(box_ops.iou(a, b), box_ops.iou(b, a).T)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8, torch.int32])
def test_areas_are_more_than_a_half_can_count(dtype):
    boxes = torch.tensor([[0, 0, 240, 240], [0, 0, 240, 120]]) * (1000 if dtype == torch.int32 else 1)
    assert torch.equal(box_ops.area(boxes.to(dtype)), box_ops.area(boxes.double()).float())
    overlaps = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    assert torch.equal(box_ops.iou(boxes.to(dtype), boxes.to(dtype)), overlaps)


def test_code_by_hand():
    anchor, box = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 5, 25, 15]])
    code = torch.tensor([[10 / 10, 0 / 20, math.log(2), math.log(0.5)]])
    assert torch.allclose(box_ops.encode(box, anchor), code)
    assert torch.allclose(box_ops.encode(box, anchor, (10, 10, 5, 5)), code * torch.tensor([10.0, 10, 5, 5]))


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (10, 10, 5, 5)])
def test_decoding_undoes_encoding(weights):
    boxes, anchors = some(50), some(50, seed=1)
    assert torch.allclose(box_ops.decode(box_ops.encode(boxes, anchors, weights), anchors, weights), boxes, atol=1e-4)


def test_no_change_leaves_the_anchor():
    anchors = some(5)
    assert torch.allclose(box_ops.decode(torch.zeros(5, 4), anchors), anchors, atol=1e-5)


def test_a_wild_code_gives_a_finite_box():
    box = box_ops.decode(torch.tensor([[0.0, 0, 1e6, 1e6]]), torch.tensor([[0.0, 0, 16, 16]]))
    assert torch.allclose(box, torch.tensor([[-492.0, -492, 508, 508]]), atol=1e-2)


def test_clipping():
    boxes = torch.tensor([[-5.0, -5, 30, 12], [40, 2, 50, 4]])
    assert torch.equal(box_ops.clip(boxes, (10, 20)), torch.tensor([[0.0, 0, 20, 10], [20, 2, 20, 4]]))
    many = some(50) - 20
    assert torch.equal(box_ops.clip(many, (30, 40)), clip_boxes_to_image(many, (30, 40)))


def test_suppression_by_hand():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [2, 0, 12, 10]])
    scores = torch.tensor([0.5, 0.9, 0.3, 0.8])
    assert box_ops.nms(boxes, scores, 0.5).tolist() == [1, 2]


def test_what_is_suppressed_suppresses_none():
    boxes = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])  # neighbours overlap by 6 / 14
    assert box_ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 2]
    assert box_ops.nms(boxes, torch.tensor([0.8, 0.9, 0.7]), 0.4).tolist() == [1]


def test_of_equals_the_first_stays():
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(3, 1)
    assert box_ops.nms(boxes, torch.ones(3), 0.5).tolist() == [0]


def test_overlap_at_the_threshold_stays():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])
    assert box_ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]


@settings(max_examples=40, deadline=None)
@given(number=st.integers(0, 80), seed=st.integers(0, 10**6), threshold=st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]))
def test_suppression_is_the_greedy_loop(number, seed, threshold):
    generator = torch.Generator().manual_seed(seed)
    boxes = some(number, seed, side=20.0)
    scores = torch.randint(0, 20, (number,), generator=generator) / 20  # with ties
    groups = torch.randint(0, 3, (number,), generator=generator)
    assert box_ops.batched_nms(boxes, scores, groups, threshold).tolist() == greedy(boxes, scores, groups, threshold)


def test_suppression_across_blocks(monkeypatch):
    boxes, scores = some(300), torch.rand(300, generator=torch.Generator().manual_seed(2))
    groups = torch.arange(300) % 2
    monkeypatch.setattr(box_ops, "_BLOCK", 17)
    assert box_ops.batched_nms(boxes, scores, groups, 0.3).tolist() == greedy(boxes, scores, groups, 0.3)


def test_matching_by_hand():
    overlaps = torch.tensor([[0.8, 0.1], [0.2, 0.1], [0.5, 0.4], [0.0, 0.45], [0.0, 0.0]])
    assert box_ops.match(overlaps, 0.3, 0.7).tolist() == [0, -1, -2, -2, -1]
    # The second object has no candidate from .7 up; it takes its best.
    assert box_ops.match(overlaps, 0.3, 0.7, best=True).tolist() == [0, -1, -2, 1, -1]


def test_an_overlap_of_the_low_threshold_is_no_background_and_one_of_the_high_an_object():
    overlaps = torch.tensor([[0.25], [0.75], [0.2499], [0.7499]])
    assert box_ops.match(overlaps, 0.25, 0.75).tolist() == [-2, 0, -1, -2]
    assert box_ops.match(torch.tensor([[0.5], [0.4999]]), 0.5, 0.5).tolist() == [0, -1]


def test_an_object_that_none_overlaps_takes_none():
    assert box_ops.match(torch.tensor([[0.0], [0.0]]), 0.3, 0.7, best=True).tolist() == [-1, -1]


def test_without_objects_all_is_background():
    assert box_ops.match(torch.zeros(3, 0), 0.5, 0.5, best=True).tolist() == [-1, -1, -1]
    assert box_ops.match(torch.zeros(0, 2), 0.5, 0.5, best=True).tolist() == []


def test_sampling_fills_up_with_background():
    matches = torch.tensor([0] * 50 + [-1] * 50 + [-2] * 50)
    torch.manual_seed(0)
    objects, ground = box_ops.sample(matches, 40, 0.25)
    assert (len(objects), len(ground)) == (10, 30)
    assert (matches[objects] == 0).all() and (matches[ground] == -1).all()
    assert len(objects.unique()) == 10
    few = torch.tensor([0, 0, -1, -1, -1, -2])
    objects, ground = box_ops.sample(few, 4, 0.75)
    assert (len(objects), len(ground)) == (2, 2)


def test_sampling_repeats_with_the_seed():
    matches = torch.arange(100) % 3 - 1
    chosen = []
    for _ in range(2):
        torch.manual_seed(3)
        chosen.append(box_ops.sample(matches, 20, 0.5))
    assert all(torch.equal(a, b) for a, b in zip(*chosen, strict=True))


GOOD = [[0.0, 0, 2, 2]]


@pytest.mark.parametrize("bad", [[[3.0, 0, 2, 2]], [[0.0, 3, 2, 2]], [[0.0, 0, math.nan, 2]], [[0.0, 0, math.inf, 2]]])
def test_inverted_and_unfinished_boxes_are_named(bad):
    with pytest.raises(ValueError, match=r"inverted or not finite"):
        box_ops.iou(torch.tensor(GOOD), torch.tensor(bad))
    with pytest.raises(ValueError, match=r"inverted or not finite"):
        box_ops.nms(torch.tensor(bad), torch.ones(1), 0.5)
    with pytest.raises(ValueError, match=r"anchors: .* inverted or not finite"):
        box_ops.decode(torch.zeros(1, 4), torch.tensor(bad))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: box_ops.area(torch.zeros(4)), r"\(4,\)"),
        (lambda: box_ops.encode(torch.tensor([[1.0, 1, 1, 3]]), torch.tensor(GOOD)), "is empty"),
        (lambda: box_ops.encode(torch.tensor(GOOD * 2), torch.tensor(GOOD)), "2 boxes for 1 anchors"),
        (lambda: box_ops.decode(torch.zeros(2, 4), torch.tensor(GOOD)), r"\(2, 4\)"),
        (lambda: box_ops.clip(torch.zeros(2, 3), (4, 4)), r"\(2, 3\)"),
        (lambda: box_ops.nms(torch.tensor(GOOD), torch.ones(2), 0.5), r"scores \(2,\)"),
        (lambda: box_ops.nms(torch.tensor(GOOD), torch.tensor([math.nan]), 0.5), "score 0 is nan"),
        (lambda: box_ops.nms(torch.tensor(GOOD), torch.ones(1), 1.5), "threshold 1.5"),
        (lambda: box_ops.match(torch.zeros(1, 1), 0.7, 0.3), "0.7 and 0.3"),
        (lambda: box_ops.sample(torch.arange(20), 10, 2.0), r"share 2.0 of objects is not in \[0, 1\]"),
        (lambda: box_ops.sample(torch.arange(20), 10, math.nan), "share nan"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
