import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from helpers import (
    array,
    assert_close,
    assert_golden,
    assert_gradients,
    assert_transforms,
    golden,
)
from jaxcnn.functional.pooling import (
    adaptive_avg_pool,
    avg_pool,
    global_avg_pool,
    max_pool,
    max_pool_with_argmax,
    max_unpool,
)

VALUES = golden("functional")
TEXTBOOK = [[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]


def whole_numbers(*shape, seed=0):
    """Few different values, so that many windows have two equal maxima; a float as `array`."""
    return jnp.asarray(np.random.default_rng(seed).integers(-2, 3, size=shape), float)


def starts(n, k, s, low, high, ceil_mode):
    """Where the windows of one axis begin, in pixels of the image, by walking along it."""
    found = [-low]
    while True:
        start = found[-1] + s
        whole = start + k <= n + high
        needed = found[-1] + k < n + high and start < n  # a pixel is left, and it starts inside
        if not (whole or (ceil_mode and needed)):
            return found
        found.append(start)


def pool_loop(x, window, stride, pads, ceil_mode):
    """Window by window: maximum, its place, sum, and the pixels with and without the padding."""
    space = x.shape[1:-1]
    axes = [
        starts(n, k, s, *pad, ceil_mode)
        for n, k, s, pad in zip(space, window, stride, pads, strict=True)
    ]
    out = (x.shape[0], *(len(a) for a in axes), x.shape[-1])
    maximum, total = np.zeros(out), np.zeros(out)
    place, padded, inside = (np.zeros(out, int) for _ in range(3))
    for b, *i, c in np.ndindex(*out):
        first = [a[j] for a, j in zip(axes, i, strict=True)]
        best, count = None, 0
        for offset in np.ndindex(*window):
            pixel = tuple(f + u for f, u in zip(first, offset, strict=True))
            within = zip(pixel, space, pads, strict=True)
            padded[(b, *i, c)] += all(p < n + high for p, n, (_, high) in within)
            if all(0 <= p < n for p, n in zip(pixel, space, strict=True)):
                count += 1
                value = x[(b, *pixel, c)]
                total[(b, *i, c)] += value
                if best is None or value > best:
                    best, place[(b, *i, c)] = value, np.ravel_multi_index(pixel, space)
        maximum[(b, *i, c)], inside[(b, *i, c)] = best, count
    return maximum, place, total, padded, inside


CASES = [
    # x, window, stride, padding, pairs, ceil_mode
    ((2, 7, 2), (2,), None, 0, [(0, 0)], False),
    ((2, 7, 2), (3,), (2,), "SAME", [(1, 1)], True),
    ((1, 2, 1), (3,), (2,), 0, [(0, 0)], True),
    ((1, 5, 6, 2), (2, 3), (2, 1), "VALID", [(0, 0)] * 2, False),
    ((1, 6, 5, 2), (3, 2), (2, 2), [(0, 2), (1, 0)], [(0, 2), (1, 0)], False),
    ((1, 6, 5, 2), (3, 2), (2, 3), 1, [(1, 1)] * 2, True),
    ((1, 6, 7, 1), (2, 4), (5, 3), 1, [(1, 1)] * 2, True),
    ((1, 5, 6, 1), (2, 1), (3, 2), "SAME", [(0, 0)] * 2, False),
    ((1, 4, 3, 5, 1), (2, 2, 3), (2, 1, 2), 1, [(1, 1)] * 3, True),
    ((1, 4, 3, 5, 2), (2, 3, 2), (1, 1, 2), 0, [(0, 0)] * 3, False),
]


@pytest.mark.parametrize(("shape", "window", "stride", "padding", "pairs", "ceil_mode"), CASES)
def test_pools_are_the_loop(x64, shape, window, stride, padding, pairs, ceil_mode):
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}

    @jax.jit
    def pools(x):
        averages = [avg_pool(x, window, count_include_pad=c, **options) for c in (True, False)]
        return max_pool(x, window, **options), *max_pool_with_argmax(x, window, **options), averages

    for x in (array(*shape), whole_numbers(*shape)):
        largest, again, indices, (average, average_inside) = pools(x)
        maximum, place, total, padded, inside = pool_loop(
            np.asarray(x), window, stride or window, pairs, ceil_mode
        )
        assert_close(largest, maximum, "exact")
        assert_close(again, maximum, "exact")
        assert_close(indices, place, "exact")
        assert indices.dtype == jnp.int32
        assert_close(average, total / padded, "float64")
        assert_close(average_inside, total / inside, "float64")


