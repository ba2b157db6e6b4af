"""Nets that lose a margin or read one channel, applied to pictures of any size."""

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from xferlib import zoo
from xferlib.data import cells, shapes
from xferlib.nets.transform_net import TransformNet
from xferlib.nets.unet import UNet
from xferlib.ops.instances import Instances
from xferlib.zoo.inference import style_shares


@pytest.fixture
def shipped(tmp_path):
    """A valid U-Net of one channel in a zoo of its own."""
    torch.manual_seed(0)
    net = UNet(width=4, depth=2, norm=True).half().float().eval()
    zoo.save(
        net,
        name="tiny-unet",
        task="segmentation",
        chapter="none",
        arguments={"width": 4, "depth": 2, "norm": True},
        classes=("membrane", "cell"),
        palette="cells",
        recipe="tiny-unet",
        seed=0,
        data="none",
        terms="ours",
        result={"pixel error": 0.5},
        cost={"seconds": 1, "hardware": "a CPU"},
        folder=tmp_path,
    )
    return net, tmp_path


@pytest.mark.parametrize("size", [(1, 1), (37, 90), (600, 520)])
def test_a_picture_of_any_size_gets_the_labels_of_one_whole_pass(shipped, size):
    net, folder = shipped
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    labels = zoo.apply("tiny-unet", image, folder)
    assert labels.shape == size and labels.dtype == torch.int64
    if min(size) > 20:
        far = [net.legal_size(n + 2 * net.margin) - n - net.margin for n in size]
        padded = F.pad(image.mean(0)[None, None], (net.margin, far[1], net.margin, far[0]), mode="reflect")
        with torch.no_grad():
            whole = net(padded)[0, :, : size[0], : size[1]]
        sure = (whole[0] - whole[1]).abs() > 1e-4
        assert torch.equal(labels[sure], whole.argmax(0)[sure])


def test_a_grey_picture_and_its_grey_in_colour_get_the_same_labels(shipped):
    _, folder = shipped
    grey = torch.rand(50, 60, generator=torch.Generator().manual_seed(1))
    from_array = zoo.apply("tiny-unet", grey.numpy(), folder)
    assert torch.equal(from_array, zoo.apply("tiny-unet", grey.expand(3, -1, -1), folder))
    assert torch.equal(from_array, zoo.apply("tiny-unet", grey.numpy().astype(">f8"), folder))


@pytest.fixture
def painters(tmp_path):
    """Nets that paint: one in three styles, one in its own."""
    torch.manual_seed(0)
    nets = {}
    for name, classes in (("three", ("waves", "dots", "glass")), ("one", ("dots",))):
        arguments = {"widths": [2, 3, 4], "blocks": 1, "kernel": 3, "styles": 3 if name == "three" else None}
        nets[name] = TransformNet(**arguments)
        for key, p in nets[name].named_parameters():
            torch.nn.init.normal_(p, float(key.endswith("scale")), 0.5)
        zoo.save(
            nets[name].half().float().eval(),
            name=name,
            task="style",
            chapter="none",
            arguments=arguments,
            classes=classes,
            recipe="none",
            seed=0,
            data="none",
            terms="ours",
            result={},
            cost={"seconds": 1, "hardware": "a CPU"},
            folder=tmp_path,
        )
    return nets, tmp_path


def test_a_picture_is_painted_in_the_style_asked_for(painters):
    nets, folder = painters
    image = torch.rand(3, 21, 34, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(zoo.apply("one", image, folder), nets["one"](image[None])[0], atol=1e-5, rtol=0)
        for styles, shares, strength in (
            ({"dots": 1.0}, (0.0, 1.0, 0.0), 1.0),
            ({"waves": 1.0, "glass": 3.0}, (0.25, 0.0, 0.75), 1.0),
            ({"waves": 0.1, "dots": 0.3}, (0.25, 0.75, 0.0), 0.4),
        ):
            full = nets["three"](image[None], torch.tensor(shares))[0]
            expected = strength * full + (1 - strength) * image
            painted = zoo.apply("three", image, folder, styles=styles)
            torch.testing.assert_close(painted, expected, atol=1e-5, rtol=0)
            assert painted.is_contiguous()


@pytest.mark.parametrize(
    ("name", "styles", "shares"),
    [
        ("three", {"waves": 1.0}, [1, 0, 0]),
        ("three", {"dots": 0.4}, [0, 0.4, 0]),
        ("three", {"dots": 0.2, "glass": 0.1}, [0, 0.2, 0.1]),
        ("three", {"dots": 1.0, "waves": 3.0}, [0.75, 0.25, 0]),
    ],
)
def test_shares_add_up_to_one_at_most(painters, name, styles, shares):
    found = style_shares(zoo.row(name, painters[1]), styles)
    torch.testing.assert_close(found, torch.tensor(shares, dtype=torch.float32))


@pytest.mark.parametrize(
    ("name", "styles", "message"),
    [
        ("three", None, "'three' paints in several styles; name one or more of: waves, dots, glass"),
        ("three", {"dot": 1.0}, "has no style 'dot'; did you mean 'dots'? there are: waves"),
        ("three", "dot", "has no style 'dot'; did you mean 'dots'?"),
        ("three", {"dots": -0.5}, "share -0.5 of style 'dots'; it must be a number from 0 up"),
        ("three", {"dots": float("nan")}, "share nan of style 'dots'"),
        ("three", {"dots": 0.0}, "the shares of dots add up to 0.0; give shares above 0"),
        ("three", {"dots": 1e308, "waves": 1e308}, "the shares of dots, waves add up to inf"),
        ("one", {"dots": 1.0}, "'one' has no styles to choose from; apply it without one"),
    ],
)
def test_styles_that_make_no_sense_are_refused(painters, name, styles, message):
    with pytest.raises(zoo.ZooError, match=re.escape(message)):
        zoo.apply(name, torch.rand(3, 20, 20), painters[1], styles=styles)


def test_a_share_too_small_to_count_leaves_the_picture(painters):
    image = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0))
    for share in (1e-50, 1e-30):
        assert torch.equal(zoo.apply("three", image, painters[1], styles={"dots": share}), image)


