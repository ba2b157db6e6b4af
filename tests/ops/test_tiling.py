from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xferlib.nets.segnet import SegNet
from xferlib.nets.unet import UNet
from xferlib.ops import _tiles
from xferlib.ops.tiling import Span, apply_tiled, reach, spans

# In double precision "equal" means to 1e-12: no rounding can hide a seam, and no seam can pass for rounding.
EQUAL = 1e-12


def noise(*shape, dtype=torch.double):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def seeded(build, *args, **kwargs):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build(*args, **kwargs).double().eval()
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 2)
    return net


SHALLOW = seeded(UNet, 2, 3, width=4, depth=2)
PADDED = seeded(UNet, 2, 3, width=4, depth=2, padding="reflect", norm=True)
NUMPYS = {"reflect": "reflect", "replicate": "edge", "zeros": "constant"}


def one_pass(net, image, padding="reflect"):
    """A valid net on the whole image, padded by numpy to the next size that the net takes."""
    m, (height, width) = net.margin, image.shape[-2:]
    far = [net.legal_size(side + 2 * m) - side - m for side in (height, width)]
    padded = np.pad(image.numpy(), ((0, 0), (m, far[0]), (m, far[1])), mode=NUMPYS[padding])
    with torch.no_grad():
        return net(torch.from_numpy(padded)[None])[0, :, :height, :width]


def error(result, whole):
    assert result.shape == whole.shape
    return ((result - whole).abs().max() / whole.abs().mean()).item()


class Watch(nn.Module):
    """Keeps the shapes that a net was given."""

    def __init__(self, net, **attributes):
        super().__init__()
        self.net, self.shapes = net, []
        for name, value in attributes.items():
            setattr(self, name, value)
        self.eval()

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        return self.net(x)


# Valid nets: the paper's tile strategy


@pytest.mark.parametrize("padding", ["reflect", "replicate", "zeros"])
def test_paper_depth_equals_one_pass(padding):
    net = seeded(UNet, 1, 2, width=4, depth=4)
    image = noise(1, 100, 260)
    whole = one_pass(net, image, padding)
    for tile, step in ((220, None), (252, 32), (572, 384)) if padding == "reflect" else ((220, None),):
        assert error(apply_tiled(net, image, tile, step=step, padding=padding), whole) < EQUAL


def test_single_precision_differs_by_rounding_only():
    net = seeded(UNet, 1, 2, width=4, depth=4).float()
    image = noise(1, 100, 260, dtype=torch.float)
    whole = one_pass(net, image)
    tiled = apply_tiled(net, image, 252)
    assert tiled.dtype == torch.float and (tiled - whole).abs().max() < 2e-6 * whole.abs().max()


def test_naive_step_leaves_seams():
    net = seeded(UNet, 1, 2, width=4, depth=4)
    image = noise(1, 100, 260)
    whole = one_pass(net, image)
    assert error(apply_tiled(net, image, 252, step=64), whole) < EQUAL
    seamed = apply_tiled(net, image, 252, step=68)
    assert error(seamed, whole) > 1e-2
    # The first tile has the phase of one pass, the second one has not.
    assert error(seamed[..., :68, :68], whole[..., :68, :68]) < EQUAL
    assert error(seamed[..., :68, 68:136], whole[..., :68, 68:136]) > 1e-2


