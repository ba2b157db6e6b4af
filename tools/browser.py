"""The browser that tests and benchmarks read pages with."""

import shutil

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def chromium() -> str | None:
    """Find Chromium or Chrome on this machine."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)
