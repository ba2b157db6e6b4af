from itertools import pairwise

import numpy as np
import pytest

from xferlib import viz


def test_a_bar_for_each_value_beside_its_neighbours():
    series = {"a": [1.0, 2.0, np.nan], "b": [3.0, 0.5, 4.0]}
    axes = viz.bars(series, ["x", "y", "z"], ylabel="IU").axes[0]
    heights = np.array([[bar.get_height() for bar in group] for group in axes.containers])
    assert np.array_equal(heights, np.array(list(series.values())), equal_nan=True)
    spans = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for group in axes.containers for bar in group)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]
    assert axes.get_ylabel() == "IU"


def test_errors_name_the_value():
    with pytest.raises(ValueError, match=r"'a' has shape \(2,\) for 3 names"):
        viz.bars({"a": [1, 2]}, ["x", "y", "z"])
    with pytest.raises(ValueError, match="no series"):
        viz.bars({}, ["x"])
