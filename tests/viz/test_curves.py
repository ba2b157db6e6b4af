from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferlib import viz
from xferlib.viz.curves import smoothed

series = st.lists(st.floats(-10, 10), min_size=1, max_size=30)


@given(series, st.floats(0, 0.99))
def test_smoothing_is_a_weighted_mean_of_the_past(values, weight):
    powers = weight ** np.arange(len(values))
    powers[0] = 1.0
    expected = [np.average(values[: t + 1], weights=powers[: t + 1][::-1]) for t in range(len(values))]
    assert np.allclose(smoothed(values, weight), expected)


def test_smoothing_by_hand():
    assert np.allclose(smoothed([1.0, 4.0], 0.5), [1, (0.25 * 1 + 0.5 * 4) / 0.75])
    assert np.array_equal(smoothed([[1, 2], [3, 4]], 0), [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match=r"weight 1\.0"):
        smoothed([1, 2], 1.0)


def test_each_run_has_its_curve_and_its_name_in_its_colour():
    values = {"a": [3.0, 2.0, 1.0], "b": [[1.0, 1.0, 1.0], [3.0, 3.0, 3.0]]}
    figure = viz.curves(values, smoothing=0, steps=[10, 20, 30], log=True, ylabel="IU", xlabel="image")
    axes = figure.axes[0]
    a, b = axes.lines
    assert a.get_xdata().tolist() == [10, 20, 30] and a.get_ydata().tolist() == [3, 2, 1]
    assert b.get_ydata().tolist() == [2, 2, 2]
    names = {text.get_text(): text.get_color() for text in axes.texts}
    assert names == {"a": a.get_color(), "b": b.get_color()}
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("image", "IU", "log")
    assert not plt.get_fignums()


def test_names_of_close_ends_do_not_overlap():
    figure = viz.curves({name: [1.0, 1.0 + 1e-4 * i] for i, name in enumerate("abcd")})
    figure.draw_without_rendering()
    boxes = sorted((text.get_window_extent() for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))


@pytest.mark.parametrize(
    ("runs", "steps", "words"),
    [({}, None, "no run"), ({"a": []}, None, "'a'"), ({"a": [1, 2]}, [1], r"'a' has shape \(1, 2\) at 1 steps")],
)
def test_errors_name_the_run(runs, steps, words):
    with pytest.raises(ValueError, match=words):
        viz.curves(runs, steps=steps)
    assert not plt.get_fignums()


def test_style_can_be_set_and_draws_on_white():
    with plt.rc_context():
        viz.style()
        figure = viz.curves({"a": [1, 2]})
        assert figure.get_facecolor() == (1, 1, 1, 1)
        assert not figure.axes[0].spines["top"].get_visible()


def test_no_figure_stays_open():
    viz.curves({"a": [1.0, 2.0]})
    with pytest.raises(ValueError, match=r"weight 2"):
        viz.curves({"a": [1.0, 2.0]}, smoothing=2)
    assert plt.get_fignums() == []
