import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import assert_close
from jaxcnn.autodiff.traces.formulas import FUNCTIONS, Name, evaluate_formula
from jaxcnn.autodiff.traces.notation import format_number, format_value, latex, text
from jaxcnn.autodiff.traces.parsing import DEPTH, FormulaError, formula_function, parse, parse_value

NAMES = ("x1", "x2", "w")
# formula, and the same in Python
FORMULAS = [
    ("ln(x1) + x1*x2 - sin(x2)", lambda x1, x2, w: np.log(x1) + x1 * x2 - np.sin(x2)),
    ("-x1^2^x2", lambda x1, x2, w: -(x1 ** (2**x2))),
    ("(-x1)^2", lambda x1, x2, w: x1**2),
    ("2^-x1", lambda x1, x2, w: 2**-x1),
    ("x1 - (x2 - 3) - 2", lambda x1, x2, w: x1 - (x2 - 3) - 2),
    ("x1 / x2 / 2 × 3 · 4 ** 2", lambda x1, x2, w: x1 / x2 / 2 * 3 * 4**2),
    ("x1 / (x2 / 2)", lambda x1, x2, w: x1 / (x2 / 2)),
    ("1/(1 + exp(-(w[0]*x1 + w[1]*x2)))", lambda x1, x2, w: 1 / (1 + np.exp(-w @ [x1, x2]))),
    ("sum((w @ [[1, 2], [3, -4]])^2)", lambda x1, x2, w: ((w @ [[1, 2], [3, -4]]) ** 2).sum()),
    ("max(x1, x2) + min(w) − max(w)", lambda x1, x2, w: max(x1, x2) + w.min() - w.max()),
    ("3e-4 * pi + .5 * e", lambda x1, x2, w: 3e-4 * np.pi + 0.5 * np.e),
    ("--x1 - +x2 - -1", lambda x1, x2, w: x1 - x2 + 1),
    ("norm(w) + mean(w) + dot(w, w)", lambda x1, x2, w: np.sqrt(w @ w) + w.mean() + w @ w),
    ("(x1 > x2) + (x1 + 1 <= x2) * 2 + (x1 != x2)", lambda x1, x2, w: 2.0),
    ("9^9^9^9", lambda x1, x2, w: np.inf),
]


@pytest.mark.parametrize(("formula", "expected"), FORMULAS, ids=[f for f, _ in FORMULAS])
def test_formulas_are_python_and_survive_printing(formula, expected, x64):
    values = 2.0, 0.7, np.array([0.3, -1.1])
    with np.errstate(over="ignore"):
        wanted = expected(*values)
    assert_close(formula_function(formula, NAMES)(*values), wanted, "float64")
    printed = text(parse(formula, NAMES), digits=15)
    assert_close(formula_function(printed, NAMES)(*values), wanted, "float64", where=printed)
    assert text(parse(printed, NAMES), digits=15) == printed
    assert latex(parse(formula, NAMES)).count("{") == latex(parse(formula, NAMES)).count("}")


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("ln(x1", 'expected ")" at position 6, got the end:\n  ln(x1\n       ^'),
        ("2 +* 3", 'expected a number, a name, "(" or "[" at position 4, got \'*\':\n'),
        ("sine(x1)", "no function 'sine' at position 1; did you mean sin:"),
        ("frobnicate(x1)", "no function 'frobnicate' at position 1; known are abs, acos"),
        ("x1 + y", "no variable 'y' at position 6; known are x1, x2, w, pi, e, inf:"),
        ("sin + 1", 'sin is a function and needs "(" after it at position 1:'),
        ("max(1, 2, 3)", "max takes 1 or 2 arguments at position 1, got 3:"),
        ("x1 x2", "expected an operator or the end at position 4, got 'x2':"),
        ("x1 $ 2", "no formula has this character at position 4, got '$':"),
        ("[1, [2]]", "expected rows of numbers of one length at position 1"),
        ("[x1, 2]", "expected rows of numbers of one length at position 1"),
        ("w[0.5]", "an index is whole numbers at position 2"),
        ("", "at position 1, got the end"),
        ("(" * 500, f"more than {DEPTH} brackets and signs in each other at position"),
        ("-" * 500 + "x1", f"more than {DEPTH} brackets"),
        ("2^" * 500 + "x1", f"more than {DEPTH} brackets"),
        ("__import__('os')", "no function '__import__' at position 1"),
        ("x1.real", "no formula has this character at position 3, got '.'"),
    ],
)
def test_mistakes_have_a_place(formula, message):
    with pytest.raises(FormulaError) as caught:
        parse(formula, NAMES)
    assert str(caught.value).startswith("formula: ")
    assert message in str(caught.value).replace("×", "*")


def test_names_come_before_constants():
    assert parse("e", ["e"]) == Name("e")
    assert float(formula_function("e + pi", ["e"])(1.0)) == pytest.approx(1 + np.pi)


def test_formula_function_is_differentiated_and_traced(x64):
    f = formula_function("x1^3 * x2", ["x1", "x2"])
    assert_close(jax.grad(f, argnums=(0, 1))(2.0, 5.0), (60.0, 8.0), "float64")
    assert_close(jax.jit(jax.vmap(f))(jnp.arange(3.0), jnp.ones(3)), [0.0, 1.0, 8.0])


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2", 2.0),
        ("-1/4", -0.25),
        ("[0.5, -2]", [0.5, -2]),
        ("[[1, 2], [3, 4e1]]", [[1, 2], [3, 40]]),
    ],
)
def test_parse_value(written, value):
    found = parse_value(written)
    assert found.dtype == np.float64
    assert_close(found, value, "exact")
    with pytest.raises(FormulaError, match="no variable 'x'"):
        parse_value("x")


def test_every_function_of_the_language_evaluates_and_prints(x64):
    a, b = jnp.array([[0.3, 0.4], [0.5, 0.6]]), jnp.array([[0.5, 0.3], [0.5, 0.7]])
    special = {
        "broadcast": "broadcast(a, [3, 2, 2])",
        "place": "place(a, [1, 0], [3, 2])",
        "reshape": "reshape(a, [4])",
        "slice": "slice(a, [0, 1], [2, 2])",
        "where": "where(step(a), a, b)",
    }
    for name, function in FUNCTIONS.items():
        given = ", ".join(["a", "b"][: function.least])
        formula = special.get(name, f"{name}({given})")
        tree = parse(formula, ["a", "b"])
        found = evaluate_formula(tree, {Name("a"): a, Name("b"): b})
        assert jnp.isfinite(found).all(), name
        assert text(tree) == formula.replace("log(", "ln(")
        assert latex(tree)


def test_numbers():
    assert format_number(-0.0) == "0"
    assert format_number(0.99996) == "1"
    assert format_number(123456.5) == "123456.5"
    assert format_number(1234567.0) == "1.23e+06"
    assert format_number(1e-7) == "1e-07"
    assert format_number(float("nan")) == "nan"
    assert format_number(1 / 3, digits=6) == "0.333333"
    assert format_value(np.eye(2)) == "[[1, 0], [0, 1]]"
    assert format_value(np.zeros((2, 5), np.float32)) == "f32[2,5]"
    assert format_value(np.zeros(10, bool)) == "bool[10]"
    assert format_value(np.array([True, False])) == "[1, 0]"


def test_indices_stay_inside():
    with pytest.raises(ValueError, match=r"formula: index \[7\] is outside of shape \(3,\)"):
        formula_function("x[7]", ["x"])(jnp.ones(3))