@settings(deadline=None, max_examples=20)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    tile=st.sampled_from([44, 48, 60, 92]),
    batch_size=st.integers(1, 4),
    padding=st.sampled_from(["reflect", "replicate", "zeros"]),
    data=st.data(),
)
def test_valid_net_equals_one_pass_for_any_size(size, tile, batch_size, padding, data):
    image = noise(2, *size)
    step = data.draw(st.none() | st.integers(1, (tile - 40) // 4).map(lambda k: 4 * k))
    tiled = apply_tiled(SHALLOW, image, tile, step=step, padding=padding, batch_size=batch_size)
    assert error(tiled, one_pass(SHALLOW, image, padding)) < EQUAL


def test_without_padding_only_the_inside_is_left():
    image = noise(2, 92, 108)
    with torch.no_grad():
        whole = SHALLOW(image[None])[0]
    tiled = apply_tiled(SHALLOW, image, 60, padding="none")
    assert tiled.shape == (3, 52, 68) and error(tiled, whole) < EQUAL
    mirrored = apply_tiled(SHALLOW, image, 60)
    assert mirrored.shape == (3, 92, 108)
    # The margin, 20, is a multiple of the stride, 4: the inside is the same either way.
    assert error(mirrored[:, 20:-20, 20:-20], whole) < EQUAL


def test_a_convolution_knows_no_phase():
    net = seeded(nn.Conv2d, 1, 2, 5)
    image = noise(1, 23, 31)
    with torch.no_grad():
        whole = net(F.pad(image[None], (2, 2, 2, 2), mode="reflect"))[0]
    for step in range(1, 9):
        assert error(apply_tiled(net, image, 12, step=step, margin=2), whole) < EQUAL


@pytest.mark.parametrize("padding", list(NUMPYS))
@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_border_is_numpys_even_where_the_mirror_is_wider_than_the_image(padding, size):
    image, margin = noise(1, size, size + 2), 7
    # Channel k of the result is the image moved: each pixel shows its whole window.
    windows = apply_tiled(lambda x: F.unfold(x, 15).unflatten(2, (4, 4)), image, 18, margin=margin, padding=padding)
    padded = torch.from_numpy(np.pad(image[0].numpy(), margin, mode=NUMPYS[padding]))
    expected = F.unfold(padded[None, None], 15).unflatten(2, (size, size + 2))[0]
    assert torch.equal(windows, expected)


@given(size=st.integers(1, 9), before=st.integers(0, 40), after=st.integers(0, 40))
def test_mirror_is_numpys(size, before, after):
    index = _tiles.reflect_index(torch.arange(-before, size + after), size)
    np.testing.assert_array_equal(index, np.pad(np.arange(size), (before, after), mode="reflect"))


# Nets that keep the size


@pytest.mark.parametrize(
    ("net", "stride"),
    [
        (PADDED, 4),
        (seeded(UNet, 2, 3, width=4, depth=2, padding="zeros"), 4),
        (seeded(SegNet, 3, in_channels=2, widths=(4, 6), convs=(1, 2)), 4),
        (seeded(nn.Conv2d, 2, 1, 7, padding=3), 1),
    ],
)
@pytest.mark.parametrize("size", [(61, 100), (17, 75)])
def test_reach_as_halo_equals_one_pass(net, stride, size):
    image, halo = noise(2, *size), reach(net, 2, stride)
    with torch.no_grad():
        whole = net(image[None])[0]
    for spare in (0, 1, 5):
        tiled = apply_tiled(net, image, 2 * halo + stride + spare, halo=halo, stride=stride, batch_size=3)
        assert error(tiled, whole) < EQUAL


@settings(deadline=None, max_examples=10)
@given(size=st.tuples(st.integers(8, 90), st.integers(60, 90)), tile=st.integers(54, 60), whole_step=st.booleans())
def test_padded_net_equals_one_pass_for_any_size(size, tile, whole_step):
    image = noise(2, *size)
    with torch.no_grad():
        whole = PADDED(image[None])[0]
    step = None if whole_step else 4
    assert error(apply_tiled(PADDED, image, tile, step=step, halo=REACH), whole) < EQUAL


REACH = reach(PADDED, 2)


def test_less_halo_or_another_phase_leaves_seams():
    image = noise(2, 100, 100)
    with torch.no_grad():
        whole = PADDED(image[None])[0]
    assert error(apply_tiled(PADDED, image, 56, halo=0), whole) > 1e-2
    assert error(apply_tiled(PADDED, image, 56, step=9, halo=REACH), whole) > 1e-2


def test_slivers_are_read_wider():
    net = Watch(PADDED, stride=4)
    image = noise(2, 65, 64)
    assert apply_tiled(net, image, 32).shape == (3, 65, 64)
    assert sorted(net.shapes, reverse=True) == 4 * [(1, 2, 32, 32)] + 2 * [(1, 2, 17, 32)]


# Reach, by hand


@pytest.mark.parametrize(
    ("net", "stride", "expected"),
    [
        (nn.Identity(), 1, 0),
        (nn.Conv2d(1, 2, 3, padding=1), 1, 1),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.Conv2d(1, 1, 3, padding=1)), 1, 2),
        (nn.Conv2d(1, 1, 3, padding=4, dilation=4), 1, 4),
        (nn.Conv2d(1, 1, (1, 5), padding=(0, 2)), 1, 2),
        (nn.Conv2d(1, 1, (5, 1), padding=(2, 0)), 1, 2),
        # Two pixels are one: the second sees the first.
        (nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2)), 2, 1),
        # One pixel from the 3x3, to its pair and one more pair: 1 + 1 + 2.
        (
            nn.Sequential(
                nn.Conv2d(1, 1, 3, padding=1),
                nn.MaxPool2d(2),
                nn.Conv2d(1, 1, 3, padding=1),
                nn.Upsample(scale_factor=2),
            ),
            2,
            4,
        ),
        # The cell of four, moved two to the left: its last pixel is five to the right of its first result.
        (nn.Sequential(nn.MaxPool2d(4), nn.Upsample(scale_factor=4), nn.ZeroPad2d((-2, 2, 0, 0))), 4, 5),
        # A result twice as large: in pixels of the image still 1.
        (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2)), 1, 1),
        (nn.Conv2d(1, 1, 61, padding=30), 1, 30),
    ],
)
def test_reach_by_hand(net, stride, expected):
    assert reach(net.eval(), 1, stride) == expected


