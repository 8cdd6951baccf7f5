"""Initial values of parameters: factories of `init(key, shape, dtype)`, as in `jax.nn`.

Kernels have the output channels last and the input channels before them: (c_in, c_out) or
(*window, c_in / groups, c_out). fan_in = prod(window) c_in / groups is the number of inputs to one
output, fan_out = prod(window) c_out; PyTorch counts both the same way.

With U(a) uniform in [-a, a] and N(s) normal of standard deviation s:

- `fan_in_uniform()`: U(1 / sqrt(fan_in)), PyTorch's default for kernels and biases.
- `glorot_uniform()`: U(sqrt(6 / (fan_in + fan_out))); `glorot_normal()`:
  N(sqrt(2 / (fan_in + fan_out))). Glorot & Bengio (2010), equation 16.
- `he_uniform()`: U(sqrt(6 / fan_in)); `he_normal()`: N(sqrt(2 / fan_in)). He et al. (2015),
  equation 10.
- `lecun_uniform()`: U(sqrt(3 / fan_in)); `lecun_normal()`: N(sqrt(1 / fan_in)). LeCun et al.
  (1998), Efficient backprop, equation 16.
- `orthogonal(scale=1.0)`: orthonormal columns, one per output channel (rows where there are more
  outputs than inputs), times `scale`.
- `dirac(groups=1)`: the convolution that changes nothing.
- `zeros`: itself an initializer, not a factory.

Those of Glorot, He and LeCun and `zeros` are `jax.nn.initializers`' own. Their normals are
truncated at two standard deviations and widened so that the standard deviation is as above;
PyTorch's are not truncated. For unshared kernels (*out, *window, c_in, c_out) name the output
axes: `he_normal(batch_axis=(0, 1))`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn.initializers import (
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    zeros,
)

__all__ = [
    "dirac",
    "fan_in_uniform",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
    "zeros",
]


def fan_in_uniform(fan_in: int | None = None) -> Callable[..., Array]:
    r"""Uniform in [-1 / sqrt(fan_in), 1 / sqrt(fan_in)]: PyTorch's default.

    Args:
        fan_in: inputs to one output; by default the product of all axes but the last, which is
            right for kernels. A bias has its kernel's, which its shape does not tell.

    Returns:
        an initializer.

    Raises:
        ValueError: a shape with one axis, or none, and no `fan_in`.

    Example:
        >>> import jax
        >>> kernel = fan_in_uniform()(jax.random.key(0), (5, 5, 4, 8))
        >>> round(float(abs(kernel).max()), 2)  # 1 / sqrt(5 * 5 * 4)
        0.1

    Reference:
        LeCun et al. (1998), Efficient backprop, section 4.6, for the scale; PyTorch's
        `Conv2d` and `Linear`, under "Variables".
    """

    def init(key: Array, shape: Sequence[int], dtype: Any = None) -> Array:
        if fan_in is None and len(shape) < 2:
            raise ValueError(
                f"fan_in_uniform: a shape {tuple(shape)} does not tell fan_in; give it."
            )
        bound = 1 / math.sqrt(max(1, math.prod(shape[:-1]) if fan_in is None else fan_in))
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def orthogonal(scale: float = 1.0) -> Callable[..., Array]:
    r"""A random orthogonal matrix: a dense layer, or a convolution's window, that keeps lengths.

    With the kernel as a matrix q of prod(shape[:-1]) rows and shape[-1] columns, q^T q =
    scale^2 I, or q q^T = scale^2 I where it has more columns than rows.

    Args:
        scale: the length of each column (or row).

    Returns:
        an initializer; like `jax.nn.initializers.orthogonal`, but of any floating dtype (the
        decomposition is in float32 at least).

    Raises:
        ValueError: a shape with fewer than two axes.

    Example:
        >>> import jax
        >>> q = orthogonal()(jax.random.key(0), (2, 2))
        >>> abs(q.T @ q).round(3)
        Array([[1., 0.],
               [0., 1.]], dtype=float32)

    Reference:
        Saxe, McClelland & Ganguli (2014), Exact solutions to the nonlinear dynamics of learning
        in deep linear neural networks, https://arxiv.org/abs/1312.6120.
    """

    def init(key: Array, shape: Sequence[int], dtype: Any = None) -> Array:
        if len(shape) < 2:
            raise ValueError(f"orthogonal: a kernel needs two axes or more, got {tuple(shape)}.")
        wide = jnp.promote_types(jnp.float32, jnp.zeros((), dtype).dtype)
        return jax.nn.initializers.orthogonal(scale)(key, tuple(shape), wide).astype(dtype)

    return init


def dirac(groups: int = 1) -> Callable[..., Array]:
    r"""The kernel whose convolution with stride 1 and padding "SAME" gives back its input.

    kernel[u, c, o] = 1 where u is the centre and output channel o's place in its group is c, else
    0. Where there are fewer outputs than inputs the last inputs are lost; where there are more,
    the last outputs are 0.

    Args:
        groups: the groups of the convolution.

    Returns:
        an initializer of kernels (*window, c_in / groups, c_out); it leaves its key unused.

    Raises:
        ValueError: a shape without a window, or `groups` that does not divide c_out.

    Example:
        >>> import jax
        >>> dirac()(jax.random.key(0), (3, 1, 1)).ravel()
        Array([0., 1., 0.], dtype=float32)

    Reference:
        Zagoruyko & Komodakis (2017), DiracNets, https://arxiv.org/abs/1706.00388;
        PyTorch's `dirac_`, whose centre of an even window is one pixel further.
    """

    def init(key: Array, shape: Sequence[int], dtype: Any = None) -> Array:
        if len(shape) < 3:
            raise ValueError(
                f"dirac: a kernel needs axes (*window, c_in, c_out), got {tuple(shape)}."
            )
        *window, c_in, c_out = shape
        if groups < 1 or c_out % groups:
            raise ValueError(f"dirac: groups must divide c_out = {c_out}, got {groups}.")
        centre = tuple((k - 1) // 2 for k in window)  # where "SAME" puts the output pixel
        identity = jnp.tile(jnp.eye(c_in, c_out // groups, dtype=dtype), groups)
        return jnp.zeros(shape, dtype).at[centre].set(identity)

    return init
