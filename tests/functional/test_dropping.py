import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close, assert_gradients, assert_transforms
from jaxcnn.functional.dropping import drop_path, dropout, spatial_dropout

KEY = jax.random.key(7)
FUNCTIONS = [dropout, spatial_dropout, drop_path]
SHARED = {dropout: (), spatial_dropout: (1, 2), drop_path: (1, 2, 3)}  # axes with one draw


@pytest.mark.parametrize("f", FUNCTIONS)
def test_kept_and_dropped(f):
    x = array(40, 2, 3, 8)
    y = np.asarray(f(KEY, x, 0.3, train=True))
    kept = y != 0
    assert_close(y, np.where(kept, x, 0) / 0.7)
    axes = SHARED[f]
    assert_close(kept.any(axis=axes), kept.all(axis=axes), "exact")
    for axis in set(range(4)) - set(axes):  # and the other axes draw for themselves
        assert (kept.any(axis=axis) != kept.all(axis=axis)).any()


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("rate", [0.1, 0.25, 0.9])
def test_mean_is_preserved(f, rate):
    draws = 40_000
    shape = {dropout: (draws,), spatial_dropout: (200, 2, 200), drop_path: (draws, 2)}[f]
    y = f(KEY, jnp.ones(shape), rate, train=True)
    standard_error = (rate / (1 - rate) / draws) ** 0.5  # of one kept 1 / (1 - rate) or 0
    assert abs(float(y.mean()) - 1) < 4 * standard_error


@pytest.mark.parametrize("f", FUNCTIONS)
def test_gradients_are_the_mask_and_transforms(f):
    def g(x):
        return f(KEY, x, 0.4, train=True)

    x = array(3, 2, 2, 2)
    mask = np.asarray(g(jnp.ones_like(x)))
    y, pullback = jax.vjp(g, x)
    assert_close(y, mask * x)
    assert_close(pullback(jnp.ones_like(x))[0], mask)
    assert_gradients(g, x)
    assert_transforms(g, x)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_keys(f):
    x = array(40, 2, 3, 8)
    y = f(KEY, x, 0.5, train=True)
    assert_close(f(KEY, x, 0.5, train=True), y, "exact")
    keys = jax.random.split(KEY, 2)
    a, b = jax.jit(jax.vmap(lambda key: f(key, x, 0.5, train=True)))(keys)
    assert (np.asarray(a) != np.asarray(b)).any()
    assert_close(a, f(keys[0], x, 0.5, train=True), where="vmap over keys")
    assert_close(f(jax.random.PRNGKey(7), x, 0.5, train=True), y, "exact", where="old-style key")


@pytest.mark.parametrize("f", FUNCTIONS)
def test_extreme_rates(f):
    x = array(2, 2, 2, 2)
    assert_close(f(None, x, 0.5, train=False), x, "exact")
    assert_close(f(None, x, 0.0, train=True), x, "exact")
    y, pullback = jax.vjp(lambda x: f(KEY, x, 1.0, train=True), x)
    assert_close(y, jnp.zeros_like(x), "exact")
    assert_close(pullback(x)[0], jnp.zeros_like(x), "exact")
    assert not np.isnan(f(KEY, jnp.inf * jnp.ones((2, 2, 2, 2)), 0.9, train=True)).any()
    assert f(KEY, jnp.zeros((0, 2, 2, 2)), 0.5, train=True).shape == (0, 2, 2, 2)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_errors(unchecked, f):
    x, name = array(2, 2, 2, 2), f.__name__
    for rate in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=rf"{name}: rate must lie in \[0, 1\], got {rate}\."):
            f(KEY, x, rate, train=False)
    for rate in (0.5, 1.0):
        with pytest.raises(ValueError, match=f"{name}: training needs a random key, got None"):
            f(None, x, rate, train=True)


def test_rank_errors(unchecked):
    with pytest.raises(ValueError, match=r"spatial_dropout: x needs axes .* got \(2,\)"):
        spatial_dropout(KEY, array(2), 0.5, train=True)
    with pytest.raises(ValueError, match=r"drop_path: x needs axes .* got \(\)"):
        drop_path(KEY, jnp.array(1.0), 0.5, train=True)
