import re

import matplotlib.pyplot as plt
import pytest
import torch
from bs4 import BeautifulSoup

from xferlib import widgets
from xferlib.widgets.explore import Control


def shade(gain, tint="grey"):
    image = torch.full((3, 8, 16), float(gain))
    if tint == "red":
        image = image * torch.tensor([1.0, 0, 0])[:, None, None]
    return image


def words(gain, tint="grey"):
    return f'A "{tint}" picture at {gain:g}.'


def page_of(widget):
    return BeautifulSoup(widget._repr_mimebundle_()["text/html"], "html.parser")


def test_one_bundle_has_the_live_view_and_the_page():
    data = widgets.explore(shade, alt=words, gain=[0, 1])._repr_mimebundle_()
    assert data["text/plain"] == 'explore gain (2): A "grey" picture at 0.'
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert "<script" not in data["text/html"]


def test_the_page_holds_every_setting_in_order_and_each_picture_once():
    page = page_of(widgets.explore(shade, alt=words, gain=[0, 0.5, 1], tint=["grey", "red"]))
    frames = page.select(".xf-frames > i")
    assert [frame["data-alt"] for frame in frames] == [
        words(gain, tint) for gain in (0, 0.5, 1) for tint in ("grey", "red")
    ]
    # Black is black in either tint, and the first picture stands in the image already.
    assert [frame["data-frame"][:2] for frame in frames] == ["#0", "#0", "da", "da", "da", "da"]
    image = page.select_one("img")
    assert image["src"].startswith("data:image/png;base64,") and image["alt"] == words(0)


def test_numbers_give_a_slider_and_words_a_menu_both_named():
    page = page_of(widgets.explore(shade, alt=words, gain={"low": 0.25, "high": 0.75}, tint=["grey", "red"]))
    slider, menu = page.select_one("label input"), page.select_one("label select")
    assert slider.find_parent("label").get_text() == "gain"
    assert (slider["min"], slider["max"], slider["aria-valuetext"]) == ("0", "1", "low")
    assert menu.find_parent("label").span.get_text() == "tint"
    assert [option.get_text() for option in menu.select("option")] == ["grey", "red"]
    assert page.select_one("figcaption")["aria-live"] == "polite"
    assert page.select_one(".xf-controls").has_attr("hidden")


def test_figures_labels_and_html_can_be_rendered():
    def plot(scale):
        figure = plt.figure(figsize=(2, 1))
        figure.gca().plot([0, scale])
        return figure

    image = page_of(widgets.explore(plot, alt="A line.", scale=[1, 2])).select_one("img")
    assert (image["width"], image["height"]) == ("192", "96")
    assert not plt.get_fignums()
    labels = widgets.explore(lambda n: torch.arange(6).reshape(2, 3) % n, alt="Stripes.", n=[2, 3])
    assert page_of(labels).select_one("img")["width"] == str(640 // 3 * 3)
    table = page_of(widgets.explore(lambda n: f"<b>{n} & more</b>", alt="A number.", n=[1, 2]))
    assert table.select_one(".xf-stage b").get_text() == "1 & more"
    assert [frame["data-html"] for frame in table.select(".xf-frames > i")] == [f"<b>{n} & more</b>" for n in (1, 2)]


def test_the_live_view_renders_again_when_a_control_moves():
    calls = []

    def render(gain, tint):
        calls.append((gain, tint))
        return shade(gain, tint)

    widget = widgets.explore(render, alt=words, gain=[0, 0.5, 1], tint=["grey", "red"])
    output, gain, tint = widget.children
    assert len(calls) == 6 and "A &quot;grey&quot; picture at 0." in output.value
    before = output.value
    gain.value = 2
    tint.value = 1
    assert calls[6:] == [(1, "grey"), (1, "red")]
    assert "A &quot;red&quot; picture at 1." in output.value
    assert re.search('src="[^"]*', before)[0] != re.search('src="[^"]*', output.value)[0]


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ({}, "no control"),
        ({"gain": []}, "control 'gain' is"),
        ({"gain": "abc"}, "control 'gain' is 'abc'"),
        ({"gain": range(21), "tint": range(10)}, "21 gain × 10 tint make 210 frames, over 200"),
    ],
)
def test_errors_name_the_controls(controls, message):
    with pytest.raises(ValueError, match=message):
        widgets.explore(shade, alt=words, **controls)


def test_too_many_bytes_are_refused_before_all_is_rendered():
    generator = torch.Generator().manual_seed(0)
    calls = []

    def noise(n):
        calls.append(n)
        return torch.rand(3, 500, 500, generator=generator)

    with pytest.raises(ValueError, match=r"of 50 frames already take .* MB, over 1\.5; give fewer"):
        widgets.explore(noise, alt="Noise.", n=range(50))
    assert len(calls) < 10


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(TypeError, match="NoneType"):
        widgets.explore(lambda n: None, alt="Nothing.", n=[1])
    with pytest.raises(ValueError, match="HTML for some settings and pictures for others"):
        widgets.explore(lambda n: "text" if n else shade(1), alt="Both.", n=[0, 1])
    with pytest.raises(TypeError, match="alt"):
        widgets.explore(shade, gain=[1])


def test_booleans_are_no_numbers():
    assert not Control("on", ("False", "True"), (False, True)).numeric
    assert Control("n", ("1", "2"), (1, 2.5)).numeric
