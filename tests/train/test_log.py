"""The log of a training, whole, resumed, and cut off."""

import pytest
from torch import nn

from xferlib.train.fit import Progress
from xferlib.train.log import Log, read


def step(number: int, steps: int = 9, **losses: float) -> Progress:
    losses = losses or {"loss": 0.5}
    return Progress(number, steps, sum(losses.values()), losses, 1e-3, 0.25 * number, nn.Identity())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.csv"


def test_each_step_has_a_line(path):
    log = Log(path)
    for number in (1, 2):
        log(step(number))
    log.close()
    assert path.read_bytes() == b"step,seconds,lr,loss\r\n1,0.25,0.001,0.5\r\n2,0.5,0.001,0.5\r\n"
    assert read(path)[1] == {"step": "2", "seconds": "0.5", "lr": "0.001", "loss": "0.5"}


def test_terms_have_columns_of_their_own(path):
    log = Log(path)
    log(step(1, content=0.25, style=0.5))
    log.close()
    (line,) = read(path)
    assert list(line) == ["step", "seconds", "lr", "loss", "content", "style"]
    assert (line["loss"], line["content"], line["style"]) == ("0.75", "0.25", "0.5")


def test_a_run_that_goes_on_replaces_what_lies_after_the_checkpoint(path):
    first = Log(path)
    for number in range(1, 7):
        first(step(number, loss=1.0))
    first.close()
    second = Log(path)
    for number in range(4, 10):
        second(step(number, loss=2.0))
    second.close()
    assert [(int(line["step"]), float(line["loss"])) for line in read(path)] == [
        *((number, 1.0) for number in range(1, 4)),
        *((number, 2.0) for number in range(4, 10)),
    ]


def test_a_fresh_run_begins_a_fresh_log(path):
    for _ in range(2):
        log = Log(path)
        log(step(1))
        log.close()
    assert len(read(path)) == 1


def test_the_last_step_is_on_disk_before_the_log_is_closed(path):
    log = Log(path)
    for number in range(1, 10):
        log(step(number))
    assert len(read(path)) == 9
    log.close()


def test_a_line_that_was_cut_off_is_left_out(path):
    log = Log(path)
    for number in (1, 2, 3):
        log(step(number))
    log.close()
    content = path.read_bytes()
    path.write_bytes(content[:-12])
    assert [line["step"] for line in read(path)] == ["1", "2"]
    resumed = Log(path)
    resumed(step(3))
    resumed.close()
    assert [line["step"] for line in read(path)] == ["1", "2", "3"]


def test_no_file_has_no_lines(path):
    assert read(path) == []
    Log(path).close()
    assert not path.exists()


def test_each_line_is_on_disk_at_once(path):
    log = Log(path)
    for number in (1, 2, 3):
        log(step(number))
        assert len(read(path)) == number
    log.close()


def test_a_line_cut_within_its_last_number_is_left_out(path):
    log = Log(path)
    for number in (1, 2):
        log(step(number, loss=0.125))
    log.close()
    path.write_bytes(path.read_bytes()[:-4])  # 0.125 has become 0.1
    assert [line["loss"] for line in read(path)] == ["0.125"]


def test_a_log_that_cannot_be_rewritten_keeps_its_lines(path, monkeypatch):
    first = Log(path)
    for number in (1, 2, 3):
        first(step(number))
    first.close()

    def full(self, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        Log(path)(step(3))
    assert len(read(path)) == 3 and list(path.parent.iterdir()) == [path]


def test_lines_stay_where_the_last_before_the_checkpoint_was_lost(path):
    """The checkpoint of a step is written before its line, and a crash may fall between them."""
    for first, last in ((1, 4), (6, 7)):
        log = Log(path)
        for number in range(first, last + 1):
            log(step(number))
        log.close()
    assert [int(line["step"]) for line in read(path)] == [1, 2, 3, 4, 6, 7]
