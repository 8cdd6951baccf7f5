"""Random changes of training images: keyed, jitted, on the device."""

import jax
import jax.numpy as jnp
from jax import Array, lax
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


def pad_crop(
    key: PRNGKeyArray, images: Shaped[Array, "b h w c"], padding: int
) -> Shaped[Array, "b h w c"]:
    """Pad each image with zeros on all sides and cut a window of its own size at random.

    Every shift by up to `padding` pixels along each axis is equally likely.

    Args:
        key: of the shifts, one for each image.
        images: any dtype; zero is black where they are not normalized yet.
        padding: pixels on each side.

    Raises:
        ValueError: a negative padding.

    Example:
        >>> images = jnp.array([1, 2, 3]).reshape(1, 1, 3, 1)
        >>> sorted({tuple(pad_crop(jax.random.key(i), images, 1).ravel().tolist())
        ...         for i in range(40)})
        [(0, 0, 0), (0, 1, 2), (1, 2, 3), (2, 3, 0)]

    Reference:
        He et al. (2016), Deep residual learning, section 4.2, https://arxiv.org/abs/1512.03385.
    """
    if padding < 0:
        raise ValueError(f"pad_crop: padding must not be negative, got {padding}.")
    b, h, w, c = images.shape
    padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    starts = jax.random.randint(key, (b, 2), 0, 2 * padding + 1)
    return jax.vmap(lambda x, s: lax.dynamic_slice(x, (s[0], s[1], 0), (h, w, c)))(padded, starts)
