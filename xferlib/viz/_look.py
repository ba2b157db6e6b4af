"""What the two layouts of a net's drawing share: colours, words and the key."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

COLORS = {
    "input": "#FFFFFF",
    "conv": "#8DB9DE",
    "block": "#8DB9DE",
    "pool": "#E98C6C",
    "down": "#E98C6C",
    "deconv": "#6FBF9F",
    "up": "#6FBF9F",
    "unpool": "#F0C55C",
    "upsample": "#CBB3DA",
    "join": "#FFFFFF",
}
MEANINGS = {
    "conv": "convolution",
    "block": "block",
    "pool": "pooling",
    "down": "reducing block",
    "deconv": "deconvolution",
    "up": "enlarging block",
    "unpool": "unpooling",
    "upsample": "interpolation",
}
FONT = 7.5


def key_rows(handles: Sequence[Any]) -> int:
    """Count the rows of the key: one, or two entries a row where one would be too long."""
    return 1 if sum(len(handle.get_label()) for handle in handles) < 70 else (len(handles) + 1) // 2


def draw_key(axes: Axes, handles: Sequence[Any]) -> None:
    """Draw the key at the foot of the figure."""
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.15, 0.06),
        bbox_transform=axes.figure.dpi_scale_trans,
        ncols=len(handles) if key_rows(handles) == 1 else 2,
        fontsize=FONT,
        frameon=False,
        handlelength=1.1,
        handleheight=0.9,
        columnspacing=1.2,
        borderpad=0,
        borderaxespad=0,
    )
