"""Nets within a given memory: whole, tile by tile, or refused."""

import math
import re
from contextlib import redirect_stderr
from io import StringIO

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xferlib import zoo
from xferlib.metrics.cost import peak_memory
from xferlib.nets.unet import UNet
from xferlib.nets.upsampling import SubPixelConv
from xferlib.ops import progress
from xferlib.ops.tiling import apply_tiled
from xferlib.zoo.memory import MEMORY, apply_within, available, bytes_of, bytes_per_pixel


class Doubling(nn.Sequential):
    """Doubles a picture; a pixel sees two pixels far."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), SubPixelConv(8, 3))
        self.halo, self.stride = 2, 1


@pytest.fixture
def image():
    return torch.rand(3, 150, 90, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def doubling():
    torch.manual_seed(0)
    return Doubling().eval()


class Watched(nn.Module):
    """Notes the sizes of what a net is given."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.halo, self.stride, self.sizes = net, net.halo, net.stride, []

    def forward(self, x):
        self.sizes.append(tuple(x.shape[2:]))
        return self.net(x)


def test_memory_is_that_of_the_largest_maps_alive(doubling):
    # At the end the 8 maps that the last layer was given, its 12, and these laid out as pixels: floats of 4 bytes.
    assert bytes_per_pixel(doubling) == pytest.approx(4 * (8 + 12 + 12), rel=1e-6)


@pytest.mark.parametrize("side", [20, 64, 110])
def test_a_tiled_picture_equals_a_whole_one_and_keeps_to_the_memory(doubling, image, side):
    allowed = int(bytes_per_pixel(doubling) * side**2) + 1
    net = Watched(doubling).eval()
    bytes_per_pixel(net)
    net.sizes.clear()
    with torch.no_grad():
        torch.testing.assert_close(apply_within(net, image, allowed), doubling(image[None])[0], atol=1e-6, rtol=0)
    assert len(net.sizes) > 1
    assert all(peak_memory(doubling, (3, *size)) <= allowed for size in net.sizes)


def test_a_picture_that_fits_is_done_at_once(doubling, image):
    net = Watched(doubling).eval()
    allowed = int(bytes_per_pixel(net) * 150 * 90) + 1
    net.sizes.clear()
    with torch.no_grad():
        apply_within(net, image, allowed)
    assert net.sizes == [(150, 90)]


def test_a_net_that_looks_hardly_beyond_a_tile_gets_tiles_that_fit_the_cache(doubling):
    large = torch.rand(3, 600, 700, generator=torch.Generator().manual_seed(1))
    net = Watched(doubling).eval()
    bytes_per_pixel(net)
    net.sizes.clear()
    with torch.no_grad():
        torch.testing.assert_close(apply_within(net, large), doubling(large[None])[0], atol=1e-6, rtol=0)
        assert len(net.sizes) == 4 and max(net.sizes) == (512, 512)
        net.halo = 60  # more work than tiles are worth
        apply_within(net, large)
    assert net.sizes[4:] == [(600, 700)]


@pytest.mark.parametrize("most", [2**40, 300_000])
def test_what_is_made_of_the_result_is_made_of_each_tile(doubling, image, most):
    with torch.no_grad():
        found = apply_within(doubling, image, most, lambda made: made.argmax(1))
        assert torch.equal(found, doubling(image[None])[0].argmax(0))


def test_a_net_without_padding_is_tiled_anyway(image):
    torch.manual_seed(0)
    net = UNet(in_channels=3, width=4, depth=2).eval()
    with torch.no_grad():
        found = apply_within(net, image, 2**22)
        torch.testing.assert_close(found, apply_tiled(net, image, net.legal_size(100)), atol=1e-5, rtol=0)


def test_a_net_that_sees_the_whole_picture_is_refused_with_the_size_that_fits(image):
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.InstanceNorm2d(4)).eval()
    net.stride = 1
    allowed = int(bytes_per_pixel(net) * 50 * 30) + 1
    with pytest.raises(ValueError, match=r"a picture of 150x90 .* must see it whole: reduce it to about 50x30"):
        apply_within(net, image, allowed)
    with torch.no_grad():
        assert apply_within(net, image[:, :50, :30], allowed).shape == (4, 50, 30)
    with pytest.raises(ValueError, match="reduce it to about 1x1, or allow more"):
        apply_within(net, image, 1)


def test_a_gpu_gives_half_of_what_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6 * 2**30, 8 * 2**30))
    assert available(torch.device("cuda")) == 3 * 2**30
    assert available(torch.device("cpu")) == available(torch.device("mps")) == MEMORY


def test_a_memory_that_holds_no_tile_is_refused_with_the_least_that_does(doubling, image):
    with pytest.raises(ValueError, match=r"1 MB of memory hold no tile; this net takes at least 1 MB"):
        apply_within(doubling, image, 100)


