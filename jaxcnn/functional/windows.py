"""Sliding windows: how stride, padding and dilation select them."""

from collections.abc import Sequence

from jax import Array, lax

Padding = str | int | Sequence[tuple[int, int]]
PerAxis = int | Sequence[int]


def per_axis(function: str, option: str, value: PerAxis, axes: int) -> tuple[int, ...]:
    """An option given once or once for each spatial axis, as one positive integer per axis."""
    values = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(values) != axes:
        raise ValueError(f"{function}: {option} needs 1 or {axes} values, got {value!r}.")
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
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise ValueError(
                f'{function}: padding must be "SAME", "VALID", an int or {axes} (low, high) pairs, '
                f"got {padding!r}."
            )
        pairs = tuple((0, 0) for _ in lengths)
        if padding == "SAME":
            reach = [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]
            total = [
                max((-(-n // s) - 1) * s + r - n, 0)
                for n, s, r in zip(lengths, stride, reach, strict=True)
            ]
            pairs = tuple((t // 2, t - t // 2) for t in total)
    elif isinstance(padding, int):
        pairs = ((padding, padding),) * axes
    else:
        pairs = tuple(padding)
        if len(pairs) != axes or any(isinstance(p, int) or len(p) != 2 for p in pairs):
            raise ValueError(
                f"{function}: padding needs {axes} (low, high) pairs, got {padding!r}."
            )
    if any(low < 0 or high < 0 for low, high in pairs):
        raise ValueError(f"{function}: padding must not be negative, got {padding!r}.")
    for n, k, s, (low, high), d in zip(lengths, window, stride, pairs, dilation, strict=True):
        if output_length(n, k, s, low, high, d, ceil_mode) < 1:
            raise ValueError(
                f"{function}: a window of {k} (dilation {d}) does not fit into {n} pixels "
                f"with padding {(low, high)}."
            )
    return pairs


def taps(x: Array, axis: int, *, window: int, stride: int, dilation: int = 1) -> list[Array]:
    """The pixels that each window sees along one axis: tap i holds pixel i of every window."""
    windows = output_length(x.shape[axis], window, stride, 0, 0, dilation)
    reach = (windows - 1) * stride + 1
    starts = [i * dilation for i in range(window)]
    return [lax.slice_in_dim(x, i, i + reach, stride, axis) for i in starts]
