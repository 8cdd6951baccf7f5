"""Which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from jax import Array
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from jaxcnn.plots import style

WRITTEN = 20  # up to so many classes, each cell says its count
NAMED = 100  # up to so many classes, each has its name on the axes; beyond, every n-th


def confusion_matrix(
    counts: Int[Array | np.ndarray, "true predicted"], classes: Sequence[str]
) -> Figure:
    """Draw how many examples of each true class (rows) got each predicted class (columns).

    The colour is the share of the row (by its square root, so that rare confusions are seen); the
    text, written for up to 20 classes, is the count. Accuracy is the diagonal's share of all.

    Args:
        counts: examples, row = true class, column = predicted class.
        classes: their names, in the order of the rows.

    Returns:
        a figure with two axes: the matrix and its colour bar.

    Raises:
        ValueError: counts that are not classes x classes, or none at all, or negative.

    Example:
        >>> import numpy as np
        >>> figure = confusion_matrix(np.array([[8, 0], [1, 3]]), ["cat", "dog"])
        >>> figure.axes[0].get_title(loc="left")
        'Accuracy 91.67 %: 11 of 12 right'
    """
    counts = np.asarray(counts)
    size = len(classes)
    if counts.shape != (size, size):
        raise ValueError(
            f"confusion_matrix: counts needs shape {(size, size)} for {size} classes, "
            f"got {counts.shape}."
        )
    if not counts.sum() or counts.min() < 0:
        raise ValueError(
            "confusion_matrix: counts needs at least one example and none below zero, "
            f"got a sum of {counts.sum()} and a minimum of {counts.min(initial=0)}."
        )
    rows = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(rows, 1)

    side = float(np.clip(2.6 + 0.42 * size, 4.2, 11))
    figure = style.figure(side + 1, side)
    axes = figure.add_subplot()
    root = PowerNorm(0.5, vmin=0, vmax=100)  # on a linear scale, confusions of 1 % look like none
    image = axes.imshow(100 * shares, cmap="Blues", norm=root, interpolation="nearest")
    _name(axes, classes)
    axes.set_xlabel("predicted class", color=style.INK)
    axes.set_ylabel("true class", color=style.INK)
    style.no_frame(axes)
    if size <= WRITTEN:
        _write(axes, counts, shares)
    bar = figure.colorbar(
        image, ax=axes, shrink=0.8, aspect=30, pad=0.02, ticks=[0, 1, 5, 10, 25, 50, 100]
    )
    bar.set_label("share of the true class (%)", color=style.INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=style.INK, length=0)
    right, total = int(np.trace(counts)), int(counts.sum())
    style.title(axes, f"Accuracy {100 * right / total:.2f} %: {right:,} of {total:,} right")
    return figure


def _name(axes: Axes, classes: Sequence[str]) -> None:
    """Class names on both axes, upright below where they would run into each other."""
    size = len(classes)
    places = range(0, size, -(-size // NAMED))
    names = [classes[i] for i in places]
    font = float(np.clip(260 / len(names), 5, 10))
    axes.set_xticks(places, names, fontsize=font, parse_math=False)
    axes.set_yticks(places, names, fontsize=font, parse_math=False)
    if size > WRITTEN:
        axes.tick_params(axis="x", rotation=90)
    elif max(map(len, names)) > 3:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")


def _write(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """The counts in their cells; zeros stay blank, they are most of a good matrix."""
    for i, j in zip(*np.nonzero(counts), strict=True):
        axes.text(
            j,
            i,
            f"{counts[i, j]}",
            ha="center",
            va="center",
            fontsize=9 if counts.max() < 10_000 else 7,
            color="white" if shares[i, j] > 0.3 else style.INK,
        )
