import jax
import jax.numpy as jnp
import pytest

from jaxcnn import models


def shapes(size, train, aux_logits=True):
    """Of the variables, the logits and what the head sows; nothing is computed."""
    model = models.create("inception_v3", num_classes=7, aux_logits=aux_logits, drop_rate=0.0)
    x = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)

    def run(variables, x):
        return model.apply(variables, x, train=train, mutable=["batch_stats", "auxiliary"])

    logits, updated = jax.eval_shape(run, variables, x)
    return variables, logits.shape, jax.tree.map(jnp.shape, updated.get("auxiliary", {}))


def test_the_head_sows_in_training():
    variables, logits, sown = shapes((299, 310), train=True)
    assert set(variables) == {"params", "batch_stats"}
    assert "AuxLogits" in variables["params"]
    assert logits == (2, 7)
    assert sown == {"AuxLogits": {"logits": ((2, 7),)}}


@pytest.mark.parametrize("size", [(298, 320), (320, 298)])
def test_images_too_small_for_the_head(size):
    with pytest.raises(ValueError, match=f"needs images of 299.*got {size[0]}x{size[1]}; aux_log"):
        shapes(size, train=True)


def test_small_images_in_evaluation_and_without_the_head():
    variables, logits, sown = shapes((75, 75), train=False)
    assert (logits, sown) == ((2, 7), {})
    large, _, _ = shapes((299, 299), train=False)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, large)
    variables, logits, sown = shapes((75, 75), train=True, aux_logits=False)
    assert "AuxLogits" not in variables["params"]
    assert (logits, sown) == ((2, 7), {})
