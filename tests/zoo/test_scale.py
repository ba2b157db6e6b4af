"""Large pictures seen at the scale that a net knows, and what is brought back of it."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xferlib import zoo
from xferlib.data import streets
from xferlib.ops.degrade import downscale, upscale
from xferlib.zoo.inference import class_probabilities, run
from xferlib.zoo.scale import enlarged, most_probable, reduced, taken_away


def _random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("size", "pixels", "expected"),
    [
        ((720, 960), 360 * 480, (360, 480)),
        ((960, 720), 360 * 480, (480, 360)),
        ((100, 400), 10_000, (50, 200)),
        ((3, 9), 1, (1, 2)),
        ((1, 400), 100, (1, 200)),
    ],
)
def test_a_picture_keeps_its_proportions(size, pixels, expected):
    assert reduced(_random(3, *size), pixels).shape == (3, *expected)


@pytest.mark.parametrize("pixels", [None, 600, 601])
def test_a_picture_of_no_more_pixels_stays_as_it_is(pixels):
    image = _random(3, 20, 30)
    assert reduced(image, pixels) is image


def test_a_picture_is_reduced_without_aliasing():
    large = _random(3, 96, 128).round()
    small = reduced(large, 12 * 16)
    assert torch.equal(small, downscale(large[None], 8)[0].clamp(0, 1))
    assert (small - F.avg_pool2d(large, 8)).abs().max() < 0.2 < (small - large[:, 4::8, 4::8]).abs().max()


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
    seen = reduced(image, 600)
    torch.testing.assert_close(taken_away(image, seen, seen - 0.25), image - 0.25)
    assert torch.equal(taken_away(image, seen, seen - 2), torch.zeros_like(image))
    made = _random(3, 40, 60, seed=1)
    assert taken_away(image, image, made) is made


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
    row, smooth = replace(zoo.row("reflection"), pixels=600), F.interpolate(_random(1, 3, 4, 6), (40, 60))[0]
    net = Dim().eval()
    for full_size, seen, tolerance in ((True, (40, 60), 1e-6), (False, (20, 30), 0.03)):
        net.sizes.clear()
        made = run(net, row, smooth, views=views, full_size=full_size)
        assert set(net.sizes[-views:]) == {seen}
        assert made.shape == smooth.shape and (made - 0.75 * smooth).abs().mean() < tolerance
    small = reduced(smooth, 600)
    assert torch.equal(run(net, row, small, views=views), run(net, row, small, views=views, full_size=True))


@pytest.mark.parametrize("views", [1, 2])
def test_labels_and_probabilities_come_at_the_size_of_the_picture(views):
    row = replace(zoo.row("fcn8s-streets"), pixels=600, classes=("dark", "bright"))
    image, net = F.interpolate(_random(1, 3, 4, 6), (40, 60))[0], Bright().eval()
    labels, found = run(net, row, image, views=views), class_probabilities(net, row, image, views=views)
    assert set(net.sizes[-2 * views :]) == {(20, 30)}
    assert labels.shape == (40, 60) and labels.dtype == torch.int64 and torch.equal(labels, found.argmax(0))
    whole = class_probabilities(net, row, image, views=views, full_size=True)
    assert set(net.sizes[-views:]) == {(40, 60)} and torch.equal(whole.argmax(0), (image.mean(0) > 0.5).long())
    assert 0.9 < (labels == whole.argmax(0)).float().mean() < 1


def test_a_street_of_three_times_the_size_gets_the_same_labels():
    image, _ = streets.draw(20_000, 128, 256)
    small, large = zoo.apply("enet-streets", image), upscale(image[None], 3)[0].clamp(0, 1)
    wanted = small.repeat_interleave(3, 0).repeat_interleave(3, 1)
    agreeing = [
        (zoo.apply("enet-streets", large, full_size=full_size) == wanted).float().mean() for full_size in (False, True)
    ]
    assert agreeing[0] > 0.9 and agreeing[1] < 0.7
