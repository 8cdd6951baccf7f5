import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from helpers import (
    TOLERANCES,
    array,
    assert_close,
    assert_finite,
    assert_golden,
    assert_gradients,
    assert_transforms,
    golden,
)
from jaxcnn.functional.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    mean_subtraction,
)

VALUES = golden("functional")


def trained(x, scale=None, bias=None, **options):
    """Batch norm's output alone, in training."""
    running = jnp.zeros(x.shape[-1]), jnp.ones(x.shape[-1])
    return batch_norm(x, scale, bias, *running, train=True, **options)[0]


def two_groups(x, scale=None, bias=None, **options):
    return group_norm(x, scale, bias, groups=2, **options)


NORMS = {
    "batch_norm": trained,
    "layer_norm": layer_norm,
    "layer_norm_image": lambda x, *a, **k: layer_norm(x, *a, axis=(1, 2, 3), **k),
    "group_norm": two_groups,
    "instance_norm": instance_norm,
}
AXES = {  # of an array b h w groups c_in_group
    "batch_norm": (0, 1, 2),
    "layer_norm": (3, 4),
    "layer_norm_image": (1, 2, 3, 4),
    "group_norm": (1, 2, 4),
    "instance_norm": (1, 2),
}


def norm_loop(x, axes, eps=1e-5):
    """In float64, with NumPy's two-pass variance."""
    x = np.asarray(x, np.float64)
    grouped = x.reshape(*x.shape[:-1], 2, -1)
    m, v = grouped.mean(axes, keepdims=True), grouped.var(axes, keepdims=True)
    return ((grouped - m) / np.sqrt(v + eps)).reshape(x.shape)


@pytest.mark.parametrize("name", NORMS)
def test_norms_are_the_formula(x64, name):
    x = 3 * array(3, 4, 2, 6) + 2
    shape = x.shape[1:] if name == "layer_norm_image" else (6,)
    scale, bias = array(*shape, seed=1), array(*shape, seed=2)
    norm = NORMS[name]

    @jax.jit
    def norms(x, scale, bias):
        plain, only_bias = norm(x), norm(x, None, bias, eps=0.1)
        return plain, only_bias, norm(x, scale, bias, eps=0.1)

    plain, only_bias, both = norms(x, scale, bias)
    assert_close(plain, norm_loop(x, AXES[name], 1e-5), "float64")
    expected = norm_loop(x, AXES[name], 0.1)
    assert_close(only_bias, expected + np.asarray(bias), "float64")
    assert_close(both, expected * np.asarray(scale) + np.asarray(bias), "float64")


@pytest.mark.parametrize("name", NORMS)
def test_norms_are_pytorch(name):
    eps = {"eps": 1e-3} if name == "group_norm" else {}
    assert_golden(lambda *a: NORMS[name](*a, **eps), VALUES, name, "x", "scale", "bias")


@pytest.mark.parametrize("name", NORMS)
def test_norm_gradients_and_transforms(name):
    x = array(2, 2, 2, 4)
    shape = x.shape[1:] if name == "layer_norm_image" else (4,)
    args = x, array(*shape, seed=1), array(*shape, seed=2)
    assert_gradients(NORMS[name], *args)
    assert_transforms(jax.jit(NORMS[name]), *args)


@pytest.mark.parametrize("name", NORMS)
def test_norms_do_not_see_shift_and_scale(x64, name):
    x = array(3, 4, 2, 6)
    f = jax.jit(lambda x: NORMS[name](x, eps=0.0))
    y = f(x)
    assert_close(f(7 * x + 5), y, "float64")
    assert_close(f(-x), -y, "float64")


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_constants_are_finite(name):
    x, dy = np.full((2, 3, 3, 4), 0.3, np.float32), array(2, 3, 3, 4)
    assert np.isfinite(jax.jit(NORMS[name])(x)).all()
    gradient = jax.grad(lambda x: jnp.sum(NORMS[name](x).astype(jnp.float32) * dy))
    assert_finite(gradient, x)  # and with it the second derivatives


@pytest.mark.parametrize("name", NORMS)
def test_norms_with_a_large_mean(name):
    x = array(4, 16, 16, 32) + 1e4
    assert_close(jax.jit(NORMS[name])(x), norm_loop(x, AXES[name]), "large mean")


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_bfloat16_take_float32_parameters(name):
    x = array(4, 8, 8, 4) + 3
    shape = x.shape[1:] if name == "layer_norm_image" else (4,)
    scale, bias = array(*shape, seed=1), array(*shape, seed=2)
    low = x.astype(jnp.bfloat16)
    y = np.asarray(jax.jit(NORMS[name])(low, scale, bias))
    assert y.dtype == jnp.bfloat16
    # Not only near: the same as in float32, rounded once. (Near a half either neighbour is right.)
    exact = np.asarray(jax.jit(NORMS[name])(low.astype(jnp.float32), scale, bias))
    error = TOLERANCES["float32"] * np.abs(exact).max()
    assert (y >= (exact - error).astype(jnp.bfloat16)).all()
    assert (y <= (exact + error).astype(jnp.bfloat16)).all()


