"""Convolution with the signature of `jax.lax`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxcnn.lowering.bilinear import by_x, channels_last, conv, xla_by_x
from jaxcnn.lowering.choice import XLA, asked
from jaxcnn.lowering.windows import Windows

Pairs = Sequence[tuple[int, int]]


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """`jax.lax.conv_general_dilated`, without its slow cases on a CPU.

    Takes the same arguments and gives the same results, so that it can be handed to
    `flax.linen.Conv(conv_general_dilated=...)`. Its own are convolutions of floating-point images
    b *space c with kernels *window c_in c_out, and transposed ones (`lhs_dilation` with strides of
    1); anything else goes to `jax.lax`, and so does everything under `use("xla")`.
    """
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    axes = lhs.ndim - 2
    ones = (1,) * axes
    stride, dilation = tuple(window_strides), tuple(rhs_dilation or ones)
    spread = tuple(lhs_dilation or ones)
    if (
        asked() == XLA
        or numbers != channels_last(axes)
        or axes < 1
        or batch_group_count != 1
        or lhs.dtype != rhs.dtype
        or not jnp.issubdtype(lhs.dtype, jnp.floating)
        or preferred_element_type not in (None, lhs.dtype)
        or (spread != ones and (stride != ones or isinstance(padding, str)))
    ):
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            batch_group_count,
            precision,
            preferred_element_type,
        )
    window, lengths = rhs.shape[:axes], lhs.shape[1:-1]
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lengths, reach, stride, padding)
    if spread == ones:
        how = _windows(lengths, window, stride, padding, dilation, feature_group_count, precision)
        return conv(lhs, rhs, how=how)
    lengths = [
        (n - 1) * s + 1 + low + high - (r - 1)
        for n, s, (low, high), r in zip(lengths, spread, padding, reach, strict=True)
    ]
    cuts = [(r - 1 - low, r - 1 - high) for (low, high), r in zip(padding, reach, strict=True)]
    kernel = _turned(rhs, feature_group_count)
    return conv_transpose(
        lhs, kernel, lengths, spread, cuts, dilation, feature_group_count, precision
    )


def conv_transpose(
    y: Array,
    kernel: Array,
    lengths: Sequence[int],
    stride: Sequence[int],
    padding: Pairs,
    dilation: Sequence[int],
    groups: int = 1,
    precision: Any = None,
) -> Array:
    """The transpose by x of the convolution of x, b *lengths c, with the same kernel and options.

    Args:
        y: b *out c_out, of the size that the convolution gives.
        kernel: *window c_in/groups c_out.
        lengths: pixels of x, which is returned.
        stride, padding, dilation, groups, precision: of the convolution.
    """
    window = kernel.shape[: len(stride)]
    how = _windows(lengths, window, stride, padding, dilation, groups, precision)
    return (xla_by_x if how.form == XLA else by_x)(y, kernel, how=how)


def _windows(
    lengths: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    padding: Any,
    dilation: Sequence[int],
    groups: int,
    precision: Any,
) -> Windows:
    pairs = tuple((int(low), int(high)) for low, high in padding)
    if precision is None:  # now, and not when the program is lowered
        config: Any = jax.config
        precision = config.jax_default_matmul_precision
    sizes = (tuple(lengths), tuple(window), tuple(stride), pairs, tuple(dilation))
    return Windows(*sizes, groups, precision, asked())


def _turned(kernel: Array, groups: int) -> Array:
    """*window c_in/groups c_out -> backwards, *window c_out/groups c_in; undoes itself."""
    *window, c_in, c_out = kernel.shape
    axes = len(window)
    cut = kernel.reshape(*window, c_in, groups, c_out // groups)
    turned = jnp.moveaxis(cut, -1, axes).swapaxes(-1, -2)  # *window c_out/groups groups c_in
    return jnp.flip(turned.reshape(*window, c_out // groups, -1), tuple(range(axes)))
