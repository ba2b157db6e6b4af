"""What all nets of super-resolution promise: any size, whole factors, a known reach, and errors with a way out."""

import pytest
import torch

from xferlib.metrics.cost import peak_memory
from xferlib.nets.edsr import EDSR, SLIM
from xferlib.nets.enlarger import LumaEnlarger
from xferlib.nets.espcn import ESPCN
from xferlib.nets.srcnn import SRCNN
from xferlib.ops.colour import to_ycbcr
from xferlib.ops.degrade import upscale
from xferlib.ops.tiling import apply_tiled, reach

SMALL = {"width": 4, "blocks": 2}
NETS = {
    "SRCNN": SRCNN,
    "SRCNN 9-5-5": lambda factor: SRCNN(factor, kernels=(9, 5, 5)),
    "ESPCN": ESPCN,
    "EDSR": lambda factor: EDSR(factor, **SMALL),
    "EDSR, slim": lambda factor: EDSR(factor, **{**SLIM, **SMALL}),
}


def build(name: str, factor: int):
    """Give a net in evaluation mode with all weights at random, also those that start at 0."""
    torch.manual_seed(0)
    net = NETS[name](factor).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return net


def picture(*size: int) -> torch.Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_any_size_is_enlarged_by_the_factor(name, factor):
    net = build(name, factor)
    for size in [(1, 1), (1, 7), (5, 2), (6, 9)]:
        made = net(picture(2, 3, *size))
        assert made.shape == (2, 3, factor * size[0], factor * size[1]) and made.isfinite().all()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_no_pixel_beyond_the_halo_matters_and_those_at_it_do(name, factor):
    net = build(name, factor)
    assert net.halo - 1 <= reach(net, 3, 1) <= net.halo


@pytest.mark.parametrize("name", NETS)
def test_tile_by_tile_is_the_same(name):
    net, image = build(name, 3), picture(3, 45, 38)
    with torch.no_grad():
        whole = net(image[None])[0]
        tiled = apply_tiled(net, image, 2 * net.halo + 9, halo=net.halo, stride=net.stride)
    torch.testing.assert_close(tiled, whole, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", NETS)
def test_pictures_of_a_batch_do_not_mix_and_stay_as_they_were(name):
    net, images = build(name, 2), picture(2, 3, 6, 5)
    before = images.clone()
    torch.testing.assert_close(net(images)[1:], net(images[1:]))
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", NETS)
def test_every_weight_learns(name):
    net = build(name, 2)
    net(picture(1, 3, 8, 8)).square().sum().backward()
    assert [key for key, p in net.named_parameters() if not (p.grad.isfinite().all() and p.grad.any())] == []


@pytest.mark.parametrize("name", ["SRCNN", "ESPCN"])
def test_colour_is_enlarged_bicubically_whatever_luma_becomes(name):
    net, images = build(name, 4), picture(1, 3, 9, 7)
    made, plain = to_ycbcr(net(images)), to_ycbcr(upscale(images, 4))
    torch.testing.assert_close(made[:, 1:], plain[:, 1:], atol=1e-5, rtol=0)
    assert (made - plain)[:, 0].abs().max() > 0.01
    torch.testing.assert_close(made[:, :1], net.enlarge_luma(to_ycbcr(images)[:, :1]), atol=1e-5, rtol=0)


def test_nets_for_luma_are_told_apart():
    assert isinstance(SRCNN(), LumaEnlarger) and isinstance(ESPCN(), LumaEnlarger)
    assert not isinstance(EDSR(**SMALL), LumaEnlarger)


def test_the_shuffle_saves_memory():
    assert peak_memory(ESPCN(4), (3, 24, 24)) < 0.2 * peak_memory(SRCNN(4), (3, 24, 24))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    "images, way_out",
    [
        (torch.rand(1, 4, 5, 5), r"\(1, 4, 5, 5\).*alpha.*\[:, :3\]"),
        (torch.rand(1, 1, 5, 5), r"grey picture with expand\(-1, 3, -1, -1\)"),
        (torch.rand(3, 5, 5), r"One picture is \[None\]"),
        (torch.zeros(1, 3, 5, 5, dtype=torch.uint8), "torch.uint8.*Divide bytes by 255"),
        (torch.rand(1, 3, 0, 5), r"\(1, 3, 0, 5\).*at least one pixel"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_way_out(name, images, way_out):
    with pytest.raises(ValueError, match=way_out):
        build(name, 2)(images)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("factor", [1, 0, 2.5])
def test_factors_below_two_or_between_are_refused(name, factor):
    with pytest.raises(ValueError, match=rf"factor {factor} is not a whole number of at least 2.*resize_bicubic"):
        NETS[name](factor)
