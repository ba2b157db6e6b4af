"""The site in a real browser: alone, quiet, readable in the dark and on a phone, and alive."""

import re

import pytest

from tools.notebooks import toc_pages

PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True}


def test_the_page_asks_no_other_host_complains_of_nothing_and_shows_its_pictures(visit, name):
    seen = visit()
    page = seen.open(name, until="networkidle")
    inside = (seen.address, "data:", "blob:")
    assert [url for url in seen.requests if not url.startswith(inside)] == []
    assert seen.complaints == []
    assert seen.failures == []
    broken = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
    assert broken == []


def test_no_sideways_scroll_on_a_phone(visit, name):
    page = visit(**PHONE).open(name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_math_is_set(visit):
    page = visit().open("notation")
    page.wait_for_selector("mjx-container")
    assert page.locator("mjx-container").count() >= 10
    assert page.locator("mjx-merror").count() == 0


def test_math_is_set_from_files_too(browser, site):
    page = browser.new_page()
    page.goto((site / "notation.html").as_uri())
    page.wait_for_selector("mjx-container")
    page.close()


def test_search_finds(visit):
    page = visit().open("intro")
    page.keyboard.press("Control+k")
    page.keyboard.type("checkerboard")
    page.keyboard.press("Enter")
    hit = page.locator("#search-results a[href*='glossary']").first
    hit.wait_for()
    assert "Glossary" in hit.inner_text()


def brightness(page) -> float:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3


@pytest.mark.parametrize(("scheme", "low", "high"), [("light", 200, 256), ("dark", 0, 60)])
def test_follows_the_reader_s_light_or_dark(visit, scheme, low, high):
    assert low <= brightness(visit(color_scheme=scheme).open("intro")) < high


def test_the_button_turns_the_light_off(visit):
    page = visit(color_scheme="light").open("intro")
    button = page.locator("button.theme-switch-button:visible").first
    for _ in range(3):
        button.click()
        if page.evaluate("document.documentElement.dataset.mode") == "dark":
            break
    assert brightness(page) < 60
    page.reload()
    assert brightness(page) < 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("selector", [".bd-article p", ".bd-article h2", ".bd-article p a", ".sd-card-text"])
def test_text_stands_out(visit, contrast, scheme, selector):
    assert contrast(visit(color_scheme=scheme).open("intro"), selector) >= 4.5


def pages_with_a_slider(soups):
    return [name for name, soup in soups.items() if soup.select("[data-xf=explore] input[type=range]")]


def test_moving_a_slider_changes_the_picture(visit, soups):
    names = pages_with_a_slider(soups)
    if not names:
        pytest.skip("no page has a slider yet")
    for name in names:
        page = visit().open(name)
        figure = page.locator("[data-xf=explore]").filter(has=page.locator("input[type=range]")).first
        picture, slider = figure.locator(".xf-stage"), figure.locator("input[type=range]").first
        before, alt = picture.inner_html(), figure.locator("figcaption").inner_text()
        slider.focus()
        for _ in range(int(slider.get_attribute("max"))):
            page.keyboard.press("ArrowRight")
        assert picture.inner_html() != before
        assert slider.get_attribute("aria-valuetext")
        assert figure.locator("figcaption").inner_text() != alt
        words = re.sub('data:[^"]*', "", picture.inner_html())  # pictures themselves may spell anything
        assert "NaN" not in words and "undefined" not in words


def test_served_pages_may_use_threads(visit):
    page = visit().open("intro")
    assert page.evaluate("crossOriginIsolated")


def test_contents_lead_to_every_page(visit):
    page = visit().open("intro")
    links = page.eval_on_selector_all(".bd-sidebar-primary a[href]", "all => all.map(a => a.getAttribute('href'))")
    for name in toc_pages()[1:]:
        assert any(link.endswith(f"{name}.html") for link in links), name
