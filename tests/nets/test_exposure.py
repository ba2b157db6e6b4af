"""The enhancer: its split, its curves, where it starts, and what it takes."""

import pytest
import torch

from xferlib.metrics.restoration import smooth
from xferlib.nets.exposure import SLIM, ExposureNet, split
from xferlib.ops.colour import luminance
from xferlib.ops.guided import guided_filter
from xferlib.ops.tiling import reach

TINY = {"widths": (4, 3, 4), "depths": (2, 2, 2), "stride": 4}


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def awake(**options):
    """A small net whose last layers do not start at zero."""
    torch.manual_seed(0)
    net = ExposureNet(**{**TINY, **options})
    for layer in (net.curves, net.lift, net.last):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return net.eval()


def test_luminance_by_hand():
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    assert luminance(red).item() == pytest.approx(0.299)
    assert luminance(noise(2, 1, 3, 4).expand(-1, 3, -1, -1)).allclose(noise(2, 1, 3, 4))


def test_base_and_detail_are_the_luminance():
    grey = 0.4 + 0.1 * noise(2, 1, 30, 41)
    base, detail = split(grey)
    torch.testing.assert_close(base + detail, grey)
    assert base.std() < 0.5 * grey.std() and detail.mean().abs() < 0.01


@pytest.mark.parametrize("value", [0.0, 0.02, 0.6, 1.0])
def test_a_flat_picture_is_all_base(value):
    base, detail = split(torch.full((1, 1, 25, 19), value))
    torch.testing.assert_close(base, torch.full_like(base, value), atol=1e-6, rtol=1e-5)
    assert detail.abs().max() < 1e-6


def test_a_dark_picture_is_split_as_a_bright_one():
    grey = noise(1, 1, 30, 30) * 0.8 + 0.2
    bright, dark = split(grey), split(grey / 8)
    for whole, part in zip(bright, dark, strict=True):
        torch.testing.assert_close(part, whole / 8, atol=1e-5, rtol=0)


def test_where_a_window_holds_all_it_is_the_guided_filter():
    grey = noise(1, 1, 9, 12).double()
    base, _ = split(grey, radius=12, epsilon=0.05)
    expected = guided_filter(grey, grey, radius=12, epsilon=0.05 * grey.mean().item() ** 2)
    torch.testing.assert_close(base, expected, atol=1e-6, rtol=0)


def test_edges_stay_in_the_base_and_texture_does_not():
    grey = torch.full((1, 1, 40, 60), 0.2)
    grey[..., 30:] = 0.7
    texture = 1 + 0.05 * (-1.0) ** torch.arange(60)
    base, _ = split(grey)
    blurred = smooth(grey, 8 / 3**0.5)
    assert (base - grey).abs().max() < 0.2 * (blurred - grey).abs().max()
    flat, _ = split(0.2 * texture.expand(1, 1, 40, 60))
    assert (flat / 0.2 - 1).abs().max() < 0.02


@pytest.mark.parametrize("options", [{}, SLIM], ids=["paper", "slim"])
def test_it_starts_as_the_identity(options):
    image = noise(1, 3, 18, 21)
    parts = ExposureNet(**options).parts(image)
    for found, expected in (
        (parts.result, image),
        (parts.joined, image),
        (parts.enhanced_base, parts.base),
        (parts.enhanced_detail, parts.detail),
        (parts.base + parts.detail, luminance(image)),
    ):
        torch.testing.assert_close(found, expected)


def test_the_defaults_are_the_papers_and_the_shipped_one_is_small():
    net = ExposureNet()
    for branch in (net.base_branch, net.detail_branch):
        shapes = [tuple(layer.weight.shape) for layer in branch if isinstance(layer, torch.nn.Conv2d)]
        assert shapes == [(64, 4, 3, 3)] + 4 * [(64, 64, 3, 3)]
    assert net.stride == 1
    assert sum(p.numel() for p in ExposureNet(**SLIM).parameters()) * 2 < 2**18


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (7, 8), (33, 18)])
def test_any_size_is_kept(size):
    image = noise(2, 3, *size)
    found = awake()(image)
    assert found.shape == image.shape and found.isfinite().all()


