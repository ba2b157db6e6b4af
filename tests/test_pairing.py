"""The pairing of benchmarks: both sides run, in turn, and the table's ratio is ours to the peer's."""

import json

import pytest

from benchmarks import figures, pair, table, write


def test_both_sides_run_equally_often_and_take_turns():
    calls = []
    pair(lambda: calls.append("a"), lambda: calls.append("b"), repeats=4)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab" + "ba"


def test_the_slower_side_is_the_slower_side():
    ours, peer = pair(lambda: sum(range(10)), lambda: sum(range(300_000)), repeats=5)
    assert ours < peer


def test_the_ratio_is_ours_to_the_peers():
    lines = table([("work", 1.0, 4.0)]).splitlines()
    assert lines[1].split() == ["work", "1.0", "4.0", "0.25"]


def test_refuses_no_repeats():
    with pytest.raises(ValueError, match="repeats 0"):
        pair(lambda: None, lambda: None, repeats=0)


def test_what_is_kept_says_how_it_came_about(tmp_path):
    path = tmp_path / "gatys.json"
    write(path, figures([("work", 1.04, 4.0)]), 2.6)
    kept = json.loads(path.read_text())
    assert kept["figures"] == {"work": {"ours ms": 1.0, "peer ms": 4.0, "ratio": 0.26}}
    assert kept["command"] == "python -m benchmarks.bench_gatys --json data/results/gatys.json"
    assert kept["cost"]["seconds"] == 3
