"""Random changes of training images: keyed, jitted, on the device."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PRNGKeyArray, Shaped


def flip(key: PRNGKeyArray, images: Shaped[Array, "b h w c"]) -> Shaped[Array, "b h w c"]:
    """Mirror each image left to right with probability 1/2.

    Example:
        >>> images = jnp.arange(2).reshape(1, 1, 2, 1)
        >>> sorted({tuple(flip(jax.random.key(i), images).ravel().tolist()) for i in range(9)})
        [(0, 1), (1, 0)]

    """
    mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)
