"""The study of small detectors that mimic a large one: starts alike, regions are regions, the teacher keeps still."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from xferlib.data import shapes
from xferlib.losses.detection import mask_rcnn_loss
from xferlib.nets.mask_rcnn import MaskRCNN
from xferlib.ops.instances import Instances
from xferlib.train import fit, recipes
from xferlib.train.recipes import shapes_mimic
from xferlib.train.recipes.mask_rcnn_shapes import SLIM, Mapped, instance_loss
from xferlib.train.recipes.shapes_mimic import HALF, HalfInput, Mimic

TINY = {**SLIM, "widths": (8, 8, 8, 8), "stem": 8, "channels": 8, "hidden": 16, "mask_width": 8, "proposals": 20}
CPU = torch.device("cpu")


def batch(count: int = 2, side: int = 64, seed: int = 9):
    scenes = Mapped(shapes.Shapes(count, side, side, seed=seed))
    return tuple(map(torch.stack, zip(*(scenes[i] for i in range(count)), strict=True)))


def mimic(build=MaskRCNN, seed: int = 0, **arguments) -> Mimic:
    torch.manual_seed(seed)
    return Mimic(build(**{**TINY, **arguments}), SLIM["channels"])


class Log:
    """A trainer that trains nothing, and notes with what it was asked to."""

    def __init__(self):
        self.calls, self.starts, self.terms, self.shown = [], {}, {}, {}

    def __call__(self, name, net, loss, dataset, *, steps, batch_size, lr, seed, **options):
        self.calls.append((name, steps, batch_size, lr, seed, tuple(options.items())))
        self.starts[name] = {key.removeprefix("student."): value.clone() for key, value in net.state_dict().items()}
        self.shown[name] = dataset[3][0]
        taught = tuple(map(torch.stack, zip(*(dataset[i] for i in range(2)), strict=True)))
        self.terms[name] = loss(net.train(), taught)
        net.eval()
        return SimpleNamespace(seconds=1.0)


def test_the_study_trains_each_arm_alike(monkeypatch):
    monkeypatch.setattr(shapes_mimic, "RUNS", 2)
    monkeypatch.setattr(shapes_mimic, "precision", lambda net, scenes: {"AP": 0.5})
    monkeypatch.setattr(shapes_mimic, "unlike", lambda net: {"unlike, everywhere": 0.5})
    log = Log()
    figures = shapes_mimic._compare(log, 3)
    assert figures.keys() == {"teacher", *shapes_mimic.ARMS}
    assert len({name for name, *_ in log.calls}) == len(log.calls) == 2 * len(shapes_mimic.ARMS)
    assert len({settings[1:4] + settings[5:] for settings in log.calls}) == 1
    assert {settings[4] for settings in log.calls} == {3, 4}
    for first, *others in (
        ("labels-alone", "whole-maps", "whole-maps-less-weight", "regions"),
        ("half-the-input-labels-alone", "half-the-input-regions"),
    ):
        for run in (3, 4):
            start = log.starts[f"{first}-run{run}"]
            for other in others:
                name = f"{other}-run{run}"
                assert all(
                    torch.equal(log.starts[name][key], value) for key, value in start.items() if "num_b" not in key
                )
                assert torch.equal(log.shown[name], log.shown[f"{first}-run{run}"])
        assert not torch.equal(log.shown[f"{first}-run3"], log.shown[f"{first}-run4"])
    for name, terms in log.terms.items():
        assert sum(terms.values()).isfinite() and ("mimic" in terms) == ("alone" not in name)
    assert all(len(figure["runs"]) == (1 if name == "teacher" else 2) for name, figure in figures.items())
    assert figures["teacher"]["multiply-adds a proposal"] == 64 * 49 * 256 + 256 * 256 + 256 * 9 * 5
    assert figures["regions"]["parameters"] < figures["teacher"]["parameters"] / 3.9
    assert figures["regions"]["multiply-adds of the maps"] < figures["teacher"]["multiply-adds of the maps"] / 3.5
    assert figures["half the input, regions"]["parameters"] == figures["teacher"]["parameters"]
    work = [figures[name]["multiply-adds of the maps"] for name in ("half the input, regions", "teacher")]
    assert 4 * work[0] == work[1]


def test_the_students_learn_from_scenes_that_neither_teacher_nor_test_has_seen(monkeypatch):
    seeds = []
    monkeypatch.setattr(shapes_mimic, "precision", lambda net, scenes: {})
    monkeypatch.setattr(shapes_mimic, "unlike", lambda net: {})

    def train(name, net, loss, dataset, **options):
        seeds.append(dataset.dataset.seed)
        return SimpleNamespace(seconds=1.0)

    shapes_mimic._compare(train, 0)
    own = recipes.find("mask-rcnn-shapes")
    assert not {shapes_mimic.TEST_SEED, own.dataset(None, own.seed).dataset.seed} & set(seeds)


def test_without_the_mimicry_the_loss_is_that_of_the_labels():
    taught, net = batch(), mimic()
    torch.manual_seed(5)
    alone = instance_loss(net.student.train(), taught)
    for regions in (False, True):
        torch.manual_seed(5)
        terms = shapes_mimic.mimic_loss(net.train(), taught, regions=regions)
        assert list(terms) == [*alone, "mimic"]
        assert all(torch.equal(terms[name], value) for name, value in alone.items())


def test_whole_maps_are_compared_by_half_their_mean_square():
    taught, net = batch(), mimic().train()
    torch.manual_seed(5)
    found = shapes_mimic.mimic_loss(net, taught, regions=False, weight=3.0)["mimic"]
    with torch.no_grad():
        wanted = shapes_mimic._teacher(CPU).levels(taught[0])
        guesses = net.guesses(net.student.levels(taught[0]))
    expected = sum((a - b).square().mean() / 2 for a, b in zip(guesses, wanted, strict=True)) / len(wanted)
    assert found.item() == pytest.approx(3 * expected.item(), rel=1e-4)


class Told(Mimic):
    """A student that says what it is told to: its guesses, and the boxes that it learns from."""

    def __init__(self, guesses, boxes):
        super().__init__(MaskRCNN(**TINY), SLIM["channels"])
        self.told, self.boxes = guesses, boxes

    def forward(self, images, truths):
        learned, _ = super().forward(images, truths)
        return learned._replace(sampled=self.boxes), self.told


def test_the_mimicry_sees_the_regions_and_nothing_else():
    taught = batch()
    with torch.no_grad():
        wanted = shapes_mimic._teacher(CPU).levels(taught[0])
    strides = (4, 8, 16, 32)
    box = [torch.tensor([[8.0, 16.0, 31.0, 30.0]]), torch.zeros(0, 4)]
    inside = []
    for level, stride in zip(wanted, strides, strict=True):
        touched = torch.zeros_like(level[:, :1], dtype=torch.bool)
        touched[0, :, 16 // stride : -(-30 // stride), 8 // stride : -(-31 // stride)] = True
        inside.append(touched)
    outside_wrong = [torch.where(touched, level, level + 7) for touched, level in zip(inside, wanted, strict=True)]
    inside_wrong = [torch.where(touched, level + 2, level) for touched, level in zip(inside, wanted, strict=True)]
    for guesses, regions, whole in ((outside_wrong, 0.0, None), (inside_wrong, 2.0, None), (wanted, 0.0, 0.0)):
        net = Told(guesses, box).train()
        found = shapes_mimic.mimic_loss(net, taught, regions=True, weight=1.0)["mimic"].item()
        assert found == pytest.approx(regions, rel=1e-4)
        if whole is None:
            assert shapes_mimic.mimic_loss(net, taught, regions=False)["mimic"] > 0


def test_the_regions_are_the_boxes_that_the_heads_learn_from():
    taught, net = batch(), mimic().train()
    truths = [Instances.from_map(n, c) for n, c in zip(*taught[1:], strict=True)]
    learned, _ = net(taught[0], truths)
    assert len(learned.sampled) == 2 and sum(map(len, learned.sampled)) == len(learned.logits)
    objects = learned.classes.split([len(boxes) for boxes in learned.sampled])
    for boxes, classes, truth in zip(learned.sampled, objects, truths, strict=True):
        overlap = overlaps(boxes, truth.boxes).amax(1)
        assert torch.equal(overlap >= 0.5, classes > 0)
    assert mask_rcnn_loss(learned)["classes"].isfinite()


def overlaps(boxes, others):
    corners = torch.maximum(boxes[:, None, :2], others[:, :2]), torch.minimum(boxes[:, None, 2:], others[:, 2:])
    shared = (corners[1] - corners[0]).clamp(min=0).prod(2)
    areas = [(each[:, 2:] - each[:, :2]).prod(1) for each in (boxes, others)]
    return shared / (areas[0][:, None] + areas[1] - shared)


def test_training_moves_student_and_regressors_and_leaves_the_teacher_still():
    teacher = shapes_mimic._teacher(CPU)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    net = mimic(HalfInput)
    start = {key: value.clone() for key, value in net.state_dict().items()}
    stream = Mapped(shapes.Shapes(8, 64, 64, seed=3))
    loss = partial(shapes_mimic.mimic_loss, regions=True)
    history = fit(net, loss, stream, steps=3, batch_size=2, lr=0.01, progress=False)
    assert set(history.losses) == {"objectness", "anchor boxes", "classes", "boxes", "masks", "mimic"}
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(teacher.state_dict()[key], value) for key, value in before.items())
    moved = {key for key, value in net.state_dict().items() if not torch.equal(start[key], value)}
    assert {key for key, _ in net.named_parameters()} <= moved


def test_half_the_input_gives_half_the_maps_and_boxes_in_whole_pixels():
    torch.manual_seed(0)
    net = HalfInput(**TINY).eval()
    whole = MaskRCNN(**TINY).eval()
    whole.load_state_dict(net.state_dict())
    image = torch.rand(1, 3, 64, 128)
    small = F.avg_pool2d(image, 2)
    for own, level in zip(net.levels(image), whole.levels(small), strict=True):
        assert torch.allclose(own, level, atol=1e-5)
    assert net.rpn(net.levels(image)).anchors.amax() > 120  # they reach over the whole picture
    guesses = Mimic(net, 64).guesses(net.levels(image))
    wanted = shapes_mimic._teacher(CPU).levels(image)
    assert [g.shape for g in guesses] == [w.shape for w in wanted]


def test_a_student_that_sees_what_the_teacher_sees_is_not_unlike_it(monkeypatch):
    monkeypatch.setattr(shapes_mimic, "SIDE", 64)
    shapes_mimic._objects.cache_clear()
    net = Mimic(shapes_mimic._teacher(CPU), SLIM["channels"])
    net.guesses = lambda levels: levels
    same = shapes_mimic.unlike(net, 2)
    net.guesses = lambda levels: [3 * level for level in levels]
    thrice = shapes_mimic.unlike(net, 2)
    shapes_mimic._objects.cache_clear()
    assert same == {"unlike, everywhere": 0.0, "unlike, on objects": 0.0}
    assert thrice == pytest.approx(dict.fromkeys(same, 4.0))


def test_a_student_of_other_sizes_is_refused_with_both_shapes():
    net = mimic(depths=(1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"images .*; Mask R-CNN takes floats"):
        shapes_mimic.mimic_loss(net, (torch.zeros(2, 1, 64, 64), *batch()[1:]), regions=True)
    with pytest.raises(ValueError, match=r"\(2, 8, 16, 16\).*\(2, 64, 16, 16\)"):
        shapes_mimic.mimic_loss(Mimic(MaskRCNN(**TINY), 8), batch(), regions=False)
    with pytest.raises(RuntimeError):  # the study's students are Mask R-CNNs
        net.student.load_state_dict(MaskRCNN(**HALF).state_dict())


def test_the_study_is_found_by_its_name():
    study = recipes.find("shapes-mimic")
    assert study.chapter == "distillation" and str(shapes_mimic.STEPS) in study.data
