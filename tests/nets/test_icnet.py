"""ICNet: the sizes of its three scores, which branch feeds which, and what it saves."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xferlib.losses.segmentation import cascade_loss
from xferlib.metrics.cost import multiply_adds
from xferlib.nets.backbones import enlarge
from xferlib.nets.icnet import CascadeFeatureFusion, ICNet
from xferlib.nets.pspnet import PSPNet
from xferlib.ops.receptive import receptive_field

RESNET = {"depths": (1, 1, 1, 1), "widths": (4, 4, 8, 8), "expansion": 1, "stem": 4}
TINY = {"channels": 4, "high": (2, 3, 4), **RESNET}
WEIGHTS = {"low": 0.16, "middle": 0.4, "high": 1.0}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_fusion_by_hand():
    fusion = CascadeFeatureFusion(1, 1, 1, 2).eval()
    for part in (fusion.spread, fusion.project):
        part[1].eps = 0.0
    nn.init.dirac_(fusion.spread[0].weight)
    nn.init.constant_(fusion.project[0].weight, -1.0)
    coarse, fine = torch.tensor([[[[0.0, 4.0]]]]), torch.tensor([[[[1.0, 0.0, 0.0, 9.0], [0.0, 1.0, 1.0, 1.0]]]])
    joined, enlarged = fusion(coarse, fine)
    assert joined[0, 0].tolist() == [[0, 1, 3, 0], [0, 0, 2, 3]]  # 0 1 3 4 less the fine map, cut at zero
    torch.testing.assert_close(enlarged, torch.tensor([0.0, 1, 3, 4]).expand(1, 1, 2, 4))


def test_the_coarse_map_is_spread_with_dilation_two():
    fusion = CascadeFeatureFusion(1, 1, 1, 2)

    class OnCoarse(nn.Module):
        def forward(self, x):
            return fusion.eval()(x, torch.full_like(x, 10.0))[0]

    nn.init.ones_(fusion.spread[0].weight)
    nn.init.ones_(fusion.project[0].weight)
    seen = receptive_field(OnCoarse(), (1, 15, 15), images=1).nonzero() - 7
    assert {tuple(p) for p in seen.tolist()} == {(i, j) for i in (-2, 0, 2) for j in (-2, 0, 2)}


@pytest.mark.parametrize("size", [(64, 128), (65, 99), (33, 47)])
def test_sizes_of_the_three_scores(size):
    scores = ICNet(5, **TINY).train()(torch.rand(2, 3, *size))
    for (name, s), step in zip(scores.items(), (16, 8, 4), strict=True):
        assert s.shape == (2, 5, -(-size[0] // step), -(-size[1] // step)), name
    assert scores.keys() == WEIGHTS.keys()


@given(height=st.integers(32, 120), width=st.integers(32, 120))
@settings(max_examples=15, deadline=None)
def test_any_size_from_32_in_same_size_out(height, width):
    with torch.device("meta"):
        assert ICNet(5, **TINY).eval()(torch.empty(2, 3, height, width)).shape == (2, 5, height, width)


def test_a_smaller_image_is_named():
    with pytest.raises(ValueError, match=r"image of 31x64 is too small.*32x32 is the least"):
        ICNet(5, **TINY)(torch.rand(1, 3, 31, 64))


def test_the_answer_is_the_finest_score_enlarged():
    net = ICNet(5, **TINY).eval()
    image = torch.rand(1, 3, 70, 90)
    with torch.no_grad():
        answer = net(image)
        net.training = True  # the net alone: its norms stay at rest
        torch.testing.assert_close(enlarge(net(image)["high"], (70, 90)), answer)


def test_classifying_before_enlarging_is_the_same():
    net = ICNet(5, **TINY).eval()
    joined = torch.rand(1, 4, 9, 12)
    torch.testing.assert_close(enlarge(net.classify(joined), (17, 24)), net.classify(enlarge(joined, (17, 24))))


def test_no_score_is_made_that_nobody_asks_for():
    net, made = ICNet(5, **TINY).eval(), []
    for fusion in net.fusions:
        fusion.classify.register_forward_pre_hook(lambda *_: made.append(1))
    net(torch.rand(1, 3, 40, 40))
    assert not made
    net.train()(torch.rand(2, 3, 40, 40))
    assert len(made) == 2


def fed(name):
    """Say which parts get a gradient from one score."""
    net = ICNet(5, **TINY).train()
    net(torch.rand(2, 3, 64, 64))[name].square().sum().backward()
    parts = {
        "deep": net.backbone.layer4,
        "shallow": net.backbone.layer1,
        "high": net.high,
        "first fusion": net.fusions[0].spread,
        "second fusion": net.fusions[1].spread,
    }
    return {key for key, part in parts.items() if all(p.grad is not None and p.grad.any() for p in part.parameters())}


def test_each_score_trains_its_branch_and_those_below():
    assert fed("low") == {"deep", "shallow"}
    assert fed("middle") == {"deep", "shallow", "first fusion"}
    assert fed("high") == {"deep", "shallow", "high", "first fusion", "second fusion"}


def test_two_resolutions_share_the_shallow_part():
    net, sizes = ICNet(5, **TINY).eval(), {"layer1": [], "layer3": []}
    for name, seen in sizes.items():
        net.get_submodule(f"backbone.{name}").register_forward_pre_hook(
            lambda _, inputs, seen=seen: seen.append(tuple(inputs[0].shape[-2:]))
        )
    net(torch.rand(1, 3, 128, 256))
    # Strides 4 and 8 of the quarter, 32x64 pixels; stride 4 of the half.
    assert sorted(sizes["layer1"]) == [(8, 16), (16, 32)] and sizes["layer3"] == [(4, 8)]


def test_every_parameter_trains():
    net = ICNet(5, **TINY).train()
    sum(cascade_loss(net(torch.rand(2, 3, 64, 96)), torch.randint(5, (2, 64, 96)), WEIGHTS).values()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_images_are_normalised_inside():
    net = ICNet(5, **TINY).eval()
    seen = []
    net.high.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(1, 3, 40, 40))
    assert seen[0].abs().max() < 1e-6


@pytest.mark.parametrize("size", [(128, 256), (512, 1024)])
def test_it_is_several_times_cheaper_than_pspnet_on_the_same_backbone(size):
    resnet = {"depths": (1, 1, 1, 1), "widths": (32, 48, 64, 96), "expansion": 1, "stem": 16}
    with torch.device("meta"):
        slim = multiply_adds(ICNet(11, channels=48, high=(8, 16, 32), **resnet), (3, *size))
        pspnet = multiply_adds(PSPNet(11, channels=96, **resnet), (3, *size))
        full = multiply_adds(ICNet(), (3, *size))
        full_pspnet = multiply_adds(PSPNet(), (3, *size))
    assert 4 * slim < pspnet and 10 * full < full_pspnet


def test_the_smaller_pictures():
    net, shown = ICNet(5, **TINY).eval(), {}
    net.backbone.register_forward_pre_hook(lambda _, inputs: shown.update({inputs[0].shape[-1]: inputs[0]}))
    image = torch.rand(1, 3, 64, 96)
    net(image)
    assert shown.keys() == {24, 48}
    torch.testing.assert_close(shown[48], F.avg_pool2d((image - net.mean) / net.std, 2))


def test_bytes_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"torch.uint8; expected floats: images / 255"):
        ICNet(3, **TINY).eval()(torch.full((1, 3, 32, 32), 200, dtype=torch.uint8))
