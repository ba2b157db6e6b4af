import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from xferlib import zoo
from xferlib.train import CheckpointError, History, Recipe, RecipeError, log, recipe, recipes, record


class Tiny(nn.Module):
    """One layer."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Numbers(Dataset):
    """Item i is one number and twice that number."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x = torch.rand(1, generator=torch.Generator().manual_seed(1000 * self.seed + index))
        return x, 2 * x


def _error(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (net(batch[0]) - batch[1]).square().mean()


def _evaluate(net: nn.Module, data: Path | None) -> dict:
    assert not net.training
    return {"slope": net.layer.weight.item(), "images": 3, "data": None if data is None else data.name}


@pytest.fixture
def tiny(monkeypatch, tmp_path) -> Recipe:
    """A recipe of a net of ours, run in an empty folder beside an empty zoo."""
    module = ModuleType("xferlib.nets.tiny")
    module.Tiny = Tiny
    monkeypatch.setattr(Tiny, "__module__", module.__name__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delenv("XFERLIB_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    for where in ("xferlib.zoo.manifest", "xferlib.train.recipe", "xferlib.train.record"):
        monkeypatch.setattr(sys.modules[where], "data_folder", lambda: checkout / "data")
    return Recipe(
        name="tiny-net",
        task="regression",
        chapter="none",
        net=Tiny,
        arguments={"width": 1},
        loss=_error,
        dataset=lambda data, seed: Numbers(seed),
        evaluate=_evaluate,
        steps=20,
        batch_size=2,
        data="drawn numbers",
        terms="our own",
        lr=0.1,
        seed=5,
    )


def _run(of: Recipe, **changes) -> zoo.Row:
    return recipe.run(of, **{"accelerator": "cpu", "progress": False, **changes})


def _stopping() -> tuple[list, Callable]:
    """Give a loss that is interrupted at its 13th call, and the list of its batches."""
    asked = []

    def stopping(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        asked.append(batch)
        if len(asked) == 13:
            raise KeyboardInterrupt
        return _error(net, batch)

    stopping.__qualname__ = _error.__qualname__
    return asked, stopping


def test_a_net_is_applied_as_its_recipe_says(tiny):
    row = _run(replace(tiny, task="segmentation", views=8, pixels=(300, 400)))
    assert (row.views, row.pixels) == (8, (300, 400)) and zoo.row("tiny-net") == row
    assert (_run(tiny).views, _run(tiny).pixels) == (1, ())


def test_a_run_leaves_net_and_record(tiny, tmp_path):
    row = _run(tiny)
    assert zoo.rows() == [row]
    assert (row.net, row.recipe, row.seed, row.data) == ("tiny.Tiny", "tiny-net", 5, "drawn numbers")
    found = json.loads((tmp_path / "checkout/data/results/tiny-net.json").read_text())
    assert found["command"] == "xferlib train tiny-net"
    assert found["seed"] == 5 and found["steps"] == 20
    assert found["figures"] == row.result and found["cost"] == row.cost
    assert row.cost["seconds"] >= 0 and "CPU" in row.cost["hardware"]
    assert row.commit == found["commit"]


def test_the_curve_of_the_losses_goes_into_the_manifest(tiny):
    row = _run(tiny)
    losses = [float(line["loss"]) for line in log.read(Path("runs/tiny-net/log.csv"))]
    assert len(losses) == 20 and row.curve == pytest.approx(losses, rel=1e-3)
    assert zoo.row("tiny-net").curve == row.curve
    assert record.curve([4.0, 2.0, 1.0, 1.0, 6.0], 2) == [2.333, 3.5] and record.curve([1.0], 2) == [1.0]


def test_what_is_measured_is_what_is_shipped(tiny):
    measured = []

    def spy(net, data):
        measured.append(net.layer.weight.item())
        return _evaluate(net, data)

    row = _run(replace(tiny, evaluate=spy))
    slope = zoo.load("tiny-net").layer.weight.item()
    assert measured == [slope]
    assert row.result == {"slope": float(f"{slope:.4g}"), "images": 3, "data": None}


def test_the_same_recipe_makes_the_same_net(tiny):
    assert _run(tiny).sha256 == _run(tiny).sha256


def test_the_seed_chooses_samples_first_weights_and_training(tiny):
    drawn, first = [], []

    def loss(net, batch):
        first.append(net.layer.weight.item())
        return _error(net, batch)

    spied = replace(tiny, steps=1, loss=loss, dataset=lambda data, seed: drawn.append(seed) or Numbers(seed))
    rows = [_run(spied), _run(spied), _run(spied, seed=6)]
    assert drawn == [5, 5, 6] and [row.seed for row in rows] == [5, 5, 6]
    assert first[0] == first[1] != first[2]


@pytest.mark.parametrize(
    ("change", "command"),
    [
        ({"steps": 3}, "xferlib train tiny-net --steps 3"),
        ({"seed": 9}, "xferlib train tiny-net --seed 9"),
        ({"data": "mine"}, "xferlib train tiny-net --data mine"),
        ({"precision": "bf16-mixed"}, "xferlib train tiny-net --precision bf16-mixed"),
    ],
)
def test_a_run_that_departs_from_the_recipe_spares_the_shipped_net(tiny, tmp_path, change, command):
    _run(tiny, **change)
    assert zoo.rows() == []
    folder = tmp_path / "runs" / "tiny-net"
    assert zoo.load("tiny-net", folder).layer.weight.shape == (1, 1)
    assert json.loads((folder / "tiny-net.json").read_text())["command"] == command


def test_a_run_does_not_take_the_place_of_another(tiny, tmp_path):
    _run(tiny, steps=2)
    with pytest.raises(
        RecipeError, match=r"holds what 'xferlib train tiny-net --steps 2' made.* --steps 3' would take"
    ):
        _run(tiny, steps=3)
    assert _run(tiny, steps=2) == zoo.rows("runs/tiny-net")[0]
    assert _run(tiny, steps=3, out="mine").seed == 5 and _run(tiny, steps=3, smoke=True).result == {"steps": 2}
    assert json.loads((tmp_path / "runs/tiny-net/tiny-net.json").read_text())["steps"] == 2


def test_a_net_that_is_not_shipped_leaves_its_record_alone(tiny, tmp_path):
    _run(replace(tiny, shipped=False))
    assert zoo.rows() == [] and (tmp_path / "checkout/data/results/tiny-net.json").exists()
    assert zoo.load("tiny-net", "runs/tiny-net").layer.weight.shape == (1, 1)
    with pytest.raises(RecipeError, match="runs/tiny-net holds what 'xferlib train tiny-net' made"):
        _run(replace(tiny, shipped=False), steps=3)


def test_what_cannot_be_told_is_spared(tiny):
    Path("runs/tiny-net").mkdir(parents=True)
    Path("runs/tiny-net/tiny-net.json").write_text("{}")
    with pytest.raises(RecipeError, match="holds what 'another command' made"):
        _run(tiny, steps=2)


def test_a_recipe_of_drawn_pictures_takes_no_data(tiny):
    with pytest.raises(RecipeError, match=r"--data mine: 'tiny-net' learns from drawn pictures alone"):
        _run(replace(tiny, drawn=True), data="mine")
    assert not Path("runs").exists()


@pytest.mark.parametrize(("processes", "batch_size"), [(3, 6), (4, 8)])
def test_a_trial_gives_each_process_something(tiny, monkeypatch, processes, batch_size):
    asked = []
    monkeypatch.setattr(recipe, "fit", lambda *args, **options: asked.append(options["batch_size"]) or History([1.0]))
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    _run(replace(tiny, batch_size=10), smoke=True)  # nobody has started processes
    monkeypatch.setenv("LT_CLI_USED", "1")
    _run(replace(tiny, batch_size=12), smoke=True)
    assert asked == [2, batch_size]
    for smoke in (True, False):
        with pytest.raises(
            RecipeError, match=f"--devices {processes}: they cannot share a batch of 10 .*; 1, 2, 5, 10"
        ):
            _run(replace(tiny, batch_size=10), smoke=smoke)


def test_out_takes_net_and_record(tiny, tmp_path):
    _run(tiny, out=tmp_path / "mine", steps=2)
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        "tiny-net.safetensors", "manifest.json", "tiny-net.json",
    }  # fmt: skip
    assert zoo.rows() == []


def test_a_run_that_is_broken_off_goes_on(tiny, tmp_path):
    whole = _run(tiny)
    checkpoint = tmp_path / "runs" / "tiny-net" / "steps20-seed5.pt"
    assert not checkpoint.exists()
    asked, stopping = _stopping()
    with pytest.raises(KeyboardInterrupt):
        _run(replace(tiny, loss=stopping, options={"save_every": 0.0}))
    assert torch.load(checkpoint, weights_only=True)["step"] == 12
    resumed = _run(replace(tiny, loss=stopping))
    assert len(asked) == 13 + 8
    assert resumed.sha256 == whole.sha256 and not checkpoint.exists()


def test_a_run_on_other_pictures_does_not_go_on_from_the_checkpoint_of_these(tiny, tmp_path, monkeypatch):
    asked, stopping = _stopping()
    with pytest.raises(KeyboardInterrupt):
        _run(replace(tiny, loss=stopping, options={"save_every": 0.0}), data="one")
    with pytest.raises(RecipeError, match="there is no checkpoint to go on from"):
        _run(tiny, data="other", resume=True)
    _run(replace(tiny, loss=stopping), data="other", out="elsewhere")
    assert len(asked) == 13 + 20
    monkeypatch.chdir(tmp_path / "runs")
    _run(replace(tiny, loss=stopping), data="../one", runs=".", resume=True)
    assert len(asked) == 13 + 20 + 8


def test_each_step_is_logged_once_though_the_run_was_broken_off(tiny, tmp_path):
    _, stopping = _stopping()
    with pytest.raises(KeyboardInterrupt):
        _run(replace(tiny, loss=stopping, options={"save_every": 0.0}))
    _run(tiny, resume=True)
    lines = log.read(tmp_path / "runs" / "tiny-net" / "log.csv")
    assert [int(line["step"]) for line in lines] == list(range(1, 21))
    assert float(lines[-1]["loss"]) < float(lines[0]["loss"])


def test_resuming_insists_on_a_checkpoint(tiny):
    with pytest.raises(RecipeError, match=r"steps20-seed5.pt: there is no checkpoint .* start without --resume"):
        _run(tiny, resume=True)
    assert zoo.rows() == []


def test_a_smoke_run_takes_two_steps_and_spares_everything(tiny, tmp_path):
    asked = []

    def loss(net, batch):
        asked.append(len(batch[0]))
        return _error(net, batch)

    row = _run(replace(tiny, loss=loss, batch_size=50, evaluate=None), smoke=True)
    assert asked == [2, 2] and row.result == {"steps": 2}
    assert zoo.rows() == [] and zoo.rows(tmp_path / "runs/tiny-net/smoke") == [row]
    assert not list((tmp_path / "runs").rglob("*.pt"))


def test_a_failing_evaluation_costs_no_training(tiny):
    def fails(net, data):
        raise FileNotFoundError("no validation frames")

    with pytest.raises(FileNotFoundError):
        _run(replace(tiny, evaluate=fails))

    def again(net, batch):
        pytest.fail("trained again")

    again.__qualname__ = _error.__qualname__
    assert _run(replace(tiny, loss=again)).seed == 5


def test_a_checkpoint_of_a_changed_recipe_is_refused(tiny):
    with pytest.raises(ZeroDivisionError):
        _run(replace(tiny, evaluate=lambda net, data: 1 / 0))
    with pytest.raises(CheckpointError, match=r"lr was 0\.1 and is now 0\.3"):
        _run(replace(tiny, lr=0.3))


def test_real_data_comes_from_the_argument_or_the_environment(tiny, tmp_path, monkeypatch):
    seen = []
    spied = replace(tiny, steps=1, dataset=lambda data, seed: seen.append(data) or Numbers(seed))
    assert _run(spied).result["data"] is None
    monkeypatch.setenv("XFERLIB_DATA", str(tmp_path / "environment"))
    assert _run(spied).result["data"] == "environment"
    assert _run(spied, data=tmp_path / "argument").result["data"] == "argument"
    assert seen == [None, tmp_path / "environment", tmp_path / "argument"]


def test_options_reach_fit(tiny):
    with pytest.raises(ValueError, match="warmup=-1"):
        _run(replace(tiny, options={"warmup": -1}))


def test_an_unusable_folder_is_found_out_before_training(tiny, tmp_path):
    (tmp_path / "file").touch()
    untrained = replace(tiny, dataset=lambda data, seed: pytest.fail("went on"))
    with pytest.raises(FileExistsError):
        _run(untrained, out=tmp_path / "file")


@pytest.fixture
def cookbook(tiny, monkeypatch, tmp_path):
    """Two modules of recipes: one with a single recipe and a family."""
    folder = tmp_path / "cookbook"
    folder.mkdir()
    for name in ("tiny_net", "family", "_private"):
        (folder / f"{name}.py").touch()
    modules = {"tiny_net": {"RECIPE": tiny}}
    modules["family"] = {"RECIPES": (replace(tiny, name="small-a"), replace(tiny, name="small-b"))}
    for name, content in modules.items():
        module = ModuleType(f"xferlib.train.recipes.{name}")
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(recipes, "__path__", [str(folder)])
    return tiny


def test_recipes_are_found_by_name(cookbook):
    assert [found.name for found in recipes.every()] == ["small-a", "small-b", "tiny-net"]
    assert recipes.find("tiny-net") is cookbook
    assert recipes.find("small-b").name == "small-b"


def test_finding_a_recipe_imports_its_module_alone(cookbook, monkeypatch):
    monkeypatch.delitem(sys.modules, "xferlib.train.recipes.family")
    assert recipes.find("tiny-net") is cookbook
    assert "xferlib.train.recipes.family" not in sys.modules


def test_an_unknown_recipe_gets_the_closest(cookbook):
    with pytest.raises(RecipeError, match="'tiny'; did you mean 'tiny-net'\\? there are: small-a, small-b, tiny-net"):
        recipes.find("tiny")


def test_the_recipes_of_the_house_fit_together():
    for found in recipes.every():
        assert recipes.find(found.name) == found
        assert found.net.__module__.startswith("xferlib.nets.")
        assert found.data and found.terms and json.dumps(dict(found.arguments))
        assert recipe._first_net(found, found.seed).training
