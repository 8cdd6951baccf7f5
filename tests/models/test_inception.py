import functools

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models

LARGE, TINY = (299, 310), (75, 75)


def net(aux_logits):
    return models.create("inception_v3", num_classes=7, aux_logits=aux_logits, drop_rate=0.0)


def batch(size):
    return jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)


@functools.cache  # tracing takes seconds
def initial(size, aux_logits=True):
    """Shapes of the variables."""
    return jax.eval_shape(net(aux_logits).init, jax.random.key(0), batch(size))


def shapes(variables, size, train, aux_logits=True):
    """Of the logits and what the head sows; nothing is computed."""
    model, x = net(aux_logits), batch(size)

    def run(variables, x):
        return model.apply(variables, x, train=train, mutable=["batch_stats", "auxiliary"])

    logits, updated = jax.eval_shape(run, variables, x)
    return logits.shape, jax.tree.map(jnp.shape, updated.get("auxiliary", {}))


def test_the_head_sows_in_training():
    variables = initial(LARGE)
    logits, sown = shapes(variables, LARGE, train=True)
    assert set(variables) == {"params", "batch_stats"}
    assert "AuxLogits" in variables["params"]
    assert logits == (2, 7)
    assert sown == {"AuxLogits": {"logits": ((2, 7),)}}


@pytest.mark.parametrize("size", [(298, 320), (320, 298)])
def test_images_too_small_for_the_head(size):
    with pytest.raises(ValueError, match=f"needs images of 299.*got {size[0]}x{size[1]}; aux_log"):
        shapes(initial(TINY), size, train=True)


def test_small_images_in_evaluation_and_without_the_head():
    variables = initial(TINY)
    assert shapes(variables, TINY, train=False) == ((2, 7), {})
    assert variables == initial(LARGE)
    variables = initial(TINY, aux_logits=False)
    logits, sown = shapes(variables, TINY, train=True, aux_logits=False)
    assert "AuxLogits" not in variables["params"]
    assert (logits, sown) == ((2, 7), {})
