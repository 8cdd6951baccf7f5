"""JAX's element-wise operations on SymPy's scalars. SymPy is imported where it is first used."""

import contextlib
import functools
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np


@functools.cache
def sympy() -> Any:
    """SymPy itself.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import sympy
    except ImportError as error:
        raise ImportError(
            "symbolic: SymPy is not installed: pip install 'jaxcnn[symbolic]'."
        ) from error
    return sympy


@contextlib.contextmanager
def shallow(name: str) -> Iterator[None]:
    """SymPy walks expressions by recursion: say so in plain words where that ends."""
    try:
        yield
    except RecursionError as error:
        raise ValueError(
            f"{name}: the expressions nest deeper than SymPy can follow within Python's recursion "
            f"limit of {sys.getrecursionlimit()}: use fewer steps."
        ) from error


@functools.cache
def stopped() -> Any:
    """The function `stop_gradient` of SymPy's scalars: its argument, with derivative 0."""
    sp = sympy()

    class stop_gradient(sp.Function):
        @classmethod
        def eval(cls, arg: Any) -> Any:
            return arg if arg.is_number else None

        def _eval_derivative(self, s: Any) -> Any:
            return sp.S.Zero

        def _eval_is_extended_real(self) -> Any:
            return self.args[0].is_extended_real

    return stop_gradient


def exact(value: Any) -> Any:
    """A number or truth value as SymPy's: integers and short binary fractions are exact.

    Other floats keep their 53 bits.
    """
    sp = sympy()
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool):
        return sp.true if value else sp.false
    if isinstance(value, int):
        return sp.Integer(value)
    if isinstance(value, complex):
        raise ValueError(f"symbolic: the numbers need to be real, got {value}.")
    if math.isnan(value):
        return sp.nan
    if math.isinf(value):
        return sp.oo if value > 0 else -sp.oo
    numerator, denominator = value.as_integer_ratio()
    short = denominator <= 1024 and abs(numerator) < 2**53
    return sp.Rational(numerator, denominator) if short else sp.Float(value)


def extreme(kind: str, *args: Any) -> Any:
    """Max or Min of scalars, not simplified: SymPy would compare every pair of expressions."""
    sp = sympy()
    function, bound = (sp.Max, -sp.oo) if kind == "max" else (sp.Min, sp.oo)
    numbers = [a for a in args if a.is_Number]
    rest = list(dict.fromkeys(a for a in args if not a.is_Number))
    limit = function(*numbers)
    if limit is sp.nan:
        return sp.nan
    terms = rest if limit == bound else [limit, *rest]
    if len(terms) == 1:
        return terms[0]
    return function(*terms, evaluate=False) if terms else bound


def is_condition(value: Any) -> bool:
    """Whether a scalar is true or false; SymPy's symbols could be either, ours are numbers."""
    sp = sympy()
    return isinstance(value, sp.logic.boolalg.Boolean) and not isinstance(value, sp.Expr)


def piecewise(cases: Iterable[tuple[Any, Any]]) -> Any:
    """SymPy's Piecewise as it is given.

    Its constructor multiplies out every Piecewise inside a condition: n of them make 2^n cases.
    """
    sp = sympy()
    pair = sp.functions.elementary.piecewise.ExprCondPair
    return sp.Basic.__new__(sp.Piecewise, *(sp.Tuple.__new__(pair, *case) for case in cases))


def choose(*cases: tuple[Any, Any]) -> Any:
    """The value of the first (value, condition) whose condition holds; the last one is true."""
    sp = sympy()
    possible = [(value, condition) for value, condition in cases if condition != sp.false]
    first = possible[0][0]
    if possible[0][1] == sp.true or all(value == first for value, _ in possible):
        return first
    if not is_condition(first):
        return piecewise(possible)
    found = possible[-1][0]
    for value, condition in reversed(possible[:-1]):
        found = sp.Or(sp.And(condition, value), sp.And(sp.Not(condition), found))
    return found


def number(condition: Any) -> Any:
    """1 where a condition holds, else 0."""
    sp = sympy()
    return choose((sp.S.One, condition), (sp.S.Zero, sp.true))


