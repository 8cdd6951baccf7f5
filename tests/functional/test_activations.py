import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close, assert_gradients, assert_transforms, cast, golden
from jaxcnn.functional import activations
from jaxcnn.functional.activations import (
    elu,
    gelu,
    hard_swish,
    leaky_relu,
    log_softmax,
    maxout,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)

ACTIVATIONS = {
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "leaky_relu_0.2": partial(leaky_relu, negative_slope=0.2),
    "elu": elu,
    "elu_0.5": partial(elu, alpha=0.5),
    "softmax": softmax,
    "log_softmax": log_softmax,
    "relu6": relu6,
    "gelu": gelu,
    "gelu_exact": partial(gelu, approximate=False),
    "silu": silu,
    "hard_swish": hard_swish,
    "softplus": softplus,
}


def test_jax_functions_are_jaxs_own():
    assert activations.tanh is jnp.tanh
    for name in set(activations.__all__) - {"tanh", "maxout"}:
        assert getattr(activations, name) is getattr(jax.nn, name)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_pytorchs(x64, name):
    data = golden("activations")
    x = jnp.asarray(data["x"])
    weights = jnp.cos(jnp.arange(35.0)).reshape(5, 7)

    @jax.jit
    def evaluate(x):
        y, pullback = jax.vjp(ACTIVATIONS[name], x)
        return y, *pullback(weights)

    y, gradient = evaluate(x)
    assert_close(y, data[name], "float64")
    assert_close(gradient, data[f"{name}_gradient"], "float64")


def all_of_them(x):
    """One array of every activation of x, so that each check compiles once."""
    return jnp.stack([f(x) for f in ACTIVATIONS.values()])


def test_activations_gradients_and_transforms():
    x = jnp.array([[-7.3, -2.1, -0.4], [0.3, 2.2, 7.1]])
    assert_gradients(all_of_them, x)
    assert_transforms(all_of_them, x)


def test_activations_are_finite_far_out(x64):
    @jax.jit
    def evaluate(x):
        weights = jnp.array([1, 2, 3], x.dtype)
        return {
            name: (*jax.jvp(f, (x,), (weights,)), *jax.vjp(f, x)[1](weights))
            for name, f in ACTIVATIONS.items()
        }

    for dtype in (jnp.float64, jnp.float32, jnp.bfloat16):
        for name, values in evaluate(np.array([-1e4, 0.0, 1e4], dtype)).items():
            for value in values:
                assert value.dtype == dtype, name
                assert np.isfinite(cast(value, np.float32)).all(), name


KINKS = [
    # function, x, derivative
    (relu, 0.0, 0.0),
    (leaky_relu, 0.0, 1.0),
    (partial(leaky_relu, negative_slope=0.2), 0.0, 1.0),
    (elu, 0.0, 1.0),
    (partial(elu, alpha=0.5), 0.0, 0.5),
    (relu6, 0.0, 0.0),
    (relu6, 6.0, 0.0),
    (hard_swish, -3.0, 0.0),
    (hard_swish, 3.0, 1.0),
]


@pytest.mark.parametrize(("f", "x", "derivative"), KINKS)
def test_derivatives_at_the_kinks(f, x, derivative):
    assert_close(jax.grad(f)(x), derivative, where="reverse mode")
    assert_close(jax.jvp(f, (x,), (1.0,))[1], derivative, where="forward mode")


def test_defaults(x64):
    assert_close(leaky_relu(-1.0), -0.01, "float64")
    assert_close(elu(-1.0), math.exp(-1) - 1, "float64")
    phi = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    assert_close(gelu(1.0, approximate=False), phi, "float64")
    approximation = 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * 1.044715))
    assert_close(gelu(1.0), approximation, "float64")
    y, logarithms = (np.asarray(f(array(2, 3))) for f in (softmax, log_softmax))
    assert_close(y.sum(axis=-1), np.ones(2), "float64")
    assert_close(np.exp(logarithms), y, "float64")


def test_laws(x64):
    @jax.jit
    def both_sides(x):
        return (
            (sigmoid(x), (1 + tanh(x / 2)) / 2),
            (softplus(x) - softplus(-x), x),
            (jax.vmap(jax.grad(softplus))(x.ravel()), sigmoid(x).ravel()),
            (silu(x), x * sigmoid(x)),
            (hard_swish(x), x * relu6(x + 3) / 6),
            (softmax(x + 100), softmax(x)),
        )

    for left, right in both_sides(array(3, 4, seed=1)):
        assert_close(left, right, "float64")


@pytest.mark.parametrize(
    ("shape", "pieces"), [((2, 3, 3, 6), 2), ((4, 6), 3), ((5,), 5), ((3,), 1)]
)
def test_maxout_is_the_loop(x64, shape, pieces):
    x = array(*shape)
    expected = np.zeros((*shape[:-1], shape[-1] // pieces))
    for i in range(expected.shape[-1]):
        expected[..., i] = np.asarray(x)[..., pieces * i : pieces * (i + 1)].max(axis=-1)
    assert_close(maxout(x, pieces), expected, "exact")


def test_maxout_gradients_and_transforms():
    assert_gradients(lambda x: maxout(x, 3), array(2, 2, 6))
    assert_transforms(lambda x: maxout(x, 3), array(2, 2, 6))


def test_maxout_laws():
    x = np.asarray(array(2, 6))

    def maxima(x, pieces):
        return jax.jit(maxout, static_argnums=1)(np.asarray(x, np.float32), pieces)

    assert_close(maxima(np.stack([x, -x], axis=-1).reshape(2, 12), 2), np.abs(x), "exact")
    zeros = np.stack([0 * x, x], axis=-1)
    assert_close(maxima(zeros.reshape(2, 12), 2), np.maximum(x, 0), "exact")
    assert_close(maxima(maxima(x, 2), 3), maxima(x, 6), "exact")
    assert_close(maxima([-np.inf, -1e4, 1e4, np.inf], 2), [-1e4, np.inf], "exact")
    for place in range(3):
        assert_close(maxima(np.where(np.arange(3) == place, np.nan, 0), 3), [np.nan], "exact")


def test_maxout_tie_goes_to_the_first():
    def total(x):
        return maxout(x, 4).sum()

    x = np.array([2, 5, 5, 5, 1, 1, 1, 0], np.float32)
    for gradient in jax.jit(lambda x: (jax.grad(total)(x), jax.jacfwd(total)(x)))(x):
        assert_close(gradient, [0, 1, 0, 0, 1, 0, 0, 0], "exact")


def test_maxout_errors(unchecked):
    with pytest.raises(ValueError, match=r"maxout: pieces must divide .*, got 2 for \(3, 5\)\."):
        maxout(array(3, 5), 2)
    with pytest.raises(ValueError, match="maxout: pieces must divide the channels .*, got 0"):
        maxout(array(3, 5), 0)
    with pytest.raises(ValueError, match=r"maxout: pieces must divide .*, got 2 for \(\)\."):
        maxout(jnp.array(1.0), 2)
