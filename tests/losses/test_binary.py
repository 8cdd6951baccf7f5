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
from jaxcnn.losses import bce, bce_with_logits, focal, hinge

LOSSES = [bce, bce_with_logits, focal, hinge]

# ours, PyTorch's name, the arguments, options
TORCH = [
    (bce, "bce", ("probs", "yes"), {}),
    (bce_with_logits, "bce_with_logits", ("z", "yes"), {}),
    (focal, "focal", ("z", "hard"), {"gamma": 2, "alpha": 0.25}),
    (hinge, "hinge", ("z", "sign"), {}),
]


def saved_args(keys):
    saved = golden("losses")
    saved["sign"] = 2 * saved["hard"] - 1
    return [jnp.asarray(saved[key]) for key in keys]


@pytest.mark.parametrize(("loss", "name", "keys", "options"), TORCH)
@pytest.mark.parametrize("double", [False, True])
def test_binary_is_pytorch(loss, name, keys, options, double):
    with jax.enable_x64(double):
        expected = golden("losses")[name]
        x, t = saved_args(keys)
        assert_close(loss(x, t, **options), expected.mean(axis=1), "golden")
        singles = loss(x.ravel(), t.ravel(), **options)  # one feature each: no mean at all
        for single, value in zip(singles, expected.ravel(), strict=True):
            assert_close(single, value, "golden")


@pytest.mark.parametrize(("loss", "name", "keys", "options"), TORCH)
@pytest.mark.parametrize("jacobian", [jax.jacfwd, jax.jacrev])
def test_binary_slopes_are_pytorch(x64, loss, name, keys, options, jacobian):
    x, t = saved_args(keys)
    slopes = jnp.diag(jax.jit(jacobian(lambda x: loss(x, t.ravel(), **options)))(x.ravel()))
    # One by one: those of `bce` go up to 1e12.
    for slope, value in zip(slopes, golden("losses")[f"{name}_gradient"].ravel(), strict=True):
        assert_close(slope, value, "golden")


def test_bce_small_losses_keep_their_digits():
    losses = bce_with_logits(jnp.array([40.0, -40.0]), jnp.array([1.0, 0.0]))
    assert_close(losses, np.exp([-40.0, -40.0]))


def test_binary_is_optax(x64):
    z, t = 3 * array(5, 4), (array(5, 4, seed=1) > 0).astype(float)
    expected = optax.losses.sigmoid_binary_cross_entropy(z, t).mean(-1)
    assert_close(bce_with_logits(z, t), expected, "float64")
    assert_close(bce(jax.nn.sigmoid(z), t), expected, "float64")
    assert_close(hinge(z[:, 0], 2 * t[:, 0] - 1), optax.losses.hinge_loss(z, 2 * t - 1)[:, 0])
    for options in ({"gamma": 0.5}, {"gamma": 3.0, "alpha": 0.25}):
        expected = optax.losses.sigmoid_focal_loss(z, t, **options).mean(-1)
        assert_close(focal(z, t, **options), expected, "float64")


def test_focal_laws(x64):
    z, t = 3 * array(20), jax.nn.sigmoid(array(20, seed=1))
    assert_close(focal(z, t, gamma=0), bce_with_logits(z, t), "float64")
    assert_close(2 * focal(z, t, alpha=0.5), focal(z, t), "float64")
    one, zero = jnp.ones(20), jnp.zeros(20)
    expected = t * focal(z, one) + (1 - t) * focal(z, zero)  # the mean over drawn targets
    assert_close(focal(z, t), expected, "float64")
    assert_close(focal(-z, zero), focal(z, one), "float64")


def test_hinge_is_the_loop(x64):
    score, sign = array(4, 3), jnp.sign(array(4, 3, seed=1))
    pairs = [
        zip(np.asarray(a), np.asarray(b), strict=True) for a, b in zip(score, sign, strict=True)
    ]
    expected = [np.mean([max(0, 1 - s * g) for s, g in pair]) for pair in pairs]
    assert_close(hinge(score, sign), expected, "float64")
    assert_close(hinge(score, sign.astype(int)), expected, "float64")


def test_hinge_kink():
    for jacobian in (jax.jacfwd, jax.jacrev):
        slope = jnp.diag(jacobian(hinge)(jnp.array([1.0, -1.0, 0.5]), jnp.array([1, -1, 1])))
        assert_close(slope, [0.0, 0.0, -1.0], "exact")


@pytest.mark.parametrize("loss", LOSSES)
def test_binary_gradients_and_transforms(loss):
    x, t = array(3, 4), jax.nn.sigmoid(array(3, 4, seed=1))
    if loss is bce:
        x = jax.nn.sigmoid(x)
    assert_gradients(loss, x, t)
    assert_transforms(loss, x, t)
    assert loss(x[:0], t[:0]).shape == (0,)


def test_focal_options_gradients():
    z, t = array(6), jax.nn.sigmoid(array(6, seed=1))
    assert_gradients(lambda z, t: focal(z, t, gamma=0.5, alpha=0.25), z, t)


def test_binary_is_finite():
    targets = jnp.repeat(jnp.array([0, 0.5, 1]), 5)
    far = jnp.tile(jnp.array([-1e4, -1e3, 1e3, 1e4, 0.0]), 3)
    corners = jnp.tile(jnp.array([0.0, 1e-30, 0.5, 1.0 - 6e-8, 1.0]), 3)
    assert_finite(bce, corners, targets)
    assert_finite(bce_with_logits, far, targets)
    assert_finite(hinge, far, 2 * targets - 1)
    for gamma in (0, 0.5, 2):
        assert_finite(lambda z, t, gamma=gamma: focal(z, t, gamma=gamma), far, targets)


def test_bce_outside_is_nan():
    assert_close(bce(jnp.array([-0.1, 1.1, 0.5]), jnp.ones(3))[:1], [np.nan])
    assert jnp.isnan(bce(jnp.array([1.1]), jnp.zeros(1)))[0]


@pytest.mark.parametrize("loss", LOSSES)
def test_binary_errors(loss, unchecked):
    name = loss.__name__
    x = array(4, 2)
    with pytest.raises(ValueError, match=rf"{name}: \w+ and \w+ need one shape .* \(4,\)"):
        loss(x, array(4))
    with pytest.raises(ValueError, match=rf"{name}: the mean .* at least one, got .*\(4, 0\)"):
        loss(x[:, :0], x[:, :0])
    with pytest.raises(ValueError, match=f"{name}: .* need one dtype, got float32 and bfloat16"):
        loss(x, x.astype(jnp.bfloat16))
    with pytest.raises(ValueError, match=rf"{name}: \w+ must be floating point, got int32"):
        loss(jnp.ones(3, int), jnp.ones(3, int))
    if loss is not hinge:
        with pytest.raises(ValueError, match=f"{name}: .* need one dtype, got float32 and int32"):
            loss(x, jnp.ones((4, 2), int))


def test_focal_errors():
    with pytest.raises(ValueError, match="focal: gamma must not be negative, got -1"):
        focal(array(3), array(3), gamma=-1)
    with pytest.raises(ValueError, match=r"focal: alpha must be in \[0, 1\], got 2"):
        focal(array(3), array(3), alpha=2)
