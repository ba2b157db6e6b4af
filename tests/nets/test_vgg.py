import pytest
import torch

from xferlib.nets.folding import fold
from xferlib.nets.vgg import VGG, equalise

# isort: split
import torchvision
from torchvision.transforms.v2 import functional as TF


def transplant(source, target):
    convs = [m for m in source.modules() if isinstance(m, torch.nn.Conv2d)]
    ours = [m for m in target.modules() if isinstance(m, torch.nn.Conv2d)]
    for a, b in zip(convs, ours, strict=True):
        b.load_state_dict(a.state_dict())


@pytest.mark.parametrize(("name", "convs"), [("vgg16", (2, 2, 3, 3, 3)), ("vgg19", (2, 2, 4, 4, 4))])
def test_equals_torchvision_with_the_same_weights(name, convs):
    reference = getattr(torchvision.models, name)(weights=None).features
    ours = VGG(convs=convs)
    transplant(reference, ours)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found = ours(image, ("relu3_3", "pool5"))
        assert torch.allclose(found["pool5"], reference(image), atol=1e-6)
        assert torch.allclose(found["relu3_3"], reference[:16](image), atol=1e-6)


def test_names_follow_the_paper():
    names = [n for n, _ in VGG(widths=(4, 4, 4, 4, 4)).named_children() if n.startswith("conv")]
    assert names[:3] == ["conv1_1", "conv1_2", "conv2_1"]
    assert names[-1] == "conv5_3"
    assert len(names) == 13


def test_computes_nothing_deeper_than_asked():
    net = VGG(widths=(4, 4, 4, 4, 4))
    net.conv5_3.register_forward_hook(lambda *_: pytest.fail("conv5_3 was computed"))
    assert set(net(torch.rand(1, 3, 32, 32), ("pool2", "relu1_1"))) == {"pool2", "relu1_1"}


def test_odd_sizes_round_up():
    assert VGG(widths=(2, 2, 2, 2, 2))(torch.rand(1, 3, 33, 65))["pool5"].shape == (1, 2, 2, 3)


def test_the_input_survives():
    image = torch.rand(1, 3, 32, 32)
    before = image.clone()
    features = VGG(widths=(4, 4, 4, 4, 4))(image, ("conv1_1", "relu1_1"))
    assert torch.equal(image, before)
    assert torch.equal(features["relu1_1"], features["conv1_1"].relu())
    assert (features["conv1_1"] < 0).any()


def test_errors_name_the_value():
    with pytest.raises(ValueError, match="conv9_9"):
        VGG(widths=(2, 2, 2, 2, 2))(torch.rand(1, 3, 32, 32), ("conv9_9",))
    with pytest.raises(ValueError, match="2 widths for 5 stages"):
        VGG(widths=(2, 2))
    with pytest.raises(ValueError, match="pooling 'mean' is none of 'max', 'average'"):
        VGG(pooling="mean")


def test_average_pooling_by_hand():
    net = VGG(1, widths=(1,), convs=(1,), pooling="average")
    net.conv1_1.weight.data = torch.zeros(1, 1, 3, 3)
    net.conv1_1.weight.data[0, 0, 1, 1] = 1.0
    image = torch.tensor([[[[1.0, 2.0, 3.0], [5.0, -8.0, 1.0], [4.0, 2.0, 7.0]]]])
    expected = torch.tensor([[[[2.0, 2.0], [3.0, 7.0]]]])  # of (1 2 5 0), (3 1), (4 2) and 7
    assert torch.equal(net(image, ("pool1",))["pool1"], expected)


def test_it_normalises_rgb_itself():
    torch.manual_seed(0)
    plain, own = VGG(widths=(4, 4), convs=(1, 1)), VGG(widths=(4, 4), convs=(1, 1), normalise=True)
    own.load_state_dict(plain.state_dict())  # what it normalises with is no weight
    image = torch.rand(2, 3, 16, 20)
    normalised = TF.normalize(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    before = image.clone()
    found, expected = own(image, ("conv1_1", "pool2")), plain(normalised, ("conv1_1", "pool2"))
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values)
    assert torch.equal(image, before)


