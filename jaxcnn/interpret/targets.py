"""What a method is asked about: a function of images that gives one number for each."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

Target = Callable[[Array], Array]  # images b h w c -> (b,)


def argument(f: Callable[..., Any]) -> jax.tree_util.Partial:
    """A function in the form that `jax.jit` takes as an argument.

    A `jax.tree_util.Partial` stays what it is: its arrays are arguments of the compiled program,
    so that targets which differ in them alone share it. Of any other function the same object
    finds its program again.
    """
    return f if isinstance(f, jax.tree_util.Partial) else jax.tree_util.Partial(f)


def images(caller: str, x: Any) -> Array:
    """x as an array.

    Raises:
        ValueError: where it is no batch of floating-point images.
    """
    x = jnp.asarray(x)
    if x.ndim != 4 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"{caller}: x needs floating-point images b h w c, got {x.dtype}{list(x.shape)}."
        )
    return x


def broadcastable(caller: str, name: str, value: ArrayLike, x: Array) -> Array:
    """What stands for pixels, as an array of x's dtype.

    Raises:
        ValueError: where it does not broadcast to x's shape.
    """
    array = jnp.asarray(value, x.dtype)
    try:
        fits = jnp.broadcast_shapes(array.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{caller}: {name} must broadcast to x's shape {x.shape}, got {array.shape}."
        )
    return array


def scores(caller: str, f: Target, x: Array) -> Array:
    """f(x), one number for each image.

    Raises:
        ValueError: where it is anything else.
    """
    y = jnp.asarray(f(x))
    if y.shape != x.shape[:1]:
        raise ValueError(
            f"{caller}: f(x) needs one number for each image, shape ({x.shape[0]},), such as "
            f"logits[:, k]; got {y.shape}."
        )
    return y


def total(caller: str, f: Target) -> Callable[[Array], Array]:
    """The sum of all images' scores: its gradient by x holds the gradient of each by its image."""
    return lambda x: scores(caller, f, x).sum()
