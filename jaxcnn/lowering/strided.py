"""The transpose by x of a strided convolution, without the zeros that XLA puts between y's pixels.

A pixel of x meets only the taps of its phase, so that each phase of x is a convolution of y with
some of the taps, flipped: one for each phase, or all of them as channels of one.
"""

import itertools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array

from jaxcnn.lowering.windows import Windows, interleaved, meetings, padded

Conv = Callable[..., Array]


def phases(conv: Conv, y: Array, kernel: Array, *, how: Windows) -> Array:
    """x by one convolution for each phase."""
    kernel = kernel.swapaxes(-1, -2)
    parts = []
    for phase in itertools.product(*meetings(how)):
        if not all(phase):
            parts.append([])
            continue
        # Along an axis the places u go up by even steps, and the offsets of y down.
        taps = kernel[tuple(_backwards([u for u, _ in axis]) for axis in phase)]
        offsets = [[offset for _, offset in axis] for axis in phase]
        steps = [o[0] - o[1] if len(o) > 1 else 1 for o in offsets]
        padding = [
            (-o[-1], q + o[0] - n)
            for o, q, n in zip(offsets, how.quotients, y.shape[1:-1], strict=True)
        ]
        parts.append([conv(y, taps, how=_dense(y, taps, padding, steps, how))])
    return interleaved(parts, how)


def depth(conv: Conv, y: Array, kernel: Array, *, how: Windows) -> Array:
    """x by one convolution with all phases as channels (depth to space); without dilation."""
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
    x = conv(y, kernel, how=_dense(y, kernel, padding, (1,) * axes, how))
    pixels = x.shape[1:-1]
    x = x.reshape(*x.shape[:-1], *how.stride, c_in)
    x = x.transpose(0, *(1 + a + i * axes for a in range(axes) for i in (0, 1)), 2 * axes + 1)
    whole = [n * s for n, s in zip(pixels, how.stride, strict=True)]
    x = x.reshape(x.shape[0], *whole, c_in)
    cut = [
        (-low, n + low - w) for n, w, (low, _) in zip(how.lengths, whole, how.padding, strict=True)
    ]
    return padded(x, cut)


def _backwards(places: list[int]) -> slice:
    """Evenly spaced places, the last one first."""
    step = places[1] - places[0] if len(places) > 1 else 1
    return slice(places[-1], places[0] - 1 if places[0] else None, -step)


def _dense(
    y: Array,
    kernel: Array,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    how: Windows,
) -> Windows:
    return how._replace(
        lengths=y.shape[1:-1],
        window=kernel.shape[:-2],
        stride=(1,) * len(padding),
        padding=tuple(padding),
        dilation=tuple(dilation),
    )
