"""Dilated backbones against the nets they are made of, and against torchvision's."""

from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xferlib.nets import backbones
from xferlib.nets.backbones import IMAGENET, Dense, DilatedVGG, conv3x3, dilated, enlarge, imagenet
from xferlib.nets.resnet import ResNet
from xferlib.nets.vgg import VGG

# isort: split
import torchvision


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def trained(net):
    """Give the norms statistics that are not those of a fresh net."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    return net.eval()


@pytest.mark.parametrize("expansion", [1, 4])
@pytest.mark.parametrize("stride", [4, 8, 16, 32])
@pytest.mark.parametrize("size", [(97, 129), (64, 40)])
def test_between_the_new_values_are_those_of_the_coarse_maps(expansion, stride, size):
    net = trained(ResNet((2, 1, 2, 1), (4, 4, 8, 8), expansion=expansion, stem=4))
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        coarse, fine = net(image), dilated(net, stride)(image)
    for own, a, b in zip((4, 8, 16, 32), coarse, fine, strict=True):
        step = max(own // stride, 1)
        assert b.shape[-2:] == tuple(-(-side // min(own, stride)) for side in size)
        torch.testing.assert_close(b[..., ::step, ::step], a, rtol=1e-4, atol=1e-5)
        assert step == 1 or b.shape[-1] > a.shape[-1]


@pytest.mark.parametrize(("stride", "replaced"), [(16, [False, False, True]), (8, [False, True, True])])
def test_it_dilates_as_torchvision_does(stride, replaced):
    peer = trained(torchvision.models.resnet50(replace_stride_with_dilation=replaced))
    net = ResNet()
    net.load_state_dict({name: value for name, value in peer.state_dict().items() if not name.startswith("fc.")})
    image = torch.rand(1, 3, 49, 32)
    with torch.no_grad():
        x = peer.maxpool(peer.relu(peer.bn1(peer.conv1(image))))
        theirs = peer.layer4(peer.layer3(peer.layer2(peer.layer1(x))))
        mine = dilated(net.eval(), stride)(image)[-1]
    assert mine.shape == theirs.shape
    assert (mine - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_dilating_leaves_the_net_as_it_was():
    net = ResNet((1, 1, 1, 1), (4, 4, 4, 4), expansion=1, stem=4).eval()
    image = torch.rand(1, 3, 64, 64)
    before = net(image)[-1]
    finer = dilated(net, 8)
    with torch.no_grad():
        finer.conv1.weight.zero_()
    assert net.layer4[0].conv1.stride == (2, 2) and torch.equal(net(image)[-1], before)


def test_early_stages_alone():
    net = ResNet((1, 1, 1), (4, 8, 12), expansion=1, stem=4).eval()
    net.layer3.register_forward_hook(lambda *_: pytest.fail("stage 3 was computed"))
    assert [m.shape[1] for m in net(torch.rand(1, 3, 32, 32), 2)] == [4, 8]


@pytest.mark.parametrize("stride", [0, 2, 12, 64])
def test_strides_that_no_stage_has_are_named(stride):
    with pytest.raises(ValueError, match=f"stride {stride} is not one of 4, 8, 16, 32"):
        dilated(ResNet((1, 1), (4, 4), expansion=1, stem=4), stride)


def test_dilated_vgg_layer_by_layer():
    net = DilatedVGG(widths=(2, 3, 4, 5, 6), convs=(1, 1, 1, 2, 2)).eval()
    plain = VGG(widths=(2, 3, 4, 5, 6), convs=(1, 1, 1, 2, 2))
    plain.load_state_dict(net.vgg.state_dict())
    image = torch.rand(1, 3, 61, 42)
    with torch.no_grad():
        found = net(image)
        x = plain(image, ("pool3",))["pool3"]
        assert torch.equal(found[0], x)
        for name, dilation in (("conv4_1", 1), ("conv4_2", 1), ("pool4", 0), ("conv5_1", 2), ("conv5_2", 2)):
            if name == "pool4":
                x = F.max_pool2d(x, 3, stride=1, padding=1)
                torch.testing.assert_close(found[1], x)
                continue
            layer = getattr(plain, name)
            x = F.conv2d(x, layer.weight, layer.bias, padding=dilation, dilation=dilation).relu()
        torch.testing.assert_close(found[2], F.max_pool2d(x, 3, stride=1, padding=1))
    assert (
        [tuple(m.shape) for m in found] == [(1, c, 8, 6) for c in net.out_channels] == [(1, c, 8, 6) for c in (4, 5, 6)]
    )


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_weights_by_name(name, monkeypatch):
    peer = trained(getattr(torchvision.models, name)())
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", lambda *_, **__: peer.state_dict())
    net = imagenet(name)
    assert not net.training
    image = torch.rand(1, 3, 33, 40)
    with torch.no_grad():
        x = peer.maxpool(peer.relu(peer.bn1(peer.conv1(image))))
        theirs = peer.layer4(peer.layer3(peer.layer2(peer.layer1(x))))
        mine = net(image)[-1]
    assert (mine - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_the_weights_fit_a_dilated_backbone(monkeypatch):
    peer = torchvision.models.resnet18()
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", lambda *_, **__: peer.state_dict())
    net = dilated(ResNet((2, 2, 2, 2), expansion=1), 8)
    net.load_state_dict(imagenet("resnet18").state_dict())
    assert torch.equal(net.layer4[1].conv2.weight, peer.layer4[1].conv2.weight)


@pytest.mark.parametrize("error", [URLError("no route to host"), TimeoutError("timed out")])
def test_offline_the_message_names_the_way_out(error, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", fail)
    with pytest.raises(
        ConnectionError, match=r"resnet18 could not be downloaded .*(no route|timed out).*random weights"
    ):
        imagenet("resnet18")


def test_an_unknown_backbone_is_named():
    with pytest.raises(ValueError, match="no backbone is named 'resnet19'; there are resnet18, resnet34, resnet50"):
        imagenet("resnet19")


class TwoMaps(nn.Module):
    """A backbone that gives the image and every second pixel of it, and remembers what it was shown."""

    out_channels = (3, 3)

    def forward(self, images):
        self.seen = images
        return [images, images[..., ::2, ::2]]


def test_images_are_normalised_inside():
    net = Dense(TwoMaps(), nn.Conv2d(3, 2, 1), 2, auxiliary=0).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    image = torch.stack([mean, mean + std]).view(2, 3, 1, 1).expand(2, 3, 4, 6)
    kept = image.clone()
    net(image)
    torch.testing.assert_close(net.backbone.seen, torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 4, 6))
    assert torch.equal(image, kept)
    assert not {"mean", "std"} & net.state_dict().keys()


def test_dense_scores_the_last_map_and_while_training_the_one_before():
    net = Dense(TwoMaps(), nn.Conv2d(3, 2, 1), 2, auxiliary=4)
    image = torch.rand(2, 3, 8, 6)
    scores = net(image)
    assert scores.keys() == {"main", "auxiliary"} and all(s.shape == (2, 2, 8, 6) for s in scores.values())
    main = net.head(net.backbone.seen[..., ::2, ::2])
    torch.testing.assert_close(scores["main"], F.interpolate(main, scale_factor=2, mode="bilinear"))
    torch.testing.assert_close(scores["auxiliary"], net.auxiliary(net.backbone.seen), rtol=1e-4, atol=1e-5)
    assert torch.equal(net.eval()(image), scores["main"])
    assert Dense(TwoMaps(), nn.Conv2d(3, 2, 1), 2, auxiliary=0)(image).keys() == {"main"}


def test_enlarging_by_hand():
    x = torch.tensor([[[[0.0, 4.0]]]])
    assert enlarge(x, (1, 4)).flatten().tolist() == [0, 1, 3, 4]
    assert torch.equal(enlarge(x, (1, 2)), x)


@pytest.mark.parametrize(
    ("kernel", "dilation", "stride", "size"), [(3, 1, 1, 9), (3, 4, 1, 9), (1, 1, 1, 9), (3, 1, 2, 5)]
)
def test_the_building_block_keeps_the_size_but_for_its_step(kernel, dilation, stride, size):
    block = conv3x3(2, 3, kernel, dilation, stride)
    out = block(torch.rand(1, 2, 9, 9))
    assert out.shape == (1, 3, size, size) and (out >= 0).all() and block[0].bias is None


def test_the_default_stride_is_the_papers():
    assert backbones.dilated(ResNet((1, 1, 1, 1), (4, 4, 4, 4), expansion=1, stem=4))(torch.rand(1, 3, 64, 64))[
        -1
    ].shape == (1, 4, 8, 8)
