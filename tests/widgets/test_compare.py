import base64
import io
import re

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image

from xferlib import widgets
from xferlib.widgets import live

BLACK, WHITE = torch.zeros(3, 10, 20), torch.ones(3, 10, 20)


def test_the_page_has_both_pictures_and_a_named_divider():
    data = widgets.compare(BLACK, WHITE, alt="Night & day.", labels=("night", "day"))._repr_mimebundle_()
    page = BeautifulSoup(data["text/html"], "html.parser")
    assert [image["alt"] for image in page.select("img")] == ["night: Night & day.", "day: Night & day."]
    divider = page.select_one("input[type=range]")
    assert divider["aria-label"] == "Divider between night and day"
    assert divider.has_attr("hidden")
    assert page.select_one("figcaption").get_text() == "Night & day."
    assert "<script" not in data["text/html"]
    assert data["text/plain"] == "compare night with day: Night & day."


@pytest.mark.parametrize("percent", [0, 25, 100])
def test_the_live_view_shows_the_first_left_of_the_divider(percent):
    output, slider = widgets.compare(WHITE, BLACK, alt="Day and night.").children
    slider.value = percent
    data = base64.b64decode(re.search('base64,([^"]*)', output.value)[1])
    row = np.asarray(Image.open(io.BytesIO(data)).convert("L"))[5]
    edge = 20 * percent // 100
    assert (row[:edge] > 200).all() and (row[edge + 1 :] < 60).all()


def test_sizes_and_labels_are_checked():
    with pytest.raises(ValueError, match="10×20 and 20×40 pixels; resize"):
        widgets.compare(BLACK, torch.ones(3, 20, 40), alt="Two sizes.")
    with pytest.raises(ValueError, match="3 labels"):
        widgets.compare(BLACK, WHITE, alt="Two.", labels=("a", "b", "c"))


@pytest.mark.parametrize(
    ("size", "factor"),
    [((20, 10), 32), ((300, 900), 1), ((320, 640), 2), ((320, 641), 1), ((2, 5000), 1), ((2, 400), 3)],
)
def test_pictures_are_enlarged_while_they_fit_in_width_and_twice_that_in_height(size, factor):
    assert live.page_size(*size) == (factor * size[0], factor * size[1])
