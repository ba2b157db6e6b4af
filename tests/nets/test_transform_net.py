import re

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from benchmarks.bench_transform import public_net
from xferlib.nets.folding import accelerate
from xferlib.nets.transform_net import LEAST, SLIM, Block, InstanceNorm, TransformNet

# Table 1 of the supplementary material, without the 40 pixels of padding that the blocks use up there.
PAPER = [
    ("down1", (3, 256), (32, 256)),
    ("down2", (32, 256), (64, 128)),
    ("down3", (64, 128), (128, 64)),
    *((f"blocks.{i}", (128, 64), (128, 64)) for i in range(5)),
    ("up1", (128, 64), (64, 128)),
    ("up2", (64, 128), (32, 256)),
    ("out", (32, 256), (3, 256)),
]


def tiny(styles: int | None = None, **options) -> TransformNet:
    """A small net in evaluation mode, with every number drawn at random."""
    torch.manual_seed(0)
    net = TransformNet((4, 6, 8), 2, kernel=5, styles=styles, **options)
    for name, p in net.named_parameters():
        if name.endswith(("scale", "shift", "bias")):
            nn.init.normal_(p, float(name.endswith("scale")), 0.5)
    return net.eval()


def scene(height: int, width: int, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


# The paper's net


@pytest.mark.parametrize("upsampling", ["resize", "deconvolution"])
def test_every_size_of_the_papers_table(upsampling):
    sizes = []
    with torch.device("meta"):
        net = TransformNet(upsampling=upsampling, edge=0)
        for name, layer in net.named_modules():
            layer.register_forward_hook(lambda _, i, o, name=name: sizes.append((name, i[0].shape, o.shape)))
        net(torch.empty(1, 3, 256, 256))
    wanted = {name for name, _, _ in PAPER}
    assert [size for size in sizes if size[0] in wanted] == [
        (name, (1, a, n, n), (1, b, m, m)) for name, (a, n), (b, m) in PAPER
    ]


def test_kernels_and_strides_are_the_papers():
    convs = [m for m in TransformNet().modules() if isinstance(m, nn.Conv2d)]
    assert [(m.kernel_size[0], m.stride[0]) for m in convs] == [(9, 1), (3, 2), (3, 2), *[(3, 1)] * 12, (9, 1)]
    assert {m.padding_mode for m in convs} == {"reflect", "replicate"}


def test_the_parameters_are_those_of_the_public_net():
    count = sum(p.numel() for p in TransformNet().parameters())
    down = 81 * 3 * 32 + 9 * 32 * 64 + 9 * 64 * 128
    blocks = 10 * 9 * 128 * 128
    up = 9 * 128 * 64 + 9 * 64 * 32 + 81 * 32 * 3
    channels = 32 + 64 + 128 + 10 * 128 + 64 + 32  # each with a scale, a shift and, before these, a bias
    assert count == down + blocks + up + 3 * channels + 3 == 1_679_235
    for options in ({"norm": "batch"}, {"upsampling": "deconvolution"}):
        assert sum(p.numel() for p in TransformNet(**options).parameters()) == count


def test_it_paints_as_the_published_net_with_the_same_weights():
    torch.manual_seed(0)
    theirs, ours = public_net(), TransformNet(edge=0).eval()
    assert sum(p.numel() for p in theirs.parameters()) == 1_679_235
    for p in theirs.parameters():
        nn.init.normal_(p, std=1 / p[0].numel() ** 0.5 if p.ndim > 1 else 0.5)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    image = scene(24, 32)
    torch.testing.assert_close(ours(image), torch.sigmoid(theirs(image)), atol=1e-5, rtol=1e-5)


def test_each_style_costs_a_scale_and_a_shift_a_channel():
    one, nine = (sum(p.numel() for p in TransformNet(**SLIM, styles=n).parameters()) for n in (1, 9))
    full, half, quarter = SLIM["widths"]
    assert nine - one == 8 * 2 * (2 * full + 2 * half + 11 * quarter)
    plain = sum(p.numel() for p in TransformNet(**SLIM).parameters())
    assert plain == one
    assert 2 * (nine + 2 * plain) < 3e6  # bytes in half precision, of the net of all styles and two of one


def test_weights_begin_at_the_deviation_that_keeps_the_variance():
    torch.manual_seed(0)
    for conv in (m for m in TransformNet().modules() if isinstance(m, nn.Conv2d)):
        assert conv.weight.std().item() == pytest.approx((2 / conv.weight[0].numel()) ** 0.5, rel=0.05)
        assert not conv.bias.any()


def test_a_block_without_its_branch_passes_everything():
    block = Block(4)
    nn.init.zeros_(block.second.norm.scale)
    x = torch.randn(1, 4, 9, 9)  # negative values too: no ReLU follows the sum
    assert torch.equal(block(x), x)


# Instance normalisation


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_instance_norm_is_torchs(layout):
    torch.manual_seed(0)
    ours, oracle = InstanceNorm(5), nn.InstanceNorm2d(5, affine=True)
    with torch.no_grad():
        ours.scale.copy_(oracle.weight.normal_())
        ours.shift.copy_(oracle.bias.normal_())
    x = (3 + 2 * torch.randn(3, 5, 17, 11)).to(memory_format=layout)
    torch.testing.assert_close(ours(x), oracle(x), atol=2e-6, rtol=1e-5)


def test_instance_norm_by_hand():
    norm = InstanceNorm(1)
    nn.init.constant_(norm.scale, 3.0)
    nn.init.constant_(norm.shift, 10.0)
    x = torch.tensor([[[[1.0, 5.0]]], [[[0.0, 80.0]]]])  # as far below their mean as above: -1 and 1
    torch.testing.assert_close(norm(x), torch.tensor([[[[7.0, 13.0]]], [[[7.0, 13.0]]]]))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_shares_of_one_style_give_torchs_norm_of_that_style(layout):
    torch.manual_seed(0)
    ours = InstanceNorm(5, styles=3)
    nn.init.normal_(ours.scale)
    nn.init.normal_(ours.shift)
    x = (3 + 2 * torch.randn(3, 5, 17, 11)).to(memory_format=layout)
    chosen = [2, 0, 1]
    found = ours(x, torch.eye(3)[chosen])
    for i, style in enumerate(chosen):
        expected = F.instance_norm(x[i : i + 1], weight=ours.scale[style], bias=ours.shift[style])
        torch.testing.assert_close(found[i : i + 1], expected, atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(ours(x, torch.eye(3)[style])[i : i + 1], expected, atol=2e-6, rtol=1e-5)


def test_a_blend_is_linear_in_scales_and_shifts():
    torch.manual_seed(0)
    norm = InstanceNorm(5, styles=3).double()
    nn.init.normal_(norm.scale)
    nn.init.normal_(norm.shift)
    x, eye = torch.randn(1, 5, 8, 8, dtype=torch.double), torch.eye(3, dtype=torch.double)
    blend = 0.2 * norm(x, eye[0]) + 0.3 * norm(x, eye[1]) + 0.5 * norm(x, eye[2])
    torch.testing.assert_close(norm(x, torch.tensor([0.2, 0.3, 0.5]).double()), blend)


@pytest.mark.parametrize("shares", [None, [0.3, 0.7], [[0.3, 0.7], [1.0, 0.0]]])
def test_gradients_of_instance_norm_are_those_of_differences(shares):
    torch.manual_seed(0)
    norm = InstanceNorm(3, styles=None if shares is None else 2).double()
    x = torch.randn(2, 3, 4, 5, dtype=torch.double, requires_grad=True)
    weights = [torch.randn_like(p).requires_grad_() for p in norm.parameters()]
    shares = None if shares is None else torch.tensor(shares, dtype=torch.double, requires_grad=True)

    def call(x, scale, shift, *shares):
        return torch.func.functional_call(norm, {"scale": scale, "shift": shift}, (x, *shares))

    assert torch.autograd.gradcheck(call, (x, *weights, *(() if shares is None else (shares,))))


def test_statistics_stay_precise_on_four_million_pixels():
    norm = InstanceNorm(1)
    x = 100 + torch.randn(1, 1, 2048, 2048, generator=torch.Generator().manual_seed(0))
    mean, deviation = x.double().mean(), x.double().var(correction=0).sqrt()
    torch.testing.assert_close(norm(x).double(), (x.double() - mean) / deviation, atol=1e-4, rtol=0)


# Pictures of any size


@pytest.mark.parametrize("size", [(9, 9), (10, 9), (33, 50), (34, 47), (64, 31)])
@pytest.mark.parametrize("upsampling", ["resize", "deconvolution"])
def test_any_size_in_same_size_out_within_0_and_1(size, upsampling):
    image = scene(*size)
    before = image.clone()
    painted = tiny(upsampling=upsampling)(image)
    assert painted.shape == image.shape and painted.min() >= 0 and painted.max() <= 1
    assert torch.equal(image, before)


def test_a_batch_is_painted_as_its_pictures_one_by_one():
    images = scene(20, 24, 3)
    net = tiny()
    torch.testing.assert_close(net(images), torch.cat([net(image[None]) for image in images]))
    net, shares = tiny(3), torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5], [0.2, 0.3, 0.5]])
    alone = [net(image[None], share) for image, share in zip(images, shares, strict=True)]
    torch.testing.assert_close(net(images, shares), torch.cat(alone))


