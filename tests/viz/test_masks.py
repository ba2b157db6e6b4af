import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.pylabtools import print_figure

from xferlib import viz
from xferlib.viz import masks

PALETTE = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)


def test_colorize_looks_the_colours_up():
    picture = viz.colorize(torch.tensor([[0, 1], [2, 0]]), PALETTE)
    assert picture.dtype == torch.float32
    assert torch.equal(picture[:, 0, 0], torch.tensor([1.0, 0, 0]))
    assert torch.equal(picture[:, 0, 1], torch.tensor([0, 1.0, 0]))
    assert torch.equal(picture[:, 1, 0], torch.tensor([0, 0, 1.0]))
    assert torch.equal(viz.colorize(np.array([[0, 1], [2, 0]]), PALETTE), picture)


def test_void_is_hatched_grey_and_like_no_class():
    picture = viz.colorize(torch.full((12, 12), 255), PALETTE)
    assert torch.equal(picture[0], picture[1]) and torch.equal(picture[1], picture[2])
    assert len(picture.unique()) == 2
    assert picture.min() > 0 and picture.max() < 1


@pytest.mark.parametrize("label", [3, 254, -1])
def test_a_label_without_a_colour_is_an_error(label):
    with pytest.raises(ValueError, match=rf"label {label} has no colour in a palette of 3"):
        viz.colorize(torch.tensor([[0, label]]), PALETTE)


def test_scores_are_not_labels():
    with pytest.raises(ValueError, match=r"\(3, 4, 4\).*torch.float32.*\(H, W\) of integers"):
        viz.colorize(torch.rand(3, 4, 4), PALETTE)


@given(st.floats(0, 1))
def test_overlay_mixes_and_leaves_void_alone(alpha):
    image = torch.full((3, 1, 2), 0.5)
    labels = torch.tensor([[0, 255]])
    mixed = viz.overlay(image, labels, PALETTE, alpha)
    expected = torch.tensor([0.5 + alpha * 0.5, 0.5 - alpha * 0.5, 0.5 - alpha * 0.5])
    assert torch.allclose(mixed[:, 0, 0], expected, atol=1e-6)
    assert torch.equal(mixed[:, 0, 1], image[:, 0, 1])
    assert torch.equal(image, torch.full((3, 1, 2), 0.5))


def test_overlay_refuses_other_sizes_and_weights():
    with pytest.raises(ValueError, match=r"\(3, 4, 4\) with labels \(4, 5\)"):
        viz.overlay(torch.rand(3, 4, 4), torch.zeros(4, 5, dtype=torch.long), PALETTE)
    with pytest.raises(ValueError, match=r"alpha 1\.5"):
        viz.overlay(torch.rand(3, 4, 4), torch.zeros(4, 4, dtype=torch.long), PALETTE, 1.5)


def test_contours_stand_on_both_sides_of_a_border_and_nowhere_else():
    image = torch.full((3, 5, 8), 0.25)
    labels = torch.zeros(5, 8, dtype=torch.long)
    labels[:, 4:] = 1
    drawn = viz.contours(image, labels, PALETTE)
    assert torch.equal(drawn[:, :, 3], torch.tensor([1.0, 0, 0])[:, None].expand(3, 5))
    assert torch.equal(drawn[:, :, 4], torch.tensor([0, 1.0, 0])[:, None].expand(3, 5))
    others = [0, 1, 2, 5, 6, 7]
    assert torch.equal(drawn[:, :, others], image[:, :, others])
    wide = viz.contours(image, labels, PALETTE, width=2)
    assert [(wide[:, 0, x] != 0.25).any().item() for x in range(8)] == [x in (2, 3, 4, 5) for x in range(8)]


@pytest.mark.parametrize("draw", [viz.overlay, viz.contours])
def test_images_and_labels_of_another_device_are_fetched(draw, elsewhere):
    image, labels = torch.rand(3, 4, 5), torch.arange(20).view(4, 5) // 7
    assert torch.equal(draw(elsewhere(image), elsewhere(labels), PALETTE), draw(image, labels, PALETTE))
    assert not draw(image.requires_grad_(), labels, PALETTE).requires_grad


def test_heat_is_darkest_low_and_brightest_high_and_can_be_fixed():
    values = torch.tensor([[0.0, 1.0], [2.0, 4.0]])
    light = viz.heat(values).sum(0)
    assert light.argmin() == 0 and light.argmax() == 3
    assert torch.equal(viz.heat(values + 7), viz.heat(values))
    assert torch.equal(viz.heat(values, 0, 4), viz.heat(values))
    assert not torch.equal(viz.heat(values, 0, 8), viz.heat(values))
    assert viz.heat(torch.ones(2, 2)).isfinite().all()
    with pytest.raises(ValueError, match="nan or infinity"):
        viz.heat(torch.tensor([[0, float("nan")]]))


@pytest.mark.parametrize("count", [1, 8, 9, 20])
def test_palette_colours_differ(count):
    colors = viz.palette(count)
    assert colors.dtype == np.uint8 and colors.shape == (count, 3)
    assert len(np.unique(colors, axis=0)) == count


@pytest.mark.parametrize("count", [0, 21])
def test_palette_has_its_limits(count):
    with pytest.raises(ValueError, match=f"{count} classes"):
        viz.palette(count)


def test_legend_has_each_name_in_its_colour():
    figure = viz.legend(["a", "b", "c"], PALETTE)
    assert print_figure(figure), "a notebook leaves out a figure without axes"
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c"]
    faces = [patch.get_facecolor()[:3] for patch in legend.get_patches()]
    assert np.allclose(faces, PALETTE / 255)
    with pytest.raises(ValueError, match="2 names for 3 colours"):
        viz.legend(["a", "b"], PALETTE)


def test_the_default_colours_survive_colour_blindness():
    """Simulate deuteranopia in linear RGB (Vienot et al. 1999) and ask for a visible distance."""
    colors = masks.palette(8) / 255
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    simulate = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    seen = np.clip(linear @ simulate.T, 0, 1) ** (1 / 2.2)
    distance = np.linalg.norm(seen[:, None] - seen, axis=-1) + 9 * np.eye(8)
    assert distance.min() > 0.1


@pytest.mark.parametrize(
    "paint", [viz.overlay, viz.contours, lambda image, labels, palette: viz.objects(image, labels)]
)
def test_bytes_are_not_painted_on(paint):
    labels, palette = torch.zeros(6, 6, dtype=torch.int64), np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"images are torch.uint8; expected floats"):
        paint(torch.zeros(3, 6, 6, dtype=torch.uint8), labels, palette)
    assert paint(torch.zeros(3, 6, 6, dtype=torch.float64), labels, palette).dtype == torch.float32


def test_the_darkest_value_lies_below_the_brightest():
    with pytest.raises(ValueError, match="low 1 is above high 0"):
        viz.heat(torch.rand(3, 3), 1, 0)
