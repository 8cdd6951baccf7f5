"""Dense convolution as one matrix product: of the pixels, or of the patches under the windows."""

import math

import jax.numpy as jnp
from jax import Array, lax

from jaxcnn.lowering.windows import Windows, interleaved, meeting, under, wide


def conv(x: Array, kernel: Array, *, how: Windows) -> Array:
    """y = patches kernel (im2col)."""
    return _product(_patches(x, how), kernel.reshape(-1, kernel.shape[-1]), how)


def by_x(y: Array, kernel: Array, *, how: Windows) -> Array:
    """x = the patches y kernel', each place's added where it was taken (col2im)."""
    patches = _product(y, kernel.reshape(-1, kernel.shape[-1]).T, how)
    c = kernel.shape[-2]
    phases = ((wide(p[..., u * c : (u + 1) * c]) for u, p in met) for met in meeting(patches, how))
    return interleaved(phases, how).astype(y.dtype)


def by_kernel(x: Array, y: Array, *, how: Windows) -> Array:
    """kernel = patches' y."""
    patches = _patches(x, how)
    pixels = math.prod(patches.shape[:-1])
    product = _product(patches.reshape(pixels, -1).T, y.reshape(pixels, y.shape[-1]), how)
    return product.reshape(*how.window, -1, y.shape[-1])


def _patches(x: Array, how: Windows) -> Array:
    """The pixels under each window side by side, b *out (*window c)."""
    taps = list(under(x, how))
    return taps[0] if len(taps) == 1 else jnp.concatenate(taps, axis=-1)


def _product(a: Array, b: Array, how: Windows) -> Array:
    return lax.dot_general(a, b, (((a.ndim - 1,), (0,)), ((), ())), precision=how.precision)
