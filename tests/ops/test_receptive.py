import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from xferlib.ops.receptive import extent, receptive_field


def stack(*dilations: int, kernel: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Conv2d(1, 1, kernel, padding=d * (kernel // 2), dilation=d) for d in dilations))


def test_one_convolution_shows_its_weights():
    net = stack(1)
    field = receptive_field(net, (1, 9, 11))
    expected = torch.zeros(9, 11)
    expected[3:6, 4:7] = net[0].weight[0, 0].abs()
    torch.testing.assert_close(field, expected)
    assert extent(field) == (3, 3)


@pytest.mark.parametrize(("dilations", "side"), [((1,), 3), ((1, 2), 7), ((1, 2, 4), 15), ((1, 2, 4, 8), 31)])
def test_dilations_as_on_the_slide(dilations, side):
    assert extent(receptive_field(stack(*dilations), (1, 40, 40))) == (side, side)


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([1, 3, 5])), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_any_stack_against_the_formula(layers):
    net = nn.Sequential(*(nn.Conv2d(1, 1, k, padding=d * (k // 2), dilation=d) for d, k in layers))
    side = 1 + sum(d * (k - 1) for d, k in layers)
    assert extent(receptive_field(net, (1, 71, 71))) == (side, side)


def test_dilations_that_share_a_factor_leave_a_grid():
    field = receptive_field(stack(2, 2, 2), (1, 31, 31))
    assert extent(field) == (13, 13)
    touched = field[9:22, 9:22] > 0
    assert touched.sum() == 49 and touched[::2, ::2].all()
    assert (receptive_field(stack(1, 2, 5), (1, 31, 31)) > 0).sum() == 17 * 17


def test_an_asymmetric_kernel_and_a_stride():
    row = nn.Conv2d(1, 1, (1, 5), padding=(0, 2))
    assert extent(receptive_field(row, (1, 9, 9))) == (1, 5)
    assert extent(receptive_field(nn.Sequential(row, nn.Conv2d(1, 1, (5, 1), padding=(2, 0))), (1, 9, 9))) == (5, 5)
    # Behind a stride of 2 a step of one is a step of two: 3 + 2 * 2.
    strided = nn.Sequential(nn.Conv2d(1, 1, 3, stride=2, padding=1), nn.Conv2d(1, 1, 3, padding=1))
    assert extent(receptive_field(strided, (1, 24, 24))) == (7, 7)


def test_the_position_moves_the_field():
    net = stack(1)
    middle = receptive_field(net, (1, 9, 9), (4, 4))
    torch.testing.assert_close(middle, receptive_field(net, (1, 9, 9)))
    torch.testing.assert_close(receptive_field(net, (1, 9, 9), (2, 6)), middle.roll((-2, 2), (0, 1)))
    assert extent(receptive_field(net, (1, 9, 9), (0, 8))) == (2, 2)


def test_more_images_see_all_that_pooling_hides():
    net = nn.MaxPool2d(3, stride=1, padding=1)
    assert (receptive_field(net, (1, 7, 7), images=1) > 0).sum() == 1
    assert (receptive_field(net, (1, 7, 7), images=64) > 0).sum() == 9
    field = receptive_field(net, (1, 7, 7), images=64)
    assert field.sum().item() == pytest.approx(1) and torch.equal(field, receptive_field(net, (1, 7, 7), images=64))


def test_the_net_is_left_as_it_was():
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)).train()
    with torch.no_grad():
        receptive_field(net, (2, 5, 5))
    assert net[1].training and net[1].num_batches_tracked == 0
    assert all(p.grad is None for p in net.parameters())


def test_it_works_in_inference_mode():
    net = stack(1, 2)
    with torch.inference_mode():
        field = receptive_field(net, (1, 20, 20))
    assert torch.equal(field, receptive_field(net, (1, 20, 20)))


def test_positions_and_shapes_that_are_not_there():
    with pytest.raises(ValueError, match=r"position \(5, 0\) is not in the output of 5x5"):
        receptive_field(stack(1), (1, 5, 5), (5, 0))
    with pytest.raises(ValueError, match=r"shape \(5, 5\)"):
        receptive_field(stack(1), (5, 5))
    with pytest.raises(ValueError, match="0 images to average over"):
        receptive_field(stack(1), (1, 5, 5), images=0)


def test_extent_of_a_share_by_hand():
    field = torch.zeros(9, 9)
    field[2:7, 2:7] = 1
    field[4, 4] = 76
    assert extent(field) == (5, 5)
    assert extent(field, 0.76) == (1, 1)
    assert extent(field, 0.8) == (3, 3)  # 76 + 8
    assert extent(field, 0.85) == (4, 4)  # 76 + 15
    assert extent(field, 0.95) == (5, 5)


def test_a_square_that_outgrows_the_image_is_cut_off():
    assert extent(torch.ones(2, 10), 0.9) == (2, 9)


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.05, 0.95), st.integers(0, 9))
@settings(deadline=None)
def test_extent_is_the_smallest_by_brute_force(height, width, share, seed):
    field = torch.rand(height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.double) ** 4
    side = max(extent(field, share))

    def best(n: int) -> float:
        window = (min(n, height), min(n, width))
        return float(F.avg_pool2d(field[None, None], window, 1, divisor_override=1).max())

    total = float(field.sum())
    assert best(side) >= share * total * (1 - 1e-9)
    assert side == 1 or best(side - 1) < share * total * (1 + 1e-9)


@pytest.mark.parametrize("share", [0, -1, 1.5])
def test_a_share_without_sense_is_named(share):
    with pytest.raises(ValueError, match=f"share {share}"):
        extent(torch.ones(3, 3), share)


def test_a_field_of_zeros_has_no_extent():
    with pytest.raises(ValueError, match="zero everywhere"):
        extent(torch.zeros(3, 3))
