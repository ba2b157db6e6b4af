"""What recipes and studies on drawn scenes measure: an oracle scores one, on scenes that no training draws."""

import inspect
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from xferlib import zoo
from xferlib.data import shapes, streets
from xferlib.metrics.segmentation import evaluate
from xferlib.ops import crf
from xferlib.ops.instances import Instances
from xferlib.train import recipes
from xferlib.train.recipes import mask_rcnn_shapes, streets_crf, streets_developments
from xferlib.train.recipes import streets as recipes_of_streets

CLASSES = len(streets.CLASSES)


class Knowing(torch.nn.Module):
    """Knows the labels of the scenes that it was shown, and takes any other for sky."""

    def __init__(self, scenes):
        super().__init__()
        self.known = [(image, labels) for image, labels in scenes]

    def forward(self, images):
        sky = torch.zeros(images.shape[2:]).long()
        labels = next((labels for image, labels in self.known if torch.equal(image[None], images)), sky)
        return 5.0 * F.one_hot(labels, CLASSES).movedim(2, 0)[None]


class FewStreets(streets.Streets):
    """The first two scenes of a set, however many are asked for."""

    def __init__(self, length, *size, **options):
        super().__init__(2, *size, **options)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(streets, "Streets", FewStreets)


@pytest.mark.parametrize(
    ("recipe", "size"),
    [(recipe, (128, 256)) for recipe in recipes_of_streets.RECIPES]
    + [(recipe, (256, 512)) for recipe in streets_developments.RECIPES],
    ids=lambda value: getattr(value, "name", None),
)
def test_one_who_knows_the_streets_to_measure_on_is_right_and_has_not_trained_on_them(few, recipe, size):
    tests = FewStreets(2, *size, seed=recipes_of_streets.TEST_SEED)
    figures = recipe.evaluate(Knowing(tests), None)
    assert next(iter(figures)) == "mean IU" and all(value == pytest.approx(1) for value in figures.values())
    for seed in range(2):
        lessons = recipe.dataset(None, seed)
        assert lessons[0][0].shape == (3, *size)
        assert recipe.evaluate(Knowing(lessons), None)["pixel accuracy"] < 0.5


def test_nets_of_equal_time_are_trained_for_as_long_as_that_is(monkeypatch):
    seconds = {name: 1000 / steps for name, steps in recipes_of_streets.EQUAL_TIME.items()}
    monkeypatch.setattr(recipes_of_streets, "_seconds_a_step", lambda found: {name: seconds[name] for name in found})
    monkeypatch.setattr(recipes_of_streets, "_measure", lambda net, data: {"mean IU": float(net.made)})
    monkeypatch.setattr(zoo, "load", lambda name: SimpleNamespace(made=-1))
    calls = {}

    def trainer(name, net, loss, dataset, *, steps, seed, **options):
        net.made = steps
        calls[name] = (type(net), dataset.seed, seed, options)

    for seed, expected in ((0, {"fcn8s-streets"}), (1, set())):  # a training that was made is not made again
        calls.clear()
        figures = recipes_of_streets._equal_time(trainer, seed)
        assert list(figures) == list(recipes_of_streets.EQUAL_TIME) and figures.keys() - calls.keys() == expected
        for name, figure in figures.items():
            assert figure["steps"] * figure["seconds a step"] == pytest.approx(1000)
            assert figure["mean IU"] == (-1 if name in expected else figure["steps"])
        for name, (kind, scenes, shuffle, options) in calls.items():
            recipe = recipes.find(name)
            assert (kind, scenes, shuffle) == (recipe.net, recipe.dataset(None, seed).seed, seed)
            assert options == {"batch_size": recipe.batch_size, "lr": recipe.lr, **recipe.options}


def test_mean_field_starts_from_a_net_s_probabilities():
    image, labels = streets.draw(5, 32, 64)
    noisy = F.one_hot(labels, CLASSES).movedim(2, 0)[None] + 2 * torch.rand(1, CLASSES, 32, 64)
    probabilities = noisy / noisy.sum(1, keepdim=True)
    found = streets_crf.smoothed(probabilities, image[None], iterations=3, colour=10.0)
    expected = crf.mean_field(-probabilities.log(), image[None], iterations=3, colour=10.0)
    torch.testing.assert_close(found, expected)
    right = [(each.argmax(1)[0] == labels).float().mean() for each in (probabilities, found)]
    assert right[1] > right[0] + 0.05


