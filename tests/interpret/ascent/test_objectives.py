import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from helpers import array, assert_close
from jaxcnn import models
from jaxcnn.interpret.ascent.objectives import channel_score, layer_score

KERNEL = array(2, 5, seed=3)


def f(x):
    y = checkpoint_name(x @ KERNEL, "mix")
    return checkpoint_name(jnp.tanh(y).mean((1, 2)), "mean")


def test_scores_are_the_activations():
    x = array(2, 3, 4, 2)
    y = np.asarray(x @ KERNEL)
    assert_close(channel_score(f, "mix", 3)(x), y[..., 3].mean((1, 2)))
    assert_close(channel_score(f, "mix", 3, place=(1, 2))(x), y[:, 1, 2, 3])
    assert_close(channel_score(f, "mean", 4)(x), np.tanh(y).mean((1, 2))[:, 4])
    assert_close(layer_score(f, "mix")(x), (y**2).mean((1, 2, 3)))
    each = channel_score(f, "mix", jnp.array([0, 4]))(x)
    assert_close(each, [y[0, ..., 0].mean(), y[1, ..., 4].mean()])


def test_layers_of_a_model():
    model, x = models.create("tiny"), array(2, 5, 5, 1)
    variables = model.init(jax.random.key(0), x)
    known = models.activations(model, variables, x)["conv"]
    score = channel_score(lambda x: model.apply(variables, x), "conv", 1)
    assert_close(score(x), known[..., 1].mean((1, 2)))


def test_what_the_layer_lacks_is_nan():
    x = array(1, 3, 4, 2)
    assert jnp.isnan(channel_score(f, "mix", 5)(x)).all()
    assert jnp.isnan(channel_score(f, "mix", 0, place=(3, 0))(x)).all()


def test_units_of_a_layer_share_a_program():
    x, traces = array(1, 3, 4, 2), []

    def traced(x):
        traces.append(1)
        return f(x)

    @jax.jit
    def slope(target, x):
        return jax.grad(lambda x: target(x).sum())(x)

    first = slope(channel_score(traced, "mix", 0), x)
    before = len(traces)
    second = slope(channel_score(traced, "mix", 1), x)
    assert len(traces) == before
    assert (first != second).any()
    slope(layer_score(traced, "mix"), x)
    before = len(traces)
    slope(layer_score(traced, "mix"), x)
    assert len(traces) == before


def test_errors():
    x = array(1, 3, 4, 2)
    with pytest.raises(
        ValueError, match="channel_score: f has no layer 'mixes'; did you mean 'mix"
    ):
        channel_score(f, "mixes", 0)(x)
    with pytest.raises(ValueError, match="layer_score: f has no layer 'nix'; did you mean 'mix"):
        layer_score(f, "nix")(x)
    with pytest.raises(ValueError, match="channel_score: place needs a layer b h w c, 'mean' has"):
        channel_score(f, "mean", 0, place=(0, 0))(x)
