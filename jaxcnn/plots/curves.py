"""Loss and accuracy by epoch."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from jaxcnn.plots import style

Row = Mapping[str, float | int]


def loss_curves(metrics: Sequence[Row]) -> Figure:
    """Draw loss (nats) and accuracy (%) by epoch, for training and validation, side by side.

    The best validation epoch has the highest validation accuracy and, among equals, the lowest
    validation loss. The loss has a logarithmic axis where it spans a factor of 30 or more.

    Args:
        metrics: one row per epoch with `epoch`, `train_loss` and `train_accuracy` (0 to 1) and,
            where the epoch was validated, `val_loss` and `val_accuracy`; other keys are ignored.
            NaN and infinite values leave a gap.

    Returns:
        a figure with two axes.

    Raises:
        ValueError: no rows, or a row without one of the keys it must have.

    Example:
        >>> row = {"epoch": 1, "train_loss": 2.3, "train_accuracy": 0.125}
        >>> figure = loss_curves([row, {**row, "epoch": 2, "train_loss": 1.5}])
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['Loss: training 1.5 at epoch 2', 'Accuracy: training 12.5 %']
    """
    if not metrics:
        raise ValueError("loss_curves: metrics needs at least one row, got none.")
    for row in metrics:
        missing = {"epoch", "train_loss", "train_accuracy"} - row.keys()
        if missing:
            raise ValueError(f"loss_curves: every row needs {sorted(missing)}, got {dict(row)}.")
    best = _best(metrics)
    figure = style.figure(11.0, 4.2)
    loss, accuracy = figure.subplots(1, 2, gridspec_kw={"wspace": 0.08})
    _panel(loss, metrics, "loss", 1.0, best)
    _panel(accuracy, metrics, "accuracy", 100.0, best)
    _loss_axis(loss)
    loss.set_ylabel(f"loss (nats{', log scale' if loss.get_yscale() == 'log' else ''})")
    accuracy.set_ylabel("accuracy (%)")
    low, high = accuracy.get_ylim()
    high = min(high, 100)
    accuracy.set_ylim(max(min(low, high - 10), 0), high)  # a few tenths are no mountain

    shown, part = (metrics[-1], "train") if best is None else (best, "val")
    name = {"train": "training", "val": "validation"}[part]
    value = f"{shown[f'{part}_loss']:.3g} at epoch {shown['epoch']:g}"
    style.title(loss, f"Loss: {name} {value}")
    style.title(accuracy, f"Accuracy: {name} {100 * shown[f'{part}_accuracy']:.1f} %")
    figure.legend(
        *accuracy.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        labelcolor=style.INK,
    )
    return figure


def _best(metrics: Sequence[Row]) -> Row | None:
    """The row with the best validation, or None where nothing was validated."""
    keys = ("val_accuracy", "val_loss")
    rows = [row for row in metrics if all(math.isfinite(row.get(k, math.nan)) for k in keys)]
    return max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]), default=None)


def _panel(
    axes: Axes, metrics: Sequence[Row], quantity: str, unit: float, best: Row | None
) -> None:
    """One quantity by epoch: training, validation, and a ring around the best validation."""
    epochs = [row["epoch"] for row in metrics]
    marker = "o" if len(epochs) <= 25 else ""
    for part, label, color in (
        ("train", "training", style.TRAIN),
        ("val", "validation", style.VALIDATION),
    ):
        rows = [row for row in metrics if f"{part}_{quantity}" in row]
        values = [unit * _finite(row[f"{part}_{quantity}"]) for row in rows]
        if rows:
            axes.plot(
                [row["epoch"] for row in rows],
                values,
                color=color,
                label=label,
                linewidth=2,
                marker=marker,
                markersize=4,
                clip_on=False,
            )
    if best is not None:
        axes.plot(
            best["epoch"],
            unit * best[f"val_{quantity}"],
            color=style.VALIDATION,
            label=f"best validation (epoch {best['epoch']:g})",
            linestyle="",
            marker="o",
            markersize=11,
            markerfacecolor="none",
            markeredgewidth=2,
            clip_on=False,
        )
    style.light_grid(axes)
    axes.set_xlabel("epoch", color=style.INK)
    axes.yaxis.label.set_color(style.INK)
    ticks = MaxNLocator(integer=True, nbins=10, steps=[1, 2, 5, 10], min_n_ticks=1)
    first, last = min(epochs), max(epochs)
    axes.set_xticks([t for t in ticks.tick_values(first, last) if first <= t <= last])
    margin = max(0.02 * (last - first), 0.05)
    axes.set_xlim(first - margin, last + margin)


def _finite(value: float) -> float:
    """Infinities would stretch the axis to nothing; matplotlib leaves a gap at NaN."""
    return value if math.isfinite(value) else math.nan


def _loss_axis(axes: Axes) -> None:
    """From zero on a linear axis, or a logarithmic one where the values span a factor of 30."""
    values = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in axes.lines])
    drawn = values[np.isfinite(values)]
    if drawn.size and drawn.min() > 0 and drawn.max() > 30 * drawn.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    elif drawn.size and drawn.min() >= 0:
        axes.set_ylim(bottom=0)
