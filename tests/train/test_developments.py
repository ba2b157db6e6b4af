"""The studies of what came after FCN: each way from the same start, and what they are made of."""

import math

import pytest
import torch
from torch import nn

from xferlib.data import augment, streets
from xferlib.train.recipes import streets_crf, streets_developments, streets_few_labels, streets_no_labels


class Log:
    """A trainer that trains nothing, and notes with what it was asked to."""

    def __init__(self):
        self.calls, self.starts = [], {}

    def __call__(self, name, net, loss, dataset, *, steps, batch_size, seed, **options):
        self.calls.append((name, steps, batch_size, seed))
        self.starts[name] = {key: value.clone() for key, value in net.state_dict().items()}
        batch = tuple(map(torch.stack, zip(*(dataset[i] for i in range(2)), strict=True)))
        found = loss(net.train(), batch)
        assert (sum(found.values()) if isinstance(found, dict) else found).isfinite()
        net.eval()


def test_the_developments_train_every_net_alike(monkeypatch):
    monkeypatch.setattr(streets_developments, "SEEDS", 1)
    monkeypatch.setattr(streets_developments, "_measure", lambda net, size: {"mean IU": float(size[0])})
    log = Log()
    figures = streets_developments._compare(log, 3)
    assert figures.keys() == streets_developments.ARMS.keys() | streets_developments.LONGER.keys()
    assert {seed for *_, seed in log.calls} == {3} and len({name for name, *_ in log.calls}) == len(figures)
    assert {steps for _, steps, *_ in log.calls} == {1000, 500}
    large = {name for name, figure in figures.items() if figure["runs"] == [{"mean IU": 256.0}]}
    assert large == {name for name in figures if name.endswith("256x512")}
    assert figures["ICNet, 256x512"]["multiply-adds"] < figures["PSPNet, 256x512"]["multiply-adds"] / 3
    work = [figures[name]["multiply-adds"] for name in ("VGG", "ResNet")]
    assert abs(work[0] - work[1]) < 0.02 * work[0]


def test_what_goes_on_from_the_resnet_starts_with_its_weights(monkeypatch):
    monkeypatch.setattr(streets_developments, "SEEDS", 1)
    monkeypatch.setattr(streets_developments, "_measure", lambda net, size: {})
    log = Log()
    streets_developments._compare(log, 0)
    front = log.starts["resnet-run0"]
    for name in ("resnet-trained-on-run0", "resnet-context-module-run0"):
        trained = {key: value for key, value in log.starts[name].items() if "running" not in key and "num_b" not in key}
        assert all(torch.equal(value, front[key]) for key, value in trained.items() if key in front)


def test_every_way_with_few_labels_starts_from_one_net(monkeypatch):
    scenes = [streets.draw(seed, 64, 128) for seed in range(4)]
    monkeypatch.setattr(streets_few_labels, "SEEDS", 1)
    monkeypatch.setattr(streets_few_labels, "scenes", lambda seed: scenes)
    monkeypatch.setattr(streets_few_labels, "evaluate", lambda *_: {"mean IU": 0.5})
    streams, stream = [], streets_few_labels.stream
    monkeypatch.setattr(streets_few_labels, "stream", lambda *args: streams.append(args[1:]) or stream(*args))
    log = Log()
    figures = streets_few_labels._compare(log, 0)
    assert figures.keys() == {"start", *streets_few_labels.ARMS}
    assert [steps for _, steps, *_ in log.calls] == [600] + [800] * 6
    assert streams == [(), *[(labelled, scenes) for labelled in (20, 20, 20, 20, 20, 400)]]
    ways = [log.starts[f"arm{number}-run0"] for number in range(6)]
    for start in ways[1:]:
        for key, value in ways[0].items():
            for prefix in ("", "student.", "teacher."):
                assert torch.equal(start.get(prefix + key, value), value)


def test_streams_of_few_labels_show_labels_of_the_labelled_alone():
    def marked(number):
        return torch.full((3, 16, 32), number / 10), torch.full((16, 32), number)

    lessons = streets_few_labels.stream(0, 2, [marked(number) for number in range(8)])
    seen = [lessons[i] for i in range(24)]
    assert {labels.unique().item() for _, labels, *_ in seen} == {0, 1}
    again = streets_few_labels.stream(0, 2, [marked(number) for number in range(8)])[5]
    assert all(torch.equal(one, other) for one, other in zip(seen[5], again, strict=True))