@pytest.fixture
def lopsided():
    """A net some of whose filters are a thousand times as loud as others."""
    torch.manual_seed(0)
    net = VGG(widths=(4, 6), convs=(2, 2), pooling="average", normalise=True)
    for name, layer in net.named_children():
        if name.startswith("conv"):
            layer.weight.data *= torch.logspace(-1, 2, len(layer.weight))[:, None, None, None]
            layer.bias.data.uniform_(-0.1, 0.1)
    return net.requires_grad_(False)


def test_equalised_filters_have_a_mean_activation_of_one(lopsided):
    images = torch.rand(3, 3, 24, 32)
    found = equalise(lopsided, images, least=1e-6)(images, ("relu1_1", "relu2_1", "relu2_2"))
    for name, values in found.items():
        means = values.mean((0, 2, 3))
        assert ((means - 1).abs() < 1e-4).all(), name


def test_equalising_changes_the_scale_of_each_filter_alone(lopsided):
    images, other = torch.rand(3, 3, 24, 32), torch.rand(1, 3, 40, 16)
    layers = ("conv1_1", "relu1_2", "pool1", "relu2_1", "conv2_2", "pool2")
    before = lopsided(other, layers)
    for name, values in equalise(lopsided, images)(other, layers).items():
        scales = values.flatten(2).norm(dim=2) / before[name].flatten(2).norm(dim=2).clamp(min=1e-12)
        torch.testing.assert_close(values, before[name] * scales[..., None, None], rtol=1e-3, atol=1e-4)
    assert lopsided(other, layers)["pool2"].equal(before["pool2"])  # the net itself is left as it is


def test_a_faint_filter_is_not_made_loud():
    net = VGG(widths=(3,), convs=(1,)).requires_grad_(False)
    net.conv1_1.weight[:] = 0.0
    net.conv1_1.weight[:, 0, 1, 1] = torch.tensor([1.0, 2.0, 1.0])
    net.conv1_1.bias[:] = torch.tensor([0.0, 0.0, -0.95])
    images = torch.rand(2, 3, 64, 64)
    means = net(images, ("relu1_1",))["relu1_1"].mean((0, 2, 3))
    found = equalise(net, images, least=0.3)(images, ("relu1_1",))["relu1_1"].mean((0, 2, 3))
    floor = 0.3 * (means / torch.tensor([1.0, 2.0, 1.0])).mean()
    torch.testing.assert_close(found, torch.stack([found.new_tensor(1), found.new_tensor(1), means[2] / floor]))
    assert found[2] < 0.02


def test_a_silent_filter_stays_silent(lopsided):
    lopsided.conv1_2.weight[0], lopsided.conv1_2.bias[0] = 0.0, -1.0
    images = torch.rand(2, 3, 24, 32)
    found = equalise(lopsided, images)(images, ("relu1_2", "pool2"))
    assert found["relu1_2"][:, 0].max() == 0
    assert found["pool2"].isfinite().all()


def test_only_a_folded_net_is_equalised():
    net = VGG(widths=(2,), convs=(1,), norm=True).eval()
    with pytest.raises(ValueError, match="fold it first"):
        equalise(net, torch.rand(1, 3, 8, 8))
    assert equalise(fold(net), torch.rand(1, 3, 8, 8)).conv1_1.weight.isfinite().all()


def test_bytes_to_be_normalised_are_refused_with_the_way_out():
    net = VGG(widths=(2, 2), convs=(1, 1), normalise=True)
    with pytest.raises(ValueError, match=r"torch.uint8; expected floats: images / 255"):
        net(torch.full((1, 3, 8, 8), 200, dtype=torch.uint8), ("relu1_1",))
