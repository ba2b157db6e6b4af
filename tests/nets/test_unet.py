import re

import pytest
import torch
import torch.nn as nn

from xferlib.nets.unet import UNet

# Figure 1 of the paper, on both ways: channels, and the sizes before and behind each convolution.
CONTRACTING = [(64, 570, 568), (128, 282, 280), (256, 138, 136), (512, 66, 64), (1024, 30, 28)]
EXPANDING = [(512, 54, 52), (256, 102, 100), (128, 198, 196), (64, 390, 388)]
CROPS = [(512, 64, 56), (256, 136, 104), (128, 280, 200), (64, 568, 392)]


@pytest.fixture(scope="module")
def paper() -> tuple[UNet, dict[str, tuple[torch.Size, torch.Size]]]:
    """The paper's net without its numbers, and the sizes before and behind every layer."""
    with torch.device("meta"):
        net = UNet()
    sizes: dict[str, tuple[torch.Size, torch.Size]] = {}

    def note(name: str):
        return lambda _, inputs, output: sizes.__setitem__(name, (inputs[0].shape, output.shape))

    for name, layer in net.named_modules():
        layer.register_forward_hook(note(name))
    net(torch.empty(1, 1, 572, 572, device="meta"))
    return net, sizes


def square(channels: int, side: int) -> tuple[int, ...]:
    return (1, channels, side, side)


def test_every_size_of_the_contracting_path(paper):
    sizes = paper[1]
    before = (1, 572)
    for i, (channels, first, second) in enumerate(CONTRACTING):
        stage = f"contract.{i}" if i < 4 else "bottom"
        assert sizes[f"{stage}.0"] == (square(*before), square(channels, first))
        assert sizes[f"{stage}.2"] == (square(channels, first), square(channels, second))
        before = (channels, second // 2)


def test_every_size_of_the_expanding_path(paper):
    sizes = paper[1]
    before = (1024, 28)
    for i, (channels, first, second) in enumerate(EXPANDING):
        joined = (2 * channels, 2 * before[1])
        assert sizes[f"upconv.{i}"] == (square(*before), square(channels, 2 * before[1]))
        assert sizes[f"expand.{i}.0"] == (square(*joined), square(channels, first))
        assert sizes[f"expand.{i}.2"] == (square(channels, first), square(channels, second))
        before = (channels, second)
    assert sizes["score"] == (square(64, 388), square(2, 388))


def test_every_crop(paper):
    sizes = paper[1]
    for i, (channels, full, cropped) in enumerate(CROPS):
        assert sizes[f"contract.{3 - i}"][1] == square(channels, full)
        assert sizes[f"upconv.{i}"][1] == square(channels, cropped)


def test_23_convolutional_layers_and_31_million_parameters(paper):
    net = paper[0]
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [m.kernel_size for m in convs].count((3, 3)) == 18
    assert [m.kernel_size for m in convs].count((1, 1)) == 1
    upconvs = [m for m in net.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.kernel_size, m.stride) for m in upconvs] == [((2, 2), (2, 2))] * 4
    assert len(convs) + len(upconvs) == 23
    assert sum(p.numel() for p in net.parameters()) == 31_030_658
    assert not any(isinstance(m, nn.Linear) for m in net.modules())
    assert (net.stride, net.margin) == (16, 92)


def output_side(side: int, depth: int) -> int | None:
    """Walk through the net by its definition: the output's side, or none where a pooling meets an odd one."""
    for _ in range(depth):
        side -= 4
        if side <= 0 or side % 2:
            return None
        side //= 2
    side -= 4
    for _ in range(depth):
        side = 2 * side - 4
    return side if side > 0 else None


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_legal_sizes_by_brute_force(depth):
    net = UNet(width=1, depth=depth)
    legal = [side for side in range(1, 700) if output_side(side, depth)]
    if depth == 4:
        assert legal == [side for side in range(188, 700) if side % 16 == 12]
    assert all(output_side(side, depth) == side - 2 * net.margin for side in legal)
    for side in range(legal[-1]):
        assert net.legal_size(side) == next(n for n in legal if n >= side)


def test_only_legal_sizes_run():
    with torch.device("meta"):
        net = UNet(width=1)
        for side in range(180, 240):
            image = torch.empty(1, 1, side, 188)
            if output_side(side, 4):
                assert net(image).shape == (1, 2, side - 184, 4)
            else:
                with pytest.raises(ValueError, match=f"image side {side} "):
                    net(image)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((570, 572), "image side 570 is not 16k+12 (from 188 on); nearest legal: 556 and 572. "),
        ((572, 573), "image side 573 is not 16k+12 (from 188 on); nearest legal: 572 and 588. "),
        ((100, 572), "image side 100 is not 16k+12 (from 188 on); nearest legal: 188, the smallest. "),
    ],
)
def test_errors_name_the_nearest_legal_sizes(size, message):
    with pytest.raises(ValueError, match=re.escape(message) + ".*xferlib.ops.tiling.apply_tiled"):
        UNet(width=1)(torch.zeros(1, 1, *size))


def test_errors_name_the_channels_and_the_arguments():
    with pytest.raises(ValueError, match=r"\(1, 3, 188, 188\); this U-Net takes \(B, 1, H, W\)"):
        UNet(width=1)(torch.zeros(1, 3, 188, 188))
    with pytest.raises(ValueError, match="padding 'same' is none of 'valid', 'zeros', 'reflect', 'replicate'"):
        UNet(padding="same")
    with pytest.raises(ValueError, match="width 0 and depth 4"):
        UNet(width=0)


def test_weights_begin_at_the_papers_deviation():
    torch.manual_seed(0)
    net = UNet(width=16, depth=2)
    for conv in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
        inputs = conv.weight[0].numel()
        if conv.weight.numel() > 2000:
            assert conv.weight.std().item() == pytest.approx((2 / inputs) ** 0.5, rel=0.05)
        assert not conv.bias.any()


