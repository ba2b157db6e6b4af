import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xferlib.nets.enet import Bottleneck, Down, ENet, Initial, Up

# The table on the slide, at 512x512: name, channels, side.
TABLE = [
    ("initial", 16, 256),
    ("bottleneck1_0", 64, 128),
    *((f"bottleneck1_{i}", 64, 128) for i in range(1, 5)),
    ("bottleneck2_0", 128, 64),
    *((f"bottleneck2_{i}", 128, 64) for i in range(1, 9)),
    *((f"bottleneck3_{i}", 128, 64) for i in range(8)),
    ("bottleneck4_0", 64, 128),
    *((f"bottleneck4_{i}", 64, 128) for i in (1, 2)),
    ("bottleneck5_0", 16, 256),
    ("bottleneck5_1", 16, 256),
    ("fullconv", 11, 512),
]
# The column "type" of bottlenecks 2.1 to 2.8.
TYPES = ["", "dilated 2", "asymmetric 5", "dilated 4", "", "dilated 8", "asymmetric 5", "dilated 16"]


def moved(net: nn.Module) -> nn.Module:
    """Give batch norms statistics and weights that are not those of a fresh net."""
    generator = torch.Generator().manual_seed(0)
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        for values in (norm.running_var, norm.weight.data, norm.running_mean, norm.bias.data):
            values.uniform_(0.5, 1.5, generator=generator)
    return net.eval()


@pytest.fixture(scope="module")
def tiny() -> ENet:
    torch.manual_seed(0)
    return ENet(4).eval()


def middle(block: Bottleneck) -> list[nn.Module]:
    """The layers between the first activation and the normalisation before the second."""
    return list(block.branch[3:-5])


def test_the_table_row_by_row():
    with torch.device("meta"):
        net = ENet()
    shapes = []

    def note(name: str):
        return lambda _, inputs, out: shapes.append((name, *(out[0] if isinstance(out, tuple) else out).shape))

    for name, layer in net.named_children():
        layer.register_forward_hook(note(name))
    net(torch.empty(1, 3, 512, 512, device="meta"))
    assert shapes == [(name, 1, channels, side, side) for name, channels, side in TABLE]


def test_down_and_up_stand_where_the_table_says():
    kinds = {name: type(layer) for name, layer in ENet().named_children()}
    assert [name for name, kind in kinds.items() if kind is Down] == ["bottleneck1_0", "bottleneck2_0"]
    assert [name for name, kind in kinds.items() if kind is Up] == ["bottleneck4_0", "bottleneck5_0"]


@pytest.mark.parametrize(("classes", "expected"), [(11, 363_791), (19, 364_311)])
def test_parameters_of_the_authors_code(classes, expected):
    with torch.device("meta"):
        count = sum(p.numel() for p in ENet(classes).parameters())
    assert count == expected and 0.35e6 < count < 0.37e6


@pytest.mark.parametrize(("section", "first"), [(2, 1), (3, 0)])
def test_dilated_and_asymmetric_kernels_in_the_right_places(section, first):
    net = ENet()
    for i, kind in enumerate(TYPES, start=first):
        convs = middle(net.get_submodule(f"bottleneck{section}_{i}"))
        kernels = [conv.kernel_size for conv in convs]
        dilations = [conv.dilation for conv in convs]
        match kind.split():
            case ["dilated", number]:
                assert (kernels, dilations) == ([(3, 3)], [(int(number),) * 2])
            case ["asymmetric", number]:
                assert (kernels, dilations) == ([(1, int(number)), (int(number), 1)], [(1, 1)] * 2)
            case []:
                assert (kernels, dilations) == ([(3, 3)], [(1, 1)])


def test_a_bottleneck_is_a_quarter_wide_and_its_thin_convolutions_have_no_bias():
    for name, block in ENet().named_children():
        if not isinstance(block, Bottleneck):
            continue
        project, expand = block.branch[0], block.branch[-3]
        thin = expand.out_channels // 4
        assert project.out_channels == expand.in_channels == thin, name
        assert project.bias is None and expand.bias is None
        assert project.kernel_size == project.stride == ((2, 2) if isinstance(block, Down) else (1, 1))
        assert expand.kernel_size == (1, 1)
        assert isinstance(block.branch[-2], nn.BatchNorm2d)
        assert middle(block)[-1].bias is not None


def test_the_row_kernel_comes_first_and_nothing_between_the_two():
    block = ENet().bottleneck2_3
    row, column = middle(block)
    assert (row.kernel_size, row.padding, row.bias) == ((1, 5), (0, 2), None)
    assert (column.kernel_size, column.padding) == ((5, 1), (2, 0))


