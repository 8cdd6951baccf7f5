import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.tree_util import Partial

from helpers import array, assert_close
from jaxcnn.functional import conv
from jaxcnn.interpret.attribution.class_activation import (
    activation_maps,
    grad_cam,
    layer_gradient,
)
from jaxcnn.models import create

WEIGHTS = jnp.array([2.0, -1.0])


def weighted(x):
    """The score weighs the means of two channels: alpha_k = w_k / pixels."""
    return checkpoint_name(x, "maps").mean((1, 2)) @ WEIGHTS


def skipping(kernels, x):
    """Two convolutions around which the signal also goes."""
    y = checkpoint_name(conv(x, kernels[0]), "first")
    z = checkpoint_name(jax.nn.relu(conv(y, kernels[1])), "second")
    return (checkpoint_name(y + z, "sum") ** 2).sum((1, 2, 3))


def test_hand_made_maps():
    x = jnp.zeros((2, 4, 4, 2)).at[0, 1, 2, 0].set(8).at[0, 3, 3, 1].set(5).at[1, 0, 0, 0].set(4)
    found = grad_cam(weighted, x, "maps")
    expected = jnp.zeros((2, 4, 4)).at[0, 1, 2].set(8 * 2 / 16).at[1, 0, 0].set(4 * 2 / 16)
    assert_close(found.coarse, expected)
    assert_close(found.raw, expected)
    assert_close(found.scaled, jnp.minimum(expected * jnp.array([1, 2.0])[:, None, None], 1))


def test_coarse_maps_are_resized():
    def f(x):
        return weighted(x[:, ::4, ::3])

    x = jnp.zeros((1, 8, 6, 2)).at[0, 4, 3, 0].set(6.0)
    found = grad_cam(f, x, "maps")
    assert_close(found.coarse, [[[0, 0], [0, 6 * 2 / 4]]])
    # Half-pixel centres: 0 up to the middle of the first pixel, 3 from that of the second.
    rows = np.clip((np.arange(8) + 0.5) / 4 - 0.5, 0, 1)
    columns = np.clip((np.arange(6) + 0.5) / 3 - 0.5, 0, 1)
    assert_close(found.raw[0], 3 * np.outer(rows, columns))
    assert_close(found.scaled[0], np.outer(rows, columns))


@pytest.mark.parametrize("value", [0.0, 0.3, 7e4, -1.0])
def test_constant_maps_give_zeros(value):
    def f(x):  # 7 x 6 pixels, which resizing leaves equal only up to rounding
        return weighted(x[:, ::3, ::4])

    found = grad_cam(f, jnp.full((1, 20, 23, 2), value), "maps")
    alphas = max(value, 0) / 42  # w = 2 - 1
    assert_close(found.raw, jnp.full((1, 20, 23), alphas))
    assert_close(found.scaled, jnp.zeros((1, 20, 23)), "exact")


def test_scaled_beside_a_constant_image():
    x = jnp.ones((2, 3, 3, 2)).at[1, 0, 0, 0].set(5.0)
    scaled = grad_cam(weighted, x, "maps").scaled
    assert_close(scaled[0], jnp.zeros((3, 3)), "exact")
    assert_close([scaled[1].min(), scaled[1].max()], [0, 1])


def test_scaled_sees_small_differences():
    x = jnp.ones((1, 3, 3, 2)).at[0, 1, 1, 0].set(1.001)
    assert_close(grad_cam(weighted, x, "maps").scaled, jnp.zeros((1, 3, 3)).at[0, 1, 1].set(1))


def test_with_skip_connections(x64):
    x, kernels = array(2, 5, 5, 2), (array(3, 3, 2, 3, seed=1), array(3, 3, 3, 3, seed=2))
    y = conv(x, kernels[0])
    z = jax.nn.relu(conv(y, kernels[1]))
    by_sum = 2 * (y + z)
    (by_first,) = jax.vjp(lambda y: y + jax.nn.relu(conv(y, kernels[1])), y)[1](by_sum)
    f = Partial(skipping, kernels)
    for layer, maps, gradient in (
        ("first", y, by_first), ("second", z, by_sum), ("sum", y + z, by_sum),
    ):  # fmt: skip
        assert_close(layer_gradient(f, x, layer), gradient, "float64")
        alpha = np.asarray(gradient).mean((1, 2))
        expected = np.maximum(np.einsum("bk,bhwk->bhw", alpha, maps), 0)
        assert_close(grad_cam(f, x, layer).coarse, expected, "float64")


def test_linen_layers():
    model, x = create("tiny"), array(2, 3, 3, 1)
    variables = model.init(jax.random.key(0), x)
    f = lambda x: model.apply(variables, x)[:, 1]  # noqa: E731
    maps = activation_maps(f, x)
    assert list(maps) == ["conv", "logits"]
    assert_close(maps["logits"], model.apply(variables, x))
    assert list(activation_maps(f, x, ["logits", "conv"])) == ["conv", "logits"]
    assert_close(layer_gradient(f, x, "logits")[:, 1], jnp.ones(2), "exact")
    assert_close(layer_gradient(f, x, "logits")[:, 0], jnp.zeros(2), "exact")
    assert grad_cam(f, x, "conv").coarse.shape == maps["conv"].shape[:3]


def test_activation_maps_of_any_function():
    def f(x):
        a = checkpoint_name(2 * x, "zebra")
        return {"b": checkpoint_name(a.sum((1, 2)), "ant"), "c": checkpoint_name(a + 1, "zebra")}

    x = array(2, 3, 3, 1)
    maps = activation_maps(f, x)
    assert list(maps) == ["zebra", "ant", "zebra:2"]
    assert_close(maps["zebra:2"], 2 * x + 1)
    assert list(activation_maps(f, x)) == list(maps)  # from the compiled program too
    assert activation_maps(f, x, []) == {}
    assert list(jax.jit(lambda x: tuple(activation_maps(f, x).values()))(x)[1].shape) == [2, 1]


def test_errors(unchecked):
    x = array(2, 4, 4, 2)
    f = Partial(skipping, (array(3, 3, 2, 3), array(3, 3, 3, 3)))
    rule = r": f has no layer 'firts'; did you mean 'first'\? Layers: first, second, sum"
    with pytest.raises(ValueError, match="grad_cam" + rule):
        grad_cam(f, x, "firts")
    with pytest.raises(ValueError, match="layer_gradient" + rule):
        layer_gradient(f, x, "firts")
    with pytest.raises(ValueError, match="activation_maps" + rule):
        activation_maps(f, x, ["sum", "firts"])
    flat = lambda x: checkpoint_name(x.sum((1, 2)), "flat").sum(1)  # noqa: E731
    with pytest.raises(
        ValueError, match=r"layer must give maps b h w c, got 'flat' of shape \(2, "
    ):
        grad_cam(flat, x, "flat")
    whole = lambda x: checkpoint_name(x, "maps").sum()  # noqa: E731
    for method in (grad_cam, layer_gradient):
        with pytest.raises(ValueError, match=r"f\(x\) needs one number for each image"):
            method(whole, x, "maps")
    with pytest.raises(ValueError, match="activation_maps: x needs floating-point images"):
        activation_maps(f, x[0])
