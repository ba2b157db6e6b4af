"""The nets in the reader's browser, against ONNX Runtime's own build and against PyTorch, two threads each."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter

import numpy as np
import onnxruntime
import torch
from playwright.sync_api import Page, sync_playwright

from benchmarks import Row, command
from tools import demo, serve
from tools.browser import chromium
from xferlib import zoo
from xferlib.data import images, photos

NETS = (
    "styles",
    "style-stained-glass",
    "fcn8s-streets",
    "enet-streets",
    "unet-streets",
    "enhance",
    "reflection",
    "sr-x4",
)
SIDES = (256, 512)
THREADS = 2
ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]

START = """async ([threads]) => {
  const ort = await import("/_static/demo/ort/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = "/_static/demo/ort/";
  ort.env.wasm.numThreads = threads;
  globalThis.ort = ort;
}"""
OPEN = """async ([file, side, styles]) => {
  const net = await (await fetch(`/_static/demo/${file}`)).arrayBuffer();
  globalThis.session?.release();
  globalThis.session = await ort.InferenceSession.create(net, { executionProviders: ["wasm"] });
  const bytes = Uint8Array.from({ length: 3 * side * side }, (_, k) => (k * 7919) % 256);
  globalThis.feed = { pixels: new ort.Tensor("uint8", bytes, [side, side, 3]) };
  const first = Float32Array.from({ length: styles }, (_, k) => +(k === 0));
  if (styles) feed.shares = new ort.Tensor("float32", first, [styles]);
}"""
RUN = """async () => {
  const start = performance.now();
  const { result } = await session.run(feed);
  result.dispose();
  return performance.now() - start;
}"""


@contextmanager
def site_in_browser() -> Iterator[Page]:
    """
    Open the built site in Chromium, cross-origin isolated.

    Yields
    ------
    Page
        The landing page, with the runtime started.
    """
    with serve.open_server(serve.SITE, [0]) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page = browser.new_page()
        page.goto(f"http://localhost:{server.server_port}/intro.html")
        page.evaluate(START, [THREADS])
        yield page
        browser.close()
        server.shutdown()


def compare(page: Page, name: str, side: int, repeats: int) -> list[Row]:
    """
    Time one net on a square, in turn in the browser, in ONNX Runtime and in PyTorch.

    Parameters
    ----------
    page : Page
        From `site_in_browser`.
    name : str
        Name of the net.
    side : int
        Side of the square in pixels.
    repeats : int
        How often each is timed.

    Returns
    -------
    list of (str, float, float)
        Median milliseconds in the browser against each of the two.
    """
    row, file = zoo.row(name), demo.net_file(name)
    styles = len(row.classes) if row.task == "style" else 0
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    native = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    pixels = np.array(images.to_pil(photos.square(photos.load("astronaut"), side)))
    feed = {"pixels": pixels} | ({"shares": np.eye(styles, dtype=np.float32)[0]} if styles else {})
    choice = {row.classes[0]: 1.0} if styles > 1 else None
    page.evaluate(OPEN, [f"nets/{file.name}", side, styles])
    times: dict[str, list[float]] = {"browser": [], "native": [], "torch": []}
    for turn in range(repeats + 1):
        browser = page.evaluate(RUN)
        start = perf_counter()
        native.run(None, feed)
        middle = perf_counter()
        zoo.apply(name, pixels, styles=choice, views=1, full_size=True)
        end = perf_counter()
        if turn:  # the first run of each also prepares
            for key, value in zip(times, (browser, 1000 * (middle - start), 1000 * (end - middle)), strict=True):
                times[key].append(value)
    wasm, runtime, eager = (median(each) for each in times.values())
    return [(f"{name}, {side}, browser / native", wasm, runtime), (f"{name}, {side}, browser / PyTorch", wasm, eager)]


def live(page: Page) -> Row:
    """
    Measure the panel of the perceptual loss on a camera, here a picture that moves, against the bare net.

    Parameters
    ----------
    page : Page
        From `site_in_browser`.

    Returns
    -------
    (str, float, float)
        Milliseconds from one frame to the next, all in, and for the net's pass over it.
    """
    page.goto(f"{page.url.rpartition('/')[0]}/chapters/perceptual_loss.html")
    panel = page.locator("xfer-demo")
    panel.locator(".xd-film").click()
    status = panel.get_by_role("status")
    status.get_by_text("frames a second").wait_for()
    rates, passes = [], []
    for _ in range(6):
        page.wait_for_timeout(1000)
        rates.append(float(status.inner_text().split()[0]))
        passes.append(panel.evaluate("element => element.outcome.milliseconds"))
    return "styles, 256x192, camera / net", 1000 / median(rates[2:]), median(passes[2:])


def rows(repeats: int) -> list[Row]:
    """
    Time all nets at both sizes; none where there is no site or no browser.

    Parameters
    ----------
    repeats : int
        How often each is timed.

    Returns
    -------
    list of (str, float, float)
        One row for each net, size and peer, and one for the live camera.
    """
    if chromium() is None or not (serve.SITE / "index.html").exists():
        print("left out: this needs Chromium and the built site, see `make site`")
        return []
    torch.set_num_threads(THREADS)
    with site_in_browser() as page:
        squares = [row for name in NETS for side in SIDES for row in compare(page, name, side, repeats)]
        return [*squares, live(page)]


if __name__ == "__main__":
    command(__doc__, rows, 5)