def test_the_encoder_has_prelu_a_slope_a_channel_and_the_decoder_relu():
    for name, layer in ENet().named_children():
        decoder = name.startswith(("bottleneck4", "bottleneck5", "fullconv"))
        slopes = [m for m in layer.modules() if isinstance(m, nn.PReLU)]
        relus = [m for m in layer.modules() if isinstance(m, nn.ReLU)]
        if name == "fullconv":
            assert not slopes and not relus
        elif decoder:
            assert not slopes and len(relus) == 3, name
        else:
            assert not relus and len(slopes) == (1 if name == "initial" else 3), name
            channels = {m.num_parameters for m in slopes}
            width = layer.branch[-3].out_channels if isinstance(layer, Bottleneck) else 16
            assert channels <= {width, width // 4} and 1 not in channels


def test_spatial_dropout_only_in_the_encoder():
    for name, layer in ENet().named_children():
        drops = [m for m in layer.modules() if isinstance(m, nn.Dropout2d)]
        rates = [m.p for m in drops if m.p]
        if name.startswith("bottleneck1"):
            assert rates == [0.01], name
        elif name.startswith(("bottleneck2", "bottleneck3")):
            assert rates == [0.1], name
        else:
            assert not rates, name


def test_dropout_drops_whole_channels_of_the_branch_before_it_is_added():
    torch.manual_seed(0)
    block = Bottleneck(64, 64, dropout=0.5).train()
    x = torch.rand(4, 64, 6, 6)
    # x and PReLU above zero are known, so that what the branch adds can be read off.
    block.activation.weight.data.fill_(1)
    added = block(x) - x
    dropped = (added.abs() < 1e-6).flatten(2)
    assert torch.equal(dropped.any(2), dropped.all(2))
    assert 0.3 < dropped.all(2).float().mean() < 0.7


def test_initial_is_a_convolution_beside_a_pooling_and_normed_as_if_joined():
    block = moved(Initial(3, 16))
    image = torch.rand(2, 3, 10, 12)
    conv, pool = block.conv[0], block.pool[0]
    assert (conv.out_channels, conv.kernel_size, conv.stride) == (13, (3, 3), (2, 2))
    joined = nn.BatchNorm2d(16).eval()
    parts = (block.conv[1], block.pool[1])
    for key in ("weight", "bias", "running_mean", "running_var"):
        getattr(joined, key).data = torch.cat([getattr(part, key).data for part in parts])
    expected = F.prelu(joined(torch.cat([conv(image), F.max_pool2d(image, 2)], 1)), block.activation.weight)
    torch.testing.assert_close(block(image), expected)
    assert pool.kernel_size == 2


def test_a_bottleneck_by_its_parts():
    block = moved(Bottleneck(8, 8, "asymmetric", 5))
    x = torch.randn(1, 8, 7, 9)
    before = x.clone()
    torch.testing.assert_close(block(x), block.activation(x + block.branch(x)))
    assert torch.equal(x, before)


def test_the_shortcut_down_is_the_pooled_map_and_empty_channels():
    block = Down(4, 8)
    silence(block)
    x = torch.rand(1, 4, 6, 10)
    y, places = block(x)
    assert torch.equal(y[:, :4], F.max_pool2d(x, 2)) and not y[:, 4:].any()
    assert torch.equal(x.flatten(2).gather(2, places.flatten(2)).view_as(places), y[:, :4])


def silence(block: Bottleneck) -> None:
    """Let the branch add nothing."""
    nn.init.zeros_(block.branch[-2].weight)
    block.eval()


@pytest.mark.parametrize("size", [(6, 10), (7, 9), (5, 6)])
def test_the_shortcut_up_unpools_exactly_at_the_maxima(size):
    down, up = Down(4, 8), Up(8, 4)
    silence(down), silence(up)
    x = torch.rand(1, 4, *size) + 0.5
    pooled, places = down(x)
    back = up(pooled, places, size)
    shortcut = up.shortcut(pooled).relu()
    assert back.shape == x.shape
    at = F.max_unpool2d(torch.ones_like(places, dtype=torch.float), places, 2, output_size=size).bool()
    assert torch.equal(x[at].sort().values, F.max_pool2d(x, 2, ceil_mode=True).flatten().sort().values)
    assert not back[~at].any()
    assert torch.equal(back.flatten(2).gather(2, places.flatten(2)).view_as(shortcut), shortcut)


def test_the_decoder_pairs_each_up_with_its_down(tiny):
    seen = {}
    for name, layer in tiny.named_children():
        if isinstance(layer, Down):
            layer.register_forward_hook(lambda _, x, out, name=name: seen.update({name: (out[1], x[0].shape[-2:])}))
        elif isinstance(layer, Up):
            layer.register_forward_hook(lambda _, x, out, name=name: seen.update({name: x[1:]}))
    tiny(torch.rand(1, 3, 45, 70))
    for up, down in (("bottleneck4_0", "bottleneck2_0"), ("bottleneck5_0", "bottleneck1_0")):
        assert seen[up][0] is seen[down][0] and seen[up][1] == seen[down][1]


@given(st.integers(1, 70), st.integers(1, 70))
@example(300, 300)
@example(1, 1)
@settings(max_examples=25, deadline=None)
def test_any_size_in_same_size_out(tiny, height, width):
    with torch.no_grad():
        scores = tiny(torch.rand(1, 3, height, width))
    assert scores.shape == (1, 4, height, width) and scores.isfinite().all()


def test_gradients_reach_every_parameter_and_the_input_is_left_alone():
    torch.manual_seed(0)
    net = ENet(3)
    image = torch.rand(2, 3, 40, 48)
    before = image.clone()
    net(image).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in net.parameters())
    assert torch.equal(image, before)


def test_another_section_and_other_channels():
    net = ENet(2, in_channels=1, section=[("regular", 3), ("regular", 5)]).eval()
    assert net(torch.rand(1, 1, 16, 24)).shape == (1, 2, 16, 24)
    assert [name for name, _ in net.named_children() if name.startswith("bottleneck3")] == [
        "bottleneck3_0",
        "bottleneck3_1",
    ]


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (3, 8, 8), (1, 3, 0, 8)])
def test_an_image_that_does_not_fit_is_named(tiny, shape):
    with pytest.raises(ValueError, match=rf"\({', '.join(map(str, shape))}\); this ENet takes \(B, 3, H, W\)"):
        tiny(torch.zeros(shape))


def test_a_kind_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="bottleneck 'dilate' is none of 'regular'"):
        Bottleneck(8, 8, "dilate", 2)
