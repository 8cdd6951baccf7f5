"""What all figures share: colours, bare axes, titles at the left, and how they are written."""

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

DPI = 150

# Two colours of Okabe & Ito (2008), Color universal design: apart for every kind of colour vision.
TRAIN = "#0072B2"
VALIDATION = "#D55E00"
# All of theirs but black and the yellow, which is too light on white for a line; grey instead.
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6b6b6b")
INK = "#262626"
FAINT = "#8a8a8a"
GRID = "#e6e6e6"
EMPTY = "#d8dce2"  # behind tiles; neither black nor white: every tile's edge shows
# Colour maps that all kinds of colour vision can read, by Brewer (2003), ColorBrewer.org, and Smith
# & van der Walt (2015), bids.github.io/colormap.
SIGNED = "RdBu_r"  # blue below zero, white, red above
AMOUNT = "viridis"


def figure(width: float, height: float) -> Figure:
    """An empty white figure, in inches, made without pyplot: closing it is never needed."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def title(axes: Axes, text: str) -> None:
    """A title over the left edge of the axes."""
    axes.set_title(text, loc="left", color=INK, fontsize=12, fontweight="bold", pad=10)


def light_grid(axes: Axes) -> None:
    """Horizontal lines behind the data, no box."""
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(colors=INK, length=0, labelsize=10)
    axes.tick_params(axis="x", length=4, color=FAINT)


def no_frame(axes: Axes) -> None:
    """No spines and no tick marks; the labels of the ticks stay."""
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=INK, length=0)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, 150 dots per inch, and make the folders that are missing.

    Args:
        figure: from any function of this room.
        path: the file to write; one that exists is replaced.

    Returns:
        the path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A tight box: names of any length stay whole, and no empty margin.
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI, format="png", bbox_inches="tight", pad_inches=0.15)
    # All opaque: without the channel that says so the file is a tenth smaller.
    with Image.open(drawn) as image:
        image.convert("RGB").save(path, "PNG", dpi=(DPI, DPI), optimize=True)
    return path
