"""Large pictures seen at the scale that a net knows, and what is brought back of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xferlib import zoo
from xferlib.data import shapes, streets
from xferlib.ops.degrade import downscale, upscale
from xferlib.zoo.inference import class_probabilities, run, style_shares
from xferlib.zoo.scale import average_sizes, carried_over, enlarged, most_probable, seen, spread


def _random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("size", "pixels", "expected"),
    [
        ((720, 960), (360 * 480,), [(360, 480)]),
        ((960, 720), (90_000, 360 * 480), [(480, 360), (346, 260)]),
        ((100, 400), (10_000, 40_000, 90_000), [(100, 400), (50, 200)]),
        ((100, 400), (), [(100, 400)]),
        ((3, 9), (1,), [(1, 2)]),
        ((1, 400), (100, 5), [(1, 200), (1, 45)]),
    ],
)
def test_a_picture_is_seen_at_each_size_once_in_its_proportions(size, pixels, expected):
    image = _random(3, *size)
    found = seen(image, pixels)
    assert [tuple(each.shape[1:]) for each in found] == expected
    assert all(each is image for each in found if each.shape == image.shape)


def test_a_picture_is_reduced_without_aliasing():
    large = _random(3, 96, 128).round()
    (small,) = seen(large, (12 * 16,))
    assert torch.equal(small, downscale(large[None], 8)[0].clamp(0, 1))
    assert (small - F.avg_pool2d(large, 8)).abs().max() < 0.2 < (small - large[:, 4::8, 4::8]).abs().max()


def test_sizes_count_alike():
    image = _random(3, 24, 24)
    found = average_sizes(lambda x: x.new_full((2, *x.shape[1:]), x.shape[1]), image, (36, 144, 600, 1000))
    assert torch.equal(found, torch.full((2, 24, 24), (6 + 12 + 24) / 3))
    # Twice the size of a ramp is a ramp but at its ends.
    ramp = torch.arange(8.0).expand(1, 8, 8) / 8
    mean = average_sizes(lambda x: x, ramp, (16, 64))
    assert torch.allclose(mean[0, :, 2:6], ramp[0, :, 2:6], atol=0.01)


@pytest.mark.parametrize("size", [(5, 7), (11, 20), (30, 21)])
def test_labels_are_those_of_the_enlarged_probabilities(size):
    small = _random(4, 5, 7)
    small[2] = small[1]  # of two equal ones the first
    small /= small.sum(0)
    whole = enlarged(small, size)
    assert whole.shape == (4, *size) and torch.allclose(whole.sum(0), torch.ones(size), atol=1e-6)
    assert torch.equal(most_probable(small, size), whole.argmax(0))
    assert (most_probable(small, size) != 2).all()


def test_what_is_taken_from_the_small_picture_is_taken_from_the_whole():
    image = 0.5 + 0.5 * _random(3, 40, 60)
    (small,) = seen(image, (600,))
    torch.testing.assert_close(carried_over(image, small, small - 0.25), image - 0.25)
    assert torch.equal(carried_over(image, small, small - 2), torch.zeros_like(image))
    made = _random(3, 40, 60, seed=1)
    assert carried_over(image, image, made) is made


class Dim(nn.Module):
    """Takes a quarter of the light away, and keeps the sizes that it sees."""

    def __init__(self):
        super().__init__()
        self.share, self.sizes = nn.Parameter(torch.tensor(0.75)), []

    def forward(self, images):
        self.sizes.append(tuple(images.shape[2:]))
        return self.share * images


class Bright(Dim):
    """Two classes: dark, and bright."""

    def forward(self, images):
        bright = 20 * (super().forward(images).mean(1, keepdim=True) - 0.375)
        return torch.cat([-bright, bright], 1)


@pytest.mark.parametrize("views", [1, 2])
def test_a_net_sees_a_large_picture_at_its_scale(views):
    row, smooth = replace(zoo.row("reflection"), pixels=(600,)), F.interpolate(_random(1, 3, 4, 6), (40, 60))[0]
    net = Dim().eval()
    for full_size, size, tolerance in ((True, (40, 60), 1e-6), (False, (20, 30), 0.03)):
        net.sizes.clear()
        made = run(net, row, smooth, views=views, full_size=full_size)
        assert set(net.sizes[-views:]) == {size}
        assert made.shape == smooth.shape and (made - 0.75 * smooth).abs().mean() < tolerance
    (small,) = seen(smooth, (600,))
    assert torch.equal(run(net, row, small, views=views), run(net, row, small, views=views, full_size=True))


@pytest.mark.parametrize("name", ["styles", "style-stained-glass"])
def test_a_large_picture_is_painted_reduced_and_keeps_what_it_had_besides(name):
    styles = {"mosaic": 0.8} if name == "styles" else None
    smooth = 0.25 + F.interpolate(_random(1, 3, 8, 12), (80, 120), mode="bicubic")[0].clamp(0, 1) / 2
    chessboard = 0.02 * (-1.0) ** (torch.arange(80)[:, None] + torch.arange(120))
    row, net = replace(zoo.row(name), pixels=(2400,)), zoo.load(name)
    shares = style_shares(row, styles)
    plain, fine = (run(net, row, picture, shares) for picture in (smooth, smooth + chessboard))
    inside = (plain > 0.03) & (plain < 0.97)
    assert inside.float().mean() > 0.7
    torch.testing.assert_close((fine - plain)[inside], chessboard.expand(3, -1, -1)[inside], atol=2e-3, rtol=0)

    (small,) = seen(smooth, row.pixels)
    change = run(net, row, small, shares) - small
    expected = (smooth + enlarged(change, smooth.shape[1:])).clamp(0, 1)
    assert small.shape == (3, 40, 60) and (plain - expected).abs().mean() < 0.02 < (plain - smooth).abs().mean()
    assert not torch.equal(run(net, row, smooth, shares, full_size=True), plain)


@pytest.mark.parametrize("views", [1, 2])
def test_labels_and_probabilities_come_at_the_size_of_the_picture(views):
    row = replace(zoo.row("fcn8s-streets"), pixels=(600,), classes=("dark", "bright"))
    image, net = F.interpolate(_random(1, 3, 4, 6), (40, 60))[0], Bright().eval()
    labels, found = run(net, row, image, views=views), class_probabilities(net, row, image, views=views)
    assert set(net.sizes[-2 * views :]) == {(20, 30)}
    assert labels.shape == (40, 60) and labels.dtype == torch.int64 and torch.equal(labels, found.argmax(0))
    whole = class_probabilities(net, row, image, views=views, full_size=True)
    assert set(net.sizes[-views:]) == {(40, 60)} and torch.equal(whole.argmax(0), (image.mean(0) > 0.5).long())
    assert 0.9 < (labels == whole.argmax(0)).float().mean() < 1


def test_a_net_sees_each_size_that_its_row_names():
    smooth = F.interpolate(_random(1, 3, 4, 6), (40, 60))[0]
    for row, net in ((zoo.row("reflection"), Dim()), (replace(zoo.row("enet-streets"), classes=("a", "b")), Bright())):
        several, alone = replace(row, pixels=(150, 600, 9999)), [replace(row, pixels=(n,)) for n in (150, 600, 9999)]
        for views in (1, 2):
            net.sizes.clear()
            found = run(net.eval(), several, smooth, views=views)
            assert set(net.sizes[-3 * views :]) == {(40, 60), (20, 30), (10, 15)}
            if row.task == "segmentation":
                each = [class_probabilities(net, one, smooth, views=views) for one in alone]
                assert torch.equal(found, sum(each).argmax(0))
            else:
                torch.testing.assert_close(found, sum(run(net, one, smooth, views=views) for one in alone) / 3)


def test_objects_are_spread_to_the_nearest_pixels():
    numbers = torch.tensor([[1, 2], [3, 2**60 + 1]])
    assert torch.equal(spread(numbers, (4, 6)), numbers.repeat_interleave(2, 0).repeat_interleave(3, 1))
    assert spread(numbers, (3, 2))[:, 0].tolist() == [1, 3, 3]  # the middle of the middle row is where both meet
    assert spread(numbers, (2, 2)) is numbers


def test_objects_of_an_enlarged_picture_are_found_at_their_own_scale():
    image, _, _ = shapes.draw(7, split="test")
    small, large = zoo.apply("mask-rcnn-shapes", image), upscale(image[None], 3)[0].clamp(0, 1)
    reduced = zoo.apply("mask-rcnn-shapes", large, pixels=128 * 128)
    assert small.max() >= 3 and reduced.shape == large.shape[1:]
    assert (reduced == spread(small, reduced.shape)).float().mean() > 0.98
    assert (zoo.apply("mask-rcnn-shapes", large) > 0).logical_xor(reduced > 0).float().mean() > 0.02


def test_one_may_say_how_far_a_picture_is_reduced():
    image = F.interpolate(_random(1, 3, 4, 6), (40, 60))[0]
    for row, net in ((zoo.row("reflection"), Dim()), (replace(zoo.row("enet-streets"), classes=("a", "b")), Bright())):
        net.eval()
        for pixels, asked in ((150, (150,)), (np.int64(150), (150,)), ((600, 150), (600, 150)), (np.array([9]), (9,))):
            assert torch.equal(run(net, row, image, pixels=pixels), run(net, replace(row, pixels=asked), image))
    asked = zoo.probabilities("enet-streets", image, pixels=600)
    assert torch.equal(asked, class_probabilities(zoo.load("enet-streets"), zoo.row("enet-streets"), image, pixels=600))
    assert torch.equal(asked.argmax(0), zoo.apply("enet-streets", image, pixels=600))


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("reflection", {"pixels": 0}, r"pixels \(0,\) are not whole numbers from 1"),
        ("reflection", {"pixels": (600, 2.5)}, r"pixels \(600, 2\.5\) are not whole"),
        ("reflection", {"pixels": 1e6}, r"pixels \(1000000\.0,\) are not whole"),
        ("reflection", {"pixels": "600"}, r"pixels \('600',\) are not whole"),
        ("reflection", {"pixels": True}, r"pixels \(True,\) are not whole"),
        ("mask-rcnn-shapes", {"pixels": (600, 900)}, "objects found at several sizes have no mean"),
        (
            "enhance",
            {"pixels": 600},
            r"pixels \(600,\); only nets for segmentation, instances, style",
        ),
        ("reflection", {"pixels": 600, "full_size": True}, "pixels 600 and the full size; ask for one of them"),
    ],
)
def test_a_size_that_makes_no_sense_is_named(name, sizes, message):
    with pytest.raises(ValueError, match=message):
        zoo.apply(name, _random(3, 20, 30), **sizes)


def test_what_fails_on_a_reduced_picture_says_that_it_is_reduced():
    image = _random(3, 40, 60)
    for name, how, sizes in (
        ("style-stained-glass", {"pixels": 24}, "4x6"),
        ("style-stained-glass", {"pixels": 600, "max_memory": 1000}, "20x30"),
        ("segnet-streets", {"pixels": (24, 600)}, "20x30 and 4x6"),
    ):
        with pytest.raises(ValueError, match=f"of the picture of 40x60 it sees {sizes}, unless other pixels are asked"):
            zoo.apply(name, image, **how)
    with pytest.raises(ValueError, match=r"or allow more$"):
        zoo.apply("style-stained-glass", image, max_memory=1000)


def test_a_street_of_three_times_the_size_gets_the_same_labels():
    image, _ = streets.draw(20_000, 128, 256)
    small, large = zoo.apply("enet-streets", image), upscale(image[None], 3)[0].clamp(0, 1)
    wanted = small.repeat_interleave(3, 0).repeat_interleave(3, 1)
    agreeing = [
        (zoo.apply("enet-streets", large, full_size=full_size) == wanted).float().mean() for full_size in (False, True)
    ]
    assert agreeing[0] > 0.9 and agreeing[1] < 0.7
