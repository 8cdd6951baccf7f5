from functools import partial

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax.errors import InvalidRngError

from helpers import array, assert_close
from jaxcnn.models import create
from jaxcnn.models.convnext import ConvNeXtBlock
from jaxcnn.models.intermediates import watch
from jaxcnn.models.layers import DropPath

SMALL = {"depths": (1, 2, 1, 1), "widths": (4, 4, 8, 8)}


def rates(model):
    found = []

    def record(module, args, y):
        if isinstance(module, DropPath):
            found.append(module.rate)

    with nn.intercept_methods(watch(record)):
        jax.eval_shape(model.init, jax.random.key(0), array(1, 32, 32, 3))
    return found


def test_drop_path_rises_in_equal_steps():
    found = rates(create("convnext_small"))
    assert len(found) == 36
    assert found[0] == 0
    assert found[-1] == 0.4
    assert_close(found, [0.4 * i / 35 for i in range(36)], "float64")
    assert rates(create("convnext_tiny", drop_path_rate=0.0)) == [0] * 18
    assert rates(create("convnext_tiny", depths=(1,), widths=(4,))) == [0]


def test_randomness_only_where_asked_for():
    x = array(2, 32, 32, 3)
    model = create("convnext_tiny", **SMALL)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    jax.eval_shape(model.apply, variables, x)
    jax.eval_shape(partial(model.clone(drop_path_rate=0.0).apply, train=True), variables, x)
    with pytest.raises(InvalidRngError, match="dropout"):
        jax.eval_shape(partial(model.apply, train=True), variables, x)


def test_block_starts_near_the_identity_and_drops_whole_examples():
    x = array(64, 4, 4, 8)
    block = ConvNeXtBlock(drop_path_rate=0.5, layer_scale=1e-6)
    variables = jax.jit(block.init)(jax.random.key(0), x)
    branch = jax.jit(block.apply)(variables, x) - x
    assert 0 < jnp.abs(branch).max() < 1e-4
    variables["params"]["layer_scale"] = jnp.ones((1, 1, 8))
    branch = jax.jit(block.apply)(variables, x) - x
    train = jax.jit(partial(block.apply, train=True))
    y = train(variables, x, rngs={"dropout": jax.random.key(1)})
    kept = jnp.any(y != x, axis=(1, 2, 3))
    assert 16 < kept.sum() < 48
    assert_close(y, jnp.where(kept[:, None, None, None], x + 2 * branch, x))


def test_layer_scale_keeps_bfloat16():
    block = ConvNeXtBlock(0.0, 1.0, jnp.bfloat16)
    x = array(1, 4, 4, 8).astype(jnp.bfloat16)
    y, variables = jax.eval_shape(block.init_with_output, jax.random.key(0), x)
    assert y.dtype == jnp.bfloat16
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))
