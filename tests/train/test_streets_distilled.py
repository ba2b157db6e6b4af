"""The study of ENet taught by FCN-8s: all ways start alike, no label is seen where none may be, the teacher rests."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xferlib import zoo
from xferlib.data import streets
from xferlib.losses.distillation import attention_transfer, distillation_loss
from xferlib.nets.hints import Watched
from xferlib.train import fit, recipes
from xferlib.train.recipes import streets_distilled, streets_few_labels
from xferlib.train.recipes.streets_distilled import CLASSES, LAYERS, distilled, few_labels

CPU = torch.device("cpu")


def batch(count: int = 2):
    scenes = [streets.draw(seed, 64, 128) for seed in range(count)]
    return tuple(map(torch.stack, zip(*scenes, strict=True)))


def tiny(classes: int = CLASSES) -> Watched:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, classes, 1))
    return Watched(net, ["2"])


class Log:
    """A trainer that trains nothing, and notes with what it was asked to."""

    def __init__(self):
        self.calls, self.starts, self.terms, self.shown = {}, {}, {}, {}

    def __call__(self, name, net, loss, dataset, *, steps, batch_size, seed, **options):
        self.calls[name] = (steps, batch_size, seed, tuple(options.items()))
        self.starts[name] = {key.removeprefix("net."): value.clone() for key, value in net.state_dict().items()}
        self.shown[name] = dataset[3][0]
        if seed == 3:  # once will do
            taught = tuple(map(torch.stack, zip(*(dataset[i] for i in range(2)), strict=True)))
            self.terms[name] = sum(loss(net.train(), taught).values())
        net.eval()
        return SimpleNamespace(seconds=1.0)


@pytest.fixture
def quick(monkeypatch):
    """Make the study's measuring cheap."""
    scenes = [streets.draw(seed, 64, 128) for seed in range(3)]
    monkeypatch.setattr(streets_few_labels, "scenes", lambda seed: scenes)
    monkeypatch.setattr(streets_distilled, "measure", lambda net: {"mean IU": 0.5})
    monkeypatch.setattr(streets_distilled, "_seconds_a_step", lambda: {"labels": 1.0})


def test_the_study_trains_each_arm_alike(monkeypatch, quick):
    monkeypatch.setattr(streets_distilled, "RUNS", 2)
    monkeypatch.setattr(streets_distilled, "_scenes", lambda run: streets.Streets(64, 64, 128, seed=run))
    log = Log()
    figures = streets_distilled._compare(log, 3)
    arms = streets_distilled.ARMS
    assert figures["runs"].keys() == arms.keys() and len(log.calls) == 2 * len(arms)
    assert len(log.terms) == len(arms) and all(value.isfinite() for value in log.terms.values())
    assert len({(size, options) for _, size, _, options in log.calls.values()}) == 1
    for run in (3, 4):
        calls = {name: call for name, call in log.calls.items() if name.endswith(f"-run{run}")}
        assert {seed for _, _, seed, _ in calls.values()} == {run}
        steps = {name: call[0] for name, call in calls.items()}
        assert steps.pop(f"labels-for-as-long-run{run}") == round(1.33 * 600) and set(steps.values()) == {600}
        first = f"labels-run{run}"
        for name in calls:
            assert all(torch.equal(log.starts[name][key], value) for key, value in log.starts[first].items())
            assert torch.equal(log.shown[name], log.shown[first]) == ("20" not in name)
    assert not torch.equal(log.shown["labels-run3"], log.shown["labels-run4"])
    assert figures["runs"]["labels, for as long"] == [{"mean IU": 0.5, "steps": 798, "seconds": 1.0}] * 2
    assert figures["student"]["parameters"] < figures["teacher"]["parameters"]


def test_the_students_learn_from_scenes_that_neither_teacher_nor_test_has_seen():
    own = recipes.find(streets_distilled.TEACHER)
    seen = {own.dataset(None, own.seed).seed, streets_distilled.TEST_SEED}
    assert not seen & {streets_distilled._scenes(run).seed for run in range(100)}


def test_the_teacher_is_the_strongest_net_on_streets_of_its_size():
    results = {
        row.name: row.result["mean IU"] for row in zoo.rows() if row.name.endswith("-streets") and "128x256" in row.data
    }
    assert max(results, key=results.get) == streets_distilled.TEACHER


@pytest.mark.parametrize(("share", "temperature"), [(0.5, 1.0), (0.3, 4.0)])
def test_labels_and_soft_targets_are_weighed_as_hinton_weighs_them(share, temperature):
    taught, net = batch(), tiny()
    terms = distilled(net, taught, share=share, temperature=temperature)
    opinion = streets_distilled._teacher(CPU).net(taught[0])
    expected = distillation_loss(net(taught[0])[0], taught[1], opinion, temperature=temperature, share=share)
    assert not (taught[1] == 255).any()
    assert sum(terms.values()).item() == pytest.approx(expected.item(), rel=1e-5)


