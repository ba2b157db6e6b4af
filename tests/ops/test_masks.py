"""Masks cut out of boxes and pasted back."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from xferlib.ops import masks as mask_ops
from xferlib.ops.instances import boxes_of


def disc(height=40, width=50, y=18.0, x=22.0, radius=11.3):
    rows, columns = np.mgrid[:height, :width] + 0.5
    return torch.from_numpy((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)[None]


def test_a_mask_that_is_cut_and_pasted_comes_back():
    mask = disc()
    box = boxes_of(mask)
    again = mask_ops.paste(mask_ops.crop(mask, box, 28).float(), box, (40, 50))
    assert torch.equal(again, mask)


def test_cutting_looks_at_the_centres_of_the_parts():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1, 2] = True
    assert mask_ops.crop(mask, torch.tensor([[0.0, 0, 4, 4]]), 4)[0].nonzero().tolist() == [[1, 2]]
    # Parts of half a pixel, within pixels (1..2, 2..3).
    assert mask_ops.crop(mask, torch.tensor([[1.0, 0, 3, 2]]), 4)[0].nonzero().tolist() == [
        [2, 2],
        [2, 3],
        [3, 2],
        [3, 3],
    ]


def test_pasting_is_interpolation_between_the_centres():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(1, 7, 7, generator=generator)
    x1, y1, x2, y2 = 5.3, 2.6, 33.9, 27.1
    rows, columns = np.mgrid[:30, :40] + 0.5
    at = [(rows - y1) / (y2 - y1) * 7 - 0.5, (columns - x1) / (x2 - x1) * 7 - 0.5]
    expected = ndimage.map_coordinates(probabilities[0].numpy(), at, order=1, mode="nearest") >= 0.5
    expected &= (rows >= y1) & (rows < y2) & (columns >= x1) & (columns < x2)
    found = mask_ops.paste(probabilities, torch.tensor([[x1, y1, x2, y2]]), (30, 40))[0]
    assert (found.numpy() != expected).mean() < 1e-3  # a value at the threshold may fall on either side
    assert found.any() and not found.all()


def test_a_box_beyond_the_picture_is_cut_off():
    found = mask_ops.paste(torch.ones(1, 3, 3), torch.tensor([[-4.0, 2, 3, 99]]), (6, 8))[0]
    expected = torch.zeros(6, 8, dtype=torch.bool)
    expected[2:, :3] = True
    assert torch.equal(found, expected)


def test_each_mask_is_pasted_as_over_the_whole_picture():
    generator = torch.Generator().manual_seed(0)
    masks, corners = torch.rand(9, 5, 5, generator=generator), torch.rand(9, 2, generator=generator) * 24 - 6
    boxes = torch.cat([corners, corners + 8], 1)
    down, across = (mask_ops._weights(boxes[:, axis], boxes[:, axis + 2], 20, 5) for axis in (1, 0))
    assert torch.equal(mask_ops.paste(masks, boxes, (20, 20)), down @ masks @ across.mT >= 0.5)


def test_no_masks():
    assert mask_ops.paste(torch.zeros(0, 28, 28), torch.zeros(0, 4), (5, 6)).shape == (0, 5, 6)
    assert mask_ops.crop(torch.zeros(0, 5, 6, dtype=torch.bool), torch.zeros(0, 4), 28).shape == (0, 28, 28)


CALLS = [lambda m, b: mask_ops.crop(m > 0, b, 4), lambda m, b: mask_ops.paste(m, b, (9, 9))]


@pytest.mark.parametrize("call", CALLS)
def test_counts_that_differ_are_named(call):
    with pytest.raises(ValueError, match="2 boxes for 1 masks"):
        call(torch.zeros(1, 5, 5), torch.tensor([[0.0, 0, 4, 4]] * 2))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("bad", [[3.0, 0, 2, 2], [0.0, 3, 2, 2], [0.0, 0, math.nan, 2], [0.0, 0, math.inf, 2]])
def test_inverted_and_unfinished_boxes_are_named(call, bad):
    with pytest.raises(ValueError, match="inverted or not finite"):
        call(torch.zeros(1, 5, 5), torch.tensor([bad]))


@pytest.mark.parametrize("bad", [[-1.0, 0, 2, 2], [0.0, 0, 7.5, 2], [0.0, 0, 2, 6]])
def test_a_box_beyond_the_picture_cannot_be_cut(bad):
    with pytest.raises(ValueError, match="reaches out of 7x5 pixels"):
        mask_ops.crop(torch.zeros(1, 5, 7, dtype=torch.bool), torch.tensor([bad]), 4)


def test_outside_of_its_box_there_is_no_object_whatever_the_threshold():
    boxes = torch.tensor([[2.0, 1.0, 5.0, 3.0]])
    found = mask_ops.paste(torch.zeros(1, 4, 4), boxes, (6, 8), threshold=0.0)
    assert found.sum() == 6 and found[0, 1:3, 2:5].all()


def test_autocast_moves_no_border():
    probabilities = torch.rand(6, 7, 7, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[5.3, 2.6, 63.9, 57.1]]).repeat(6, 1)
    expected = mask_ops.paste(probabilities, boxes, (60, 70))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mask_ops.paste(probabilities, boxes, (60, 70)), expected)