def test_pictures_of_a_batch_do_not_mix():
    images, net = noise(3, 3, 16, 20), awake()
    torch.testing.assert_close(net(images)[1:2], net(images[1:2]))


def test_curves_are_read_where_the_base_lies():
    net = ExposureNet(**{**TINY, "knots": 3})
    with torch.no_grad():
        net.curves.bias.copy_(torch.tensor([3.0, 1.0, 0.0]))  # stops at the roots 0, 1/2 and 1
    for value, stops in ((0.0625, 2.0), (0.25, 1.0), (0.5625, 0.5), (1.0, 0.0)):
        flat = torch.full((1, 3, 9, 10), value)
        torch.testing.assert_close(net.parts(flat).enhanced_base, 2**stops * flat[:, :1])
        torch.testing.assert_close(net(flat), 2**stops * flat)


def test_lifting_keeps_hues_and_edges():
    net = ExposureNet(**{**TINY, "knots": 3})
    with torch.no_grad():
        net.curves.bias.copy_(torch.tensor([3.0, 1.0, 0.0]))
    colours = torch.tensor([[0.08, 0.06, 0.05], [0.5, 0.6, 0.9]])
    image = torch.cat([colour.view(1, 3, 1, 1).expand(1, 3, 40, 20) for colour in colours], 3)
    found = net(image)
    shares, expected = (each / each.sum(1, keepdim=True) for each in (found, image))
    torch.testing.assert_close(shares, expected, atol=1e-4, rtol=0)
    rows = luminance(found)[0, 0, 20]
    for side, far in ((rows[:20], rows[0]), (rows[20:], rows[-1])):
        assert (side / far - 1).abs().mean() < 0.04
        assert side.diff().abs().max() < 0.1 * (rows[20] - rows[19])


def test_the_mean_of_the_picture_counts_everywhere():
    net, image = awake(), noise(1, 3, 80, 16)
    other = image.clone()
    other[..., 60:, :] *= 0.1
    assert (net(image) - net(other))[..., :8, :].abs().max() > 1e-6


def test_in_two_stages_it_is_the_same_net():
    net, image = awake(), noise(2, 3, 37, 50)
    whole, local = net.whole_and_local
    stops = whole(image)
    assert stops.shape == (2, 1, 37, 50) and stops.std() > 0
    torch.testing.assert_close(local(torch.cat([image, stops], 1)), net(image), atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [{"radius": 3}, {**SLIM, "radius": 5}], ids=["tiny", "slim"])
def test_its_second_stage_looks_as_far_as_it_says(options):
    local = awake(**options).whole_and_local[1]
    assert local.halo == reach(local, local.in_channels)


def test_every_weight_learns_and_the_picture_has_a_gradient():
    net, image = awake(), noise(2, 3, 12, 13).requires_grad_()
    net(image).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())
    assert image.grad.isfinite().all() and image.grad.any()


def test_a_black_and_a_white_picture_are_finite():
    for value in (0.0, 1.0):
        image = torch.full((1, 3, 10, 10), value).requires_grad_()
        found = awake()(image)
        found.sum().backward()
        assert found.isfinite().all() and image.grad.isfinite().all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: awake()(torch.rand(1, 4, 8, 8)), r"\(1, 4, 8, 8\).*drop an alpha channel"),
        (lambda: awake()(torch.rand(1, 1, 8, 8)), r"\(1, 1, 8, 8\); this net takes RGB of \(B, 3, H, W\)"),
        (lambda: awake()(torch.rand(3, 8, 8)), r"\(3, 8, 8\).*one picture as \[None\]"),
        (lambda: awake()(torch.rand(1, 3, 0, 8)), r"\(1, 3, 0, 8\)"),
        (lambda: ExposureNet(widths=(8, 0, 8)), r"widths \(8, 0, 8\)"),
        (lambda: ExposureNet(knots=1), "1 knots"),
        (lambda: split(torch.rand(1, 1, 4, 4), radius=0), "radius 0"),
        (lambda: split(torch.rand(1, 1, 4, 4), epsilon=0.0), "epsilon 0.0"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()
