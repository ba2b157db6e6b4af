import importlib
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import TensorDataset

from xferlib import train

HERE = Path(__file__).parent


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("tiny_problem")


@pytest.fixture
def fit(tiny):
    """`train.fit` on the tiny problem; any argument can be replaced."""

    def run(net, **changes):
        arguments = {
            "steps": 12,
            "batch_size": 4,
            "lr": 1e-2,
            "accelerator": "cpu",
            "progress": False,
            **changes,
        }
        loss = arguments.pop("loss", tiny.squared_error)
        dataset = arguments.pop("dataset", None)
        return train.fit(net, loss, tiny.Sums() if dataset is None else dataset, **arguments)

    return run


def test_it_learns(tiny, fit):
    net = tiny.small_net()
    history = fit(net, steps=300, batch_size=16, lr=3e-2)
    assert history.loss[0] > 1 and history.loss[-1] < 1e-2
    x, y = torch.tensor([0.1, 0.2, 0.3, 0.4]), 1.0
    assert net(x).item() == pytest.approx(y, abs=0.1)


def test_plain_sgd_by_hand(fit):
    # One weight w, samples x = 1, 2, 3, 4, loss (w x)^2 / 2: with batches of two, w loses lr * mean(x^2) * w.
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 1.0)
    history = fit(
        net,
        loss=lambda net, batch: net(batch[0]).square().mean() / 2,
        dataset=TensorDataset(torch.tensor([[1.0], [2.0], [3.0], [4.0]])),
        steps=2,
        batch_size=2,
        lr=0.1,
        optimizer=torch.optim.SGD,
        schedule=train.constant,
        clip=None,
    )
    after_one = 1 - 0.1 * (1 + 4) / 2
    after_two = after_one * (1 - 0.1 * (9 + 16) / 2)
    assert net.weight.item() == pytest.approx(after_two, rel=1e-5)
    assert history.loss == pytest.approx([(1 + 4) / 4, after_one**2 * (9 + 16) / 4], rel=1e-5)


def test_clip_bounds_the_step(fit):
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 1.0)
    fit(
        net,
        loss=lambda net, batch: 1000 * net(batch[0]).mean(),
        dataset=TensorDataset(torch.ones(1, 1)),
        steps=1,
        batch_size=1,
        lr=0.5,
        optimizer=torch.optim.SGD,
        clip=0.2,
    )
    assert net.weight.item() == pytest.approx(1 - 0.5 * 0.2, rel=1e-4)


def test_weight_decay_spares_biases_and_norms(fit):
    net = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    fit(
        net,
        loss=lambda net, batch: 0 * net(batch[0]).sum(),
        dataset=TensorDataset(torch.arange(4.0)[:, None]),
        steps=1,
        lr=0.5,
        weight_decay=0.1,
        optimizer=torch.optim.SGD,
    )
    for name, after in net.named_parameters():
        factor = 1 - 0.5 * 0.1 if name == "0.weight" else 1
        torch.testing.assert_close(after.detach(), before[name] * factor)


def test_frozen_parameters_stay(tiny, fit):
    net = tiny.small_net()
    net[0].requires_grad_(False)
    before = net[0].weight.clone(), net[3].weight.clone()
    fit(net, weight_decay=0.1)
    assert torch.equal(net[0].weight, before[0]) and not torch.equal(net[3].weight, before[1])


def test_learning_rate_warms_up_and_follows_the_schedule(tiny, fit):
    history = fit(tiny.small_net(), steps=8, lr=1.0, warmup=4, schedule=train.poly)
    expected = [min(1, (s + 1) / 4) * (1 - s / 8) ** 0.9 for s in range(8)]
    assert history.lr == pytest.approx(expected)


def test_schedules():
    assert train.cosine(0) == 1 and train.cosine(0.5) == pytest.approx(0.5) and train.cosine(1) == 0
    assert train.poly(0) == 1 and train.poly(0.75) == pytest.approx(0.25**0.9)
    assert train.constant(0.3) == 1


