"""The nets in the reader's browser: right, quiet, quick to answer, and plain about what went wrong."""

import base64
import io
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from tools import demo
from xferlib import zoo
from xferlib.data import images, photos
from xferlib.web import export

NETS = [row.name for row in export.exportable() if row.name in demo.NETS]
FINISHED = "element => ['done', 'error'].includes(element.dataset.state)"
DATA = """async element => {
  const { data, ...outcome } = element.outcome;
  const reader = new FileReader();
  reader.readAsDataURL(new Blob([data]));
  await new Promise(resolve => (reader.onload = resolve));
  return [outcome, reader.result.split(",")[1]];
}"""
SHOWN = """element => {
  const from = element.querySelector(".xd-before");
  const pen = new OffscreenCanvas(from.width, from.height).getContext("2d");
  pen.drawImage(from, 0, 0);
  return [...pen.getImageData(0, 0, from.width, from.height).data].filter((_, k) => k % 4 === 0);
}"""
CARRIED = """(element, [kind, coded]) => {
  const bytes = Uint8Array.from(atob(coded), (letter) => letter.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], "photograph.png", { type: "image/png" }));
  const how = { bubbles: true, cancelable: true, clipboardData: carried, dataTransfer: carried };
  return !element.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, how) : new DragEvent(kind, how));
}"""
UNTOUCHED = 60_000
"""Bytes that a demo may add to a page before it is touched."""


