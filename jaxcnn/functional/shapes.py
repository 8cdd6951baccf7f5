"""What shapes tell before anything runs: output sizes, receptive fields, parameters, costs."""

import math
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex

import jax

from jaxcnn.autodiff.costs.flops import count_products
from jaxcnn.functional.windows import (
    Padding,
    PerAxis,
    integers,
    output_length,
    pad_pairs,
    per_axis,
)


def output_size(
    size: SupportsIndex,
    window: SupportsIndex,
    *,
    stride: SupportsIndex = 1,
    padding: Padding = 0,
    dilation: SupportsIndex = 1,
    ceil_mode: bool = False,
) -> int:
    r"""How many windows fit along one axis: the output's pixels of a convolution or a pooling.

    floor((size + low + high - dilation (window - 1) - 1) / stride) + 1.

    Args:
        size: pixels of the input.
        window: taps of the window.
        stride: pixels from one window to the next.
        padding: "SAME", "VALID", an int (that many on both sides) or one (low, high) pair in a
            list.
        dilation: pixels between neighbouring taps.
        ceil_mode: round up instead, but let no window start beyond the image and its low padding.

    Returns:
        pixels.

    Raises:
        ValueError: an option below 1, negative padding, or a window that does not fit.

    Example:
        >>> output_size(32, 5)
        28
        >>> output_size(224, 11, stride=4, padding=2)
        55

    Reference:
        Dumoulin & Visin (2016), A guide to convolution arithmetic for deep learning, section 2,
        https://arxiv.org/abs/1603.07285.
    """
    (n,) = integers("output_size", "size", size, axes=1)
    (k,) = per_axis("output_size", "window", window, axes=1)
    (s,) = per_axis("output_size", "stride", stride, axes=1)
    (d,) = per_axis("output_size", "dilation", dilation, axes=1)
    ((low, high),) = pad_pairs(
        "output_size",
        padding,
        lengths=(n,),
        window=(k,),
        stride=(s,),
        dilation=(d,),
        ceil_mode=ceil_mode,
    )
    return output_length(n, k, s, low, high, d, ceil_mode)


def receptive_field(layers: Sequence[Sequence[PerAxis]]) -> int | tuple[int, ...]:
    r"""How many pixels of the input one pixel of the output sees.

    1 + sum_l dilation_l (window_l - 1) prod_{i < l} stride_i.

    Args:
        layers: (window, stride) or (window, stride, dilation) of each convolution or pooling in
            turn, the one next to the input first; numbers, or tuples with one per axis.

    Returns:
        pixels; a tuple with one number per axis where any layer is given per axis.

    Raises:
        ValueError: a layer with fewer or more entries, values below 1, or tuples of unlike length.

    Example:
        >>> receptive_field([(3, 1), (3, 1), (3, 1)])  # as far as one 7x7 sees
        7
        >>> receptive_field([(3, 2), ((3, 5), 1, 2)])
        (11, 19)

    Reference:
        Araujo, Norris & Sim (2019), Computing receptive fields of convolutional neural networks,
        equation 2, https://distill.pub/2019/computing-receptive-fields/.
    """
    tuples = [value for layer in layers for value in layer if isinstance(value, Sequence)]
    axes = len(tuples[0]) if tuples else 1
    field, jump = [1] * axes, [1] * axes  # jump: input pixels from one pixel here to the next
    for layer in layers:
        if len(layer) not in (2, 3):
            raise ValueError(
                "receptive_field: a layer is (window, stride) or (window, stride, dilation), "
                f"got {layer!r}."
            )
        window, stride, dilation = (*layer, 1)[:3]
        k = per_axis("receptive_field", "window", window, axes)
        s = per_axis("receptive_field", "stride", stride, axes)
        d = per_axis("receptive_field", "dilation", dilation, axes)
        field = [field[a] + d[a] * (k[a] - 1) * jump[a] for a in range(axes)]
        jump = [jump[a] * s[a] for a in range(axes)]
    return tuple(field) if tuples else field[0]


def count_parameters(params: Any) -> int:
    """How many numbers a pytree of arrays holds.

    Args:
        params: arrays, or `jax.ShapeDtypeStruct`s as `jax.eval_shape` gives them.

    Returns:
        the sum of the sizes.

    Raises:
        ValueError: a leaf without a shape.

    Example:
        >>> import jax.numpy as jnp
        >>> count_parameters({"kernel": jnp.zeros((5, 5, 3, 1)), "bias": jnp.zeros(1)})
        76

    """
    leaves = jax.tree.leaves(params)
    for leaf in leaves:
        if not hasattr(leaf, "shape"):
            raise ValueError(
                "count_parameters: leaves need to be arrays or ShapeDtypeStructs, "
                f"got {type(leaf).__name__}."
            )
    return sum(math.prod(leaf.shape) for leaf in leaves)


def multiply_adds(f: Callable[..., Any], *args: Any) -> int:
    r"""How many multiply-adds the convolutions and dot products of f(*args) take.

    A dot product of length n takes n. A convolution takes, along each axis, one per output pixel
    and tap of the kernel, those that see padding included: in all
    b prod(out) c_out prod(window) c_in / groups. A transposed convolution with a stride above 1
    takes what the convolution that it transposes takes, one per input pixel and tap: the zeros
    between its pixels count nothing, products that fall off its edges do.

    Nothing is computed: f is traced, through jit, remat, custom derivatives and `scan` (times its
    length); of the branches of a `cond` the dearest counts. Element-wise work, sums, FFTs and
    linear solvers count nothing, and neither does a convolution written as sums of shifted images.
    `jaxcnn.autodiff.count_flops` counts these too.

    Args:
        f: any traceable function; options belong into a lambda.
        args: its arguments: arrays or `jax.ShapeDtypeStruct`s, or pytrees of them.

    Returns:
        multiply-adds for the whole batch; twice as many floating-point operations.

    Raises:
        ValueError: products inside a while loop whose turns depend on the arguments, or in what
            else runs its inside an unknown number of times.

    Example:
        >>> import jax.numpy as jnp
        >>> multiply_adds(jnp.dot, jnp.ones((2, 3)), jnp.ones((3, 4)))
        24

    """
    return count_products("multiply_adds", f, *args)