def test_without_labels_no_label_is_looked_at():
    images, labels = batch()
    alone = distilled(tiny(), (images, labels), share=1.0)
    garbage = distilled(tiny(), (images, torch.full_like(labels, 200)), share=1.0)
    assert list(alone) == ["soft targets"] and torch.equal(alone["soft targets"], garbage["soft targets"])


def test_a_student_that_says_what_the_teacher_says_has_no_soft_loss():
    teacher, (images, labels) = streets_distilled._teacher(CPU), batch()
    assert distilled(teacher, (images, labels), share=1.0)["soft targets"] == 0
    scene, teacher = streets.Streets(2, seed=streets_distilled.TEST_SEED), teacher.net
    found = streets_distilled.measure(teacher, 2)
    assert found["agreement"] == 1
    right = sum((teacher(image[None])[0].argmax(0) == labels).float().mean() for image, labels in (scene[0], scene[1]))
    assert found["pixel accuracy"] == pytest.approx(right.item() / 2, rel=1e-5)
    assert streets_distilled.measure(lambda images: -teacher(images), 2)["agreement"] == 0


def test_the_unlabelled_half_is_learned_from_the_teacher_and_the_other_from_labels():
    images, labels = batch(4)
    others = images.flip(-1)
    net = tiny()
    terms = few_labels(net, (images, labels, others))
    scores, guesses = net(torch.cat([images[:2], others[:2]]))[0].split(2)
    assert terms["labels"].item() == pytest.approx(0.5 * F.cross_entropy(scores, labels[:2]).item(), rel=1e-5)
    opinion = streets_distilled._teacher(CPU).net(others[:2])
    soft = F.kl_div(guesses.log_softmax(1), opinion.softmax(1), reduction="none").sum(1).mean() / 2
    assert terms["soft targets"].item() == pytest.approx(soft.item(), rel=1e-4)
    changed = few_labels(tiny(), (images, labels.roll(1, 0), others))
    assert torch.equal(changed["soft targets"], few_labels(tiny(), (images, labels, others))["soft targets"])


def test_attention_is_compared_where_the_strides_are_alike():
    images, labels = batch()
    torch.manual_seed(1)
    net = Watched(streets_distilled.ENet(CLASSES), LAYERS).eval()
    scores, found = net(images)
    assert torch.equal(scores, net.net(images))
    pools = [layer.removeprefix("backbone.") for layer in LAYERS.values()]
    wanted = streets_distilled._teacher(CPU).net.backbone(images, pools)
    expected = sum(attention_transfer(own, wanted[pool]) for own, pool in zip(found, pools, strict=True))
    terms = distilled(net, (images, labels), attention=2.0)
    assert terms["attention"].item() == pytest.approx(2 * expected.item(), rel=1e-5)
    assert terms["labels"].item() == pytest.approx(F.cross_entropy(scores, labels).item(), rel=1e-5)


def test_labels_alone_ask_no_teacher(monkeypatch):
    def refuse(images):
        raise AssertionError("the teacher was asked")

    monkeypatch.setattr(streets_distilled, "_opinion", refuse)
    (images, labels), net = batch(), tiny()
    terms = distilled(net, (images, labels))
    assert list(terms) == ["labels"]
    assert terms["labels"].item() == pytest.approx(F.cross_entropy(net(images)[0], labels).item(), rel=1e-5)


def test_training_leaves_the_teacher_still():
    teacher = streets_distilled._teacher(CPU)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    net = tiny()
    history = fit(
        net, partial(distilled, share=0.7), streets.Streets(20, 64, 128), steps=8, batch_size=2, lr=0.02, progress=False
    )
    assert set(history.losses) == {"soft targets", "labels"}
    assert all(values[-1] < values[0] for values in history.losses.values())
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(teacher.state_dict()[key], value) for key, value in before.items())


def test_a_student_of_other_classes_or_layers_is_refused():
    with pytest.raises(ValueError, match="the student scores 9 classes and the teacher 11"):
        distilled(tiny(9), batch(), share=1.0)
    with pytest.raises(ValueError, match="has no layer 'bottleneck1_4'; it has 0, 1, 2, 3"):
        Watched(tiny().net, LAYERS)(batch()[0])


def test_the_study_is_found_by_its_name():
    study = recipes.find("streets-distilled")
    assert study.chapter == "distillation" and str(streets_distilled.STEPS) in study.data
