"""The dense (fully connected) layer."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxcnn.functional.windows import check_dtypes


def dense(
    x: Float[Array, "*b c_in"],
    kernel: Float[Array, "c_in c_out"],
    bias: Float[Array, " c_out"] | None = None,
) -> Float[Array, "*b c_out"]:
    r"""Every output is a weighted sum of all inputs.

    y[..., o] = bias[o] + sum_c x[..., c] kernel[c, o].

    Args:
        x: vectors along the last axis.
        kernel: the transpose of PyTorch's `Linear` weight.
        bias: one number per output.

    Returns:
        vectors, in x's dtype.

    Raises:
        ValueError: ranks, channels or dtypes that do not match.

    Example:
        >>> import jax.numpy as jnp
        >>> kernel = jnp.array([[1.0, 0.0], [10.0, 1.0]])
        >>> dense(jnp.array([1.0, 2.0]), kernel, jnp.array([0.0, 5.0]))
        Array([21.,  7.], dtype=float32)

    """
    if x.ndim < 1 or kernel.ndim != 2:
        raise ValueError(
            "dense: x needs axes (..., c_in) and kernel (c_in, c_out), "
            f"got x {x.shape} and kernel {kernel.shape}."
        )
    if kernel.shape[0] != x.shape[-1]:
        raise ValueError(
            f"dense: kernel expects {kernel.shape[0]} input channels, got x with {x.shape[-1]}."
        )
    if bias is not None and bias.shape != kernel.shape[1:]:
        raise ValueError(f"dense: bias needs shape {kernel.shape[1:]}, got {bias.shape}.")
    check_dtypes("dense", x, kernel, bias)
    y = jnp.matmul(x, kernel)
    return y if bias is None else y + bias
