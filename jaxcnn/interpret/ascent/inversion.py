"""An image from its features: what a layer still knows of what it was shown."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.core import Tracer
from jaxtyping import Float, PRNGKeyArray

from jaxcnn.interpret.ascent.maximization import NOISE, Limits, kept, within
from jaxcnn.interpret.ascent.regularizers import Number, total_variation
from jaxcnn.interpret.targets import argument, images


class Inversion(NamedTuple):
    """Images that have the features asked for, and how far they were from it."""

    images: Float[Array, "b h w c"]
    losses: Float[Array, "steps b"]
    """What is minimised, of the images that each step starts from."""


def invert(
    f: Callable[[Array], Array],
    features: Float[Array, "b ..."],
    key: PRNGKeyArray,
    shape: tuple[int, int, int, int],
    *,
    start: Float[Array, "b h w c"] | None = None,
    steps: int = 300,
    learning_rate: Number = 0.05,
    norm: Number = 1e-4,
    total_variation: Number = 1e-2,
    alpha: float = 6.0,
    beta: float = 2.0,
    limits: Limits | None = None,
) -> Inversion:
    r"""An image whose features are those given, as plain as can be.

    It minimises, for each image of n numbers on its own,

    ||f(x) - features||^2 / ||features||^2 + norm sum |x|^alpha / n + total_variation TV(x) / n

    by Adam, whose rate falls to 0 along half a cosine.

    Args:
        f: images to features of any shape; a layer of g: `lambda x: with_layer("invert", g, x,
            "conv2")[1]`.
        features: f(photo), say.
        key: for the start. The same key gives the same bits.
        shape: b, h, w, c of the images.
        start: images; by default noise of standard deviation 0.1.
        steps: how many, 0 or more.
        learning_rate: Adam's, in the unit of the image.
        norm: weight of the alpha-norm, which keeps values from growing.
        total_variation: weight of `total_variation`, which keeps the image smooth.
        alpha: exponent of the norm.
        beta: exponent of the total variation.
        limits: as for `maximize`.

    Returns:
        the images and the losses.

    Raises:
        ValueError: f(x) of another shape than the features, or options out of their range.

    Example:
        >>> f = lambda x: 2 * x
        >>> found = invert(f, jnp.full((1, 2, 2, 1), 3.0), jax.random.key(0), (1, 2, 2, 1),
        ...                norm=0.0, total_variation=0.0)
        >>> [round(v, 3) for v in found.images.ravel().tolist()]
        [1.5, 1.5, 1.5, 1.5]

    Reference:
        Mahendran & Vedaldi (2015), Understanding deep image representations by inverting them,
        section 2, https://arxiv.org/abs/1412.0035 (there by gradient descent with momentum).
    """
    if steps < 0:
        raise ValueError(f"invert: steps must be 0 or more, got {steps}.")
    given = {"norm": norm, "total_variation": total_variation, "alpha": alpha, "beta": beta}
    for name, value in given.items():
        if not isinstance(value, Tracer) and value < 0:
            raise ValueError(f"invert: {name} must be 0 or more, got {value}.")
    x = NOISE * jax.random.normal(key, shape) if start is None else images("invert", start)
    if x.shape != tuple(shape):
        raise ValueError(f"invert: start must have the shape {shape}, got {x.shape}.")
    found = jax.eval_shape(f, x)
    features = jnp.asarray(features)
    if getattr(found, "shape", None) != features.shape:
        raise ValueError(
            f"invert: features must have f(x)'s shape {getattr(found, 'shape', found)}, "
            f"got {features.shape}."
        )
    weights = (norm, total_variation, alpha, beta)
    return _descend(argument(f), features, x, learning_rate, weights, within(limits), steps=steps)


@partial(jax.jit, static_argnames="steps")
def _descend(
    f: Callable[[Array], Array],
    features: Array,
    x: Array,
    learning_rate: Number,
    weights: tuple[Any, ...],
    limits: tuple[Array, Array] | None,
    *,
    steps: int,
) -> Inversion:
    def total(x: Array) -> tuple[Array, Array]:
        loss = _losses(f(x), features, x, weights)
        return loss.sum(), loss

    schedule = optax.cosine_decay_schedule(learning_rate, max(steps, 1))  # pyright: ignore[reportArgumentType]
    optimizer = optax.adam(schedule)

    def step(carry: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], Array]:
        x, state = carry
        slope, loss = jax.grad(total, has_aux=True)(x)
        change, state = optimizer.update(slope, state)
        return (kept(x + cast(Array, change), limits), state), loss

    (x, _), losses = lax.scan(step, (x, optimizer.init(x)), length=steps)
    return Inversion(x, losses)


def _losses(y: Array, features: Array, x: Array, weights: tuple[Any, ...]) -> Array:
    norm, variation, alpha, beta = weights
    axes = tuple(range(1, y.ndim))
    distance = ((y - features) ** 2).sum(axes) / jnp.maximum((features**2).sum(axes), 1e-30)
    n = x[0].size
    size = jnp.abs(x)
    # A power below 1 has no slope at 0, and |x| two: 0 is left alone.
    powers = jnp.where(size == 0, 0, jnp.where(size == 0, 1, size) ** alpha)
    return (
        distance + norm * powers.sum((1, 2, 3)) / n + variation * total_variation(x, beta=beta) / n
    )