POOLS = {
    "_overlap": {"window": 3, "stride": 2, "padding": 1},
    "_ceil": {"window": 3, "stride": 2, "ceil_mode": True},
    "_ceil_pad": {"window": 2, "stride": 3, "padding": 1, "ceil_mode": True},
}


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("name", POOLS)
def test_pools_are_pytorch(axes, name):
    options = POOLS[name]
    case = f"max_pool{axes}d{name}"
    assert_golden(lambda x: max_pool(x, **options), VALUES, case, "x")
    _, indices = jax.jit(lambda x: max_pool_with_argmax(x, **options))(VALUES[f"{case}.x"])
    assert_close(indices, VALUES[f"{case}.indices"], "exact")
    case = f"avg_pool{axes}d{name}"
    assert_golden(lambda x: avg_pool(x, **options), VALUES, case, "x")
    if "padding" in options:
        case = f"{case}_inside"
        assert_golden(lambda x: avg_pool(x, count_include_pad=False, **options), VALUES, case, "x")


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_adaptive_avg_pool_is_pytorch(axes):
    size = (3, 5, 2)[:axes]
    assert_golden(lambda x: adaptive_avg_pool(x, size), VALUES, f"adaptive_avg_pool{axes}d", "x")


def test_max_unpool_is_pytorch():
    indices = jnp.asarray(VALUES["max_unpool2d.indices"])
    assert_golden(lambda x: max_unpool(x, indices, (4, 6)), VALUES, "max_unpool2d", "x")


def test_pools_of_the_textbook():
    x = jnp.asarray(TEXTBOOK, jnp.float32)[None, :, :, None]
    assert_close(max_pool(x, 2)[0, :, :, 0], [[6, 8], [3, 4]], "exact")
    assert_close(avg_pool(x, 2)[0, :, :, 0], [[3.25, 5.25], [2, 2]], "exact")


def values_and_pullbacks(pools, x, dy):
    def both(pool):
        y, pullback = jax.vjp(pool, x)
        return y, pullback(dy)[0]

    return jax.jit(lambda: [both(pool) for pool in pools])()


@pytest.mark.parametrize(("window", "stride", "pad"), [(2, 2, 0), (3, 1, 1), (3, 2, 1), (2, 3, 0)])
def test_max_pool_and_its_gradient_are_those_of_reduce_window(window, stride, pad):
    def reduced(x):
        pads = [(0, 0), (pad, pad), (pad, pad), (0, 0)]
        sizes, strides = (1, window, window, 1), (1, stride, stride, 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, sizes, strides, pads)

    options = {"stride": stride, "padding": pad}
    x = whole_numbers(2, 7, 8, 2)
    dy = array(*jax.eval_shape(reduced, x).shape, seed=1)
    (expected, gradient), *ours = values_and_pullbacks(
        (
            reduced,
            lambda x: max_pool(x, window, **options),
            lambda x: max_pool_with_argmax(x, window, **options)[0],
        ),
        x,
        dy,
    )
    for y, dx in ours:
        assert_close(y, expected, "exact")
        assert_close(dx, gradient)


def test_max_pool_gives_a_tie_to_the_first_in_window_order():
    x, dy = whole_numbers(1, 7, 6, 2), array(1, 4, 3, 2, seed=1)
    pool = lambda x: max_pool(x, 3, stride=2, padding=1)  # noqa: E731
    ((_, dx),) = values_and_pullbacks([pool], x, dy)
    _, place, *_ = pool_loop(np.asarray(x), (3, 3), (2, 2), [(1, 1)] * 2, False)
    expected = np.zeros((42, 2))
    for _, i, j, c in np.ndindex(*dy.shape):
        expected[place[0, i, j, c], c] += dy[0, i, j, c]
    assert_close(dx.reshape(42, 2), expected)
    rows = jnp.asarray([[0.0, 1.0], [1.0, 1.0]])[None, :, :, None]  # the first column comes later
    ((_, dx),) = values_and_pullbacks([lambda x: max_pool(x, 2)], rows, jnp.ones((1, 1, 1, 1)))
    assert_close(dx[0, :, :, 0], [[0, 1], [0, 0]], "exact")


def test_pool_gradients():
    x, options = array(1, 5, 4, 2), {"stride": 2, "padding": 1, "ceil_mode": True}
    indices = jnp.asarray(np.reshape([0, 5, 8, 15, 11, 14, 2, 7], (1, 2, 2, 2)), jnp.int32)

    def pools(x, y):
        return (
            max_pool(x, 3, **options),
            max_pool_with_argmax(x, 3, **options)[0],
            avg_pool(x, 3, count_include_pad=False, **options),
            adaptive_avg_pool(x, (2, 3)),
            global_avg_pool(x),
            max_unpool(y, indices, (5, 4)),
        )

    assert_gradients(pools, x, array(*indices.shape, seed=1))


