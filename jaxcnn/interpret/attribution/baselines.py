"""What stands for an image, or a part of it, that tells nothing."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


def broadcastable(caller: str, baseline: ArrayLike, x: Array) -> Array:
    """The baseline as an array of x's dtype.

    Raises:
        ValueError: where it does not broadcast to x's shape.
    """
    array = jnp.asarray(baseline, x.dtype)
    try:
        fits = np.broadcast_shapes(array.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{caller}: baseline must be a number or broadcast to x's shape {x.shape}, "
            f"got shape {array.shape}."
        )
    return array
