"""`check_gradients` on every public function and on the loss of every first model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array
from jaxcnn import functional, losses
from jaxcnn.autodiff.checks.checking import check_gradients
from jaxcnn.models import example_loss

KEY = jax.random.key(0)
IMAGE = array(2, 4, 4, 2)
KERNEL = array(3, 3, 2, 2, seed=1)
SCALE, BIAS = 1 + 0.1 * array(2, seed=2), array(2, seed=3)
LOGITS, LABELS = array(3, 4), jnp.array([0, 3, 1])
OTHERS = array(3, 4, seed=1)
PROBS = jax.nn.sigmoid(LOGITS)
TRUTHS = jax.nn.softmax(OTHERS)

# What has no derivatives, and why.
WITHOUT = {
    "initializers": "a module",
    "shapes": "a module of integers",
    "zero_one": "piecewise constant: its derivative is 0 or does not exist",
    "weights_mask": "gives booleans",
}

# Name -> options and arguments; options are fixed, floating-point arguments are differentiated.
FUNCTIONS = {
    "adaptive_avg_pool": [({"output_size": (2, 3)}, IMAGE)],
    "avg_pool": [
        ({"window": 2}, IMAGE),
        ({"window": 3, "stride": 2, "padding": 1, "count_include_pad": False}, IMAGE),
    ],
    "batch_norm": [
        ({"train": True}, IMAGE, SCALE, BIAS, BIAS, SCALE),
        ({"train": False}, IMAGE, SCALE, BIAS, BIAS, SCALE),
    ],
    "conv": [
        ({}, IMAGE, KERNEL, BIAS),
        ({"stride": 2, "padding": 1, "dilation": 2}, IMAGE, KERNEL),
        ({"groups": 2, "padding": "VALID"}, IMAGE, KERNEL[:, :, :1]),
    ],
    "conv_transpose": [({"stride": 2, "padding": 1}, IMAGE[:1, :3, :3], KERNEL, BIAS)],
    "dense": [({}, LOGITS, OTHERS.T, array(3, seed=2))],
    "drop_path": [({"train": True, "rate": 0.5}, KEY, IMAGE)],
    "dropout": [({"train": True, "rate": 0.5}, KEY, IMAGE)],
    "elu": [({}, LOGITS)],
    "gelu": [({}, LOGITS)],
    "global_avg_pool": [({}, IMAGE)],
    "group_norm": [({"groups": 1}, IMAGE, SCALE, BIAS)],
    "hard_swish": [({}, 3 * LOGITS)],
    "instance_norm": [({}, IMAGE, SCALE, BIAS)],
    "layer_norm": [({}, LOGITS, 1 + 0.1 * OTHERS[0], OTHERS[1])],
    "leaky_relu": [({}, LOGITS)],
    "local_response_norm": [({"alpha": 0.1}, LOGITS)],
    "locally_connected": [({}, IMAGE[:1, :3, :3], array(2, 2, 2, 2, 2, 2), array(2, 2, 2))],
    "log_softmax": [({}, LOGITS)],
    "max_pool": [({"window": 2}, IMAGE), ({"window": 3, "stride": 2, "padding": 1}, IMAGE)],
    "max_pool_with_argmax": [({"window": 2}, IMAGE)],
    "max_unpool": [
        ({"output_size": (2, 2)}, IMAGE[:, :1, :1], jnp.array([[[[3, 0]]], [[[1, 2]]]]))
    ],
    "maxout": [({"pieces": 2}, LOGITS)],
    "mean_subtraction": [({}, LOGITS)],
    "normalized_cross_correlation": [({}, IMAGE, KERNEL[:2, :2, :, 0])],
    "relu": [({}, LOGITS)],
    "relu6": [({}, 4 * LOGITS)],
    "sigmoid": [({}, LOGITS)],
    "silu": [({}, LOGITS)],
    "softmax": [({}, LOGITS)],
    "softplus": [({}, LOGITS)],
    "spatial_dropout": [({"train": True, "rate": 0.5}, KEY, IMAGE)],
    "tanh": [({}, LOGITS)],
    "bce": [({}, PROBS, jax.nn.sigmoid(OTHERS))],
    "bce_with_logits": [({}, LOGITS, jax.nn.sigmoid(OTHERS))],
    "cross_entropy": [
        ({"label_smoothing": 0.1}, LOGITS, LABELS),
        ({}, LOGITS, TRUTHS),
        ({"ignore_label": 3}, LOGITS, LABELS),
    ],
    "focal": [({"alpha": 0.25}, LOGITS, jax.nn.sigmoid(OTHERS))],
    "hinge": [({}, LOGITS, jnp.sign(OTHERS).astype(int))],
    "huber": [({"delta": 0.5}, LOGITS, OTHERS)],
    "kl_divergence": [({}, jax.nn.log_softmax(LOGITS), TRUTHS)],
    "l1": [({}, LOGITS, OTHERS)],
    "l1_penalty": [({}, {"a": LOGITS, "b": BIAS})],
    "l2_penalty": [({}, {"a": LOGITS, "b": BIAS})],
    "mse": [({}, LOGITS, OTHERS)],
    "multiclass_hinge": [({}, LOGITS, LABELS), ({"over_classes": "sum"}, LOGITS, LABELS)],
    "nll": [({}, jax.nn.log_softmax(LOGITS), LABELS)],
    "squared_error": [({}, LOGITS, OTHERS)],
    "structured": [({"task_loss": 1 - jnp.eye(4), "epsilon": 1.0}, LOGITS, LABELS)],
}
CASES = [(name, *case) for name, cases in FUNCTIONS.items() for case in cases]
MODELS = ["perceptron", "mlp", "tiny", "lenet5", "lenet", "convnet"]
LONG = {"lenet5", "convnet"}  # kept out of the default run; lenet stands for them there


def with_options(name, options):
    """The function of its arrays alone; an option that is an array has their dtype."""
    f = getattr(functional, name, None) or getattr(losses, name)

    def of_arrays(*args):
        dtype = jnp.result_type(*(a for a in jax.tree.leaves(args) if a.dtype != KEY.dtype))
        cast = {k: jnp.asarray(v, dtype) if hasattr(v, "dtype") else v for k, v in options.items()}
        return f(*args, **cast)

    return of_arrays


def test_the_table_has_every_public_function():
    assert sorted([*FUNCTIONS, *WITHOUT]) == sorted([*functional.__all__, *losses.__all__])


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{c[0]}-{'-'.join(map(str, c[1]))}".strip("-") for c in CASES]
)
def test_function(case):
    name, options, *args = case
    report = check_gradients(with_options(name, options), *args, order=1)
    report.raise_if_failed()
    for c in report.comparisons:
        assert not c.kinks, str(report)
        assert not c.inconclusive, str(report)


@pytest.mark.parametrize("name", ["relu", "softmax", "cross_entropy", "max_pool", "dense"])
def test_second_derivatives(name):
    options, *args = FUNCTIONS[name][0]
    check_gradients(with_options(name, options), *args).raise_if_failed()


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", CASES, ids=[f"{c[0]}-{'-'.join(map(str, c[1]))}".strip("-") for c in CASES]
)
def test_second_derivatives_of_every_function(case):
    name, options, *args = case
    check_gradients(with_options(name, options), *args, order=2).raise_if_failed()


@pytest.mark.parametrize(
    "name", [pytest.param(m, marks=pytest.mark.slow) if m in LONG else m for m in MODELS]
)
def test_model(name):
    loss, params, images = example_loss(name)
    report = check_gradients(lambda p: loss(p, images), params, order=1, directions=4)
    report.raise_if_failed()
    assert not any(c.inconclusive for c in report.comparisons)


@pytest.mark.slow
@pytest.mark.optimized  # computes more than it compiles
@pytest.mark.parametrize("name", MODELS)
def test_model_s_second_derivatives(name):
    loss, params, images = example_loss(name)
    check_gradients(lambda p: loss(p, images), params, order=2).raise_if_failed()


def test_zero_one_is_flat():
    slopes = jax.jit(jax.grad(lambda x: losses.zero_one(x, LABELS).sum()))(LOGITS)
    assert not np.any(slopes)
