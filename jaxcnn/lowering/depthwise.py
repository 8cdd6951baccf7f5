"""Convolution of single channels (depthwise, or of grey images) as shifted images, added up.

Every value is used once for each tap, so that memory is the limit: one fused loop over the shifted
images is what XLA does best on a CPU, while it takes its own depthwise convolution for a dense one
of mostly zeros (20 to 100 times slower).
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxcnn.lowering.windows import (
    Windows,
    backwards,
    interleaved,
    meeting,
    padded,
    under,
    unpadded,
    whole,
    wide,
)

BLOCKS = 7  # of rows that are added up in one loop
FEW = 9  # taps
LARGE = 25
TOGETHER = 7  # taps whose sums one loop keeps: more run out of registers


def conv(x: Array, kernel: Array, *, how: Windows) -> Array:
    """y = sum over taps of the image under a tap times the tap."""
    if how.groups > 1:  # a single channel broadcasts
        x = _each(x, kernel.shape[-1] // how.groups)
    if how.groups == 1 or _large(how):
        return _apart(lambda: _sum(x, kernel, how), kernel)
    return _sum(x, kernel, how)


def by_x(y: Array, kernel: Array, *, how: Windows) -> Array:
    """x = sum over the taps that meet a pixel of the outputs there times the tap."""
    many = kernel.shape[-1] // how.groups
    if _large(how) and many == max(how.stride) == 1:
        return conv(y, jnp.flip(kernel, range(len(how.window))), how=backwards(how))
    taps = wide(kernel.reshape(-1, kernel.shape[-1]))
    x = interleaved(((t * taps[u] for u, t in met) for met in meeting(wide(y), how)), how)
    if many > 1:
        x = x.reshape(*x.shape[:-1], how.groups, many).sum(axis=-1)
    return x.astype(kernel.dtype)


def by_kernel(x: Array, y: Array, *, how: Windows) -> Array:
    """Each tap is the sum over all pixels of the image under it times the output.

    Windows of more taps go row by row: 5x5 takes half the time so, but with strides more.
    """
    dtype = x.dtype
    x, y = wide(_each(x, y.shape[-1] // how.groups)), wide(y)
    if math.prod(how.window) <= FEW or (max(how.stride) > 1 and not _large(how)):
        return _over_batch(_correlation(x, y, how), how).astype(dtype)
    (k, *window), (s, *_), (d, *_) = how.window, how.stride, how.dilation
    x = padded(x, whole(how))
    needs = (how.outputs[0] - 1) * s + 1
    row = unpadded(how)._replace(lengths=(needs, *x.shape[2:-1]), window=(1, *window))

    def taps(u: Array) -> Array:
        under_row = _apart(lambda: lax.dynamic_slice_in_dim(x, u * d, needs, axis=1), u)
        return _correlation(under_row, y, row)

    return _over_batch(lax.map(taps, jnp.arange(k)), how).astype(dtype)


def _correlation(x: Array, y: Array, how: Windows) -> Array:
    """Each example's kernel, taps b c, the taps spelled out.

    Blocks of rows are added up first, in loops that keep the sums of a few taps: a sum over all
    pixels at once, or a loop for each tap, takes 2 to 6 times as long, and to compile.
    """
    b, rows, *others = y.shape
    blocks = max(n for n in range(1, BLOCKS + 1) if rows % n == 0)
    shape = (b, blocks, rows // blocks, *others)
    products = [t.reshape(shape) * y.reshape(shape) for t in under(x, how)]
    totals = list(products)
    loops = -(-len(products) // TOGETHER)
    for i in range(loops):
        totals[i::loops] = _sums(products[i::loops])
    return jnp.stack([t.sum(axis=range(1, t.ndim - 1)) for t in totals])


def _over_batch(kernels: Array, how: Windows) -> Array:
    """The kernel: a plain sum over the batch, which XLA can divide among devices."""
    *_, b, c = kernels.shape
    return kernels.reshape(-1, b, c).sum(axis=1).reshape(*how.window, 1, c)


def _apart(f: Callable[[], Array], some: Array) -> Array:
    """What `f` returns, not fused with what uses it, which may compute it anew for each use.

    Before jax 0.12 XLA drops barriers too early, but it fuses nothing with a branch. This one, by
    a number that is there anyway, is always taken, which XLA cannot know.
    """
    if jax.__version_info__ >= (0, 12):
        return lax.optimization_barrier(f())
    always = (some[(0,) * some.ndim] > 0).astype(jnp.int32) < 2
    result = jax.eval_shape(f)
    return lax.cond(always, f, lambda: jnp.zeros(result.shape, result.dtype))


def _sum(x: Array, kernel: Array, how: Windows) -> Array:
    """The shifted images times their taps, added up."""
    taps = wide(kernel.reshape(-1, kernel.shape[-1]))
    products = (t * tap for t, tap in zip(under(wide(x), how), taps, strict=True))
    return functools.reduce(lax.add, products).astype(kernel.dtype)


def _sums(parts: Sequence[Array]) -> Sequence[Array]:
    """The sum of each over its second axis, all in one loop."""
    zeros = (jnp.zeros((), parts[0].dtype),) * len(parts)
    return lax.reduce(tuple(parts), zeros, lambda a, b: tuple(map(lax.add, a, b)), (1,))


def _large(how: Windows) -> bool:
    """The window has so many taps that spelling them out in each use takes long to compile."""
    return math.prod(how.window) > LARGE


def _each(x: Array, many: int) -> Array:
    """Each channel as often as it has outputs."""
    return x if many == 1 else jnp.repeat(x, many, axis=-1)