def test_reach_counts_maxima_that_move():
    class Unpool(nn.Module):
        stride = 2

        def forward(self, x):
            return F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)

    # A new maximum erases its neighbour's: not the NaN, but the zero that it leaves, is one pixel away.
    assert reach(Unpool(), 1) == 1


def test_reach_of_a_valid_net_is_half_its_window():
    # Depth 1: 3x3 twice, pool, 3x3 twice, up, 3x3 twice. A pixel, 4 off (3x3 four times at full size), 1 by its
    # pair and 4 by two 3x3 at half size.
    assert reach(seeded(UNet, 1, 2, width=2, depth=1), 1) == 9


@pytest.mark.parametrize(
    "net",
    [
        nn.InstanceNorm2d(1),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Upsample((64, 64))).eval(),
        lambda x: x + x.mean((2, 3), keepdim=True),
    ],
)
def test_reach_without_end_is_an_error(net):
    net = (lambda x, net=net: x + net(x).mean((2, 3), keepdim=True)) if isinstance(net, nn.Sequential) else net
    with pytest.raises(ValueError, match="global pooling"):
        reach(net, 1)


# Tiles


def test_number_of_tiles_by_hand():
    # 388 of 572 pixels are kept; 16 * 24 = 384 is the largest step: 1000 pixels take three tiles, 800 take three
    # (2 * 384 = 768), 768 take two.
    for size, count in ((1000, 3), (800, 3), (773, 3), (772, 2), (768, 2), (388, 1), (1, 1)):
        assert len(spans(size, 572, margin=92, stride=16)) == count
    assert spans(800, 572, margin=92, stride=16) == [
        Span(-92, 480, 0, 384),
        Span(292, 864, 384, 768),
        Span(676, 1248, 768, 800),
    ]
    # Windows of 256 with a quarter of overlap: 1024 = 256 + 4 * 192.
    assert spans(1024, 256, halo=32, stride=16) == [
        Span(0, 256, 0, 224),
        Span(192, 448, 224, 416),
        Span(384, 640, 416, 608),
        Span(576, 832, 608, 800),
        Span(768, 1024, 800, 1024),
    ]
    assert len(spans(1025, 256, halo=32, stride=16)) == 6
    # The sliver of 2 pixels is read 4 strides wider.
    assert spans(34, 32, stride=4)[1] == Span(16, 34, 32, 34)


@given(
    size=st.integers(1, 200),
    tile=st.integers(1, 80),
    lost=st.integers(0, 20),
    stride=st.sampled_from([1, 2, 8]),
    valid=st.booleans(),
)
def test_kept_parts_follow_each_other(size, tile, lost, stride, valid):
    valid = valid and lost > 0
    lost = {"margin": lost} if valid else {"halo": lost}
    (drop,) = lost.values()
    if tile - 2 * drop < stride:
        return
    found = spans(size, tile, stride=stride, **lost)
    assert found[0].first == 0 and found[-1].last == size
    assert all(a.last == b.first for a, b in pairwise(found))
    assert all(span.start % stride == (-drop % stride if valid else 0) for span in found)
    for span in found:
        at_border = (span.start == 0 or valid, span.stop == size or valid)
        assert span.first - span.start >= (drop if valid or span.start else 0)
        assert span.stop - span.last >= (drop if valid or span.stop < size else 0), at_border
        assert span.stop - span.start == tile if valid else span.stop - span.start <= tile


def test_net_only_ever_sees_tiles():
    net = Watch(SHALLOW, margin=20, stride=4)
    apply_tiled(net, noise(2, 90, 150), 60, batch_size=4)
    # 20 kept of 60: 5 times 8 tiles.
    assert net.shapes == 10 * [(4, 2, 60, 60)]


