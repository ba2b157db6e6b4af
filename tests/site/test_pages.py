"""The site as files: every page there and full, every link and picture good."""

import re
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from bs4 import BeautifulSoup

from tools.notebooks import ROOT, chapter_paths, code_cells, read

MIN_WORDS = 60
MIN_CHAPTER_WORDS = 800


def article(soup):
    return soup.select_one("article.bd-article")


def test_the_page_is_full(soups, name):
    words = article(soups[name]).get_text(" ").split()
    assert len(words) >= (MIN_CHAPTER_WORDS if name.startswith("chapters/") else MIN_WORDS)


def test_the_page_has_a_title(soups, name):
    title = soups[name].title.get_text()
    assert title.strip() and title.endswith("Image Transfer")
    assert len(article(soups[name]).find_all("h1")) == 1


def test_titles_differ(soups):
    titles = [soup.title.get_text() for soup in soups.values()]
    assert len(set(titles)) == len(titles)


def test_chapters_show_all_their_code_and_figures(soups):
    for path in chapter_paths():
        page = article(soups[f"chapters/{path.stem}"])
        notebook = read(path)
        hidden = sum("remove-cell" in cell.metadata.get("tags", []) for cell in code_cells(notebook))
        drawn = sum(
            bool({"image/png", "image/jpeg"} & set(output.get("data", {})))
            for cell in code_cells(notebook)
            for output in cell.outputs
        )
        assert len(page.select("div.cell div.cell_input")) >= len(code_cells(notebook)) - hidden > 0
        assert len(page.select("img")) >= drawn > 0


def test_pictures_have_alt_text(soups, name):
    for image in article(soups[name]).find_all("img"):
        assert len(image.get("alt", "").split()) >= 2, image.get("src", "")[:80]


def test_no_output_was_lost_or_left_over(soups, name):
    text = article(soups[name]).get_text()
    assert "Traceback (most recent call last)" not in text
    assert not re.search(r"\d+%\|", text), "a progress bar was left on the page"
    assert "<matplotlib" not in text and "<Figure size" not in text


def test_the_ledger_lists_every_claim_with_its_place(soups):
    rows = soups["claims"].select("table.ledger tbody tr")
    shown = {tag["id"] for name, soup in soups.items() if name != "claims" for tag in soup.select("[id^=claim-]")}
    linked = {row.select_one("a")["href"].split("#")[1] for row in rows}
    assert linked == shown
    assert len(rows) == len(shown) > 0


def test_links_and_resources_lead_somewhere(site):
    """Follow every link, picture, script and style of every HTML file of the site."""
    pages = {path.relative_to(site).as_posix(): path for path in site.rglob("*.html")}
    pages = {name: path for name, path in pages.items() if not name.startswith("_static/")}
    soups = {name: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for name, path in pages.items()}
    anchors = {
        name: {tag["id"] for tag in soup.select("[id]")} | {tag["name"] for tag in soup.select("a[name]")}
        for name, soup in soups.items()
    }
    broken = []
    for name, soup in soups.items():
        targets = [tag["href"] for tag in soup.select("a[href], link[href]")]
        targets += [tag["src"] for tag in soup.select("[src]")]
        for target in targets:
            if urlsplit(target).scheme or target.startswith("//"):
                continue
            path, anchor = urldefrag(urljoin(f"/{name}", target))
            path = unquote(path).split("?")[0].lstrip("/") or "index.html"
            if not (site / path).exists() or (anchor and unquote(anchor) not in anchors.get(path, {anchor})):
                broken.append(f"{name}: {target}")
    assert not broken


def test_styles_ask_for_nothing_that_is_missing_or_elsewhere(site):
    for sheet in [*site.glob("_static/*.css"), *site.glob("_static/styles/*.css")]:
        for target in re.findall(r"url\(\s*['\"]?([^'\")]+)", sheet.read_text(encoding="utf-8")):
            if not target.startswith(("data:", "#")):
                assert not urlsplit(target).scheme, f"{sheet.name} asks for {target}"
                assert (sheet.parent / urlsplit(target).path).exists(), f"{sheet.name} asks for {target}"


def test_widget_files_are_those_of_the_library(site):
    for name in ("widgets.js", "widgets.css"):
        assert (site / "_static" / name).read_bytes() == (ROOT / "xferlib" / "web" / name).read_bytes()


def test_no_page_names_another_host_for_a_resource(soups, name):
    soup = soups[name]
    loaded = [tag["src"] for tag in soup.select("[src]")]
    loaded += [tag["href"] for tag in soup.select("link[href]:not([rel=canonical])")]
    assert [target for target in loaded if urlsplit(target).scheme in ("http", "https")] == []


def test_no_trace_of_a_far_kernel(soups, name):
    assert "thebe" not in str(soups[name].head).lower()
