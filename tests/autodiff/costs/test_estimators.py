import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn.autodiff.costs.estimators import forward_gradient

DRAWS = 100_000
KEY = jax.random.key(0)


def f(x):
    return jnp.sin(x["a"]).sum() * (x["b"] ** 2).sum()


def point():
    return {"a": array(3), "b": array(2, 2, seed=1)}


def flat(tree):
    """All leaves in one axis, after that of the draws where there is one."""
    leaves = jax.tree.leaves(tree)
    draws = leaves[0].shape[: leaves[0].ndim - 1]
    return np.concatenate([np.asarray(a).reshape(*draws, -1) for a in leaves], axis=-1)


def drawn(directions=1, draws=DRAWS):
    keys = jax.random.split(KEY, draws)
    estimate = forward_gradient(f, directions=directions)
    return flat(jax.jit(jax.vmap(estimate, in_axes=(0, None)))(keys, point()))


def test_it_is_the_slope_times_the_direction(x64):
    """The estimate is parallel to its direction v, whose numbers do not depend on f."""
    x = point()
    one = forward_gradient(f)(KEY, x)
    direction = forward_gradient(lambda x: sum(a.sum() for a in jax.tree.leaves(x)))(KEY, x)
    v, g = (flat(jax.tree.map(jnp.ravel, t)) for t in (direction, one))
    v = v / np.sqrt(abs(v.sum()))  # of slope s = sum(v): s v sums to s^2
    expected = v * (v @ flat(jax.tree.map(jnp.ravel, jax.grad(f)(x))))
    assert_close(g, expected, "float64")
    assert jax.tree.structure(one) == jax.tree.structure(x)


def test_it_is_unbiased(x64):
    """The mean of all draws is within 4.5 standard errors of the gradient, coordinate by
    coordinate: by chance alone a test of seven fails once in 20,000 keys."""
    found = drawn()
    gradient = flat(jax.tree.map(jnp.ravel, jax.grad(f)(point())))
    errors = found.std(axis=0) / math.sqrt(DRAWS)
    assert (abs(found.mean(axis=0) - gradient) < 4.5 * errors).all()
    # The bound is narrow: half a gradient, or one without its sign, would not pass.
    assert (errors < 0.02 * np.linalg.norm(gradient)).all()


@pytest.mark.parametrize(("directions", "factor"), [(1, 7 + 2), (4, 1 + 8 / 4)])
def test_its_square_is_n_plus_2_times_the_gradients(directions, factor, x64):
    """E|g|^2 = (n + 2) |grad|^2, and 1 + (n + 1) / k times for the mean of k; n is 7."""
    squares = (drawn(directions, DRAWS) ** 2).sum(axis=1)
    gradient = flat(jax.tree.map(jnp.ravel, jax.grad(f)(point())))
    ratios = squares / (gradient @ gradient)
    error = ratios.std() / math.sqrt(DRAWS)
    assert abs(ratios.mean() - factor) < 4.5 * error
    assert error < 0.1  # so n + 1 or n + 3 would not pass


def test_value_jit_and_dtypes():
    x = jax.tree.map(lambda a: a.astype(jnp.bfloat16), point())
    value, gradient = jax.jit(forward_gradient(f, has_value=True))(KEY, x)
    assert_close(value, f(x), "bfloat16")
    assert {a.dtype for a in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.bfloat16)}
    value, _ = forward_gradient(f, directions=3, has_value=True)(KEY, point())
    assert_close(value, f(point()))
    assert value.shape == ()


def test_errors():
    with pytest.raises(ValueError, match="forward_gradient: directions is an integer >= 1, got 0"):
        forward_gradient(f, directions=0)
    with pytest.raises(ValueError, match=r"forward_gradient: f must give one number, got .*\(3,\)"):
        forward_gradient(jnp.sin)(KEY, jnp.ones(3))
    with pytest.raises(ValueError, match="forward_gradient: inputs need floating.* got int32"):
        forward_gradient(jnp.sum)(KEY, jnp.ones(3, jnp.int32))
