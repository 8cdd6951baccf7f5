"""What the loss curves say, in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

GAP = 0.03  # training minus validation accuracy that counts as large
RISE = 1.1  # last validation loss over its smallest that counts as rising
HIGH = 0.25  # share of the loss of guessing, ln(classes) nats, that counts as high
LEARNT = 0.95  # training accuracy from which a high loss is label smoothing's, not underfitting


def diagnose(history: Sequence[Mapping[str, Any]], *, classes: int, diverged: bool = False) -> str:
    """One sentence on a training's curves: fit, overfitting, underfitting or divergence.

    Args:
        history: a row for each epoch, as `fit` returns them.
        classes: how many; ln(classes) nats is the loss of guessing.
        diverged: whether training was stopped by a loss that is not finite.

    Example:
        >>> row = {"train_loss": 1.9, "val_loss": 1.9, "train_accuracy": 0.3, "val_accuracy": 0.3}
        >>> diagnose([row, row], classes=10)
        'Underfitting: the loss is high (1.900 nats) and the gap small: ...'

    """
    if diverged:
        return "Diverged: the loss is no longer finite: lower the learning rate or clip gradients."
    if not history:
        return "No epoch was finished: nothing to say."
    first, last = history[0], history[-1]
    if last["train_loss"] > max(1.5 * first["train_loss"], math.log(classes)):
        return (
            f"Diverging: the training loss rose from {first['train_loss']:.3f} to "
            f"{last['train_loss']:.3f} nats: lower the learning rate or clip gradients."
        )
    if "val_loss" not in last:
        return (
            f"Training loss {last['train_loss']:.3f} nats; without validation images the curves "
            "say nothing about overfitting."
        )
    lowest = min(row["val_loss"] for row in history)
    gap = last["train_accuracy"] - last["val_accuracy"]
    if gap > GAP or (gap > 0 and last["val_loss"] > RISE * lowest and lowest > last["train_loss"]):
        best = next(row for row in history if row["val_loss"] == lowest)
        return (
            f"Overfitting: training accuracy is {100 * gap:.1f} points above validation, whose "
            f"loss was lowest ({lowest:.3f} nats) at epoch {best['epoch']}: regularise (weight "
            "decay, dropout, augmentation, more data) or stop earlier."
        )
    if last["train_loss"] > HIGH * math.log(classes) and last["train_accuracy"] < LEARNT:
        return (
            f"Underfitting: the loss is high ({last['train_loss']:.3f} nats) and the gap small: "
            "more capacity, more epochs or a larger learning rate."
        )
    return (
        f"Good fit: training loss {last['train_loss']:.3f}, validation loss "
        f"{last['val_loss']:.3f} nats, accuracies {100 * abs(gap):.1f} points apart."
    )
