"""Upsampling layers: how they start, and the checkerboards they make or do not make."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xferlib.nets.upsampling import ResizeConv, SubPixelConv
from xferlib.ops.resample import checkerboard_energy


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("layer", [ResizeConv, SubPixelConv])
def test_sizes(layer, factor):
    assert layer(4, 5, factor)(torch.rand(2, 4, 3, 7)).shape == (2, 5, 3 * factor, 7 * factor)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_sub_pixels_start_as_a_convolution_enlarged_by_repeating(factor):
    layer, x = SubPixelConv(3, 5, factor), torch.randn(2, 3, 6, 7)
    conv = nn.Conv2d(3, 5, 3, padding=1, padding_mode="replicate")
    conv.weight.data, conv.bias.data = layer.conv.weight[:: factor**2].clone(), layer.conv.bias[:: factor**2].clone()
    torch.testing.assert_close(layer(x), F.interpolate(conv(x), scale_factor=factor, mode="nearest"))
    assert conv.weight.std() > 0.1


def test_the_layout_of_sub_pixels_by_hand():
    layer = SubPixelConv(1, 1, 2, kernel=1, even=False)
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([1.0, 2, 3, 4]).view(4, 1, 1, 1))
        layer.conv.bias.zero_()
    out = layer(torch.tensor([[[[1.0, 10.0]]]]))
    assert out[0, 0].tolist() == [[1, 2, 10, 20], [3, 4, 30, 40]]


def test_resize_and_convolve_by_hand():
    layer = ResizeConv(1, 1, 2)
    nn.init.zeros_(layer.conv.bias)
    nn.init.dirac_(layer.conv.weight)
    x = torch.tensor([[[[1.0, 2.0]]]])
    assert layer(x)[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]
    nn.init.constant_(layer.conv.weight, 1 / 9)
    assert layer(x)[0, 0, 0].tolist() == pytest.approx([1, 4 / 3, 5 / 3, 2])


def test_bilinear_interpolation_first():
    layer = ResizeConv(1, 1, 2, mode="bilinear")
    nn.init.zeros_(layer.conv.bias)
    nn.init.dirac_(layer.conv.weight)
    assert layer(torch.tensor([[[[0.0, 4.0]]]]))[0, 0, 0].tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("layer", [ResizeConv(2, 3, 2), SubPixelConv(2, 3, 2)])
def test_of_a_constant_map_they_make_a_constant_one(layer):
    out = layer(torch.full((1, 2, 6, 6), 0.7))
    torch.testing.assert_close(out, out[..., :1, :1].expand_as(out))


def test_who_makes_checkerboards_of_a_constant_map():
    layers = {
        "deconvolution": nn.ConvTranspose2d(8, 4, 4, 2, bias=False),  # its weights are uneven, if not their number
        "random": SubPixelConv(8, 4, even=False),
        "even": SubPixelConv(8, 4),
        "resize": ResizeConv(8, 4),
    }
    with torch.no_grad():
        maps = {name: layer(torch.ones(1, 8, 16, 16))[..., 4:-4, 4:-4] for name, layer in layers.items()}
    assert all(checkerboard_energy(maps[name], 2) > 0.999 for name in ("deconvolution", "random"))
    spread = {name: x.std((-2, -1)).max().item() for name, x in maps.items()}
    assert max(spread["even"], spread["resize"]) < 1e-6 < 1e-2 < min(spread["deconvolution"], spread["random"])
