"""The studies of the digits: every arm from one start and with one budget, and what is measured in them."""

import re
from functools import partial

import pytest
import torch

from xferlib.data import digits
from xferlib.nets.digit_nets import Perceptron, thin
from xferlib.train import History, fit, recipes
from xferlib.train.recipes import digits as distilled
from xferlib.train.recipes import digits_hints as hinted


class Log:
    """A trainer that trains nothing, and notes with what it was asked to."""

    def __init__(self):
        self.calls, self.starts, self.lessons = {}, {}, {}

    def __call__(self, name, net, loss, dataset, *, steps, batch_size, **options):
        assert name not in self.calls and batch_size == 1
        self.calls[name] = steps, dataset.batch, options["lr"]
        self.starts[name] = {key.removeprefix("net."): value.clone() for key, value in net.state_dict().items()}
        self.lessons[name] = dataset
        found = loss(net.train(), tuple(part[None] for part in dataset[0]))
        assert (sum(found.values()) if isinstance(found, dict) else found).isfinite()
        net.eval()
        return History(seconds=1.0)

    def alike(self, *names):
        first = self.starts[names[0]]
        return all(torch.equal(self.starts[name][key], first[key]) for name in names for key in first)


def test_the_studies_are_found_by_name():
    assert {recipes.find(name).chapter for name in ("digits-distilled", "digits-hints")} == {"distillation"}


@pytest.fixture(scope="module")
def comparison():
    log = Log()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distilled, "SEEDS", 2)
        return log, distilled._compare(log, 3)


def test_every_way_starts_from_the_same_student_and_has_the_same_budget(comparison):
    log, figures = comparison
    assert figures["errors"].keys() == {"teacher"} | {f"{w}: {a}" for w in (32, 128) for a in distilled.ARMS}
    assert all(len(row["each"]) == 2 for row in figures["errors"].values())
    for width in distilled.WIDTHS:
        names = [[f"student{width}-{number}-run{run}" for number in range(len(distilled.ARMS))] for run in (3, 4)]
        assert all(log.alike(*each) for each in names) and not log.alike(names[0][0], names[1][0])
    students = {name: call for name, call in log.calls.items() if "teacher" not in name}
    assert set(students.values()) == {(distilled.STEPS, distilled.BATCH, distilled.RATE)}
    untrained = {tuple(figures["errors"][f"32: {arm}"]["each"]) for arm in distilled.ARMS}
    assert len(untrained) == 1
    assert figures["nets"]["32"]["parameters"] == 3466 and figures["test digits"] == 797


def test_transfer_sets_lack_what_they_should(comparison):
    log, figures = comparison
    for kind in ("labels", "distilled"):
        assert set(log.lessons[f"no-3-{kind}-run3"].parts[1].tolist()) == set(range(10)) - {3}
        assert set(log.lessons[f"only-7-and-8-{kind}-run3"].parts[1].tolist()) == {7, 8}
    assert log.alike("no-3-labels-run3", "no-3-distilled-run3")
    for row in figures["missing"].values():
        assert all(a <= b for a, b in zip(row["errors, test labels"]["each"], row["errors"]["each"], strict=True))


def test_lessons_depend_on_their_number_and_keep_what_belongs_together():
    images, labels = digits.load(digits.TRAIN)
    numbers = torch.arange(len(labels))
    lessons = distilled.Lessons(images, labels, numbers, batch=50, seed=4)
    one, classes, chosen = lessons[7]
    assert torch.equal(one, images[chosen]) and torch.equal(classes, labels[chosen]) and len(set(chosen.tolist())) == 50
    assert torch.equal(distilled.Lessons(images, labels, numbers, batch=50, seed=4)[7][2], chosen)
    assert not torch.equal(lessons[8][2], chosen)
    moved = distilled.Lessons(images, labels, numbers, batch=50, seed=4, shifted=True)[7]
    assert torch.equal(moved[2], chosen) and not torch.equal(moved[0], one)


def test_a_short_lesson_is_learned_and_repeats():
    found = []
    for _ in range(2):
        net = distilled.begin(Perceptron, 0)
        lessons = distilled.Lessons(*digits.load(digits.TRAIN), batch=50, seed=0)
        distilled.study(net, distilled.from_labels, lessons, 100)
        found.append(distilled.scores(net, digits.load(digits.TEST)[0]))
    assert torch.equal(*found)
    assert distilled.errors(found[0], digits.load(digits.TEST)[1]) < 300


def test_a_teacher_is_heard():
    """A student that hears the teacher alone follows it into its errors."""
    images, labels = digits.load(digits.TRAIN)
    wrong = 8 * torch.eye(10)[(labels + 1) % 10]
    net = distilled.begin(Perceptron, 0)
    loss = partial(distilled.from_teacher, temperature=2, share=1.0)
    distilled.study(net, loss, distilled.Lessons(images, labels, wrong, batch=50, seed=0), 100)
    assert (distilled.scores(net, images).argmax(1) == (labels + 1) % 10).float().mean() > 0.6


# Biases

LOGITS = torch.tensor([[3.0, 0.0, 0.0], [3.0, 2.0, 0.0], [3.0, 2.5, 0.0], [0.0, 0.5, 3.0]])
LABELS = torch.tensor([0, 1, 1, 2])