def test_training_and_evaluation_paint_alike():
    net, images = tiny(), scene(20, 24, 2)
    assert torch.equal(net.train()(images), net.eval()(images))


def test_a_net_of_styles_is_the_plain_net_with_the_norms_of_that_style():
    several, images = tiny(3), scene(20, 24, 2)
    for style in range(3):
        plain = tiny()
        own = {k: v[style] if k.endswith(("scale", "shift")) else v for k, v in several.state_dict().items()}
        plain.load_state_dict(own)
        torch.testing.assert_close(several(images, torch.eye(3)[style]), plain(images))
    assert not torch.allclose(several(images, torch.eye(3)[0]), several(images, torch.eye(3)[1]))


@pytest.mark.parametrize("shares", [(), ([0.2, 0.3, 0.5],)])
def test_the_fast_form_paints_alike(shares):
    net, images = tiny(3 if shares else None), scene(33, 47)
    shares = tuple(map(torch.tensor, shares))
    with torch.no_grad():
        torch.testing.assert_close(accelerate(net)(images, *shares), net(images, *shares), atol=1e-5, rtol=1e-5)


# Edges and scales


def frozen(net: TransformNet) -> TransformNet:
    """The net with each norm's scale and shift alone, so that what lies far off plays no part."""
    for module in net.modules():
        if hasattr(module, "norm"):
            module.norm = None
    return net


