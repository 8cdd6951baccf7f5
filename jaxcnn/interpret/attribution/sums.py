"""Sums of many evaluations of a function of images, in memory that does not grow with them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer


def sum_over(term: Callable[..., Array], x: Array, *places: np.ndarray) -> Array:
    """The sum of term(x, *at) over the places, one after another, in float32 at least.

    On a CPU convolutions take up to 15 times as long inside XLA's own loops (LeNet's gradient on
    jax 0.12), so the host calls the term, which is jitted, for each place. Under a trace of x it
    is a scan.

    Args:
        term: jitted.
        x: images.
        places: arrays of one length, whose elements are the term's further arguments.
    """
    shape = jax.eval_shape(term, x, *(place[0] for place in places))
    total = jnp.zeros(shape.shape, jnp.promote_types(shape.dtype, jnp.float32))
    if isinstance(x, Tracer):
        return lax.scan(lambda sum, at: (sum + term(x, *at), None), total, places)[0]
    for at in zip(*places, strict=True):
        total = total + term(x, *at)
    return total