def test_batch_norm_statistics_are_pytorch(x64):
    first, second = jnp.asarray(VALUES["batch_norm_steps.x"])
    running = jnp.zeros(4), jnp.ones(4)
    for x in (first, second):
        y, running = batch_norm(x, None, None, *running, train=True)
    assert_close(running[0], VALUES["batch_norm_steps.mean"], "golden")
    assert_close(running[1], VALUES["batch_norm_steps.var"], "golden")
    y, same = batch_norm(first, None, None, *running, train=False)
    assert_close(y, VALUES["batch_norm_steps.y"], "golden")
    assert same[0] is running[0]
    assert same[1] is running[1]


def test_batch_norm_running_statistics(x64):
    x, scale, bias = array(2, 3, 4), array(4, seed=1), array(4, seed=2)
    mean, var = array(4, seed=3), np.asarray(array(4, seed=4)) ** 2
    step = jax.jit(batch_norm, static_argnames=("train", "momentum"))
    _, (m, v) = step(x, scale, bias, mean, var, train=True, momentum=0.3)
    flat = np.reshape(x, (6, 4))
    assert_close(m, 0.7 * np.asarray(mean) + 0.3 * flat.mean(0), "float64")
    assert_close(v, 0.7 * np.asarray(var) + 0.3 * flat.var(0, ddof=1), "float64")
    expected, (m, v) = step(x, scale, bias, mean, var, train=True, momentum=1.0)
    y, _ = step(x, scale, bias, m, np.asarray(v) * 5 / 6, train=False)
    assert_close(y, expected, "float64")


def test_batch_norm_statistics_keep_their_dtype():
    x = array(64, 4).astype(jnp.bfloat16)
    y, (mean, var) = batch_norm(x, None, None, jnp.zeros(4), jnp.ones(4), train=True)
    assert y.dtype == jnp.bfloat16
    assert mean.dtype == var.dtype == jnp.float32
    assert_close(mean, 0.1 * np.asarray(x, np.float32).mean(0))
    y, _ = batch_norm(x, None, None, mean, var, train=False)
    assert y.dtype == jnp.bfloat16


def test_batch_norm_gradients_and_transforms():
    var = np.asarray(array(2)) ** 2 + 1
    args = array(2, 3, 2), array(2, seed=1), array(2, seed=2), array(2, seed=3), var
    assert_gradients(lambda *a: [batch_norm(*a, train=train) for train in (True, False)], *args)
    assert_transforms(jax.jit(lambda *a: batch_norm(*a, train=False)[0]), *args)
    f = jax.jit(lambda *a: batch_norm(*a, train=True)[1][1])
    assert_transforms(f, *args, bfloat16=False)


def test_batch_norm_across_devices_is_that_of_the_whole_batch(x64):
    x, scale, bias = 2 * array(8, 3, 3, 4) + 50, array(4, seed=1), array(4, seed=2)
    mean, var = array(4, seed=3), array(4, seed=4) ** 2
    dy = array(*x.shape, seed=5)

    def whole(x, scale, bias):
        y, running = batch_norm(x, scale, bias, mean, var, train=True)
        return jnp.vdot(y, dy), (y, running)

    def spread(x, scale, bias):
        def device(x):
            return batch_norm(x, scale, bias, mean, var, train=True, axis_name="devices")

        y, running = jax.vmap(device, axis_name="devices")(x.reshape(4, 2, 3, 3, 4))
        y = y.reshape(x.shape)
        return jnp.vdot(y, dy), (y, running)

    gradients, (y, running) = jax.jit(jax.grad(whole, (0, 1, 2), has_aux=True))(x, scale, bias)
    ours, (y_spread, copies) = jax.jit(jax.grad(spread, (0, 1, 2), has_aux=True))(x, scale, bias)
    assert_close(y_spread, y, "float64")
    for statistic, copy in zip(running, copies, strict=True):
        assert_close(copy, jnp.broadcast_to(statistic, (4, 4)), "float64")
    for name, expected, gradient in zip(("x", "scale", "bias"), gradients, ours, strict=True):
        assert_close(gradient, expected, "float64", where=name)
    tangents = x, scale, bias
    both = jax.jit(lambda *a: (spread(*a)[0], whole(*a)[0]))
    _, (forward, expected) = jax.jvp(both, tangents, tangents)
    assert_close(forward, expected, "float64")