def test_pool_transforms():
    options = {"stride": 2, "padding": 1, "ceil_mode": True}

    def pools(x):
        found = (
            max_pool(x, 3, **options),
            max_pool_with_argmax(x, 3, **options)[0],
            avg_pool(x, 3, **options),
            adaptive_avg_pool(x, (2, 3)),
            global_avg_pool(x),
            max_unpool(*max_pool_with_argmax(x, 2), (5, 4)),
        )
        return jnp.concatenate([y.ravel() for y in found])

    assert_transforms(jax.jit(pools), array(2, 5, 4, 2))  # op by op: a program for each slice


def test_pool_second_derivatives():
    x = np.asarray(array(4, 4))
    f = lambda x: jnp.sum(max_pool(x.reshape(1, 4, 4, 1) ** 3, 2))  # noqa: E731
    largest = x.reshape(2, 2, 2, 2).max((1, 3), keepdims=True)
    expected = np.diag(6 * np.where(x.reshape(2, 2, 2, 2) == largest, largest, 0).ravel())
    for second in jax.jit(lambda x: (jax.hessian(f)(x), jax.jacrev(jax.jacfwd(f))(x)))(x):
        assert_close(np.reshape(second, (16, 16)), expected)


def test_max_pool_of_special_values():
    def pools(x, window, **options):
        both = jax.jit(
            lambda x: (max_pool(x, window, **options), *max_pool_with_argmax(x, window, **options))
        )(np.asarray(x, np.float32))
        return [np.ravel(found) for found in both]

    row = [1.0, np.nan, 0.0, 2.0, -np.inf, -np.inf, 3.0, np.inf]
    y, again, indices = pools(np.reshape(row, (1, 8, 1)), 2)
    assert_close(y, [np.nan, 2.0, -np.inf, np.inf], "exact")
    assert_close(again, y, "exact")
    assert_close(indices, [1, 3, 4, 7], "exact")
    y, *_ = pools(np.reshape([np.nan, 5.0, 0.0], (1, 3, 1)), 3)  # NaN stays when more follows
    assert_close(y, [np.nan], "exact")
    y, again, indices = pools(np.full((1, 4, 4, 1), -np.inf), 3, stride=2, padding=1)
    assert_close(y, [-np.inf] * 4, "exact")
    assert_close(again, y, "exact")
    assert_close(indices, [0, 1, 4, 5], "exact")


def test_max_pool_of_integers():
    @jax.jit
    def pools(x, negative):
        y, indices = max_pool_with_argmax(x, 3, stride=3, padding=1)
        return y, max_pool(x, 2), indices, max_pool(negative, 2, padding=1)

    for dtype in (jnp.uint8, jnp.int32, jnp.int8):
        x = np.asarray(TEXTBOOK, dtype)[None, :, :, None]
        y, halved, indices, border = pools(x, -np.ones((1, 2, 2, 1), np.int32))
        assert y.dtype == halved.dtype == dtype
        assert_close(np.ravel(y), [6, 8, 3, 4], "exact")
        assert_close(np.ravel(halved), [6, 8, 3, 4], "exact")
        assert_close(np.ravel(indices), [5, 7, 8, 15], "exact")
        assert_close(border, -np.ones((1, 2, 2, 1)), "exact")


def test_max_unpool_puts_each_maximum_back():
    x = np.asarray(array(2, 4, 6, 3))

    @jax.jit
    def unpooled(x):
        y, indices = max_pool_with_argmax(x, 2)
        return y, max_unpool(y, indices, (4, 6))

    @jax.jit
    def overlapping(x):  # one pixel wins several windows
        y, indices = max_pool_with_argmax(x, 3, stride=1)
        return y, max_pool(max_unpool(y, indices, (4, 6)), 3, stride=1)

    y, back = unpooled(x)
    repeated = np.repeat(np.repeat(y, 2, axis=1), 2, axis=2)
    assert_close(back, np.where(x == repeated, x, 0), "exact")
    y, again = overlapping(np.abs(x))
    assert_close(again, y, "exact")


def test_max_unpool_drops_what_lies_outside():
    x = np.asarray([3, 2, 1, 4], np.float32).reshape(1, 4, 1)
    expected = np.zeros(100)
    expected[[1, 3]] = 3, 4

    @jax.jit
    def value_and_gradient(x, indices):
        y, pullback = jax.vjp(lambda x: max_unpool(x, indices, 100), x)
        return y, pullback(jnp.ones_like(y))[0]

    for dtype in (np.int32, np.int8):
        y, dx = value_and_gradient(x, np.asarray([1, -1, 120, 3], dtype).reshape(1, 4, 1))
        assert_close(np.ravel(y), expected, "exact")
        assert_close(np.ravel(dx), [1, 0, 0, 1], "exact")


