"""Reading formulas: names and functions from a list, and the place of what is wrong.

    formula: sum, or two sums with one of > < >= <= == != between
    sum:     product, then any of + - and a product
    product: signed, then any of × * · / @ and a signed
    signed:  any of + - and a signed, or a power
    power:   operand, or operand ^ signed (also **)
    operand: number, name, function(formula, ...), (formula), [sum, ...]; then any [index, ...]

Nothing is ever handed to Python's own `eval`.
"""

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcnn.autodiff.traces.formulas import (
    COMPARISONS,
    CONSTANTS,
    FUNCTIONS,
    Apply,
    Name,
    Number,
    evaluate_formula,
)

DEPTH = 30  # of brackets in brackets; each takes eight frames of Python's thousand
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[^\W\d][\w\u0300-\u036f₀-₉₋]*)"
    r"|(?P<sign>\*\*|[<>=!]=|[-+<>*/@^(),\[\]×·−]))"
)
_SIGNS = {"*": "×", "·": "×", "**": "^", "−": "-"}


class FormulaError(ValueError):
    """A formula that cannot be read; the message shows where."""


class Token(NamedTuple):
    """A number, a name, a sign, or the end."""

    kind: str
    text: str
    place: int


def parse(formula: str, names: Collection[str]) -> Any:
    """Read a formula.

    Args:
        formula: such as "ln(x1) + x1*x2 - sin(x2)".
        names: the variables that it may use; beside them there are the functions of
            `formulas.FUNCTIONS` and the constants pi, e and inf.

    Returns:
        the tree, of `formulas.Number`, `Name` and `Apply`.

    Raises:
        FormulaError: a mistake, with its position, counted from 1, and a mark below it.

    Example:
        >>> parse("x^2", ["x"])
        Apply(function='^', arguments=(Name(letters='x', number=None, mark=''), Number(value=2)))
        >>> parse("2 * (x + 1", ["x"])
        Traceback (most recent call last):
        jaxcnn...FormulaError: formula: expected ")" at position 11, got the end:
          2 * (x + 1
                    ^
    """
    reader = _Reader(formula, names)
    tree = reader.formula()
    reader.expect("", "an operator or the end", bool(reader.token.kind == "end"))
    return tree


def formula_function(formula: str, names: Sequence[str]) -> Callable[..., Any]:
    """A formula as a function of its variables, which JAX can trace and differentiate.

    Args:
        formula: such as "ln(x1) + x1*x2 - sin(x2)".
        names: its variables, in the order of the function's arguments.

    Raises:
        FormulaError: a mistake in the formula, and where it is.

    Example:
        >>> f = formula_function("x * (y + 1)", ["x", "y"])
        >>> float(f(2.0, 3.0))
        8.0
    """
    tree = parse(formula, names)

    def function(*values: Any) -> Any:
        return evaluate_formula(tree, {Name(n): v for n, v in zip(names, values, strict=True)})

    kind = inspect.Parameter.POSITIONAL_ONLY
    function.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])  # type: ignore
    return function


def parse_value(written: str) -> np.ndarray:
    """A number, vector or matrix in float64, from text such as "2", "-1/3" or "[[1, 2], [3, 4]]".

    Raises:
        FormulaError: what is no constant formula.

    Example:
        >>> parse_value("[0.5, -2]")
        array([ 0.5, -2. ])
    """
    with jax.enable_x64(True):
        return np.asarray(evaluate_formula(parse(written, ()), {}), np.float64)