@pytest.mark.parametrize("index", range(6))
def test_points_of_two_views_show_the_same_place(index, monkeypatch):
    monkeypatch.setattr(augment, "relight", lambda image, generator, strength: image)
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 128), torch.linspace(0, 1, 256), indexing="ij")
    places = torch.stack([rows, columns, rows * columns])
    views = streets_no_labels.Views([(places,)] * 6, seed=1)
    one, other, points, others = views[index]
    shown = [
        torch.nn.functional.grid_sample(view[None], at[None, :, None], align_corners=False)[0, :, :, 0]
        for view, at in ((one, points), (other, others))
    ]
    inside = (points.abs() < 0.97).all(1) & (others.abs() < 0.97).all(1)
    assert inside.sum() > 20
    assert torch.allclose(shown[0][:, inside], shown[1][:, inside], atol=0.01)
    assert not torch.allclose(points, others, atol=0.05)


def test_the_place_is_appended():
    colours = torch.rand(1, 3, 5, 9)
    found = streets_no_labels.with_place(colours)
    assert found.shape == (1, 5, 5, 9) and torch.equal(found[:, :3], colours)
    assert found[0, 3, :, 0].tolist() == [0, 0.25, 0.5, 0.75, 1] and found[0, 4, 0, -1] == 1


def test_clusters_of_the_labels_themselves_are_right(monkeypatch):
    scenes = {(seed, i): streets.draw(10 * seed + i, 64, 128) for seed in (1, 2) for i in range(3)}

    class Few:
        def __init__(self, count, seed):
            self.seed = seed

        def __getitem__(self, index):
            return scenes[self.seed, index % 3]

    monkeypatch.setattr(streets_no_labels.streets, "Streets", Few)
    painted = {image.sum().item(): labels for image, labels in scenes.values()}

    def told(images):
        labels = painted[images[0].sum().item()]
        return torch.nn.functional.one_hot(labels, 11).permute(2, 0, 1)[None].float()

    found = streets_no_labels._clustered(told, 0)
    assert found["pixel accuracy"] > 0.95
    assert streets_no_labels._clustered(lambda images: torch.rand_like(images), 0)["pixel accuracy"] < 0.4


def test_a_vote_is_one_for_each_superpixel():
    image, labels = streets.draw(5, 64, 128)
    noisy = nn.functional.one_hot(labels, 11).permute(2, 0, 1)[None] + torch.rand(1, 11, 64, 128)
    probabilities = noisy / noisy.sum(1, keepdim=True)
    voted = streets_crf.vote(probabilities, image[None], segments=60)
    assert torch.allclose(voted.sum(1), torch.ones(1, 64, 128), atol=1e-5)
    assert torch.allclose(voted.mean((2, 3)), probabilities.mean((2, 3)), atol=1e-5)
    assert 20 < len(voted[0, :2].flatten(1).unique(dim=1).T) < 120


@pytest.mark.parametrize("grid", [streets_crf.FIELD, streets_crf.FILTER, streets_crf.VOTE])
def test_the_numbers_of_each_method_are_those_with_the_best_outlines(grid, monkeypatch):
    def outlines(predict, scenes, classes):
        return {"boundary F1": -abs(predict(None) - 17)}

    monkeypatch.setattr(streets_crf, "evaluate", outlines)
    monkeypatch.setattr(streets_crf, "_answers", lambda net, refine: lambda _: sum(refine.keywords.values()))
    numbers = streets_crf._tuned(None, streets_crf.smoothed, grid, [])
    settings = [*streets_crf._settings(grid)]
    assert len(settings) == math.prod(map(len, grid.values()))
    assert abs(sum(numbers.values()) - 17) == min(abs(sum(setting.values()) - 17) for setting in settings)


def test_the_net_before_a_learned_field_stays_as_it_is():
    norm = nn.Sequential(nn.Conv2d(3, 11, 1), nn.BatchNorm2d(11))
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    log = Log()
    field = streets_crf._learned(log, norm, {"position": 5.0, "colour": 5.0, "method": "fast"}, 0)
    assert field.iterations == 10
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())
    assert not any(p.requires_grad for p in norm.parameters())