def test_the_learning_rate_goes_down_at_first_and_after_each_rise():
    rises, steps = (900, 1500), 2700
    rates = [train.restarts(step / steps, rises=rises, steps=steps, again=0.6, warmup=20) for step in range(steps)]
    assert rates[:900] == pytest.approx([train.cosine(step / 900) for step in range(900)])
    for start, end in ((900, 1500), (1500, 2700)):
        late = rates[start:end]
        assert late[0] == pytest.approx(0.6 / 20) and late[9] == pytest.approx(0.3, rel=1e-2)
        assert max(late) == late[19] == pytest.approx(0.6, rel=0.01)
        assert late[len(late) // 2] == pytest.approx(0.3) and late[-1] < 1e-4
    at_once = partial(train.restarts, rises=(900,), steps=2700, again=0.6, warmup=0)
    assert at_once(1 / 3) == pytest.approx(0.6)


@pytest.mark.parametrize("rises", [(5, 3), (3, 3), (0,), (9,)])
def test_rises_that_make_no_sense_are_named(rises):
    with pytest.raises(ValueError, match=rf"the rises \({rises[0]}.*\) do not follow each other within 9 steps"):
        train.restarts(0.5, rises=rises, steps=9, again=0.5, warmup=1)


def test_a_checkpoint_of_another_schedule_is_refused(tiny, fit, tmp_path):
    def again(rise):
        schedule = partial(train.restarts, rises=(rise,), steps=4, again=0.5, warmup=0)
        return fit(tiny.small_net(), steps=4, schedule=schedule, checkpoint=tmp_path / "a.pt")

    again(2)
    assert len(again(2).loss) == 4
    with pytest.raises(train.CheckpointError, match=r"restarts\{'rises': \(2,\)"):
        again(3)


def test_the_optimizer_gets_the_learning_rate(tiny, fit):
    seen = []

    def spy(groups, lr, weight_decay):
        optimizer = torch.optim.SGD(groups, lr=lr, weight_decay=weight_decay)
        optimizer.register_step_post_hook(lambda opt, *_: seen.append({g["lr"] for g in opt.param_groups}))
        return optimizer

    history = fit(tiny.small_net(), steps=3, optimizer=spy)
    assert seen == [{rate} for rate in history.lr]


def test_same_seed_same_bits_other_seed_other_dropout(tiny, fit):
    results = []
    for seed in (3, 3, 4):
        net = tiny.small_net(dropout=0.5)
        fit(net, seed=seed)
        results.append(tiny.weights(net))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_dropout_differs_from_step_to_step(fit):
    masks = []
    net = nn.Sequential(nn.Linear(1, 64), nn.Dropout(0.5))
    net[1].register_forward_hook(lambda *args: masks.append(args[2].detach() == 0))
    fit(
        net,
        loss=lambda net, batch: net(batch[0]).mean(),
        dataset=TensorDataset(torch.ones(3, 1)),
        steps=3,
        batch_size=1,
    )
    assert not torch.equal(masks[0], masks[1]) and not torch.equal(masks[1], masks[2])


def test_the_callers_random_state_is_left_alone(tiny, fit):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(tiny.small_net(dropout=0.5))
    assert torch.equal(torch.rand(3), expected)


def test_the_callers_random_state_has_no_say(tiny, fit):
    results = []
    for state in (1, 2):
        torch.manual_seed(state)
        net = tiny.small_net(dropout=0.5)
        fit(net)
        results.append(tiny.weights(net))
    assert torch.equal(*results)


class Stop(Exception):
    """Raised by a callback to break a run off."""


def _stop_at(step: int):
    def callback(progress):
        if progress.step == step:
            raise Stop

    return callback


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, partial(torch.optim.SGD, momentum=0.9)])
def test_resuming_gives_the_same_bits(tiny, fit, tmp_path, optimizer):
    whole = tiny.small_net(dropout=0.3)
    uninterrupted = fit(whole, optimizer=optimizer)
    for step in (1, 7, 11):
        path = tmp_path / f"{step}.pt"
        with pytest.raises(Stop):
            fit(
                tiny.small_net(0.3),
                optimizer=optimizer,
                checkpoint=path,
                save_every=0,
                on_step=_stop_at(step),
            )
        torch.manual_seed(step)  # whatever happened in between
        net = tiny.small_net(dropout=0.3)
        seen = []
        history = fit(net, optimizer=optimizer, checkpoint=path, on_step=seen.append)
        assert [progress.step for progress in seen] == list(range(step + 1, 13))
        assert torch.equal(tiny.weights(net), tiny.weights(whole))
        assert history.loss == uninterrupted.loss and history.lr == uninterrupted.lr
        assert history.losses == uninterrupted.losses


