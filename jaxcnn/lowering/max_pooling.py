"""Max pooling: the maxima, and the linear pair that moves tangents and cotangents.

take(x, t) is t where x has each window's maximum, put(x, y) adds each y to the pixel where x has
it; each is the other's transpose, and neither has a derivative by x, whose maxima stay in place.
The maximum is the first one in window order, and a NaN where there is one (the last one), as in
PyTorch. A pixel of -inf comes before padding.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.interpreters import ad, batching

from jaxcnn.lowering.operations import Operation, bind, fold_batch, operation
from jaxcnn.lowering.windows import Windows, folds, interleaved, meeting, reduce_by_xla, under


def xla_pool(x: Array, *, how: Windows) -> Array:
    """The maxima, by XLA's `reduce_window`."""
    return reduce_by_xla(x, lowest(x), lax.max, how)


def xla_take(x: Array, t: Array, *, how: Windows) -> Array:
    """t at the maxima, by the forward derivative of XLA's form."""
    _, tangent = jax.jvp(lambda x: xla_pool(x, how=how), (x,), (t,))
    return tangent


def xla_put(x: Array, y: Array, *, how: Windows) -> Array:
    """y at the maxima, by the reverse derivative of XLA's form (`select_and_scatter`)."""
    _, transpose = jax.vjp(lambda x: xla_pool(x, how=how), x)
    (cotangent,) = transpose(y)
    return cotangent


def shifted_pool(x: Array, *, how: Windows) -> Array:
    """The maxima, folded over the shifted images."""
    for along in folds(how):
        x = functools.reduce(jnp.maximum, under(x, along, lowest(x)))
    return x


def shifted_take(x: Array, t: Array, *, how: Windows) -> Array:
    """t at the maxima, carried along with them."""
    x = _above_padding(x, how)
    for along in folds(how):
        pairs = zip(under(x, along, -jnp.inf), under(t, along), strict=True)
        x, t = functools.reduce(_larger, pairs)
    return t


def shifted_put(x: Array, y: Array, *, how: Windows) -> Array:
    """y at the maxima: back through the folds, to the places that are recorded on the way."""
    x = _above_padding(x, how)
    recorded = []
    for along in folds(how):
        n = math.prod(along.window)
        numbers = map(jnp.int8 if n <= 128 else jnp.int32, range(n))
        pairs = zip(under(x, along, -jnp.inf), numbers, strict=True)
        x, places = functools.reduce(_larger, pairs)
        recorded.append((along, places))
    for along, places in reversed(recorded):
        y = _put_along(jnp.broadcast_to(places, y.shape), y, along)
    return y


def _put_along(places: Array, y: Array, along: Windows) -> Array:
    """Each phase of x's pixels gathers from the windows that may have chosen it."""
    chosen = meeting(places, along, fill=-1)
    phases = (
        [jnp.where(place == u, value, 0) for (u, place), (_, value) in zip(*both, strict=True)]
        for both in zip(chosen, meeting(y, along), strict=True)
    )
    return interleaved(phases, along)


def _larger(best: tuple[Array, Array], tap: tuple[Array, Array]) -> tuple[Array, Array]:
    """The first of the larger values, with what it carries."""
    (y, carried), (t, candidate) = best, tap
    take = (t > y) | jnp.isnan(t)
    return jnp.where(take, t, y), jnp.where(take, candidate, carried)


def _above_padding(x: Array, how: Windows) -> Array:
    """Pixels of -inf as the lowest finite number, for padding is -inf."""
    if not any(low > 0 or high > 0 for low, high in how.padding):
        return x
    return jnp.maximum(x, jnp.finfo(x.dtype).min)


def lowest(x: Array) -> Any:
    """What a maximum starts from."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        return np.asarray(-np.inf, x.dtype)
    return np.asarray(jnp.iinfo(x.dtype).min, x.dtype)


pool_p = operation("max_pool", {"xla": xla_pool, "shifts": shifted_pool})
take_p = operation("max_pool_take", {"xla": xla_take, "shifts": shifted_take})
put_p = operation("max_pool_put", {"xla": xla_put, "shifts": shifted_put})


def max_pool(x: Array, *, how: Windows) -> Array:
    """The maxima, b *out c."""
    return bind(pool_p, x, how=how)


def _pool_jvp(primals: Any, tangents: Any, *, how: Windows) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    y = max_pool(x, how=how)
    if type(t) is ad.Zero:
        return y, ad.Zero(jax.typeof(y).to_tangent_aval())
    return y, bind(take_p, x, t, how=how)


def _linear(primitive: Operation, transpose: Operation) -> None:
    """A primitive of (x, v) that is linear in v alone."""

    def jvp(primals: Any, tangents: Any, *, how: Windows) -> tuple[Any, Any]:
        (x, v), (_, t) = primals, tangents
        result = bind(primitive, x, v, how=how)
        if type(t) is ad.Zero:
            return result, ad.Zero(jax.typeof(result).to_tangent_aval())
        return result, bind(primitive, x, t, how=how)

    def transposed(cotangent: Any, x: Array, v: Any, *, how: Windows) -> list[Any]:
        if type(cotangent) is ad.Zero:
            return [None, ad.Zero(v.aval)]
        return [None, bind(transpose, x, cotangent, how=how)]

    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transposed


ad.primitive_jvps[pool_p] = _pool_jvp
_linear(take_p, put_p)
_linear(put_p, take_p)
for _primitive in (pool_p, take_p, put_p):
    batching.primitive_batchers[_primitive] = functools.partial(fold_batch, _primitive)
