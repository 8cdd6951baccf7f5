import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from helpers import array, assert_close
from jaxcnn.interpret.attribution.gradients import grad_times_input, saliency, smooth_grad

KEY = jax.random.key(0)


def two_layers(first, bias, second, x):
    return jax.nn.relu(x.reshape(len(x), -1) @ first + bias) @ second


def test_hand_formula_of_two_layers(x64):
    x, first, bias = array(3, 2, 2, 1), array(4, 5, seed=1), array(5, seed=2)
    second = array(5, seed=3)
    active = np.asarray(x).reshape(3, 4) @ np.asarray(first) + np.asarray(bias) > 0
    expected = ((active * np.asarray(second)) @ np.asarray(first).T).reshape(x.shape)
    f = Partial(two_layers, first, bias, second)
    assert_close(saliency(f, x), expected, "float64")
    assert_close(grad_times_input(f, x), expected * np.asarray(x), "float64")


def test_sign_is_kept():
    x = array(2, 3, 3, 2)
    assert_close(saliency(lambda x: -3 * x.sum((1, 2, 3)), x), jnp.full(x.shape, -3.0), "exact")


def test_smooth_grad_of_linear_is_its_gradient():
    x, w = array(2, 3, 3, 2), array(3, 3, 2, seed=1)
    f = lambda x: (x * w).sum((1, 2, 3))  # noqa: E731
    for noise in (0.0, 0.15, 2.0):
        assert_close(smooth_grad(f, x, KEY, noise=noise, samples=3), jnp.broadcast_to(w, x.shape))


def test_smooth_grad_of_quadratic_is_its_expectation(x64):
    # d/dx x^3/3 = x^2, whose mean under noise is x^2 + sigma^2; the sample mean's error is
    # about sqrt(4 x^2 sigma^2 + 2 sigma^4) / sqrt(samples)
    x = array(2, 8, 8, 3) * jnp.array([1.0, 5.0]).reshape(2, 1, 1, 1)  # ranges of their own
    samples = 2000
    found = smooth_grad(lambda x: (x**3).sum((1, 2, 3)) / 3, x, KEY, noise=0.3, samples=samples)
    ranges = x.max((1, 2, 3), keepdims=True) - x.min((1, 2, 3), keepdims=True)
    sigma = 0.3 * ranges
    deviation = jnp.sqrt((4 * x**2 * sigma**2 + 2 * sigma**4) / samples)
    z = (found - (x**2 + sigma**2)) / deviation
    assert jnp.abs(z).max() < 5
    # 192 independent values of each image: their mean is about 0, their mean square 1.
    assert jnp.abs(z.mean((1, 2, 3))).max() < 0.3
    assert jnp.abs((z**2).mean((1, 2, 3)) - 1).max() < 0.4


def test_smooth_grad_by_the_words_of_its_docstring():
    x = array(3, 4, 4, 2)
    f = lambda x: (jnp.sin(x) ** 3).sum((1, 2, 3))  # noqa: E731
    sigma = 0.2 * (np.ptp(np.asarray(x), axis=(1, 2, 3)))[:, None, None, None]
    noise = [jax.random.normal(jax.random.fold_in(KEY, j), x.shape[1:]) for j in range(4)]
    gradients = [jax.grad(lambda x: f(x).sum())(x + sigma * n) for n in noise]
    assert_close(smooth_grad(f, x, KEY, noise=0.2, samples=4), sum(gradients) / 4)


def test_smooth_grad_follows_its_key():
    x, f = array(1, 4, 4, 2), lambda x: (x**4).sum((1, 2, 3))
    first = smooth_grad(f, x, KEY, samples=4)
    assert_close(smooth_grad(f, x, KEY, samples=4), first, "exact")
    assert jnp.abs(smooth_grad(f, x, jax.random.key(1), samples=4) - first).max() > 0.01


def test_bfloat16_adds_up_in_float32():
    x = jnp.ones((1, 2, 2, 1), jnp.bfloat16)  # whose ones add up to 256 and no further
    found = smooth_grad(lambda x: x.sum((1, 2, 3)), x, KEY, samples=600)
    assert_close(found, x, "exact")


def test_memory_does_not_grow_with_samples():
    x = array(2, 16, 16, 3)
    f = lambda x: (jnp.sin(x) ** 3).sum((1, 2, 3))  # noqa: E731

    def bytes_of(samples):
        run = jax.jit(lambda x: smooth_grad(f, x, KEY, samples=samples))
        return run.lower(x).compile().memory_analysis().temp_size_in_bytes

    assert bytes_of(200) <= bytes_of(4) + 4 * 200  # and the samples' numbers


def test_errors(unchecked):
    x = array(1, 2, 2, 1)
    f = lambda x: x.sum((1, 2, 3))  # noqa: E731
    with pytest.raises(ValueError, match="smooth_grad: samples must be 1 or more, got 0"):
        smooth_grad(f, x, KEY, samples=0)
    with pytest.raises(ValueError, match=r"saliency: x needs floating-point images b h w c, got"):
        saliency(f, x[0])
    with pytest.raises(ValueError, match=r"grad_times_input: x needs .* got int32\[1, 2, 2, 1\]"):
        grad_times_input(f, x.astype(int))
    for method in (saliency, grad_times_input, lambda f, x: smooth_grad(f, x, KEY)):
        with pytest.raises(ValueError, match=r": f\(x\) needs one number for each image"):
            method(lambda x: x.sum(), x)
