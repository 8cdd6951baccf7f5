"""Formulas as small trees: evaluated on arrays, printed as text and as LaTeX, read by `parsing`.

One table says what each function of the language computes and how LaTeX writes it.
"""

import unicodedata
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
    index: int | None = None
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


def _place(a: Any, starts: Any, shape: Any) -> Any:
    """Zeros of a shape with a in them, from `starts` on: what `slice` is transposed."""
    return jax.lax.dynamic_update_slice(jnp.zeros(_shape(shape), a.dtype), a, _shape(starts))


def _power(a: Any, b: Any) -> Any:
    """Whole exponents stay whole, so that x^2 is x times x, and (-3)^2 is 9."""
    whole = isinstance(b, int) and abs(b) <= 64
    return jnp.power(jnp.asarray(a, None if hasattr(a, "dtype") else float), b if whole else b * 1.0)


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
        lambda a, axes=None: jnp.transpose(a, axes and _shape(axes)), 1, 2, latex="^{T}"
    ),
    "where": Function(jnp.where, 3, 3),
}
# sign -> (how tightly it binds, the function); between equals the left one binds first.
OPERATORS: dict[str, tuple[int, Callable[..., Any]]] = {
    "+": (1, jnp.add),
    "-": (1, jnp.subtract),
    "×": (2, jnp.multiply),
    "/": (2, jnp.divide),
    "@": (2, jnp.matmul),
    "negative": (3, jnp.negative),
    "^": (4, _power),
}
CONSTANTS = {"pi": np.pi, "e": np.e, "inf": np.inf}
LARGE = 16  # numbers; what has more shows its shape instead
_MARKS = {"dot": "\u0307", "bar": "\u0304"}  # combining: v̇, v̄


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
        return jnp.asarray(arguments[0])[_shape(arguments[1])]
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


def names_in(formula: Any) -> set[Name]:
    """The names that a formula speaks of."""
    if isinstance(formula, Apply):
        return set().union(*(names_in(a) for a in formula.arguments))
    return {formula} if isinstance(formula, Name) else set()


def format_number(value: float, digits: int = 3) -> str:
    """A number with `digits` decimals, trailing zeros left out; small ones significant digits.

    Example:
        >>> format_number(10.6931), format_number(5.0), format_number(-0.00123456)
        ('10.693', '5', '-0.00123')
    """
    value = float(value)
    if value == 0 or not np.isfinite(value):
        return "0" if value == 0 else str(value)
    if 0.1 <= abs(value) < 1e6:
        text = f"{value:.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{digits}g}"


def format_value(value: Any, digits: int = 3) -> str:
    """A number, a small array as nested lists, or a large one's type and shape."""
    array = np.asarray(value)
    if array.dtype == bool:
        array = array.astype(int)
    if array.size > LARGE:
        kind = f"{array.dtype.kind}{8 * array.dtype.itemsize}"
        return f"{kind}[{','.join(map(str, array.shape))}]"
    if array.ndim == 0:
        return format_number(array, digits)
    return f"[{', '.join(format_value(part, digits) for part in array)}]"


def text(formula: Any, digits: int = 3) -> str:
    """The formula on one line, in the language that `parsing.parse` reads.

    Example:
        >>> text(Apply("×", (Name("v", 4, "bar"), Apply("cos", (Name("v", 0),)))))
        'v̄₄ × cos(v₀)'
    """
    return _text(formula, digits, 0)


def _text(formula: Any, digits: int, binding: int) -> str:
    if isinstance(formula, Name):
        return name_text(formula)
    if isinstance(formula, Number):
        shown = format_value(formula.value, digits)
        return f"({shown})" if binding and shown.startswith("-") else shown
    if isinstance(formula.function, Opaque):
        return f"{formula.function.name}({_listed(formula.arguments, digits)})"
    if formula.function == "index":
        base, place = formula.arguments
        return f"{_text(base, digits, 5)}{format_value(np.atleast_1d(place.value))}"
    if formula.function not in OPERATORS:
        return f"{formula.function}({_listed(formula.arguments, digits)})"
    own = OPERATORS[formula.function][0]
    if formula.function == "negative":
        shown = f"-{_text(formula.arguments[0], digits, own)}"
    else:
        left, right = formula.arguments
        tight = formula.function == "^"
        first = _text(left, digits, own + tight)
        if isinstance(left, Number) and binding <= 1 and own == 1:
            first = first.strip("()")  # a negative number that begins a sum
        second = _text(right, digits, own + (not tight))
        second = f"({second})" if second.startswith("-") else second
        space = "" if tight else " "
        shown = f"{first}{space}{formula.function}{space}{second}"
    return f"({shown})" if own < binding else shown


