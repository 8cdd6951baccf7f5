"""The gradient of a score by the image, as it is, times the image, and averaged over noise."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxcnn.interpret.attribution.sums import sum_over
from jaxcnn.interpret.targets import Target, argument, images, total


def saliency(f: Target, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    r"""The gradient of the score by the image, with its sign.

    d f(x)_i / d x_i for image i.

    Args:
        f: images -> one number for each; of a class, take the score before softmax, whose
            gradient tells of this class and not of the others.
        x: images, in f's units.

    Returns:
        the gradient. Its magnitude, largest over the channels, is the paper's map.

    Raises:
        ValueError: x that is no batch of floating-point images, or f that gives no number for
            each image.

    Example:
        >>> x = jnp.array([1.0, 2.0, -3.0]).reshape(1, 1, 1, 3)
        >>> saliency(lambda x: (x**2).sum((1, 2, 3)), x).ravel()
        Array([ 2.,  4., -6.], dtype=float32)

    Reference:
        Simonyan, Vedaldi & Zisserman (2014), Deep inside convolutional networks, section 3,
        https://arxiv.org/abs/1312.6034.
    """
    return _saliency(argument(f), images("saliency", x))


@jax.jit
def _saliency(f: Target, x: Array) -> Array:
    return jax.grad(total("saliency", f))(x)


def grad_times_input(f: Target, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    r"""The gradient of the score by the image, times the image.

    x df/dx: of a linear f, what each pixel adds to the score.

    Args:
        f: images -> one number for each: a class score before softmax, or any other.
        x: images, in f's units; a pixel of zero gets zero.

    Returns:
        the products, in units of the score.

    Raises:
        ValueError: as `saliency`.

    Example:
        >>> x = jnp.array([1.0, 2.0, -3.0]).reshape(1, 1, 1, 3)
        >>> grad_times_input(lambda x: (x**2).sum((1, 2, 3)), x).ravel()
        Array([ 2.,  8., 18.], dtype=float32)

    Reference:
        Shrikumar, Greenside & Kundaje (2017), Learning important features through propagating
        activation differences, section 2.2, https://arxiv.org/abs/1704.02685.
    """
    return _grad_times_input(argument(f), images("grad_times_input", x))


@jax.jit
def _grad_times_input(f: Target, x: Array) -> Array:
    return x * jax.grad(total("grad_times_input", f))(x)


def smooth_grad(
    f: Target, x: Float[Array, "b h w c"], key: Array, *, noise: ArrayLike = 0.15, samples: int = 50
) -> Float[Array, "b h w c"]:
    r"""The mean of the score's gradient over noisy copies of the image.

    mean_j df/dx at x + sigma n_j, with n_j standard normal and sigma = noise (max x - min x) of
    each image. Every image of a batch gets the same n_j, so that its attribution does not depend
    on the others or on its place: a batch gives what its images give one by one with that key.

    Args:
        f: images -> one number for each.
        x: images, in f's units.
        key: of the noise.
        noise: its standard deviation as a share of the image's own range, 0 or more; the paper's
            maps are clearest between 0.1 and 0.2.
        samples: noisy copies, 1 or more. Memory does not grow with them.

    Returns:
        the mean gradient.

    Raises:
        ValueError: less than one sample, or as `saliency`.

    Example:
        >>> x = jnp.array([1.0, 2.0, -3.0]).reshape(1, 1, 1, 3)
        >>> smooth_grad(lambda x: x[..., 0].sum((1, 2)), x, jax.random.key(0)).ravel()
        Array([1., 0., 0.], dtype=float32)

    Reference:
        Smilkov, Thorat, Kim, Viegas & Wattenberg (2017), SmoothGrad, section 3,
        https://arxiv.org/abs/1706.03825.
    """
    x = images("smooth_grad", x)
    if samples < 1:
        raise ValueError(f"smooth_grad: samples must be 1 or more, got {samples}.")
    term = partial(_noisy_gradient, argument(f), key, jnp.asarray(noise, x.dtype))
    return (sum_over(term, x, np.arange(samples)) / samples).astype(x.dtype)


@jax.jit
def _noisy_gradient(f: Target, key: Array, noise: Array, x: Array, sample: Array) -> Array:
    axes = (1, 2, 3)
    sigma = noise * (x.max(axes, keepdims=True) - x.min(axes, keepdims=True))
    n = jax.random.normal(jax.random.fold_in(key, sample), x.shape[1:], x.dtype)
    return jax.grad(total("smooth_grad", f))(x + sigma * n)