def test_one_style_can_be_named_alone(painters):
    image = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0))
    named, shared = (zoo.apply("three", image, painters[1], styles=styles) for styles in ("dots", {"dots": 1.0}))
    assert torch.equal(named, shared) and not torch.equal(named, image)


def test_a_net_without_styles_takes_none(shipped):
    with pytest.raises(zoo.ZooError, match="'tiny-unet' has no styles to choose from"):
        zoo.apply("tiny-unet", torch.rand(3, 20, 20), shipped[1], styles={"dots": 1.0})


def test_a_net_that_sees_the_whole_picture_refuses_one_beyond_the_memory(painters):
    image = torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0))
    for name, styles in (("three", {"dots": 1.0}), ("one", None)):
        with pytest.raises(ValueError, match="a picture of 60x80 takes about 1 MB of memory, more than"):
            zoo.apply(name, image, painters[1], styles=styles, max_memory=20_000)
        assert zoo.apply(name, image, painters[1], styles=styles, max_memory="20M").shape == (3, 60, 80)


def test_labels_of_eight_views_turn_with_the_picture():
    image, _ = cells.draw(3, 90, 120)
    alone, labels = (zoo.apply("unet-cells", image[0].numpy(), views=views) for views in (1, 8))
    turned = zoo.apply("unet-cells", image[0].rot90().contiguous().numpy(), views=8)
    assert 0 < (turned == 1).float().mean() < 1
    assert (turned == labels.rot90()).float().mean() > 0.999  # but for ties by rounding
    assert (alone != labels).float().mean() > 0.001


@pytest.mark.parametrize("views", [1, 8])
def test_labels_are_the_most_probable_classes(views):
    image = cells.draw(3, 90, 120)[0][0].numpy()
    found = zoo.probabilities("unet-cells", image, views=views)
    assert found.shape == (2, 90, 120) and torch.allclose(found.sum(0), torch.ones(90, 120), atol=1e-5)
    sure = (found[0] - found[1]).abs() > 1e-4
    labels = zoo.apply("unet-cells", image, views=views)
    assert torch.equal(labels[sure], found.argmax(0)[sure]) and 0.1 < labels.float().mean() < 0.9


def test_probabilities_of_a_whole_picture_must_fit_the_memory():
    image = torch.rand(3, 400, 500, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"8 views of 400x500 pixels and 2 classes take 5 MB .* than the 4 MB allowed"):
        zoo.probabilities("unet-cells", image, views=8, max_memory="4M")
    assert zoo.apply("unet-cells", image, views=1, max_memory=4_000_000).shape == (400, 500)


def test_only_nets_of_classes_know_how_probable_one_is():
    with pytest.raises(zoo.ZooError, match="'sr-x2' is a net for super-resolution; only one for segmentation"):
        zoo.probabilities("sr-x2", torch.rand(3, 20, 20))


def test_a_restored_picture_is_the_mean_of_those_of_its_views():
    image = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(1))
    both = zoo.apply("sr-x2", image) + zoo.apply("sr-x2", image.flip(2)).flip(2)
    assert torch.allclose(zoo.apply("sr-x2", image, views=2), both / 2, atol=1e-6)


def test_objects_are_judged_in_several_views():
    row, image = zoo.row("mask-rcnn-shapes"), shapes.Shapes(2, seed=1, split="test")[1][0]
    net = zoo.load("mask-rcnn-shapes")
    for views in (1, 8):
        found = net.detect(image, views)
        sure = Instances(*(part[found.scores >= 0.5] for part in found)).to_map()
        assert sure.max() > 1 and torch.equal(zoo.apply("mask-rcnn-shapes", image, views=views), sure)
        own = zoo.inference.run(net, replace(row, views=views), image)
        assert torch.equal(own, sure)
    assert not torch.equal(sure, zoo.apply("mask-rcnn-shapes", image))


def test_a_map_shows_the_objects_that_the_net_is_sure_of():
    row, image = zoo.row("mask-rcnn-shapes"), shapes.Shapes(2, seed=1, split="test")[1][0]
    net = zoo.load("mask-rcnn-shapes")
    found = net.detect(image)
    counts = []
    for sure in (0.0, 0.9, 1.0):
        net.sure = sure
        shown = zoo.inference.run(net, row, image)
        assert torch.equal(shown, found.sure(sure).to_map())
        counts.append(len(shown.unique()))
    assert counts[0] > counts[1] > counts[2] == 1


def test_paintings_are_not_averaged(painters):
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(zoo.ZooError, match="'one' cannot be averaged over 8 views"):
        zoo.apply("one", image, painters[1], views=8)
    with pytest.raises(ValueError, match="3 views; there are 1, 2"):
        zoo.apply("sr-x2", image, views=3)