def test_tiles_of_equal_shape_share_a_batch():
    net = Watch(seeded(nn.Conv2d, 1, 1, 3, padding=1))
    apply_tiled(net, noise(1, 70, 70), 40, halo=4, batch_size=3)
    # Starts 0, 32 and 64 would leave 6: 2 tiles a side, the second one 38 wide.
    assert net.shapes == [(1, 1, 40, 40), (1, 1, 40, 38), (1, 1, 38, 40), (1, 1, 38, 38)]


def test_nothing_but_tiles_is_allocated():
    net, tile = nn.Conv2d(1, 4, 3), 40
    for size in (80, 320):
        image, out = noise(1, size, size, dtype=torch.float), torch.empty(size, size, dtype=torch.uint8)
        with torch.autograd.profiler.profile(profile_memory=True) as profile:
            apply_tiled(net, image, tile, margin=1, out=out, then=lambda scores: scores.argmax(1))
        # Four scores a pixel, of four bytes, in two layouts at once: a few tiles, whatever the size of the image.
        assert 0 < max(event.self_cpu_memory_usage for event in profile.function_events) <= 64 * tile**2


# Result


def test_then_works_on_each_tile():
    image = noise(2, 50, 70)
    logits = apply_tiled(SHALLOW, image, 60)
    labels = apply_tiled(SHALLOW, image, 60, then=lambda scores: scores.argmax(1))
    assert labels.dtype == torch.int64 and torch.equal(labels, logits.argmax(0))
    assert torch.equal(apply_tiled(SHALLOW, image, 60, then=lambda scores: scores[:, :1]), logits[:1])


def test_images_of_a_batch_are_independent():
    images = noise(3, 2, 33, 41)
    together = apply_tiled(SHALLOW, images, 60, batch_size=4)
    for image, result in zip(images, together, strict=True):
        assert error(result, apply_tiled(SHALLOW, image, 60)) < EQUAL


def test_a_net_may_enlarge():
    net = nn.Sequential(seeded(nn.Conv2d, 3, 12, 3, padding=1), nn.PixelShuffle(2)).eval()
    image = noise(3, 37, 52)
    with torch.no_grad():
        whole = net(image[None])[0]
        valid = net(F.pad(image[None], (2, 2, 2, 2), mode="reflect"))[0, :, 4:-4, 4:-4]
    assert error(apply_tiled(net, image, 16, halo=1), whole) < EQUAL

    def cropped(x):
        return net(x)[..., 4:-4, 4:-4]

    assert error(apply_tiled(cropped, image, 16, margin=2), valid) < EQUAL


def test_result_goes_where_it_is_asked_to(tmp_path):
    image = noise(2, 50, 70)
    expected = apply_tiled(SHALLOW, image, 60)
    tensor = torch.empty(3, 50, 70, dtype=torch.double)
    assert apply_tiled(SHALLOW, image, 60, out=tensor).data_ptr() == tensor.data_ptr()
    assert torch.equal(tensor, expected)
    file = np.memmap(tmp_path / "labels", np.uint8, "w+", shape=(50, 70))
    apply_tiled(SHALLOW, image, 60, out=file, then=lambda scores: scores.argmax(1))
    np.testing.assert_array_equal(np.fromfile(tmp_path / "labels", np.uint8).reshape(50, 70), expected.argmax(0))


def test_result_is_an_ordinary_tensor_and_the_image_is_untouched():
    image = noise(1, 20, 20).requires_grad_()
    net = nn.Sequential(nn.ReLU(inplace=True), seeded(nn.Conv2d, 1, 1, 3, padding=1))
    before = image.detach().clone()
    result = apply_tiled(net, image, 16, halo=1)
    assert not result.is_inference() and not result.requires_grad
    assert torch.equal(image, before)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_have_the_layout(memory_format, channels):
    def net(x):
        expected = torch.empty(x.shape, memory_format=memory_format).stride()
        assert x.stride() == expected
        return x

    image = noise(channels, 20, 20)
    assert torch.equal(apply_tiled(net, image, 8, memory_format=memory_format), image)


def test_progress(capsys):
    apply_tiled(SHALLOW, noise(2, 50, 70), 60, progress=True)
    assert "/12 [" in capsys.readouterr().err
    apply_tiled(SHALLOW, noise(2, 50, 70), 60)
    assert not capsys.readouterr().err


