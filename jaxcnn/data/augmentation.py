"""Random changes of training images: keyed, jitted, on the device."""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Float32, PRNGKeyArray, Shaped


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


def cutout(
    key: PRNGKeyArray, images: Shaped[Array, "b h w c"], size: int
) -> Shaped[Array, "b h w c"]:
    """Set one square of each image to zero, in all channels.

    Its centre is any pixel of the image, all equally likely; what lies over the border is cut off,
    so that the square may have as little as a quarter of its area. Around a centre y it has the
    rows y - size // 2, ..., y - size // 2 + size - 1.

    Args:
        key: of the centres, one for each image.
        images: any dtype; zero is black where they are not normalized yet, else the mean colour.
        size: side of the square in pixels.

    Raises:
        ValueError: a negative size.

    Example:
        >>> images = jnp.array([1, 2, 3]).reshape(1, 1, 3, 1)
        >>> sorted({tuple(cutout(jax.random.key(i), images, 2).ravel().tolist())
        ...         for i in range(40)})
        [(0, 0, 3), (0, 2, 3), (1, 0, 0)]

    Reference:
        DeVries & Taylor (2017), Improved regularization of convolutional neural networks with
        Cutout, section 3.2, https://arxiv.org/abs/1708.04552.
    """
    if size < 0:
        raise ValueError(f"cutout: size must not be negative, got {size}.")
    b, h, w, _ = images.shape
    centres = jax.random.randint(key, (b, 2), 0, jnp.array([h, w]))

    def inside(length: int, centre: Array) -> Array:
        start = centre[:, None] - size // 2
        return (start <= jnp.arange(length)) & (jnp.arange(length) < start + size)

    square = inside(h, centres[:, 0])[:, :, None] & inside(w, centres[:, 1])[:, None]
    return jnp.where(square[..., None], jnp.zeros((), images.dtype), images)


def mixup(
    key: PRNGKeyArray,
    images: Shaped[Array, "b h w c"],
    labels: Float[Array, "b classes"],
    alpha: float,
) -> tuple[Float32[Array, "b h w c"], Float32[Array, "b classes"]]:
    """Lay another image of the batch over each, and mix the labels by the same share.

    x_i' = lambda x_i + (1 - lambda) x_p(i) and y_i' likewise, with one lambda ~ Beta(alpha, alpha)
    and one permutation p for the whole batch.

    Args:
        key: of the share and the partners.
        images: any dtype; 0 to 255 stay on that scale, unrounded.
        labels: distributions, such as one-hot rows.
        alpha: below 1 most images stay nearly alone, 1 makes every share equally likely.

    Raises:
        ValueError: an alpha that is not positive.

    Example:
        >>> images = jnp.array([0, 100], jnp.uint8).reshape(2, 1, 1, 1)
        >>> x, y = mixup(jax.random.key(2), images, jnp.eye(2), 1.0)
        >>> bool(jnp.allclose(x.ravel(), 100 * y[:, 1])), round(float(x.sum()), 3)
        (True, 100.0)

    Reference:
        Zhang et al. (2018), mixup: beyond empirical risk minimization, section 2,
        https://arxiv.org/abs/1710.09412.
    """
    if not alpha > 0:
        raise ValueError(f"mixup: alpha must be positive, got {alpha}.")
    share_key, partner_key = jax.random.split(key)
    share = jax.random.beta(share_key, alpha, alpha, dtype=jnp.float32)
    partners = jax.random.permutation(partner_key, len(images))

    def mixed(x: Array) -> Array:
        x = x.astype(jnp.float32)
        return share * x + (1 - share) * x[partners]

    return mixed(images), mixed(labels)
