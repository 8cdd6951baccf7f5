import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close, assert_gradients, assert_transforms, cast
from jaxcnn.functional.correlation import normalized_cross_correlation

correlated = jax.jit(normalized_cross_correlation)  # op by op it would be fifty programs


def test_normalized_cross_correlation_is_the_loop(x64):
    x, template = array(2, 5, 6, 2) + 100, array(2, 3, 2, seed=1)
    r = correlated(x, template)
    expected = np.zeros((2, 4, 4))
    for b, i, j in np.ndindex(*expected.shape):
        expected[b, i, j] = np.corrcoef(np.ravel(x[b, i : i + 2, j : j + 3]), np.ravel(template))[
            0, 1
        ]
    assert_close(r, expected, "float64")


def test_normalized_cross_correlation_laws():
    x = np.asarray(array(1, 8, 8, 1))
    template = x[0, 2:5, 3:6]
    r = np.asarray(correlated(x, template))
    assert np.unravel_index(r.argmax(), r.shape)[1:] == (2, 3)
    assert_close(r[0, 2, 3], 1.0)
    assert_close(correlated(3 * x + 7, -2 * template), -r)
    flat = correlated(np.full((1, 8, 8, 1), 0.3, np.float32), template)
    assert_close(flat, np.zeros((1, 6, 6)), "exact")


@pytest.mark.parametrize("offset", [1e3, -1e5])
def test_normalized_cross_correlation_far_from_zero(offset):
    noise = 0.3 * np.asarray(array(1, 12, 24, 2))
    noise[:, :, :12] = 0
    x = np.float32(noise + offset * (np.arange(24) >= 12)[:, None])
    template = x[0, 3:8, 15:21]
    r = np.asarray(correlated(x, template))
    assert_close(r[0, 3, 15], 1.0)
    with jax.enable_x64(True):  # of the same float32 pixels
        exact = correlated(*cast((x, template), np.float64))
    assert_close(r, exact)
    assert_close(r[..., :7], np.zeros((1, 8, 7)), "exact")  # the dark half is flat


def test_normalized_cross_correlation_of_flat_windows():
    template = array(3, 4, 2)
    for level in (0.3, 1e3 / 3, -1e30):
        r = correlated(np.full((1, 5, 6, 2), level, np.float32), template)
        assert_close(r, np.zeros((1, 3, 3)), "exact")
        r = correlated(array(1, 5, 6, 2), np.full((3, 4, 2), level, np.float32))
        assert_close(r, np.zeros((1, 3, 3)), "exact")

    @jax.jit
    def value_and_gradient(x):
        r, pullback = jax.vjp(lambda x: normalized_cross_correlation(x, template), x)
        return r, pullback(jnp.ones_like(r))[0]

    flat = np.full((1, 5, 6, 2), 100, np.float32)
    almost = flat.copy()
    almost[0, 2, 3, 1] *= 1 + 2**-22  # two steps: rounding
    for x in (0 * flat, flat, almost):
        for found in value_and_gradient(x):
            assert_close(found, np.zeros(found.shape), "exact")


def test_normalized_cross_correlation_gradients_and_transforms():
    args = (array(1, 4, 4, 2), array(2, 2, 2, seed=1))
    assert_gradients(normalized_cross_correlation, *args)
    assert_transforms(normalized_cross_correlation, *args)


def test_normalized_cross_correlation_errors(unchecked):
    with pytest.raises(ValueError, match="template has 3 channels, x has 2"):
        normalized_cross_correlation(array(1, 4, 4, 2), array(2, 2, 3))
    with pytest.raises(ValueError, match="normalized_cross_correlation: a window of 5 .* not fit"):
        normalized_cross_correlation(array(1, 4, 4, 2), array(5, 2, 2))
    with pytest.raises(ValueError, match="normalized_cross_correlation: kernel needs 2 spatial"):
        normalized_cross_correlation(array(1, 4, 4, 2), jnp.ones(()))
