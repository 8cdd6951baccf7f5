"""Pooling with the signature of `jax.lax`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

from jaxcnn.lowering.choice import XLA, asked
from jaxcnn.lowering.max_pooling import lowest, max_pool
from jaxcnn.lowering.sum_pooling import sum_pool
from jaxcnn.lowering.windows import Windows


def reduce_window(
    operand: Array,
    init_value: Any,
    computation: Callable[..., Any],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Array:
    """`jax.lax.reduce_window`, without its slow cases on a CPU.

    Its own are maxima (`lax.max` from the lowest value) and sums (`lax.add` from 0) of windows over
    the spatial axes of images b *space c; anything else goes to `jax.lax`, and so does everything
    under `use("xla")`.
    """
    ones = (1,) * operand.ndim
    strides = tuple(window_strides or ones)
    dilation = tuple(window_dilation or ones)
    pool = _pool(operand, init_value, computation, dilation)
    outside = [values[i] for values in (window_dimensions, strides, dilation) for i in (0, -1)]
    if (
        asked() == XLA
        or pool is None
        or operand.ndim < 3
        or set(outside) != {1}
        or set(base_dilation or ones) != {1}
        or not (isinstance(padding, str) or tuple(padding[0]) == tuple(padding[-1]) == (0, 0))
    ):
        return lax.reduce_window(
            operand,
            init_value,
            computation,
            window_dimensions,
            strides,
            padding,
            base_dilation,
            window_dilation,
        )
    lengths, window = operand.shape[1:-1], tuple(window_dimensions[1:-1])
    strides, dilation = strides[1:-1], dilation[1:-1]
    if isinstance(padding, str):
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]
        pairs = lax.padtype_to_pads(lengths, reach, strides, padding)
    else:
        pairs = padding[1:-1]
    pairs = tuple((int(low), int(high)) for low, high in pairs)
    return pool(operand, how=Windows(lengths, window, strides, pairs, dilation, form=asked()))


def _pool(
    x: Array, start: Any, computation: Callable[..., Any], dilation: Sequence[int]
) -> Callable[..., Array] | None:
    """What the reduction is among ours, if anything."""
    if isinstance(start, Tracer) or np.ndim(start):
        return None
    real = jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)
    if computation is lax.max and real and start == lowest(x) and set(dilation) == {1}:
        return max_pool
    if computation is lax.add and jnp.issubdtype(x.dtype, jnp.floating) and start == 0:
        return sum_pool
    return None
