"""Layers by name, and the regressor of a hint."""

import pytest
import torch
from torch import nn

from xferlib.nets.hints import Regressor, layer_outputs
from xferlib.nets.vgg import VGG


def test_outputs_are_those_that_the_net_gives_itself():
    torch.manual_seed(0)
    net, image = VGG(1, widths=(2, 3), convs=(1, 2)), torch.rand(1, 1, 8, 8)
    with layer_outputs(net, ["relu1_1", "conv2_2"]) as found:
        assert not found
        net(image, ("pool2",))
    expected = net(image, ("relu1_1", "conv2_2"))
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def test_nested_layers_carry_a_gradient_and_the_hooks_go():
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1))
    with layer_outputs(net, ["0.1"]) as found:
        net(torch.ones(1, 2))
    first = found["0.1"]
    first.sum().backward()
    assert net[0][0].weight.grad is not None and net[1].weight.grad is None
    net(torch.zeros(1, 2))
    assert found["0.1"] is first
    with pytest.raises(ZeroDivisionError), layer_outputs(net, ["0"]):
        raise ZeroDivisionError
    assert not any(module._forward_hooks for module in net.modules())


def test_a_layer_that_runs_twice_gives_its_last_output():
    layer = nn.Linear(1, 1)
    with layer_outputs(nn.Sequential(layer, layer), ["0"]) as found:
        last = nn.Sequential(layer, layer)(torch.ones(1, 1))
    assert torch.equal(found["0"], last)


def test_unknown_layers_are_answered_with_those_that_exist():
    small = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    with (
        pytest.raises(ValueError, match=r"Sequential has no layer 'conv'; it has 0, 1"),
        layer_outputs(small, ["conv"]),
    ):
        pass
    with pytest.raises(ValueError, match="no layer ''; it has 0, 1"), layer_outputs(small, [""]):
        pass
    with pytest.raises(ValueError, match=r"near it are .*relu3_3.*; the 31 layers lie in conv1_1, .*pool5"):
        layer_outputs(VGG(widths=(1,) * 5), ["rellu3_3"]).__enter__()


def test_regressor_brings_channels_and_size_together():
    assert Regressor(3, 8)(torch.rand(2, 3, 5, 6)).shape == (2, 8, 5, 6)
    assert Regressor(3, 8, 3)(torch.rand(2, 3, 5, 6)).shape == (2, 8, 3, 4)
    assert Regressor(3, 8, enlarge=2)(torch.rand(2, 3, 5, 6)).shape == (2, 8, 10, 12)
    assert sum(p.numel() for p in Regressor(3, 8, 3).parameters()) == 3 * 8 * 9 + 8
    with pytest.raises(ValueError, match="kernel=0"):
        Regressor(3, 8, 0)
