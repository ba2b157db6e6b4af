"""The objects of a picture, between maps and masks."""

import math

import pytest
import torch

from xferlib.ops.instances import Instances, boxes_of

MAP = torch.tensor([[0, 2, 2, 0], [0, 2, 5, 5], [0, 0, 5, 5]])


def test_objects_of_a_map():
    found = Instances.from_map(MAP)
    assert found.boxes.tolist() == [[1, 0, 3, 2], [2, 1, 4, 3]]
    assert found.classes.tolist() == [1, 1]
    assert torch.equal(found.masks, torch.stack([MAP == 2, MAP == 5]))
    assert found.scores is None
    found.check()


def test_classes_of_objects_or_of_pixels():
    by_object = Instances.from_map(MAP, torch.tensor([9, 3, 9, 9, 4]))
    by_pixel = Instances.from_map(MAP, torch.tensor([0, 0, 3, 0, 0, 4])[MAP])
    assert by_object.classes.tolist() == by_pixel.classes.tolist() == [3, 4]


def test_an_empty_map():
    found = Instances.from_map(torch.zeros(4, 6, dtype=torch.int64))
    assert [tuple(part.shape) for part in found[:3]] == [(0, 4), (0,), (0, 4, 6)]
    found.check()
    assert torch.equal(found.to_map(), torch.zeros(4, 6, dtype=torch.int64))


def test_a_map_comes_back():
    assert torch.equal(Instances.from_map(MAP).to_map(), torch.tensor([0, 0, 1, 0, 0, 2])[MAP])


def test_the_surer_object_lies_on_top():
    masks = torch.zeros(2, 1, 3, dtype=torch.bool)
    masks[0, 0, :2] = masks[1, 0, 1:] = True
    for scores, expected in (([0.9, 0.8], [1, 1, 2]), ([0.8, 0.9], [1, 2, 2])):
        found = Instances(boxes_of(masks), torch.ones(2, dtype=torch.int64), masks, torch.tensor(scores))
        assert found.to_map().tolist() == [expected]
    assert found._replace(scores=None).to_map().tolist() == [[1, 1, 2]]


def test_a_mask_without_pixels_has_no_box():
    with pytest.raises(ValueError, match="mask 1 has no pixel"):
        boxes_of(torch.stack([MAP > 0, MAP > 9]))


@pytest.mark.parametrize(
    ("numbers", "classes", "words"),
    [
        (MAP.float(), None, "float32"),
        (MAP[None], None, r"\(1, 3, 4\)"),
        (MAP - 1, None, "number -1"),
        (MAP, torch.tensor([1.0] * 5), "float32"),
        (MAP, torch.tensor([1, 1]), "object 5 of the map has no class; 2"),
        (MAP, torch.tensor([1, 0, 1, 1, 1]), "object 2 is of class 0"),
        (MAP, torch.arange(12).view(3, 4), "object 2 has pixels of several classes"),
        (MAP, torch.ones(2, 2, dtype=torch.int64), r"classes \(2, 2\)"),
    ],
)
def test_bad_maps_are_named(numbers, classes, words):
    with pytest.raises(ValueError, match=words):
        Instances.from_map(numbers, classes)


def altered(**changes):
    return Instances.from_map(MAP)._replace(**changes)


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        (altered(classes=torch.tensor([1.0, 1])), "classes are torch.float32"),
        (altered(classes=torch.tensor([1])), r"boxes \(2, 4\), classes \(1,\)"),
        (altered(masks=torch.ones(3, 3, 4, dtype=torch.bool)), r"masks \(3, 3, 4\)"),
        (altered(masks=torch.ones(2, 3, 4)), "masks are torch.float32"),
        (altered(classes=torch.tensor([0, 1])), "class 0 of an object"),
        (altered(boxes=torch.tensor([[2.0, 0, 1, 2], [0, 0, 1, 1]])), r"box \[2.0, 0.0, 1.0, 2.0\]"),
        (altered(boxes=torch.tensor([[0.0, 0, 1, 1], [1, 1, 1, 2]])), r"box \[1.0, 1.0, 1.0, 2.0\]"),
        (altered(boxes=torch.tensor([[0.0, 0, math.nan, 1], [1, 1, 2, 2]])), "nan"),
        (altered(boxes=torch.tensor([[0.0, 0, 5, 1], [1, 1, 2, 2]])), "within 4x3 pixels"),
    ],
)
def test_what_cannot_be_true_is_named(truth, words):
    with pytest.raises(ValueError, match=words):
        truth.check()


def test_those_of_a_score_or_more_are_sure():
    masks = torch.eye(3, dtype=torch.bool)[:, None]
    found = Instances(boxes_of(masks), torch.tensor([1, 2, 1]), masks, torch.tensor([0.4, 0.5, 0.9]))
    assert found.sure().scores.tolist() == pytest.approx([0.5, 0.9]) and found.sure().classes.tolist() == [2, 1]
    assert torch.equal(found.sure(0.9).masks, masks[2:]) and len(found.sure(0.95).boxes) == 0
    with pytest.raises(ValueError, match="have no scores"):
        found._replace(scores=None).sure()


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int64])
def test_a_map_of_classes_may_be_of_any_integers(kind):
    found = Instances.from_map(MAP, torch.tensor([0, 0, 3, 0, 0, 4])[MAP].to(kind))
    assert found.classes.tolist() == [3, 4] and found.classes.dtype == torch.int64


@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16, torch.int32])
def test_a_map_may_be_of_any_integers(kind):
    for part, expected in zip(Instances.from_map(MAP.to(kind))[:3], Instances.from_map(MAP)[:3], strict=True):
        assert torch.equal(part, expected)
