"""How formulas and values are printed: as text on one line, and as LaTeX."""

import unicodedata
from typing import Any

import jax
import numpy as np

from jaxcnn.autodiff.traces.formulas import FUNCTIONS, OPERATORS, Name, Number, Opaque

LARGE = 9  # numbers; what has more shows its shape instead
_LATEX_SIGNS = {"×": r"\times", "@": r"\,", ">=": r"\ge", "<=": r"\le", "!=": r"\ne"}
_WORDS = {"dot": "tangent", "bar": "adjoint"}
_MARKS = {"dot": "\u0307", "bar": "\u0304"}  # combining: v̇, v̄


def format_number(value: Any, digits: int = 3) -> str:
    """A number with `digits` decimals, trailing zeros left out; small ones significant digits.

    Example:
        >>> format_number(10.6931), format_number(5.0), format_number(-0.00123456)
        ('10.693', '5', '-0.00123')
    """
    if np.iscomplexobj(value):
        real, imaginary = format_number(value.real, digits), format_number(value.imag, digits)
        return f"{real} + {imaginary}i"
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
    if array.dtype == jax.dtypes.float0:  # the tangent of what has none
        return "0"
    if array.size > LARGE:
        return type_text(array)
    if array.ndim == 0:
        return format_number(array, digits)
    return f"[{', '.join(format_value(part, digits) for part in array)}]"


def type_text(value: Any) -> str:
    """An array's type and shape, such as f32[2,28,28,6]."""
    dtype = np.dtype(value.dtype)
    short = {"float": "f", "int": "i", "uint": "u", "complex": "c", "bfloat": "bf"}
    letters = dtype.name.rstrip("0123456789")
    kind = short.get(letters, letters) + dtype.name[len(letters) :]
    return f"{kind}[{','.join(map(str, value.shape))}]"


def text(formula: Any, digits: int = 3) -> str:
    """The formula on one line, in the language that `parsing.parse` reads.

    Example:
        >>> from jaxcnn.autodiff.traces.formulas import Apply
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
        first = _text(left, digits, _left_binding(left, own + tight))
        second = _second(_text(right, digits, own + (not tight)))
        space = "" if tight else " "
        shown = f"{first}{space}{formula.function}{space}{second}"
    return f"({shown})" if own < binding else shown


def _left_binding(left: Any, own: int) -> int:
    """A negative number needs no brackets where it begins a sum."""
    return 0 if own == 1 and isinstance(left, Number) else own


def _second(shown: str) -> str:
    return f"({shown})" if shown.startswith("-") else shown


def _listed(formulas: Any, digits: int) -> str:
    return ", ".join(text(a, digits) for a in formulas)


def name_text(name: Name) -> str:
    """v̄₄ for Name("v", 4, "bar"), ẋ1 for Name("x1", mark="dot"), long names in words."""
    head, tail = _head(name)
    if len(head) > 3 and name.mark:
        return f"{name.letters} ({_WORDS[name.mark]})"
    marked = unicodedata.normalize("NFC", head + _MARKS.get(name.mark, "")) + tail
    return marked if name.number is None else marked + subscript(name.number)


def _head(name: Name) -> tuple[str, str]:
    """What a dot or bar stands over, and the digits after it: x and 1 of x1."""
    head = name.letters.rstrip("0123456789") if name.letters[1:].isdigit() else name.letters
    return head, name.letters[len(head) :]


def subscript(number: int) -> str:
    """-12 as ₋₁₂."""
    return str(number).translate(str.maketrans("-0123456789", "₋₀₁₂₃₄₅₆₇₈₉"))


def latex(formula: Any, digits: int = 3) -> str:
    r"""The formula for LaTeX's mathematical mode.

    Example:
        >>> from jaxcnn.autodiff.traces.formulas import Apply
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
            sign = _LATEX_SIGNS.get(formula.function, formula.function)
            left, right = arguments
            first = _latex(left, digits, _left_binding(left, own))
            shown = f"{first} {sign} {_second(_latex(right, digits, own + 1))}"
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
    r"""\bar{v}_{4} for Name("v", 4, "bar"), \dot{x}_{1} for Name("x1", mark="dot")."""
    head, tail = _head(name)
    if len(head) > 1:
        head = r"\mathit{" + head.replace("_", r"\_") + "}"
    marked = rf"\{name.mark}{{{head}}}" if name.mark else head
    index = tail or name.number
    return marked if index is None or index == "" else f"{marked}_{{{index}}}"


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