@pytest.mark.parametrize("name", ["fcn8s-streets", "segnet-streets", "unet-streets"])
def test_shipped_nets_label_tiles_as_they_label_the_whole(name):
    net = zoo.load(name)
    image = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(0))
    image = F.interpolate(image[None], (600, 500), mode="bilinear")[0]
    with torch.no_grad():
        whole = net(image[None])[0]
        allowed = int(bytes_per_pixel(net) * 500**2)
        tiled = apply_within(net, image, allowed)
    torch.testing.assert_close(tiled, whole, atol=1e-4, rtol=0)


def test_a_net_in_two_stages_sees_the_whole_and_then_goes_over_it(monkeypatch):
    net, sizes = zoo.load("enhance"), []
    image = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(0)) / 4
    image = F.interpolate(image[None], (600, 500), mode="bilinear")[0]
    metering, development = (bytes_per_pixel(part) for part in net.whole_and_local)
    least = int(metering * 600 * 500) + 1
    monkeypatch.setattr(type(net), "_developed", _noting(sizes, type(net)._developed))
    with torch.no_grad():
        whole = net(image[None])[0]
        for allowed, most in ((zoo.inference.MEMORY, 512 * 512), (least, least / development)):
            sizes.clear()
            torch.testing.assert_close(apply_within(net, image, allowed), whole, atol=1e-5, rtol=0)
            assert len(sizes) > 1 and max(height * width for height, width in sizes) <= most
        darkest = apply_within(net, image, then=lambda made: made.clamp(0, 0.2))
        torch.testing.assert_close(darkest, whole.clamp(0, 0.2), atol=1e-5, rtol=0)
        small, least = image[:, :200, :150], int(metering * 200 * 150) + 1
        sizes.clear()
        torch.testing.assert_close(apply_within(net, small, least), net(small[None])[0], atol=1e-5, rtol=0)
        assert len(sizes) > 2
        with pytest.raises(ValueError, match=r"a picture of 600x500 .* must see it whole"):
            apply_within(net, image, least)
        sizes.clear()
        apply_within(net, image[:, :500])
    assert sizes == [(500, 500)]


def _noting(sizes, developed):
    def noted(net, images, *rest):
        sizes.append(tuple(images.shape[2:]))
        return developed(net, images, *rest)

    return noted


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_how_many_tiles_are_done(doubling, image, monkeypatch, terminal):
    monkeypatch.setattr(progress, "PATIENCE", 0)
    with redirect_stderr(StringIO()) as stream:
        stream.isatty = lambda: terminal
        apply_within(doubling, image, int(bytes_per_pixel(doubling) * 30**2))
    assert ("tile/s" in stream.getvalue()) == terminal


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (300, 300),
        (2.5e20, 25 * 10**19),
        (np.int64(7), 7),
        ("1K", 1024),
        ("1.5m", 3 * 2**19),
        ("2 GB", 2**31),
        ("300", 300),
    ],
)
def test_memory_is_given_in_bytes_or_in_common_units(size, count):
    assert bytes_of(size) == count


@pytest.mark.parametrize("size", [0, -1, math.inf, math.nan, None, "", "much", "-1G", "0M", "1X", "1.2.3G"])
def test_what_is_no_size_of_memory_is_named(size):
    with pytest.raises(ValueError, match=f"{re.escape(repr(size))} is no size of memory; give bytes, or write 500M or"):
        bytes_of(size)


def test_a_net_without_padding_stays_within_the_memory_or_is_refused(monkeypatch, image):
    net, tiles = UNet(in_channels=3, width=4, depth=2).eval(), []
    monkeypatch.setattr("xferlib.zoo.memory.apply_tiled", lambda net, image, tile, **_: tiles.append(tile))
    sides = range(net.legal_size(0), 200)
    for side in sides:
        apply_within(net, image, math.ceil(side**2 * bytes_per_pixel(net)))
    assert all(side - net.stride < tile <= side for tile, side in zip(tiles, sides, strict=True))
    assert all(net.legal_size(tile) == tile for tile in tiles)
    with pytest.raises(ValueError, match=r"memory hold no tile; this net takes at least"):
        apply_within(net, image, math.ceil((net.legal_size(0) - 1) ** 2 * bytes_per_pixel(net)))


def test_no_graph_is_kept_of_a_small_picture():
    net = nn.Conv2d(3, 3, 3, padding=1)
    assert not apply_within(net, torch.rand(3, 16, 16)).requires_grad


def test_a_net_that_keeps_nothing_needs_a_little_memory():
    image = torch.rand(3, 16, 16)
    assert torch.equal(apply_within(nn.Identity(), image), image)


def test_less_than_a_byte_is_no_size():
    with pytest.raises(ValueError, match=r"'0\.0001' is no size of memory"):
        bytes_of("0.0001")
