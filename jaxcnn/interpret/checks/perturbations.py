"""Does an attribution foretell what small changes of the image do, and does it stay stable?"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import Partial
from jaxtyping import Float, PRNGKeyArray

from jaxcnn.interpret.targets import Target, argument, images, scores


def infidelity(
    f: Target,
    x: Float[Array, "b h w c"],
    attribution: Float[Array, "b h w c"],
    key: PRNGKeyArray,
    *,
    noise: float | Float[Array, ""] | Callable[[Array, Array], Array] = 0.1,
    samples: int = 100,
    normalize: bool = False,
) -> Float[Array, " b"]:
    r"""How far an attribution is from foretelling the score's change under noise.

    mean over I of (<I, beta attribution> - (f(x) - f(x - I)))^2, beta = 1

    0 for a linear f and its gradient. With `normalize` beta is the factor that makes it least,
    sum <I, attribution> (f(x) - f(x - I)) / sum <I, attribution>^2, for each image: methods whose
    attributions are right up to a factor can then be compared.

    Args:
        f: one number for each image.
        x: the images.
        attribution: of x's shape.
        key: for the noise.
        noise: the standard deviation of normal perturbations in x's unit, above 0; or a function
            (key, x) -> I, which broadcasts to x's shape. Normal noise is the same for all images
            of a batch, so that each image gets what it would get alone.
        samples: perturbations, 1 or more, one at a time.
        normalize: scale the attribution.

    Returns:
        0 or more, in the square of f's unit.

    Raises:
        ValueError: attribution of another shape, or samples below 1.

    Example:
        >>> f = lambda x: 2 * x[:, 0, 0, 0]
        >>> x, key = jnp.ones((1, 1, 2, 1)), jax.random.key(0)
        >>> right, double = (a * jnp.array([2.0, 0.0]).reshape(x.shape) for a in (1, 2))
        >>> ahead = lambda key, x: jnp.ones_like(x)
        >>> infidelity(f, x, right, key, noise=ahead), infidelity(f, x, double, key, noise=ahead)
        (Array([0.], dtype=float32), Array([4.], dtype=float32))
        >>> infidelity(f, x, double, key, noise=ahead, normalize=True)
        Array([0.], dtype=float32)

    Reference:
        Yeh, Hsieh, Suggala, Inouye & Ravikumar (2019), On the (in)fidelity and sensitivity of
        explanations, equation 1, https://arxiv.org/abs/1901.09392; beta is from its authors' code.
    """
    x, attribution = images("infidelity", x), jnp.asarray(attribution)
    if attribution.shape != x.shape:
        raise ValueError(
            f"infidelity: attribution needs x's shape {x.shape}, got {attribution.shape}."
        )
    _check_samples("infidelity", samples)
    draw = argument(noise) if callable(noise) else Partial(_normal, noise)
    return _infidelity(argument(f), x, attribution, key, draw, samples=samples, normalize=normalize)


def _normal(deviation: float | Array, key: Array, x: Array) -> Array:
    return deviation * jax.random.normal(key, x.shape[1:], x.dtype)


@partial(jax.jit, static_argnames=("samples", "normalize"))
def _infidelity(
    f: Target,
    x: Array,
    attribution: Array,
    key: Array,
    draw: Callable[[Array, Array], Array],
    *,
    samples: int,
    normalize: bool,
) -> Array:
    def sample(i: Array) -> tuple[Array, Array]:
        # Sample 0 is the image itself, so that f is compiled once.
        noise = jnp.where(i == 0, 0, draw(jax.random.fold_in(key, i), x))
        foretold = (noise * attribution).sum((1, 2, 3))
        return foretold, scores("infidelity", f, x - noise)

    foretold, y = lax.map(sample, jnp.arange(samples + 1))
    foretold, change = foretold[1:], y[0] - y[1:]
    if normalize:
        square = (foretold**2).sum(0)
        foretold *= (foretold * change).sum(0) / jnp.where(square == 0, 1, square)
    return ((foretold - change) ** 2).mean(0)


def max_sensitivity(
    method: Callable[[Target, Array], Array],
    f: Target,
    x: Float[Array, "b h w c"],
    key: PRNGKeyArray,
    *,
    radius: float | Float[Array, ""] = 0.02,
    samples: int = 10,
) -> Float[Array, " b"]:
    r"""The largest relative change of an attribution found near an image.

    max over e of ||method(f, x + e) - method(f, x)|| / ||method(f, x)||, Euclidean norms

    with e uniform in the cube of |e| <= radius, by sampling: a lower bound of the maximum. Where
    the attribution of x is 0 all over, the change itself.

    Args:
        method: (target, images) -> attributions; the same object finds its program again.
        f: one number for each image.
        x: the images.
        key: for the perturbations, which are the same for all images of a batch.
        radius: the most a pixel changes, in x's unit.
        samples: perturbations, 1 or more, one at a time.

    Returns:
        0 or more; 0 where nothing changes, as for the gradient of a linear f.

    Raises:
        ValueError: samples below 1, or a method that does not give attributions for each image.

    Example:
        >>> f = lambda x: (x**2).sum((1, 2, 3)) / 2
        >>> gradient = lambda f, x: jax.grad(lambda x: f(x).sum())(x)  # x itself
        >>> found = max_sensitivity(gradient, f, jnp.ones((1, 1, 1, 1)), jax.random.key(0))
        >>> bool(0 < found[0] <= 0.02)
        True

    Reference:
        Yeh et al. (2019), equation 2, https://arxiv.org/abs/1901.09392; relative as in Captum.
    """
    x = images("max_sensitivity", x)
    _check_samples("max_sensitivity", samples)
    return _sensitivity(argument(method), argument(f), x, key, radius, samples=samples)


@partial(jax.jit, static_argnames="samples")
def _sensitivity(
    method: Callable[[Target, Array], Array],
    f: Target,
    x: Array,
    key: Array,
    radius: float | Array,
    *,
    samples: int,
) -> Array:
    def sample(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
        first, worst = carry
        way = jax.random.uniform(
            jax.random.fold_in(key, i), x.shape[1:], x.dtype, minval=-1, maxval=1
        )
        # Sample 0 is the image itself, so that the method is compiled once.
        now = method(f, x + jnp.where(i == 0, 0, radius * way).astype(x.dtype))
        first = jnp.where(i == 0, now, first)
        return (first, jnp.maximum(worst, _norm(now - first))), None

    shape = jax.eval_shape(method, f, x)
    if len(shape.shape) < 2 or shape.shape[0] != len(x):
        raise ValueError(
            f"max_sensitivity: method needs attributions of {len(x)} images, got {shape.shape}."
        )
    start = jnp.zeros(shape.shape, shape.dtype), jnp.zeros(len(x), shape.dtype)
    (first, worst), _ = lax.scan(sample, start, jnp.arange(samples + 1))
    norm = _norm(first)
    return worst / jnp.where(norm == 0, 1, norm)


def _norm(attributions: Array) -> Array:
    return jnp.sqrt((attributions**2).reshape(len(attributions), -1).sum(1))


def _check_samples(caller: str, samples: int) -> None:
    if samples < 1:
        raise ValueError(f"{caller}: samples must be 1 or more, got {samples}.")
