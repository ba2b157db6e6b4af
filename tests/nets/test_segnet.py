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


def test_each_stage_of_the_decoder_gets_the_places_of_its_own():
    net, image = SegNet(4, widths=(2, 3, 4), convs=(1, 2, 1)).eval(), torch.rand(1, 3, 21, 26)
    with torch.no_grad():
        first = net.encoder[0](image)
        x, of_first = F.max_pool2d(first, 2, return_indices=True)
        second = net.encoder[1](x)
        x, of_second = F.max_pool2d(second, 2, return_indices=True)
        third = net.encoder[2](x)
        x, of_third = F.max_pool2d(third, 2, return_indices=True)
        x = net.decoder[0](F.max_unpool2d(x, of_third, 2, output_size=third.shape[-2:]))
        x = net.decoder[1](F.max_unpool2d(x, of_second, 2, output_size=second.shape[-2:]))
        x = net.decoder[2](F.max_unpool2d(x, of_first, 2, output_size=first.shape[-2:]))
        torch.testing.assert_close(net(image), x)


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
