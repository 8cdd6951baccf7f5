"""Depthwise convolution as shifted images, multiplied and added.

Every value is used once for each tap, so that memory is the limit: one fused loop over the shifted
images is what XLA does best on a CPU, while it takes its own depthwise convolution for a dense one
of mostly zeros (20 to 100 times slower).
"""

import jax.numpy as jnp
from jax import Array

from jaxcnn.lowering.windows import Windows, interleaved, meeting, under, wide

BLOCKS = 7  # of rows, added up in one loop: more are little faster, and longer to compile


def conv(x: Array, kernel: Array, *, how: Windows) -> Array:
    """y = sum over taps of the image under a tap times the tap."""
    taps = wide(kernel.reshape(-1, kernel.shape[-1]))
    x = _each(x, kernel.shape[-1] // how.groups)
    y = sum(t * tap for t, tap in zip(under(wide(x), how), taps, strict=True))
    return y.astype(kernel.dtype)


def by_x(y: Array, kernel: Array, *, how: Windows) -> Array:
    """x = sum over the taps that meet a pixel of the outputs there times the tap."""
    taps = wide(kernel.reshape(-1, kernel.shape[-1]))
    x = interleaved(((t * taps[u] for u, t in met) for met in meeting(wide(y), how)), how)
    many = kernel.shape[-1] // how.groups
    if many > 1:
        x = x.reshape(*x.shape[:-1], how.groups, many).sum(axis=-1)
    return x.astype(kernel.dtype)


def by_kernel(x: Array, y: Array, *, how: Windows) -> Array:
    """Each tap is the sum over all pixels of the image under it times the output.

    Blocks of rows are multiplied and added in one loop, and a product with ones adds the rest:
    XLA's reduction takes 2 to 6 times as long.
    """
    x = _each(x, y.shape[-1] // how.groups)
    rows = y.shape[1]
    blocks = max(n for n in range(1, BLOCKS + 1) if rows % n == 0)
    ys = jnp.split(wide(y), blocks, axis=1)
    taps = []
    for t in under(wide(x), how):
        total = sum(a * b for a, b in zip(jnp.split(t, blocks, axis=1), ys, strict=True))
        total = total.reshape(-1, total.shape[-1])
        taps.append(jnp.ones(total.shape[0], total.dtype) @ total)
    return jnp.stack(taps).reshape(*how.window, 1, -1).astype(x.dtype)


def _each(x: Array, many: int) -> Array:
    """Each channel as often as it has outputs."""
    return x if many == 1 else jnp.repeat(x, many, axis=-1)
