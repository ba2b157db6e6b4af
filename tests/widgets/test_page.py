"""The widgets in a page without a kernel, in Chromium."""

import io

import pytest
import torch
from PIL import Image

from xferlib import claims, widgets


def html_of(widget):
    return widget._repr_mimebundle_()["text/html"]


def shade(gain, tint):
    image = torch.full((3, 64, 128), gain)
    return image * torch.tensor([1.0, 0, 0])[:, None, None] if tint == "red" else image


@pytest.fixture(scope="module")
def shades():
    controls = {"gain": [0.25, 0.5, 1.0], "tint": ["grey", "red"]}
    return html_of(widgets.explore(shade, alt=lambda gain, tint: f"{tint} at {gain}", **controls))


@pytest.fixture(scope="module")
def pair():
    black, white = torch.zeros(3, 64, 128), torch.ones(3, 64, 128)
    return html_of(widgets.compare(black, white, alt="Night and day.", labels=("night", "day")))


def color_at(page, locator, x=0.5, y=0.25):
    """Read one pixel of what the reader sees."""
    box = locator.bounding_box()
    clip = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "width": 1, "height": 1}
    png = page.screenshot(clip=clip)
    return Image.open(io.BytesIO(png)).convert("RGB").getpixel((0, 0))


def test_keyboard_moves_the_slider_and_the_picture_follows(page_of, shades):
    page = page_of(shades)
    image, slider = page.locator(".xf-stage img"), page.get_by_role("slider", name="gain")
    assert color_at(page, image) == (64, 64, 64)
    page.keyboard.press("Tab")
    assert slider.evaluate("element => element === document.activeElement")
    page.keyboard.press("ArrowRight")
    assert color_at(page, image) == (128, 128, 128)
    assert image.get_attribute("alt") == "grey at 0.5"
    assert slider.get_attribute("aria-valuetext") == "0.5"
    assert page.locator("figcaption").inner_text() == "grey at 0.5"
    assert page.locator(".xf-value").inner_text() == "0.5"
    page.keyboard.press("End")
    assert color_at(page, image) == (255, 255, 255)
    page.keyboard.press("Home")
    assert color_at(page, image) == (64, 64, 64)


def test_mouse_moves_the_slider(page_of, shades):
    page = page_of(shades)
    box = page.get_by_role("slider", name="gain").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    assert page.locator(".xf-stage img").get_attribute("alt") == "grey at 1.0"


def test_each_setting_of_two_controls_has_its_picture(page_of, shades):
    page = page_of(shades)
    image, slider = page.locator(".xf-stage img"), page.get_by_role("slider", name="gain")
    for tint, color in (("red", (1, 0, 0)), ("grey", (1, 1, 1))):
        page.get_by_role("combobox", name="tint").select_option(tint)
        for index, level in ((2, 255), (0, 64), (1, 128)):
            slider.fill(str(index))
            assert color_at(page, image) == tuple(level * part for part in color)
            assert image.get_attribute("alt") == f"{tint} at {[0.25, 0.5, 1.0][index]}"


def test_html_frames_change_too(page_of):
    widget = widgets.explore(lambda n: f"<b>{n} &lt; 5</b>", alt=lambda n: f"number {n}", n=[1, 2])
    page = page_of(html_of(widget))
    page.get_by_role("slider", name="n").press("ArrowRight")
    assert page.locator(".xf-stage b").inner_text() == "2 < 5"
    assert page.locator("figcaption").inner_text() == "number 2"


def test_two_widgets_do_not_disturb_each_other(page_of, shades):
    page = page_of(shades, shades)
    page.get_by_role("slider", name="gain").nth(1).press("ArrowRight")
    alts = page.locator(".xf-stage img").evaluate_all("all => all.map(image => image.alt)")
    assert alts == ["grey at 0.25", "grey at 0.5"]


def test_without_script_the_first_picture_stands_and_no_dead_control(page_of, shades, pair):
    page = page_of(shades, pair, script=False)
    assert color_at(page, page.locator(".xf-stage img")) == (64, 64, 64)
    assert page.locator("figcaption").first.inner_text() == "grey at 0.25"
    assert page.locator("input:visible, select:visible").count() == 0
    first, second = (side.bounding_box() for side in page.locator(".xf-side").all())
    assert first["x"] + first["width"] <= second["x"]


def test_the_divider_follows_the_keyboard(page_of, pair):
    page = page_of(pair)
    stage, divider = page.locator(".xf-pair"), page.get_by_role("slider", name="Divider between night and day")
    assert color_at(page, stage, 0.4) == (0, 0, 0) and color_at(page, stage, 0.6) == (255, 255, 255)
    divider.focus()
    page.keyboard.press("End")
    assert divider.get_attribute("aria-valuetext") == "100 % night"
    assert color_at(page, stage, 0.9) == (0, 0, 0)
    page.keyboard.press("Home")
    assert color_at(page, stage, 0.1) == (255, 255, 255)


def test_the_divider_follows_the_mouse_exactly(page_of, pair):
    page = page_of(pair)
    stage = page.locator(".xf-pair")
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 10, steps=4)
    assert color_at(page, stage, 0.17) == (0, 0, 0) and color_at(page, stage, 0.23) == (255, 255, 255)
    page.mouse.up()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 10)
    assert color_at(page, stage, 0.5) == (255, 255, 255)
    assert page.locator("input").input_value() == "20"


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_page(page_of, shades, pair, width):
    claim = claims.Claim("a-b", "Long " * 30, "Table 2 of a paper", "59.4 < 62.4", "≈0.4", True)
    page = page_of(shades, pair, claim._repr_mimebundle_()[0]["text/html"], width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for control in page.locator(".xf-controls input, .xf-controls select").all():
        assert control.bounding_box()["height"] >= 24
    assert page.get_by_role("slider", name="gain").bounding_box()["width"] >= 100


def test_every_control_and_picture_has_a_name(page_of, shades, pair):
    page = page_of(shades, pair)
    tree = page.locator("body").aria_snapshot()
    assert 'slider "gain"' in tree and 'combobox "tint"' in tree
    assert 'slider "Divider between night and day"' in tree
    assert 'img "grey at 0.25"' in tree and 'img "night: Night and day."' in tree
    assert "img\n" not in tree
