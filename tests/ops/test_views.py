"""Averaging over views: by hand, and what it makes of predictions that do and do not turn with the picture."""

import pytest
import torch

from xferlib.ops.instances import boxes_of
from xferlib.ops.views import average_views, views_of

CORNER = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])


def test_views_by_hand():
    def predict(view):
        return view * torch.tensor([3.0, 2.0, 1.0])

    assert average_views(predict, CORNER, 1).tolist() == [[[3, 0, 0], [0, 0, 0]]]
    # The mirror image has its 1 on the right, where it counts 1.
    assert average_views(predict, CORNER, 2).tolist() == [[[2, 0, 0], [0, 0, 0]]]


def test_eight_views_are_eight_different_ones():
    seen = []
    image = torch.arange(6.0).view(1, 2, 3)
    average_views(lambda view: seen.append(view) or view, image, 8)
    assert sorted(tuple(view.shape) for view in seen) == [(1, 2, 3)] * 4 + [(1, 3, 2)] * 4
    assert len({(view.shape, tuple(view.flatten().tolist())) for view in seen}) == 8


@pytest.mark.parametrize("views", [1, 2, 8])
def test_what_turns_with_the_picture_is_left_as_it_is(views):
    image = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(average_views(lambda view: view.square(), image, views), image.square())


@pytest.mark.parametrize("enlarged", [1, 2])
def test_the_mean_over_eight_views_turns_with_the_picture(enlarged):
    generator = torch.Generator().manual_seed(0)
    kernel = torch.randn(2, 3, 3, 3, generator=generator)
    image = torch.rand(3, 6, 9, generator=generator)

    def predict(view):
        made = torch.conv2d(view[None], kernel, padding=1)[0]
        return made.repeat_interleave(enlarged, 1).repeat_interleave(enlarged, 2)

    straight = average_views(predict, image, 8)
    assert straight.shape == (2, 6 * enlarged, 9 * enlarged)
    for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.rot90(1, (-2, -1))):
        assert torch.allclose(average_views(predict, turn(image), 8), turn(straight), atol=1e-5)
        assert not torch.allclose(predict(turn(image)), turn(predict(image)), atol=1e-2)


def test_one_view_copies_neither_the_picture_nor_what_is_made_of_it():
    assert average_views(lambda view: view, CORNER, 1) is CORNER
    kept = CORNER.clone()
    assert average_views(lambda view: view, kept, 8) is not kept and torch.equal(kept, CORNER)


@pytest.mark.parametrize("views", [0, 3, 4, -1])
def test_other_numbers_of_views_are_refused(views):
    with pytest.raises(ValueError, match=f"{views} views; there are 1, 2 with the mirror image, or 8"):
        average_views(lambda view: view, CORNER, views)


@pytest.mark.parametrize("view", views_of(8), ids=str)
@pytest.mark.parametrize("size", [(5, 9), (8, 3)])
def test_boxes_go_where_what_they_hold_goes(view, size):
    masks = torch.rand(6, *size, generator=torch.Generator().manual_seed(0)) > 0.85
    masks = masks[masks.flatten(1).any(1)]
    assert len(masks) > 3 and torch.equal(view.back(view.of(masks)), masks)
    seen = boxes_of(view.of(masks))
    assert torch.equal(view.boxes_in_view(boxes_of(masks), size), seen)
    assert torch.equal(view.boxes_in_picture(seen[:, None], size), boxes_of(masks)[:, None])


def test_the_first_view_is_the_picture_as_it_is():
    assert [view for number in (1, 2) for view in views_of(number)] == [(0, False), (0, False), (0, True)]
