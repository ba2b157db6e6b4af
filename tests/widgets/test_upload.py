"""The upload widget, as JupyterLab drives it."""

import base64
import io
import re
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from PIL import Image

from xferlib import viz, widgets, zoo
from xferlib.data import images, streets
from xferlib.zoo.inference import colours


def _bytes(image: torch.Tensor, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    images.to_pil(image).save(buffer, form)
    return buffer.getvalue()


def _choose(widget, name: str, content: bytes) -> list:
    """Do what the page does once the reader has chosen a file."""
    button, result = widget.children
    chosen = {"name": name, "type": "image/png", "size": len(content), "content": memoryview(content)}
    button.value = ({**chosen, "last_modified": datetime.now(UTC)},)
    return list(result.children)


@pytest.fixture(scope="module")
def street():
    return (streets.draw(3)[0] * 255).round() / 255


def test_a_street_is_labelled_and_can_be_saved(street):
    shown, slider, link = _choose(widgets.upload("fcn8s-streets"), "street.png", _bytes(street))
    assert slider.description == "% before" and "street.png and what fcn8s-streets makes of it." in shown.value
    assert 'download="street-fcn8s-streets.png"' in link.value
    saved = Image.open(io.BytesIO(base64.b64decode(re.search('base64,([^"]*)', link.value)[1])))
    labels = zoo.apply("fcn8s-streets", street)
    expected = viz.overlay(street, labels, colours(zoo.row("fcn8s-streets")))
    assert labels.unique().numel() > 3
    assert np.abs(np.asarray(saved) / 255 - expected.permute(1, 2, 0).numpy()).max() < 0.003


def test_a_picture_is_painted_in_the_style_asked_for(street):
    widget = widgets.upload("styles", styles={"mosaic": 1.0})
    _, _, link = _choose(widget, "holiday.jpg", _bytes(street[:, :64, :64], "JPEG"))
    assert 'download="holiday-styles.png"' in link.value


def test_what_cannot_be_done_is_said_in_a_sentence():
    widget = widgets.upload("styles")
    (message,) = _choose(widget, "notes.png", b"no picture")
    assert 'role="alert"' in message.value and "notes.png" in message.value and "/tmp" not in message.value
    (message,) = _choose(widget, "a.png", _bytes(torch.rand(3, 40, 40)))
    assert "paints in several styles; name one or more of" in message.value


def test_a_page_without_a_kernel_says_where_it_works():
    data = widgets.upload("fcn8s-streets")._repr_mimebundle_()
    assert data["text/html"] == "<p>Open this page in JupyterLab to apply fcn8s-streets to a picture of your own.</p>"


def test_an_unknown_net_is_refused():
    with pytest.raises(zoo.ZooError, match="no net is named 'fcn9s'"):
        widgets.upload("fcn9s")
