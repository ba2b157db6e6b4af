"""The nets that paint, as they are shipped: styles told apart, any size, no frame, light on the processor's time."""

import pytest
import torch
import torch.nn.functional as F

from xferlib import zoo
from xferlib.data import paintings, photos
from xferlib.train.recipes import styles as recipe

ALONE = [row.name for row in zoo.rows() if row.task == "style" and len(row.classes) == 1]


@pytest.fixture(scope="module")
def painted() -> torch.Tensor:
    """The photographs held back, (5, 3, 192, 192), in each of the eight styles."""
    contents = photos.squares(photos.TEST, 192)
    net = zoo.load("styles")
    with torch.inference_mode():
        return torch.stack([net(contents, shares) for shares in torch.eye(len(paintings.STYLES))])


def ring(pictures: torch.Tensor, distance: int, width: int = 4) -> torch.Tensor:
    """Mean colour of the pixels that far from the edge."""
    side = pictures.shape[-1]
    at = torch.arange(side)
    depth = torch.minimum(torch.minimum(at, side - 1 - at)[:, None], torch.minimum(at, side - 1 - at))
    return pictures[..., (depth >= distance) & (depth < distance + width)].mean(-1)


def test_they_weigh_three_megabytes_together_and_paint_eight_styles():
    rows = [row for row in zoo.rows() if row.task == "style"]
    assert sum(row.bytes for row in rows) <= 3_000_000
    assert zoo.row("styles").classes == paintings.STYLES and ALONE


def test_each_style_is_nearer_to_its_own_painting_than_to_any_other(painted):
    judge, grams, far = recipe._judge(torch.device("cpu"))
    with torch.no_grad():
        losses = torch.stack(
            [
                torch.stack(
                    [
                        recipe.style_loss(features, {k: g[i : i + 1] for k, g in grams.items()}, recipe.WEIGHTS.style)
                        for i in range(len(far))
                    ]
                )
                / far
                for features in (judge(pictures[:2], recipe.STYLE_LAYERS) for pictures in painted)
            ]
        )
    assert losses.argmin(1).tolist() == list(range(len(far)))
    assert losses.diagonal().max() < 0.3


def test_edges_are_painted_about_as_if_the_picture_went_on():
    whole, net = photos.squares(photos.TEST, 256), zoo.load("styles")

    def off(edge: int, distance: int) -> float:
        net.edge = edge
        alone, within = (net(x, shares) for x, shares in ((whole[..., 32:-32, 32:-32], mosaic), (whole, mosaic)))
        return (ring(alone, distance) - ring(within[..., 32:-32, 32:-32], distance)).abs().mean().item()

    mosaic = torch.eye(len(paintings.STYLES))[paintings.STYLES.index("mosaic")]
    edge = net.edge
    with torch.inference_mode():
        usual = off(edge, 16)
        assert off(edge, 0) < usual + 0.015 < off(0, 0)


@pytest.mark.parametrize("size", [(9, 200), (128, 131), (333, 222)])
def test_any_size_is_painted(size):
    content = F.interpolate(photos.load("china")[None], size, mode="area")[0]
    result = zoo.apply("styles", content, styles={"mosaic": 1.0})
    assert result.shape == content.shape and result.min() >= 0 and result.max() <= 1
    assert (result - content).abs().mean() > 0.05


def test_paintings_of_128_and_of_2048_pixels_have_the_same_colours():
    content = photos.square(photos.load("china"), 2048)
    large, small = (
        zoo.apply("styles", image, styles={"impasto": 1.0}).flatten(1) for image in (content, F.avg_pool2d(content, 16))
    )
    torch.testing.assert_close(large.mean(1), small.mean(1), atol=0.02, rtol=0)
    torch.testing.assert_close(large.std(1), small.std(1), atol=0.03, rtol=0)


@pytest.mark.parametrize("name", ALONE)
def test_a_net_of_one_style_lowers_the_loss_as_the_manifest_says(name):
    contents = photos.squares(photos.TEST[:2], 192)
    (style,) = zoo.row(name).classes
    assert recipe.relative_loss(zoo.load(name), style, contents) < 2 * zoo.row(name).result["relative loss"]
