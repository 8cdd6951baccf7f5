import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn.interpret.filters import filter_grid as interpret_grid
from jaxcnn.plots import filter_grid


def tiles(figure):
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


@pytest.mark.parametrize("shape", [(5, 5, 1, 6), (7, 7, 3, 64), (1, 7, 3, 13), (3, 3, 16, 1)])
def test_filter_grid_draws_every_filter_once(shape):
    figure = filter_grid(array(*shape))
    h, w, c_in, c_out = shape
    axes = figure.axes[0]
    assert len(figure.axes) == 1
    assert len(axes.images) == c_out
    assert axes.get_title(loc="left") == f"{c_out} filter{'s' * (c_out > 1)} of {h}x{w}x{c_in}"
    for tile in tiles(figure):
        assert tile.shape == ((h, w, 3) if c_in == 3 else (h, w))
        assert tile.min() == 0
        assert tile.max() == 1
    places = {tuple(image.get_extent()) for image in axes.images}
    assert len(places) == c_out
    left, right, bottom, top = np.array(sorted(places)).T
    np.testing.assert_allclose((right - left) / (bottom - top), w / h)
    low, high = axes.get_xlim()
    assert low <= left.min()
    assert right.max() <= high
    high, low = axes.get_ylim()
    assert low <= top.min()
    assert bottom.max() <= high


def test_filter_grid_pixels():
    kernel = jnp.array([[0.0, 1.0], [2.0, 4.0]]).reshape(2, 2, 1, 1)
    assert_close(tiles(filter_grid(kernel))[0], [[0, 0.25], [0.5, 1]])
    assert_close(tiles(filter_grid(-7 * kernel + 3))[0], [[1, 0.75], [0.5, 0]])
    other = jnp.array([[0.0, 3.0], [0.0, 0.0]]).reshape(2, 2, 1, 1)
    pair = jnp.concatenate([kernel, other], axis=2)
    assert_close(tiles(filter_grid(pair))[0], [[0, 1], [0.5, 1]])
    assert filter_grid(pair).axes[0].get_xlabel().startswith("mean over 2 input channels")
    color = jnp.arange(12.0).reshape(2, 2, 3, 1)
    assert_close(tiles(filter_grid(color))[0], color[..., 0] / 11)
    assert filter_grid(color).axes[0].get_xlabel().startswith("red, green, blue")
    assert_close(tiles(filter_grid(jnp.ones((2, 2, 1, 1))))[0], np.full((2, 2), 0.5))


def test_filter_grid_takes_bfloat16():
    kernel = array(3, 3, 1, 2).astype(jnp.bfloat16)
    exact = tiles(filter_grid(np.asarray(kernel).astype(np.float32)))
    assert_close(tiles(filter_grid(kernel)), exact)


def test_filter_grid_errors(unchecked):
    with pytest.raises(ValueError, match=r"filter_grid: kernel needs axes .* got \(3, 3, 2\)"):
        filter_grid(array(3, 3, 2))
    with pytest.raises(ValueError, match=r"filter_grid: .* none empty, got \(3, 3, 1, 0\)"):
        filter_grid(jnp.zeros((3, 3, 1, 0)))
    with pytest.raises(ValueError, match="filter_grid: kernel needs finite values"):
        filter_grid(jnp.full((3, 3, 1, 1), jnp.nan))


def test_filter_grid_by_channel():
    kernel = array(3, 2, 4, 5)
    figure = filter_grid(kernel, per_channel=True)
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "5 filters of 3x2x4"
    assert axes.get_xlabel().startswith("rows: 4 input channels, columns: filters")
    drawn = tiles(figure)
    assert len(drawn) == 20
    expected = np.asarray(interpret_grid(kernel, per_channel=True))[..., 0].reshape(20, 3, 2)
    np.testing.assert_array_equal(drawn, expected)
    left, _, _, top = np.array([image.get_extent() for image in axes.images]).T
    assert len(set(left)) == 5
    assert len(set(top)) == 4


def test_filter_grid_says_what_is_left_out():
    figure = filter_grid(jnp.ones((1, 1, 40, 64)), per_channel=True)
    assert len(figure.axes[0].images) == 32 * 32
    assert figure.axes[0].get_title(loc="left") == "The first 32 of 64 filters of 1x1x40"
    assert "rows: the first 32 of 40 input channels" in figure.axes[0].get_xlabel()


@pytest.mark.slow
def test_filter_grid_bounds_whole_filters():
    figure = filter_grid(jnp.ones((1, 1, 1, 1030)))
    assert len(figure.axes[0].images) == 1024
    assert figure.axes[0].get_title(loc="left") == "The first 1024 of 1030 filters of 1x1x1"
