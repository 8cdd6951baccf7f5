"""Formulas as small trees: `parsing` reads them, `notation` prints them, arrays go in and come out.

One table says what each function of the language computes and how LaTeX writes it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Number(NamedTuple):
    """A number, or an array of numbers."""

    value: Any


class Name(NamedTuple):
    """A variable: x1, v₄, or the tangent (mark "dot") or adjoint (mark "bar") of one."""

    letters: str
    number: int | None = None
    mark: str = ""


class Opaque(NamedTuple):
    """A function outside the language, by the name it prints."""

    name: str
    function: Callable[..., Any]


class Apply(NamedTuple):
    """A function or operator applied to formulas."""

    function: str | Opaque
    arguments: tuple[Any, ...]  # of formulas; pyright sees no recursive named tuples


Formula = Number | Name | Apply


class Function(NamedTuple):
    """What a name of the language means."""

    function: Callable[..., Any]
    least: int = 1  # arguments
    most: int = 1
    latex: str = ""  # without it, the name upright


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in np.atleast_1d(value)) if np.size(value) else ()


def _sum(a: Any, axes: Any = None) -> Any:
    return jnp.sum(a, axis=None if axes is None else _shape(axes))


def _greatest(a: Any, *b: Any) -> Any:
    return jnp.maximum(a, *b) if b else jnp.max(a)


def _least(a: Any, *b: Any) -> Any:
    return jnp.minimum(a, *b) if b else jnp.min(a)


def _greater(a: Any, b: Any) -> Any:
    """1 where a > b, 1/2 at a tie, else 0: the share of a in the derivative of max(a, b)."""
    return jnp.where(a == b, 0.5, jnp.where(a > b, 1.0, 0.0))


def _indexed(a: Any, index: tuple[int, ...]) -> Any:
    shape = jnp.shape(a)
    if len(index) > len(shape) or any(not 0 <= i < n for i, n in zip(index, shape, strict=False)):
        raise ValueError(f"formula: index {list(index)} is outside of shape {shape}.")
    return jnp.asarray(a)[index]


def _place(a: Any, starts: Any, shape: Any) -> Any:
    """Zeros of a shape with a in them, from `starts` on: what `slice` is transposed."""
    return jax.lax.dynamic_update_slice(jnp.zeros(_shape(shape), a.dtype), a, _shape(starts))


def _power(a: Any, b: Any) -> Any:
    """Whole exponents stay whole, so that x^2 is x times x, and (-3)^2 is 9."""
    whole = isinstance(b, int) and abs(b) <= 64
    return jnp.power(
        jnp.asarray(a, None if hasattr(a, "dtype") else float), b if whole else b * 1.0
    )


FUNCTIONS: dict[str, Function] = {
    "abs": Function(jnp.abs, latex=r"\operatorname{abs}"),
    "acos": Function(jnp.arccos, latex=r"\arccos"),
    "asin": Function(jnp.arcsin, latex=r"\arcsin"),
    "atan": Function(jnp.arctan, latex=r"\arctan"),
    "broadcast": Function(lambda a, shape: jnp.broadcast_to(a, _shape(shape)), 2, 2),
    "cos": Function(jnp.cos, latex=r"\cos"),
    "cosh": Function(jnp.cosh, latex=r"\cosh"),
    "dot": Function(jnp.dot, 2, 2),
    "erf": Function(jax.lax.erf),
    "exp": Function(jnp.exp, latex=r"\exp"),
    "expm1": Function(jnp.expm1),
    "gelu": Function(lambda a: jax.nn.gelu(a, approximate=False)),
    "greater": Function(_greater, 2, 2),
    "ln": Function(jnp.log, latex=r"\ln"),
    "log": Function(jnp.log, latex=r"\ln"),
    "log1p": Function(jnp.log1p),
    "max": Function(_greatest, 1, 2, latex=r"\max"),
    "mean": Function(jnp.mean),
    "min": Function(_least, 1, 2, latex=r"\min"),
    "norm": Function(lambda a: jnp.sqrt(jnp.sum(a * a))),
    "outer": Function(jnp.outer, 2, 2),
    "place": Function(_place, 3, 3),
    "relu": Function(jax.nn.relu),
    "reshape": Function(lambda a, shape: jnp.reshape(a, _shape(shape)), 2, 2),
    "sigmoid": Function(jax.nn.sigmoid, latex=r"\sigma"),
    "sign": Function(jnp.sign),
    "sin": Function(jnp.sin, latex=r"\sin"),
    "sinh": Function(jnp.sinh, latex=r"\sinh"),
    "slice": Function(lambda a, starts, stops: jax.lax.slice(a, starts, stops), 3, 3),
    "softmax": Function(jax.nn.softmax),
    "softplus": Function(jax.nn.softplus),
    "sqrt": Function(jnp.sqrt),
    "step": Function(lambda a: jnp.where(a > 0, 1.0, 0.0)),
    "stop_gradient": Function(jax.lax.stop_gradient),
    "sum": Function(_sum, 1, 2),
    "tan": Function(jnp.tan, latex=r"\tan"),
    "tanh": Function(jnp.tanh, latex=r"\tanh"),
    "transpose": Function(
        lambda a, axes=None: jnp.transpose(a, None if axes is None else _shape(axes)), 1, 2
    ),
    "where": Function(jnp.where, 3, 3),
}
COMPARISONS = {
    ">": jnp.greater,
    "<": jnp.less,
    ">=": jnp.greater_equal,
    "<=": jnp.less_equal,
    "==": jnp.equal,
    "!=": jnp.not_equal,
}
# sign -> (how tightly it binds, the function); between equals the left one binds first.
OPERATORS: dict[str, tuple[int, Callable[..., Any]]] = {
    **{sign: (0, function) for sign, function in COMPARISONS.items()},
    "+": (1, jnp.add),
    "-": (1, jnp.subtract),
    "×": (2, jnp.multiply),
    "/": (2, jnp.divide),
    "@": (2, jnp.matmul),
    "negative": (3, jnp.negative),
    "^": (4, _power),
}
CONSTANTS = {"pi": np.pi, "e": np.e, "inf": np.inf}


def evaluate_formula(formula: Any, variables: Mapping[Any, Any]) -> Any:
    """The value of a formula.

    Args:
        formula: the tree.
        variables: by `Name`.
    """
    if isinstance(formula, Number):
        return formula.value
    if isinstance(formula, Name):
        return variables[formula]
    arguments = [evaluate_formula(a, variables) for a in formula.arguments]
    if isinstance(formula.function, Opaque):
        return formula.function.function(*arguments)
    if formula.function == "index":
        return _indexed(arguments[0], _shape(arguments[1]))
    if formula.function in OPERATORS:
        first, *rest = arguments
        first = float(first) if isinstance(first, int) else first  # 9^99 is no int32
        return OPERATORS[formula.function][1](first, *rest)
    return FUNCTIONS[formula.function].function(*arguments)


def substitute(formula: Any, formulas: Mapping[Any, Any]) -> Any:
    """The formula with other formulas in place of some of its names."""
    if isinstance(formula, Apply):
        parts = tuple(substitute(a, formulas) for a in formula.arguments)
        return Apply(formula.function, parts)
    return formulas.get(formula, formula) if isinstance(formula, Name) else formula
