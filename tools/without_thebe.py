"""A Sphinx extension: take Thebe's scripts, which Jupyter Book always adds, out of the pages.

Thebe would run cells on a server far away; this book runs on the reader's machine or not at all.
"""

from typing import Any

from sphinx.application import Sphinx


def _is_thebe(asset: Any) -> bool:
    return "thebe" in f"{asset.filename} {asset.attributes.get('body', '')}".lower()


def _drop(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    for kind in ("script_files", "css_files"):
        context[kind] = [asset for asset in context[kind] if not _is_thebe(asset)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("html-page-context", _drop, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
