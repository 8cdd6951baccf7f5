"""Convolution (cross-correlation, as the field writes it) in 1, 2 and 3 spatial dimensions."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from jaxcnn.functional.windows import (
    Padding,
    PerAxis,
    check_dtypes,
    integers,
    pad_pairs,
    per_axis,
    taps,
    wide,
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
    _check_axes("conv", x, kernel)
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
    y = lax.conv_general_dilated(
        x,
        kernel,
        window_strides=strides,
        padding=pairs,
        rhs_dilation=dilations,
        dimension_numbers=_layout(axes),
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
    _check_axes("conv_transpose", x, kernel)
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
    y = lax.conv_general_dilated(
        x,
        _transposed_kernel(kernel, groups),
        window_strides=(1,) * axes,
        padding=[
            (r - 1 - low, r - 1 - high + e)
            for r, (low, high), e in zip(reach, cuts, extra, strict=True)
        ],
        lhs_dilation=strides,
        rhs_dilation=dilations,
        dimension_numbers=_layout(axes),
        feature_group_count=groups,
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


def normalized_cross_correlation(
    x: Float[Array, "b *space c"], template: Float[Array, "*window c"]
) -> Float[Array, "b *out"]:
    r"""How well each window of an image matches a template, up to brightness and contrast.

    r = <p - mean(p), t - mean(t)> / (||p - mean(p)|| ||t - mean(t)||) for every window p of
    x, taken over its pixels and channels: 1 is a perfect match, -1 the negative.

    Args:
        x: images, channels last.
        template: the pattern sought, no larger than the images.

    Returns:
        correlations in [-1, 1], one per place where the template lies inside the image, in x's
        dtype, computed in float32 at least; 0 where the window (or the template) is flat: where
        its standard deviation is at most 1.2e-7 times its mean (2.2e-16 times in float64), which
        is rounding.

    Raises:
        ValueError: ranks, channels or dtypes that do not match, or a template that does not fit.

    Gradient:
        0 at flat windows, where the formula has none.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([0.0, 1.0, 5.0, 7.0, 5.0, 5.0, 5.0]).reshape(1, 7, 1)
        >>> r = normalized_cross_correlation(x, jnp.array([1.0, 2.0]).reshape(2, 1))
        >>> [round(float(v), 3) for v in r[0]]
        [1.0, 1.0, 1.0, -1.0, 0.0, 0.0]

    Reference:
        Lewis (1995), Fast normalized cross-correlation, equation 2.
    """
    function = "normalized_cross_correlation"
    _check_axes(function, x, template[..., None])
    check_dtypes(function, x, template)
    if template.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"{function}: template has {template.shape[-1]} channels, x has {x.shape[-1]}."
        )
    *window, _ = template.shape
    ones = (1,) * len(window)
    pad_pairs(function, "VALID", lengths=x.shape[1:-1], window=window, stride=ones, dilation=ones)
    pixels, pattern = wide(x), wide(template)
    level = _window_means(pattern[None], window)
    pattern = pattern - level
    pattern = pattern - pattern.mean()  # what rounding left: a large level in x multiplies it
    mean = _window_means(pixels, window)
    score, energy = _score_and_energy(pixels, pattern, mean)
    contrast = jnp.sum(pattern**2)
    # Pixels this near to their mean differ from it by its own rounding.
    step = jnp.finfo(pixels.dtype).eps
    flat = (energy <= template.size * (step * mean) ** 2) | (
        contrast <= template.size * (step * level) ** 2
    )
    r = score * lax.rsqrt(jnp.where(flat, 1, energy)) * lax.rsqrt(jnp.where(flat, 1, contrast))
    return jnp.where(flat, 0, jnp.clip(r, -1, 1)).astype(x.dtype)


def _window_means(x: Array, window: Sequence[int]) -> Array:
    """The mean of every window over its pixels and channels, one axis at a time.

    Each mean is taken of differences from its first term, so that it is rounded only once and
    that of equal numbers is exact.
    """
    first = x[..., 0]
    mean = first + jnp.mean(x - first[..., None], axis=-1)
    for axis, k in enumerate(window, start=1):
        first, *rest = taps(mean, axis, window=k, stride=1)
        mean = first + sum(tap - first for tap in rest) / k
    return mean


def _score_and_energy(x: Array, pattern: Array, mean: Array) -> tuple[Array, Array]:
    """sum (p - mean) pattern and sum (p - mean)^2 over every window p.

    Each window's own mean comes off first: in sum p^2 - n mean^2 a level far above the contrast
    would cancel, and convolutions may round to fewer digits. Tap by tap in a loop, so that memory
    and program do not grow with the window, in the backward pass either.
    """
    # One channel at a time: with a sum over 3 of them the loop took 40 times as long on a CPU.
    planes = jnp.moveaxis(x, -1, 0)
    offsets = jnp.asarray([(c, 0, *u) for *u, c in np.ndindex(*pattern.shape)], jnp.int32)

    @jax.checkpoint
    def add_tap(sums: tuple[Array, ...], tap: tuple[Array, Array]) -> tuple[Any, None]:
        offset, weight = tap
        deviation = lax.dynamic_slice(planes, offset, (1, *mean.shape))[0] - mean
        score, energy, rest = sums
        return (score + weight * deviation, energy + deviation**2, rest + deviation), None

    zeros = (jnp.zeros_like(mean),) * 3
    (score, energy, rest), _ = lax.scan(add_tap, zeros, (offsets, pattern.ravel()))
    # The mean's own rounding shifted every deviation by rest / n (Chan, Golub & LeVeque, 1983).
    return score, energy - rest**2 / pattern.size


def _layout(axes: int) -> lax.ConvDimensionNumbers:
    last = axes + 1
    space = tuple(range(1, last))
    image = (0, last, *space)  # batch, channels, then space
    return lax.ConvDimensionNumbers(image, (last, axes, *range(axes)), image)


def _check_axes(function: str, x: Array, kernel: Array) -> None:
    if not 3 <= x.ndim <= 5:
        raise ValueError(
            f"{function}: x needs axes (b, *space, c) with 1 to 3 spatial axes, got {x.shape}."
        )
    if kernel.ndim != x.ndim:
        raise ValueError(
            f"{function}: kernel needs {x.ndim - 2} spatial axes like x, "
            f"got kernel {kernel.shape} and x {x.shape}."
        )


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


def _transposed_kernel(kernel: Array, groups: int) -> Array:
    """(*window, c_out / groups, c_in) -> flipped (*window, c_in / groups, c_out)."""
    *window, c_out_per_group, c_in = kernel.shape
    axes = len(window)
    grouped = kernel.reshape(*window, c_out_per_group, groups, c_in // groups)
    swapped = jnp.moveaxis(grouped, -1, axes)  # *window, c_in / groups, c_out / groups, groups
    swapped = jnp.swapaxes(swapped, -1, -2)
    merged = swapped.reshape(*window, c_in // groups, groups * c_out_per_group)
    return jnp.flip(merged, axis=tuple(range(axes)))
