import math

import jax
import jax.numpy as jnp
import pytest

from helpers import array, assert_close
from jaxcnn.functional import initializers
from jaxcnn.functional.convolution import conv
from jaxcnn.functional.initializers import (
    dirac,
    fan_in_uniform,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    orthogonal,
    zeros,
)

KEY = jax.random.key(3)
KERNELS = [
    # shape, fan_in, fan_out
    ((5, 3, 16, 40), 5 * 3 * 16, 5 * 3 * 40),
    ((7, 16, 64), 7 * 16, 7 * 64),
    ((120, 84), 120, 84),
]
UNIFORMS = [
    # factory, the bound from fan_in and fan_out
    (fan_in_uniform, lambda fan_in, fan_out: 1 / math.sqrt(fan_in)),
    (glorot_uniform, lambda fan_in, fan_out: math.sqrt(6 / (fan_in + fan_out))),
    (he_uniform, lambda fan_in, fan_out: math.sqrt(6 / fan_in)),
    (lecun_uniform, lambda fan_in, fan_out: math.sqrt(3 / fan_in)),
]
NORMALS = [
    # factory, the standard deviation from fan_in and fan_out
    (glorot_normal, lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out))),
    (he_normal, lambda fan_in, fan_out: math.sqrt(2 / fan_in)),
    (lecun_normal, lambda fan_in, fan_out: math.sqrt(1 / fan_in)),
]


@pytest.mark.parametrize(("shape", "fan_in", "fan_out"), KERNELS)
@pytest.mark.parametrize(("factory", "bound"), UNIFORMS)
def test_uniforms(factory, bound, shape, fan_in, fan_out):
    kernel = factory()(KEY, shape, jnp.float32)
    a, n = bound(fan_in, fan_out), math.prod(shape)
    assert kernel.shape == shape
    assert a * (1 - 20 / n) < abs(kernel).max() <= a * (1 + 1e-6)  # but one time in 5e8
    assert abs(kernel.mean()) < 4 * a / math.sqrt(3 * n)
    # the variance of x^2 for x uniform in [-a, a] is 4 a^4 / 45
    assert abs((kernel**2).mean() - a**2 / 3) < 4 * a**2 * math.sqrt(4 / 45 / n)


@pytest.mark.parametrize(("shape", "fan_in", "fan_out"), KERNELS)
@pytest.mark.parametrize(("factory", "deviation"), NORMALS)
def test_normals(factory, deviation, shape, fan_in, fan_out):
    kernel = factory()(KEY, shape, jnp.float32)
    s, n = deviation(fan_in, fan_out), math.prod(shape)
    assert kernel.shape == shape
    assert abs(kernel.mean()) < 4 * s / math.sqrt(n)
    # fewer than a normal's 2 s^4, because truncated; at two deviations of what was truncated
    assert abs((kernel**2).mean() - s**2) < 4 * s**2 * math.sqrt(2 / n)
    assert 2 * s < abs(kernel).max() < 2 * s / 0.8796256610342398 * (1 + 1e-6)


def test_jax_functions_are_jaxs_own():
    for name in set(initializers.__all__) - {"fan_in_uniform", "orthogonal", "dirac"}:
        assert getattr(initializers, name) is getattr(jax.nn.initializers, name)
    assert_close(zeros(KEY, (3,), jnp.bfloat16), jnp.zeros(3), "exact")


def test_dtypes_and_transforms(x64):
    for factory in (fan_in_uniform, he_normal, orthogonal, dirac):
        for dtype in (None, jnp.bfloat16, jnp.float32, jnp.float64):
            kernel = jax.eval_shape(lambda key: factory()(key, (3, 2, 4), dtype), KEY)  # noqa: B023
            assert kernel.dtype == (dtype or jnp.float64)
    keys = jax.random.split(KEY, 2)
    q = jax.jit(jax.vmap(lambda key: orthogonal()(key, (4, 3), jnp.bfloat16)))(keys)
    assert_close(jnp.einsum("bij,bik->bjk", q, q), jnp.stack([jnp.eye(3)] * 2), "bfloat16")


def test_fan_in_uniform_of_a_bias():
    bias = fan_in_uniform(fan_in=100)(KEY, (5000,), jnp.float32)
    assert 0.099 < abs(bias).max() <= 0.1 * (1 + 1e-6)
    with pytest.raises(ValueError, match=r"fan_in_uniform: a shape \(8,\) does not tell fan_in"):
        fan_in_uniform()(KEY, (8,))


def test_unshared_kernels_keep_the_variance():
    kernel = he_normal(batch_axis=(0, 1))(KEY, (6, 6, 3, 3, 8, 16))
    assert 0.97 < kernel.std() / math.sqrt(2 / 72) < 1.03


def test_he_keeps_the_signal_through_relus():
    x = array(256, 200).astype(jnp.float32)
    before = (x**2).mean()
    for key in jax.random.split(KEY, 5):
        x = jax.nn.relu(x) @ he_normal()(key, (200, 200), jnp.float32)
    assert 0.7 < (x**2).mean() / before < 1.4


@pytest.mark.parametrize("shape", [(3, 3, 4, 10), (10, 6), (4, 10)])
def test_orthogonal(shape):
    q = orthogonal()(KEY, shape, jnp.float32).reshape(-1, shape[-1])
    gram = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    assert_close(gram, jnp.eye(min(q.shape)))
    assert_close(orthogonal(2.0)(KEY, shape, jnp.float32).reshape(q.shape), 2 * q)


def test_orthogonal_errors():
    with pytest.raises(
        ValueError, match=r"orthogonal: a kernel needs two axes or more, got \(4,\)"
    ):
        orthogonal()(KEY, (4,))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("window", [(3,), (5, 3), (2, 4), (3, 1, 3)])
def test_dirac_is_the_identity(window, groups):
    x = array(2, *(6, 5, 4)[: len(window)], 8)
    kernel = dirac(groups)(KEY, (*window, 8 // groups, 8), x.dtype)
    assert_close(conv(x, kernel, groups=groups), x, "exact")


def test_dirac_with_other_channels():
    x = array(2, 5, 5, 4)
    narrow = conv(x, dirac()(KEY, (3, 3, 4, 3), x.dtype))
    assert_close(narrow, x[..., :3], "exact")
    wide = conv(x, dirac(2)(KEY, (3, 3, 2, 6), x.dtype), groups=2)
    nothing = jnp.zeros((2, 5, 5, 1))
    expected = jnp.concatenate([x[..., :2], nothing, x[..., 2:], nothing], axis=-1)
    assert_close(wide, expected, "exact")


def test_dirac_errors():
    with pytest.raises(ValueError, match="dirac: groups must divide c_out = 4, got 3"):
        dirac(3)(KEY, (3, 3, 1, 4))
    with pytest.raises(ValueError, match=r"dirac: a kernel needs axes .*, got \(3, 4\)"):
        dirac()(KEY, (3, 4))
