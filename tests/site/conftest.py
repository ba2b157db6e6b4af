"""The built site, a server for it, and a browser to read it with."""

import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tools.browser import ARGUMENTS, chromium
from tools.notebooks import ROOT, toc_pages

SITE = ROOT / "_build" / "html"
PAGES = toc_pages()


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", PAGES)


@pytest.fixture(scope="session")
def site() -> Path:
    """Folder of the built site."""
    if not (SITE / "index.html").exists():
        pytest.fail("there is no built site: run `make site` first")
    return SITE


@pytest.fixture(scope="session")
def soups(site) -> dict[str, BeautifulSoup]:
    """Every page of the contents, parsed."""
    return {page: BeautifulSoup((site / f"{page}.html").read_text(encoding="utf-8"), "html.parser") for page in PAGES}


@pytest.fixture(scope="session")
def address(site):
    """Address of the site as `make serve` serves it."""
    command = [sys.executable, "-m", "tools.serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline()
        yield next(word for word in line.split() if word.startswith("http://"))
        server.terminate()


@pytest.fixture(scope="session")
def browser_type():
    """Start headless Chromium with more arguments, where one is installed."""
    found = chromium()
    if found is None:
        pytest.skip("no Chromium here to read the site with: apt-get install chromium (or install Chrome)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield lambda *more: playwright.chromium.launch(executable_path=found, args=[*ARGUMENTS, *more])


@pytest.fixture(scope="session")
def browser(browser_type):
    """Headless Chromium."""
    browser = browser_type()
    yield browser
    browser.close()


class Visit:
    """One page in a fresh browser context, with what it asked for and what it complained of."""

    def __init__(self, browser, address: str, **options):
        self.address = address
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.requests, self.complaints, self.failures = [], [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("response", lambda reply: self.failures.append(reply.url) if reply.status >= 400 else None)

    def open(self, name: str, until: str = "load"):
        self.page.goto(f"{self.address}{name}.html", wait_until=until)
        return self.page


@pytest.fixture
def visit(browser, address):
    """Make visits, and end them with the test."""
    visits = []

    def new(**options) -> Visit:
        visits.append(Visit(browser, address, **options))
        return visits[-1]

    yield new
    for each in visits:
        each.context.close()


@pytest.fixture(name="contrast")
def contrast_fixture():
    """Measure how much a text stands out."""
    return contrast


def contrast(page, selector: str) -> float:
    """WCAG contrast of an element's text against the page."""
    return page.evaluate(
        """selector => {
          const numbers = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          const light = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
          const text = light(numbers(getComputedStyle(document.querySelector(selector)).color));
          const ground = light(numbers(getComputedStyle(document.body).backgroundColor));
          return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
        }""",
        selector,
    )
