import pytest
import torch
import torchvision

from xferlib.nets.vgg import VGG


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
