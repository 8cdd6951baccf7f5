import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from helpers import array, assert_close
from jaxcnn.interpret.attribution.integrated import integrated_gradients


def quartic(x):
    """Its gradient is of degree 3 along any line: two nodes are exact."""
    return (x**4).sum((1, 2, 3))


def test_polynomial_is_exact(x64):
    x = array(2, 3, 3, 2)
    found = integrated_gradients(quartic, x, steps=2)
    assert_close(found.attribution, x**4, "float64")
    assert jnp.abs(found.residual).max() < 1e-12
    assert jnp.abs(integrated_gradients(quartic, x, steps=1).residual).min() > 0.1


def test_baselines(x64):
    x, image = array(2, 3, 3, 2), array(3, 3, 2, seed=1)
    for baseline in (0.5, image, image[0], array(2, 1, 1, 1, seed=2), np.float32(0.5)):
        found = integrated_gradients(quartic, x, baseline=baseline, steps=2)
        assert_close(found.attribution, x**4 - jnp.asarray(baseline) ** 4, "float64")
        assert jnp.abs(found.residual).max() < 1e-12
    same = integrated_gradients(quartic, x, baseline=x)
    assert_close(same.attribution, jnp.zeros(x.shape), "exact")


def test_product_shares_what_both_bring(x64):
    """f = x y from (0, 0): each gets x y / 2."""
    x = jnp.array([2.0, 5.0, -3.0, 4.0]).reshape(2, 1, 1, 2)
    found = integrated_gradients(lambda x: x.prod((1, 2, 3)), x, steps=1)
    assert_close(found.attribution.reshape(2, 2), [[5, 5], [-6, -6]], "float64")


def test_residual_is_what_completeness_lacks(x64):
    x, w = array(3, 4, 4, 2), array(32, 6, seed=1)

    def f(x):
        return jax.nn.relu(jnp.sin(x).reshape(len(x), -1) @ w + 1).sum(1)

    rise, sizes = f(x) - f(jnp.full_like(x, 0.1)), []
    for steps in (1, 4, 300):
        found = integrated_gradients(f, x, baseline=0.1, steps=steps)
        assert_close(found.attribution.sum((1, 2, 3)) + found.residual, rise, "float64")
        sizes.append(float(jnp.abs(found.residual).max() / jnp.abs(rise).max()))
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[2] < 0.01


def test_memory_does_not_grow_with_steps():
    x, w = array(2, 16, 16, 3), array(768, 6, seed=1)
    f = lambda x: jnp.tanh(x.reshape(len(x), -1) @ w).sum(1)  # noqa: E731

    def bytes_of(steps):
        run = jax.jit(lambda x: integrated_gradients(f, x, steps=steps))
        return run.lower(x).compile().memory_analysis().temp_size_in_bytes

    assert bytes_of(200) <= bytes_of(4) + 2 * 4 * 200  # and the nodes and weights


def test_errors(unchecked):
    x = array(2, 3, 3, 2)
    with pytest.raises(ValueError, match="integrated_gradients: steps must be 1 or more, got 0"):
        integrated_gradients(quartic, x, steps=0)
    rule = r"integrated_gradients: baseline must broadcast to x's shape \(2, 3, 3, 2"
    for shape in ((3,), (4, 2, 3, 3, 2), (1, 2, 3, 3, 2)):
        with pytest.raises(ValueError, match=rule):
            integrated_gradients(quartic, x, baseline=jnp.zeros(shape))
    with pytest.raises(ValueError, match=r"integrated_gradients: f\(x\) needs one number"):
        integrated_gradients(lambda x: lax.stop_gradient(x).sum(), x)
