"""Sums over windows, and their transpose: a linear pair."""

import functools

import jax
import numpy as np
from jax import Array, lax
from jax.interpreters import ad, batching

from jaxcnn.lowering.operations import bind, fold_batch, like, operation
from jaxcnn.lowering.windows import Windows, folds, interleaved, meeting, reduce_by_xla, under


def xla_sum(x: Array, *, how: Windows) -> Array:
    """The sums, by XLA's `reduce_window`."""
    return reduce_by_xla(x, np.zeros((), x.dtype), lax.add, how)


def xla_by_x(y: Array, *, how: Windows) -> Array:
    """Every pixel of x adds up the windows that it lies in, by the transpose of XLA's form."""
    x = like(y, (y.shape[0], *how.lengths, y.shape[-1]))
    (x,) = jax.linear_transpose(functools.partial(xla_sum, how=how), x)(y)
    return x


def shifted_sum(x: Array, *, how: Windows) -> Array:
    """The sums, folded over the shifted images."""
    for along in folds(how):
        x = functools.reduce(lax.add, under(x, along))
    return x


def shifted_by_x(y: Array, *, how: Windows) -> Array:
    """Each phase of x's pixels adds up its windows, back through the folds."""
    for along in reversed(list(folds(how))):
        y = interleaved(((value for _, value in met) for met in meeting(y, along)), along)
    return y


sum_p = operation("sum_pool", {"xla": xla_sum, "shifts": shifted_sum})
by_x_p = operation("sum_pool_by_x", {"xla": xla_by_x, "shifts": shifted_by_x})


def sum_pool(x: Array, *, how: Windows) -> Array:
    """The sums, b *out c."""
    return bind(sum_p, x, how=how)


ad.deflinear2(sum_p, lambda y, x, *, how: [bind(by_x_p, y, how=how)])
ad.deflinear2(by_x_p, lambda x, y, *, how: [bind(sum_p, x, how=how)])
for _primitive in (sum_p, by_x_p):
    batching.primitive_batchers[_primitive] = functools.partial(fold_batch, _primitive)
