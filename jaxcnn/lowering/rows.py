"""Convolution with the pixels of a row as channels, for images of few channels.

The last spatial axis joins the channels, and the taps along it become a band matrix (Toeplitz's)
from pixels of x to pixels of y: w c_in numbers times w c_out. It multiplies w / k times as often,
but by matrices of a size that products are fast at.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcnn.lowering.windows import Windows

Operation = Callable[..., Array]


def conv(along: Operation, x: Array, kernel: Array, *, how: Windows) -> Array:
    """y, by the same convolution `along` the other axes."""
    y = along(_joined(x), _matrix(kernel, how), how=_others(how))
    return y.reshape(*y.shape[:-1], how.outputs[-1], kernel.shape[-1])


def by_x(along: Operation, y: Array, kernel: Array, *, how: Windows) -> Array:
    """x, likewise."""
    x = along(_joined(y), _matrix(kernel, how), how=_others(how))
    return x.reshape(*x.shape[:-1], how.lengths[-1], kernel.shape[-2])


def by_kernel(along: Operation, x: Array, y: Array, *, how: Windows) -> Array:
    """The kernel: along the band of the matrix that is the others' kernel."""
    matrix = along(_joined(x), _joined(y), how=_others(how))
    shape = (how.lengths[-1], x.shape[-1], how.outputs[-1], y.shape[-1])
    matrix = matrix.reshape(*matrix.shape[:-2], *shape)
    return jnp.einsum("...pcqo,vpq->...vco", matrix, _band(how, x.dtype), precision=how.precision)


def _matrix(kernel: Array, how: Windows) -> Array:
    """*window k c_in c_out -> *window (w_in c_in) (w_out c_out)."""
    matrix = jnp.einsum(
        "...vco,vpq->...pcqo", kernel, _band(how, kernel.dtype), precision=how.precision
    )
    *window, w_in, c_in, w_out, c_out = matrix.shape
    return matrix.reshape(*window, w_in * c_in, w_out * c_out)


def _band(how: Windows, dtype: jnp.dtype) -> Array:
    """1 where tap v of output q lies on pixel p, as v p q."""
    (low, _), s, d = how.padding[-1], how.stride[-1], how.dilation[-1]
    v, p, q = np.ogrid[: how.window[-1], : how.lengths[-1], : how.outputs[-1]]
    return jnp.asarray(s * q + d * v - low == p, dtype)


def _joined(a: Array) -> Array:
    return a.reshape(*a.shape[:-2], a.shape[-2] * a.shape[-1])


def _others(how: Windows) -> Windows:
    return how._replace(
        lengths=how.lengths[:-1],
        window=how.window[:-1],
        stride=how.stride[:-1],
        padding=how.padding[:-1],
        dilation=how.dilation[:-1],
    )
