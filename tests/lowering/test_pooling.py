import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from helpers import array, assert_close, skip_unless_compiled
from jaxcnn import lowering

WINDOWS = {  # lengths, window, stride, padding
    "2x2/2": ((6, 5), (2, 2), (2, 2), ((0, 0), (0, 0))),
    "3x3/2": ((7, 8), (3, 3), (2, 2), ((1, 1), (0, 1))),
    "3x3/1": ((4, 5), (3, 3), (1, 1), ((1, 1), (1, 1))),
    "3x3/3": ((8, 7), (3, 3), (3, 3), ((0, 0), (1, 1))),
    "2x2/3": ((8, 7), (2, 2), (3, 3), ((0, 0), (0, 0))),
    "5x4/2x3": ((9, 10), (5, 4), (2, 3), ((2, 2), (1, 2))),
    "1D": ((9,), (3,), (2,), ((1, 0),)),
    "3D": ((4, 5, 3), (2, 3, 2), (2, 1, 1), ((0, 0), (1, 1), (1, 0))),
}


def pool(function, name, computation=lax.max, start=-np.inf):
    lengths, window, stride, padding = WINDOWS[name]

    def f(x):
        return function(
            x, start, computation, (1, *window, 1), (1, *stride, 1), ((0, 0), *padding, (0, 0))
        )

    return f, lengths


def both(f, x):
    """Value and reverse derivative."""
    y, back = jax.vjp(f, x)
    return y, *back(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", WINDOWS)
def test_maxima_equal_lax(name, ties, x64):
    ours, lengths = pool(lowering.reduce_window, name)
    theirs, _ = pool(lax.reduce_window, name)
    x = array(2, *lengths, 3)
    x = jnp.round(x) if ties else x
    for a, e in zip(jax.jit(both, static_argnums=0)(ours, x), both(theirs, x), strict=True):
        assert_close(a, e, "float64")
    t = array(*x.shape, seed=1)
    tangent = jax.jit(lambda x, t: jax.jvp(ours, (x,), (t,))[1])(x, t)
    if not ties:  # there lax's forward mode takes another maximum than its reverse mode
        assert_close(tangent, jax.jvp(theirs, (x,), (t,))[1], "float64")
    y, back = jax.vjp(theirs, x)
    c = array(*y.shape, seed=2)
    assert_close(np.vdot(tangent, c), np.vdot(t, *back(c)), "float64")


@pytest.mark.parametrize("name", WINDOWS)
def test_sums_equal_lax(name, x64):
    ours, lengths = pool(lowering.reduce_window, name, lax.add, 0.0)
    theirs, _ = pool(lax.reduce_window, name, lax.add, 0.0)
    x = array(2, *lengths, 3)
    for a, e in zip(jax.jit(both, static_argnums=0)(ours, x), both(theirs, x), strict=True):
        assert_close(a, e, "float64")


@pytest.mark.parametrize("name", ["3x3/2", "5x4/2x3"])
def test_minus_infinity(name, x64):
    """A pixel of -inf comes before padding: no cotangent falls off the image."""
    f, lengths = pool(lowering.reduce_window, name)
    x = jnp.full((1, *lengths, 1), -jnp.inf)
    y, dx = both(f, x)
    assert jnp.isneginf(y).all()
    cotangents = jnp.sin(jnp.arange(y.size, dtype=y.dtype))
    assert_close(dx.sum(), cotangents.sum(), "float64")
    t = array(*x.shape)
    tangent = jax.jvp(f, (x,), (t,))[1]
    assert_close(np.vdot(tangent, cotangents), np.vdot(t, dx), "float64")


@pytest.mark.parametrize("name", ["3x3/2", "5x4/2x3"])
def test_nan(name):
    f, lengths = pool(lowering.reduce_window, name)
    theirs, _ = pool(lax.reduce_window, name)
    x = array(1, *lengths, 1).at[0, 3, 3, 0].set(jnp.nan)
    y, dx = both(f, x)
    assert_close(y, theirs(x))
    assert jnp.isfinite(dx).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int8, jnp.int32])
def test_types(dtype):
    skip_unless_compiled(dtype)
    lowest = -np.inf if jnp.issubdtype(dtype, jnp.floating) else int(jnp.iinfo(dtype).min)
    f, lengths = pool(lowering.reduce_window, "3x3/2", start=np.asarray(lowest, dtype))
    theirs, _ = pool(lax.reduce_window, "3x3/2", start=np.asarray(lowest, dtype))
    x = (4 * array(2, *lengths, 3)).astype(dtype)
    y = f(x)
    assert y.dtype == dtype
    assert_close(y, theirs(x), "exact")
    assert lowering.explain(f, x, platform="cpu")
    if jnp.issubdtype(dtype, jnp.floating):
        for a, e in zip(both(f, x), both(theirs, x), strict=True):
            assert_close(a, e, "bfloat16")


def test_large_windows():
    """Beyond 127 places the numbers of the places need more than eight bits."""
    x = array(1, 20, 1, 2)
    for n in (13, 200):
        wide = jnp.tile(x, (1, 1, n, 1))
        wide += 0.01 * array(*wide.shape, seed=1)
        size = (1, 1, n, 1)

        def f(x, function=lowering.reduce_window, size=size):
            return function(x, -np.inf, lax.max, size, (1, 1, 1, 1), "VALID")

        y, dx = both(f, wide)
        expected = both(lambda x, f=f: f(x, lax.reduce_window), wide)
        assert_close(y, expected[0], "exact")
        assert_close(dx, expected[1])


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "SAME"},
        {"padding": "VALID", "window_dilation": (1, 2, 1, 1)},
        {"padding": "SAME", "base_dilation": (1, 2, 2, 1)},
        {"padding": "SAME", "computation": lax.min, "init_value": np.inf},
        {"padding": "SAME", "computation": lax.mul, "init_value": 1.0},
        {"padding": "SAME", "init_value": 0.5},
        {"padding": "SAME", "computation": lax.add, "init_value": 1.0},
        {"padding": "SAME", "computation": lax.add, "init_value": 0, "dtype": jnp.int32},
        {"padding": ((0, 0), (0, 0), (0, 0), (1, 1)), "window_dimensions": (1, 1, 1, 3)},
        {"padding": "SAME", "batch": 0},
    ],
    ids=lambda options: re.sub(r" at 0x\w+", "", str(options)),  # the same in every process
)
def test_signature(options):
    """All that `lax` takes, ours or handed on."""
    options = {
        "init_value": -np.inf,
        "computation": lax.max,
        "window_dimensions": (1, 2, 3, 1),
        "window_strides": (1, 2, 1, 1),
    } | options
    x = array(options.pop("batch", 2), 5, 6, 3).astype(options.pop("dtype", jnp.float32))
    expected = lax.reduce_window(x, **options)
    actual = lowering.reduce_window(x, **options)
    assert actual.dtype == expected.dtype
    assert_close(actual, expected)


def test_forward_mode_of_integers():
    f, lengths = pool(lowering.reduce_window, "2x2/2", start=int(jnp.iinfo(jnp.int32).min))
    x = jnp.arange(30).reshape(1, *lengths, 1)
    zeros = np.zeros(x.shape, jax.dtypes.float0)
    _, t = jax.jvp(f, (x,), (zeros,))
    assert t.dtype == jax.dtypes.float0
