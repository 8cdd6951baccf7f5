"""Sliding windows: their static facts, the image under each of their places, and phases of strides.

Pixel `stride q + phase` of x meets place u of a window only where phase + low - dilation u is a
multiple of the stride, and there in output q + (phase + low - dilation u) / stride.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Place = tuple[int, ...]
SMALL = 9  # places of a window that are folded at once
FEW = 4  # phases, of which each pixel selects its own


class Windows(NamedTuple):
    """What is static where windows slide over images b *space c."""

    lengths: tuple[int, ...]  # pixels of x
    window: tuple[int, ...]  # pixels of a window, taps of a kernel
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # negative: cut
    dilation: tuple[int, ...]
    groups: int = 1  # of channels
    precision: Any = None  # of products
    form: str | None = None  # which `use` asks for
    members: int | None = None  # an axis in front of all arrays: images with a kernel of their own

    @property
    def outputs(self) -> tuple[int, ...]:
        """How many windows there are along each axis."""
        axes = zip(self.lengths, self.padding, self.window, self.dilation, self.stride, strict=True)
        return tuple(
            max((n + low + high - d * (k - 1) - 1) // s + 1, 0) for n, (low, high), k, d, s in axes
        )

    @property
    def quotients(self) -> tuple[int, ...]:
        """The pixels of one phase of x along each axis."""
        return tuple(-(-n // s) for n, s in zip(self.lengths, self.stride, strict=True))

    @property
    def places(self) -> Iterator[Place]:
        """The window's places, row by row."""
        return itertools.product(*map(range, self.window))

    def number(self, place: Sequence[int]) -> int:
        """Where a place stands among the places."""
        return sum(u * math.prod(self.window[i + 1 :]) for i, u in enumerate(place))


def reduce_by_xla(x: Array, start: Any, combine: Callable[..., Any], how: Windows) -> Array:
    """What lies in each window, reduced by XLA's `reduce_window`."""
    return lax.reduce_window(
        x,
        start,
        combine,
        (1, *how.window, 1),
        (1, *how.stride, 1),
        ((0, 0), *how.padding, (0, 0)),
        window_dilation=(1, *how.dilation, 1),
    )


def folds(how: Windows) -> Iterator[Windows]:
    """Windows to fold over one after the other: all at once if small, else axis by axis.

    Axis by axis, the last one first, takes the sum of the window's lengths, not their product.
    """
    if math.prod(how.window) <= SMALL:
        yield how
        return
    lengths = list(how.lengths)
    for axis in reversed(range(len(lengths))):

        def alone(values: Any, default: Any, axis: int = axis) -> Any:
            return tuple(v if a == axis else default for a, v in enumerate(values))

        yield how._replace(
            lengths=tuple(lengths),
            window=alone(how.window, 1),
            stride=alone(how.stride, 1),
            padding=alone(how.padding, (0, 0)),
            dilation=alone(how.dilation, 1),
        )
        lengths[axis] = how.outputs[axis]


def under(x: Array, how: Windows, fill: Any = 0) -> Iterator[Array]:
    """What lies under each place of the windows, b *out c, in the places' order."""
    x = padded(x, whole(how), fill)
    for place in how.places:
        start = [d * u for d, u in zip(how.dilation, place, strict=True)]
        yield _strided(x, start, how.outputs, how.stride)


def meeting(y: Array, how: Windows, fill: Any = 0) -> Iterator[list[tuple[int, Array]]]:
    """For each phase of x's pixels, the numbers of the places that meet it, and y there.

    The phases come row by row, as `interleaved` takes them; y there is b *quotients c.
    """
    axes = meetings(how)
    offsets = [[o for phase in axis for _, o in phase] for axis in axes]
    low = [max(0, -min(o, default=0)) for o in offsets]
    high = [
        max(0, n + max(o, default=0) - out)
        for n, o, out in zip(how.quotients, offsets, how.outputs, strict=True)
    ]
    y = padded(y, list(zip(low, high, strict=True)), fill)
    for phase in itertools.product(*axes):
        met = []
        for meets in itertools.product(*phase):
            start = [a + offset for a, (_, offset) in zip(low, meets, strict=True)]
            there = _strided(y, start, how.quotients, (1,) * len(start))
            met.append((how.number([u for u, _ in meets]), there))
        yield met


