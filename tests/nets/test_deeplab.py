"""ASPP as the sum of its branches, and what each branch sees."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from xferlib.metrics.cost import parameters
from xferlib.nets.deeplab import ASPP, RATES, DeepLab
from xferlib.nets.pspnet import PSPNet
from xferlib.ops.receptive import receptive_field

RESNET = {"depths": (1, 1, 1, 1), "widths": (4, 4, 8, 8), "expansion": 1, "stem": 4}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_the_branches_are_summed():
    aspp = ASPP(3, 4, (2, 5), hidden=6).eval()
    x = torch.randn(2, 3, 11, 13)
    expected = torch.zeros(2, 4, 11, 13)
    for rate, ((conv, norm, _), score) in zip((2, 5), aspp.branches, strict=True):
        hidden = F.conv2d(x, conv.weight, padding=rate, dilation=rate) / (1 + norm.eps) ** 0.5
        expected += torch.einsum("oc,bchw->bohw", score.weight[..., 0, 0], hidden.relu()) + score.bias[:, None, None]
    torch.testing.assert_close(aspp(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rates", [(1,), (4,), (2, 5), RATES])
def test_where_it_looks(rates):
    aspp = ASPP(2, 3, rates, hidden=4)
    for parameter in aspp.parameters():
        parameter.data.abs_()
    seen = receptive_field(aspp, (2, 61, 61), images=1).nonzero() - 30
    expected = {(r * i, r * j) for r in rates for i in (-1, 0, 1) for j in (-1, 0, 1)}
    assert {tuple(place) for place in seen.tolist()} == expected


def test_a_rate_beyond_the_map_leaves_a_1x1_convolution():
    aspp = ASPP(3, 2, (24,), hidden=4).eval()
    conv, norm, _ = aspp.branches[0][0]
    x = torch.randn(1, 3, 20, 24)
    hidden = norm(F.conv2d(x, conv.weight[:, :, 1:2, 1:2])).relu()
    torch.testing.assert_close(aspp(x), aspp.branches[0][1](hidden))


def test_parameters():
    resnet50 = 25_557_032 - (2048 * 1000 + 1000)
    branch = 9 * 2048 * 1024 + 2 * 1024 + 1024 * 21 + 21
    with torch.device("meta"):
        assert parameters(DeepLab()) == resnet50 + 4 * branch


def test_it_stands_on_the_backbone_of_pspnet():
    deeplab = DeepLab(5, hidden=4, auxiliary=4, **RESNET)
    pspnet = PSPNet(5, channels=4, auxiliary=4, **RESNET)
    for part in ("backbone", "auxiliary"):
        state, other = getattr(deeplab, part).state_dict(), getattr(pspnet, part).state_dict()
        assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in other.items()}


@given(height=st.integers(1, 90), width=st.integers(1, 90))
@settings(max_examples=15, deadline=None)
def test_any_size_in_same_size_out(height, width):
    with torch.device("meta"):
        net = DeepLab(5, hidden=4, **RESNET).eval()
        assert net(torch.empty(2, 3, height, width)).shape == (2, 5, height, width)


def test_every_parameter_trains():
    net = DeepLab(5, hidden=4, rates=(1, 2), **RESNET).train()
    scores = net(torch.rand(1, 3, 64, 48))
    assert scores.keys() == {"main"}
    scores["main"].square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_bytes_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"torch.uint8; expected floats: images / 255"):
        DeepLab(3, hidden=4, **RESNET).eval()(torch.full((1, 3, 32, 32), 200, dtype=torch.uint8))
