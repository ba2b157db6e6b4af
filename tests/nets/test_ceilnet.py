"""CEILNet: the layers of its paper, any size, how far it sees, and which parts it has."""

import re
from itertools import product

import pytest
import torch
from torch import nn

from xferlib.nets.ceilnet import MIDDLE, CEILNet, SubNet
from xferlib.ops.edges import edges
from xferlib.ops.tiling import apply_tiled

SLIM = {"widths": (4, 6, 8), "dilations": (1, 2), "edge_dilations": (1,), "norm": False, "skips": True}
SMOOTH = {"interpolate": True}
TAUGHT = {"widths": (4, 6, 8, 8), "interpolate": True, "stages": 4}


def net(seed=0, **changes):
    torch.manual_seed(seed)
    return CEILNet(**{**SLIM, **changes}).eval()


def busy(found):
    """Give every weight a size, also those that begin at zero, and signs with which no ReLU is silent."""
    for p in found.parameters():
        nn.init.uniform_(p, 0.02, 0.1)
    if found.e_cnn:
        for p in found.e_cnn.leave[-1].parameters():  # it is taken away from the edges of the picture
            nn.init.uniform_(p, -0.1, -0.02)
    return found


def test_the_defaults_are_the_papers():
    paper = CEILNet()
    for sub, read, made in ((paper.e_cnn, 4, 1), (paper.i_cnn, 4, 3)):
        convs = [m for m in sub.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        assert len(convs) == 2 + 1 + 2 * 13 + 1 + 2
        assert {m.out_channels for m in convs[:-1]} == {64} and (convs[0].in_channels, convs[-1].out_channels) == (
            read,
            made,
        )
        assert [m.stride[0] for m in convs if m.stride[0] > 1] == [2, 2]
        assert sum(isinstance(m, nn.BatchNorm2d) for m in sub.modules()) == len(convs) - 1
        # By hand: 3x3 convolutions, one 4x4, one 1x1, and a scale and a shift for each channel of all but the last.
        weights = 9 * 64 * (read + 64 + 64 + 26 * 64 + 64) + 16 * 64 * 64 + 64 * made + made + 2 * 64 * (len(convs) - 1)
        assert sum(p.numel() for p in sub.parameters()) == weights
    assert paper.stride == 2
    found = paper(torch.rand(2, 3, 9, 12))
    assert found.shape == (2, 3, 9, 12) and found.isfinite().all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 8), (33, 18)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"edge_dilations": ()},
        {"layers": 2},
        {"layers": 2, "passes": 2},
        {"skips": False, "norm": True},
        SMOOTH,
        TAUGHT,
    ],
)
def test_any_size_is_kept(size, changes):
    found = net(**changes).separate(torch.rand(2, 3, *size))
    assert found.background.shape == (2, 3, *size)
    assert (found.edges is None) == ("edge_dilations" in changes)
    assert found.edges is None or found.edges.shape == (2, 1, *size)
    assert (found.reflection is None) == ("layers" not in changes)
    assert found.reflection is None or found.reflection.shape == (2, 3, *size)


def test_other_sizes_are_filled_up_with_their_last_rows_and_columns():
    images = torch.rand(1, 3, 5, 7)
    filled = nn.functional.pad(images, (0, 1, 0, 3), mode="replicate")
    assert torch.equal(net()(images), net()(filled)[..., :5, :7])


def test_the_background_alone_is_what_forward_gives():
    images = torch.rand(1, 3, 10, 13)
    for changes in ({}, {"layers": 2}):
        assert torch.equal(net(**changes)(images), net(**changes).separate(images).background)


def test_with_skips_a_net_that_predicts_nothing_gives_the_picture_and_its_edges_back():
    silent = net(layers=2)
    for sub in (silent.e_cnn, silent.i_cnn):
        nn.init.zeros_(sub.leave[-1].weight)
    images = torch.rand(1, 3, 8, 12)
    found = silent.separate(images)
    assert torch.equal(found.background, images)
    assert torch.equal(found.edges, edges(images))
    assert not found.reflection.any()


def test_i_cnn_reads_the_picture_and_the_predicted_edges():
    whole, images = busy(net()), torch.rand(1, 3, 8, 12)
    seen = []
    whole.i_cnn.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    found = whole.separate(images)
    torch.testing.assert_close(seen[0][:, :3], images - MIDDLE)
    torch.testing.assert_close(seen[0][:, 3:], found.edges - MIDDLE)
    torch.testing.assert_close(found.background, images - whole.i_cnn(seen[0]))


