import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from helpers import (
    array,
    assert_close,
    assert_finite,
    assert_gradients,
    assert_transforms,
    golden,
)
from jaxcnn.losses import huber, l1, mse, squared_error

LOSSES = [mse, squared_error, l1, huber]

# ours, PyTorch's of the same name, options
TORCH = [
    (mse, "mse", {}),
    (l1, "l1", {}),
    (huber, "huber_1.0", {}),
    (huber, "huber_0.3", {"delta": 0.3}),
]


@pytest.mark.parametrize(("loss", "name", "options"), TORCH)
@pytest.mark.parametrize("double", [False, True])
def test_regression_is_pytorch(loss, name, options, double):
    with jax.enable_x64(double):
        saved = golden("losses")
        p, t = (jnp.asarray(saved[key]) for key in ("predictions", "truths"))
        assert_close(loss(p, t, **options), saved[name].mean(axis=(1, 2)), "golden")
        flat = loss(p.ravel(), t.ravel(), **options)  # one feature each: no mean at all
        assert_close(flat, saved[name].ravel(), "golden")
        slopes = jax.grad(lambda p: loss(p, t, **options).sum())(p)
        assert_close(slopes, saved[f"{name}_gradient"] / 6, "golden")


def test_regression_is_optax(x64):
    p, t = array(5, 3), array(5, 3, seed=1)
    assert_close(squared_error(p, t), optax.losses.squared_error(p, t).sum(-1), "float64")
    assert_close(squared_error(p, t) / 2, optax.losses.l2_loss(p, t).sum(-1), "float64")
    assert_close(mse(p, t), optax.losses.squared_error(p, t).mean(-1), "float64")
    expected = optax.losses.huber_loss(p, t, delta=0.7).mean(-1)
    assert_close(huber(p, t, delta=0.7), expected, "float64")


def test_squared_error_is_the_loop(x64):
    p, t = np.asarray(array(4, 2, 3)), np.asarray(array(4, 2, 3, seed=1))
    expected = np.zeros(4)
    for i, j, k in np.ndindex(4, 2, 3):
        expected[i] += (p[i, j, k] - t[i, j, k]) ** 2
    p, t = jnp.asarray(p), jnp.asarray(t)
    assert_close(squared_error(p, t), expected, "float64")
    assert_close(squared_error(p, t), 6 * mse(p, t), "float64")


@pytest.mark.parametrize("loss", LOSSES)
def test_regression_gradients_and_transforms(loss):
    args = (array(3, 2, 2), array(3, 2, 2, seed=1))
    assert_gradients(loss, *args)
    assert_transforms(loss, *args)
    assert loss(*(a[:0] for a in args)).shape == (0,)


def test_kinks():
    zero = jnp.zeros(1)
    assert_close(jax.jacfwd(l1)(zero, zero), [[0.0]], "exact")
    assert_close(jax.jacrev(l1)(zero, zero), [[0.0]], "exact")
    for error, slope in ((0.0, 0.0), (0.5, 0.5), (-0.5, -0.5), (3.0, 0.5)):
        for jacobian in (jax.jacfwd, jax.jacrev):
            found = jacobian(lambda p: huber(p, zero, delta=0.5))(jnp.array([error]))
            assert_close(found, [[slope]], "exact")


def test_huber_joins_mse_and_l1(x64):
    p, t = array(6), array(6, seed=1)
    assert_close(huber(p, t, delta=100), mse(p, t) / 2, "float64")
    near = huber(p, t, delta=1e-14) / 1e-14
    assert_close(near, l1(p, t), "float64")


@pytest.mark.parametrize("loss", LOSSES)
def test_regression_is_finite(loss):
    p = jnp.array([[0.0, 1e4], [-1e4, 1e3], [-1e3, 0.0]])
    assert_finite(loss, jnp.concatenate([p, p, p]), jnp.concatenate([0 * p, -p, p]))


def test_sums_of_bfloat16_are_float32():
    p = jnp.full((1, 1000), 1 + 9 / 128, jnp.bfloat16)
    assert squared_error(p, 0 * p) == 1144  # nearest to 1145.6; squares in bfloat16 give 1152
    assert_close(mse(p, 0 * p), [(1 + 9 / 128) ** 2], "bfloat16")
    assert l1(p, 0 * p) == 1 + 9 / 128
    assert l1(p, 0 * p).dtype == jnp.bfloat16


@pytest.mark.parametrize("loss", LOSSES)
def test_regression_errors(loss, unchecked):
    name = loss.__name__
    x = array(4, 2)
    with pytest.raises(ValueError, match=rf"{name}: predictions and targets need one shape .* got"):
        loss(x, array(4))
    with pytest.raises(ValueError, match=r"one shape \(b, \*features\), got \(\) and \(\)"):
        loss(jnp.float32(1), jnp.float32(1))
    with pytest.raises(ValueError, match=rf"{name}: .* got \(\) and \(\): add a batch axis"):
        jax.vmap(loss)(array(3), array(3))
    if loss is not squared_error:  # a sum of nothing is 0
        with pytest.raises(ValueError, match=rf"{name}: the mean .* at least one, got .*\(4, 0\)"):
            loss(x[:, :0], x[:, :0])
    with pytest.raises(ValueError, match="need one dtype, got float32 and bfloat16"):
        loss(x, x.astype(jnp.bfloat16))
    with pytest.raises(ValueError, match=f"{name}: predictions must be floating point, got int32"):
        loss(jnp.ones(3, int), jnp.ones(3, int))


def test_huber_errors():
    for delta in (0, -1.0, np.nan):
        with pytest.raises(ValueError, match="huber: delta must be positive, got"):
            huber(array(3), array(3), delta=delta)
