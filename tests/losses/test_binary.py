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
from jaxcnn.losses import bce, bce_with_logits, focal, hinge

LOSSES = [bce, bce_with_logits, focal, hinge]

# PyTorch's name, ours, the arguments, options
TORCH = [
    ("bce", bce, ("probs", "yes"), {}),
    ("bce_with_logits", bce_with_logits, ("z", "yes"), {}),
    ("focal", focal, ("z", "hard"), {"gamma": 2, "alpha": 0.25}),
    ("hinge", hinge, ("z", "sign"), {}),
]


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x)))


@pytest.mark.parametrize("double", [False, True])
def test_binary_is_pytorch(double):
    saved = golden("losses")
    saved["sign"] = 2 * saved["hard"] - 1

    @jax.jit
    def losses(saved):
        found = {}
        for name, loss, (x, t), options in TORCH:
            x, t = saved[x], saved[t]
            found[name] = loss(x, t, **options), loss(x.ravel(), t.ravel(), **options)
        return found

    with jax.enable_x64(double):
        found = losses(saved)
    for name, (means, singles) in found.items():
        assert_close(means, saved[name].mean(axis=1), "golden", where=name)
        # One feature each: no mean at all.
        for single, value in zip(np.asarray(singles), saved[name].ravel(), strict=True):
            assert_close(single, value, "golden", where=name)


@pytest.mark.parametrize("jacobian", [jax.jacfwd, jax.jacrev])
def test_binary_slopes_are_pytorch(x64, jacobian):
    saved = golden("losses")
    saved["sign"] = 2 * saved["hard"] - 1

    @jax.jit
    def all_slopes(saved):
        return {
            name: jacobian(partial(loss, **options))(saved[x].ravel(), saved[t].ravel())
            for name, loss, (x, t), options in TORCH
        }

    for name, slopes in all_slopes(saved).items():
        # One by one: those of `bce` go up to 1e12.
        expected = saved[f"{name}_gradient"].ravel()
        for slope, value in zip(np.diag(slopes), expected, strict=True):
            assert_close(slope, value, "golden", where=name)


def test_bce_small_losses_keep_their_digits():
    losses = bce_with_logits(jnp.array([40.0, -40.0]), jnp.array([1.0, 0.0]))
    assert_close(losses, np.exp([-40.0, -40.0]))


def test_binary_is_optax(x64):
    z, t = 3 * np.asarray(array(5, 4)), (np.asarray(array(5, 4, seed=1)) > 0).astype(float)
    focals = ({"gamma": 0.5}, {"gamma": 3.0, "alpha": 0.25})

    @jax.jit
    def ours_and_theirs(z, t, p):
        cross_entropy = optax.losses.sigmoid_binary_cross_entropy(z, t).mean(-1)
        hinges = optax.losses.hinge_loss(z[:, 0], 2 * t[:, 0] - 1)
        return [
            (bce_with_logits(z, t), cross_entropy),
            (bce(p, t), cross_entropy),
            (hinge(z[:, 0], 2 * t[:, 0] - 1), hinges),
            *(
                (focal(z, t, **options), optax.losses.sigmoid_focal_loss(z, t, **options).mean(-1))
                for options in focals
            ),
        ]

    for ours, theirs in ours_and_theirs(z, t, sigmoid(z)):
        assert_close(ours, theirs, "float64")


def test_focal_laws(x64):
    @jax.jit
    def losses(z, t):
        one, zero = jnp.ones_like(z), jnp.zeros_like(z)
        return {
            "gamma 0": (focal(z, t, gamma=0), bce_with_logits(z, t)),
            "alpha a half": (2 * focal(z, t, alpha=0.5), focal(z, t)),
            "mean over drawn targets": (focal(z, t), t * focal(z, one) + (1 - t) * focal(z, zero)),
            "symmetry": (focal(-z, zero), focal(z, one)),
        }

    found = losses(3 * np.asarray(array(20)), sigmoid(array(20, seed=1)))
    for law, (left, right) in found.items():
        assert_close(left, right, "float64", where=law)


def test_hinge_is_the_loop(x64):
    score, sign = np.asarray(array(4, 3)), np.sign(array(4, 3, seed=1))
    pairs = [zip(a, b, strict=True) for a, b in zip(score, sign, strict=True)]
    expected = [np.mean([max(0, 1 - s * g) for s, g in pair]) for pair in pairs]
    for signs in (sign, sign.astype(int)):
        assert_close(jax.jit(hinge)(score, signs), expected, "float64")


def test_hinge_kink():
    both = jax.jit(lambda *args: (jax.jacfwd(hinge)(*args), jax.jacrev(hinge)(*args)))
    for slopes in both(np.array([1, -1, 0.5], np.float32), np.array([1, -1, 1])):
        assert_close(np.diag(slopes), [0.0, 0.0, -1.0], "exact")


@pytest.mark.parametrize("loss", LOSSES)
def test_binary_gradients_and_transforms(loss):
    x, t = array(3, 4), sigmoid(array(3, 4, seed=1))
    if loss is bce:
        x = sigmoid(x)
    assert_gradients(loss, x, t)
    assert_transforms(loss, x, t)
    assert jax.jit(loss)(np.asarray(x)[:0], t[:0]).shape == (0,)


def test_focal_options_gradients():
    z, t = array(6), sigmoid(array(6, seed=1))
    assert_gradients(lambda z, t: focal(z, t, gamma=0.5, alpha=0.25), z, t)


def test_binary_is_finite():
    targets = np.repeat([0, 0.5, 1], 5)
    far = np.tile([-1e4, -1e3, 1e3, 1e4, 0.0], 3)
    corners = np.tile([0.0, 1e-30, 0.5, 1.0 - 6e-8, 1.0], 3)

    def losses(probs, z, t, sign):
        focals = [focal(z, t, gamma=gamma) for gamma in (0, 0.5, 2)]
        return jnp.stack([bce(probs, t), bce_with_logits(z, t), hinge(z, sign), *focals])

    assert_finite(losses, corners, far, targets, 2 * targets - 1)


def test_bce_outside_is_nan():
    probs, targets = np.array([[-0.1, 1.1, 1.1, 0.5], [1, 1, 0, 1]], np.float32)
    losses = jax.jit(bce)(probs, targets)
    assert_close(np.isnan(losses), [1, 1, 1, 0], "exact")


@pytest.mark.parametrize("loss", LOSSES)
def test_binary_errors(loss, unchecked):
    name = loss.__name__
    x = np.asarray(array(4, 2))
    with pytest.raises(ValueError, match=rf"{name}: \w+ and \w+ need one shape .* \(4,\)"):
        loss(x, array(4))
    with pytest.raises(ValueError, match=rf"{name}: the mean .* at least one, got .*\(4, 0\)"):
        loss(x[:, :0], x[:, :0])
    with pytest.raises(ValueError, match=f"{name}: .* need one dtype, got float32 and bfloat16"):
        loss(x, x.astype(jnp.bfloat16))
    with pytest.raises(ValueError, match=rf"{name}: \w+ must be floating point, got int32"):
        loss(np.ones(3, np.int32), np.ones(3, np.int32))
    if loss is not hinge:
        with pytest.raises(ValueError, match=f"{name}: .* need one dtype, got float32 and int32"):
            loss(x, np.ones((4, 2), np.int32))


def test_focal_errors():
    with pytest.raises(ValueError, match="focal: gamma must not be negative, got -1"):
        focal(array(3), array(3), gamma=-1)
    with pytest.raises(ValueError, match=r"focal: alpha must be in \[0, 1\], got 2"):
        focal(array(3), array(3), alpha=2)
