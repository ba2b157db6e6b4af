"""Pyramid pooling against windows counted by hand, and PSPNet's sizes, view and training."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xferlib.losses.segmentation import cascade_loss
from xferlib.metrics.cost import parameters
from xferlib.nets.pspnet import PSPNet, PyramidPooling
from xferlib.ops.receptive import extent, receptive_field

TINY = {"depths": (1, 1, 1, 1), "widths": (4, 4, 8, 8), "expansion": 1, "stem": 4, "channels": 8}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def averaging(channels, bins):
    """Build a pyramid whose 1x1 convolutions keep the first channels and whose norms do nothing."""
    pyramid = PyramidPooling(channels, bins).eval()
    for reduce, norm in zip(pyramid.reduce, pyramid.norm, strict=True):
        nn.init.dirac_(reduce.weight)
        norm.eps = 0.0
    return pyramid


def test_windows_by_hand():
    rows = torch.arange(5.0).view(1, 1, 5, 1).expand(1, 1, 5, 3)  # five rows in two bins: 0 to 2, and 2 to 4
    averaged = averaging(1, (2,))(rows)[0, 1]
    assert averaged[0].tolist() == pytest.approx([1, 1, 1]) and averaged[4].tolist() == pytest.approx([3, 3, 3])
    # Bin centres lie at 0.75 and 3.25 from the first row's centre; the middle row is half way.
    assert averaged[2].tolist() == pytest.approx([2, 2, 2])
    torch.testing.assert_close(averaging(1, (1,))(rows)[:, 1:], torch.full((1, 1, 5, 3), 2.0))


@given(side=st.sampled_from([1, 2, 3, 6]), height=st.integers(6, 20), width=st.integers(6, 20))
@settings(max_examples=30, deadline=None)
def test_corners_hold_the_averages_of_the_corner_bins(side, height, width):
    x = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(height * width))
    averaged = averaging(1, (side,))(x)[0, 1]
    high, wide = -(-height // side), -(-width // side)
    corners = {(0, 0): x[..., :high, :wide], (-1, 0): x[..., -high:, :wide], (-1, -1): x[..., -high:, -wide:]}
    for (row, column), window in corners.items():
        assert averaged[row, column].item() == pytest.approx(window.mean().item(), rel=1e-5)


def test_as_many_bins_as_cells_change_nothing():
    x = torch.rand(2, 1, 6, 6)
    torch.testing.assert_close(averaging(1, (6,))(x)[:, 1:], x)


def test_the_map_comes_first_and_each_grid_gets_its_share():
    pyramid = PyramidPooling(8).eval()
    x = torch.randn(2, 8, 7, 9)
    out = pyramid(x)
    assert out.shape == (2, 16, 7, 9) and torch.equal(out[:, :8], x)
    assert (out[:, 8:] >= 0).all()
    varies = [bool(out[:, start : start + 2].std((-2, -1)).max() > 1e-3) for start in range(8, 16, 2)]
    assert varies == [False, True, True, True]  # the grid of one cell is the same everywhere


def test_channels_that_cannot_be_shared_are_named():
    with pytest.raises(ValueError, match="10 channels cannot be shared by 4 grids; give a multiple of 4"):
        PyramidPooling(10)


def test_parameters_of_the_paper():
    resnet50 = 25_557_032 - (2048 * 1000 + 1000)
    pyramid = 4 * (2048 * 512 + 2 * 512)
    head = 9 * 4096 * 512 + 2 * 512 + 512 * 21 + 21
    auxiliary = 9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21
    with torch.device("meta"):
        assert parameters(PSPNet()) == resnet50 + pyramid + head + auxiliary
        assert parameters(PSPNet(auxiliary=0)) == resnet50 + pyramid + head
        assert parameters(PSPNet(bins=(), auxiliary=0)) == resnet50 + head - 9 * 2048 * 512


@pytest.mark.parametrize("bins", [(1, 2, 3, 6), ()])
@given(height=st.integers(1, 90), width=st.integers(1, 90))
@settings(max_examples=15, deadline=None)
def test_any_size_in_same_size_out(bins, height, width):
    with torch.device("meta"):
        net = PSPNet(5, bins=bins, **TINY).eval()
        assert net(torch.empty(2, 3, height, width)).shape == (2, 5, height, width)


def test_one_pixel():
    assert PSPNet(5, **TINY).eval()(torch.rand(1, 3, 1, 1)).isfinite().all()


def test_with_the_pyramid_each_pixel_sees_the_whole_image():
    fields = {}
    for bins in ((1, 2, 3, 6), ()):
        net = PSPNet(2, bins=bins, **TINY)
        for parameter in net.parameters():
            parameter.data.abs_()  # so that no ReLU and no cancelling hides a path
        fields[bins] = extent(receptive_field(net, (3, 480, 480), images=1))
    assert fields[1, 2, 3, 6] == (480, 480)
    assert max(fields[()]) < 400


@pytest.mark.parametrize("batch", [1, 3])
def test_every_parameter_trains(batch):
    net = PSPNet(5, auxiliary=4, **TINY).train()
    labels = torch.randint(5, (batch, 64, 48))
    terms = cascade_loss(net(torch.rand(batch, 3, 64, 48)), labels, {"main": 1.0, "auxiliary": 0.4})
    sum(terms.values()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_a_batch_of_one_leaves_the_norm_of_the_one_cell_as_it_was():
    pyramid = PyramidPooling(8).train()
    before = [norm.running_var.clone() for norm in pyramid.norm]
    assert pyramid(torch.randn(1, 8, 6, 6)).isfinite().all()
    assert [torch.equal(norm.running_var, old) for norm, old in zip(pyramid.norm, before, strict=True)] == [
        True
    ] + 3 * [False]


def test_the_auxiliary_head_hangs_on_the_map_before_the_last():
    net = PSPNet(5, auxiliary=4, **TINY).train()
    net(torch.rand(2, 3, 32, 32))["auxiliary"].sum().backward()
    assert net.backbone.layer3[0].conv1.weight.grad.any()
    assert all(p.grad is None for module in (net.backbone.layer4, net.head) for p in module.parameters())


def test_the_backbone_keeps_stride_eight():
    net = PSPNet(5, **TINY).eval()
    assert net.backbone(torch.rand(1, 3, 64, 72))[-1].shape[-2:] == (8, 9)
    assert PSPNet(5, stride=16, **TINY).eval().backbone(torch.rand(1, 3, 64, 72))[-1].shape[-2:] == (4, 5)


def test_bytes_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"torch.uint8; expected floats: images / 255"):
        PSPNet(3, **TINY).eval()(torch.full((1, 3, 32, 32), 200, dtype=torch.uint8))
