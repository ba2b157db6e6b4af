"""EDSR: the paper's parameters, its blocks by hand, and the slim net that starts as the bicubic picture."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xferlib.metrics.cost import multiply_adds, parameters
from xferlib.nets.edsr import EDSR, SLIM, Block
from xferlib.ops.degrade import upscale


def test_the_papers_baselines_by_their_parameters():
    with torch.device("meta"):
        found = {factor: parameters(EDSR(factor)) for factor in (2, 3, 4)}
        assert parameters(EDSR(2, 256, 32, 0.1)) == 40_729_603  # "43M" with the tail of 4
        assert parameters(EDSR(4, 256, 32, 0.1)) == 43_089_923
    assert found == {2: 1_369_859, 3: 1_554_499, 4: 1_517_571}


def test_no_layer_normalises():
    assert {type(layer) for layer in EDSR(2, 4, 2).blocks.modules()} == {nn.Sequential, Block, nn.Conv2d}


def test_the_slim_net_is_small_and_costs_two_fifths_of_a_compact_one():
    net = EDSR(4, **SLIM)
    assert parameters(net) * 2 <= 2**20  # bytes in half precision
    compact = 27 * 64 + 16 * 9 * 64 * 64 + 9 * 64 * 48
    assert multiply_adds(net, (3, 16, 16)) == 256 * (27 * 48 + 11 * 9 * 48 * 48 + 9 * 48 * 48) < 0.41 * 256 * compact


def test_the_slim_net_costs_an_eighth_of_the_papers_baseline():
    with torch.device("meta"):
        baseline, slim = (multiply_adds(net, (3, 16, 16)) for net in (EDSR(4), EDSR(4, **SLIM)))
    assert baseline / slim == pytest.approx(8, abs=0.2)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_the_slim_net_starts_as_the_bicubic_picture(factor):
    images = torch.rand(2, 3, 7, 10)
    assert torch.equal(EDSR(factor, **SLIM)(images), upscale(images, factor))


def test_a_block_adds_a_share_of_two_convolutions_to_what_it_is_given():
    block, x = Block(3, 0.1), torch.randn(1, 3, 5, 6)
    inner = F.conv2d(F.conv2d(x, *block.first.parameters(), padding=1).relu(), *block.second.parameters(), padding=1)
    torch.testing.assert_close(block(x), x + 0.1 * inner)


@pytest.mark.parametrize("factor, steps", [(2, [2]), (3, [3]), (4, [2, 2]), (8, [2, 2, 2])])
def test_the_papers_net_written_out(factor, steps):
    torch.manual_seed(0)
    net, images = EDSR(factor, 4, 2, 0.5), torch.rand(1, 3, 5, 6)
    mean = torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]
    first = net.enter(images - mean)
    x = first
    for block in net.blocks:
        x = x + 0.5 * block.second(block.first(x).relu())
    x = first + net.gather(x)
    assert len(net.tail) == len(steps) + 1
    for step, layer in zip(steps, net.tail, strict=False):
        x = F.pixel_shuffle(F.conv2d(F.pad(x, [1] * 4, mode="replicate"), layer.conv.weight, layer.conv.bias), step)
    torch.testing.assert_close(net(images), net.tail[-1](x) + mean)


def test_the_slim_tail_is_one_shuffle_to_colours():
    net = EDSR(3, 4, 1, direct=True, bicubic=True)
    assert net.tail.conv.weight.shape == (27, 4, 3, 3)
    with torch.no_grad():
        net.tail.conv.bias.copy_(torch.arange(27) // 9)
    added = net(torch.zeros(1, 3, 2, 2))
    assert added.unique(dim=1).shape[1] == 3 and torch.equal(added[0, :, 0, 0], torch.tensor([0.0, 1, 2]))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"factor 5 is none of 2, 3, 4, 8.*direct=True"):
        EDSR(5)
    with pytest.raises(ValueError, match="blocks=-1"):
        EDSR(2, blocks=-1)
    with pytest.raises(ValueError, match=r"scale=0\.0"):
        EDSR(2, scale=0.0)
