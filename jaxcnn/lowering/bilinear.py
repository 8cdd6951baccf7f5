"""Convolution as three bilinear operations that are one another's transposes.

conv(x, kernel) -> y, by_x(y, kernel) -> x and by_kernel(x, y) -> kernel are the three partial sums
of one trilinear form, sum y[b, i, o] x[b, stride i + dilation u - low, c] kernel[u, c, o], so that
the transpose of each by either argument, and its batching over either, is one of the three again.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.interpreters import ad, batching

from jaxcnn.lowering import depthwise, grouped, products, rows, strided, winograd
from jaxcnn.lowering.operations import Form, Operation, bind, like, operation
from jaxcnn.lowering.windows import Windows, whole


def channels_last(axes: int) -> lax.ConvDimensionNumbers:
    """Channels last: images b *space c and kernels *window c_in c_out."""
    last = axes + 1
    image = (0, last, *range(1, last))  # batch, channels, then space
    return lax.ConvDimensionNumbers(image, (last, axes, *range(axes)), image)


def grouped_members(form: Form) -> Form:
    """A form that takes members, where there are any, as groups of the channels."""

    def whole(a: Array, b: Array, *, how: Windows) -> Array:
        n = how.members
        if n is None:
            return form(a, b, how=how)
        how = how._replace(groups=n * how.groups, members=None)
        return _split(form(_merge(a, 0, -1, 1), _merge(b, 0, -1, 1), how=how), n, -1, 1)

    return whole


def single_members(form: Form) -> Form:
    """A form that computes members one by one, each as it is computed alone."""

    def each(a: Array, b: Array, *, how: Windows) -> Array:
        pairs = zip(jnp.unstack(a), jnp.unstack(b), strict=True)
        return jnp.stack([form(*pair, how=how._replace(members=None)) for pair in pairs])

    return each


@grouped_members
def xla_conv(x: Array, kernel: Array, *, how: Windows) -> Array:
    """y, by XLA's convolution."""
    return lax.conv_general_dilated(
        x,
        kernel,
        how.stride,
        how.padding,
        rhs_dilation=how.dilation,
        dimension_numbers=channels_last(len(how.window)),
        feature_group_count=how.groups,
        precision=how.precision,
    )


@grouped_members
def xla_by_x(y: Array, kernel: Array, *, how: Windows) -> Array:
    """x, by XLA's convolution as JAX transposes it."""
    shape = (y.shape[0], *how.lengths, kernel.shape[-2] * how.groups)
    x = like(y, shape)
    (x,) = jax.linear_transpose(lambda x: xla_conv(x, kernel, how=how), x)(y)
    return x


