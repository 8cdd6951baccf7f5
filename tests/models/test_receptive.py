import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from helpers import array
from jaxcnn.functional import avg_pool, conv, max_pool
from jaxcnn.models.receptive import Span, receptive_fields, receptive_views

SHAPE = (1, 13, 11, 1)
INPUTS = 60  # of random images, so that each pixel is a window's maximum in some


def views(f, shape=SHAPE):
    return receptive_views(jax.make_jaxpr(f)(jax.ShapeDtypeStruct(shape, jnp.float32)))[0]


def support(f, shape=SHAPE):
    """Which pixels (h, w) have a gradient in some of random positive images, by output pixel."""
    x = jnp.abs(array(INPUTS, *shape))
    jacobians = jax.jit(jax.vmap(jax.jacrev(lambda x: f(x)[0, :, :, 0])))(x)
    return np.asarray((jacobians[:, :, :, 0, :, :, 0] != 0).any(0))


def ones(h, w=None, groups=1):
    return jnp.ones((h, w or h, 1, groups))


FUNCTIONS = {
    "stride": lambda x: conv(x, ones(3, 2), stride=(2, 3), padding=1),
    "dilation": lambda x: conv(x, ones(3), dilation=(2, 3), padding="SAME"),
    "padding": lambda x: conv(x, ones(2), padding=((0, 3), (2, 0))),
    "grouped": lambda x: conv(conv(x, ones(1, 1, 2)), ones(3, 3, 2), groups=2).sum(-1, keepdims=1),
    "max": lambda x: max_pool(x, 3, stride=2, padding=1),
    "mean": lambda x: avg_pool(x, (2, 3), stride=1, padding=1),
    # The last row and column are in no window, and what comes after does not see them either.
    "dropped edge": lambda x: conv(avg_pool(x, 2), ones(3)),
    "cut": lambda x: conv(conv(x, ones(5))[:, 1:-2, 2::2], ones(3)),
    "padded": lambda x: conv(jnp.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0))), ones(3), stride=2),
    "cut by padding": lambda x: lax.pad(
        conv(x, ones(3)), 0.0, ((0, 0, 0), (-1, 2, 0), (0, 0, 0), (0, 0, 0))
    ),
    "shortcut": lambda x: conv(conv(x, ones(3), stride=2), ones(3)) + conv(x, ones(1), stride=2),
    "wide shortcut": lambda x: conv(x, ones(3)) + conv(x, ones(1, 5)),
    "stack": lambda x: avg_pool(
        conv(max_pool(conv(x, ones(3), stride=2, padding=1), 2, stride=1), ones(2), dilation=2), 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_seen_is_the_support_of_the_gradient(name):
    f = FUNCTIONS[name]
    rows, columns = (view.seen for view in views(f))
    found = support(f)
    assert found.shape[:2] == (len(rows), len(columns))
    for i, j in np.ndindex(found.shape[:2]):
        pixels = found[i, j]
        for seen, along in ((rows[i], pixels.any(1)), (columns[j], pixels.any(0))):
            touched = np.flatnonzero(along)
            if touched.size:
                assert seen.tolist() == [touched[0], touched[-1]], (name, i, j)
            else:
                assert rows[i, 0] > rows[i, 1] or columns[j, 0] > columns[j, 1], (name, i, j)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_seen_is_the_span_inside_the_image(name):
    """Far from all edges both say the same; at them the span is never less."""
    shape = (1, 41, 43, 1)
    for (span, seen), size in zip(views(FUNCTIONS[name], shape), shape[1:3], strict=True):
        places = np.arange(len(seen))
        low, high = span.jump * places + span.low, span.jump * places + span.high
        full = seen[:, 0] <= seen[:, 1]
        assert (np.clip(low, 0, size - 1) <= seen[:, 0])[full].all()
        assert (np.clip(high, 0, size - 1) >= seen[:, 1])[full].all()
        middle = len(seen) // 2
        assert seen[middle].tolist() == [low[middle], high[middle]]


def test_spans_by_hand():
    rows, columns = views(lambda x: conv(x, ones(3, 5), stride=(2, 1), padding=((1, 1), (2, 2))))
    assert rows.span == Span(2, -1, 1)
    assert columns.span == Span(1, -2, 2)
    assert rows.seen.tolist() == [[max(2 * i - 1, 0), min(2 * i + 1, 12)] for i in range(7)]


def test_what_mixes_pixels_sees_the_whole_image():
    x = jax.ShapeDtypeStruct((1, 8, 6, 2), jnp.float32)

    def fields(f):
        return receptive_fields(lambda _, x: f(x), (), x)[0]

    assert fields(lambda x: x.mean((1, 2))) == (8, 6)
    assert fields(lambda x: x - x.mean((1, 2), keepdims=True)) == (8, 6)
    assert fields(lambda x: x[:, ::-1]) == (8, 6)
    assert fields(lambda x: x - x.mean(-1, keepdims=True)) == (1, 1)
    assert fields(lambda x: x @ jnp.ones((2, 3))) == (1, 1)
    assert fields(lambda x: jnp.concatenate([x, x[:, :, :, :1]], -1)) == (1, 1)
    assert fields(lambda x: jnp.zeros(3)) == (0, 0)

    def loop(x):
        return lax.fori_loop(0, 3, lambda _, y: conv(y, jnp.ones((3, 3, 2, 2))), x)

    assert fields(loop) == (8, 6)
    for view, n in zip(views(loop, x.shape), (8, 6), strict=True):
        assert view.span == Span(0, 0, n - 1)
        assert view.seen.tolist() == [[0, n - 1]] * n
    assert [len(view.seen) for view in views(lambda x: x.sum((1, 2)), x.shape)] == [1, 1]


def test_other_layouts_are_not_misread():
    def upright(x):  # b h w c in, b c h w out
        return lax.conv_general_dilated(
            x, jnp.ones((3, 3, 2, 6)), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NCHW")
        )

    x = jax.ShapeDtypeStruct((1, 8, 6, 2), jnp.float32)
    assert receptive_fields(lambda _, x: upright(x), (), x) == [(8, 6)]


def test_spread_pixels_have_no_rule():
    def spread(x):
        return lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1,) * 4, "VALID", (1, 2, 2, 1))

    def apart(x):
        return lax.pad(x, 0.0, ((0, 0, 0), (0, 0, 1), (0, 0, 1), (0, 0, 0)))

    x = jax.ShapeDtypeStruct((1, 8, 6, 2), jnp.float32)
    for f in (spread, apart):
        assert receptive_fields(lambda _, x, f=f: f(x), (), x) == [(8, 6)]
