"""Each recipe of a shipped net, for two steps: its net, data, loss and measurement fit together."""

import numpy as np
import pytest
import torch
from PIL import Image

from xferlib import zoo
from xferlib.train import recipe as recipes_of
from xferlib.train import recipes

RECIPES = list(recipes.every())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of real data in miniature, in the layouts that the recipes read."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in (split, f"{split}annot"):
            (root / "camvid" / kind).mkdir(parents=True)
        for i in range(3):
            labels = np.kron(rng.integers(12, size=(6, 8)), np.ones((10, 10))).astype(np.uint8)
            Image.fromarray(labels).save(root / "camvid" / f"{split}annot" / f"{i}.png")
            frame = np.stack([20 * labels, 255 - 20 * labels, labels], -1)
            Image.fromarray(frame).save(root / "camvid" / split / f"{i}.png")
    return root


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_samples_depend_on_their_number_alone(recipe, data):
    one, two = recipe.dataset(data, 0), recipe.dataset(data, 0)
    first = [one[i] for i in (5, 0)]
    second = [two[i] for i in (0, 5)][::-1]
    assert all(torch.equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))
    assert not torch.equal(first[0][0], recipe.dataset(data, 1)[5][0])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_loss_trains_every_parameter_that_learns(recipe, data):
    torch.manual_seed(0)
    net = recipe.net(**recipe.arguments)
    stream = recipe.dataset(data, 0)
    batch = tuple(map(torch.stack, zip(*(stream[i] for i in range(2)), strict=True)))
    for name, layer in getattr(net, "score", torch.nn.ModuleDict()).items():
        torch.nn.init.normal_(layer.weight)  # scores start at zero, and so would the gradients behind them
        assert layer.out_channels == len(recipe.classes), name
    recipe.loss(net, batch).backward()
    learning = {name: p for name, p in net.named_parameters() if p.requires_grad}
    assert [name for name, p in learning.items() if p.grad is None or not p.grad.isfinite().all()] == []
    assert any(p.grad.any() for p in learning.values())


def test_two_steps_on_real_frames_are_measured_and_saved(data, tmp_path):
    recipe = recipes.find("fcn8s-camvid")
    row = recipes_of.run(
        recipe, steps=2, data=data, out=tmp_path / "out", runs=tmp_path / "runs", progress=False, accelerator="cpu"
    )
    assert row.result.keys() >= {"mean IU", "boundary F1"}
    assert 0 <= row.result["mean IU"] <= 1
    net = zoo.load("fcn8s-camvid", tmp_path / "out")
    image = torch.rand(3, 50, 70)
    assert zoo.apply("fcn8s-camvid", image, tmp_path / "out").shape == (50, 70)
    assert not net.training


def test_scenes_to_measure_on_are_not_trained_on():
    from xferlib.data import streets
    from xferlib.train.recipes import fcn_streets

    for seed in range(3):
        assert fcn_streets._scenes(None, seed).seed != fcn_streets.TEST_SEED
    assert streets.Streets(1, seed=fcn_streets.TEST_SEED)[0][0].shape == (3, 128, 256)