@grouped_members
def xla_by_kernel(x: Array, y: Array, *, how: Windows) -> Array:
    """The kernel, by XLA's convolution as JAX transposes it."""
    shape = (*how.window, x.shape[-1] // how.groups, y.shape[-1])
    kernel = like(y, shape, batch=False)
    (kernel,) = jax.linear_transpose(lambda kernel: xla_conv(x, kernel, how=how), kernel)(y)
    return kernel


def canonical_by_x(y: Array, kernel: Array, *, how: Windows) -> Array:
    """x, by XLA's convolution with the channels last everywhere."""
    flipped = jnp.flip(kernel, tuple(range(len(how.window)))).swapaxes(-1, -2)
    axes = zip(how.lengths, how.padding, how.window, how.dilation, strict=True)
    reach = [(n, low, d * (k - 1)) for n, (low, _), k, d in axes]
    pixels = [(out - 1) * s + 1 for out, s in zip(how.outputs, how.stride, strict=True)]
    padding = [(r - low, n + low - m) for (n, low, r), m in zip(reach, pixels, strict=True)]
    return lax.conv_general_dilated(
        y,
        flipped,
        (1,) * len(how.window),
        padding,
        lhs_dilation=how.stride,
        rhs_dilation=how.dilation,
        dimension_numbers=channels_last(len(how.window)),
        precision=how.precision,
    )


def canonical_by_kernel(x: Array, y: Array, *, how: Windows) -> Array:
    """The kernel, by XLA's convolution with the batch as its channels, which stand last."""
    kernel = lax.conv_general_dilated(
        x.swapaxes(0, -1),
        jnp.moveaxis(y, 0, -2),
        how.dilation,
        whole(how),
        rhs_dilation=how.stride,
        dimension_numbers=channels_last(len(how.window)),
        precision=how.precision,
    )
    return jnp.moveaxis(kernel, 0, -2)


conv_p = operation(
    "conv",
    {
        "xla": xla_conv,
        "members": single_members(lambda x, kernel, *, how: conv(x, kernel, how=how)),
        "groups": grouped_members(lambda x, kernel, *, how: conv(x, kernel, how=how)),
        "shifts": depthwise.conv,
        "blocks": lambda x, kernel, *, how: grouped.conv(conv, x, kernel, how=how),
        "dot": products.conv,
        "patches": products.conv,
        "rows": lambda x, kernel, *, how: rows.conv(conv, x, kernel, how=how),
        "winograd2": functools.partial(winograd.conv, 2),
        "winograd4": functools.partial(winograd.conv, 4),
    },
)
by_x_p = operation(
    "conv_by_x",
    {
        "xla": xla_by_x,
        "members": single_members(lambda y, kernel, *, how: by_x(y, kernel, how=how)),
        "groups": grouped_members(lambda y, kernel, *, how: by_x(y, kernel, how=how)),
        "canonical": canonical_by_x,
        "shifts": depthwise.by_x,
        "blocks": lambda y, kernel, *, how: grouped.conv(by_x, y, kernel, how=how),
        "dot": products.by_x,
        "patches": products.by_x,
        "rows": lambda y, kernel, *, how: rows.by_x(by_x, y, kernel, how=how),
        "depth": lambda y, kernel, *, how: strided.by_x(conv, y, kernel, how=how),
        "winograd2": functools.partial(winograd.by_x, 2),
        "winograd4": functools.partial(winograd.by_x, 4),
    },
)
by_kernel_p = operation(
    "conv_by_kernel",
    {
        "xla": xla_by_kernel,
        "members": single_members(lambda x, y, *, how: by_kernel(x, y, how=how)),
        "groups": grouped_members(lambda x, y, *, how: by_kernel(x, y, how=how)),
        "canonical": canonical_by_kernel,
        "shifts": depthwise.by_kernel,
        "rows": lambda x, y, *, how: rows.by_kernel(by_kernel, x, y, how=how),
        "blocks": lambda x, y, *, how: grouped.by_kernel(by_kernel, x, y, how=how),
        "dot": products.by_kernel,
        "patches": products.by_kernel,
        "winograd2": functools.partial(winograd.by_kernel, 2),
        "winograd4": functools.partial(winograd.by_kernel, 4),
    },
)


def conv(x: Array, kernel: Array, *, how: Windows) -> Array:
    """y, b *out c_out."""
    return bind(conv_p, x, kernel, how=how)


def by_x(y: Array, kernel: Array, *, how: Windows) -> Array:
    """x, b *lengths c_in."""
    return bind(by_x_p, y, kernel, how=how)


def by_kernel(x: Array, y: Array, *, how: Windows) -> Array:
    """The kernel, *window c_in/groups c_out."""
    return bind(by_kernel_p, x, y, how=how)


# No argument of these may be called g: `ad.defbilinear` has one of that name.
ad.defbilinear(
    conv_p,
    lambda y, x, kernel, *, how: by_x(y, kernel, how=how),
    lambda y, x, kernel, *, how: by_kernel(x, y, how=how),
)
ad.defbilinear(
    by_x_p,
    lambda x, y, kernel, *, how: conv(x, kernel, how=how),
    lambda x, y, kernel, *, how: by_kernel(x, y, how=how),
)
ad.defbilinear(
    by_kernel_p,
    lambda kernel, x, y, *, how: by_x(y, kernel, how=how),
    lambda kernel, x, y, *, how: conv(x, kernel, how=how),
)

# Batching: where a batch axis goes when only the first or only the second argument has one, and
# where it comes out of the result. On the last axis, that of the channels, it stands inside each
# group. When both arguments have one, they are of members.
BATCHED = {
    conv_p: ((0, 0), (-1, -1)),
    by_x_p: ((0, 0), (-2, -1)),
    by_kernel_p: ((-1, -2), (-1, -1)),
}


def _merge(a: Array, batch: int, axis: int, groups: int) -> Array:
    """A batch axis goes into another one, inside each of its groups."""
    a = jnp.moveaxis(a, batch, 0)
    axis %= a.ndim - 1
    n, *shape = a.shape
    a = a.reshape(n, *shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    a = jnp.moveaxis(a, 0, axis + 1)
    return a.reshape(*shape[:axis], n * shape[axis], *shape[axis + 1 :])


def _split(a: Array, n: int, axis: int, groups: int) -> Array:
    """A batch axis of length n comes out of another one, to the front: undoes `_merge`."""
    axis %= a.ndim
    before, length, after = a.shape[:axis], a.shape[axis] // n, a.shape[axis + 1 :]
    a = a.reshape(*before, groups, n, length // groups, *after)
    return jnp.moveaxis(a, axis + 1, 0).reshape(n, *before, length, *after)


def _batch(
    primitive: Operation, args: Sequence[Array], dims: Sequence[int | None], *, how: Windows
) -> tuple[Array, int]:
    (n,) = {a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None}
    if None not in dims or how.members is not None:
        full = [
            jnp.broadcast_to(a, (n, *a.shape)) if d is None else jnp.moveaxis(a, d, 0)
            for a, d in zip(args, dims, strict=True)
        ]
        if how.members is None:
            return bind(primitive, *full, how=how._replace(members=n)), 0
        flat = (a.reshape(-1, *a.shape[2:]) for a in full)
        result = bind(primitive, *flat, how=how._replace(members=n * how.members))
        return result.reshape(n, how.members, *result.shape[1:]), 0
    which = 0 if dims[1] is None else 1
    inner, outer = BATCHED[primitive][which]
    args = list(args)
    where = dims[which]
    assert where is not None
    args[which] = _merge(args[which], where, inner, how.groups if inner == -1 else 1)
    result = bind(primitive, *args, how=how)
    return _split(result, n, outer, how.groups if outer == -1 else 1), 0


for _primitive in BATCHED:
    batching.primitive_batchers[_primitive] = functools.partial(_batch, _primitive)
