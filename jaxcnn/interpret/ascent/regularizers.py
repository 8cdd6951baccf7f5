"""What keeps an image plain while a score is climbed: penalties, and clean-ups after steps."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.core import Tracer
from jaxtyping import Float

Number = float | Array


class Regularizers(NamedTuple):
    """What is held against an image; None leaves a kind out.

    The first two are taken from the score that is climbed, the others change the image after a
    step, in this order. Values may be changed without compiling anew, kinds may not.

    Reference:
        Yosinski et al. (2015), Understanding neural networks through deep visualization, section 3,
        https://arxiv.org/abs/1506.06579. Simonyan et al. (2014), section 2 (L2),
        https://arxiv.org/abs/1312.6034.
    """

    l2: Number | None = None
    """lambda in -lambda ||I||^2, the sum of squares of all of an image's numbers."""
    total_variation: Number | None = None
    """What `total_variation` of the image is multiplied by."""
    blur: Number | None = None
    """Standard deviation of a Gaussian, in pixels."""
    blur_every: int | Array = 4
    """Blur after every so many steps."""
    small_norm: Number | None = None
    """Percentile, 0 to 100: pixels whose norm over the channels lies below it become 0."""
    small_contribution: Number | None = None
    """Percentile: pixels become 0 whose |sum over channels of x df/dx| lies below it."""


def total_variation(x: Float[Array, "b h w c"], *, beta: float | Array = 1.0) -> Float[Array, " b"]:
    r"""How much an image changes from each pixel to the next ones below and to the right.

    TV = sum over places and channels of ((x[i+1,j] - x[i,j])^2 + (x[i,j+1] - x[i,j])^2)^(beta/2);
    a difference over the border is 0.

    Args:
        x: images.
        beta: 1 lets edges stand and flattens what lies between; 2 smoothes both.

    Gradient:
        0 at a pixel that is equal to both.

    Example:
        >>> x = jnp.array([[0.0, 0.0], [3.0, 7.0]]).reshape(1, 2, 2, 1)
        >>> total_variation(x).round()  # 3 + 7 + 4
        Array([14.], dtype=float32)

    Reference:
        Mahendran & Vedaldi (2015), Understanding deep image representations by inverting them,
        equation 4, https://arxiv.org/abs/1412.0035.
    """
    down = jnp.diff(x, axis=1, append=x[:, -1:])
    right = jnp.diff(x, axis=2, append=x[:, :, -1:])
    squares = down**2 + right**2
    flat = squares == 0
    # A root has no slope at 0: it is taken elsewhere, also by the derivative.
    powers = jnp.where(flat, 1, squares) ** (beta / 2)
    return jnp.where(flat, 0, powers).sum((1, 2, 3))


def blur(x: Float[Array, "b h w c"], sigma: float | Array) -> Float[Array, "b h w c"]:
    r"""Images under a Gaussian window, whose weights sum to 1 at the borders as well.

    Args:
        x: images.
        sigma: standard deviation, in pixels, above 0.

    Example:
        >>> x = jnp.zeros((1, 1, 3, 1)).at[0, 0, 0, 0].set(1.0)
        >>> [round(v, 4) for v in blur(x, 1.0).ravel().tolist()]  # 1, e^-1/2 and e^-2 in turn
        [0.5741, 0.2741, 0.0777]
    """
    rows, columns = (_window(n, sigma, x.dtype) for n in x.shape[1:3])
    return jnp.einsum("ij,bjkc,lk->bilc", rows, x, columns)


def _window(n: int, sigma: float | Array, dtype: jnp.dtype) -> Array:
    places = jnp.arange(n, dtype=dtype)
    weights = jnp.exp(-(((places[:, None] - places) / sigma) ** 2) / 2)
    return weights / weights.sum(1, keepdims=True)


def penalty(x: Array, regularizers: Regularizers) -> Array:
    """What is taken from each image's score."""
    taken = jnp.zeros(x.shape[0], x.dtype)
    if regularizers.l2 is not None:
        taken += regularizers.l2 * (x**2).sum((1, 2, 3))
    if regularizers.total_variation is not None:
        taken += regularizers.total_variation * total_variation(x)
    return taken


def clean(x: Array, gradient: Array, step: Array, regularizers: Regularizers) -> Array:
    """Images after what is done to them behind a step.

    Args:
        x: images.
        gradient: of the scores by the images.
        step: its number, counted from 1.
        regularizers: what is to be done.
    """
    sigma = regularizers.blur
    if sigma is not None:
        due = step % regularizers.blur_every == 0
        x = lax.cond(due, lambda x: blur(x, sigma), lambda x: x, x)
    if regularizers.small_norm is not None:
        x = _without_smallest(x, jnp.linalg.norm(x, axis=-1), regularizers.small_norm)
    if regularizers.small_contribution is not None:
        contribution = jnp.abs((x * gradient).sum(-1))
        x = _without_smallest(x, contribution, regularizers.small_contribution)
    return x


def _without_smallest(x: Array, sizes: Array, percentile: float | Array) -> Array:
    """x with 0 at the pixels whose size b h w is below the percentile of their image's."""
    bound = jnp.percentile(sizes, percentile, axis=(1, 2), keepdims=True)
    return jnp.where((sizes < bound)[..., None], 0, x)


def check_regularizers(caller: str, regularizers: Regularizers) -> None:
    """Raise ValueError where a value is out of its range; values under a trace are not seen."""
    ranges = {
        "l2": (0, jnp.inf),
        "total_variation": (0, jnp.inf),
        "blur": (1e-3, jnp.inf),
        "blur_every": (1, jnp.inf),
        "small_norm": (0, 100),
        "small_contribution": (0, 100),
    }
    for name, (low, high) in ranges.items():
        value = getattr(regularizers, name)
        if value is None or isinstance(value, Tracer):
            continue
        if not low <= value <= high:
            raise ValueError(f"{caller}: {name} must lie in [{low}, {high}], got {value}.")
