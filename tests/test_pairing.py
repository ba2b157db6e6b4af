"""The pairing of benchmarks: both sides run, in turn, and the table's ratio is ours to the peer's."""

import pytest

from benchmarks import pair, table


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
