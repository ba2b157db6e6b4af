"""The drawing of what a pooling reads, held against the pooling itself."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.patches import Rectangle

from xferlib import viz

MAP = torch.arange(36.0).view(6, 6)
BOX = (0.6, 1.3, 3.9, 4.2)


def drawn(figure, column, columns):
    axes = figure.axes[column]
    boxes = [p.get_bbox().bounds for p in axes.patches if isinstance(p, Rectangle)]
    points = [tuple(p) for line in axes.lines for p in line.get_xydata()]
    output = [float(text.get_text()) for text in figure.axes[columns + column].texts]
    return boxes[1:], points, output


def test_the_bins_of_roipool_hold_its_maxima():
    bins, points, output = drawn(viz.roi(MAP, BOX, 2), 0, 2)
    assert not points
    for (x, y, width, height), value in zip(bins, output, strict=True):
        inside = MAP[int(y) : int(y + height), int(x) : int(x + width)]
        assert value == inside.max().item()


@pytest.mark.parametrize("way", ["warp", "align"])
def test_the_samples_average_to_the_output(way):
    ramp = torch.arange(6.0).repeat(6, 1) + 0.5  # reads its own x
    bins, points, output = drawn(viz.roi(ramp, BOX, 2, [way]), 0, 1)
    for (x, y, width, height), value in zip(bins, output, strict=True):
        inside = [px for px, py in points if x < px < x + width and y < py < y + height]
        assert len(inside) == 4
        assert value == pytest.approx(sum(inside) / 4, abs=0.006)


def test_bad_choices_are_named():
    with pytest.raises(ValueError, match="'max' is not known"):
        viz.roi(MAP, BOX, ways=["max"])
    with pytest.raises(ValueError, match=r"\(1, 6, 6\)"):
        viz.roi(MAP[None], BOX)


def test_a_plot_takes_any_floats_and_leaves_no_figure_open():
    box = (0.0, 0.0, 3.0, 3.0)
    for values in (torch.rand(4, 4, requires_grad=True), torch.rand(4, 4).bfloat16(), torch.ones(4, 4).long()):
        assert viz.roi(values, box).axes
    with pytest.raises(ValueError, match="no way is given; choose among"):
        viz.roi(torch.rand(4, 4), box, ways=())
    with pytest.raises(TypeError):
        viz.bars({"a": [object()]}, ["b"])
    assert plt.get_fignums() == []
