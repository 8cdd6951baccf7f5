"""Activations: JAX's own functions under their own names, and maxout.

Derivatives at the kinks, and defaults that differ from PyTorch's:

- `sigmoid`, `tanh`, `silu`, `softplus`: smooth everywhere; `softplus` has no beta and no
  threshold, it is log(1 + exp(x)) for every x.
- `relu`: 0 at 0.
- `leaky_relu(x, negative_slope=0.01)`: 1 at 0; PyTorch takes the slope there.
- `elu(x, alpha=1.0)`: alpha at 0.
- `relu6`: 0 at 0 and at 6.
- `hard_swish`: 0 at -3 and 1 at 3.
- `gelu(x, approximate=True)`: smooth; the default is the tanh approximation, PyTorch's default is
  the exact x Phi(x), which is `gelu(x, approximate=False)` here.
- `softmax`, `log_softmax`: smooth, over the last axis (`axis=-1`); PyTorch wants its `dim` given.
- `maxout`: at a tie the whole gradient goes to the first of the largest pieces.
"""

from functools import reduce

import jax.numpy as jnp
from jax import Array
from jax.nn import (
    elu,
    gelu,
    hard_swish,
    leaky_relu,
    log_softmax,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    softplus,
)
from jax.numpy import tanh
from jaxtyping import Float

__all__ = [
    "elu",
    "gelu",
    "hard_swish",
    "leaky_relu",
    "log_softmax",
    "maxout",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


def maxout(x: Float[Array, "*b c"], pieces: int) -> Float[Array, "*b c_out"]:
    r"""The largest of each `pieces` neighbouring channels.

    y[..., i] = max_j x[..., pieces i + j] for j = 0 ... pieces - 1: c channels become c / pieces.

    Args:
        x: feature maps or vectors, channels last.
        pieces: channels in a group.

    Returns:
        the maxima, in x's dtype; NaN where a piece is NaN.

    Raises:
        ValueError: `pieces` does not divide the channels.

    Gradient:
        goes to the largest piece alone; at a tie, to the first of the largest.

    Example:
        >>> import jax.numpy as jnp
        >>> maxout(jnp.array([1.0, 4.0, 3.0, 2.0]), 2)
        Array([4., 3.], dtype=float32)

    Reference:
        Goodfellow et al. (2013), Maxout networks, section 3, https://arxiv.org/abs/1302.4389.
    """
    if x.ndim < 1 or pieces < 1 or x.shape[-1] % pieces:
        raise ValueError(
            f"maxout: pieces must divide the channels (x's last axis), got {pieces} for {x.shape}."
        )
    grouped = x.reshape(*x.shape[:-1], x.shape[-1] // pieces, pieces)
    # A running maximum: on a CPU the gradient of jnp.max over a short last axis is 3 to 25 times
    # slower (32x32x32x128 in 2 or 4 pieces).
    return reduce(_first_largest, [grouped[..., j] for j in range(pieces)])


def _first_largest(best: Array, piece: Array) -> Array:
    """The larger of two, the first at a tie; unlike `jnp.maximum`, which halves the gradient."""
    return jnp.where((best >= piece) | jnp.isnan(best), best, piece)
