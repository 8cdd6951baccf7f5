import jax.numpy as jnp
import numpy as np
import optax
import pytest

from helpers import assert_close
from jaxcnn.train import TrainConfig
from jaxcnn.train.setups import accumulating, schedule_of


@pytest.mark.parametrize(("accumulate", "updates"), [(1, 800), (3, 266), (25, 32), (64, 12)])
def test_the_schedule_ends_with_the_last_update(accumulate, updates):
    """Of 20 epochs of 40 batches, also where an update's batches lie in two epochs."""
    config = TrainConfig(accumulate=accumulate, epochs=20, batch_size=32, learning_rate=1.0)
    rates = np.asarray(schedule_of(config, 1300)(jnp.arange(updates)))
    assert (rates > 0).all()
    assert rates[-1] < 4 / updates


def test_accumulating_takes_the_mean_gradient():
    optimizer = accumulating(optax.sgd(1.0), 2)
    state = optimizer.init(jnp.zeros(()))
    first, state = optimizer.update(jnp.float32(1), state)
    second, _ = optimizer.update(jnp.float32(3), state)
    assert_close(jnp.stack([first, second]), jnp.array([0.0, -2.0]))
    assert accumulating(optax.sgd(1.0), 1).init(jnp.zeros(())) == optax.sgd(1.0).init(jnp.zeros(()))