@pytest.mark.parametrize("skips", [True, False])
def test_a_second_look_also_reads_what_the_first_took_away(skips):
    whole, images = busy(net(passes=2, layers=2, skips=skips)), torch.rand(1, 3, 8, 12)
    looks = []
    whole.i_cnn.register_forward_hook(lambda _, given, values: looks.append((given[0], values)))
    found = whole.separate(images)
    assert len(looks) == 2
    (first, once), (second, twice) = looks
    assert torch.equal(first[:, :4], second[:, :4]) and not first[:, 4:].any()
    torch.testing.assert_close(second[:, 4:], once[:, :3] if skips else images - once[:, :3])
    torch.testing.assert_close(found.background, images - twice[:, :3] if skips else twice[:, :3])
    assert torch.equal(found.reflection, twice[:, 3:])


def test_a_second_look_that_reads_nothing_new_finds_what_the_first_found():
    twice, once, images = busy(net(passes=2)), net(), torch.rand(1, 3, 16, 24)
    entry = twice.i_cnn.enter[0].weight
    learned = entry[:, 4:].clone()
    nn.init.zeros_(entry[:, 4:])
    once.load_state_dict({**twice.state_dict(), "i_cnn.enter.0.weight": entry[:, :4]})
    torch.testing.assert_close(twice(images), once(images))
    entry.data[:, 4:] = learned
    assert not torch.allclose(twice(images), once(images))


def test_without_edges_no_edge_is_computed():
    alone = net(edge_dilations=())
    assert alone.e_cnn is None and alone.i_cnn.enter[0].in_channels == 3


@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"edge_dilations": ()},
        {"widths": (4, 6)},
        {"widths": (4,)},
        {"fine_blocks": (1, 2)},
        {"fine_blocks": (1,), "rise_blocks": (2, 1)},
        {"passes": 2},
    ],
)
def test_nothing_beyond_the_halo_matters(changes, interpolate):
    seeing = busy(net(**changes, interpolate=interpolate)).double()
    side = 2 * seeing.halo + 3 * seeing.stride
    images = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    middle = side // 2
    farthest = 0
    for at in range(middle, middle + seeing.stride):
        gradient = torch.autograd.grad(seeing(images)[..., at, at].sum(), images)[0][0].abs().sum(0)
        touched = gradient.nonzero()
        farthest = max(farthest, (touched - at).abs().max().item())
    assert seeing.halo - 2 * seeing.stride <= farthest <= seeing.halo


