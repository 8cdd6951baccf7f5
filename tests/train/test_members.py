import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from helpers import array, assert_close
from jaxcnn.data import Split, split_validation
from jaxcnn.losses import cross_entropy
from jaxcnn.train import TrainConfig
from jaxcnn.train.members import optimizer_of, places, shape_of, smoothed, traits_of
from jaxcnn.train.optimizers import OPTIMIZERS
from jaxcnn.train.setups import optimizer_of as plain_optimizer
from jaxcnn.train.setups import schedule_of


def params():
    rng = np.random.default_rng(0)
    shapes = {"conv": {"kernel": (2, 3), "bias": (3,)}, "out": {"kernel": (3,)}}
    return jax.tree.map(
        lambda shape: rng.normal(size=shape).astype(np.float32),
        shapes,
        is_leaf=lambda leaf: isinstance(leaf, tuple),
    )


def moved(optimizer, gradients):
    """The parameters after an update by each of the gradients."""
    now = params()
    state = optimizer.init(now)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, now)
        now = optax.apply_updates(now, updates)
    return now


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "lbfgs"])
def test_traced_numbers_give_the_optimizer_of_a_run(name):
    config = TrainConfig(
        optimizer=name,
        learning_rate=0.03,
        weight_decay=0.02,
        momentum=0.7,
        clip_norm=1.0,
        schedule="warmup-cosine",
        epochs=4,
        freeze=("out/*",),
        multipliers={"*bias": 3.0},
    )
    shape = shape_of(config)
    expected = plain_optimizer(config, schedule_of(config, 64))

    @jax.jit
    def updated(traits, gradients):
        return moved(optimizer_of(shape, schedule_of(shape, 64), traits), gradients)

    gradients = [jax.tree.map(lambda p, k=k: np.sin(k * p), params()) for k in (1, 2, 3)]
    now = jax.jit(moved, static_argnums=0)(expected, gradients)
    found = updated(traits_of(config), gradients)
    for a, e in zip(jax.tree.leaves(found), jax.tree.leaves(now), strict=True):
        assert_close(a, e)


def test_updates_of_several_batches():
    config = TrainConfig(optimizer="sgd", learning_rate=1.0, accumulate=2, schedule="constant")
    optimizer = optimizer_of(shape_of(config), schedule_of(shape_of(config), 64), traits_of(config))
    now = jnp.zeros(1)
    state = optimizer.init({"w": now})
    first, state = optimizer.update({"w": now + 1}, state, {"w": now})
    second, _ = optimizer.update({"w": now + 3}, state, {"w": now})
    assert (first["w"].item(), second["w"].item()) == (0, -2)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_smoothed_is_the_smoothed_cross_entropy(smoothing):
    logits, labels = array(5, 4), jnp.arange(5) % 4
    expected = cross_entropy(logits, labels, label_smoothing=smoothing)
    assert_close(jax.jit(lambda s: smoothed(s)(logits, labels))(smoothing), expected)
    mixed = jax.nn.softmax(array(5, 4, seed=1))
    expected = cross_entropy(logits, mixed, label_smoothing=smoothing)
    assert_close(smoothed(jnp.float32(smoothing))(logits, mixed), expected)


def test_places_are_those_of_the_split():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 2, 2, 1), dtype=np.uint8)
    split = Split(images, rng.integers(0, 3, 300).astype(np.int32))
    parts = split_validation(split, 0.2, seed=5)
    for chosen, part in zip(places(split, 0.2, seed=5), parts, strict=True):
        np.testing.assert_array_equal(images[chosen], part.images)
        np.testing.assert_array_equal(split.labels[chosen], part.labels)


def test_shape_of():
    alike = {"learning_rate": 0.5, "weight_decay": 0.1, "momentum": 0.1, "label_smoothing": 0.1}
    assert shape_of(TrainConfig(**alike, seed=3)) == shape_of(TrainConfig())
    assert shape_of(TrainConfig(batch_size=3)) != shape_of(TrainConfig())
    rms = [shape_of(TrainConfig(optimizer="rmsprop", momentum=m)) for m in (0.0, 0.9)]
    assert rms[0] != rms[1]
