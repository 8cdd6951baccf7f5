import math

import numpy as np
import pytest

from helpers import assert_close
from jaxcnn.plots import loss_curves


def rows(epochs, *, validated=True):
    """Loss 1 / epoch and accuracy 1 - 0.5 / epoch; validation a tenth behind, best at epoch 3."""
    made = []
    for e in range(1, epochs + 1):
        row = {"epoch": e, "train_loss": 1 / e, "train_accuracy": 1 - 0.5 / e, "learning_rate": 0.1}
        if validated:
            row |= {"val_loss": 1 / e + 0.1, "val_accuracy": 0.9 - 0.01 * abs(e - 3)}
        made.append(row)
    return made


def lines(axes):
    """The drawn data by its label."""
    return {line.get_label(): line.get_xydata() for line in axes.lines}


@pytest.mark.parametrize("epochs", [1, 2, 5, 26])
def test_loss_curves_draw_the_rows(epochs):
    metrics = rows(epochs)
    loss, accuracy = loss_curves(metrics).axes
    axis = np.arange(1, epochs + 1)
    for axes, quantity, unit in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
        drawn = lines(axes)
        for part, label in (("train", "training"), ("val", "validation")):
            values = [unit * row[f"{part}_{quantity}"] for row in metrics]
            np.testing.assert_array_equal(drawn[label], np.stack([axis, values], axis=1))
        assert axes.get_xlabel() == "epoch"
    assert accuracy.get_ylabel() == "accuracy (%)"
    assert loss.get_ylabel() == "loss (nats)"


def test_loss_curves_mark_the_best_validation():
    figure = loss_curves(rows(5))
    loss, accuracy = figure.axes
    label = "best validation (epoch 3)"
    assert_close(lines(loss)[label], [[3, 1 / 3 + 0.1]], "float64")
    assert_close(lines(accuracy)[label], [[3, 90]], "float64")
    assert loss.get_title(loc="left") == "Loss: validation 0.433 at epoch 3"
    assert accuracy.get_title(loc="left") == "Accuracy: validation 90.0 %"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["training", "validation", label]


def test_loss_curves_ties_go_to_the_lower_loss():
    metrics = [{**row, "val_accuracy": 0.5} for row in rows(4)]
    assert "best validation (epoch 4)" in lines(loss_curves(metrics).axes[0])


def test_loss_curves_without_validation():
    some = [{**rows(1)[0]}, *rows(4, validated=False)[1:]]
    assert lines(loss_curves(some).axes[0])["validation"].shape == (1, 2)
    loss, accuracy = loss_curves(rows(4, validated=False)).axes
    assert lines(loss).keys() == lines(accuracy).keys() == {"training"}
    assert loss.get_title(loc="left") == "Loss: training 0.25 at epoch 4"


def test_loss_curves_leave_gaps():
    metrics = rows(5)
    metrics[2] |= {"train_loss": math.nan, "val_loss": math.inf}
    loss, _ = loss_curves(metrics).axes
    drawn = lines(loss)
    assert np.isnan(drawn["training"][2, 1])
    assert np.isnan(drawn["validation"][2, 1])
    assert "best validation (epoch 4)" in drawn
    assert loss.get_ylim()[1] < 1.5
    lost = {"epoch": 1, "train_loss": math.nan, "train_accuracy": 0.1}
    assert loss_curves([lost]).axes[0].get_ylabel() == "loss (nats)"


def test_loss_curves_axes_fit_the_data():
    loss, accuracy = loss_curves(rows(27)).axes
    assert loss.get_yscale() == "linear"
    assert loss.get_ylim()[0] == 0
    assert accuracy.get_ylim()[1] <= 100
    loss, _ = loss_curves(rows(28)).axes
    assert loss.get_yscale() == "log"
    assert loss.get_ylabel() == "loss (nats, log scale)"
    flat = [{**row, "train_accuracy": 0.99, "val_accuracy": 0.99} for row in rows(3)]
    low, high = loss_curves(flat).axes[1].get_ylim()
    assert high - low == pytest.approx(10)


def test_loss_curves_errors():
    with pytest.raises(ValueError, match="loss_curves: metrics needs at least one row, got none"):
        loss_curves([])
    with pytest.raises(ValueError, match=r"loss_curves: every row needs \['train_loss'\], got"):
        loss_curves([{"epoch": 1, "train_accuracy": 0.5}])