def test_avg_pool_laws(x64):
    x, dy = np.asarray(array(2, 6, 4, 3)), np.asarray(array(2, 3, 2, 3, seed=1))

    @jax.jit
    def pools(x, dy):
        y, pullback = jax.vjp(lambda x: avg_pool(x, 3, stride=2, padding=1), x)
        windows = [
            (avg_pool(x, (6, 4)), adaptive_avg_pool(x, 1)),
            (avg_pool(x, 2), adaptive_avg_pool(x, (3, 2))),
        ]
        finer = [adaptive_avg_pool(x, out) for out in ((6, 4), (12, 8))]
        return y, pullback(dy)[0], windows, finer, global_avg_pool(x)

    y, dx, windows, (same, doubled), mean = pools(x, dy)
    assert_close(np.vdot(dy, y), np.vdot(dx, x), "float64")
    for fixed, adaptive in windows:
        assert_close(adaptive, fixed, "float64")
    assert_close(mean, x.mean((1, 2)), "float64")
    assert_close(windows[0][0][:, 0, 0], mean, "float64")
    assert_close(same, x, "exact")
    assert_close(doubled[:, ::2, ::2], x, "exact")


def test_avg_pools_sum_in_float32():
    x = jnp.asarray([256.0, 1.0, 1.0], jnp.bfloat16).reshape(1, 3, 1)
    assert x[0, 0, 0] + x[0, 1, 0] == 256  # what bfloat16 makes of 257
    for y in jax.jit(lambda x: (avg_pool(x, 3), adaptive_avg_pool(x, 1), global_avg_pool(x)))(x):
        assert y.dtype == jnp.bfloat16
        assert_close(y.ravel(), [86], "exact")


def test_pools_of_an_empty_batch():
    @jax.jit
    def pools(x):
        unpooled = max_unpool(*max_pool_with_argmax(x, 2), 4)
        return max_pool(x, 2), avg_pool(x, 2), unpooled, global_avg_pool(x)

    shapes = [y.shape for y in pools(np.zeros((0, 4, 4, 3), np.float32))]
    assert shapes == [(0, 2, 2, 3), (0, 2, 2, 3), (0, 4, 4, 3), (0, 3)]


def test_pooling_errors(unchecked):
    x = np.asarray(array(1, 4, 4, 2))
    with pytest.raises(ValueError, match=r"max_pool: x needs axes \(b, \*space, c\) .*\(4, 4\)"):
        max_pool(array(4, 4), 2)
    with pytest.raises(ValueError, match=r"avg_pool: x needs axes .* got \(1, 0, 4, 2\)"):
        avg_pool(x[:, :0], 2, padding=1)
    with pytest.raises(ValueError, match="max_pool: window needs 1 or 2 values, got"):
        max_pool(x, (2, 2, 2))
    with pytest.raises(ValueError, match="max_pool: window must be an integer or one per axis"):
        max_pool(x, 2.0)
    for dtype in (bool, jnp.complex64):
        for pool in (max_pool, max_pool_with_argmax):
            rule = f"{pool.__name__}: x must be integers or floating point, got"
            with pytest.raises(ValueError, match=rule):
                pool(x.astype(dtype), 2)
    with pytest.raises(ValueError, match="max_pool: stride must be at least 1, got 0"):
        max_pool(x, 2, stride=0)
    with pytest.raises(ValueError, match="max_pool: a window of 5 .* does not fit into 4 pixels"):
        max_pool(x, 5)
    with pytest.raises(ValueError, match=r"padding must be less than the window \(2, 2\), got 2"):
        max_pool_with_argmax(x, 2, padding=2)
    with pytest.raises(ValueError, match="avg_pool: x must be floating point, got uint8"):
        avg_pool(x.astype(jnp.uint8), 2)
    with pytest.raises(ValueError, match="global_avg_pool: x must be floating point, got int32"):
        global_avg_pool(x.astype(jnp.int32))
    with pytest.raises(ValueError, match="global_avg_pool: x needs axes"):
        global_avg_pool(array(3, 4))
    with pytest.raises(ValueError, match="adaptive_avg_pool: output_size must be at least 1"):
        adaptive_avg_pool(x, 0)
    with pytest.raises(ValueError, match="adaptive_avg_pool: x must be floating point"):
        adaptive_avg_pool(x.astype(jnp.int32), 2)
    with pytest.raises(ValueError, match=r"max_unpool: indices must be .* float32 \(1, 4, 4, 2\)"):
        max_unpool(x, x, 8)
    with pytest.raises(ValueError, match=r"max_unpool: indices must be integers .* \(1, 2, 4, 2\)"):
        max_unpool(x, jnp.zeros((1, 2, 4, 2), jnp.int32), 8)
