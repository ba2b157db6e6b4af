"""The loss networks: the shipped one is what it is said to be, and VGG-19 is torchvision's."""

from urllib.error import URLError

import pytest
import torch
from torch import nn

from xferlib import zoo
from xferlib.data import photos
from xferlib.metrics.cost import multiply_adds

# isort: split
from torchvision.models import VGG19_Weights, vgg19
from torchvision.transforms.v2 import functional as TF

STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT = "relu4_2"


@pytest.fixture(scope="module")
def net():
    return zoo.loss_network()


@pytest.fixture(scope="module")
def pictures():
    """Photographs that the net was not trained on, in colour."""
    names = ("astronaut", "chelsea", "china", "motorcycle")
    return torch.stack([TF.resize(photos.load(name), [128, 128], antialias=True).clamp(0, 1) for name in names])


@pytest.fixture
def offline(monkeypatch):
    def fail(self, **options):
        raise URLError("no route to host")

    monkeypatch.setattr(VGG19_Weights, "get_state_dict", fail)


@pytest.fixture
def online(monkeypatch):
    """A torchvision VGG-19 of random weights that takes the place of the download."""
    torch.manual_seed(0)
    reference = vgg19(weights=None).eval()
    monkeypatch.setattr(VGG19_Weights, "get_state_dict", lambda self, **options: reference.state_dict())
    return reference


def test_it_has_the_layers_that_style_and_content_are_read_from(net, pictures):
    found = net(pictures[:1], (*STYLE, CONTENT))
    assert list(found) == sorted(found) and found.keys() == {*STYLE, CONTENT}
    assert [found[name].shape[-1] for name in STYLE] == [128, 64, 32, 16, 8]


def test_it_is_frozen_and_the_gradient_reaches_the_image(net, pictures):
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    for layer in (*STYLE, "conv4_2"):
        image = pictures[:1].clone().requires_grad_()
        net(image, (layer,))[layer].square().sum().backward()
        assert image.grad.abs().amax(1).gt(0).float().mean() > 0.9, layer


def test_each_call_gives_a_net_of_its_own():
    one, other = zoo.loss_network(), zoo.loss_network()
    nn.init.zeros_(one.conv1_1.weight)
    assert other.conv1_1.weight.any()


def test_its_filters_have_a_mean_activation_of_one_on_photographs(net, pictures):
    names = [name for name, layer in net.named_children() if isinstance(layer, nn.ReLU)]
    first, *others = net(pictures, names).items()
    flat_grey, finest = first[1].mean((0, 2, 3))[[0, 26]]
    assert flat_grey == pytest.approx(1, abs=0.35)
    assert finest < 0.3  # what photographs hardly hold is not turned up
    for name, values in others:
        assert values.mean() == pytest.approx(1, abs=0.35), name
        assert values.mean((0, 2, 3)).median() == pytest.approx(1, abs=0.35), name


def test_no_filter_is_dead_and_no_layer_is_blind(net, pictures):
    for name, layer in net.named_children():
        if isinstance(layer, nn.ReLU):
            values = net(pictures, (name,))[name]
            assert (values.amax((0, 2, 3)) > 0).all(), name
            directions = nn.functional.normalize(values.mean((2, 3)) - 1, dim=1)
            alike = (directions @ directions.T).fill_diagonal_(0).max()
            assert alike < (0.97 if name == "relu1_1" else 0.95), name  # the first filters are given


def test_style_sees_colour_even_in_the_deepest_layer(net, pictures):
    turned = pictures.roll(1, 1)  # green for red, and so on
    for name in STYLE:
        a, b = (net(images, (name,))[name].mean((2, 3)) for images in (pictures, turned))
        assert (a - b).norm() > 0.1 * a.norm(), name


def test_no_layer_changes_what_another_one_gave(net, pictures):
    every = [name for name, _ in net.named_children()]
    together = net(pictures[:1], every)
    for name in every:
        torch.testing.assert_close(net(pictures[:1], (name,))[name], together[name])
    assert (together["conv3_1"] < 0).any()


def test_it_costs_a_tenth_of_vgg19(net):
    to_relu5_1 = vgg19(weights=None).features[:30]
    ours, theirs = (multiply_adds(n, (3, 64, 64)) for n in (net, to_relu5_1))
    assert ours < 0.105 * theirs
    assert zoo.row("loss-network").bytes <= 3e6


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_vgg19_is_torchvisions(online, pooling):
    ours = zoo.loss_network("vgg19", pooling)
    image = torch.rand(1, 3, 64, 96)
    x = TF.normalize(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    names = [
        f"{kind}{stage}_{i}"
        for stage, n in enumerate((2, 2, 4, 4, 4), 1)
        for i in range(1, n + 1)
        for kind in ("conv", "relu")
    ]
    found = ours(image, names)
    left = iter(names)
    with torch.no_grad():
        for layer in online.features:
            if isinstance(layer, nn.MaxPool2d):
                x = layer(x) if pooling == "max" else nn.functional.avg_pool2d(x, 2)
            else:
                x = layer(x.clone())
                torch.testing.assert_close(found[next(left)], x.clone(), rtol=1e-4, atol=1e-5)
    assert next(left, None) is None
    assert not ours.training and not any(p.requires_grad for p in ours.parameters())


def test_without_a_network_the_way_out_is_named(offline):
    with pytest.raises(ConnectionError, match=r'VGG-19 could not be downloaded .*no route.*loss_network\("slim"\)'):
        zoo.loss_network("vgg19")


def test_unknown_names_are_named():
    with pytest.raises(ValueError, match="'vgg16'; there are 'slim', 'vgg19'"):
        zoo.loss_network("vgg16")
    with pytest.raises(ValueError, match="pooling 'mean' is none of 'max', 'average'"):
        zoo.loss_network("slim", "mean")
