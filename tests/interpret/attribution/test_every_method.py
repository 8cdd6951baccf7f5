"""What all attributions have in common: Captum's values, batches, compilation, transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.tree_util import Partial

from helpers import array, assert_close, golden
from jaxcnn.functional import conv, dense, max_pool, relu
from jaxcnn.interpret.attribution.class_activation import (
    activation_maps,
    grad_cam,
    layer_gradient,
)
from jaxcnn.interpret.attribution.gradients import grad_times_input, saliency, smooth_grad
from jaxcnn.interpret.attribution.integrated import integrated_gradients
from jaxcnn.interpret.attribution.occlusions import occlusion

KEY = jax.random.key(0)
METHODS = {
    "saliency": saliency,
    "grad_times_input": grad_times_input,
    "smooth_grad": lambda f, x: smooth_grad(f, x, KEY, samples=3),
    "integrated_gradients": lambda f, x: tuple(integrated_gradients(f, x, baseline=0.25, steps=6)),
    "occlusion": lambda f, x: occlusion(f, x, window=(3, 4), stride=(2, 4), baseline=0.25),
    "grad_cam": lambda f, x: tuple(grad_cam(f, x, "conv2")),
    "layer_gradient": lambda f, x: layer_gradient(f, x, "conv2"),
    "activation_maps": lambda f, x: tuple(activation_maps(f, x, ["relu2", "conv2"]).values()),
}
each_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
TRACED = []


def small(p, x):
    """Quick to compile, with the names of the golden net's layers."""
    TRACED.append(1)
    x = checkpoint_name(x @ p["weight"], "conv2")
    return (checkpoint_name(jax.nn.relu(x), "relu2") ** 2).sum((1, 2, 3)) + p["bias"]


def some(dtype=jnp.float32):
    """A target and images."""
    p = {"weight": array(3, 4, seed=1).astype(dtype), "bias": jnp.asarray(1, dtype)}
    return Partial(small, p), array(3, 6, 8, 3).astype(dtype)


def score(p, x):
    """The golden net's class."""
    x = max_pool(relu(conv(x, p["conv1.weight"], p["conv1.bias"], padding=1)), 2)
    x = checkpoint_name(conv(x, p["conv2.weight"], p["conv2.bias"], padding=1), "conv2")
    x = max_pool(checkpoint_name(relu(x), "relu2"), 2)
    x = relu(dense(x.reshape(len(x), -1), p["fc1.weight"], p["fc1.bias"]))
    return dense(x, p["fc2.weight"], p["fc2.bias"])[:, 2]


def net(dtype=jnp.float32):
    """The target, its images, and Captum's values."""
    values = golden("attribution")
    named = {k: jnp.asarray(v, dtype) for k, v in values.items() if k.endswith(("weight", "bias"))}
    return Partial(score, named), jnp.asarray(values["x"], dtype), values


@jax.jit
def found(f, x):
    """What Captum also gives, in one program."""
    integrated = integrated_gradients(f, x, baseline=0.25, steps=6)
    result = {
        "saliency": saliency(f, x),
        "grad_times_input": grad_times_input(f, x),
        "integrated_gradients": integrated.attribution,
        "residual": integrated.residual,
        "conv2": activation_maps(f, x)["conv2"],
    }
    result["conv2_gradient_times_output"] = layer_gradient(f, x, "conv2") * result["conv2"]
    for name, window, stride in (("within", (4, 2), (3, 2)), ("over", (3, 4), (2, 4))):
        y = occlusion(f, x, window=window, stride=stride, baseline=0.25)
        result[f"occlusion.{name}"] = y
    for layer in ("conv2", "relu2"):
        maps = grad_cam(f, x, layer)
        result |= {f"grad_cam.{layer}": maps.coarse, f"grad_cam_raw.{layer}": maps.raw}
    return result


def check_captum(dtype, kind):
    f, x, values = net(dtype)
    result = found(f, x)
    assert len(result) == 12
    for name, y in result.items():
        assert y.dtype == dtype
        expected, within = values[name], kind
        if name.startswith("occlusion"):  # one channel of it, in float32
            expected, within = np.broadcast_to(expected, x.shape), "float32"
        if name == "residual" and dtype == jnp.float32:  # a difference of far larger numbers
            within = "float32 sums"
        assert_close(y, expected, within, where=name)


def test_equals_captum_in_float64(x64):
    check_captum(jnp.float64, "golden")


def test_equals_captum_in_float32():
    check_captum(jnp.float32, "float32")


@each_method
def test_batch_equals_singles(method, x64):  # a residual is a difference of far larger numbers
    f, x = some(jnp.float64)
    x = x.at[2].mul(3)  # with a range of its own
    singles = [method(f, x[i : i + 1]) for i in range(len(x))]
    joined = jax.tree.map(lambda *parts: jnp.concatenate(parts), *singles)
    jax.tree.map(assert_close, method(f, x), joined)


@each_method
def test_compiles_once_and_leaves_parameters_alone(method, caplog):
    f, x = some()
    other = Partial(small, jax.tree.map(lambda p: 2 * p, f.args[0]))
    before, smaller = jax.tree.map(np.array, f.args), x[:, :-1]
    first = method(f, x)
    with jax.log_compiles():
        second, third = method(f, x), method(other, x)  # which differs in its arrays alone
        assert "Compiling" not in caplog.text
        method(f, smaller)
        assert "Compiling" in caplog.text
    jax.tree.map(lambda a, b: assert_close(a, b, "exact"), first, second)
    assert max(float(jnp.abs(a - c).max()) for a, c in zip(*map(jax.tree.leaves, (first, third))))  # noqa: B905
    jax.tree.map(np.testing.assert_array_equal, before, f.args)


@pytest.mark.parametrize("method", [saliency, METHODS["grad_cam"]])
def test_closures_are_found_again(method):
    parameters, x = some()
    f = lambda x: parameters(x)  # noqa: E731
    method(f, x)
    traced = len(TRACED)
    method(f, x + 1)
    assert len(TRACED) == traced


@each_method
def test_inside_jit_and_vmap(method, x64):  # residuals are rounding in float32
    f, x = some(jnp.float64)
    expected = method(f, x)
    inside = jax.jit(lambda p, x: method(lambda x: small(p, x), x))(f.args[0], x)
    jax.tree.map(assert_close, inside, expected)
    mapped = jax.vmap(lambda x: method(f, x))(jnp.stack([x, 0.5 * x]))
    halves = method(f, 0.5 * x)
    jax.tree.map(lambda m, a, b: assert_close(m, jnp.stack([a, b])), mapped, expected, halves)


@each_method
def test_bfloat16(method):
    f, x = some(jnp.bfloat16)
    assert {y.dtype for y in jax.tree.leaves(method(f, x))} == {jnp.dtype("bfloat16")}


def test_numpy_images_and_jitted_targets_are_as_good(unchecked):
    f, x = some()
    assert_close(saliency(f, np.asarray(x)), saliency(f, x))
    jitted = jax.jit(lambda x: f(x))
    for name in ("saliency", "grad_cam", "activation_maps"):
        jax.tree.map(assert_close, METHODS[name](jitted, x), METHODS[name](f, x))