def test_shifting_the_picture_by_four_pixels_shifts_what_is_painted_away_from_edges():
    net, wide = frozen(tiny().double()), scene(140, 144).double()
    here, there = net(wide[..., :140]), net(wide[..., 4:])
    far = 45  # pixels from which an edge is out of sight
    torch.testing.assert_close(here[..., far + 4 : -far], there[..., far : -far - 4])
    assert not torch.allclose(here[..., 4:], there[..., :-4])
    other = net(wide[..., 1:141])
    assert not torch.allclose(here[..., far + 1 : -far], other[..., far : -far - 1])


@pytest.mark.parametrize("norm", ["instance", None])
def test_a_flat_picture_stays_flat_up_to_its_edges(norm):
    flat = torch.tensor([0.2, 0.5, 0.7])[:, None, None].expand(1, 3, 37, 50)
    painted = tiny(norm=norm)(flat)
    assert (painted.amax((2, 3)) - painted.amin((2, 3))).max() < 1e-3


def test_deconvolutions_leave_chequers_on_a_flat_picture_and_a_pale_edge():
    flat = torch.full((1, 3, 48, 48), 0.5)
    painted = tiny(norm=None, upsampling="deconvolution", edge=0)(flat)
    inner = painted[..., 16:-16, 16:-16]
    assert (inner[..., 1:] - inner[..., :-1]).abs().max() > 0.01
    torch.testing.assert_close(inner[..., 4:], inner[..., :-4])
    assert (painted[..., 16:-16, -8:-4] - painted[..., 16:-16, -4:]).abs().max() > 0.005