def meetings(how: Windows) -> list[list[list[tuple[int, int]]]]:
    """Along each axis, for each phase, the places that meet it and how far ahead y lies there."""
    axes = []
    for k, s, (low, _), d in zip(how.window, how.stride, how.padding, how.dilation, strict=True):
        ahead = [[(u, phase + low - d * u) for u in range(k)] for phase in range(s)]
        axes.append([[(u, a // s) for u, a in phase if a % s == 0] for phase in ahead])
    return axes


def interleaved(phases: Iterable[Iterable[Array]], how: Windows) -> Array:
    """The image b *lengths c from its phases, row by row, each the sum of some b *quotients c."""
    sums = [functools.reduce(lax.add, terms) if terms else None for terms in map(list, phases)]
    known = [number for number, total in enumerate(sums) if total is not None]
    first = sums[known[0]]
    assert first is not None  # every place meets some phase
    if len(known) == 1:
        return _spread(first, known[0], how)
    parts = [jnp.zeros_like(first) if total is None else total for total in sums]
    x = _selected(parts, how) if len(parts) <= FEW else _stacked(parts, how)
    return x[:, *(slice(n) for n in how.lengths)]


def _spread(a: Array, number: int, how: Windows) -> Array:
    """One phase, and zeros between its pixels."""
    phase = [int(p) for p in np.unravel_index(number, how.stride)]
    config = [(0, 0, 0)]
    for p, n, q, s in zip(phase, how.lengths, how.quotients, how.stride, strict=True):
        config.append((p, n - p - (q - 1) * s - 1, s - 1))
    return lax.pad(a, np.zeros((), a.dtype), [*config, (0, 0, 0)])


def _selected(parts: Sequence[Array], how: Windows) -> Array:
    """Each pixel selects its own phase: one loop, where stacking takes one for each of them."""
    b, *quotients, c = parts[0].shape
    pairs = list(zip(quotients, how.stride, strict=True))
    split = (b, *itertools.chain(*pairs), c)  # b q0 s0 q1 s1 ... c
    image_axes = (0, *range(1, len(split), 2))
    phase: Any = 0
    for axis, s in enumerate(how.stride):
        phase = phase * s + lax.broadcasted_iota(jnp.int32, split, 2 * axis + 2)
    x, *others = (lax.broadcast_in_dim(part, split, image_axes) for part in parts)
    for number, part in enumerate(others, start=1):
        x = jnp.where(phase == number, part, x)
    return x.reshape(b, *(q * s for q, s in pairs), c)


def _stacked(parts: Sequence[Array], how: Windows) -> Array:
    """The phases side by side, the last axis first."""
    for axis in reversed(range(len(how.stride))):
        s = how.stride[axis]
        stacks = [jnp.stack(parts[i : i + s], axis + 2) for i in range(0, len(parts), s)]
        parts = [
            a.reshape(*a.shape[: axis + 1], a.shape[axis + 1] * s, *a.shape[axis + 3 :])
            for a in stacks
        ]
    return parts[0]


def padded(x: Array, pairs: Sequence[tuple[int, int]], fill: Any = 0) -> Array:
    """The image with its padding (negative: cut), computed once.

    Without the barrier it is computed anew, border tests and all, in each of its many uses.
    """
    if not any(low or high for low, high in pairs):
        return x
    config = [(0, 0, 0), *((low, high, 0) for low, high in pairs), (0, 0, 0)]
    return lax.optimization_barrier(lax.pad(x, np.asarray(fill, x.dtype), config))


def unpadded(how: Windows) -> Windows:
    """The same windows over images that have their padding."""
    return how._replace(padding=((0, 0),) * len(how.window))


def backwards(how: Windows) -> Windows:
    """The windows over y whose flipped kernel gives x, where the stride is 1."""
    axes = zip(how.window, how.dilation, how.padding, strict=True)
    padding = tuple((d * (k - 1) - low, d * (k - 1) - high) for k, d, (low, high) in axes)
    return how._replace(lengths=how.outputs, padding=padding)


def wide(x: Array) -> Array:
    """Numbers narrower than float32 as float32: sums and statistics need its digits."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def whole(how: Windows) -> list[tuple[int, int]]:
    """Padding up to the last pixel of the last window, and no further."""
    axes = zip(
        how.lengths, how.outputs, how.padding, how.window, how.dilation, how.stride, strict=True
    )
    return [(low, (out - 1) * s + d * (k - 1) + 1 - n - low) for n, out, (low, _), k, d, s in axes]


def _strided(x: Array, start: Sequence[int], size: Sequence[int], stride: Sequence[int]) -> Array:
    end = [a + (n - 1) * s + 1 for a, n, s in zip(start, size, stride, strict=True)]
    return lax.slice(x, (0, *start, 0), (x.shape[0], *end, x.shape[-1]), (1, *stride, 1))
