import functools

import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models

KEYS = {"dropout": jax.random.key(1)}


@functools.cache  # tracing takes seconds
def initial(aux_logits):
    """Shapes of the variables, whose images may have any size."""
    model = models.create("googlenet", num_classes=7, aux_logits=aux_logits)
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), x)


def shapes(size, train, keys=None, aux_logits=True, **options):
    """Of the variables, the logits and what the heads sow; nothing is computed."""
    model = models.create("googlenet", num_classes=7, aux_logits=aux_logits, **options)
    variables = initial(aux_logits)
    x = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)

    def run(variables, x):
        return model.apply(
            variables, x, train=train, rngs=keys, mutable=["batch_stats", "auxiliary"]
        )

    logits, updated = jax.eval_shape(run, variables, x)
    return variables, logits.shape, jax.tree.map(jnp.shape, updated.get("auxiliary", {}))


@pytest.mark.parametrize("size", [(15, 15), (40, 65), (224, 224)])
def test_heads_sow_in_training_at_any_size(size):
    variables, logits, sown = shapes(size, train=True, keys=KEYS)
    assert set(variables) == {"params", "batch_stats"}
    assert {"aux1", "aux2"} < set(variables["params"])
    assert logits == (2, 7)
    assert sown == {"aux1": {"logits": ((2, 7),)}, "aux2": {"logits": ((2, 7),)}}


def test_no_heads_in_evaluation():
    _, logits, sown = shapes((32, 32), train=False)
    assert logits == (2, 7)
    assert sown == {}


def test_without_heads():
    variables, logits, sown = shapes((32, 32), train=True, keys=KEYS, aux_logits=False)
    assert not {"aux1", "aux2"} & set(variables["params"])
    assert logits == (2, 7)
    assert sown == {}


def test_a_drop_rate_of_zero_is_for_the_heads_too():
    shapes((32, 32), train=True, drop_rate=0.0)  # no key needed
    with pytest.raises(Exception, match="dropout"):
        shapes((32, 32), train=True)
