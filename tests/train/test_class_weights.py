"""The study of class weights: every way from one start, with the weights that it names."""

import pytest
import torch

from xferlib.data import streets
from xferlib.losses.segmentation import cross_entropy
from xferlib.train import recipes
from xferlib.train.recipes import streets_class_weights as study


@pytest.fixture(scope="module", autouse=True)
def few_scenes():
    """Count and measure on few scenes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"COUNTED": 12, "MEASURED": 2}.items():
            patch.setattr(study, name, value)
        yield


@pytest.fixture(scope="module")
def trained():
    """The study with trainings that change nothing, and what each was asked to train."""
    asked = {}

    def trainer(name, net, loss, dataset, **options):
        net.eval()
        asked[name] = (torch.cat([p.flatten() for p in net.parameters()]), loss, dataset[3], options)

    return recipes.find("streets-class-weights").measure(trainer, 0), asked


def test_each_way_has_the_same_start_scenes_and_steps(trained):
    figures, asked = trained
    assert list(figures) == list(study.POWERS) and len(asked) == 3
    (weights, _, scene, options), *others = asked.values()
    assert options["steps"] == study.STEPS
    for theirs in others:
        assert torch.equal(theirs[0], weights) and torch.equal(theirs[2][0], scene[0]) and theirs[3] == options
    assert all(row["found"].keys() == set(streets.CLASSES) for row in figures.values())


def test_each_way_has_its_weights(trained):
    _, asked = trained
    scores, labels = torch.randn(1, 11, 8, 16, generator=torch.Generator().manual_seed(0)), torch.arange(128) % 11
    batch = (torch.zeros(1, 3, 8, 16), labels.view(1, 8, 16))
    losses = [loss(lambda images: scores, batch) for _, loss, _, _ in asked.values()]
    bounded = study.weights(0)
    assert losses[0] == cross_entropy(scores, batch[1])
    torch.testing.assert_close(losses[1], cross_entropy(scores, batch[1], bounded.sqrt()))
    torch.testing.assert_close(losses[2], cross_entropy(scores, batch[1], bounded))


def test_rare_classes_weigh_more():
    bounded = dict(zip(streets.CLASSES, study.weights(0).tolist(), strict=True))
    assert bounded["bicyclist"] > bounded["car"] > bounded["road"] > 1
    assert max(bounded.values()) < 50.5


def test_the_share_that_is_found_is_that_of_the_true_pixels():
    scenes = streets.Streets(4, 64, 128, seed=1)
    everything = torch.stack([labels for _, labels in scenes])
    road = streets.CLASSES.index("road")
    calls = iter(everything)

    def half(images):
        """Knows the left half, and calls the rest road."""
        labels = next(calls).clone()
        labels[:, 64:] = road
        return torch.nn.functional.one_hot(labels, 11).permute(2, 0, 1)[None].float()

    found = study.shares_found(half, scenes)
    assert found["road"] == 1
    sky = everything == streets.CLASSES.index("sky")
    assert found["sky"] == pytest.approx((sky[:, :, :64].sum() / sky.sum()).item())
