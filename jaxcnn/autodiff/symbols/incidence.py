"""Which inputs each output of a linear operation meets, found by running it on unit vectors."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn

from jaxcnn.autodiff.jaxprs import evaluate
from jaxcnn.autodiff.symbols.scalars import sympy, table


def aval(variable: Any) -> Any:
    """The shape and dtype of a jaxpr's variable."""
    return variable.aval


def size(variable: Any) -> int:
    """Elements of a jaxpr's variable."""
    return math.prod(aval(variable).shape)


def reduction(name: str) -> Callable[..., Any]:
    """A reduction of any number of scalars, by the name that JAX gives it."""
    names = {"sum": "Add", "prod": "Mul", "and": "And", "or": "Or"}
    return getattr(sympy(), names[name]) if name in names else table()[name]


def _incidence(
    f: Callable[[jax.Array], jax.Array], shape: tuple[int, ...]
) -> Iterator[tuple[int, int, float]]:
    """The entries (output, input, value) other than 0 of a linear function's matrix."""
    n = math.prod(shape)
    out = math.prod(jax.eval_shape(f, jax.ShapeDtypeStruct(shape, jnp.float64)).shape)
    chunk = max(1, 2**22 // max(1, out))  # of columns: at most 32 MB at a time
    for first in range(0, n, chunk):
        units = jnp.eye(min(chunk, n - first), n, first, dtype=jnp.float64)
        columns = np.asarray(jax.vmap(f)(units.reshape(-1, *shape))).reshape(len(units), out)
        for i, o in zip(*np.nonzero(columns), strict=True):
            yield int(o), first + int(i), float(columns[i, o])


def gathered(sums: list[list[Any]], function: Callable[..., Any], variable: Any) -> np.ndarray:
    """The function of each output's terms, in the shape of the variable."""
    holder = np.empty(len(sums), dtype=object)
    holder[:] = [function(*terms) for terms in sums]
    return holder.reshape(aval(variable).shape)


def products(equation: JaxprEqn, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sums of products: each output meets an element of x in at most one product.

    So with y's elements numbered from 1, the matrix of the function of x holds y's numbers.
    """
    params = {**equation.params, "preferred_element_type": np.dtype(np.float64)}
    plain = equation.replace(params=params)
    args, side = [x, y], int(y.size < x.size)  # unit vectors for the smaller
    other = args[1 - side]
    ids = jnp.arange(1.0, other.size + 1).reshape(other.shape)

    def linear(unit: jax.Array) -> jax.Array:
        return evaluate(plain, *((ids, unit) if side else (unit, ids)))[0]

    sums: list[list[Any]] = [[] for _ in range(size(equation.outvars[0]))]
    here, there = args[side].ravel(), other.ravel()
    for o, i, j in _incidence(linear, args[side].shape):
        sums[o].append(here[i] * there[round(j) - 1])
    return gathered(sums, sympy().Add, equation.outvars[0])


def windows(name: str) -> Callable[..., np.ndarray]:
    """A reduction over windows; the elements of each are found by summing unit vectors."""
    options = "window_dimensions window_strides padding base_dilation window_dilation".split()

    def rule(equation: JaxprEqn, x: np.ndarray) -> np.ndarray:
        p = {key: equation.params[key] for key in options}

        def total(unit: jax.Array) -> jax.Array:
            return lax.reduce_window(unit, 0.0, lax.add, **p)

        members: list[list[Any]] = [[] for _ in range(size(equation.outvars[0]))]
        elements = x.ravel()
        for o, i, _ in _incidence(total, x.shape):
            members[o].append(elements[i])
        return gathered(members, reduction(name), equation.outvars[0])

    return rule


def scatter_sum(
    equation: JaxprEqn, x: np.ndarray, places: np.ndarray, updates: np.ndarray
) -> np.ndarray:
    """x with updates added at places that no input moves."""
    indices = jnp.asarray(places.astype(np.int64))
    zeros = jnp.zeros(x.shape, jnp.float64)

    def spread(unit: jax.Array) -> jax.Array:
        return evaluate(equation, zeros, indices, unit)[0]

    sums = [[e] for e in x.ravel()]
    added = updates.ravel()
    for o, i, _ in _incidence(spread, updates.shape):
        sums[o].append(added[i])
    return gathered(sums, sympy().Add, equation.outvars[0])