def test_edges_are_mirrored_while_a_picture_is_painted():
    image = scene(33, 50)
    for edge, least in ((4, 8), (8, 9)):
        wide = F.pad(image, (edge,) * 4, "reflect")
        torch.testing.assert_close(tiny(edge=edge)(image), tiny(edge=0)(wide)[..., edge:-edge, edge:-edge])
        assert tiny(edge=edge)(scene(least, least)).shape == (1, 3, least, least)
        with pytest.raises(ValueError, match=f"it needs {least} pixels"):
            tiny(edge=edge)(scene(20, least - 1))
    assert not torch.allclose(tiny()(image), tiny(edge=0)(image))


def test_a_texture_is_painted_alike_at_129_and_at_2049_pixels():
    net = tiny()
    quarter = scene(65, 65)
    half = torch.cat([quarter, quarter[..., 1:-1].flip(-1)], -1)
    tile = torch.cat([half, half[..., 1:-1, :].flip(-2)], -2)  # 128x128; beyond its edges a mirror would show the same
    with torch.no_grad():
        small, large = (net(tile.repeat(1, 1, n + 1, n + 1)[..., : 128 * n + 1, : 128 * n + 1]) for n in (1, 16))
    middle = large[..., 1024 : 1024 + 129, 1024 : 1024 + 129]
    inner = slice(32, -32)
    assert (middle - small)[..., inner, inner].std() < 0.1 * small[..., inner, inner].std()
    assert (middle - small).mean((2, 3)).abs().max() < 0.01


# Errors and gradients


def test_gradients_reach_every_parameter():
    net = tiny(2).train()
    net(scene(16, 20, 2), torch.tensor([[0.5, 0.5], [1.0, 0.0]])).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert all(p.grad.any(-1).all() for name, p in net.named_parameters() if name.endswith(("scale", "shift")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": (32, 64)}, "widths=(32, 64), blocks=5, kernel=9; give three widths"),
        ({"kernel": 4}, "kernel=4; give three widths and an odd kernel up to 9"),
        ({"norm": "group"}, "norm 'group' is none of 'instance', 'batch', None"),
        ({"upsampling": "shuffle"}, "upsampling 'shuffle' is none of 'resize', 'deconvolution'"),
        ({"edge": -1}, "edge=-1; mirror 0 pixels or more"),
        ({"styles": 0}, "0 styles with norm 'instance'"),
        ({"styles": 2, "norm": "batch"}, "2 styles with norm 'batch'"),
    ],
)
def test_arguments_that_make_no_net_are_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TransformNet(**arguments)


@pytest.mark.parametrize(
    ("styles", "shape", "shares", "message"),
    [
        (None, (3, 20, 20), None, "images of shape (3, 20, 20); this net takes (B, 3, H, W): picture[None]"),
        (None, (1, 1, 20, 20), None, "images of shape (1, 1, 20, 20)"),
        (None, (1, 3, 7, 20), None, "pictures of 7x20 are too small for this net; it needs 9 pixels a side at least"),
        (None, (1, 3, 20, 20), (1.0,), "shares for a net of one style; call it without them"),
        (2, (1, 3, 20, 20), None, "this net has 2 styles; say how much each counts: shares (2,) or (1, 2)"),
        (2, (4, 3, 20, 20), (1.0, 0, 0), "shares of shape (3,); this net takes (2,) or (4, 2)"),
    ],
)
def test_pictures_and_shares_that_do_not_fit_are_refused(styles, shape, shares, message):
    assert LEAST == 8
    with pytest.raises(ValueError, match=re.escape(message)):
        tiny(styles)(torch.rand(shape), None if shares is None else torch.tensor(shares))
