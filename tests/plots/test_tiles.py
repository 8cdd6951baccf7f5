import numpy as np
from matplotlib.colors import to_rgb

from helpers import assert_close
from jaxcnn.plots import style, tiles


def test_colours():
    image = np.array([[[0.0], [0.5]], [[2.0], [np.nan]]])
    expected = [[(0, 0, 0), (0.5, 0.5, 0.5)], [(1, 1, 1), to_rgb(style.EMPTY)]]
    assert_close(tiles.colours(image), np.array(expected), "exact")
    scaled = tiles.colours(np.array([[[-2.0, 0, 6]]]), (-2, 2))
    assert_close(scaled, np.array([[[0, 0.5, 1]]]), "exact")


def test_signed_colours_have_zero_in_the_middle():
    below, zero, above = tiles.coloured(np.array([[-3.0, 0, 3]]), style.SIGNED, -3, 3)[0]
    assert zero.min() > 0.95  # white
    assert below[2] > below[0]  # blue
    assert above[0] > above[2]  # red


def test_bars():
    figure = style.figure(2, 2)
    first, second, third = figure.subplots(3)
    tiles.colour_bar(first, style.SIGNED, -0.25, 0.25)
    assert [t.get_text() for t in first.get_xticklabels()] == ["-0.25", "0", "0.25"]
    tiles.colour_bar(second, style.AMOUNT, 0, 30)
    assert [t.get_text() for t in second.get_xticklabels()] == ["0", "30"]
    tiles.upright_bar(third, style.AMOUNT, 1.5)
    assert [t.get_text() for t in third.get_yticklabels()] == ["0", "1.5"]


def test_pixel_bar_is_a_round_number_of_pixels():
    for width, length in [(1, 1), (8, 2), (27, 10), (28, 10), (224, 100), (491, 200)]:
        axes = style.figure(2, 2).add_subplot()
        tiles.draw(axes, np.zeros((width, width, 3)))
        tiles.pixel_bar(axes, width)
        assert_close(np.ptp(axes.lines[0].get_xdata()), length, "float64")
        assert axes.texts[0].get_text() == f"{length} pixel{'s' * (length > 1)}"
        assert axes.get_xlim() == (-0.5, width - 0.5)
