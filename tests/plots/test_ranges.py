import numpy as np
import pytest

from jaxcnn.plots import save
from jaxcnn.plots.ranges import learning_rate_curve


def test_the_curve_marks_what_was_found(tmp_path):
    rates = np.geomspace(1e-4, 1, 50)
    smoothed = (np.log10(rates) + 1) ** 2 + 0.5
    smoothed[-1] = 100.0
    figure = learning_rate_curve(rates, smoothed + 0.1, smoothed, 0.003, 0.0123)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["smoothed"].get_ydata()) == list(smoothed)
    assert list(lines["suggested largest rate (0.012)"].get_xdata()) == [0.0123, 0.0123]
    x, y = lines["steepest descent (0.003)"].get_xydata()[0]
    assert x == 0.003
    assert y == pytest.approx((np.log10(0.003) + 1) ** 2 + 0.5, rel=0.01)
    assert axes.get_xscale() == "log"
    assert axes.get_ylim()[1] < 20  # the blow-up does not flatten the rest
    assert axes.get_xlabel() == "learning rate (log scale)"
    assert axes.get_ylabel() == "training loss (nats)"
    assert save(figure, tmp_path / "a.png").stat().st_size > 0


def test_errors():
    one = np.ones(2)
    for rates in (one, -one, np.array([])):
        with pytest.raises(ValueError, match="learning_rate_curve: rates must grow from above 0"):
            learning_rate_curve(rates, rates, rates, 0.1, 0.1)
