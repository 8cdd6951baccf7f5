"""Sums of many evaluations of a function of images, in memory that does not grow with them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax


def sum_over(f: Callable[[Any], Array], xs: Any) -> Array:
    """The sum of f over the first axis of the arrays xs, in float32 at least."""
    one = jax.eval_shape(f, jax.tree.map(lambda a: a[0], xs))
    start = jnp.zeros(one.shape, jnp.promote_types(one.dtype, jnp.float32))
    return lax.scan(lambda sum, x: (sum + f(x), None), start, xs)[0]
