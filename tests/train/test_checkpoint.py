import pickle

import pytest
import torch

from xferlib.train import CheckpointError
from xferlib.train.checkpoint import read, write

RUN = {"lr": 0.1, "steps": 5}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "new" / "run.pt"
    write(path, {"run": RUN, "net": {"w": torch.arange(3)}, "loss": [1.5]})
    state = read(path, RUN)
    assert state["loss"] == [1.5] and torch.equal(state["net"]["w"], torch.arange(3))


def test_no_file_is_no_checkpoint(tmp_path):
    assert read(tmp_path / "run.pt", RUN) is None


def test_every_difference_is_named(tmp_path):
    path = tmp_path / "run.pt"
    write(path, {"run": RUN})
    with pytest.raises(CheckpointError, match=r"lr was 0\.1 and is now 0\.2; seed was None and is now 7.*delete"):
        read(path, {**RUN, "lr": 0.2, "seed": 7})


def test_a_write_that_breaks_off_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    write(path, {"run": RUN, "step": 1})

    def breaks_off(_, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", breaks_off)
    with pytest.raises(OSError, match="disk full"):
        write(path, {"run": RUN, "step": 2})
    assert read(path, RUN)["step"] == 1


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps({"run": RUN})])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "run.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"run\.pt is no checkpoint"):
        read(path, RUN)


@pytest.mark.parametrize("state", [torch.ones(3), [1, 2], {"run": 3}, {"run": "abc"}, {"step": 1}])
def test_a_file_of_something_else_is_refused(tmp_path, state):
    path = tmp_path / "run.pt"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"run\.pt is no checkpoint"):
        read(path, RUN)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        read(tmp_path, RUN)


class Bomb:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_reading_runs_no_code(tmp_path):
    path, trace = tmp_path / "run.pt", tmp_path / "trace"
    torch.save({"run": RUN, "bomb": Bomb(trace)}, path)
    with pytest.raises(CheckpointError):
        read(path, RUN)
    assert not trace.exists()


def test_a_write_that_breaks_off_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "run.pt", {"run": RUN})
    assert list(tmp_path.iterdir()) == []
