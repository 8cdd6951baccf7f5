"""The transpose by x of a strided convolution, without the zeros that XLA puts between y's pixels.

A pixel of x meets only the taps of its phase, so that each phase of x is a convolution of y with
some of the taps, flipped; all of them are the channels of one convolution.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from jaxcnn.lowering.windows import Windows, padded

Conv = Callable[..., Array]


def by_x(conv: Conv, y: Array, kernel: Array, *, how: Windows) -> Array:
    """x, its pixels `stride` apart first as channels (depth to space); without dilation."""
    axes = len(how.window)
    quotient = [-(-k // s) for k, s in zip(how.window, how.stride, strict=True)]
    room = [(0, q * s - k) for k, q, s in zip(how.window, quotient, how.stride, strict=True)]
    kernel = jnp.pad(kernel, (*room, (0, 0), (0, 0)))
    split = [n for pair in zip(quotient, how.stride, strict=True) for n in pair]
    kernel = kernel.reshape(*split, *kernel.shape[-2:])
    # *quotient, c_out, *stride, c_in: the taps of each phase, backwards
    kernel = kernel.transpose(
        *range(0, 2 * axes, 2), 2 * axes + 1, *range(1, 2 * axes, 2), 2 * axes
    )
    kernel = jnp.flip(kernel, tuple(range(axes)))
    c_in = kernel.shape[-1]
    kernel = kernel.reshape(*quotient, kernel.shape[axes], -1)
    padding = [(q - 1, q - 1) for q in quotient]
    dense = how._replace(
        lengths=y.shape[1:-1], window=tuple(quotient), stride=(1,) * axes, padding=tuple(padding)
    )
    x = conv(y, kernel, how=dense)
    pixels = x.shape[1:-1]
    x = x.reshape(*x.shape[:-1], *how.stride, c_in)
    x = x.transpose(0, *(1 + a + i * axes for a in range(axes) for i in (0, 1)), 2 * axes + 1)
    whole = [n * s for n, s in zip(pixels, how.stride, strict=True)]
    x = x.reshape(x.shape[0], *whole, c_in)
    cut = [
        (-low, n + low - w) for n, w, (low, _) in zip(how.lengths, whole, how.padding, strict=True)
    ]
    return padded(x, cut)
