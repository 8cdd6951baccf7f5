"""What the layers share: sliding windows and the options that select them, and dtypes."""

import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxcnn.lowering.windows import wide as wide  # the layers' as well

# SupportsIndex: NumPy's integers are as good as Python's.
Padding = str | SupportsIndex | Sequence[tuple[SupportsIndex, SupportsIndex]]
PerAxis = SupportsIndex | Sequence[SupportsIndex]


def check_floating(function: str, x: Array) -> None:
    """Raises unless x is floating point."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{function}: x must be floating point, got {x.dtype.name}.")


def check_dtypes(function: str, x: Array, *parameters: Array | None) -> None:
    """Raises unless x and the parameters that are given have one dtype."""
    dtypes = [a.dtype.name for a in (x, *parameters) if a is not None]
    if len(set(dtypes)) > 1:
        raise ValueError(
            f"{function}: x and its parameters need one dtype, got {', '.join(dtypes)}."
        )


def integers(function: str, option: str, value: PerAxis, axes: int) -> tuple[int, ...]:
    """An option given once or once for each spatial axis, as one Python integer per axis."""
    try:
        given = value if isinstance(value, Sequence | np.ndarray) else (value,) * axes
        values = tuple(operator.index(v) for v in given)
    except TypeError as error:
        raise ValueError(
            f"{function}: {option} must be an integer or one per axis, got {value!r}."
        ) from error
    if len(values) != axes:
        raise ValueError(f"{function}: {option} needs 1 or {axes} values, got {value!r}.")
    return values


def per_axis(function: str, option: str, value: PerAxis, axes: int) -> tuple[int, ...]:
    """`integers`, each at least 1."""
    values = integers(function, option, value, axes)
    if any(v < 1 for v in values):
        raise ValueError(f"{function}: {option} must be at least 1, got {value!r}.")
    return values


def output_length(
    length: int,
    window: int,
    stride: int,
    low: int,
    high: int,
    dilation: int,
    ceil_mode: bool = False,
) -> int:
    """floor((length + low + high - dilation (window - 1) - 1) / stride) + 1: how many fit.

    In ceil mode the last window may hang over the high side, but it starts inside the image or
    its low padding, as in PyTorch.
    """
    spare = length + low + high - dilation * (window - 1) - 1
    if not ceil_mode:
        return spare // stride + 1
    windows = -(-spare // stride) + 1
    return windows - 1 if (windows - 1) * stride >= length + low else windows


def pad_pairs(
    function: str,
    padding: Padding,
    *,
    lengths: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> tuple[tuple[int, int], ...]:
    """Padding as one (low, high) pair for each spatial axis; raises where no window fits.

    "SAME" gives ceil(length / stride) windows, the odd pixel going to the high side.
    """
    axes = len(lengths)
    if isinstance(padding, str) and padding == "VALID":
        pairs = ((0, 0),) * axes
    elif isinstance(padding, str) and padding == "SAME":
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]
        total = [
            max((-(-n // s) - 1) * s + r - n, 0)
            for n, s, r in zip(lengths, stride, reach, strict=True)
        ]
        pairs = tuple((t // 2, t - t // 2) for t in total)
    else:
        pairs = _explicit_pairs(function, padding, axes)
    if any(low < 0 or high < 0 for low, high in pairs):
        raise ValueError(f"{function}: padding must not be negative, got {padding!r}.")
    for n, k, s, (low, high), d in zip(lengths, window, stride, pairs, dilation, strict=True):
        if output_length(n, k, s, low, high, d, ceil_mode) < 1:
            raise ValueError(
                f"{function}: a window of {k} (dilation {d}) does not fit into {n} pixels "
                f"with padding {(low, high)}."
            )
    return pairs


def _explicit_pairs(function: str, padding: Any, axes: int) -> tuple[tuple[int, int], ...]:
    try:
        if isinstance(padding, Sequence | np.ndarray):
            pairs = tuple((operator.index(low), operator.index(high)) for low, high in padding)
        else:
            both = operator.index(padding)
            pairs = ((both, both),) * axes
        if len(pairs) != axes:
            raise ValueError(f"{len(pairs)} pairs for {axes} axes")
    except (TypeError, ValueError) as error:  # no pairs, or not of integers
        raise ValueError(
            f'{function}: padding must be "SAME", "VALID", an integer or {axes} (low, high) '
            f"pairs of integers, got {padding!r}."
        ) from error
    return pairs


def taps(x: Array, axis: int, *, window: int, stride: int, dilation: int = 1) -> list[Array]:
    """The pixels that each window sees along one axis: tap i holds pixel i of every window."""
    windows = output_length(x.shape[axis], window, stride, 0, 0, dilation)
    reach = (windows - 1) * stride + 1
    starts = [i * dilation for i in range(window)]
    return [lax.slice_in_dim(x, i, i + reach, stride, axis) for i in starts]


def check_axes(function: str, x: Array, kernel: Array) -> None:
    """Raise unless x has 1 to 3 spatial axes, and kernel as many."""
    if not 3 <= x.ndim <= 5:
        raise ValueError(
            f"{function}: x needs axes (b, *space, c) with 1 to 3 spatial axes, got {x.shape}."
        )
    if kernel.ndim != x.ndim:
        raise ValueError(
            f"{function}: kernel needs {x.ndim - 2} spatial axes like x, "
            f"got kernel {kernel.shape} and x {x.shape}."
        )
