import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from xferlib.nets.segnet import SegNet


def test_size_of_the_paper_on_vgg16():
    with torch.device("meta"):
        net = SegNet(12)
        assert net(torch.empty(1, 3, 360, 480)).shape == (1, 12, 360, 480)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 26
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(29.45e6, rel=1e-3)


def test_unpooling_puts_the_maxima_back():
    x = torch.rand(1, 2, 7, 9)
    pooled, places = F.max_pool2d(x, 2, return_indices=True)
    back = F.max_unpool2d(pooled, places, 2, output_size=x.shape[-2:])
    assert torch.equal(back[back > 0], x[back > 0])
    assert (back > 0).sum() == pooled.numel()


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 50)])
def test_any_size_in_same_size_out(size):
    net = SegNet(4, widths=(2, 3, 4, 5, 6)).eval()
    assert net(torch.rand(2, 3, *size)).shape == (2, 4, *size)


def test_the_decoder_uses_the_places_of_the_encoder():
    net = SegNet(4, widths=(2, 3, 4, 5, 6)).eval()
    image = torch.rand(1, 3, 64, 64)
    seen = []
    net.decoder[-1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net.encoder[0].register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.no_grad():
        net(image)
    full, unpooled = seen
    _, places = F.max_pool2d(full, 2, return_indices=True)
    allowed = torch.zeros_like(full).flatten(2).scatter(2, places.flatten(2), 1).view_as(full).bool()
    assert not unpooled[~allowed].any()
    assert unpooled[allowed].any()


def test_scores_are_free_to_be_negative_and_gradients_reach_all():
    net = SegNet(4, widths=(2, 3, 4, 5, 6))
    scores = net(torch.rand(2, 3, 64, 64))
    assert (scores < 0).any()
    scores.square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_errors_name_the_value():
    with pytest.raises(ValueError, match=r"\(31, 40\)"):
        SegNet(4, widths=(2, 3, 4, 5, 6))(torch.rand(1, 3, 31, 40))
    with pytest.raises(ValueError, match="1 widths"):
        SegNet(4, widths=(2,))
