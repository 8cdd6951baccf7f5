from functools import partial

import jax
import jax.numpy as jnp
import pytest

from helpers import array, assert_close
from jaxcnn import models
from jaxcnn.models.wide_resnet import WideBlock


@pytest.mark.parametrize(
    ("name", "millions"),  # Zagoruyko & Komodakis (2016), table 5; wrn_16_4 counted
    [("wrn_16_4", 2.7), ("wrn_28_10", 36.5), ("wrn_40_4", 8.9)],
)
def test_parameters(name, millions):
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    params = jax.eval_shape(models.create(name).init, jax.random.key(0), x)["params"]
    assert round(sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6, 1) == millions


def test_dropout_lies_between_the_convolutions():
    """Where it drops everything, the second convolution gives zero and the shortcut is left."""
    x = array(2, 4, 4, 4).astype(jnp.float32)
    block = WideBlock(4, drop_rate=1.0)
    z, variables = jax.jit(block.init_with_output)(jax.random.key(0), x)
    assert (z != x).any()
    train = partial(block.apply, train=True, mutable=["batch_stats"])
    y, updated = jax.jit(train)(variables, x, rngs={"dropout": jax.random.key(1)})
    assert_close(y, x, "exact")
    assert (updated["batch_stats"]["bn2"]["mean"] != 0).all()  # the first was computed


def test_only_a_change_of_width_is_projected():
    x = jax.ShapeDtypeStruct((2, 4, 4, 4), jnp.float32)
    for block, projected in ((WideBlock(4), False), (WideBlock(8), True), (WideBlock(8, 2), True)):
        params = jax.eval_shape(block.init, jax.random.key(0), x)["params"]
        assert ("convShortcut" in params) == projected
