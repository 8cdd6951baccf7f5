import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close, assert_gradients
from jaxcnn.models.shufflenet import ShuffleUnit, channel_shuffle


def test_channel_shuffle_is_the_loop():
    x = np.asarray(array(2, 3, 3, 12))
    for groups in (1, 2, 3, 12):
        expected = np.zeros_like(x)
        size = 12 // groups
        for g in range(groups):
            for i in range(size):
                expected[..., i * groups + g] = x[..., g * size + i]
        y = channel_shuffle(jnp.asarray(x), groups)
        assert_close(y, expected, "exact")
        assert_close(channel_shuffle(y, size), x, "exact")  # its inverse
        assert_close(jax.jit(channel_shuffle, static_argnums=1)(x, groups), expected, "exact")
        assert_close(jax.vmap(lambda row, g=groups: channel_shuffle(row, g))(x), expected, "exact")
    assert channel_shuffle(jnp.ones(4, jnp.bfloat16), 2).dtype == jnp.bfloat16


def test_channel_shuffle_gradient():
    weights = np.asarray(array(6, seed=1))
    assert_gradients(lambda x: jnp.tanh(channel_shuffle(x, 3)) * weights, array(2, 6))


def test_channel_shuffle_errors():
    for groups in (0, 5):
        with pytest.raises(
            ValueError, match=f"channel_shuffle: groups must divide .* got {groups} fo"
        ):
            channel_shuffle(array(2, 12), groups)


def test_half_of_the_channels_pass_a_unit_untouched():
    x = array(2, 4, 4, 8)
    unit = ShuffleUnit(8)
    y, variables = jax.jit(unit.init_with_output)(jax.random.key(0), x)
    assert_close(y[..., ::2], x[..., :4], "exact")
    moved = x.at[..., :4].add(1.0)
    assert_close(jax.jit(unit.apply)(variables, moved)[..., 1::2], y[..., 1::2])