def photograph(height: int, width: int) -> np.ndarray:
    """A photograph, repeated where it is too small."""
    picture = np.array(images.to_pil(photos.load("astronaut")))
    return np.ascontiguousarray(np.tile(picture, (-(-height // 512), -(-width // 512), 1))[:height, :width])


def png(pixels: np.ndarray, name: str = "photograph.png") -> dict:
    """A picture as Playwright uploads it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": buffer.getvalue()}


class Panel:
    """One demo of a page."""

    def __init__(self, page, index: int = 0):
        self.page, self.element = page, page.locator("xfer-demo").nth(index)
        self.handle = self.element.element_handle()

    def start(self) -> "Panel":
        self.element.locator(".xd-start").click()
        return self.finish()

    def finish(self) -> "Panel":
        self.page.wait_for_function(FINISHED, arg=self.handle, timeout=120_000)
        return self

    def forget(self) -> None:
        """Make `finish` wait for the next run."""
        self.handle.evaluate("element => { element.outcome = null; element.dataset.state = 'asked'; }")

    def carry(self, kind: str, file: dict) -> bool:
        """Drag, drop or paste a file, and say whether the page took it from the browser."""
        return self.handle.evaluate(CARRIED, [kind, base64.b64encode(file["buffer"]).decode()])

    def give(self, file: dict | str) -> "Panel":
        self.forget()
        self.element.locator("input[type=file]").set_input_files(file)
        return self.finish()

    def choose(self, net: str) -> "Panel":
        select = self.element.locator(".xd-net")
        if select.count() and select.input_value() != net:
            self.handle.evaluate("element => { element.dataset.state = 'asked'; }")
            select.select_option(net)
            self.finish()
        return self

    @property
    def state(self) -> str:
        return self.element.get_attribute("data-state")

    @property
    def status(self) -> str:
        return self.element.locator("[role=status]").inner_text()

    def outcome(self) -> tuple[dict, np.ndarray]:
        """What the last run made, and its bytes as an array."""
        outcome, coded = self.handle.evaluate(DATA)
        values = np.frombuffer(base64.b64decode(coded), np.uint8)
        shape = (outcome["height"], outcome["width"], outcome["channels"])
        return outcome, values.reshape(shape[: 3 if shape[2] > 1 else 2])


def in_python(net: str, pixels: np.ndarray) -> np.ndarray:
    """What the library makes of the same picture."""
    row = zoo.row(net)
    styles = {row.classes[0]: 1.0} if row.task == "style" and len(row.classes) > 1 else None
    result = zoo.apply(net, pixels, styles=styles, views=1, full_size=True)
    return result.numpy() if result.ndim == 2 else (result.permute(1, 2, 0) * 255).round().numpy()


def agree(net: str, made: np.ndarray, pixels: np.ndarray) -> None:
    wanted = in_python(net, pixels)
    assert made.shape == wanted.shape
    if wanted.ndim == 2:
        assert (made == wanted).mean() >= 0.999
    else:
        assert np.abs(made.astype(int) - wanted.astype(int)).max() <= 2


# Right


@pytest.fixture(scope="module")
def playground(browser, address):
    """The playground, its panel started."""
    page = browser.new_page()
    page.goto(f"{address}playground.html")
    yield Panel(page).start()
    page.close()


@pytest.mark.parametrize("net", NETS)
def test_the_browser_makes_what_python_makes(playground, net):
    pixels = photograph(107, 150)
    playground.choose(net).give(png(pixels))
    assert playground.state == "done", playground.status
    outcome, made = playground.outcome()
    assert outcome["net"] == net
    assert outcome["input"] == {"width": 150, "height": 107}
    agree(net, made, pixels)


def test_the_download_is_as_large_as_said(site):
    folder = site / "_static" / "demo"
    catalogue = json.loads((folder / "nets.json").read_text())
    assert catalogue["runtime"]["bytes"] == sum(file.stat().st_size for file in (folder / "ort").iterdir())
    assert catalogue["runtime"]["bytes"] == pytest.approx(demo.RUNTIME_BYTES, rel=0.01)
    for net in catalogue["nets"].values():
        assert (folder / net["file"]).stat().st_size == net["bytes"] < 2.35e6, "the playground says how much at most"


def test_every_net_is_on_the_playground(playground):
    offered = playground.element.locator(".xd-net option").evaluate_all("all => all.map(option => option.value)")
    assert sorted(offered) == sorted(NETS) == sorted(row.name for row in export.exportable())


def test_a_large_picture_is_enlarged_tile_by_tile_to_the_same(playground):
    pixels = photograph(290, 300)
    playground.choose("espcn-x4").give(png(pixels))
    outcome, made = playground.outcome()
    assert outcome["input"] == {"width": 300, "height": 290}
    agree("espcn-x4", made, pixels)


def test_a_picture_too_large_for_labels_is_reduced_with_notice(playground):
    playground.choose("fcn8s-streets").give(png(photograph(600, 800)))
    outcome, made = playground.outcome()
    most = json.loads((demo.CACHE / "nets.json").read_text())["nets"]["fcn8s-streets"]["most"]
    assert 0.9 * most < made.size <= most
    assert outcome["input"]["width"] / outcome["input"]["height"] == pytest.approx(4 / 3, rel=0.02)
    assert "800" in playground.status and str(outcome["input"]["width"]) in playground.status


def test_a_net_that_python_shows_several_sizes_gets_one_here(playground):
    pixels = photograph(300, 400)
    playground.choose("enet-camvid").give(png(pixels))
    outcome, made = playground.outcome()
    assert outcome["input"] == {"width": 400, "height": 300}
    agree("enet-camvid", made, pixels)


def test_a_fine_pattern_is_averaged_in_any_browser(visit):
    """Where drawing leaves pixels out, the stripes of one pixel become broad ones."""
    seen = visit()
    rough = "Object.defineProperty(OffscreenCanvasRenderingContext2D.prototype, 'imageSmoothingQuality', {set() {}});\n"

    def roughen(route):
        reply = route.fetch()
        route.fulfill(response=reply, body=rough + reply.text())

    seen.context.route("**/worker.*.mjs", roughen)
    panel = Panel(seen.open("playground")).start().choose("fcn8s-streets")
    stripes = np.zeros((1200, 1600, 3), np.uint8)
    stripes[:, ::2] = 255
    panel.give(png(stripes))
    shown = panel.handle.evaluate(SHOWN)
    assert np.ptp(shown) < 10 and np.mean(shown) == pytest.approx(127.5, abs=2)


def test_half_a_strength_is_half_of_the_way(playground):
    pixels = photograph(96, 128)
    playground.choose("style-stained-glass").give(png(pixels))
    _, full = playground.outcome()
    slider = playground.element.locator(".xd-strength")
    playground.handle.evaluate("element => { element.dataset.state = 'asked'; }")
    slider.fill("50")
    playground.finish()
    _, half = playground.outcome()
    slider.fill("100")
    wanted = (full.astype(float) + pixels) / 2
    assert np.abs(half - wanted).max() <= 2


def test_a_transparent_picture_lies_on_white(playground):
    pixels = np.dstack([photograph(64, 80), np.full((64, 80), 255, np.uint8)])
    pixels[:, 40:, 3] = 0
    playground.choose("espcn-x4").give(png(pixels))
    _, made = playground.outcome()
    assert made[:, 4 * 44 :].min() >= 250


def test_a_turned_photograph_is_upright(playground):
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph(64, 96)).save(buffer, "JPEG", exif=exif)
    playground.choose("espcn-x4").give({"name": "turned.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()})
    outcome, _ = playground.outcome()
    assert outcome["input"] == {"width": 64, "height": 96}


def test_saving_gives_what_is_shown(playground):
    playground.choose("sr-x2").give(png(photograph(64, 80), "cat picture.png"))
    _, made = playground.outcome()
    with playground.page.expect_download() as download:
        playground.element.locator(".xd-save").click()
    assert download.value.suggested_filename.endswith("-sr-x2.png")
    with Image.open(download.value.path()) as saved:
        np.testing.assert_array_equal(np.array(saved.convert("RGB")), made)


# Plain about what went wrong


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ({"name": "letter.png", "mimeType": "image/png", "buffer": b"Dear reader"}, "no picture"),
        ({"name": "empty.jpg", "mimeType": "image/jpeg", "buffer": b""}, "no picture"),
        ({"name": "cut.png", "mimeType": "image/png", "buffer": png(photograph(64, 64))["buffer"][:60]}, "no picture"),
        ({"name": "large.png", "mimeType": "image/png", "buffer": bytes(5_100_000)}, "too many pixels"),
        (png(photograph(8, 100), "small.png"), "too small"),
        (png(photograph(33, 90_000 // 33), "long.png"), "too long and narrow"),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_what_is_no_picture_gets_a_sentence_and_the_next_one_works(playground, file, says):
    playground.choose("fcn8s-streets").give(file)
    assert playground.state == "error"
    assert says in playground.status
    playground.give(png(photograph(40, 50)))
    assert playground.state == "done"


def test_what_is_refused_changes_no_control(playground):
    playground.choose("styles").give(png(photograph(64, 80)))
    select, magnify = (playground.element.locator(each) for each in (".xd-style", ".xd-magnify"))
    playground.handle.evaluate("element => { element.dataset.state = 'asked'; }")
    select.select_option(index=2)
    playground.finish()
    if magnify.get_attribute("aria-pressed") != "true":
        magnify.click()
    playground.handle.evaluate("element => { element.dataset.state = 'asked'; }")
    playground.element.locator("input[type=file]").set_input_files(
        {"name": "letter.png", "mimeType": "image/png", "buffer": b"Dear reader"}
    )
    assert playground.finish().state == "error"
    assert select.evaluate("select => select.selectedIndex") == 2
    assert magnify.get_attribute("aria-pressed") == "true"
    magnify.click()
    assert magnify.get_attribute("aria-pressed") == "false"
    select.select_option(index=0)
    playground.finish()


def test_of_two_pictures_the_second_counts_though_the_first_is_refused(playground):
    playground.choose("espcn-x4").give(png(photograph(64, 80)))
    playground.forget()
    playground.handle.evaluate(
        """async (element, coded) => {
          const bytes = Uint8Array.from(atob(coded), (letter) => letter.charCodeAt(0));
          element.take(new File(["Dear reader"], "letter.png", { type: "image/png" }));
          await new Promise((resolve) => setTimeout(resolve));
          element.take(new File([bytes], "second.png", { type: "image/png" })); }""",
        base64.b64encode(png(photograph(48, 72))["buffer"]).decode(),
    )
    playground.page.wait_for_function("element => element.outcome", arg=playground.handle)
    assert playground.outcome()[0]["input"] == {"width": 72, "height": 48}


def test_a_picture_may_be_dropped(playground):
    playground.forget()
    picture, hint = png(photograph(60, 82)), playground.element.locator(".xd-drop")
    assert playground.carry("dragover", picture)
    assert hint.is_visible()
    assert playground.carry("drop", picture), "the browser would open the file itself"
    assert hint.is_hidden()
    assert playground.finish().outcome()[0]["input"] == {"width": 82, "height": 60}


def test_a_picture_may_be_pasted_but_into_a_text_field_it_is_the_fields_own(playground):
    playground.forget()
    playground.element.locator(".xd-input").focus()
    assert playground.carry("paste", png(photograph(60, 84)))
    assert playground.finish().outcome()[0]["input"] == {"width": 84, "height": 60}
    playground.page.evaluate("document.body.append(document.createElement('textarea'))")
    field = playground.page.locator("textarea")
    field.focus()
    assert not playground.carry("paste", png(photograph(60, 86)))
    field.evaluate("field => field.remove()")


def test_a_huge_file_is_refused(playground):
    playground.page.evaluate(
        """element => { element.dataset.state = 'asked';
          element.take(new File([new Uint8Array(70_000_000)], "huge.png", { type: "image/png" })); }""",
        playground.handle,
    )
    playground.finish()
    assert playground.state == "error"
    assert "MB" in playground.status


def test_a_browser_without_webassembly_gets_a_sentence(visit):
    seen = visit()
    seen.page.add_init_script("delete globalThis.WebAssembly")
    panel = Panel(seen.open("playground")).start()
    assert panel.state == "error" and "WebAssembly" in panel.status


def test_pages_from_files_get_a_sentence(browser, site):
    page = browser.new_page()
    page.goto((site / "playground.html").as_uri())
    panel = Panel(page).start()
    assert panel.state == "error" and "make serve" in panel.status
    page.close()


def test_without_a_network_a_sentence_and_later_the_net(visit):
    seen = visit()
    panel = Panel(seen.open("playground"))
    seen.context.set_offline(True)
    panel.start()
    assert panel.state == "error" and "offline" in panel.status
    seen.context.set_offline(False)
    assert panel.start().state == "done", panel.status
    seen.context.set_offline(True)
    panel.choose("espcn-x4")
    assert panel.state == "error" and "offline" in panel.status
    seen.context.set_offline(False)
    panel.element.locator(".xd-again").click()
    assert panel.finish().state == "done", panel.status
    assert panel.outcome()[0]["net"] == "espcn-x4"


def test_a_worker_lost_while_it_runs_gets_a_sentence_and_a_new_one(visit):
    seen = visit()
    seen.page.add_init_script(
        """globalThis.workers = [];
        const Original = Worker;
        globalThis.Worker = class extends Original {
          constructor(...given) { super(...given); workers.push(this); }
        };"""
    )
    panel = Panel(seen.open("chapters/super_resolution")).start()
    panel.element.locator("input[type=file]").set_input_files(png(photograph(700, 900)))
    panel.page.wait_for_function("element => element.dataset.state === 'running'", arg=panel.handle)
    seen.page.evaluate("workers[0].terminate()")
    assert panel.finish().state == "error"
    assert "lost" in panel.status
    panel.give(png(photograph(60, 80)))
    assert panel.state == "done", panel.status
    assert seen.page.evaluate("workers.length") == 2


def test_a_run_can_be_cancelled(visit):
    panel = Panel(visit().open("chapters/super_resolution")).start()
    before, _ = panel.outcome()
    panel.element.locator("input[type=file]").set_input_files(png(photograph(700, 900)))
    panel.page.wait_for_function("element => element.dataset.state === 'running'", arg=panel.handle)
    panel.element.locator(".xd-cancel").click()
    panel.finish()
    assert panel.outcome()[0] == before, "what was there before is there still"
    panel.give(png(photograph(40, 50)))
    assert panel.outcome()[0]["input"] == {"width": 50, "height": 40}


def test_a_cancelled_choice_of_a_style_leaves_the_one_that_is_shown(playground):
    playground.choose("styles").give(png(photograph(64, 80)))
    select, slider = (playground.element.locator(each) for each in (".xd-style", ".xd-strength"))
    assert (select.evaluate("select => select.selectedIndex"), slider.input_value()) == (0, "100")
    playground.handle.evaluate(
        """element => {
          const select = element.querySelector(".xd-style"), slider = element.querySelector(".xd-strength");
          [select.selectedIndex, slider.value] = [3, 20];
          select.dispatchEvent(new Event("change", { bubbles: true }));
          slider.dispatchEvent(new Event("input", { bubbles: true }));
          element.querySelector(".xd-cancel").click(); }"""
    )
    assert playground.finish().state == "done"
    assert (select.evaluate("select => select.selectedIndex"), slider.input_value()) == (0, "100")
    assert slider.get_attribute("aria-valuetext") == "100 %"


def test_a_net_that_is_gone_asks_for_the_page_to_be_reloaded(visit):
    seen = visit()
    panel = Panel(seen.open("playground")).start()
    seen.context.route("**/espcn-x4*.onnx", lambda route: route.fulfill(status=404))
    panel.choose("espcn-x4")
    assert panel.state == "error" and "Reload the page" in panel.status
    assert panel.element.locator(".xd-net").input_value() == "styles" == panel.outcome()[0]["net"]


def test_a_result_that_could_not_be_saved_is_asked_for_again(visit):
    seen = visit()
    seen.page.add_init_script(
        """const post = Worker.prototype.postMessage;
        Worker.prototype.postMessage = function (message, transfer) {
          if (message.kind !== "save" || globalThis.saves) return post.call(this, message, transfer);
          globalThis.saves = 1;
          throw new Error("no memory");
        };"""
    )
    panel = Panel(seen.open("chapters/enhancement")).start()
    save = panel.element.locator(".xd-save")
    for words in ("refused", "Run the net again"):
        save.click()
        said = "([element, words]) => element.querySelector('[role=status]').innerText.includes(words)"
        panel.page.wait_for_function(said, arg=[panel.handle, words])
    panel.give(png(photograph(40, 50)))
    with panel.page.expect_download():
        save.click()


def test_a_cancelled_choice_of_a_net_leaves_the_one_that_is_shown(playground):
    title = playground.element.locator(".xd-title")
    playground.choose("espcn-x4").give(png(photograph(64, 80)))
    shown = title.inner_text()
    playground.handle.evaluate(
        """element => {
          const select = element.querySelector(".xd-net");
          select.value = "unet-streets";
          select.dispatchEvent(new Event("change", { bubbles: true }));
          element.querySelector(".xd-cancel").click(); }"""
    )
    assert playground.finish().state == "done"
    assert title.inner_text() == shown
    assert playground.element.locator(".xd-net").input_value() == "espcn-x4" == playground.outcome()[0]["net"]


# Quiet


def test_an_untouched_demo_adds_little_and_a_touched_one_asks_nobody_else(visit):
    seen = visit()
    sizes = {}
    seen.context.on("response", lambda reply: sizes.update({reply.url: int(reply.headers.get("content-length", 0))}))
    page = seen.open("playground", until="networkidle")
    page.locator(".xd-poster").evaluate("poster => poster.decode()")  # a lazy picture may come after all is quiet
    added = {url: size for url, size in sizes.items() if "/demo" in url}
    assert {url.rpartition("/")[2].partition("?")[0] for url in added} == {"demo.js", "demo.css", "styles.jpg"}
    assert 0 < sum(added.values()) <= UNTOUCHED
    asked = []
    seen.context.on("request", lambda request: asked.append(request.url))
    panel = Panel(page).start()
    assert panel.state == "done", panel.status
    assert any(url.endswith(".wasm") for url in asked) and any(url.endswith(".onnx") for url in asked)
    assert [url for url in asked if not url.startswith((seen.address, "data:", "blob:"))] == []
    assert seen.complaints == []


@pytest.mark.parametrize(("net", "side"), [("unet-isbi", 380), ("espcn-x4", 700)])
def test_the_page_answers_while_a_net_runs(visit, tmp_path, net, side):
    """The longest task of the page's own thread, in the middle one of three runs: whole, and tile by tile."""
    seen = visit()
    panel = Panel(seen.open("playground")).start().choose(net)
    panel.page.evaluate(
        """() => { globalThis.longest = 0;
          new PerformanceObserver(list => list.getEntries().forEach(task => longest = Math.max(longest, task.duration)))
            .observe({ type: "longtask" }); }"""
    )
    longest = []
    for turn in range(3):
        panel.page.evaluate("longest = 0")
        path = tmp_path / f"{turn}.png"  # a path, for bytes would go through the page's own thread
        Image.fromarray(photograph(side + turn, 400)).save(path)
        panel.give(str(path))
        assert panel.state == "done", panel.status
        longest.append(panel.page.evaluate("longest"))
        assert panel.handle.evaluate("element => element.outcome.milliseconds") > 100
    assert sorted(longest)[1] <= 100, longest


# Anywhere


class Plain(SimpleHTTPRequestHandler):
    """A server without any headers of its own, as project pages have it."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *args: object) -> None:
        pass


def test_from_a_sub_path_without_isolation_one_thread_makes_the_same(browser, site):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Plain, directory=str(site.parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/{site.name}/chapters/enhancement.html")
        panel = Panel(page).start()
        assert panel.state == "done", panel.status
        pixels = photograph(80, 90)
        panel.give(png(pixels))
        outcome, made = panel.outcome()
        assert outcome["threads"] == 1
        agree("enhance", made, pixels)
        page.close()
        server.shutdown()


def test_an_isolated_page_uses_threads(playground):
    outcome, _ = playground.choose("sr-x2").give(png(photograph(40, 50))).outcome()
    cores = playground.page.evaluate("navigator.hardwareConcurrency")
    assert outcome["threads"] == min(4, cores)


def test_every_panel_names_nets_that_are_there(soups, site):
    known = json.loads((site / "_static" / "demo" / "nets.json").read_text())["nets"]
    pages = {name for name, soup in soups.items() if soup.select("xfer-demo")}
    chapters = (
        "fcn",
        "enet",
        "unet",
        "developments",
        "perceptual_loss",
        "enhancement",
        "reflection",
        "super_resolution",
    )
    assert pages >= {"intro", "playground", *(f"chapters/{name}" for name in chapters)}
    for name in pages:
        for tag in soups[name].select("xfer-demo"):
            named = [tag["net"], *tag.get("nets", "").replace("all", "").split()]
            assert set(named) <= known.keys(), name
            assert "JavaScript" in tag.get_text(), "what a page without it says"


def test_keyboard_alone_runs_a_net_and_moves_the_divider(visit):
    page = visit().open("chapters/enhancement")
    panel = Panel(page)
    panel.element.locator(".xd-start").focus()
    page.keyboard.press("Enter")
    assert panel.finish().state == "done", panel.status
    address = page.url
    page.keyboard.press("ArrowRight")  # the book turns its pages so; not while the panel has the focus
    page.wait_for_timeout(500)
    assert page.url == address
    divider = panel.element.locator(".xd-split")
    before = divider.input_value()
    divider.focus()
    page.keyboard.press("ArrowRight")
    assert divider.input_value() != before and divider.get_attribute("aria-valuetext")
    unnamed = panel.handle.evaluate(
        """element => [...element.querySelectorAll("button, select, input, canvas, progress")]
          .filter(each => each.checkVisibility())
          .filter(each => !(each.textContent.trim() || each.ariaLabel || each.labels?.length || each.title))
          .map(each => each.outerHTML)"""
    )
    assert unnamed == []


@pytest.mark.parametrize("width", [320, 390])
def test_a_started_panel_fits_a_phone(browser, address, width):
    context = browser.new_context(viewport={"width": width, "height": 800}, is_mobile=True)
    page = context.new_page()
    page.goto(f"{address}playground.html")
    panel = Panel(page).start().choose("unet-isbi")
    assert panel.state == "done", panel.status
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = panel.handle.evaluate(
        """element => [...element.querySelectorAll("button, select, input, p, label, li, img")]
          .filter(each => each.checkVisibility() && !each.closest(".xd-pair"))
          .filter(each => each.getBoundingClientRect().right > element.getBoundingClientRect().right)
          .map(each => each.className)"""
    )
    assert beyond == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_a_panel_says_stands_out(browser, address, contrast, scheme):
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{address}chapters/enet.html")
    Panel(page).start()
    for part in (".xd-status", ".xd-about", ".xd-title", ".xd-legend li"):
        assert contrast(page, f"xfer-demo {part}") >= 4.5, part
    context.close()


@pytest.mark.parametrize("part", ["xfer-demo .xd-pair", ".xf-pair"])
def test_a_finger_that_scrolls_leaves_the_divider_and_one_that_taps_moves_it(browser, address, part):
    context = browser.new_context(viewport={"width": 390, "height": 800}, is_mobile=True, has_touch=True)
    page = context.new_page()
    page.goto(f"{address}chapters/super_resolution.html")
    if "demo" in part:
        Panel(page).start()
    pair = page.locator(part).first
    pair.evaluate("pair => pair.scrollIntoView({ block: 'center', behavior: 'instant' })")
    value = pair.locator("input[type=range]").input_value
    before, box, top = value(), pair.bounding_box(), page.evaluate("scrollY")
    x, y = box["x"] + 0.9 * box["width"], box["y"] + 0.6 * box["height"]
    session = context.new_cdp_session(page)
    for kind, points in (
        ("touchStart", [{"x": x, "y": y}]),
        *(("touchMove", [{"x": x, "y": y - 10 * k}]) for k in range(1, 16)),
        ("touchEnd", []),
    ):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_function("top => scrollY > top + 50", arg=top)
    assert value() == before
    pair.tap(position={"x": 0.9 * box["width"], "y": 0.5 * box["height"]})
    assert abs(float(value()) - 90) < 3
    pair.click(button="right", position={"x": 0.2 * box["width"], "y": 0.5 * box["height"]})
    assert abs(float(value()) - 90) < 3
    context.close()


# The camera


def test_a_camera_that_is_refused_ends_what_runs(visit):
    seen = visit()
    seen.page.add_init_script(
        """const wait = () => new Promise((resolve) => setTimeout(resolve, 100));
        navigator.mediaDevices.getUserMedia = async () => {
          await wait();
          throw new DOMException("", "NotAllowedError"); };"""
    )
    panel = Panel(seen.open("playground")).start().choose("sr-x2")
    panel.give(png(photograph(40, 50)))
    before, _ = panel.outcome()
    panel.element.locator("input[type=file]").set_input_files(png(photograph(700, 900)))
    panel.page.wait_for_function("element => element.dataset.state === 'running'", arg=panel.handle)
    panel.element.locator(".xd-camera").click()
    assert panel.finish().state == "done" and "camera was refused" in panel.status
    panel.page.wait_for_timeout(500)
    assert panel.outcome()[0] == before and "camera was refused" in panel.status
    panel.element.locator(".xd-camera").click()
    panel.page.wait_for_function("element => element.dataset.state === 'error'", arg=panel.handle)
    assert "camera was refused" in panel.status


@pytest.fixture
def camera(browser_type, address):
    """A page whose camera is a test picture that moves."""
    browser = browser_type("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    page = browser.new_page()
    page.goto(f"{address}chapters/perceptual_loss.html")
    yield Panel(page)
    browser.close()


def test_the_camera_is_painted_live_and_let_go(camera):
    camera.page.evaluate(
        """() => { globalThis.streams = [];
          const get = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = wish => get(wish).then(got => (streams.push(got), got)); }"""
    )
    camera.element.locator(".xd-film").click()
    seen = set()
    for _ in range(3):
        camera.page.wait_for_function(
            "([element, old]) => element.outcome && !old.includes(element.outcome.data.join().slice(0, 3000))",
            arg=[camera.handle, list(seen)],
            timeout=60_000,
        )
        seen.add(camera.handle.evaluate("element => element.outcome.data.join().slice(0, 3000)"))
    assert len(seen) == 3
    assert camera.page.evaluate("streams[0].getTracks().every(track => track.readyState === 'live')")
    camera.element.locator(".xd-camera").click()
    camera.page.wait_for_function("streams[0].getTracks().every(track => track.readyState === 'ended')")
    camera.page.wait_for_timeout(1000)  # a picture that was under way has come by then
    assert camera.state == "done"
