"""Derivatives from values of a function alone: forward, central, complex-step differences."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from jaxcnn.autodiff.jaxprs import inner_jaxprs
from jaxcnn.autodiff.leaves import is_inexact

METHODS = ("forward", "central", "complex-step")
MEMORY = 2**28  # bytes that the values inside f may take for all coordinates of a chunk
# What takes a complex number apart, so that its derivative does not reach the result.
UNCARRIED = frozenset(["sign", "abs", "conj", "real", "imag"])


def numerical_gradient(
    f: Callable[[Any], Any], x: Any, *, method: str = "central", step: float | None = None
) -> Any:
    r"""The gradient of a scalar function by differences, one coordinate at a time.

    "forward": (f(x + h e_i) - f(x)) / h, with an error in h; "central": (f(x + h e_i) -
    f(x - h e_i)) / 2h, in h^2; "complex-step": Im f(x + i h e_i) / h, in h^2 and with no
    cancellation, so that h can be tiny. Rounding adds about eps |f| / h to the first two, which
    their steps h_i = eps^(1/2) and eps^(1/3) times max(1, |x_i|) balance; h_i = 1e-20 max(1,
    |x_i|) for the third. The h of the formulas is the step taken in floating point,
    (x_i + h) - x_i. Half precision is differentiated in float32: in a difference of its values
    hardly a digit is left.

    Args:
        f: function of x that gives one number.
        x: a pytree of floating-point arrays.
        method: "forward", "central" or "complex-step".
        step: h for all coordinates alike; give one where f changes over much less than 1, as
            sin(1e6 x) does and log(x) near 0.

    Returns:
        the derivatives, a pytree like x in structure, shapes and dtypes.

    Raises:
        ValueError: an unknown method, a step that is not positive or too small to change x, x
            with integers or complex numbers, f that does not give one number, and, by complex
            steps, f that does not carry complex numbers (`abs`, comparisons, real parts).

    Example:
        >>> import jax.numpy as jnp
        >>> numerical_gradient(lambda x: x[0] ** 2 * x[1], jnp.array([3.0, 2.0]),
        ...                    method="complex-step").round()
        Array([12.,  9.], dtype=float32)

    Reference:
        Martins, Sturdza & Alonso (2003), The complex-step derivative approximation,
        https://doi.org/10.1145/838250.838251.
    """
    caller = "numerical_gradient"
    x, widened = _prepared(caller, x)
    f = _of_arrays(f)
    out = jax.eval_shape(f, widened)
    shapes = [leaf.shape for leaf in jax.tree.leaves(out)]
    if shapes != [()]:
        raise ValueError(f"{caller}: f must return one number, got shapes {shapes}.")
    if not jnp.issubdtype(jax.tree.leaves(out)[0].dtype, jnp.floating):
        dtype = jax.tree.leaves(out)[0].dtype
        raise ValueError(f"{caller}: f must return a real floating-point number, got {dtype}.")
    columns = _columns(caller, lambda z: jax.tree.leaves(f(z))[0], widened, method, step)
    return jax.tree.map(lambda a, g: g.astype(a.dtype), x, _like(columns, widened))


def numerical_jacobian(
    f: Callable[[Any], Any], x: Any, *, method: str = "central", step: float | None = None
) -> Any:
    r"""The derivatives of all outputs by all inputs by differences, as `numerical_gradient` does.

    J[i, j] = (f_i(x + h e_j) - f_i(x - h e_j)) / 2h for method="central". It takes a pass of f
    (two if central) for each input.

    Args:
        f: function of x that gives a pytree of floating-point arrays.
        x: a pytree of floating-point arrays.
        method: "forward", "central" or "complex-step".
        step: h for all coordinates alike.

    Returns:
        nested as by `jax.jacfwd`: for each array of f(x) a pytree like x with arrays of shape
        (*output, *input), in the output's dtype.

    Raises:
        ValueError: as `numerical_gradient`; outputs that are no floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> numerical_jacobian(lambda x: x * x[0], jnp.array([3.0, 2.0]),
        ...                    method="complex-step").round()
        Array([[6., 0.], [2., 3.]], dtype=float32)

    """
    caller = "numerical_jacobian"
    x, widened = _prepared(caller, x)
    f = _of_arrays(f)
    dtypes = jax.tree.map(lambda leaf: leaf.dtype, jax.eval_shape(f, x))
    for leaf in jax.tree.leaves(jax.eval_shape(f, widened)):
        if not is_inexact(leaf):
            raise ValueError(f"{caller}: f must return floating-point numbers, got {leaf.dtype}.")
    columns = _columns(caller, f, widened, method, step)

    def nested(column: Array, dtype: Any) -> Any:
        return _like(jnp.moveaxis(column, 0, -1).astype(dtype), widened)

    return jax.tree.map(nested, columns, dtypes)


def _of_arrays(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """f with arrays in place of Python's numbers."""
    return lambda x: jax.tree.map(jnp.asarray, f(x))


