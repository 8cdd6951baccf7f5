"""Pooling over 1, 2 and 3 spatial axes, and max unpooling."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int, Real

from jaxcnn import lowering
from jaxcnn.functional.windows import (
    Padding,
    PerAxis,
    check_floating,
    output_length,
    pad_pairs,
    per_axis,
    taps,
    wide,
)
from jaxcnn.lowering.max_pooling import lowest


def max_pool(
    x: Real[Array, "b *space c"],
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
) -> Real[Array, "b *out c"]:
    r"""The largest pixel of every window, channel by channel.

    y[b, i, c] = max_u x[b, stride i + u - low, c], with -inf (for integers, their lowest value)
    outside x.

    Args:
        x: feature maps, channels last.
        window: pixels along each axis, one for all or one per axis.
        stride: pixels from one window to the next; the window where not given.
        padding: "SAME", "VALID", an int or (low, high) pairs as for `conv`, each less than the
            window, so that every window sees a pixel.
        ceil_mode: also take a last window that hangs over the high side, where it starts inside
            the image or its low padding.

    Returns:
        the maxima, in x's dtype; NaN where the window holds one.

    Raises:
        ValueError: ranks that do not match, a window or padding that does not fit, or an x of
            booleans or complex numbers.

    Gradient:
        At a tie all of it goes to the first maximum in window order (row by row), as in
        `lax.reduce_window` and PyTorch.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])
        >>> max_pool(x[None, :, :, None], 2)[0, :, :, 0]
        Array([[6, 8],
               [3, 4]], dtype=int32)

    Reference:
        Ranzato, Huang, Boureau & LeCun (2007), Unsupervised learning of invariant feature
        hierarchies, section 2.
    """
    _check_real("max_pool", x)
    windows, strides, _, whole = _plan("max_pool", x, window, stride, padding, ceil_mode)
    return _pool(x, lowest(x), lax.max, windows, strides, whole)


def max_pool_with_argmax(
    x: Real[Array, "b *space c"],
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
) -> tuple[Real[Array, "b *out c"], Int[Array, "b *out c"]]:
    r"""`max_pool`, and where each maximum stood.

    y[b, i, c] = x[b, indices[b, i, c], c] with the spatial axes of x as one.

    Args:
        x: feature maps, channels last.
        window: pixels along each axis.
        stride: pixels from one window to the next; the window where not given.
        padding: as for `max_pool`.
        ceil_mode: as for `max_pool`.

    Returns:
        the maxima, and as int32 their places in the flattened spatial plane of x (without its
        padding): at a tie the first in window order, and always a pixel of x, also where all
        of a window is -inf.

    Raises:
        ValueError: as `max_pool`.

    Gradient:
        As `max_pool`; the indices have none.

    Example:
        >>> import jax.numpy as jnp
        >>> y, indices = max_pool_with_argmax(jnp.array([1.0, 3.0, 2.0, 2.0]).reshape(1, 4, 1), 2)
        >>> y.ravel(), indices.ravel()
        (Array([3., 2.], dtype=float32), Array([1, 2], dtype=int32))

    Reference:
        Zeiler & Fergus (2014), Visualizing and understanding convolutional networks, section 2.1
        (the indices are its switches), https://arxiv.org/abs/1311.2901.
    """
    _check_real("max_pool_with_argmax", x)
    windows, strides, _, whole = _plan(
        "max_pool_with_argmax", x, window, stride, padding, ceil_mode
    )
    space = x.shape[1:-1]
    places = np.arange(math.prod(space), dtype=np.int32).reshape(1, *space, 1)
    planes = (_pad(x, whole, lowest(x)), _pad(jnp.asarray(places), whole, -1))
    y, indices = _fold(planes, windows, strides, _larger_with_place)
    return y, jnp.broadcast_to(indices, y.shape)


def max_unpool(
    x: Real[Array, "b *pooled c"], indices: Int[Array, "b *pooled c"], output_size: PerAxis
) -> Real[Array, "b *out c"]:
    r"""Put each maximum back where `max_pool_with_argmax` found it, and zero elsewhere.

    y[b, indices[b, i, c], c] = x[b, i, c] with the spatial axes of y as one.

    Args:
        x: one value per window.
        indices: their places in the flattened spatial plane of the output; values whose index
            is negative or beyond that plane are dropped.
        output_size: the output's pixels along each axis, one for all or one per axis.

    Returns:
        feature maps, in x's dtype. Where windows overlap and name one place twice, one of the
        two values stays; the maxima that `max_pool_with_argmax` gives are then equal.

    Raises:
        ValueError: shapes that do not match, or indices that are not integers.

    Gradient:
        Of the place to the value that stayed there; none to a value that was dropped.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([3.0, 2.0]).reshape(1, 2, 1)
        >>> max_unpool(x, jnp.array([1, 2]).reshape(1, 2, 1), 4).ravel()
        Array([0., 3., 2., 0.], dtype=float32)

    Reference:
        Zeiler & Fergus (2014), Visualizing and understanding convolutional networks, section 2.1,
        https://arxiv.org/abs/1311.2901.
    """
    _check_space("max_unpool", x)
    if indices.shape != x.shape or not jnp.issubdtype(indices.dtype, jnp.integer):
        raise ValueError(
            f"max_unpool: indices must be integers of x's shape {x.shape}, "
            f"got {indices.dtype.name} {indices.shape}."
        )
    size = per_axis("max_unpool", "output_size", output_size, x.ndim - 2)
    b, *pooled, c = x.shape
    flat = (b, math.prod(pooled), c)
    batch, channel = jnp.arange(b)[:, None, None], jnp.arange(c)
    y = jnp.zeros((b, math.prod(size), c), x.dtype)
    places = indices.reshape(flat).astype(jnp.promote_types(indices.dtype, jnp.int32))
    places = jnp.where(places < 0, y.shape[1], places)  # else -1 would be the last pixel
    y = y.at[batch, places, channel].set(x.reshape(flat), mode="drop")
    return y.reshape(b, *size, c)


def avg_pool(
    x: Float[Array, "b *space c"],
    window: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Float[Array, "b *out c"]:
    r"""The mean of every window, channel by channel.

    y[b, i, c] = sum_u x[b, stride i + u - low, c] / count[i], with zeros outside x.

    Args:
        x: feature maps, channels last.
        window: pixels along each axis, one for all or one per axis.
        stride: pixels from one window to the next; the window where not given.
        padding: as for `max_pool`.
        ceil_mode: as for `max_pool`.
        count_include_pad: count the padding too; what a window in ceil mode has beyond the
            padding never counts. Without it each window is divided by its pixels inside x.

    Returns:
        the means, in x's dtype; sums are taken in float32 at least.

    Raises:
        ValueError: ranks that do not match, a window or padding that does not fit, or an x that
            is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([1.0, 3.0, 5.0]).reshape(1, 3, 1)
        >>> avg_pool(x, 2, padding=1).ravel()
        Array([0.5, 4. ], dtype=float32)
        >>> avg_pool(x, 2, padding=1, count_include_pad=False).ravel()
        Array([1., 4.], dtype=float32)

    Reference:
        PyTorch's `AvgPool2d`,
        https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html.
    """
    check_floating("avg_pool", x)
    windows, strides, pairs, whole = _plan("avg_pool", x, window, stride, padding, ceil_mode)
    total = _pool(wide(x), 0, lax.add, windows, strides, whole)
    counts = []
    for n, out, k, s, (low, high) in zip(
        x.shape[1:-1], total.shape[1:-1], windows, strides, pairs, strict=True
    ):
        start = np.arange(out) * s - low
        end = np.minimum(start + k, n + high)
        inside = np.minimum(end, n) - np.maximum(start, 0)
        counts.append(end - start if count_include_pad else inside)
    count = functools.reduce(np.multiply.outer, counts)[..., None]
    return (total / count.astype(total.dtype)).astype(x.dtype)


def global_avg_pool(x: Float[Array, "b *space c"]) -> Float[Array, "b c"]:
    r"""The mean of every channel over the image.

    y[b, c] = mean_i x[b, i, c].

    Args:
        x: feature maps, channels last.

    Returns:
        one number per image and channel, in x's dtype; sums are taken in float32 at least.

    Raises:
        ValueError: an x without spatial axes, without pixels, or not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> global_avg_pool(jnp.array([[1.0, 3.0], [5.0, 7.0]]).reshape(1, 2, 2, 1))
        Array([[4.]], dtype=float32)

    Reference:
        Lin, Chen & Yan (2014), Network in network, section 3.2, https://arxiv.org/abs/1312.4400.
    """
    _check_space("global_avg_pool", x)
    check_floating("global_avg_pool", x)
    return wide(x).mean(axis=tuple(range(1, x.ndim - 1))).astype(x.dtype)


def adaptive_avg_pool(
    x: Float[Array, "b *space c"], output_size: PerAxis
) -> Float[Array, "b *out c"]:
    r"""Average pooling to a given size, whatever the image's.

    Along an axis of n pixels, output i of m is the mean of the pixels from floor(i n / m) up to
    and without ceil((i + 1) n / m), so windows overlap where m does not divide n.

    Args:
        x: feature maps, channels last.
        output_size: pixels along each axis, one for all or one per axis.

    Returns:
        feature maps of that size, in x's dtype; sums are taken in float32 at least.

    Raises:
        ValueError: ranks that do not match, or an x without pixels or not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> adaptive_avg_pool(jnp.array([1.0, 3.0, 5.0]).reshape(1, 3, 1), 2).ravel()
        Array([2., 4.], dtype=float32)

    Reference:
        He et al. (2014), Spatial pyramid pooling, section 2.3, https://arxiv.org/abs/1406.4729.
    """
    _check_space("adaptive_avg_pool", x)
    check_floating("adaptive_avg_pool", x)
    sizes = per_axis("adaptive_avg_pool", "output_size", output_size, x.ndim - 2)
    y = wide(x)
    for axis, m in enumerate(sizes, start=1):
        means = jnp.asarray(_averaging_matrix(x.shape[axis], m), y.dtype)
        y = jnp.tensordot(y, means, ((axis,), (1,)), precision=lax.Precision.HIGHEST)
        y = jnp.moveaxis(y, -1, axis)
    return y.astype(x.dtype)


def _pool(
    x: Array,
    start: Any,
    combine: Callable[..., Any],
    window: Sequence[int],
    stride: Sequence[int],
    pairs: Sequence[tuple[int, int]],
) -> Array:
    padding = ((0, 0), *pairs, (0, 0))
    return lowering.reduce_window(
        x, np.asarray(start, x.dtype), combine, (1, *window, 1), (1, *stride, 1), padding
    )


Planes = tuple[Array, ...]


def _fold(
    planes: Planes,
    window: Sequence[int],
    stride: Sequence[int],
    combine: Callable[[Planes, Planes], Planes],
) -> Planes:
    """Combine the pixels of every window, the last axis first, so that ties go row by row."""
    for axis in range(len(window), 0, -1):
        k, s = window[axis - 1], stride[axis - 1]
        pixels = zip(*(taps(p, axis, window=k, stride=s) for p in planes), strict=True)
        planes = functools.reduce(combine, pixels)
    return planes


def _larger_with_place(best: Planes, tap: Planes) -> Planes:
    (y, place), (t, tap_place) = best, tap
    take = (t > y) | jnp.isnan(t) | (place < 0)  # place < 0: only padding so far
    return jnp.where(take, t, y), jnp.where(take, tap_place, place)


def _pad(x: Array, pairs: Sequence[tuple[int, int]], value: Any) -> Array:
    if not any(low or high for low, high in pairs):
        return x
    return jnp.pad(x, ((0, 0), *pairs, (0, 0)), constant_values=value)


def _plan(
    function: str,
    x: Array,
    window: PerAxis,
    stride: PerAxis | None,
    padding: Padding,
    ceil_mode: bool,
) -> tuple[Sequence[int], Sequence[int], Sequence[tuple[int, int]], Sequence[tuple[int, int]]]:
    """Window, stride and padding per axis, and the padding that makes every window whole."""
    _check_space(function, x)
    axes = x.ndim - 2
    windows = per_axis(function, "window", window, axes)
    strides = windows if stride is None else per_axis(function, "stride", stride, axes)
    pairs = pad_pairs(
        function,
        padding,
        lengths=x.shape[1:-1],
        window=windows,
        stride=strides,
        dilation=(1,) * axes,
        ceil_mode=ceil_mode,
    )
    if any(max(pair) >= k for pair, k in zip(pairs, windows, strict=True)):
        raise ValueError(
            f"{function}: padding must be less than the window {windows}, got {padding!r}."
        )
    whole = []
    for n, k, s, (low, high) in zip(x.shape[1:-1], windows, strides, pairs, strict=True):
        end = (output_length(n, k, s, low, high, 1, ceil_mode) - 1) * s + k
        whole.append((low, max(end - low - n, 0)))
    return windows, strides, pairs, whole


def _averaging_matrix(n: int, m: int) -> np.ndarray:
    i, pixel = np.arange(m)[:, None], np.arange(n)
    inside = (i * n // m <= pixel) & (pixel < -(-(i + 1) * n // m))
    return inside / inside.sum(axis=1, keepdims=True)


def _check_space(function: str, x: Array) -> None:
    if not 3 <= x.ndim <= 5 or 0 in x.shape[1:-1]:
        raise ValueError(
            f"{function}: x needs axes (b, *space, c) with 1 to 3 spatial axes and a pixel on "
            f"each, got {x.shape}."
        )


def _check_real(function: str, x: Array) -> None:
    if not any(jnp.issubdtype(x.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        raise ValueError(f"{function}: x must be integers or floating point, got {x.dtype.name}.")