def test_shifting_by_a_multiple_of_the_stride_shifts_the_output_and_no_other_shift_does():
    torch.manual_seed(0)
    net = UNet(width=2).eval()
    scene = torch.rand(1, 1, 220, 220)
    window = slice(0, 204)
    with torch.no_grad():
        here = net(scene[..., window, window])
        for shift in (8, 12, 16):
            there = net(scene[..., shift : 204 + shift, window])
            error = (here[..., shift:, :] - there[..., : 20 - shift, :]).abs().max()
            assert (error == 0) == (shift == 16), shift


def test_the_crop_is_centred():
    torch.manual_seed(0)
    net = UNet(width=2, depth=2).double().eval()
    # Upright, flipped and turned weights on an upright, flipped and turned image give such an output: only a
    # crop that takes as much off each side has no side that it prefers.
    flipped = UNet(width=2, depth=2).double().eval()
    flipped.load_state_dict({k: v.flip(2, 3) if v.ndim == 4 else v for k, v in net.state_dict().items()})
    image = torch.rand(1, 1, 60, 76, dtype=torch.double)
    torch.testing.assert_close(flipped(image.flip(2, 3)).flip(2, 3), net(image))


def test_an_output_sees_the_margin_around_it_and_no_further():
    torch.manual_seed(0)
    net = UNet(width=2, depth=2, dropout=0).eval()
    image = torch.rand(4, 1, 60, 60, requires_grad=True)
    scores = net(image)
    assert scores.shape == (4, 2, 20, 20) and net.margin == 20
    # The last output of a row and column sees the image's end; the first its start.
    for position, edge in ((0, 0), (-1, -1)):
        (seen,) = torch.autograd.grad(scores[..., position, position].sum(), image, retain_graph=True)
        assert seen[..., edge, :].any() and seen[..., :, edge].any()
        assert not seen[..., -1 - edge, :].any()


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate"])
@pytest.mark.parametrize("size", [(32, 33), (47, 41), (64, 100)])
def test_padded_any_size_in_same_size_out(padding, size):
    net = UNet(3, 5, width=2, padding=padding).eval()
    assert net.margin == 0
    assert net(torch.rand(2, 3, *size)).shape == (2, 5, *size)


def test_padded_smallest_sizes():
    for padding, least in (("zeros", 16), ("replicate", 16), ("reflect", 32)):
        net = UNet(width=1, padding=padding).eval()
        assert net.legal_size(1) == least and net.legal_size(50) == 50
        assert net(torch.rand(1, 1, least, least)).shape == (1, 2, least, least)
        with pytest.raises(ValueError, match=f"side {least - 1} is too small for this U-Net; it needs {least} at"):
            net(torch.rand(1, 1, least - 1, 50))


def test_the_paddings_agree_inside_and_differ_at_the_edge():
    nets = {}
    for padding in ("valid", "zeros", "reflect", "replicate"):
        torch.manual_seed(0)
        nets[padding] = UNet(width=2, depth=1, padding=padding).eval()
    image = torch.rand(1, 1, 32, 32)
    inside = slice(8, 24)
    reference = nets.pop("valid")(image)
    outputs = {padding: net(image) for padding, net in nets.items()}
    for output in outputs.values():
        torch.testing.assert_close(output[..., inside, inside], reference)
    assert not torch.allclose(outputs["zeros"][..., 0, :], outputs["reflect"][..., 0, :])
    assert not torch.allclose(outputs["replicate"][..., 0, :], outputs["reflect"][..., 0, :])


def test_without_skips_fewer_weights_and_the_same_sizes():
    with torch.device("meta"):
        with_skips, without = UNet(), UNet(skips=False)
        assert without(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    difference = sum(p.numel() for p in with_skips.parameters()) - sum(p.numel() for p in without.parameters())
    assert difference == sum(9 * w * w for w in (64, 128, 256, 512))


def test_without_skips_all_passes_through_the_bottom():
    for skips in (True, False):
        net = UNet(width=2, depth=2, skips=skips).eval()
        for p in net.bottom.parameters():
            nn.init.zeros_(p)
        a, b = net(torch.rand(2, 1, 60, 60))
        assert torch.equal(a, b) != skips


def test_normalised_convolutions_need_no_bias():
    net = UNet(width=2, norm=True)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == 18
    assert [m.bias is None for m in convs] == [True] * 18 + [False]
    assert net.eval()(torch.rand(1, 1, 188, 204)).shape == (1, 2, 4, 20)


def test_depth_and_width():
    net = UNet(2, 3, width=3, depth=2)
    assert (net.stride, net.margin) == (4, 20)
    assert [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)] == [3, 3, 6, 6, 12, 12, 6, 6, 3, 3, 3]
    assert net(torch.rand(1, 2, 44, 48)).shape == (1, 3, 4, 8)


def test_dropout_acts_while_training_at_the_end_of_the_contracting_path():
    net = UNet(width=4, depth=1)
    seen = []
    net.dropout.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    image = torch.rand(1, 1, 44, 44)
    net(image)
    assert [output.shape[1:] for _, output in seen] == [(4, 40, 40), (8, 16, 16)]
    for before, after in seen:
        kept = after != 0
        torch.testing.assert_close(after[kept], 2 * before[kept])
        assert 0.3 < (kept.sum() / (before != 0).sum()) < 0.7
    net.eval()
    assert torch.equal(net(image), net(image))


def test_gradients_reach_every_parameter_and_the_input_is_left_alone():
    net = UNet(width=2, depth=2)
    image = torch.rand(2, 1, 60, 60)
    before = image.clone()
    net(image).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert torch.equal(image, before)
