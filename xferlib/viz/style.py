"""The look of every plot in the book."""

import matplotlib as mpl
from cycler import cycler

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
"""Colours that stay apart under any common colour blindness: Okabe and Ito's, without the yellow."""

INK = "#222832"
MUTED = "#5b6675"


def style() -> None:
    """
    Give matplotlib the book's look: white ground, no frame at the top and right, colours for everyone.

    Sets ``matplotlib.rcParams`` for the process; call it once, in the first cell.
    """
    mpl.rcParams.update(
        {
            "figure.figsize": (7.0, 3.4),
            "figure.dpi": 144,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "savefig.dpi": 200,
            "axes.facecolor": "white",
            "axes.edgecolor": MUTED,
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.labelcolor": INK,
            "axes.labelsize": 9.5,
            "axes.titlecolor": INK,
            "axes.titlelocation": "left",
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "axes.prop_cycle": cycler(color=COLORS),
            "axes.axisbelow": True,
            "grid.color": "#e3e6ea",
            "grid.linewidth": 0.7,
            "font.size": 9.5,
            "text.color": INK,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 1.8,
            "lines.solid_capstyle": "round",
            "image.interpolation": "nearest",
            "image.cmap": "viridis",
        }
    )
