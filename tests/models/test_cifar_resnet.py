import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn import models
from jaxcnn.models.cifar_resnet import (
    PaddedBlock,
    PreActBlock,
    PreActBottleneck,
    padded_shortcut,
)


@pytest.mark.parametrize("size", [4, 5])
def test_padded_shortcut(size):
    x = array(2, size, size, 3)
    y = padded_shortcut(x, 8, 2)
    expected = np.zeros((2, (size + 1) // 2, (size + 1) // 2, 8), np.float32)
    for i in range(0, size, 2):
        for j in range(0, size, 2):
            expected[:, i // 2, j // 2, :3] = x[:, i, j]
    assert_close(y, expected, "exact")
    assert_close(padded_shortcut(x, 3, 1), x, "exact")


def silent(block, x):
    """The variables of a block as they begin, but kernels of zero."""
    shapes = jax.eval_shape(block.init, jax.random.key(0), x)
    return jax.tree.map_with_path(
        lambda path, v: np.full(v.shape, path[-1].key in ("scale", "var"), np.float32), shapes
    )


def test_a_silent_block_is_its_shortcut():
    x = array(2, 4, 4, 4).astype(jnp.float32)
    wider = padded_shortcut(x, 8, 2)
    relu, scale = jax.nn.relu, 1 / np.sqrt(1 + 1e-5)  # batch norm as it begins
    for block, expected in (
        (PaddedBlock(8, stride=2), relu(wider)),
        (PreActBlock(8, stride=2, opening=True), relu(wider) * scale),
        (PreActBlock(4), x),
        (PreActBottleneck(1), x),
    ):
        y = jax.jit(block.apply)(silent(block, x), x)
        assert_close(y, expected, where=str(block))


def test_an_opening_bottleneck_projects_what_is_activated():
    x = array(2, 4, 4, 4).astype(jnp.float32)
    block = PreActBottleneck(2, stride=2, opening=True)
    variables = silent(block, x)
    kernel = array(1, 1, 4, 8, seed=1).astype(jnp.float32)
    variables["params"]["downsample"]["kernel"] = kernel
    expected = jax.nn.relu(x[:, ::2, ::2]) / np.sqrt(1 + 1e-5) @ kernel[0, 0]
    assert_close(jax.jit(block.apply)(variables, x), expected)


@pytest.mark.parametrize(
    (
        "name",
        "layers",
        "millions",
    ),  # He et al. (2016), table 6; Zagoruyko & Komodakis (2016), table 5
    [
        ("resnet20", 20, 0.27),
        ("resnet32", 32, 0.46),
        ("resnet44", 44, 0.66),
        ("resnet56", 56, 0.85),
        ("resnet110", 110, 1.7),
        ("preact_resnet110", 110, 1.7),
        ("preact_resnet164", 164, 1.7),
    ],
)
def test_layers_and_parameters(name, layers, millions):
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    params = jax.eval_shape(models.create(name).init, jax.random.key(0), x)["params"]
    leaves = jax.tree.leaves_with_path(params)
    kernels = [jax.tree_util.keystr(path) for path, leaf in leaves if leaf.ndim > 1]
    assert len([k for k in kernels if "downsample" not in k]) == layers
    digits = 1 if millions > 1 else 2
    assert round(sum(leaf.size for _, leaf in leaves) / 1e6, digits) == millions
