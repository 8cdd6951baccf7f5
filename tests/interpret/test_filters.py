import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn.interpret.filters import filter_grid


@pytest.mark.parametrize("shape", [(5, 5, 1, 6), (3, 5, 3, 11), (1, 7, 4, 13), (3, 3, 2, 1)])
def test_equal_to_a_loop(shape):
    kernel = np.asarray(array(*shape))
    tiles = np.asarray(filter_grid(kernel))
    h, w, c_in, c_out = shape
    rows, columns = tiles.shape[:2]
    assert tiles.shape[2:] == (h, w, 3 if c_in == 3 else 1)
    assert columns * (rows - 1) < c_out <= columns * rows
    for i in range(rows * columns):
        tile = tiles[i // columns, i % columns]
        if i >= c_out:
            assert np.isnan(tile).all()
            continue
        k = kernel[..., i] if c_in == 3 else kernel[..., i].mean(-1, keepdims=True)
        assert_close(tile, (k - k.min()) / (k.max() - k.min()))
        assert (tile.min(), tile.max()) == (0, 1)


def test_each_channel_by_itself():
    kernel = np.asarray(array(3, 2, 4, 5))
    tiles = filter_grid(kernel, per_channel=True)
    assert tiles.shape == (4, 5, 3, 2, 1)
    for i in range(4):
        for o in range(5):
            assert_close(tiles[i, o], filter_grid(kernel[:, :, i : i + 1, o : o + 1])[0, 0])


def test_constant_filters_are_grey():
    assert_close(filter_grid(jnp.full((2, 2, 3, 2), -4.0))[0], jnp.full((2, 2, 2, 3), 0.5), "exact")
    mixed = jnp.concatenate([jnp.zeros((1, 2, 1, 1)), jnp.array([[1.0, 3.0]])[..., None, None]], 3)
    assert filter_grid(mixed, per_channel=True).ravel().tolist() == [0.5, 0.5, 0, 1]


def test_precision_and_jit():
    kernel = array(3, 3, 2, 4)
    low = kernel.astype(jnp.bfloat16)
    assert_close(filter_grid(low), filter_grid(low.astype(jnp.float32)))
    assert_close(jax.jit(filter_grid)(kernel), filter_grid(kernel))
    with jax.enable_x64(True):
        assert filter_grid(np.ones((2, 2, 1, 1))).dtype == jnp.float64


def test_grids_are_full_where_they_can_be():
    grids = {n: filter_grid(jnp.ones((3, 3, 1, n))).shape[:2] for n in (1, 6, 13, 32, 64, 96)}
    assert grids == {1: (1, 1), 6: (2, 3), 13: (3, 5), 32: (4, 8), 64: (8, 8), 96: (8, 12)}


def test_errors(unchecked):
    with pytest.raises(ValueError, match=r"filter_grid: kernel needs axes .* got \(3, 3, 2\)"):
        filter_grid(array(3, 3, 2))
    with pytest.raises(ValueError, match=r"filter_grid: .* none empty, got \(3, 3, 1, 0\)"):
        filter_grid(jnp.zeros((3, 3, 1, 0)))
