import jax
import jax.numpy as jnp
import pytest
from jax.flatten_util import ravel_pytree

from helpers import array, assert_close
from jaxcnn.autodiff.costs.products import ORDERS, hessian_vector_product


def f(x):
    """Twice differentiable and mixed: x["a"] has 3 numbers, x["b"] 2 x 2."""
    return jnp.sin(x["b"] @ x["a"][:2]).sum() * jnp.exp(x["a"][2]) + (x["b"] ** 3).prod()


@pytest.fixture
def points(x64):
    return (
        {"a": array(3), "b": array(2, 2, seed=1)},
        {"a": array(3, seed=2), "b": array(2, 2, seed=3)},
    )


@pytest.mark.parametrize("order", ORDERS)
def test_products_are_jax_hessians(order, points):
    x, v = points
    flat, unravel = ravel_pytree(x)
    hessian = jax.jit(jax.hessian(lambda flat: f(unravel(flat))))(flat)
    found = jax.jit(lambda x, v: hessian_vector_product(f, x, v, order=order))(x, v)
    assert jax.tree.structure(found) == jax.tree.structure(x)
    assert_close(ravel_pytree(found)[0], hessian @ ravel_pytree(v)[0], "float64")


@pytest.mark.parametrize("order", ORDERS)
def test_products_are_linear_under_vmap(order, points):
    x, v = points

    @jax.jit
    def product(v):
        return ravel_pytree(hessian_vector_product(f, x, v, order=order))[0]

    twice = jax.tree.map(lambda a: jnp.stack([a, -3 * a]), v)
    assert_close(jax.vmap(product)(twice), jnp.stack([product(v), -3 * product(v)]), "float64")


def test_errors():
    x = jnp.ones(3)
    with pytest.raises(ValueError, match="hessian_vector_product: order is one of .*'forward'"):
        hessian_vector_product(jnp.sum, x, x, order="forward")
    with pytest.raises(ValueError, match=r"hessian_vector_product: v needs x's .* got \(\(2,\)"):
        hessian_vector_product(jnp.sum, x, x[:2])
    with pytest.raises(ValueError, match="hessian_vector_product: v needs x's .* got"):
        hessian_vector_product(jnp.sum, x, [x])