def compare(name: str, a: Any, b: Any) -> Any:
    """A relation between two scalars, left as it is unless the result is plain.

    It is plain for numbers, for equals and beside infinities: every symbol counts as finite, as
    SymPy's real symbols do.
    """
    sp = sympy()
    if sp.nan in (a, b):  # unlike everything, itself included
        return sp.true if name == "ne" else sp.false
    if a == b:
        return sp.true if name in ("eq", "le", "ge") else sp.false
    if is_condition(a):
        return sp.Xor(a, b) if name == "ne" else sp.Not(sp.Xor(a, b))
    if name in ("eq", "ne") and isinstance(a, sp.Piecewise) and (b.is_zero or b is sp.S.One):
        condition = a.args[0][1]
        if a == number(condition):
            return condition if (name == "eq") == (b is sp.S.One) else sp.Not(condition)
    kinds = {"eq": sp.Eq, "ne": sp.Ne, "lt": sp.Lt, "le": sp.Le, "gt": sp.Gt, "ge": sp.Ge}
    if a.is_Number and b.is_Number:
        return kinds[name](a, b)
    if sp.oo in (a, -a, b, -b):
        holds = {"ne"} | ({"lt", "le"} if a == -sp.oo or b == sp.oo else {"gt", "ge"})
        return sp.true if name in holds else sp.false
    return kinds[name](a, b, evaluate=False)


def remainder(a: Any, b: Any) -> Any:
    """What is left of a / b cut off towards 0, with a's sign, as C and JAX's `rem` have it."""
    sp = sympy()
    ratio = a / b
    return a - b * stopped()(sp.sign(ratio) * sp.floor(absolute(ratio)))


def absolute(a: Any) -> Any:
    """|a|, without the search for a sign that SymPy makes in long expressions."""
    sp = sympy()
    return sp.Abs(a) if a.is_Atom else sp.Abs(a, evaluate=False)


@functools.cache
def table() -> dict[str, Callable[..., Any]]:
    """The element-wise primitives: name -> a function of SymPy's scalars."""
    sp = sympy()
    stop = stopped()
    half = sp.Rational(1, 2)
    return {
        "add": lambda a, b: a + b,
        "add_any": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "neg": lambda a: -a,
        "square": lambda a: a**2,
        "one_minus_square": lambda a: 1 - a**2,
        "sqrt": sp.sqrt,
        "rsqrt": lambda a: a**-half,
        "cbrt": lambda a: sp.sign(a) * absolute(a) ** sp.Rational(1, 3),
        "pow": lambda a, b: a**b,
        "exp": sp.exp,
        "exp2": lambda a: 2**a,
        "expm1": lambda a: sp.exp(a) - 1,
        "log": sp.log,
        "log2": lambda a: sp.log(a) / sp.log(2),
        "log1p": lambda a: sp.log(1 + a),
        **{name: getattr(sp, name) for name in "sin cos tan sinh cosh tanh asin acos atan".split()},
        **{name: getattr(sp, name) for name in "asinh acosh atanh atan2 erf erfc".split()},
        "erf_inv": sp.erfinv,
        "lgamma": sp.loggamma,
        "digamma": sp.digamma,
        "logistic": lambda a: 1 / (1 + sp.exp(-a)),
        "abs": absolute,
        "rem": remainder,
        "sign": lambda a: stop(sp.sign(a)),  # piecewise constant, as are floor and ceil
        "floor": lambda a: stop(sp.floor(a)),
        "ceil": lambda a: stop(sp.ceiling(a)),
        "max": lambda *args: extreme("max", *args),
        "min": lambda *args: extreme("min", *args),
        "clamp": lambda low, a, high: extreme("min", extreme("max", low, a), high),
        "is_finite": lambda a: sp.false if a.is_Number and not a.is_finite else sp.true,
        **{name: functools.partial(compare, name) for name in "eq ne lt le gt ge".split()},
        "and": sp.And,
        "or": sp.Or,
        "not": sp.Not,
        "xor": sp.Xor,
        "stop_gradient": stop,
    }


def apply(function: Callable[..., Any], *arrays: Any) -> np.ndarray:
    """A function of scalars on arrays of one shape, or of none."""
    found = np.frompyfunc(function, len(arrays), 1)(*arrays)
    return np.asarray(found, dtype=object)


def expressions(value: Any) -> np.ndarray:
    """An array as an object array of SymPy's numbers; object arrays pass."""
    array = np.asarray(value)
    if array.dtype == object:
        return array
    if array.dtype.kind not in "biufc":  # bfloat16 and its like
        array = array.astype(np.float64)
    return apply(exact, array)