def _prepared(caller: str, x: Any) -> tuple[Any, Any]:
    """x as arrays, and with half precision widened to float32."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(x)[0]:
        dtype = jnp.asarray(leaf).dtype
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"{caller}: x takes real floating-point arrays, got {dtype} in "
                f"x{jax.tree_util.keystr(path)}."
            )
    x = jax.tree.map(jnp.asarray, x)
    if not sum(leaf.size for leaf in jax.tree.leaves(x)):
        raise ValueError(f"{caller}: x needs at least one number, got none.")
    return x, jax.tree.map(lambda a: a.astype(jnp.promote_types(a.dtype, jnp.float32)), x)


def _columns(caller: str, f: Callable[[Any], Any], x: Any, method: str, step: float | None) -> Any:
    """The difference quotient of each coordinate in turn along a new first axis of f's result."""
    if method not in METHODS:
        known = ", ".join(f'"{name}"' for name in METHODS)
        raise ValueError(f"{caller}: method takes {known}, got {method!r}.")
    if step is not None and not (step > 0 and np.isfinite(step)):
        raise ValueError(f"{caller}: step must be positive, got {step!r}.")
    leaves = jax.tree.leaves(x)
    wide = jnp.result_type(*leaves)
    numbers = jnp.concatenate([leaf.ravel().astype(wide) for leaf in leaves])
    rows = [_points(caller, np.asarray(leaf).ravel(), method, step) for leaf in leaves]
    points = [np.concatenate(column) for column in zip(*rows, strict=True)]
    if method == "complex-step":
        _check_carries(caller, f, x)
        numbers = numbers.astype(jnp.result_type(wide, jnp.complex64))

    def at(i: Array, value: Array) -> Any:
        moved = _like(numbers.at[i].set(value.astype(numbers.dtype)), x)
        if method == "complex-step":
            return f(moved)
        return f(jax.tree.map(lambda a, b: b.astype(a.dtype), x, moved))

    def quotient(i: Array, high: Array, low: Array, width: Array) -> Any:
        if method == "complex-step":
            return jax.tree.map(lambda y: y.imag / width.astype(y.imag.dtype), at(i, high))
        above, below = at(i, high), at(i, low)
        return jax.tree.map(lambda p, q: (p - q) / width.astype(p.real.dtype), above, below)

    chunk = MEMORY // (2 * _bytes(jax.make_jaxpr(f)(x)) + numbers.nbytes)
    chunk = max(1, min(numbers.size, chunk))
    batched, parts = jax.jit(jax.vmap(quotient)), []
    for start in range(0, numbers.size, chunk):
        # One compiled program does for all chunks: the last one repeats some coordinates.
        first = min(start, numbers.size - chunk)
        among = jnp.arange(first, first + chunk)
        part = batched(among, *(jnp.asarray(row[first : first + chunk]) for row in points))
        parts.append(jax.tree.map(lambda y, drop=start - first: y[drop:], part))
    return jax.tree.map(lambda *ys: jnp.concatenate(ys), *parts)


def _points(
    caller: str, x: np.ndarray, method: str, step: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each coordinate the two numbers put in its place and the distance between them."""
    eps = np.finfo(x.dtype).eps
    usual = {"forward": eps ** (1 / 2), "central": eps ** (1 / 3), "complex-step": 1e-20}[method]
    h = usual * np.maximum(1, np.abs(x)) if step is None else np.full_like(x, step)
    h = h.astype(x.dtype)
    if method == "complex-step":
        return x + 1j * h, x, h
    high, low = x + h, x if method == "forward" else x - h
    if step is not None and np.any(high == low):
        k = int(np.argmax(high == low))
        raise ValueError(f"{caller}: step must change x, got {step!r} at x = {x[k]!s}.")
    return high, low, high - low


def _check_carries(caller: str, f: Callable[[Any], Any], x: Any) -> None:
    """Raise where a complex number would not go through f to its result."""
    words = f'{caller}: method="complex-step" needs an f that carries complex numbers'
    imaginary = jax.tree.map(lambda a: a.astype(jnp.result_type(a.dtype, jnp.complex64)), x)
    try:
        jaxpr = jax.make_jaxpr(f)(imaginary)
    except (TypeError, ValueError, NotImplementedError) as error:
        said = str(error).strip().splitlines()[0]
        raise ValueError(f"{words}; with them it raises {type(error).__name__}: {said}") from error
    lost = sorted(UNCARRIED & _primitives(jaxpr))
    if lost:
        raise ValueError(f"{words}; it takes {', '.join(lost)} of them.")
    for aval in jaxpr.out_avals:
        if not jnp.issubdtype(aval.dtype, jnp.complexfloating):
            raise ValueError(f"{words}; it gives {aval.dtype}.")


def _equations(jaxpr: Jaxpr | ClosedJaxpr) -> Iterator[JaxprEqn]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in inner_jaxprs(equation):
            yield from _equations(inner)


def _primitives(jaxpr: Jaxpr | ClosedJaxpr) -> set[str]:
    """The operations on complex numbers, those inside loops and calls included."""

    def is_complex(variable: Any) -> bool:
        return jnp.issubdtype(variable.aval.dtype, jnp.complexfloating)

    equations = (e for e in _equations(jaxpr) if any(is_complex(v) for v in e.invars))
    return {equation.primitive.name for equation in equations}


def _bytes(jaxpr: Jaxpr | ClosedJaxpr) -> int:
    """What all values of a run take together: more than are alive at any time."""
    avals: list[Any] = [v.aval for equation in _equations(jaxpr) for v in equation.outvars]
    return 1 + sum(a.size * a.dtype.itemsize for a in avals if hasattr(a, "size"))


def _like(flat: Array, x: Any) -> Any:
    """The last axis as a pytree of arrays of x's shapes."""
    leaves, treedef = jax.tree.flatten(x)
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    parts = jnp.split(flat, ends, axis=-1)
    shaped = [p.reshape(*p.shape[:-1], *a.shape) for p, a in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(treedef, shaped)
