import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from xferlib.nets.fcn import FCN, as_convolution

SLIM = {"widths": (2, 3, 4, 5, 6), "hidden": 7, "hidden_kernel": 3, "padding": 1}
PAPER = {"widths": (2, 3, 4, 5, 6), "hidden": 7}
STRIDES = (32, 16, 8)


def randomise(net, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for layer in net.score.values():
        layer.weight.data = torch.randn(layer.weight.shape, generator=generator)
        layer.bias.data = torch.randn(layer.bias.shape, generator=generator)
    return net.eval()


@pytest.mark.parametrize(
    ("stride", "parameters"), [(32, 134_346_581), (16, 134_346_581 + 513 * 21), (8, 134_346_581 + 770 * 21)]
)
def test_parameters_of_the_paper_without_upsampling(stride, parameters):
    with torch.device("meta"):
        net = FCN(21, stride)
    assert sum(p.numel() for n, p in net.named_parameters() if not n.startswith("upscore")) == parameters


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("options", [SLIM, PAPER])
@given(height=st.integers(1, 90), width=st.integers(1, 90))
@settings(max_examples=15, deadline=None)
def test_any_size_in_same_size_out(stride, options, height, width):
    with torch.device("meta"):
        assert FCN(4, stride, **options)(torch.empty(2, 3, height, width)).shape == (2, 4, height, width)


def reference(net, image):
    """The published nets layer by layer, with the crop offsets of their released definitions."""

    def conv(name, x, padding):
        layer = getattr(net.backbone, name)
        return F.relu(F.conv2d(x, layer.weight, layer.bias, padding=padding))

    x, pools = image, {}
    for stage, count in enumerate((2, 2, 3, 3, 3), start=1):
        for i in range(1, count + 1):
            x = conv(f"conv{stage}_{i}", x, 100 if (stage, i) == (1, 1) else 1)
        pools[f"pool{stage}"] = x = F.max_pool2d(x, 2, 2, ceil_mode=True)
    x = F.relu(F.conv2d(x, net.head.fc6.weight, net.head.fc6.bias))
    x = net.score["fc7"](F.relu(net.head.fc7(x)))
    for name, offset in zip(net.skips, (5, 9), strict=False):
        x = net.upscore[name](x)
        skip = net.score[name](pools[name])
        x = x + skip[..., offset : offset + x.shape[2], offset : offset + x.shape[3]]
    x = net.upscore["image"](x)
    offset = {32: 19, 16: 27, 8: 31}[net.upscore["image"].stride[0]]
    return x[..., offset : offset + image.shape[2], offset : offset + image.shape[3]]


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("size", [(50, 75), (64, 64), (1, 33)])
def test_equals_the_released_definition(stride, size):
    net = randomise(FCN(3, stride, **PAPER))
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(net(image), reference(net, image), atol=1e-6)


@pytest.mark.parametrize("options", [SLIM, PAPER])
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("axis", [2, 3])
def test_scores_lie_over_the_pixels_they_describe(options, stride, axis):
    """Score maps that hold the image coordinate of their cells must come out as the pixel coordinates."""
    net = FCN(1, stride, **options)
    size = (256, 256)
    with torch.no_grad():
        scores = net.scores(torch.rand(1, 3, *size))
        for name, s in {"fc7": 32, "pool4": 16, "pool3": 8}.items():
            if name not in scores:
                continue
            cells = torch.arange(scores[name].shape[axis], dtype=torch.float32)
            shift = 3 if name == "fc7" and net.padding == 100 else 0
            centres = s * (cells + shift) + (s - 1) / 2 - (net.padding - 1)
            share = 1 if name == "fc7" else 0
            shape = [1, 1, 1, 1]
            shape[axis] = -1
            scores[name] = share * centres.view(shape).expand_as(scores[name])
        found = net.fuse(scores, size)
    pixels = torch.arange(256, dtype=torch.float32)
    middle = found[0, 0, :, 128] if axis == 2 else found[0, 0, 128]
    assert torch.allclose(middle[64:192], pixels[64:192], atol=1e-3)


@pytest.mark.parametrize("options", [SLIM, PAPER])
def test_a_fresh_skip_changes_nothing(options):
    net = FCN(3, 8, **options).eval()
    torch.nn.init.normal_(net.score["fc7"].weight)
    with torch.no_grad():
        scores = net.scores(torch.rand(1, 3, 70, 90))
        assert all(scores[name].eq(0).all() for name in ("pool4", "pool3"))
        other = {"fc7": scores["fc7"], "pool4": 0 * scores["pool4"], "pool3": 0 * scores["pool3"]}
        assert torch.equal(net.fuse(scores, (70, 90)), net.fuse(other, (70, 90)))
        assert net.fuse(scores, (70, 90)).std() > 0


def test_the_last_deconvolution_is_fixed_unless_asked():
    assert not FCN(3, 8, **SLIM).upscore["image"].weight.requires_grad
    assert FCN(3, 8, learned=True, **SLIM).upscore["image"].weight.requires_grad
    assert FCN(3, 8, **SLIM).upscore["pool4"].weight.requires_grad


def test_gradients_reach_every_learned_parameter():
    net = randomise(FCN(3, 8, norm=True, dropout=0.0, learned=True, **SLIM)).train()
    net(torch.rand(2, 3, 64, 64)).square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("bias", [True, False])
def test_a_fully_connected_layer_is_a_convolution(bias):
    linear = torch.nn.Linear(3 * 4 * 4, 5, bias=bias)
    conv = as_convolution(linear, 4)
    x = torch.randn(1, 3, 7, 9)
    with torch.no_grad():
        found = conv(x)
        for i in range(4):
            for j in range(6):
                expected = linear(x[..., i : i + 4, j : j + 4].flatten(1))
                assert torch.allclose(found[..., i, j], expected, atol=1e-6)
    conv.weight.data.zero_()
    assert linear.weight.any()


def test_errors_name_the_value():
    with pytest.raises(ValueError, match="50 inputs are not a whole number of 4x4 maps"):
        as_convolution(torch.nn.Linear(50, 2), 4)
    with pytest.raises(ValueError, match="stride 4 "):
        FCN(21, 4)
    with pytest.raises(ValueError, match="3 stages"):
        FCN(21, 8, widths=(1, 2, 3), convs=(1, 1, 1))
