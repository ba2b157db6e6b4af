import json
import sys

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from xferlib import cli
from xferlib.train import Study, recipes, record, study
from xferlib.train.fit import History


class Numbers(Dataset):
    """Item i is one number and twice that number."""

    def __getitem__(self, index):
        x = torch.rand(1, generator=torch.Generator().manual_seed(index))
        return x, 2 * x


def _loss(net, batch):
    return (net(batch[0]) - batch[1]).square().mean()


def _slopes(train, seed):
    slopes = {}
    for name, rate in (("slow", 0.01), ("fast", 0.1)):
        torch.manual_seed(seed)
        net = nn.Linear(1, 1)
        train(name, net, _loss, Numbers(), steps=20, batch_size=2, lr=rate, seed=seed)
        slopes[name] = net.weight.item()
    return slopes


TINY = Study(name="tiny-study", chapter="none", measure=_slopes, data="drawn numbers")


@pytest.fixture
def checkout(monkeypatch, tmp_path):
    """An empty repository, and the study among the recipes."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    monkeypatch.setattr(record, "data_folder", lambda: folder / "data")
    monkeypatch.chdir(tmp_path)
    return folder


def _run(of=TINY, **options):
    return study.run(of, accelerator="cpu", progress=False, **options)


def test_devices_that_cannot_share_a_batch_are_refused(checkout, monkeypatch, capsys):
    monkeypatch.setattr(recipes, "find", lambda name: TINY)
    assert cli.main(["train", "tiny-study", "--devices", "3", "--device", "cpu"]) == 2
    assert "--devices 3: they cannot share a batch of 2 equally; 1, 2 can" in capsys.readouterr().err


def test_a_study_leaves_its_figures_and_nothing_else(checkout, tmp_path):
    found = _run()
    path = checkout / "data/results/tiny-study.json"
    assert json.loads(path.read_text()) == found
    assert found["command"] == "xferlib train tiny-study"
    assert found["figures"].keys() == {"slow", "fast"}
    assert list((tmp_path / "runs/tiny-study").iterdir()) == []


def test_the_seed_decides_and_another_seed_spares_the_record(checkout, tmp_path):
    first, again, other = _run(), _run(), _run(seed=1)
    assert first["figures"] == again["figures"] != other["figures"]
    assert other["command"] == "xferlib train tiny-study --seed 1"
    assert json.loads((checkout / "data/results/tiny-study.json").read_text()) == again
    assert (tmp_path / "runs/tiny-study/tiny-study.json").is_file()


def test_a_study_that_was_killed_goes_on_with_what_it_had(checkout, tmp_path):
    whole = _run(out=tmp_path / "whole")

    def dying(train, seed):
        slopes = _slopes(train, seed)
        raise KeyboardInterrupt(slopes)

    with pytest.raises(KeyboardInterrupt):
        _run(Study(name="tiny-study", chapter="none", measure=dying, data=""))
    kept = sorted(path.name for path in (tmp_path / "runs/tiny-study").iterdir())
    assert kept == ["fast-seed0.pt", "slow-seed0.pt"]

    def no_samples(self, index):
        raise AssertionError("a finished training starts again")

    Numbers.__getitem__, draw = no_samples, Numbers.__getitem__
    try:
        assert _run()["figures"] == whole["figures"]
    finally:
        Numbers.__getitem__ = draw


def test_only_the_first_of_several_processes_writes(checkout, monkeypatch, tmp_path):
    ranks = {"second": 1, "first": 0}
    for name, rank in ranks.items():
        with monkeypatch.context() as patch:
            patch.setattr(study.record, "rank_and_processes", lambda rank=rank: (rank, 2))
            _run(out=tmp_path / name)
    assert [name for name in ranks if (tmp_path / name / "tiny-study.json").exists()] == ["first"]


def test_the_command_runs_a_study(checkout, monkeypatch, capsys):
    monkeypatch.setattr(recipes, "find", lambda name: TINY)
    assert cli.main(["train", "tiny-study", "--device", "cpu"]) == 0
    assert '"slow"' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["train", "tiny-study", "--steps", "x"])
    assert cli.main(["train", "tiny-study", "--steps", "3"]) == 2
    assert "tiny-study is a study" in capsys.readouterr().err


def test_every_study_is_found_by_its_name():
    for found in recipes.studies():
        assert recipes.find(found.name) is found
        assert found.name in {f.name for f in vars(sys.modules[found.measure.__module__])["STUDIES"]}


def test_its_cost_is_all_its_time_and_that_of_runs_that_were_killed(checkout, monkeypatch):
    clock = iter((0.0, 10.0, 12.0, 30.0))  # start, training from 10 to 12, end
    monkeypatch.setattr(study, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(study, "fit", lambda *arguments, **options: History(seconds=102.0))

    def measure(train, seed):
        train("only", nn.Linear(1, 1), _loss, Numbers(), steps=1, batch_size=1)
        return {"figure": 1.0}

    found = _run(Study(name="tiny-study", chapter="none", measure=measure, data="drawn numbers"))
    assert found["cost"]["seconds"] == 30 + 100