@pytest.mark.parametrize("changes", [{}, SMOOTH, {**SMOOTH, "widths": (4, 6), "stages": 2}])
def test_a_shift_by_the_stride_shifts_the_result(changes):
    moving = busy(net(**changes))
    side = 2 * moving.halo + 8 * moving.stride
    images, step = torch.rand(1, 3, side, side), moving.stride
    inner = slice(moving.halo, -moving.halo - step)
    here, there = moving(images), moving(images.roll((step, step), (2, 3)))
    later = slice(moving.halo + step, -moving.halo)
    torch.testing.assert_close(there[..., later, later], here[..., inner, inner], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changes", [{}, SMOOTH, {**SMOOTH, "widths": (4, 6), "stages": 2}])
def test_tiles_of_a_picture_are_restored_as_the_whole(changes):
    tiled = busy(net(**changes))
    image = torch.rand(3, 2 * tiled.halo + 61, 2 * tiled.halo + 34, generator=torch.Generator().manual_seed(0))
    found = apply_tiled(tiled, image, 2 * tiled.halo + 20, halo=tiled.halo, stride=tiled.stride)
    whole = tiled(image[None])[0]
    torch.testing.assert_close(found, whole, atol=1e-5 * whole.abs().max().item(), rtol=1e-5)


def test_nothing_beyond_the_halo_matters_where_it_reads_maps():
    seeing = busy(net(widths=(4, 6, 8), dilations=(1,), interpolate=True, stages=3)).double()
    for p in seeing.backbone.parameters():
        nn.init.uniform_(p, 0.001, 0.01)  # so that no ReLU6 is at an end
    side = seeing.stride * (2 * (seeing.halo // seeing.stride) + 4)
    images = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    farthest = 0
    for at in range(side // 2, side // 2 + seeing.stride):
        gradient = torch.autograd.grad(seeing(images)[..., at, at].sum(), images)[0][0].abs().sum(0)
        farthest = max(farthest, (gradient.nonzero() - at).abs().max().item())
    assert seeing.halo - 4 * seeing.stride <= farthest <= seeing.halo


@pytest.mark.parametrize("kind", ["fine", "rise"])
def test_blocks_stand_at_their_scales_of_i_cnn_and_begin_as_the_identity(kind):
    fine, images = net(**{f"{kind}_blocks": (0, 3)}), torch.rand(1, 3, 16, 24)
    blocks = getattr(fine.i_cnn, kind)
    assert [len(each) for each in blocks] == [0, 3]
    assert not any(len(each) for each in getattr(fine.e_cnn, kind))
    assert blocks[1][0].first[0].out_channels == SLIM["widths"][1]
    plain = net()
    for same in (True, False):
        plain.load_state_dict({name: fine.state_dict()[name] for name in plain.state_dict()})
        assert torch.equal(fine(images), plain(images)) == same
        busy(fine)


def test_maps_are_read_by_both_nets_and_count_nothing_at_first():
    taught, images = net(**TAUGHT), torch.rand(1, 3, 32, 48)
    plain = net(**{**TAUGHT, "stages": 0})
    plain.load_state_dict({name: taught.state_dict()[name] for name in plain.state_dict()})
    assert torch.equal(taught(images), plain(images))
    for sub in (taught.e_cnn, taught.i_cnn):
        assert [each.in_channels for each in sub.read] == list(taught.backbone.out_channels)
        for scale in range(4):
            before = taught.separate(images)
            nn.init.constant_(sub.read[scale].weight, 1.0)
            found = taught.separate(images)
            assert not torch.equal(found.background, before.background)
            assert torch.equal(found.edges, before.edges) == (sub is taught.i_cnn)


def test_maps_need_a_scale_each_and_half_the_size():
    for changes in ({"widths": (4, 6, 8)}, {"interpolate": False}, {"stages": 6}):
        with pytest.raises(ValueError, match=r"stages have maps at \d strides from 2 on, the net has \d scales"):
            net(**{**TAUGHT, **changes})


def test_every_weight_learns_and_edges_learn_from_the_picture():
    both = busy(net(layers=2)).train()
    found = both(torch.rand(2, 3, 16, 16), parts=True)
    (found.background.square().mean() + found.reflection.square().mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in both.parameters())
    assert any(p.grad.any() for p in both.e_cnn.parameters())


def test_a_deep_net_without_norm_begins_as_a_shallow_one():
    torch.manual_seed(0)
    sub = SubNet(4, 1, (4, 6), (1, 2, 4), norm=False, skips=False)
    x = torch.rand(1, 6, 8, 8)
    assert torch.equal(sub.blocks(x), x)


@pytest.mark.parametrize("skips", [True, False])
def test_with_skips_alone_details_pass_beside_the_coarse_scale(skips):
    torch.manual_seed(0)
    sub = SubNet(3, 1, (4, 6, 8), (1,), norm=False, skips=skips)
    for up in sub.up:
        nn.init.zeros_(up[0].weight)
    found = sub(torch.rand(1, 3, 16, 16))[..., 4:-4, 4:-4]  # beyond the border there is nothing, which shows
    assert (found.std() > 1e-6) == skips


def test_interpolated_nets_take_away_what_half_the_size_can_hold():
    """A deconvolution tells neighbours of one cell apart; beside it, bilinear interpolation is piecewise linear."""
    image = torch.rand(1, 3, 24, 32)
    for interpolate in (False, True):
        made = busy(net(interpolate=interpolate, edge_dilations=())).double()
        taken = (image.double() - made(image.double()))[..., 1:-1, 1:-1]
        for axis in (-1, -2):
            # Values lie at 1/4 and 3/4 of the way from cell to cell, so the pixels of a cell differ by what the mean
            # step to either side says.
            outer = taken.diff(dim=axis).unfold(axis, 3, 2)
            inside = (outer[..., 1] - (outer[..., 0] + outer[..., 2]) / 2).abs().max()
            assert (inside < 1e-9 * taken.abs().max()) == interpolate


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"\(1, 4, 8, 8\); .*alpha channel is left out by \[:, :3\]"):
        net()(torch.rand(1, 4, 8, 8))
    with pytest.raises(ValueError, match=r"one picture is \[None\]"):
        net()(torch.rand(3, 8, 8))
    with pytest.raises(ValueError, match="at least a pixel"):
        net()(torch.rand(1, 3, 0, 8))
    wrongs = ({"layers": 3}, {"widths": ()}, {"widths": (4, 0)}, {"dilations": (0,)}, {"edge_dilations": (-1,)})
    for wrong in (*wrongs, {"passes": 0}):
        with pytest.raises(ValueError, match="expected positive numbers, one width at least, and 1 or 2 layers"):
            net(**wrong)
    for name, wrong in product(("fine_blocks", "rise_blocks"), ((1, 0, 0), (-1,))):
        with pytest.raises(ValueError, match=rf"{name} {re.escape(str(wrong))} .* coarsest, 2 at most"):
            net(**{name: wrong})
