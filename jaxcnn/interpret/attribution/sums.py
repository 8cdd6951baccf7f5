"""Evaluating a function of images many times, a few at once, in memory that does not grow."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
CHUNK=1
SCAN=True
UNROLL=1

def sum_over(f: Callable[[Any], Array], xs: Any, images: int) -> Array:
    """The sum of f over the leading axis of xs, in float32 at least."""
    count = len(jax.tree.leaves(xs)[0])
    first = jax.eval_shape(f, jax.tree.map(lambda a: a[0], xs))
    start = jnp.zeros(first.shape, jnp.promote_types(first.dtype, jnp.float32))
    if CHUNK > 1:
        xs = jax.tree.map(lambda a: a.reshape(-1, CHUNK, *a.shape[1:]), xs)
        g = lambda x: jax.vmap(f)(x).sum(0)
    else:
        g = f
    return lax.scan(lambda s, x: (s + g(x), None), start, xs, unroll=UNROLL)[0]
def map_over(f, xs, images):
    return lax.map(f, xs, batch_size=CHUNK if CHUNK>1 else None)
