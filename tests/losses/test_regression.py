from functools import partial

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

# PyTorch's name, ours, options
TORCH = [
    ("mse", mse, {}),
    ("l1", l1, {}),
    ("huber_1.0", huber, {}),
    ("huber_0.3", huber, {"delta": 0.3}),
]


@pytest.mark.parametrize("double", [False, True])
def test_regression_is_pytorch(double):
    saved = golden("losses")

    @jax.jit
    def losses_and_slopes(p, t):
        found = {}
        for name, loss, options in TORCH:
            loss = partial(loss, **options)
            means, pullback = jax.vjp(loss, p, t)
            found[name] = means, loss(p.ravel(), t.ravel()), pullback(jnp.ones_like(means))[0]
        return found

    with jax.enable_x64(double):
        found = losses_and_slopes(saved["predictions"], saved["truths"])
    for name, (means, flat, slopes) in found.items():
        assert_close(means, saved[name].mean(axis=(1, 2)), "golden", where=name)
        # One feature each: no mean at all.
        assert_close(flat, saved[name].ravel(), "golden", where=name)
        assert_close(slopes, saved[f"{name}_gradient"] / 6, "golden", where=name)


def test_regression_is_optax(x64):
    @jax.jit
    def ours_and_theirs(p, t):
        theirs = optax.losses
        return [
            (squared_error(p, t), theirs.squared_error(p, t).sum(-1)),
            (squared_error(p, t) / 2, theirs.l2_loss(p, t).sum(-1)),
            (mse(p, t), theirs.squared_error(p, t).mean(-1)),
            (huber(p, t, delta=0.7), theirs.huber_loss(p, t, delta=0.7).mean(-1)),
        ]

    for ours, theirs in ours_and_theirs(array(5, 3), array(5, 3, seed=1)):
        assert_close(ours, theirs, "float64")


def test_squared_error_is_the_loop(x64):
    p, t = np.asarray(array(4, 2, 3)), np.asarray(array(4, 2, 3, seed=1))
    expected = np.zeros(4)
    for i, j, k in np.ndindex(4, 2, 3):
        expected[i] += (p[i, j, k] - t[i, j, k]) ** 2
    total, mean = jax.jit(lambda p, t: (squared_error(p, t), mse(p, t)))(p, t)
    assert_close(total, expected, "float64")
    assert_close(total, 6 * np.asarray(mean), "float64")


@pytest.mark.parametrize("loss", LOSSES)
def test_regression_gradients_and_transforms(loss):
    args = (array(3, 2, 2), array(3, 2, 2, seed=1))
    assert_gradients(loss, *args)
    assert_transforms(loss, *args)
    assert jax.jit(loss)(*(np.asarray(a)[:0] for a in args)).shape == (0,)


def test_kinks():
    def slopes(loss, *errors):
        def total(p):
            return loss(p, jnp.zeros_like(p)).sum()

        both = jax.jit(lambda p: (jax.jacfwd(total)(p), jax.jacrev(total)(p)))
        return both(np.array(errors, np.float32))

    for found in slopes(l1, 0.0):
        assert_close(found, [0.0], "exact")
    for found in slopes(partial(huber, delta=0.5), 0.0, 0.5, -0.5, 3.0):
        assert_close(found, [0.0, 0.5, -0.5, 0.5], "exact")


def test_huber_joins_mse_and_l1(x64):
    @jax.jit
    def losses(p, t):
        return mse(p, t), huber(p, t, delta=100), l1(p, t), huber(p, t, delta=1e-14)

    squares, far, absolutes, near = map(np.asarray, losses(array(6), array(6, seed=1)))
    assert_close(far, squares / 2, "float64")
    assert_close(near / 1e-14, absolutes, "float64")


@pytest.mark.parametrize("loss", LOSSES)
def test_regression_is_finite(loss):
    p = np.array([[0.0, 1e4], [-1e4, 1e3], [-1e3, 0.0]])
    assert_finite(loss, np.concatenate([p, p, p]), np.concatenate([0 * p, -p, p]))


def test_sums_of_bfloat16_are_float32():
    p = np.full((1, 1000), 1 + 9 / 128, jnp.bfloat16)
    total, mean, absolute = jax.jit(lambda p, t: [loss(p, t) for loss in (squared_error, mse, l1)])(
        p, 0 * p
    )
    assert total == 1144  # nearest to 1145.6; squares in bfloat16 give 1152
    assert_close(mean, [(1 + 9 / 128) ** 2], "bfloat16")
    assert absolute == 1 + 9 / 128
    assert absolute.dtype == jnp.bfloat16


@pytest.mark.parametrize("loss", LOSSES)
def test_regression_errors(loss, unchecked):
    name = loss.__name__
    x = np.asarray(array(4, 2))
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
        loss(np.ones(3, np.int32), np.ones(3, np.int32))


def test_huber_errors():
    for delta in (0, -1.0, np.nan):
        with pytest.raises(ValueError, match="huber: delta must be positive, got"):
            huber(array(3), array(3), delta=delta)
