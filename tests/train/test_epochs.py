from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn.data import Split
from jaxcnn.models import create
from jaxcnn.train import create_state, epochs, fit, make_layout
from jaxcnn.train.epochs import fits


def limited(limit):
    """A layout on one device with so many bytes."""
    device = SimpleNamespace(memory_stats=lambda: {"bytes_limit": limit})
    return make_layout(1)._replace(mesh=SimpleNamespace(local_devices=[device]))


@pytest.mark.parametrize(("limit", "expected"), [(1999, False), (2000, True), (None, True)])
def test_what_fits_leaves_most_of_the_memory_to_the_training(limit, expected):
    split = Split(np.zeros((8, 10, 10, 1), np.uint8), np.zeros(8, np.int32))
    assert fits(split, limited(limit)) is expected


def floating(x):
    return jnp.asarray(x, jnp.float32)


def test_many_steps_are_one_call_of_one_program(monkeypatch):
    """Whatever their number and wherever they begin: nothing compiles twice."""

    calls = []
    compiled = epochs._many_steps

    def counted(*arguments):
        steps = compiled(*arguments)

        def call(*args):
            calls.append((int(args[4]), int(args[5])))
            return steps(*args)

        call.program = steps
        calls.append(call)
        return call

    monkeypatch.setattr(epochs, "_many_steps", counted)
    image = jax.ShapeDtypeStruct((1, 3, 3, 1), jnp.float32)
    state = create_state(create("tiny"), optax.sgd(0.1), jax.random.key(0), image)
    split = Split(np.zeros((80, 3, 3, 1), np.uint8), np.zeros(80, np.int32))
    fit(state, split, None, epochs=3, batch_size=2, key=jax.random.key(1), prepare=floating)
    call, *ranges = calls
    assert [r for r in ranges if r[0] != r[1]][-1] == (0, 40)  # by then a whole epoch
    assert call.program._cache_size() == 1