TWO_DEVICES = """
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from helpers import array, assert_close
from jaxcnn.functional.normalization import batch_norm

jax.config.update("jax_enable_x64", True)
assert jax.device_count() == 2
x, scale, bias = 2 * array(4, 3, 3, 2) + 50, array(2, seed=1), array(2, seed=2)
mean, var, dy = array(2, seed=3), array(2, seed=4) ** 2, array(*x.shape, seed=5)


def norm(x, scale, bias, axis_name=None):
    return batch_norm(x, scale, bias, mean, var, train=True, axis_name=axis_name)


spread = jax.shard_map(
    lambda *args: norm(*args, axis_name="devices"),
    mesh=Mesh(jax.devices(), ("devices",)),
    in_specs=(P("devices"), P(), P()),
    out_specs=(P("devices"), P()),
)


def value_and_gradients(f):
    def loss(x, scale, bias):
        y, running = f(x, scale, bias)
        return jnp.vdot(y, dy) + sum(s.sum() for s in running), (y, running)

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(x, scale, bias)


found, expected = value_and_gradients(spread), value_and_gradients(norm)
assert len(jax.tree.leaves(expected)) == 7
for a, e in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    assert_close(a, e, "float64")
"""


def test_batch_norm_on_two_devices_is_that_of_one():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": str(Path(helpers.__file__).parent),
    }
    command = [sys.executable, "-W", "error", "-c", TWO_DEVICES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_batch_norm_of_one_value_a_device(x64):
    alone = jax.vmap(lambda x: trained(x[None], axis_name="devices")[0], axis_name="devices")
    y, expected = jax.jit(lambda x: (alone(x), trained(x)))(array(5, 3))
    assert_close(y, expected, "float64")


def test_norms_that_are_the_same(x64):
    x, scale, bias = array(2, 3, 4, 6), array(6, seed=1), array(6, seed=2)
    whole, image = jax.jit(lambda x: (group_norm(x, groups=1), layer_norm(x, axis=(1, 2, 3))))(x)
    assert_close(whole, image, "float64")

    @jax.jit
    def channel_by_channel(x, scale, bias):
        alone = jax.vmap(lambda x: trained(x[None], scale, bias)[0])(x)
        return alone, group_norm(x, scale, bias, groups=6), instance_norm(x, scale, bias)

    alone, group, instance = channel_by_channel(x, scale, bias)
    assert_close(group, instance, "float64")
    assert_close(alone, instance, "float64")


def test_layer_norm_takes_axes_in_any_order(x64):
    x, scale = array(2, 3, 4, 6), array(3, 6, seed=3)
    y = jax.jit(lambda x, scale: layer_norm(x, scale, axis=(-1, 1), eps=0.0))(x, scale)
    x, over = np.asarray(x), {"axis": (1, 3), "keepdims": True}
    expected = (x - x.mean(**over)) / x.std(**over)
    assert_close(y, expected * np.asarray(scale)[:, None], "float64")  # the scale in x's order


def lrn_loop(x, size, alpha, beta, k):
    x = np.asarray(x, np.float64)
    y = np.zeros_like(x)
    for i in range(x.shape[-1]):
        near = x[..., max(i - size // 2, 0) : i + (size - 1) // 2 + 1]
        y[..., i] = x[..., i] / (k + alpha / size * (near**2).sum(-1)) ** beta
    return y


@pytest.mark.parametrize(("size", "beta"), [(1, 0.75), (2, 0.5), (4, 0.75), (5, 0.5), (12, 0.75)])
def test_local_response_norm_is_the_loop(x64, size, beta):
    x = array(2, 3, 7)
    y = jax.jit(lambda x: local_response_norm(x, size=size, alpha=0.5, beta=beta, k=2.0))(x)
    assert_close(y, lrn_loop(x, size, 0.5, beta, 2.0), "float64")


def test_local_response_norm_is_pytorch():
    power = {"size": 3, "alpha": 0.5, "beta": 0.6, "k": 2.0}
    for case, options in {"4": {"size": 4}, "5": {}, "power": power}.items():
        assert_golden(
            lambda x, o=options: local_response_norm(x, **o),
            VALUES,
            f"local_response_norm_{case}",
            "x",
        )


def test_local_response_norm_gradients_and_transforms():
    def both(x):
        return jnp.stack([local_response_norm(x, alpha=1.0, beta=b) for b in (0.75, 0.6)])

    assert_gradients(both, array(2, 2, 6))
    assert_transforms(jax.jit(both), array(2, 2, 6))
    assert_finite(local_response_norm, jnp.zeros((1, 2, 2, 6)))


@pytest.mark.parametrize("axis", [0, -1, (0, 2), (0, 1, 2)])
def test_mean_subtraction_laws(x64, axis):
    f = partial(mean_subtraction, axis=axis)

    @jax.jit
    def laws(x, dy):
        y, pullback = jax.vjp(f, x)
        return y, f(y), pullback(dy)[0], f(dy)

    x = np.asarray(array(4, 3, 2)) + 5
    y, again, dx, expected = laws(x, array(4, 3, 2, seed=1))
    assert_close(y, x - x.mean(axis, keepdims=True), "float64")
    assert_close(again, y, "float64")
    assert_close(dx, expected, "float64")


def test_mean_subtraction_gradients_and_transforms():
    assert_gradients(mean_subtraction, array(3, 2, 2))
    f = jax.jit(lambda x: mean_subtraction(x, axis=(1, 2)))
    assert_transforms(f, array(2, 3, 2, 2))


def test_batch_norm_errors(unchecked):
    x, one = array(2, 4, 4, 3), jnp.ones(3)
    for shape in ((1, 1, 1, 3), (0, 4, 4, 3)):
        with pytest.raises(ValueError, match="training needs more than one value per channel"):
            batch_norm(jnp.ones(shape), one, one, one, one, train=True)
        batch_norm(jnp.ones(shape), one, one, one, one, train=False)
    with pytest.raises(ValueError, match=r"batch_norm: scale needs shape \(3,\), got \(4,\)"):
        batch_norm(x, jnp.ones(4), one, one, one, train=True)
    with pytest.raises(ValueError, match=r"batch_norm: var needs shape \(3,\), got \(1,\)"):
        batch_norm(x, one, one, one, jnp.ones(1), train=False)
    with pytest.raises(ValueError, match="batch_norm: bias must be float32 for x in float32, got"):
        batch_norm(x, one, one.astype(jnp.bfloat16), one, one, train=True)
    with pytest.raises(ValueError, match="batch_norm: x must be floating point, got uint8"):
        batch_norm(x.astype(jnp.uint8), one, one, one, one, train=True)


def test_norm_errors(unchecked):
    x, one = array(2, 4, 4, 6), jnp.ones(6)
    with pytest.raises(ValueError, match="layer_norm: axis must name axes of x .* got 4"):
        layer_norm(x, axis=4)
    with pytest.raises(ValueError, match=r"layer_norm: axis must name axes of x .* got \(3, -1\)"):
        layer_norm(x, axis=(3, -1))
    with pytest.raises(ValueError, match=r"layer_norm: axis must name axes of x .* got \(\)"):
        layer_norm(x, axis=())
    with pytest.raises(ValueError, match=r"layer_norm: scale needs shape \(4, 6\), got \(6,\)"):
        layer_norm(x, one, axis=(1, 3))
    with pytest.raises(ValueError, match="scale must be bfloat16 or float32 for x in bfloat16"):
        layer_norm(x.astype(jnp.bfloat16), np.asarray(one).astype(np.float16))
    with pytest.raises(ValueError, match="group_norm: groups must divide c = 6, got 4"):
        group_norm(x, one, one, groups=4)
    with pytest.raises(ValueError, match="group_norm: groups must divide c = 6, got 0"):
        group_norm(x, one, one, groups=0)
    with pytest.raises(ValueError, match="group_norm: a group needs more than one value"):
        group_norm(x[:, :1, :1], one, one, groups=6)
    with pytest.raises(ValueError, match="instance_norm: x needs more than one pixel"):
        instance_norm(x[:, :1, :1])
    with pytest.raises(ValueError, match=r"instance_norm: bias needs shape \(6,\), got \(3,\)"):
        instance_norm(x, one, jnp.ones(3))
    with pytest.raises(ValueError, match="local_response_norm: size must be at least 1, got 0"):
        local_response_norm(x, size=0)
    with pytest.raises(ValueError, match="mean_subtraction: x must be floating point, got int32"):
        mean_subtraction(x.astype(jnp.int32))
    rule = r"mean_subtraction: axis must name axes of x \(2, 3\) once each, got"
    for axis in (7, (0, 0), (0, -2), ()):
        with pytest.raises(ValueError, match=rule):
            mean_subtraction(array(2, 3), axis=axis)
