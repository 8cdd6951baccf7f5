import typing

import jax
import jax.numpy as jnp
import optax
import pytest

from helpers import array, assert_close
from jaxcnn.train.optimizers import OPTIMIZERS, OptimizerName, make_optimizer

PARAMS = {"dense": {"kernel": jnp.array([[3.0, -2.0]]), "bias": jnp.array([1.0, 1.0])}}
ZERO = jax.tree.map(jnp.zeros_like, PARAMS)


def minimize(name, steps=200, **options):
    """f(w) = |w - 1|^2 / 2 from w = 5."""
    optimizer = make_optimizer(name, **options)

    def f(w):
        return 0.5 * jnp.sum((w - 1) ** 2)

    @jax.jit
    def step(w, state):
        value, gradient = jax.value_and_grad(f)(w)
        updates, state = optimizer.update(
            gradient, state, w, value=value, grad=gradient, value_fn=f
        )
        return optax.apply_updates(w, updates), state

    w = jnp.full(3, 5.0)
    state = optimizer.init(w)
    for _ in range(steps):
        w, state = step(w, state)
    return w


RATES = {"adagrad": 1.0, "adadelta": 50.0, "lbfgs": 1.0}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_finds_the_minimum(name):
    w = minimize(name, learning_rate=RATES.get(name, 0.05), momentum=0.5)
    assert jnp.abs(w - 1).max() < 0.1


def update(gradient, name, **options):
    optimizer = make_optimizer(name, 0.1, **options)
    updates, _ = optimizer.update(gradient, optimizer.init(PARAMS), PARAMS)
    return updates["dense"]


def test_weight_decay_shrinks_kernels_alone():
    for name in ("sgd", "adamw", "lion"):
        shrunk = update(ZERO, name, weight_decay=0.5)
        assert_close(shrunk["kernel"], -0.1 * 0.5 * PARAMS["dense"]["kernel"])
        assert_close(shrunk["bias"], jnp.zeros(2), "exact")


def test_coupled_weight_decay_is_the_gradient_of_the_penalty():
    gradient = {"dense": {"kernel": array(1, 2), "bias": array(2)}}
    penalty = {"dense": {**ZERO["dense"], "kernel": 0.5 * PARAMS["dense"]["kernel"]}}
    together = jax.tree.map(jnp.add, gradient, penalty)
    for name in ("momentum", "adam"):
        assert_close(
            update(gradient, name, weight_decay=0.5)["kernel"], update(together, name)["kernel"]
        )


def test_clipping():
    gradient = {"dense": {"kernel": jnp.array([[3.0, 0.0]]), "bias": jnp.array([0.0, 4.0])}}
    clipped = update(gradient, "sgd", clip_norm=1.0)
    assert_close(clipped["kernel"], [[-0.1 * 0.6, 0.0]])
    assert_close(clipped["bias"], [0.0, -0.1 * 0.8])
    assert_close(update(gradient, "sgd", clip_norm=10.0)["bias"], [0.0, -0.4])


def test_errors():
    with pytest.raises(ValueError, match="make_optimizer: no optimizer named 'adm'. Known: sgd"):
        make_optimizer("adm", 0.1)
    with pytest.raises(ValueError, match=r"weight_decay must not be negative, got -1"):
        make_optimizer("sgd", 0.1, weight_decay=-1)
    with pytest.raises(ValueError, match="clip_norm must be positive, got 0"):
        make_optimizer("sgd", 0.1, clip_norm=0)


def test_the_command_line_offers_every_name():
    assert typing.get_args(OptimizerName) == tuple(OPTIMIZERS)


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_frozen_parameters_stay(name):
    gradient = {"dense": {"kernel": array(1, 2), "bias": array(2)}}
    frozen = update(gradient, name, weight_decay=0.5, freeze=("dense/k*",))
    free = update(gradient, name, weight_decay=0.5)
    assert_close(frozen["kernel"], jnp.zeros((1, 2)), "exact")
    assert_close(frozen["bias"], free["bias"])


def test_frozen_gradients_do_not_count_for_clipping():
    gradient = {"dense": {"kernel": jnp.full((1, 2), 1e6), "bias": jnp.array([0.3, 0.4])}}
    clipped = update(gradient, "sgd", clip_norm=1.0, freeze=("*kernel",))
    assert_close(clipped["bias"], -0.1 * gradient["dense"]["bias"])


def test_multipliers_scale_the_learning_rate_and_its_decay():
    gradient = {"dense": {"kernel": array(1, 2), "bias": array(2)}}
    options = {"name": "adamw", "weight_decay": 0.5}
    plain = update(gradient, **options)
    scaled = update(gradient, **options, multipliers={"*": 7.0, "dense/*": 3.0, "*bias": 0.5})
    assert_close(scaled["kernel"], 3 * plain["kernel"])
    assert_close(scaled["bias"], 0.5 * plain["bias"])


def test_globs_must_match():
    for option in ({"freeze": ("conv/*",)}, {"multipliers": {"conv/*": 2.0}}):
        with pytest.raises(ValueError, match="'conv/.' matches no .*parameter; there are dense/"):
            update(ZERO, "sgd", **option)
    with pytest.raises(ValueError, match="leaves nothing to train"):
        update(ZERO, "sgd", freeze=("*",))
    with pytest.raises(ValueError, match="multiplier is negative"):
        update(ZERO, "sgd", multipliers={"*": -1.0})
    with pytest.raises(ValueError, match="'.kernel' matches no trained parameter"):
        update(ZERO, "sgd", freeze=("*kernel",), multipliers={"*kernel": 2.0})
    for option in ({"freeze": ("*bias",)}, {"multipliers": {"*bias": 2.0}}):
        with pytest.raises(ValueError, match="lbfgs takes no freeze and no multipliers"):
            make_optimizer("lbfgs", 1.0, **option)
