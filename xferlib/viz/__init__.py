"""Figures that hold in print: pictures side by side, label maps, training curves, nets."""

from xferlib.viz.architecture import architecture
from xferlib.viz.bars import bars
from xferlib.viz.compare import grid, show
from xferlib.viz.curves import curves
from xferlib.viz.masks import colorize, contours, heat, legend, overlay, palette
from xferlib.viz.objects import objects
from xferlib.viz.results import found
from xferlib.viz.roi import roi
from xferlib.viz.style import style
from xferlib.viz.table import table

__all__ = [
    "architecture",
    "bars",
    "colorize",
    "contours",
    "curves",
    "found",
    "grid",
    "heat",
    "legend",
    "objects",
    "overlay",
    "palette",
    "roi",
    "show",
    "style",
    "table",
]
