"""Objects in colours of their own."""

import pytest
import torch

from xferlib import viz

NUMBERS = torch.zeros(9, 12, dtype=torch.int64)
NUMBERS[1:6, 1:6], NUMBERS[1:6, 6:11] = 1, 2


def test_only_objects_are_coloured_each_in_its_own():
    image = torch.rand(3, 9, 12, generator=torch.Generator().manual_seed(0))
    found = viz.objects(image, NUMBERS)
    assert torch.equal(found[:, NUMBERS == 0], image[:, NUMBERS == 0])
    inner = [viz.objects(torch.zeros(3, 9, 12), NUMBERS)[:, 3, x] for x in (3, 8)]
    assert (inner[0] - inner[1]).abs().max() > 0.2
    assert found.min() >= 0 and found.max() <= 1


def test_the_outline_is_on_the_object_and_opaque():
    plain, filled = (viz.objects(torch.zeros(3, 9, 12), NUMBERS, alpha=a) for a in (0.0, 1.0))
    drawn = plain.amax(0) > 0
    expected = torch.zeros(9, 12, dtype=torch.bool)
    expected[1:6, 1:11] = True
    expected[2:5, 2:5] = expected[2:5, 7:10] = False
    assert torch.equal(drawn, expected)
    assert torch.equal(plain[:, drawn], filled[:, drawn])


def test_zoom_keeps_the_outline_thin():
    assert viz.objects(torch.zeros(3, 9, 12), NUMBERS, zoom=3).shape == (3, 27, 36)
    drawn = viz.objects(torch.zeros(3, 9, 12), NUMBERS, alpha=0.0, zoom=3).amax(0) > 0
    assert drawn[3, 3:33].all() and drawn[3:18, 3].all() and not drawn[4:17, 4:17].any()


def test_many_objects_and_none():
    many = torch.arange(30 * 30).view(30, 30)
    assert len(viz.objects(torch.zeros(3, 30, 30), many, alpha=1.0).flatten(1).T.unique(dim=0)) > 500
    image = torch.rand(3, 9, 12)
    assert torch.equal(viz.objects(image, torch.zeros(9, 12).long()), image)


def test_numbers_of_a_deep_png_and_of_another_device(elsewhere):
    image = torch.rand(3, 9, 12)
    deep = (300 * NUMBERS).numpy().astype("uint16")
    assert torch.equal(viz.objects(image, deep), viz.objects(image, 300 * NUMBERS))
    assert torch.equal(viz.objects(elsewhere(image), elsewhere(NUMBERS)), viz.objects(image, NUMBERS))
    assert not viz.objects(image.requires_grad_(), NUMBERS).requires_grad


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.zeros(3, 9, 11), NUMBERS), r"image \(3, 9, 11\) and map \(9, 12\)"),
        ((torch.zeros(3, 9, 12), NUMBERS.float()), "float32"),
        ((torch.zeros(3, 9, 12), NUMBERS - 1), "object -1"),
        ((torch.zeros(3, 9, 12), NUMBERS, 1.5), "alpha 1.5"),
        ((torch.zeros(3, 9, 12), NUMBERS, 0.5, 0), "zoom 0"),
    ],
)
def test_bad_input_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        viz.objects(*arguments)
