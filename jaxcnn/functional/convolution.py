"""Convolution (cross-correlation, as the field writes it) in 1, 2 and 3 spatial dimensions."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxcnn import lowering
from jaxcnn.functional.windows import (
    Padding,
    PerAxis,
    check_axes,
    check_dtypes,
    integers,
    pad_pairs,
    per_axis,
    taps,
)


def conv(
    x: Float[Array, "b *space c_in"],
    kernel: Float[Array, "*window c_in_per_group c_out"],
    bias: Float[Array, " c_out"] | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = "SAME",
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Float[Array, "b *out c_out"]:
    r"""Slide a kernel over images: every output pixel is a dot product with one window.

    y[b, i, o] = bias[o] + sum_{u, c} x[b, stride i + dilation u - low, c] kernel[u, c, o],
    with i and u running over 1, 2 or 3 spatial axes and zeros outside x. Each output axis has
    floor((w + low + high - dilation (k - 1) - 1) / stride) + 1 pixels.

    Args:
        x: images, channels last.
        kernel: c_in_per_group is c_in / groups; PyTorch's weight, its axes transposed by
            (2, 3, 1, 0), is this.
        bias: one number per output channel.
        stride: pixels from one window to the next, for all axes or one per axis.
        padding: "SAME" (ceil(w / stride) outputs), "VALID" (none), an int (that many zeros on
            both sides of each axis, as in PyTorch), or one (low, high) pair per axis.
        dilation: pixels between neighbouring taps of the kernel.
        groups: channels are cut into this many groups, each convolved on its own; output
            channel o belongs to group o // (c_out / groups).

    Returns:
        feature maps, in x's dtype.

    Raises:
        ValueError: ranks, channels, groups or dtypes that do not match, or a window that
            does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1)
        >>> kernel = jnp.array([-1.0, 1.0]).reshape(2, 1, 1)
        >>> conv(x, kernel, padding="VALID").ravel()
        Array([1., 1., 1.], dtype=float32)

    Reference:
        Dumoulin & Visin (2016), A guide to convolution arithmetic for deep learning,
        sections 2 and 4, https://arxiv.org/abs/1603.07285.
    """
    check_axes("conv", x, kernel)
    _check_parameters("conv", x, kernel, bias, c_out=kernel.shape[-1])
    _check_groups("conv", "c_in", x.shape[-1], groups)
    _check_groups("conv", "c_out", kernel.shape[-1], groups)
    if kernel.shape[-2] * groups != x.shape[-1]:
        raise ValueError(
            f"conv: kernel expects {kernel.shape[-2]} input channels (c_in // groups), "
            f"got x with {x.shape[-1]} in {groups} group(s)."
        )
    axes = x.ndim - 2
    strides = per_axis("conv", "stride", stride, axes)
    dilations = per_axis("conv", "dilation", dilation, axes)
    pairs = pad_pairs(
        "conv",
        padding,
        lengths=x.shape[1:-1],
        window=kernel.shape[:-2],
        stride=strides,
        dilation=dilations,
    )
    y = lowering.conv_general_dilated(
        x,
        kernel,
        window_strides=strides,
        padding=pairs,
        rhs_dilation=dilations,
        dimension_numbers=lowering.channels_last(axes),
        feature_group_count=groups,
    )
    return y if bias is None else y + bias


def conv_transpose(
    x: Float[Array, "b *space c_in"],
    kernel: Float[Array, "*window c_out_per_group c_in"],
    bias: Float[Array, " c_out"] | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Float[Array, "b *out c_out"]:
    r"""The transpose of `conv` with the same kernel: every input pixel adds a scaled kernel.

    y[b, j, o] = bias[o] + sum of x[b, i, c] kernel[u, o, c] over stride i + dilation u - low = j,
    so that <conv(a, kernel), x> = <a, conv_transpose(x, kernel)>. Each output axis has
    (w - 1) stride - low - high + dilation (k - 1) + output_padding + 1 pixels.

    Args:
        x: feature maps, channels last.
        kernel: the kernel of the convolution it transposes, from c_out to c_in channels:
            (*window, c_out / groups, c_in). PyTorch's `ConvTranspose` weight
            (c_in, c_out / groups, *window) becomes this by the same transposition as `Conv`'s,
            and nothing is flipped.
        bias: one number per output channel.
        stride: output pixels from one input pixel to the next.
        padding: what the transposed convolution padded, and this one cuts: "SAME" (w * stride
            outputs), "VALID" (nothing cut), an int or one (low, high) pair per axis.
        output_padding: extra pixels on the high side, less than the stride or the dilation.
        dilation: pixels between neighbouring taps of the kernel.
        groups: channels are cut into this many groups, each transposed on its own.

    Returns:
        images, in x's dtype.

    Raises:
        ValueError: ranks, channels, groups or dtypes that do not match, or padding that cuts
            everything.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([1.0, 2.0]).reshape(1, 2, 1)
        >>> kernel = jnp.array([1.0, 10.0]).reshape(2, 1, 1)
        >>> conv_transpose(x, kernel, stride=2).ravel()
        Array([ 1., 10.,  2., 20.], dtype=float32)

    Reference:
        Zeiler et al. (2010), Deconvolutional networks; PyTorch's `ConvTranspose2d`,
        https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html.
    """
    check_axes("conv_transpose", x, kernel)
    _check_parameters("conv_transpose", x, kernel, bias, c_out=kernel.shape[-2] * groups)
    _check_groups("conv_transpose", "c_in", x.shape[-1], groups)
    if kernel.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"conv_transpose: kernel expects {kernel.shape[-1]} input channels (its last axis), "
            f"got x with {x.shape[-1]}."
        )
    axes = x.ndim - 2
    window = kernel.shape[:-2]
    strides = per_axis("conv_transpose", "stride", stride, axes)
    dilations = per_axis("conv_transpose", "dilation", dilation, axes)
    extra = _output_padding(output_padding, strides, dilations)
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, window, strict=True)]
    if (
        isinstance(padding, str) and padding == "SAME"
    ):  # the convolution with these options takes w * stride pixels to w
        cut = [max(r - s, 0) for r, s in zip(reach, strides, strict=True)]
        extra = tuple(e + max(s - r, 0) for e, s, r in zip(extra, strides, reach, strict=True))
        pairs: Padding = [(c // 2, c - c // 2) for c in cut]
    else:
        pairs = padding
    full = tuple((n - 1) * s + r for n, s, r in zip(x.shape[1:-1], strides, reach, strict=True))
    cuts = pad_pairs(
        "conv_transpose",
        pairs,
        lengths=full,
        window=(1,) * axes,
        stride=strides,
        dilation=dilations,
    )
    if any(n - sum(cut) + e < 1 for n, cut, e in zip(full, cuts, extra, strict=True)):
        raise ValueError(f"conv_transpose: padding {padding!r} cuts away all of the {full} pixels.")
    y = lowering.conv_transpose(
        x,
        kernel,
        lengths=[n - sum(cut) + e for n, cut, e in zip(full, cuts, extra, strict=True)],
        stride=strides,
        padding=[(low, high - e) for (low, high), e in zip(cuts, extra, strict=True)],
        dilation=dilations,
        groups=groups,
    )
    return y if bias is None else y + bias


def locally_connected(
    x: Float[Array, "b *space c_in"],
    kernel: Float[Array, "*out_and_window c_in c_out"],
    bias: Float[Array, "*out c_out"] | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = "VALID",
) -> Float[Array, "b *out c_out"]:
    r"""A convolution whose weights are not shared: every output pixel has a kernel of its own.

    y[b, i, o] = bias[i, o] + sum_{u, c} x[b, stride i + u - low, c] kernel[i, u, c, o].

    Args:
        x: images, channels last.
        kernel: (*out, *window, c_in, c_out), the output's spatial axes first.
        bias: one number per output pixel and channel.
        stride: pixels from one window to the next.
        padding: as for `conv`.

    Returns:
        feature maps, in x's dtype.

    Raises:
        ValueError: ranks, channels or dtypes that do not match, or a kernel that is not made for
            the output's size.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
        >>> kernel = jnp.array([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1)
        >>> locally_connected(x, kernel).ravel()
        Array([  1.,  20., 300.], dtype=float32)

    Reference:
        LeCun (1989), Generalization and network design strategies, section 5.2 (net 3).
    """
    axes = x.ndim - 2
    if axes < 1 or kernel.ndim != 2 * axes + 2:
        raise ValueError(
            "locally_connected: kernel needs axes (*out, *window, c_in, c_out) for x with axes "
            f"(b, *space, c_in), got kernel {kernel.shape} and x {x.shape}."
        )
    check_dtypes("locally_connected", x, kernel, bias)
    out, window = kernel.shape[:axes], kernel.shape[axes:-2]
    if kernel.shape[-2] != x.shape[-1]:
        raise ValueError(
            f"locally_connected: kernel expects {kernel.shape[-2]} input channels, "
            f"got x with {x.shape[-1]}."
        )
    strides = per_axis("locally_connected", "stride", stride, axes)
    pairs = pad_pairs(
        "locally_connected",
        padding,
        lengths=x.shape[1:-1],
        window=window,
        stride=strides,
        dilation=(1,) * axes,
    )
    patches = jnp.pad(x, ((0, 0), *pairs, (0, 0)))
    for axis, (k, s) in enumerate(zip(window, strides, strict=True), start=1):
        patches = jnp.stack(taps(patches, axis, window=k, stride=s), axis=-2 - (axis - 1))
    # patches: b *out *window_reversed c_in
    if patches.shape[1 : axes + 1] != out:
        raise ValueError(
            f"locally_connected: kernel is made for an output of {out} pixels, "
            f"x gives {patches.shape[1 : axes + 1]}."
        )
    if bias is not None and bias.shape != (*out, kernel.shape[-1]):
        raise ValueError(
            f"locally_connected: bias needs shape {(*out, kernel.shape[-1])}, got {bias.shape}."
        )
    letters = "ijkuvw"
    i, u = letters[:axes], letters[3 : 3 + axes]
    y = jnp.einsum(f"b{i}{u[::-1]}c,{i}{u}co->b{i}o", patches, kernel)
    return y if bias is None else y + bias


def _check_parameters(
    function: str, x: Array, kernel: Array, bias: Array | None, *, c_out: int
) -> None:
    if bias is not None and bias.shape != (c_out,):
        raise ValueError(f"{function}: bias needs shape ({c_out},), got {bias.shape}.")
    check_dtypes(function, x, kernel, bias)


def _check_groups(function: str, what: str, channels: int, groups: int) -> None:
    if groups < 1 or channels % groups:
        raise ValueError(f"{function}: groups must divide {what} = {channels}, got {groups}.")


def _output_padding(
    value: PerAxis, stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    values = integers("conv_transpose", "output_padding", value, len(stride))
    limits = tuple(max(s, d) for s, d in zip(stride, dilation, strict=True))
    if any(not 0 <= v < most for v, most in zip(values, limits, strict=True)):
        raise ValueError(
            "conv_transpose: output_padding must be less than the stride or the dilation "
            f"{limits} on each axis, got {value!r}."
        )
    return values
