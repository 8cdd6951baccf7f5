import math

import numpy as np
import pytest

from jaxcnn.plots import save, sweep_results


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_one_option_is_a_curve_with_error_bars(tmp_path):
    rates = [0.1, 0.1, 0.001, 0.001, 1.0]
    figure = sweep_results(
        {"learning_rate": rates, "momentum": [0.9] * 5}, [0.5, 0.7, 0.2, 0.4, math.nan]
    )
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "Best 60.0 %: learning rate 0.1"
    assert axes.get_xlabel() == "learning rate (log scale)"
    assert axes.get_ylabel() == "validation accuracy (%), mean ± standard deviation"
    (bars,) = axes.containers
    x, y = bars.lines[0].get_xydata().T
    np.testing.assert_allclose(x, [-3, -1, 0])
    np.testing.assert_allclose(y, [30, 60, np.nan])
    np.testing.assert_allclose(bars.lines[2][0].get_segments()[1][:, 1], [50, 70])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.001", "0.1", "1"]
    assert texts(axes) == ["diverged"]
    save(figure, tmp_path / "a.png")


def test_the_member_that_is_marked():
    figure = sweep_results({"learning_rate": [0.1, 0.2]}, [0.5, 0.5], best=1)
    assert figure.axes[0].get_title(loc="left") == "Best 50.0 %: learning rate 0.2"


def test_words_and_one_seed():
    figure = sweep_results({"optimizer": ["sgd", "adam"]}, [0.5, 0.25])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["sgd", "adam"]
    assert axes.get_ylabel() == "validation accuracy (%)"


def test_two_options_are_a_map(tmp_path):
    grid = [(rate, decay) for rate in (0.01, 0.1, 1.0) for decay in (0.0, 0.5) for _ in range(2)]
    accuracy = [0.1 * i / 2 for i in range(12)]
    accuracy[10:] = [math.nan, math.nan]
    options = {"weight_decay": [d for _, d in grid], "learning_rate": [r for r, _ in grid]}
    figure = sweep_results(options, accuracy)
    axes, bar = figure.axes
    assert axes.get_title(loc="left") == "Best 42.5 %: weight decay 0, learning rate 1"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate (log scale)", "weight decay")
    assert bar.get_ylabel() == "validation accuracy (%)"
    cells = axes.images[0].get_array()
    np.testing.assert_allclose(cells.filled(np.nan), [[2.5, 22.5, 42.5], [12.5, 32.5, np.nan]])
    assert texts(axes)[0] == "2.5\n± 2.5"
    assert texts(axes)[-1] == "diverged"
    assert axes.patches[0].get_xy() == (1.5, -0.5)  # a frame around the best
    save(figure, tmp_path / "a.png")


def test_draws_of_two_options_are_dots(tmp_path):
    figure = sweep_results(
        {"learning_rate": [0.1, 0.2, 0.3], "batch_size": [32, 64, 32]}, [0.1, 0.5, math.nan]
    )
    axes, _ = figure.axes
    assert [line.get_marker() for line in axes.lines] == ["o", "o", "x", "o"]
    np.testing.assert_allclose(axes.lines[-1].get_xydata(), [[0.2, 64]])  # the ring
    assert axes.get_ylabel() == "batch size (images)"
    save(figure, tmp_path / "a.png")


def test_more_options_are_parallel_coordinates(tmp_path):
    options = {
        "learning_rate": [0.001, 0.01, 0.1],
        "momentum": [0.5, 0.7, 0.9],
        "optimizer": ["adam", "sgd", "adam"],
    }
    figure = sweep_results(options, [0.1, 0.9, math.nan])
    axes, _ = figure.axes
    best = max(axes.lines, key=lambda line: line.get_linewidth())
    np.testing.assert_allclose(best.get_ydata(), [0.5, 0.5, 1.0])
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "learning rate\n(log scale)", "momentum", "optimizer",
    ]  # fmt: skip
    assert {"0.001", "0.7", "adam", "sgd"} <= set(texts(axes))
    save(figure, tmp_path / "a.png")


def test_numbers_that_would_lie_on_each_other_are_left_out():
    options = {"a": [0.5, 0.501, 0.9], "b": [1, 2, 3], "c": [1, 2, 3]}
    shown = texts(sweep_results(options, [0.1, 0.2, 0.3]).axes[0])
    assert {"0.5", "0.9"} <= set(shown)
    assert "0.501" not in shown


def test_where_all_diverged_or_are_alike(tmp_path):
    figure = sweep_results({"learning_rate": [1e37, 1e38]}, [math.nan, math.nan])
    save(figure, tmp_path / "a.png")
    title = figure.axes[0].get_title(loc="left")
    assert title == "All members diverged"
    grid = {"a": [1, 1, 2, 2], "b": [1, 2, 1, 2]}
    assert sweep_results(grid, [math.nan] * 4).axes[0].get_title(loc="left") == title
    assert sweep_results(grid, [0.5] * 4).axes[0].get_title(loc="left") == "Best 50.0 %: a 1, b 1"


@pytest.mark.parametrize(
    ("options", "accuracy"), [({}, [0.5]), ({"a": []}, []), ({"a": [1]}, [1, 2])]
)
def test_errors(options, accuracy):
    with pytest.raises(ValueError, match="sweep_results: needs an accuracy and a value"):
        sweep_results(options, accuracy)
