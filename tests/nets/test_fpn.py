"""The feature pyramid against torchvision's, and by hand."""

from collections import OrderedDict

import pytest
import torch

from xferlib.nets.fpn import FPN

# isort: split
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool


def test_the_same_weights_give_torchvisions_levels():
    torch.manual_seed(0)
    widths = (8, 12, 16, 20)
    net, peer = FPN(widths, 6), FeaturePyramidNetwork(list(widths), 6, LastLevelMaxPool())
    for mine, theirs in ((net.lateral, peer.inner_blocks), (net.smooth, peer.layer_blocks)):
        for a, b in zip(mine, theirs, strict=True):
            a.load_state_dict(b[0].state_dict())
    maps = [torch.rand(2, n, *size) for n, size in zip(widths, [(33, 20), (17, 10), (9, 5), (5, 3)], strict=True)]
    theirs = peer(OrderedDict(enumerate(maps))).values()
    for a, b in zip(net(maps), theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_what_the_top_sees_reaches_the_bottom():
    net = FPN((1, 1), 1, extra=False)
    for layer in (*net.lateral, *net.smooth):
        torch.nn.init.zeros_(layer.weight)
        layer.weight.data[..., layer.weight.shape[2] // 2, layer.weight.shape[3] // 2] = 1
    fine, coarse = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)
    coarse[0, 0, 0, 1] = 3
    fine[0, 0, 3, 3] = 1
    bottom, top = net([fine, coarse])
    assert torch.equal(top, coarse)
    assert bottom[0, 0].tolist() == [[0, 0, 3, 3], [0, 0, 3, 3], [0, 0, 0, 0], [0, 0, 0, 1]]


def test_a_wrong_number_of_maps_is_named():
    with pytest.raises(ValueError, match="1 maps for a pyramid of 2"):
        FPN((1, 1), 1)([torch.zeros(1, 1, 4, 4)])
