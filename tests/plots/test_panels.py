import numpy as np
import pytest

from jaxcnn.plots import Panel, bar_groups, line_panels, save, style

X = [1, 10, 100, 1000]


def panels():
    return [
        Panel("Time", "inputs m", "time (ms)", {"a": (X, X), "b": (X, [2, 2, np.inf, 2])}, "xy"),
        Panel("Memory", "inputs m", "memory (MB)", {"b": (X, X)}, guides={"bound": (X, [5] * 4)}),
        Panel("FLOPs", "inputs m", "FLOPs", {"c": (X[:2], X[:2])}, "x"),
    ]


def test_panels_draw_the_series():
    figure = line_panels(panels())
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Time", "Memory", "FLOPs"]
    time, memory, flops = figure.axes
    lines = {line.get_label(): line for line in time.lines}
    np.testing.assert_array_equal(lines["a"].get_xydata(), np.stack([X, X], axis=1))
    np.testing.assert_array_equal(lines["b"].get_ydata(), [2, 2, np.nan, 2])
    assert (time.get_xlabel(), time.get_ylabel()) == ("inputs m", "time (ms)")
    scales = [(axes.get_xscale(), axes.get_yscale()) for axes in figure.axes]
    assert scales == [("log", "log"), ("linear", "linear"), ("log", "linear")]
    assert [text.get_text() for text in memory.texts] == ["bound"]
    np.testing.assert_array_equal(flops.lines[0].get_xdata(), X[:2])


def test_a_name_looks_alike_in_every_panel():
    figure = line_panels(panels())
    time, memory, flops = figure.axes
    b = [line for axes in (time, memory) for line in axes.lines if line.get_label() == "b"]
    assert {(line.get_color(), line.get_marker()) for line in b} == {(style.SERIES[1], "s")}
    assert flops.lines[0].get_color() == style.SERIES[2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    assert len(set(style.SERIES)) == len(style.SERIES)


def test_panels_wrap_and_one_name_needs_no_legend(tmp_path):
    one = Panel("Title", "x", "y", {"a": (X, X)})
    figure = line_panels([one] * 3, columns=2)
    assert len(figure.axes) == 3
    assert not figure.legends
    assert save(figure, tmp_path / "panels.png").stat().st_size > 5000


def test_guides_do_not_move_the_axes():
    series = {"a": (X, X)}
    plain = line_panels([Panel("", "x", "y", series)]).axes[0]
    guided = line_panels([Panel("", "x", "y", series, "", {"far": (X, [9e9] * 4)})]).axes[0]
    assert guided.get_ylim() == plain.get_ylim()


def test_bar_groups():
    groups = {"jvp": {"FLOPs": 2.5, "time": 1.8}, "vjp": {"FLOPs": 3.0, "time": 123.4}}
    figure = bar_groups(groups, "times f's", bound=("bound 5", 5.0))
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [2.5, 1.8, 3.0, 123.4]
    colours = [axes.patches[i].get_facecolor() for i in range(4)]
    assert colours[0] == colours[2] != colours[1] == colours[3]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["2.5", "1.8", "3", "123"]
    assert axes.lines[0].get_ydata() == [5, 5]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["FLOPs", "time", "bound 5"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["jvp", "vjp"]
    assert axes.get_ylabel() == "times f's"


def test_few_places_have_their_numbers():
    labels = line_panels(panels()).axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["1", "10", "100", "1000"]


def test_errors():
    with pytest.raises(ValueError, match="line_panels: from 1 to 7 names .* got 0"):
        line_panels([])
    many = {str(i): (X, X) for i in range(8)}
    with pytest.raises(ValueError, match="line_panels: from 1 to 7 names .* got 8"):
        line_panels([Panel("", "x", "y", many)])
    with pytest.raises(ValueError, match="line_panels: 'a' needs as many x as y, got 4 and 1"):
        line_panels([Panel("", "x", "y", {"a": (X, [1])})])
    with pytest.raises(ValueError, match="line_panels: logarithmic is .* got \"z\"|got 'z'"):
        line_panels([Panel("", "x", "y", {"a": (X, X)}, "z")])
    with pytest.raises(ValueError, match="bar_groups: from 1 to 7 names .* got 0"):
        bar_groups({}, "y")