def test_the_study_of_fields_measures_each_way_on_the_net_that_it_names(few, monkeypatch):
    """The coarse net errs at every tenth pixel or so, the fine one does not."""
    scenes = [*FewStreets(2, seed=recipes_of_streets.TEST_SEED)]
    fine = Knowing(scenes)
    rng = torch.Generator().manual_seed(0)
    wrong = [torch.rand(labels.shape, generator=rng) < 0.1 for _, labels in scenes]
    coarse = Knowing([(image, torch.where(at, 0, labels)) for (image, labels), at in zip(scenes, wrong, strict=True)])
    monkeypatch.setattr(zoo, "load", lambda name, fast: {"fcn32s-streets": coarse, "fcn8s-streets": fine}[name])
    kernels = {coarse: {"position": 10.0, "colour": 5.0}, fine: {"position": 1.0, "bilateral": 0.0}}
    rivals = {streets_crf.guided_filter: {"radius": 3}, streets_crf.vote: {"segments": 150}}
    tuned_on, trained = [], []

    def tuned(net, method, grid, tuning):
        tuned_on.extend(image for image, _ in tuning)
        assert method is streets_crf.smoothed or net is coarse
        takes = inspect.signature(crf.mean_field if method is streets_crf.smoothed else method).parameters
        assert grid.keys() <= set(takes)
        return kernels[net] if method is streets_crf.smoothed else rivals[method]

    def learned(trainer, net, numbers, seed):
        trained.append((trainer, net, numbers, seed))
        return net

    monkeypatch.setattr(streets_crf, "_tuned", tuned)
    monkeypatch.setattr(streets_crf, "_learned", learned)
    figures = streets_crf._compare("trainer", 7)
    assert figures.pop("kernels") == {"FCN-32s": kernels[coarse], "FCN-8s": kernels[fine]}
    chosen = figures.pop("chosen")
    assert chosen == {"FCN-32s, guided filter": {"radius": 3}, "FCN-32s, superpixel vote": {"segments": 150}}
    assert trained == [("trainer", coarse, kernels[coarse], 7)]
    assert not any(torch.equal(image, seen) for image, _ in scenes for seen in tuned_on)
    plain = evaluate(coarse, scenes, CLASSES)
    assert figures["FCN-32s"] == figures["FCN-32s, CRF as RNN"] == plain
    assert figures["FCN-8s"]["mean IU"] == 1 and figures["FCN-8s, CRF"]["pixel accuracy"] > 0.95
    refined = [figures[f"FCN-32s, {way}"]["mean IU"] for way in ("guided filter", "superpixel vote", "CRF")]
    assert len({plain["mean IU"], *refined}) == 4 and refined[2] > plain["mean IU"]


def test_one_who_knows_the_shapes_to_measure_on_finds_all():
    tests = shapes.Shapes(3, seed=mask_rcnn_shapes.TEST_SEED, split="test")
    known = [tests[i] for i in range(3)]

    class Finder(torch.nn.Module):
        def forward(self, images):
            assert not self.training
            _, numbers, classes = next(scene for scene in known if torch.equal(scene[0][None], images))
            found = Instances.from_map(numbers, classes)
            return [found._replace(scores=torch.ones(len(found.boxes)))]

    figures = mask_rcnn_shapes.precision(Finder(), 3)
    assert [figures[f"{kind}{name}"] for kind in ("", "box ") for name in ("AP", "AP50", "AP75")] == [1.0] * 6
    areas = torch.cat([Instances.from_map(numbers, classes).masks.sum((1, 2)) for _, numbers, classes in known])
    for name, (least, most) in mask_rcnn_shapes.AREAS.items():
        assert (figures[f"AP {name}"] == 1) == bool(((areas >= least) & (areas < most)).any())
    for seed in range(2):
        lessons = mask_rcnn_shapes.RECIPE.dataset(None, seed)
        assert not any(torch.equal(lessons[i][0], image) for i in range(3) for image, *_ in known)
