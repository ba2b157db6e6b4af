"""A browser for the widgets' HTML and script, without a site around them."""

import shutil

import pytest

from tools import browser
from xferlib import web

PAGE = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>Widgets</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<link rel="stylesheet" href="widgets.css"><script defer src="widgets.js"></script></head>
<body style="margin:0">{}</body></html>"""


@pytest.fixture(scope="session")
def chromium():
    """Headless Chromium, where one is installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="install playwright for the browser tests")
    path = browser.chromium()
    if path is None:
        pytest.skip("no Chromium found; install it, for example with: apt-get install chromium")
    with playwright.sync_playwright() as run:
        launched = run.chromium.launch(executable_path=path, args=browser.ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def page_of(chromium, tmp_path):
    """Open HTML in a page with our script and style sheet; the page must not complain nor ask any host."""
    contexts, complaints = [], []

    def show(*bodies, width=800, script=True):
        for file in web.STATIC:
            shutil.copy(file, tmp_path)
        (tmp_path / "page.html").write_text(PAGE.format("".join(bodies)), encoding="utf-8")
        context = chromium.new_context(viewport={"width": width, "height": 700}, java_script_enabled=script)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else complaints.append(request.url),
        )
        page.goto((tmp_path / "page.html").as_uri())
        return page

    yield show
    for context in contexts:
        context.close()
    assert not complaints
