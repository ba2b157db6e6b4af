"""ResNet against torchvision's, weight by weight."""

import pytest
import torch

from xferlib.nets.resnet import Frozen, ResNet

# isort: split
import torchvision


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def stages(peer, image):
    x = peer.maxpool(peer.relu(peer.bn1(peer.conv1(image))))
    maps = []
    for layer in (peer.layer1, peer.layer2, peer.layer3, peer.layer4):
        x = layer(x)
        maps.append(x)
    return maps


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("resnet18", {"depths": (2, 2, 2, 2), "expansion": 1}), ("resnet50", {})],
)
def test_the_same_weights_give_torchvisions_maps(name, arguments):
    peer = getattr(torchvision.models, name)().eval()
    net = ResNet(**arguments).eval()
    state = {key: value for key, value in peer.state_dict().items() if not key.startswith("fc.")}
    net.load_state_dict(state)
    image = torch.rand(1, 3, 65, 48)
    with torch.no_grad():
        for mine, theirs in zip(net(image), stages(peer, image), strict=True):
            assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())


def test_sizes_of_the_maps():
    net = ResNet((1, 1, 1, 1), (8, 16, 24, 32), expansion=1, stem=8)
    assert net.out_channels == (8, 16, 24, 32)
    sizes = [(16, 9), (8, 5), (4, 3), (2, 2)]
    assert [tuple(m.shape) for m in net(torch.rand(2, 3, 63, 35))] == [
        (2, c, *s) for c, s in zip(net.out_channels, sizes, strict=True)
    ]


def test_frozen_normalisation_is_that_of_a_batch_norm_at_rest():
    norm, frozen = torch.nn.BatchNorm2d(5).eval(), Frozen(5)
    for value in norm.state_dict().values():
        if value.ndim:
            value.copy_(torch.rand(5) + 0.5)
    frozen.load_state_dict({k: v for k, v in norm.state_dict().items() if v.ndim})
    x = torch.randn(2, 5, 4, 3)
    assert torch.allclose(frozen(x), norm(x), atol=1e-6)
    assert not list(frozen.parameters())


@pytest.mark.parametrize("norm", ["batch", "frozen", "group"])
def test_every_norm_trains(norm):
    net = ResNet((1, 1), (8, 16), expansion=2, stem=8, norm=norm)
    sum(m.square().mean() for m in net(torch.rand(2, 3, 32, 32))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_bad_choices_are_named():
    with pytest.raises(ValueError, match="2 depths for 4 widths"):
        ResNet((1, 1))
    with pytest.raises(ValueError, match="'layer' is not known; choose one of batch"):
        ResNet(norm="layer")
