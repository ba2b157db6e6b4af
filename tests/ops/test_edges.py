"""The edge map of CEILNet: by hand, against a slow loop, and what does not change it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xferlib.ops.edges import edges


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(image):
    """Visit the neighbours of each pixel one by one."""
    height, width = image.shape[1:]
    found = torch.zeros(1, height, width, dtype=image.dtype)
    for y in range(height):
        for x in range(width):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < height and 0 <= u < width:
                    found[0, y, x] += (image[:, v, u] - image[:, y, x]).abs().sum() / 2
    return found


def test_a_row_by_hand():
    row = torch.tensor([[[[0.0, 1.0, 1.0, 0.5]]]])
    assert edges(row).tolist() == [[[[0.5, 0.5, 0.25, 0.25]]]]


def test_a_block_by_hand():
    block = torch.tensor([[[[0.0, 1.0], [2.0, 4.0]]]])
    assert edges(block).tolist() == [[[[(1 + 2) / 2, (1 + 3) / 2], [(2 + 2) / 2, (2 + 3) / 2]]]]


def test_channels_add_up():
    image = noise(2, 3, 5, 6)
    torch.testing.assert_close(edges(image), sum(edges(image[:, [c]]) for c in range(3)))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_it_is_the_slow_loop(channels, height, width, seed):
    images = noise(2, channels, height, width, seed=seed)
    torch.testing.assert_close(edges(images), torch.stack([slow(image) for image in images]))


@pytest.mark.parametrize(
    "move", [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT, lambda x: x.rot90(1, (-2, -1))]
)
def test_it_turns_with_the_picture(move):
    image = noise(1, 3, 6, 7)
    torch.testing.assert_close(edges(move(image)), move(edges(image)))


@settings(max_examples=20, deadline=None)
@given(st.floats(-2, 2), st.floats(-3, 3))
def test_light_that_is_added_does_not_count_and_contrast_does(offset, contrast):
    image = noise(1, 3, 5, 4)
    torch.testing.assert_close(edges(contrast * image + offset), abs(contrast) * edges(image))


def test_edges_of_a_sum_are_at_most_the_sum_of_edges():
    one, other = noise(2, 1, 3, 8, 9)
    assert (edges(one + other) <= edges(one) + edges(other) + 1e-12).all()


def test_the_largest_value_is_that_of_a_checkerboard():
    board = torch.eye(2).repeat(4, 4).expand(1, 3, 8, 8)
    assert edges(board)[..., 1:-1, 1:-1].unique().tolist() == [6]
    assert edges(board)[0, 0, 0, 0] == 3


def test_a_single_pixel_has_no_edge():
    assert edges(torch.rand(1, 3, 1, 1)).tolist() == [[[[0]]]]


def test_gradient():
    assert torch.autograd.gradcheck(edges, noise(1, 2, 4, 3).requires_grad_())


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"images of shape \(3, 4, 4\); expected \(B, C, H, W\)"):
        edges(torch.rand(3, 4, 4))
    with pytest.raises(ValueError, match=r"images are torch\.uint8; expected floating point, so divide bytes by 255"):
        edges(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


def test_it_does_not_change_its_argument():
    image = noise(1, 3, 4, 4)
    kept = image.clone()
    edges(image)
    assert torch.equal(image, kept)
