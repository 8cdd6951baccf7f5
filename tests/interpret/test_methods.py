"""All methods by name: the functions they are, and the same objects again."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from helpers import array, assert_close
from jaxcnn import interpret
from jaxcnn.functional import conv, relu

KERNEL = array(3, 3, 2, 4, seed=1)


def f(x):
    maps = checkpoint_name(relu(conv(x, KERNEL)), "maps")
    return checkpoint_name(maps.mean((1, 2)), "means") @ jnp.arange(1.0, 5.0)


def test_each_is_its_function():
    x = array(2, 8, 8, 2)
    named = interpret.methods(layer="maps", window=4)
    for name, method in named.items():
        assert callable(getattr(interpret, name))
        found = method(f, x)
        assert found.shape == x.shape, name
        assert jnp.isfinite(found).all(), name
        assert np.abs(found).max() > 0, name
    for name in ("saliency", "grad_times_input", "guided_backprop", "deconvnet"):
        assert_close(named[name](f, x), getattr(interpret, name)(f, x), where=name)
    expected = interpret.occlusion(f, x, window=4, stride=2)
    assert_close(named["occlusion"](f, x), expected)
    assert_close(named["grad_cam"](f, x).sum(-1), interpret.grad_cam(f, x, "maps").raw)


def test_the_same_options_give_the_same_functions():
    first, again = (interpret.methods(layer="maps", window=4) for _ in range(2))
    assert all(first[name] is again[name] for name in first)
    other = interpret.methods(layer="maps", window=4, seed=1)
    x = array(1, 8, 8, 2)
    assert not np.array_equal(first["smooth_grad"](f, x), other["smooth_grad"](f, x))


def test_last_maps():
    assert interpret.last_maps(f, array(1, 8, 8, 2)) == "maps"
    with pytest.raises(ValueError, match=r"last_maps: f has no layer of feature maps .* \['y'\]"):
        interpret.last_maps(lambda x: checkpoint_name(x.sum((1, 2, 3)), "y"), array(1, 4, 4, 1))
