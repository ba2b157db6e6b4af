"""The recipes of the nets that paint: the loss is that of `stylize`, the pieces are fair, the study's arms alike."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from xferlib.data import paintings, photos
from xferlib.losses.perceptual import Weights
from xferlib.train import recipes
from xferlib.train.recipes import styles
from xferlib.train.stylize import stylize
from xferlib.zoo.loss_network import loss_network


def scene(side: int = 80, count: int = 1, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(count, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, scale_factor=4, mode="bilinear")


def test_the_relative_loss_is_that_of_stylize():
    content, other = scene(), scene(seed=1)
    painting = paintings.draw("woodcut", styles.PAINTING, styles.PAINTING)
    before, after = (
        stylize(content[0], painting, loss_network(), steps=1, start=start, progress=False).history.loss[0]
        for start in ("content", other[0])
    )
    assert styles.relative_loss(lambda _: other, "woodcut", content) == pytest.approx(after / before, rel=1e-4)
    assert styles.relative_loss(lambda content: content, "woodcut", content) == 1


def test_training_lowers_that_loss_over_how_far_photographs_are():
    contents, painted = scene(count=2), scene(count=2, seed=1)
    numbers = torch.tensor([2, 5])
    terms = styles._loss(lambda _: painted, (contents, numbers))
    net, _, far = styles._judge(torch.device("cpu"))
    expected = 0.0
    for content, image, number in zip(contents, painted, numbers, strict=True):
        painting = paintings.draw(styles.NAMES[number], styles.PAINTING, styles.PAINTING)
        loss = stylize(content, painting, net, steps=1, start=image, margin=0, progress=False).history.loss[0]
        expected += loss / far[number] / 2
    assert list(terms) == ["content", "style", "variation"]
    assert sum(terms.values()).item() == pytest.approx(expected.item(), rel=0.01)  # features in half precision


def test_a_net_of_all_styles_is_told_which_one():
    told = []

    def net(images, shares):
        told.append(shares)
        return images

    terms = styles._loss(net, (scene(count=2), torch.tensor([7, 2])), every=True)
    assert terms["content"] == 0 < terms["style"]
    assert torch.equal(told[0], torch.eye(8)[[7, 2]])


def test_pieces_are_squares_of_the_photograph_some_mirrored_in_every_style():
    rows, columns = torch.meshgrid(torch.arange(120), torch.arange(200), indexing="ij")
    stream = styles.Pieces([torch.stack([rows, columns, 0 * rows]).byte()], [1, 3, 4], 0, side=32)
    found = [stream[i] for i in range(60)]
    assert {int(style) for _, style in found} == {1, 3, 4}
    slopes = torch.stack([(255 * piece).diff(dim=-1)[1, 4:-4, 4:-4].mean() for piece, _ in found])
    down = torch.stack([(255 * piece).diff(dim=-2)[0, 4:-4, 4:-4].mean() for piece, _ in found])
    assert 10 < (slopes < 0).sum() < 50
    torch.testing.assert_close(slopes.abs(), down, atol=0.05, rtol=0)  # as wide as high
    assert down.min() > 0.45 * 120 / 32 - 0.1 and down.max() < 120 / 32 + 0.1
    assert all(piece.shape == (3, 32, 32) and piece.min() >= 0 and piece.max() <= 1 for piece, _ in found)


def test_a_net_is_measured_in_each_of_its_styles(monkeypatch):
    monkeypatch.setattr(styles, "photographs", lambda data, held_back: [(255 * scene()[0]).byte()] * 3 * held_back)
    every, one = recipes.find("styles"), recipes.find("style-mosaic")
    assert every.classes == paintings.STYLES and one.classes == ("mosaic",)
    for recipe in (every, one):
        torch.manual_seed(0)
        found = recipe.evaluate(recipe.net(**recipe.arguments).eval(), None)
        assert found["relative loss"] > 0
    assert found.keys() == {"relative loss"}


def test_the_measure_of_a_net_of_all_styles(monkeypatch):
    monkeypatch.setattr(styles, "photographs", lambda data, held_back: [(255 * scene()[0]).byte()] * 3 * held_back)
    asked = []

    def net(image, shares):
        asked.append(styles.NAMES[int(shares.argmax())])
        return image

    net.styles = 8
    found = styles._measure(styles.NAMES, net, None)
    assert list(found) == ["relative loss", "relative loss by style"]
    assert found["relative loss"] == 1
    assert list(found["relative loss by style"]) == list(paintings.STYLES)
    assert asked == [name for name in styles.NAMES for _ in range(3)]


def test_chequers_by_hand():
    board = ((torch.arange(48)[:, None] + torch.arange(48)) % 2).float().expand(1, 3, -1, -1)
    assert styles.chequers(board) == pytest.approx(0.5)
    columns = (torch.arange(48) % 4 == 0).float().expand(1, 3, 48, -1)
    assert styles.chequers(columns) == pytest.approx(0.75**0.5 / 2)
    assert styles.chequers(torch.full((1, 3, 50, 50), 0.3)) == pytest.approx(0, abs=1e-6)
    ramp = torch.linspace(0, 1, 256).expand(1, 3, 256, -1)
    assert styles.chequers(ramp) < 0.006


def test_the_study_trains_each_arm_alike(monkeypatch):
    log = []

    def train(name, net, loss, dataset, *, steps, batch_size, seed, **options):
        log.append((name, steps, batch_size, seed, loss.keywords["weights"]))
        batch = tuple(map(torch.stack, zip(*(dataset[i] for i in range(2)), strict=True)))
        assert sum(loss(net, batch).values()).isfinite()
        for key, p in net.named_parameters():
            if key.endswith("shift"):  # they begin at 0, where flat pictures leave deconvolutions nothing to do
                torch.nn.init.normal_(p)
        return SimpleNamespace()

    monkeypatch.setattr(styles, "STUDY_SIDE", 64)
    monkeypatch.setattr(styles, "squares", lambda pictures, size=64: scene(64, 2))
    styles._judge.cache_clear()
    figures = styles._ablate(train, 3)
    styles._judge.cache_clear()
    assert len({name for name, *_ in log}) == len(log) == len(figures) == 6
    assert len({settings[1:4] for settings in log}) == 1
    assert all(found["chequers on grey"] >= 0 for found in figures.values())
    assert figures["everything"]["chequers on grey"] < 1e-3 < figures["deconvolutions"]["chequers on grey"]
    assert all(found.keys() == figures["everything"].keys() for found in figures.values())
    weights = dict(zip(figures, (settings[4] for settings in log), strict=True))
    assert weights["without total variation"].variation == 0 < weights["everything"].variation
    assert weights["pixels instead of features"].content.keys() == {"pixels"}


def test_grey_costs_as_much_in_pixels_as_in_features():
    weight = styles._pixel_weight()
    grey = torch.full((3, 3, 128, 128), 0.5)
    plain = photos.squares(photos.TRAIN, 128)
    net = loss_network()
    content = net(plain, styles.CONTENT_LAYERS)
    wanted = sum(
        styles.WEIGHTS.content[layer] * (net(grey[:1], [layer])[layer] - found).square().mean().item() / 2
        for layer, found in content.items()
    )
    assert weight * (plain - 0.5).square().mean().item() / 2 == pytest.approx(wanted, rel=0.01)


def test_the_weights_are_those_of_stylize():
    defaults = stylize.__kwdefaults__
    assert sum(styles.WEIGHTS.content.values()) == pytest.approx(defaults["content_weight"])
    assert sum(styles.WEIGHTS.style.values()) == pytest.approx(defaults["style_weight"])
    assert isinstance(styles.WEIGHTS, Weights) and styles.WEIGHTS.variation == defaults["variation_weight"]
