"""What runs in the reader's browser."""

from pathlib import Path

STATIC = tuple(Path(__file__).with_name(name) for name in ("widgets.js", "widgets.css"))
"""Script and style sheet of the widgets and claims: the site serves them from its ``_static`` folder."""