def _listed(formulas: Any, digits: int) -> str:
    return ", ".join(text(a, digits) for a in formulas)


def name_text(name: Name) -> str:
    """v̄₄ for Name("v", 4, "bar")."""
    marked = unicodedata.normalize("NFC", name.letters + _MARKS.get(name.mark, ""))
    return marked if name.index is None else marked + subscript(name.index)


def subscript(number: int) -> str:
    """-12 as ₋₁₂."""
    return str(number).translate(str.maketrans("-0123456789", "₋₀₁₂₃₄₅₆₇₈₉"))


def latex(formula: Any, digits: int = 3) -> str:
    r"""The formula for LaTeX's mathematical mode.

    Example:
        >>> latex(Apply("/", (Name("v", 1, "dot"), Number(2.0))))
        '\\frac{\\dot{v}_{1}}{2}'
    """
    return _latex(formula, digits, 0)


def _latex(formula: Any, digits: int, binding: int) -> str:
    if isinstance(formula, Name):
        return name_latex(formula)
    if isinstance(formula, Number):
        shown = value_latex(formula.value, digits)
        return f"({shown})" if binding and shown.startswith("-") else shown
    arguments = formula.arguments
    if formula.function == "index":
        places = format_value(np.atleast_1d(arguments[1].value)).strip("[]")
        return f"{{{_latex(arguments[0], digits, 5)}}}_{{{places}}}"
    if formula.function == "/":
        above, below = (_latex(a, digits, 0) for a in arguments)
        return rf"\frac{{{above}}}{{{below}}}"
    if formula.function == "sqrt":
        return rf"\sqrt{{{_latex(arguments[0], digits, 0)}}}"
    if formula.function == "transpose" and len(arguments) == 1:
        return f"{_latex(arguments[0], digits, 5)}^{{T}}"
    if formula.function in OPERATORS:
        own = OPERATORS[formula.function][0]
        if formula.function == "negative":
            shown = f"-{_latex(arguments[0], digits, own)}"
        elif formula.function == "^":
            shown = f"{_latex(arguments[0], digits, 5)}^{{{_latex(arguments[1], digits, 0)}}}"
        else:
            sign = {"×": r"\times", "@": r"\,"}.get(formula.function, formula.function)
            left, right = arguments
            shown = f"{_latex(left, digits, own)} {sign} {_latex(right, digits, own + 1)}"
        return f"({shown})" if own < binding else shown
    name = formula.function
    if isinstance(name, Opaque):
        written = latex_words(name.name)
    else:
        written = FUNCTIONS[name].latex or latex_words(name)
    return f"{written}({', '.join(latex(a, digits) for a in arguments)})"


def latex_words(words: str) -> str:
    """Upright words, special characters escaped."""
    return r"\operatorname{" + words.replace("_", r"\_") + "}"


def name_latex(name: Name) -> str:
    r"""\bar{v}_{4} for Name("v", 4, "bar")."""
    head, tail = name.letters[:1], name.letters[1:]
    if not tail:
        letters = head
    elif tail.isdigit():
        letters = f"{head}_{{{tail}}}"
    else:
        letters = r"\mathit{" + name.letters.replace("_", r"\_") + "}"
    marked = rf"\{name.mark}{{{letters}}}" if name.mark else letters
    return marked if name.index is None else f"{marked}_{{{name.index}}}"


def value_latex(value: Any, digits: int = 3) -> str:
    """A number, or a small vector or matrix in brackets."""
    array = np.asarray(value)
    if array.ndim in (1, 2) and 0 < array.size <= LARGE:
        rows = np.atleast_2d(array)
        body = r" \\ ".join(" & ".join(format_number(v, digits) for v in row) for row in rows)
        return rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"
    shown = format_value(array, digits)
    if array.ndim == 0:
        mantissa, _, exponent = shown.partition("e")
        shown = shown.replace("inf", r"\infty")
        return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else shown
    return rf"\text{{{shown}}}"
