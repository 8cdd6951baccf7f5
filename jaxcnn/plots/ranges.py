"""The loss by the learning rate, as a range test finds it."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from jaxcnn.plots import style


def learning_rate_curve(
    rates: Float[np.ndarray, " steps"],
    losses: Float[np.ndarray, " steps"],
    smoothed: Float[np.ndarray, " steps"],
    steepest: float,
    suggestion: float,
) -> Figure:
    """Draw the loss of a training whose learning rate grows from step to step.

    Args:
        rates: learning rates, growing.
        losses: of each step's batch, in nats.
        smoothed: the same without their noise.
        steepest: the rate where the loss falls fastest.
        suggestion: the largest rate that is suggested.

    Returns:
        a figure with one axes.

    Raises:
        ValueError: no steps, or rates that do not grow.

    Example:
        >>> rates, losses = np.array([0.01, 0.1, 1.0]), np.array([2.0, 1.0, 3.0])
        >>> figure = learning_rate_curve(rates, losses, losses, 0.03, 0.01)
        >>> figure.axes[0].get_title(loc="left")
        'Suggested largest learning rate: 0.01'
    """
    if not len(rates) or rates[0] <= 0 or np.any(np.diff(rates) <= 0):
        raise ValueError(f"learning_rate_curve: rates must grow from above 0, got {rates}.")
    figure = style.figure(7.6, 4.6)
    axes = figure.add_subplot()
    style.light_grid(axes)
    axes.set_xscale("log")
    axes.plot(rates, losses, color=style.TRAIN, alpha=0.25, linewidth=1, label="each batch")
    axes.plot(rates, smoothed, color=style.TRAIN, linewidth=2.4, label="smoothed")
    height = float(np.interp(np.log(steepest), np.log(rates), smoothed))
    axes.plot(
        steepest, height, "o", color=style.INK, markersize=8, zorder=4,
        label=f"steepest descent ({steepest:.2g})",
    )  # fmt: skip
    axes.axvline(
        suggestion, color=style.VALIDATION, linewidth=1.8, linestyle=(0, (4, 2)),
        label=f"suggested largest rate ({suggestion:.2g})",
    )  # fmt: skip
    low, high = float(smoothed.min()), float(smoothed[: smoothed.argmin() + 1].max())
    room = 0.15 * max(high - low, 1e-3)
    # What comes after the fall only has to be seen to rise.
    axes.set_ylim(max(low - 2 * room, 0.0), high + 3 * room)
    axes.set_xlim(rates[0], rates[-1])
    axes.set_xlabel("learning rate (log scale)", color=style.INK)
    axes.set_ylabel("training loss (nats)", color=style.INK)
    axes.legend(frameon=False, labelcolor=style.INK, loc="lower left")
    style.title(axes, f"Suggested largest learning rate: {suggestion:.2g}")
    return figure