class _Reader:
    """One pass over the text, from left to right, with one token in view."""

    def __init__(self, formula: str, names: Collection[str]) -> None:
        self.written, self.names, self.depth = formula, names, 0
        self.end = 0
        self.token = self._next()

    def formula(self) -> Any:
        left = self.sum()
        if self.token.text not in COMPARISONS:
            return left
        return Apply(self._take().text, (left, self.sum()))

    def sum(self) -> Any:
        return self._chain(("+", "-"), self.product)

    def product(self) -> Any:
        return self._chain(("×", "/", "@"), self.signed)

    def signed(self) -> Any:
        if self.token.text not in ("+", "-"):
            return self.power()
        sign = self._take()
        self._deeper()
        inner = self.signed()
        self.depth -= 1
        return inner if sign.text == "+" else Apply("negative", (inner,))

    def power(self) -> Any:
        base = self.operand()
        if self.token.text != "^":
            return base
        self._take()
        self._deeper()
        exponent = self.signed()
        self.depth -= 1
        return Apply("^", (base, exponent))

    def operand(self) -> Any:
        token = self._take()
        if token.kind == "number":
            whole = re.fullmatch(r"\d{1,15}", token.text)
            found: Any = Number(int(token.text) if whole else float(token.text))
        elif token.kind == "name":
            found = self._named(token)
        elif token.text == "(":
            self._deeper()
            found = self.formula()
            self._close(")")
        elif token.text == "[":
            found = self._array(token)
        else:
            raise self._wrong(token, 'expected a number, a name, "(" or "["')
        while self.token.text == "[":
            found = self._indexed(found, self._take())
        return found

    def expect(self, sign: str, what: str, right: bool) -> None:
        """Raise unless the token in view is right."""
        if not right:
            raise self._wrong(self.token, f"expected {what}")

    def _chain(self, signs: tuple[str, ...], part: Any) -> Any:
        left = part()
        while self.token.kind == "sign" and self.token.text in signs:
            sign = self._take().text
            left = Apply(sign, (left, part()))
        return left

    def _named(self, token: Token) -> Any:
        if self.token.text == "(":
            return self._call(token)
        if token.text in self.names:
            return Name(token.text)
        if token.text in CONSTANTS:
            return Number(CONSTANTS[token.text])
        if token.text in FUNCTIONS:
            raise self._wrong(token, f'{token.text} is a function and needs "(" after it', "")
        known = ", ".join([*self.names, *CONSTANTS])
        raise self._wrong(token, f"no variable {token.text!r}", f"; known are {known}")

    def _call(self, token: Token) -> Any:
        if token.text not in FUNCTIONS:
            close = difflib.get_close_matches(token.text, FUNCTIONS, n=1)
            known = close or list(FUNCTIONS)
            hint = "; did you mean " if close else "; known are "
            raise self._wrong(token, f"no function {token.text!r}", hint + ", ".join(known))
        self._take()
        self._deeper()
        arguments = [self.formula()]
        while self.token.text == ",":
            self._take()
            arguments.append(self.formula())
        self._close(")")
        function = FUNCTIONS[token.text]
        if not function.least <= len(arguments) <= function.most:
            wanted = " or ".join(str(n) for n in sorted({function.least, function.most}))
            words = f"{token.text} takes {wanted} argument{'s' * (wanted != '1')}"
            raise self._wrong(token, words, f", got {len(arguments)}")
        return Apply("ln" if token.text == "log" else token.text, tuple(arguments))

    def _array(self, token: Token) -> Any:
        self._deeper()
        parts = []
        while self.token.text != "]":
            parts.append(self.sum())
            if self.token.text != ",":
                break
            self._take()
        self._close("]")
        try:
            values = [_constant(part) for part in parts]
            array = np.array(values)
        except ValueError:
            raise self._wrong(token, "expected rows of numbers of one length", "") from None
        return Number(array if array.dtype.kind == "i" and array.size else array.astype(float))

    def _indexed(self, base: Any, token: Token) -> Any:
        place = self._array(token).value
        if place.ndim != 1 or not place.size or (place != place.astype(int)).any():
            raise self._wrong(token, "an index is whole numbers", "")
        return Apply("index", (base, Number(place.astype(int))))

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > DEPTH:
            raise self._wrong(self.token, f"more than {DEPTH} brackets and signs in each other", "")

    def _close(self, sign: str) -> None:
        self.depth -= 1
        self.expect(sign, f'"{sign}"', self.token.text == sign)
        self._take()

    def _take(self) -> Token:
        taken, self.token = self.token, self._next() if self.token.kind != "end" else self.token
        return taken

    def _next(self) -> Token:
        match = _TOKEN.match(self.written, self.end)
        if match is None:
            rest = self.written[self.end :].lstrip()
            place = len(self.written) - len(rest)
            if not rest:
                return Token("end", "", len(self.written.rstrip()))
            raise self._wrong(Token("", rest[0], place), "no formula has this character")
        self.end = match.end()
        kind = str(match.lastgroup)
        read = match.group(kind)
        return Token(kind, _SIGNS.get(read, read), match.start(kind))

    def _wrong(self, token: Token, rule: str, got: str | None = None) -> FormulaError:
        if got is None:
            got = f", got {'the end' if token.kind == 'end' else repr(token.text)}"
        line = self.written.replace("\n", " ").replace("\t", " ")
        return FormulaError(
            f"formula: {rule} at position {token.place + 1}{got}:\n  {line}\n  {' ' * token.place}^"
        )


def _constant(formula: Any) -> Any:
    """A number inside an array, its sign included; raises ValueError for anything else."""
    if isinstance(formula, Number):
        return formula.value
    if isinstance(formula, Apply) and formula.function == "negative":
        return -_constant(formula.arguments[0])
    raise ValueError
