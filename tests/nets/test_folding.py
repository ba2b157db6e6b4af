import copy

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from xferlib.nets.enet import ENet
from xferlib.nets.fcn import FCN
from xferlib.nets.folding import Pool, accelerate, channels_last, fold, swap_pooling
from xferlib.nets.segnet import SegNet
from xferlib.nets.transform_net import TransformNet
from xferlib.nets.unet import UNet
from xferlib.nets.vgg import VGG
from xferlib.viz.trace import trace

SMALL = (2, 3, 4, 5, 6)
NETS = {
    "enet": lambda: ENet(4),
    "fcn": lambda: FCN(4, widths=SMALL, hidden=8, padding=1, norm=True),
    "segnet": lambda: SegNet(4, widths=SMALL),
    "unet": lambda: UNet(3, 4, width=2, padding="zeros", norm=True),
    "unet without norm": lambda: UNet(3, 4, width=2, padding="zeros"),
}
STEPS = (fold, swap_pooling, channels_last, accelerate)
IMAGE = torch.rand(2, 3, 45, 50, generator=torch.Generator().manual_seed(0))


def moved(net: nn.Module) -> nn.Module:
    """Give batch norms statistics and weights that are not those of a fresh net."""
    generator = torch.Generator().manual_seed(0)
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        for values in (norm.running_var, norm.weight, norm.running_mean, norm.bias):
            if values is not None:
                values.data.uniform_(0.5, 1.5, generator=generator)
    return net.eval()


def norms(net: nn.Module) -> list[str]:
    return [name for name, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.fixture(params=NETS)
def net(request) -> nn.Module:
    torch.manual_seed(1)
    return moved(NETS[request.param]()).double()


@pytest.mark.parametrize("step", STEPS)
def test_the_same_results(net, step):
    image = IMAGE.double()
    with torch.no_grad():
        torch.testing.assert_close(step(net)(image), net(image), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("step", STEPS)
def test_the_original_and_the_image_are_left_alone(net, step):
    before, layers, image = copy.deepcopy(net.state_dict()), list(net.modules()), IMAGE.double()
    given_image = image.clone()
    changed = step(net)
    with torch.no_grad():
        for p in changed.parameters():
            p.fill_(7)
        changed(image)
    assert torch.equal(image, given_image)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert list(net.modules()) == layers and not net._forward_pre_hooks
    assert all(value.is_contiguous() for value in net.state_dict().values())


def test_names_of_layers_stay(net):
    assert [name for name, _ in accelerate(net).named_modules()] == [name for name, _ in net.named_modules()]
    assert type(accelerate(net)) is type(net)


def test_every_norm_behind_a_convolution_is_gone(net):
    # ENet norms its pooled image, which no convolution made.
    assert norms(fold(net)) == (["initial.pool.1"] if isinstance(net, ENet) else [])


def test_a_picture_of_the_fast_net_shows_the_same_net():
    for name in ("fcn", "segnet"):
        net = moved(NETS[name]())
        assert trace(accelerate(net), (3, 64, 96)).blocks == trace(net, (3, 64, 96)).blocks


def test_features_and_scores_stay_within_reach():
    net = moved(NETS["fcn"]())
    fast = accelerate(net)
    for key, scores in net.scores(IMAGE).items():
        torch.testing.assert_close(fast.scores(IMAGE)[key], scores)
    layers = ("norm1_1", "relu3_3", "pool5")
    for key, features in fast.backbone(IMAGE, layers).items():
        torch.testing.assert_close(features, net.backbone(IMAGE, layers)[key])


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, bias=False),
        nn.Conv2d(4, 6, 3, groups=2, stride=2),
        nn.ConvTranspose2d(4, 6, 3, stride=2),
        nn.ConvTranspose2d(4, 6, 3, stride=2, bias=False),
    ],
)
@pytest.mark.parametrize("affine", [True, False])
def test_folding_by_definition(conv, affine):
    net = moved(nn.Sequential(nn.Sequential(conv, nn.BatchNorm2d(6, affine=affine)), nn.PReLU(6))).double()
    folded = fold(net)
    assert not norms(folded) and isinstance(folded[0][0], type(conv))
    x = torch.rand(2, 4, 8, 9, dtype=torch.double)
    torch.testing.assert_close(folded(x), net(x))