def test_the_bias_makes_a_class_as_common_as_it_is():
    # Class 1 lacks 3, 1, 0.5 and 2.5: half of all digits are of it from a shift of 1 on, and below 2.5.
    bias = distilled.shift_bias(LOGITS, (1,), 0.5)
    assert bias == 1.75
    moved = distilled.shifted(LOGITS, (1,), bias)
    assert moved.argmax(1).tolist() == [0, 1, 1, 2] and torch.equal(moved[:, [0, 2]], LOGITS[:, [0, 2]])
    assert distilled.shift_bias(LOGITS + 5, (1,), 0.5) == 1.75
    assert LOGITS[0, 1] == 0


@pytest.mark.parametrize(("classes", "share"), [((3,), 0.1), ((7, 8), 0.2), (tuple(range(9)), 0.9)])
def test_the_bias_meets_the_share(classes, share):
    logits = torch.randn(1000, 10, generator=torch.Generator().manual_seed(0))
    moved = distilled.shifted(logits, classes, distilled.shift_bias(logits, classes, share))
    assert torch.isin(moved.argmax(1), torch.tensor(classes)).float().mean().item() == pytest.approx(share)


def test_the_best_bias_has_the_fewest_errors():
    assert distilled.errors(LOGITS, LABELS) == 2
    assert distilled.share_right(LOGITS, LABELS, (1,)) == 0
    assert distilled.share_right(LOGITS, LABELS, (0, 1)) == pytest.approx(1 / 3)
    bias = distilled.best_bias(LOGITS, LABELS, (1,))
    assert 1 <= bias <= 1.1 and distilled.errors(distilled.shifted(LOGITS, (1,), bias), LABELS) == 0
    assert distilled.best_bias(LOGITS, torch.tensor([0, 0, 0, 2]), (1,)) == 0  # of equals the smallest


def test_summaries():
    assert distilled.summary([1, 3]) == {"each": [1, 3], "mean": 2, "spread": pytest.approx(2**0.5)}
    assert distilled.summary([4])["spread"] == 0


# Hints


def test_every_thin_net_starts_alike_and_has_one_budget(monkeypatch):
    monkeypatch.setattr(hinted, "SEEDS", 1)
    log = Log()
    figures = hinted._compare(log, 0)
    assert len(figures["trials"]) == len(hinted.TRIALS) + 1
    for layers in hinted.LAYERS:
        for init in ("shrinking", "he"):
            same = [i for i, trial in enumerate(hinted.TRIALS) if trial[:2] == (layers, init)]
            assert not same or log.alike(*(f"trial{i}-run0" for i in same))
    budgets = {}
    for name, (steps, *_) in log.calls.items():
        if "teacher" not in name:
            budgets.setdefault(name.removesuffix("-hint"), []).append(steps)
    assert {sum(steps) for steps in budgets.values()} == {hinted.STEPS}
    rates = {call[2] for name, call in log.calls.items() if name.startswith("rate")}
    assert rates == set(hinted.RATES) and figures["errors at other rates"]["rates"] == hinted.RATES
    assert len({call[1:] for name, call in log.calls.items() if name.startswith("trial")}) == 1


def lessons(seed=0):
    big = distilled.begin(hinted.DigitNet, 1).eval()
    images, labels = digits.load(range(200))
    answers = distilled.scores(big, images), hinted.hints(big, images)
    return big, distilled.Lessons(images, labels, *answers, batch=32, seed=seed)


def test_hints_are_what_the_layer_gives():
    big, seen = lessons()
    assert torch.equal(seen.parts[3], big.body(seen.parts[0], ("relu2_1",))["relu2_1"])
    assert not seen.parts[3].requires_grad


def test_the_first_stage_trains_up_to_the_guided_layer_alone(monkeypatch):
    monkeypatch.setattr(hinted, "HINT_STEPS", 40)
    net, (_, seen) = distilled.begin(partial(thin, 8), 0), lessons()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    losses = []

    def spy(*args, **options):
        history = fit(*args, progress=False, **options)
        losses.extend(history.loss)
        return history

    hinted.first_stage(net, "body.relu2_3", seen, trainer=spy)
    assert len(losses) == 40 and sum(losses[-5:]) < sum(losses[:5])
    changed = {
        name.rsplit(".", 1)[0] for name, value in net.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {f"body.conv{name}" for name in ("1_1", "1_2", "2_1", "2_2", "2_3")}


def test_attention_watches_the_student_that_is_trained():
    net, (_, seen) = distilled.begin(partial(thin, 6), 0), lessons()
    batch = tuple(part[None] for part in seen[0])
    terms = hinted.from_attention(hinted.Watched(net, [hinted.middle(6)]), batch)
    assert terms["scores"].item() == pytest.approx(distilled.from_teacher(net, batch, hinted.TEMPERATURE).item())
    terms["attention"].backward()
    assert net.body.conv2_2.weight.grad.any() and net.body.conv2_3.weight.grad is None


def test_unknown_ways_are_answered():
    net, (_, seen) = thin(6), lessons()
    for arm in ("magic", "attention + labels"):
        with pytest.raises(ValueError, match=re.escape(f"no way is named {arm!r}; there are labels, distilled, hint")):
            hinted.learn(arm, net, 6, seen, Log(), "x")
