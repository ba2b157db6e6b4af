"""ESPCN: the paper's weights, the layout of its shuffle by hand, and its start without checkerboards."""

import pytest
import torch
import torch.nn.functional as F

from xferlib.nets.espcn import ESPCN
from xferlib.ops.resample import checkerboard_energy


def test_the_papers_net_by_its_weights():
    for factor in (2, 3, 4):
        weights = sum(p.numel() for p in ESPCN(factor).parameters() if p.ndim > 1)
        assert weights == 25 * 64 + 9 * 64 * 32 + 9 * 32 * factor**2
    assert ESPCN().factor == 3


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_it_starts_as_a_convolution_enlarged_by_repeating(factor):
    torch.manual_seed(0)
    net, luma = ESPCN(factor), torch.rand(2, 1, 6, 7)
    features = luma
    for layer in (net.first, net.second):
        reach = layer.weight.shape[-1] // 2
        features = F.conv2d(F.pad(features, [reach] * 4, mode="replicate"), layer.weight, layer.bias).tanh()
    last = net.shuffle.conv
    one = F.conv2d(F.pad(features, [1] * 4, mode="replicate"), last.weight[:1], last.bias[:1])
    made = net.enlarge_luma(luma)
    torch.testing.assert_close(made, F.interpolate(one, scale_factor=factor, mode="nearest"))
    assert one.std() > 0.01
    flat = net.enlarge_luma(torch.full((1, 1, 6, 6), 0.4))
    assert checkerboard_energy(flat, factor) == 0


@pytest.mark.parametrize("factor", [2, 3])
def test_the_layout_of_the_shuffle_by_hand(factor):
    net = ESPCN(factor, widths=(1, 1), kernels=(1, 1, 1))
    with torch.no_grad():
        for layer in (net.first, net.second, net.shuffle.conv):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
        net.shuffle.conv.bias.copy_(torch.arange(factor**2))
    made = net.enlarge_luma(torch.zeros(1, 1, 2, 2))[0, 0]
    for row in range(2 * factor):
        for column in range(2 * factor):
            assert made[row, column] == (row % factor) * factor + column % factor
    luma = torch.tensor([[[[0.1, 0.9]]]])
    places = net.enlarge_luma(luma)[0, 0, 0]
    expected = luma[0, 0, 0].tanh().tanh()
    torch.testing.assert_close(places[::factor], expected)


def test_senseless_kernels_are_refused():
    with pytest.raises(ValueError, match=r"kernels=\(5, 3\).*three odd kernels"):
        ESPCN(3, kernels=(5, 3))
    with pytest.raises(ValueError, match="two widths"):
        ESPCN(3, widths=(64, 0))
