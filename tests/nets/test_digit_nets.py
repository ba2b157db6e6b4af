"""Nets for digits: their sizes by hand, and how their weights are drawn."""

import pytest
import torch
from torch import nn

from xferlib.metrics.cost import multiply_adds, parameters
from xferlib.nets.digit_nets import DigitNet, Perceptron, thin


def test_perceptron_by_hand():
    net = Perceptron((5, 3))
    assert parameters(net) == (64 * 5 + 5) + (5 * 3 + 3) + (3 * 10 + 10)
    assert multiply_adds(net, (1, 8, 8)) == 64 * 5 + 5 * 3 + 3 * 10
    digits = torch.rand(2, 1, 8, 8)
    _, one, _, two, _, last = net
    expected = last(two(one(digits.flatten(1)).relu()).relu())
    assert torch.equal(net(digits), expected)
    assert parameters(Perceptron(())) == 650  # linear


def test_digit_net_by_hand():
    net = DigitNet((4, 6), (1, 2), hidden=7)
    body = (9 * 4 + 4) + (9 * 4 * 6 + 6) + (9 * 6 * 6 + 6)
    assert parameters(net) == body + (6 * 4 * 7 + 7) + (7 * 10 + 10)
    assert net(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    bare = DigitNet((4, 6), (1, 2), hidden=0)
    assert parameters(bare) == body + (6 * 4 * 10 + 10)


def test_dropout_works_while_training_only():
    torch.manual_seed(0)
    net, digits = DigitNet(dropout=0.5), torch.rand(2, 1, 8, 8)
    assert not torch.equal(net(digits), net(digits))
    net.eval()
    assert torch.equal(net(digits), net(digits))


@pytest.mark.parametrize("layers", [4, 6, 11])
def test_thin_nets_have_so_many_layers_and_a_middle(layers):
    net = thin(layers, 3)
    assert sum(isinstance(module, nn.Conv2d) for module in net.modules()) == layers
    assert parameters(net) == (9 * 3 + 3) + (layers - 1) * (9 * 9 + 3) + (3 * 4 * 10 + 10)
    assert f"body.relu2_{layers // 2 - 1}" in dict(net.named_modules())


def test_one_way_of_drawing_keeps_the_signal_and_the_other_loses_it():
    torch.manual_seed(0)
    digits = torch.rand(50, 1, 8, 8)
    kept = {}
    for init in ("he", "shrinking"):
        found = thin(14, 64, init).body(digits, ("relu2_2", "relu2_10"))
        early, late = (each.std(0).square().mean().item() for each in found.values())
        kept[init] = (late / early) ** (1 / 8)  # of what tells digits apart, a layer
    assert kept["he"] > 0.5 and kept["shrinking"] < 0.2


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="init 'random' is none of 'he', 'shrinking'"):
        DigitNet(init="random")
    with pytest.raises(ValueError, match="3 layers are not deep"):
        thin(3)
    with pytest.raises(ValueError, match=r"hidden layers of \(32, 0\) units"):
        Perceptron((32, 0))