def test_what_cannot_be_folded_stays():
    net = nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 3, 1),
        nn.ReLU(),
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 3, 1),
        nn.BatchNorm2d(3, track_running_stats=False),
    ).eval()
    net[0].running_mean.fill_(2)
    net[3].running_var.fill_(2)
    folded = fold(net)
    assert norms(folded) == ["0", "3", "5"]
    torch.testing.assert_close(folded(IMAGE), net(IMAGE))


def test_transposed_convolutions_in_groups_keep_their_norm():
    net = moved(nn.Sequential(nn.ConvTranspose2d(3, 6, 2, groups=3), nn.BatchNorm2d(6)))
    assert norms(fold(net)) == ["1"]
    torch.testing.assert_close(fold(net)(IMAGE), net(IMAGE))


def test_two_norms_behind_one_convolution_fold_once():
    net = moved(nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.BatchNorm2d(2)))
    folded = fold(net)
    assert norms(folded) == ["2"]
    torch.testing.assert_close(folded(IMAGE), net(IMAGE))


def test_convolutions_whose_order_is_not_known_are_left_alone():
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.conv(self.norm(x))

    net = moved(Crossed())
    assert norms(fold(net)) == ["norm"]
    torch.testing.assert_close(fold(net)(IMAGE), net(IMAGE))


def test_dropout_is_gone():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.5), nn.Dropout2d(0.5)).eval()
    assert [type(layer) for layer in fold(net)] == [nn.Conv2d, nn.Identity, nn.Identity]


@pytest.mark.parametrize("step", [fold, accelerate])
def test_a_net_in_training_is_refused(step):
    with pytest.raises(ValueError, match=r"SegNet is in training mode; call net\.eval\(\)"):
        step(SegNet(4, widths=SMALL))
    partly = SegNet(4, widths=SMALL).eval()
    partly.decoder[0].train()
    with pytest.raises(ValueError, match="training mode"):
        step(partly)


@given(st.integers(1, 9), st.integers(1, 9))
@settings(deadline=None)
def test_pooling_by_halves_is_pooling(height, width):
    x = torch.randn(2, 3, height, width)
    assert torch.equal(Pool()(x), F.max_pool2d(x, 2, ceil_mode=True))


def test_only_pooling_of_that_kind_is_swapped():
    kinds = [
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d(2, 1, ceil_mode=True),
        nn.MaxPool2d(2, return_indices=True, ceil_mode=True),
    ]
    assert [isinstance(layer, Pool) for layer in swap_pooling(nn.Sequential(*kinds))] == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert isinstance(swap_pooling(VGG(widths=SMALL)).pool1, nn.MaxPool2d)


def test_channels_lie_side_by_side():
    net = channels_last(moved(ENet(4)))
    layouts = []
    net.initial.register_forward_pre_hook(lambda _, inputs: layouts.append(inputs[0]))
    net(IMAGE)
    assert layouts[0].is_contiguous(memory_format=torch.channels_last)
    assert net.bottleneck2_1.branch[3].weight.is_contiguous(memory_format=torch.channels_last)
    assert channels_last(nn.Flatten())(torch.ones(2, 3)).shape == (2, 3)


def test_a_fast_net_is_copied_and_cast_like_any_other():
    net = accelerate(moved(ENet(4)))
    torch.testing.assert_close(copy.deepcopy(net)(IMAGE), net(IMAGE))
    assert copy.deepcopy(net).double()(IMAGE.double()).dtype == torch.double


@pytest.mark.parametrize("size", [(128, 160), (101, 77)])
def test_fast_enet_gives_the_same_labels(size):
    torch.manual_seed(0)
    net = moved(ENet())
    fast = accelerate(net)
    image = torch.rand(1, 3, *size)
    with torch.inference_mode():
        ours, plain = fast(image), net(image)
    assert (ours.argmax(1) == plain.argmax(1)).float().mean() >= 0.9999
    # Where two values were equal to seven digits, the other may be the maximum now.
    close = (ours - plain).abs().amax(1) < 1e-4
    assert close.float().mean() > 0.999


def test_nets_with_instance_normalisation_keep_their_layout():
    assert accelerate(TransformNet((4, 6, 8), 1, kernel=3).eval()).down2.conv.weight.is_contiguous()
    assert not accelerate(NETS["fcn"]().eval()).backbone.conv1_2.weight.is_contiguous()