def test_resuming_restores_batch_norm(fit, tmp_path):
    def batch_norm():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))

    whole, resumed, path = batch_norm(), batch_norm(), tmp_path / "run.pt"
    fit(whole)
    with pytest.raises(Stop):
        fit(batch_norm(), checkpoint=path, save_every=0, on_step=_stop_at(5))
    fit(resumed, checkpoint=path)
    for expected, value in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(expected, value)


def test_a_run_killed_with_sigkill_resumes_to_the_same_bits(tiny, fit, tmp_path):
    path = tmp_path / "folder" / "run.pt"
    script = f"""
import os, signal
import tiny_problem as tiny
from xferlib import train

def die(progress):
    if progress.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)

train.fit(tiny.small_net(0.3), tiny.squared_error, tiny.Sums(), steps=12, batch_size=4, lr=1e-2,
          accelerator="cpu", progress=False, checkpoint={str(path)!r}, save_every=0, on_step=die)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert torch.load(path, weights_only=True)["step"] == 7
    whole, resumed = tiny.small_net(0.3), tiny.small_net(0.3)
    fit(whole)
    fit(resumed, checkpoint=path)
    assert torch.equal(tiny.weights(resumed), tiny.weights(whole))


def test_a_finished_run_is_not_run_again(tiny, fit, tmp_path):
    path = tmp_path / "run.pt"
    first, second = tiny.small_net(), tiny.small_net()
    before = fit(first, checkpoint=path)
    after = fit(second, checkpoint=path, loss=tiny.squared_error, on_step=_stop_at(1))
    assert torch.equal(tiny.weights(first), tiny.weights(second)) and after == before


@pytest.mark.parametrize("change", [{"lr": 0.5}, {"steps": 13}, {"seed": 9}, {"batch_size": 2}, {"clip": None}])
def test_a_checkpoint_of_another_run_is_refused_by_name(tiny, fit, tmp_path, change):
    path = tmp_path / "run.pt"
    fit(tiny.small_net(), checkpoint=path)
    (name,) = change
    with pytest.raises(train.CheckpointError, match=rf"different run \({name} was .* and is now {change[name]}\)"):
        fit(tiny.small_net(), checkpoint=path, **change)


def test_a_checkpoint_of_another_precision_is_refused(tiny, fit, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[train.fit.__module__], "bfloat16_is_fast", lambda device: True)
    path = tmp_path / "run.pt"
    fit(tiny.small_net(), checkpoint=path)
    with pytest.raises(train.CheckpointError, match=r"precision was '32-true' and is now 'bf16-mixed'"):
        fit(tiny.small_net(), checkpoint=path, precision="bf16-mixed")


def test_saving_waits_but_the_end_is_saved(tiny, fit, tmp_path):
    path, there = tmp_path / "run.pt", []
    fit(
        tiny.small_net(),
        checkpoint=path,
        save_every=1e9,
        on_step=lambda progress: there.append(path.exists()),
    )
    assert there == [False] * 11 + [True]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.pt"]


def test_a_loss_that_is_not_finite_names_the_step_and_spares_the_weights(tiny, fit):
    net, seen = tiny.small_net(), []

    def burst(net, batch):
        factor = float("nan") if len(seen) == 3 else 1.0
        return {"fine": tiny.squared_error(net, batch), "bad": factor * net(batch[0]).mean()}

    with pytest.raises(FloatingPointError, match=r"'bad': nan.* at step 4 of 12"):
        fit(net, loss=burst, on_step=lambda progress: seen.append(tiny.weights(progress.net)))
    assert torch.equal(tiny.weights(net), seen[-1])


@pytest.mark.parametrize("clip", [1.0, None])
def test_a_gradient_that_is_not_finite_spares_weights_and_checkpoint(tiny, fit, tmp_path, clip):
    """The root of nothing is nothing, and its slope has no bounds."""
    net, seen, path = tiny.small_net(), [], tmp_path / "run.pt"

    def burst(net, batch):
        error = tiny.squared_error(net, batch)
        return error if len(seen) < 3 else error + (error - error.detach()).sqrt()

    with pytest.raises(FloatingPointError, match=r"gradient of norm (nan|inf) at step 4 of 12: try a lower lr"):
        fit(net, loss=burst, clip=clip, checkpoint=path, save_every=0, on_step=lambda p: seen.append(tiny.weights(net)))
    assert torch.equal(tiny.weights(net), seen[-1])
    kept = torch.load(path, weights_only=True)
    assert kept["step"] == 3 and torch.equal(torch.cat([p.flatten() for p in kept["net"].values()]), seen[-1])


@pytest.mark.parametrize("clip", [-1.0, 0.0, float("nan")])
def test_a_bound_of_the_gradient_that_makes_no_sense_is_refused(tiny, fit, clip):
    with pytest.raises(ValueError, match=f"clip={clip}"):
        fit(tiny.small_net(), clip=clip)


def test_a_net_without_parameters_cannot_be_trained(fit):
    with pytest.raises(ValueError, match="ReLU has no parameters to train"):
        fit(torch.nn.ReLU())


def test_named_losses_are_summed(tiny, fit):
    def pair(net, batch):
        error = tiny.squared_error(net, batch)
        return {"a": 0.25 * error, "b": 0.75 * error}

    single, double = tiny.small_net(), tiny.small_net()
    one, two = fit(single), fit(double, loss=pair)
    torch.testing.assert_close(tiny.weights(single), tiny.weights(double))
    assert list(one.losses) == ["loss"] and list(two.losses) == ["a", "b"]
    assert two.loss == pytest.approx([a + b for a, b in zip(two.losses["a"], two.losses["b"], strict=True)])
    assert two.losses["b"] == pytest.approx([3 * a for a in two.losses["a"]])


def test_on_step_sees_each_step(tiny, fit):
    net, seen = tiny.small_net(), []
    history = fit(net, on_step=seen.append)
    assert [progress.step for progress in seen] == list(range(1, 13))
    assert {progress.steps for progress in seen} == {12}
    assert [progress.loss for progress in seen] == history.loss
    assert [progress.lr for progress in seen] == history.lr
    assert all(progress.net is net for progress in seen)
    assert seen[-1].seconds == history.seconds > seen[0].seconds > 0
    with pytest.raises(AttributeError):
        seen[0].loss = 0.0


def test_a_callback_may_evaluate_and_draw_random_numbers(tiny, fit):
    def look(progress):
        progress.net.eval()
        torch.rand(7)

    plain, watched = tiny.small_net(0.5), tiny.small_net(0.5)
    fit(plain)
    fit(watched, on_step=look)
    assert torch.equal(tiny.weights(plain), tiny.weights(watched))


def test_the_net_trains_in_training_mode_and_comes_back_in_evaluation_mode(tiny, fit):
    net, modes = tiny.small_net().eval(), []
    fit(net, on_step=lambda progress: modes.append(progress.net.training))
    assert all(modes) and not net.training
    with pytest.raises(Stop):
        fit(net, on_step=_stop_at(2))
    assert not net.training


def test_workers_change_nothing(tiny, fit):
    here, elsewhere = tiny.small_net(), tiny.small_net()
    fit(here, steps=4)
    fit(elsewhere, steps=4, workers=2)
    assert torch.equal(tiny.weights(here), tiny.weights(elsewhere))


def test_two_processes_train_like_one(tiny, fit, capfd):
    # Forked here: spawned processes, what "ddp" uses in a script, would each import PyTorch again.
    one, two = tiny.small_net(), tiny.small_net()
    alone = fit(one, steps=6)
    shared = fit(two, steps=6, devices=2, strategy="ddp_fork")
    torch.testing.assert_close(tiny.weights(two), tiny.weights(one), rtol=1e-5, atol=1e-6)
    assert not torch.equal(tiny.weights(one), tiny.weights(tiny.small_net()))
    assert shared.loss == pytest.approx(alone.loss, rel=1e-5)
    assert not two.training
    assert capfd.readouterr() == ("", "")


def test_processes_can_be_spawned(tiny, fit, monkeypatch):
    launched = []
    monkeypatch.setattr(Fabric, "launch", lambda fabric, function, *arguments: launched.append((function, arguments)))
    with pytest.raises(FileNotFoundError):  # what the spawned process would have left
        fit(tiny.small_net(), devices=2, strategy="ddp")
    ((function, arguments),) = launched
    assert pickle.loads(pickle.dumps(function)) is function
    _, net, loss, dataset, options = pickle.loads(pickle.dumps(arguments))
    assert loss is tiny.squared_error and isinstance(dataset, tiny.Sums) and options["steps"] == 12
    assert torch.equal(tiny.weights(net), tiny.weights(tiny.small_net()))


def test_hardware_comes_from_fabric_run(tiny, fit, monkeypatch):
    expected, net = tiny.small_net(), tiny.small_net()
    fit(expected)
    for name, value in {"CLI_USED": "1", "ACCELERATOR": "cpu", "DEVICES": "1", "NUM_NODES": "1"}.items():
        monkeypatch.setenv(f"LT_{name}", value)
    fit(net, accelerator="auto")
    assert torch.equal(tiny.weights(net), tiny.weights(expected))


def test_the_progress_bar_shows_the_loss_and_goes_away(tiny, fit, capsys):
    fit(tiny.small_net(), progress=True, on_step=lambda progress: time.sleep(0.02))
    out, err = capsys.readouterr()
    assert out == ""
    assert "/12 [" in err and "loss 4." in err
    assert err.rpartition("\r")[0].rpartition("\r")[2].strip() == ""


def test_without_progress_nothing_is_printed(tiny, fit, capsys):
    fit(tiny.small_net(), progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"lr": 0.0}, "lr=0.0"),
        ({"lr": math.nan}, "lr=nan"),
        ({"seed": -1}, "seed=-1"),
        ({"warmup": -1}, "warmup=-1"),
        ({"batch_size": 3, "devices": 2}, "a batch of 3 cannot be shared equally by 2 devices"),
        ({"dataset": TensorDataset(torch.ones(47, 1))}, r"47 items; 12 steps of 4 need 48.*train\.shuffled"),
    ],
)
def test_bad_arguments_are_named(tiny, fit, change, message):
    with pytest.raises(ValueError, match=message):
        fit(tiny.small_net(), **change)


def test_no_device_is_refused(tiny, fit):
    with pytest.raises(ValueError, match="devices=0"):
        fit(tiny.small_net(), devices=0)


def test_the_rate_rises_at_its_step_though_shares_are_rounded():
    assert 29 / 100 * 100 < 29
    assert train.restarts(29 / 100, rises=(29,), steps=100, again=0.5, warmup=0) == pytest.approx(0.5)
