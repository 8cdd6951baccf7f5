from functools import partial

import jax
import jax.numpy as jnp
import pytest

from helpers import array, assert_close
from jaxcnn import models
from jaxcnn.models.densenet import DenseBlock, DenseLayer, Transition


def test_channels_stand_in_the_order_of_the_layers():
    x = array(2, 4, 4, 5).astype(jnp.float32)
    block = DenseBlock(depth=3, growth=2)

    @jax.jit
    def both(key, x):
        variables = block.init(key, x)
        expected = x
        for i in (1, 2, 3):
            own = {k: v[f"denselayer{i}"] for k, v in variables.items()}
            new = DenseLayer(growth=2).apply(own, expected)
            expected = jnp.concatenate([expected, new], axis=-1)
        return block.apply(variables, x), expected

    y, expected = both(jax.random.key(0), x)
    assert y.shape == (2, 4, 4, 5 + 3 * 2)
    assert_close(y, expected)


def test_a_transition_halves_channels_and_size():
    """An odd last row and column are left out, as torchvision's mean pool does."""
    x = jnp.ones((1, 5, 5, 6)).at[:, 4].set(1e6).at[:, :, 4].set(1e6)
    transition = Transition()
    y, _ = jax.jit(transition.init_with_output)(jax.random.key(0), x)
    assert y.shape == (1, 2, 2, 3)
    assert jnp.abs(y).max() < 1e3


@pytest.mark.parametrize(
    ("name", "layers", "parameters"),
    [
        ("densenet121", 121, 7_978_856),
        ("densenet_bc_100_12", 100, 769_162),  # 0.8 M in the paper's table 2
    ],
)
def test_layers_and_parameters(name, layers, parameters):
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    params = jax.eval_shape(models.create(name).init, jax.random.key(0), x)["params"]
    leaves = jax.tree.leaves(params)
    assert sum(leaf.ndim > 1 for leaf in leaves) == layers
    assert sum(leaf.size for leaf in leaves) == parameters


def test_dropout_lies_after_the_last_convolution_of_a_layer():
    x = array(2, 4, 4, 5).astype(jnp.float32)
    layer = DenseLayer(growth=3, drop_rate=1.0)
    z, variables = jax.jit(layer.init_with_output)(jax.random.key(0), x)
    assert (z != 0).any()
    train = partial(layer.apply, train=True, mutable=["batch_stats"])
    y, _ = jax.jit(train)(variables, x, rngs={"dropout": jax.random.key(1)})
    assert_close(y, jnp.zeros((2, 4, 4, 3)), "exact")