# Errors


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tile": 62}, "tile 62 is not a size that the net takes; nearest legal: 60 and 64"),
        ({"tile": 41}, "tile 41 keeps 1 pixels, less than the net's stride 4: take one of 44"),
        ({"tile": 42, "step": 2}, "nearest legal: 44, the smallest"),
        ({"tile": 40}, r"tile 40 loses 20 pixels \(margin\) on each side: take one of 44 or more"),
        ({"tile": 0}, "tile 0 is smaller than 1"),
        ({"tile": 60, "step": 21}, "step 21 leaves gaps: tile 60 keeps 20 pixels, so at most 20"),
        ({"tile": 60, "step": 0}, "step 0 is smaller than 1"),
        ({"tile": 60, "halo": 3}, "halo 3 for a net with margin 20"),
        ({"tile": 60, "batch_size": 0}, "batch_size 0 is smaller than 1"),
        ({"tile": 60, "stride": 0}, "stride 0 is smaller than 1"),
        ({"tile": 60, "margin": -1}, "margin -1 is smaller than 0"),
        ({"tile": 60, "padding": "mirror"}, "padding 'mirror' is none of"),
        ({"tile": 60, "padding": "none"}, "tile 60 is larger than the image, 50 x 70"),
        (
            {"tile": 60, "out": torch.empty(3, 50, 71, dtype=torch.double)},
            r"out holds 1 x \(3, 50, 71\) of torch.float64; the result is 1 x \(3, 50, 70\)",
        ),
        ({"tile": 60, "out": torch.empty(3, 50, 70, dtype=torch.uint8)}, "torch.uint8"),
        ({"tile": 60, "then": lambda scores: scores.mean((2, 3))}, r"then made \(1, 3\)"),
    ],
)
def test_bad_requests_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        apply_tiled(SHALLOW, noise(2, 50, 70), **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tile": 71}, "tile 71 is larger than the image, 50 x 70: .* or call the net on the whole image"),
        ({"tile": 20, "halo": 10}, r"tile 20 loses 10 pixels \(halo\) on each side: take one of 24"),
    ],
)
def test_bad_requests_are_named_for_nets_that_keep_the_size(kwargs, message):
    with pytest.raises(ValueError, match=message):
        apply_tiled(PADDED, noise(2, 50, 70), **kwargs)


def test_a_tile_may_be_larger_than_one_side():
    assert apply_tiled(PADDED, noise(2, 20, 70), 64, halo=4).shape == (3, 20, 70)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(2, 0, 70), "no pixel"),
        (torch.zeros(50, 70), r"image of shape \(50, 70\); give \(C, H, W\)"),
        (torch.zeros(2, 50, 70, dtype=torch.uint8), r"torch.uint8; .*image.float\(\) / 255"),
        (torch.zeros(4, 50, 70), r"takes \(B, 2, H, W\)"),
    ],
)
def test_bad_images_are_named(image, message):
    with pytest.raises(ValueError, match=message):
        apply_tiled(SHALLOW, image, 60)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_first_pixel_without_a_number_is_named(value):
    image = noise(2, 50, 70)
    image[1, 7, 9] = image[1, 7, 10] = image[1, 8, 3] = value
    with pytest.raises(ValueError, match=f"{value} in channel 1 at row 7, column 9"):
        apply_tiled(SHALLOW, image, 60)


@pytest.mark.parametrize(
    ("net", "margin"),
    [
        (lambda x: x[..., 1:, :], 0),
        (lambda x: x[..., ::2, ::2], 0),
        (lambda x: x[..., 2:-2, 2:-2], 1),
        (lambda x: x.repeat_interleave(2, 3), 0),
        (lambda x: x[0], 0),
    ],
)
def test_sizes_that_change_unexpectedly_are_named(net, margin):
    with pytest.raises(ValueError, match=r"the net made \(.*\) of tiles \(1, 2, 16, 16\); with margin"):
        apply_tiled(net, noise(2, 50, 70), 16, margin=margin)


def test_training_mode_is_an_error():
    with pytest.raises(ValueError, match=r"net.eval\(\)"):
        apply_tiled(UNet(2, 3, width=4, depth=2), noise(2, 50, 70), 60)


def test_out_that_cannot_be_written_is_an_error():
    out = np.empty((3, 50, 70), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="cannot be written"):
        apply_tiled(SHALLOW, noise(2, 50, 70), 60, out=out)
