import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from helpers import array, assert_close
from jaxcnn import functional as F
from jaxcnn import losses, models
from jaxcnn.autodiff.traces.formulas import evaluate_formula
from jaxcnn.autodiff.traces.notation import name_text
from jaxcnn.autodiff.traces.parsing import formula_function, parse, parse_value
from jaxcnn.autodiff.traces.rendering import sections
from jaxcnn.autodiff.traces.tables import trace


def textbook(x1, x2):
    return jnp.log(x1) + x1 * x2 - jnp.sin(x2)


def neuron(w0, x0, w1, x1, w2):
    return 1 / (1 + jnp.exp(-(w0 * x0 + w1 * x1 + w2)))


def cross_entropy(z, t):
    return -jnp.sum(t * jax.nn.log_softmax(z)) / t.shape[0]


W, X = np.array([[0.1, 0.5], [-0.3, 0.8]]), np.array([0.2, 0.4])
Z, T = np.array([[1.0, 2.0, 6.0], [0.5, -1.0, 0.0]]), np.array([[1.0, 0, 0], [0, 1.0, 0]])
# In the language of formulas from the first line to the last.
TEXTBOOK = [
    (textbook, (2.0, 5.0)),
    (lambda W, x: jnp.sum((W @ x) ** 2), (W, X)),
    (lambda x, y, z: (x + y) * z, (-2.0, 5.0, -4.0)),
    (neuron, (2.0, -1.0, -3.0, -2.0, -3.0)),
    (lambda x: x - jnp.mean(x), (np.array([1.0, 2.0, 6.0]),)),
    (lambda x, y: jnp.maximum(x, y) * jnp.minimum(x, 2.0) - x * x, (3.0, 3.0)),
    (lambda x: jnp.sum(jnp.tanh(x[:2]) * jax.nn.relu(x[1:])), (np.array([0.5, -1.0, 2.0]),)),
    (lambda x, y: (x**3 / y, jnp.sqrt(x) - x**-2), (2.0, 5.0)),
    (lambda x, W: jax.nn.sigmoid(W.T @ x)[0] ** x[0], (X, W)),
    (lambda x, y: jnp.abs(x) + y**x, (0.0, 2.0)),
    (lambda x: jnp.where(x > 0, jnp.sin(x), jnp.exp(x)).sum(), (np.array([0.5, -1.0]),)),
]


def rows_of(found):
    """The printed tables, by title, as lists of cells."""
    tables, title = {}, ""
    for line in found.markdown().splitlines():
        if line.startswith("**"):
            title = line.strip("*")
            tables[title] = []
        elif line.startswith("| ") and "formula" not in line:
            cells = line.replace(r"\*", "*").strip("|").split(" | ")
            tables[title].append([cell.strip() for cell in cells])
    return tables


@pytest.mark.parametrize("order", ["level", "program"])
@pytest.mark.parametrize(("f", "args"), TEXTBOOK)
def test_every_printed_line_is_true(f, args, order, x64):
    found = trace(f, *args, order=order, digits=12)
    tables = rows_of(found)
    known = {}
    for i, line in enumerate(found.primal):
        if line.numbers is None and i < len(args):
            known[name_text(line.formula)] = args[i]
    for line in found.tangent[: len(args)]:
        known[name_text(line.formula)] = line.value
    tops = [line for line in found.primal if line.name.letters in ("y", "f")]
    known |= {name_text(t.name._replace(mark="bar")): np.ones(np.shape(t.value)) for t in tops}
    (title,) = [t for t in tables if t.startswith("Reverse")]
    tables[title] = tables[title][::-1]
    checked = 0
    for rows in tables.values():
        for name, formula, numbers, value in rows:
            shown = parse_value(value)
            variables = {parse(n, [n]): v for n, v in known.items()}
            by_formula = evaluate_formula(parse(formula, list(known)), variables)
            assert np.allclose(by_formula, shown, rtol=1e-9, atol=1e-9), (name, formula, value)
            if numbers:
                by_numbers = evaluate_formula(parse(numbers, ()), {})
                assert np.allclose(by_numbers, shown, rtol=1e-9, atol=1e-9), (numbers, value)
            known[name] = by_formula
            checked += 1
    assert checked == len(found.primal) + len(found.tangent) + len(found.adjoint)


def lenet():
    model = models.create("lenet")
    x = array(2, 28, 28, 1)
    variables = jax.jit(model.init)(jax.random.key(0), x)
    return lambda v, x, y: losses.cross_entropy(model.apply(v, x), y).mean(), (
        variables,
        x,
        jnp.array([3, 1]),
    )


def layer(x, kernel, bias):
    return F.max_pool(F.relu(F.conv(x, kernel, bias, padding=1)), 2)


LARGE = [
    (lambda x: (x * np.array([1.0, 2.0]) / np.ones(2)).sum(), (np.array([3.0, 4.0]),)),
    (layer, (array(1, 6, 6, 2), array(3, 3, 2, 3, seed=1), array(3, seed=2))),
    (lambda x: jax.lax.fori_loop(0, 3, lambda _, c: jnp.sin(c), x), (0.7,)),
    (lambda x: jnp.cumsum(jax.checkpoint(jnp.exp)(x))[1], (np.array([1.0, 2.0]),)),
    (cross_entropy, (Z, T)),
    (lambda p: p["a"] * p["b"][0], ({"a": 2.0, "b": [3.0, 4]},)),
]


@pytest.mark.parametrize(("f", "args"), TEXTBOOK + LARGE)
def test_trace_is_jax(f, args, x64):
    found = trace(f, *args)
    leaves, tree = jax.tree.flatten(jax.tree.map(jnp.asarray, args))
    moves = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    @jax.jit
    def both_modes(*primals):
        def g(*moved):
            given = iter(moved)
            full = [next(given) if m else leaf for m, leaf in zip(moves, leaves, strict=True)]
            return f(*jax.tree.unflatten(tree, full))

        dots = [jnp.ones_like(primals[0]), *map(jnp.zeros_like, primals[1:])]
        y, pullback = jax.vjp(g, *primals)
        return jax.jvp(g, primals, tuple(dots)), pullback(jax.tree.map(jnp.ones_like, y))

    primals = [leaf for m, leaf in zip(moves, leaves, strict=True) if m]
    (value, slope), bars = both_modes(*primals)
    for actual, expected in ((found.value, value), (found.derivative, slope)):
        for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
            assert_close(a, e, "float64")
    for a, e in zip(found.gradient.values(), bars, strict=True):
        assert_close(a, e, "float64")


@pytest.mark.slow
def test_trace_is_jax_on_lenet():
    f, (variables, x, y) = lenet()
    found = trace(f, variables, x, y, modes=("reverse",))
    assert not found.tangent
    expected = jax.grad(f, argnums=(0, 1))(variables, x, y)
    for a, e in zip(found.gradient.values(), jax.tree.leaves(expected), strict=True):
        assert_close(a, e)
    printed = str(found)
    assert "conv(" in printed
    assert "relu(" in printed
    assert "f32[2,28,28,6]" in printed
    assert max(map(len, printed.splitlines())) < 250


def test_lines_of_large_steps_evaluate_too(x64):
    """Formulas that name a primitive hold it as well."""
    for f, args in LARGE:
        found = trace(f, *args)
        for line in (*found.primal, *found.tangent, *found.adjoint):
            if line.numbers is not None:
                value = evaluate_formula(line.numbers, {})
                assert np.allclose(value, line.value, rtol=1e-12, atol=1e-12), name_text(line.name)


def test_the_textbook(x64):
    found = trace(textbook, 2.0, 5.0)
    printed = [row for rows in rows_of(found).values() for row in rows]
    values = {row[0]: row[3] for row in printed[:8]}
    assert list(values.items()) == [
        ("v₋₁", "2"),
        ("v₀", "5"),
        ("v₁", "0.693"),
        ("v₂", "10"),
        ("v₃", "-0.959"),
        ("v₄", "10.693"),
        ("v₅", "11.652"),
        ("y", "11.652"),
    ]
    assert_close(found.derivative, 5.5, "float64")
    assert_close(found.gradient["x2"], 2 - np.cos(5), "float64")
    second = trace(textbook, 2.0, 5.0, wrt="x2")
    assert_close(second.derivative, 2 - np.cos(5), "float64")
    by_program = trace(textbook, 2.0, 5.0, order="program")
    assert [name_text(line.name) for line in by_program.primal] == list(values)
    shown = [row[1] for row in rows_of(by_program)["Forward evaluation trace"]]
    assert shown[2:7] == ["ln(v₋₁)", "v₋₁ × v₀", "v₁ + v₂", "sin(v₀)", "v₃ - v₄"]


def test_the_courses_examples(x64):
    found = trace(lambda W, x: jnp.sum((W @ x) ** 2), W, X)
    assert_close(found.value, 0.116, "float64")
    assert_close(found.gradient["W"], [[0.088, 0.176], [0.104, 0.208]], "float64")
    assert_close(found.gradient["x"], [-0.112, 0.636], "float64")
    found = trace(lambda x, y, z: (x + y) * z, -2.0, 5.0, -4.0)
    assert [float(g) for g in found.gradient.values()] == [-4, -4, 3]
    found = trace(neuron, 2.0, -1.0, -3.0, -2.0, -3.0, digits=2)
    gates = [row[3] for row in rows_of(found)["Forward evaluation trace"][5:]]
    assert gates == ["-2", "6", "4", "1", "-1", "0.37", "1.37", "0.73", "0.73"]
    slopes = {name: round(float(g), 2) for name, g in found.gradient.items()}
    assert slopes == {"w0": -0.2, "x0": 0.39, "w1": -0.39, "x1": -0.59, "w2": 0.2}
    found = trace(cross_entropy, Z, T)
    softmax = np.exp(Z) / np.exp(Z).sum(-1, keepdims=True)
    assert_close(found.gradient["z"], (softmax - T) / 2, "float64")


def test_mean_subtraction_is_its_own_transpose(x64):
    f = formula_function("x - mean(x)", ["x"])
    seed = np.array([1.0, 0.0, 2.0])
    found = trace(f, np.array([1.0, 2.0, 6.0]), cotangents=seed)
    assert_close(found.gradient["x"], trace(f, seed).value, "float64")
    assert_close(found.gradient["x"], [0, -1, 1], "float64")


def test_directions(x64):
    f = formula_function("sum((W @ x)^2)", ["W", "x"])
    for i, j in np.ndindex(2, 2):
        one = trace(f, W, X, wrt=f"W[{i}, {j}]")
        assert_close(one.derivative, one.gradient["W"][i, j], "float64")
    both = trace(f, W, X, tangents=(np.ones((2, 2)), np.array([2.0, 0.0])))
    expected = both.gradient["W"].sum() + 2 * both.gradient["x"][0]
    assert_close(both.derivative, expected, "float64")


def test_forms_show_the_same_rows(x64):
    found = trace(textbook, 2.0, 5.0)
    rows = sum(len(section.rows) for section in sections(found))
    assert str(found).count("\n") + 1 == rows + 3 + 2
    assert found.latex().count(r"\\") == rows
    assert r"\dot{v}_{2} & = \dot{v}_{-1} \times v_{0} + \dot{v}_{0} \times v_{-1}" in found.latex()
    assert found._repr_html_().count("<tr>") == rows
    assert "<script" not in found.html()
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(found)
    told = console.export_text()
    for _, _, _, value in (row for rows in rows_of(found).values() for row in rows):
        assert value in told


def test_html_and_markdown_escape(x64):
    found = trace(lambda p: p["<b>|*"] * 2, {"<b>|*": 1.0})
    assert "<b>" not in found.html()
    assert r"p/<b>\|\*" in found.markdown()


def test_one_mode(x64):
    @jax.custom_vjp
    def f(x):
        return x * 2

    f.defvjp(lambda x: (f(x), None), lambda _, g: (3 * g,))
    found = trace(f, 2.0, modes=("reverse",))
    assert float(found.gradient["x"]) == 3
    assert found.derivative is None
    forward = trace(textbook, 2.0, 5.0, modes=("forward",))
    assert not forward.adjoint
    assert forward.gradient == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trace(textbook, 2.0, 5.0, wrt="x3"), "trace: no input 'x3'; inputs are x1, x2."),
        (lambda: trace(jnp.sum, X, wrt="a[2]"), r"trace: a has shape \(2,\), got index \[2\]"),
        (lambda: trace(jnp.sum, X, wrt="a[0, 0]"), "trace: a has shape"),
        (lambda: trace(textbook, 2.0, 5.0, order="random"), "trace: order is .* got 'random'"),
        (lambda: trace(textbook, 2.0, 5.0, modes=("sideways",)), "trace: modes are .*sideways"),
        (lambda: trace(textbook, 2.0, 5.0, modes=()), "trace: modes are"),
        (lambda: trace(jnp.sum, np.arange(3)), "needs a floating-point argument, got none"),
        (lambda: trace(jnp.sum, X, tangents=(np.ones(3),)), r"tangents need shapes \[\(2,\)\]"),
        (lambda: trace(jnp.sum, X, cotangents=np.ones(3)), r"cotangents need shapes \[\(\)\]"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_is_drawn_at_random_stays():
    def f(key, x):
        return (x * jax.random.normal(key, (3,))).sum()

    key, x = jax.random.key(0), jnp.array([1.0, -2.0, 3.0])
    found = trace(f, key, x)
    value, slopes = jax.jit(jax.value_and_grad(f, argnums=1))(key, x)
    assert_close(found.value, value)
    assert_close(found.gradient["x"], slopes)


def test_custom_rules_are_not_taken_for_jaxs():
    @jax.custom_jvp
    def sqrt(x):
        return jnp.sqrt(x) + 1

    sqrt.defjvps(lambda t, _, x: 7 * t)
    found = trace(sqrt, 4.0)
    assert float(found.gradient["x"]) == 7
    assert "custom_sqrt(v₀)" in str(found)

    @jax.custom_vjp
    def stop_gradient(x):
        return x * 2

    stop_gradient.defvjp(lambda x: (x, None), lambda _, g: (3 * g,))
    assert float(trace(stop_gradient, 4.0, modes="reverse").gradient["x"]) == 3


def test_outputs_of_all_kinds():
    found = trace(lambda x: (x > 0, x * 2, 5, x), np.array([1.0, -1.0]))
    assert [np.shape(v) for v in found.value] == [(2,), (2,), (), (2,)]
    assert_close(found.derivative[1], [2.0, 2.0], "exact")
    assert_close(found.gradient["x"], [3.0, 3.0], "exact")
    assert [line.name.letters for line in trace(lambda y, f: y * f, 1.0, 2.0).primal][-1] == "z"
    spectrum = trace(lambda x: jnp.abs(jnp.fft.fft(x)[1]) ** 2, np.array([1.0, 2.0]))
    assert "i" in str(spectrum)
    half = trace(lambda x: (x * x).sum(), jnp.array([1.0, 2.0], jnp.bfloat16))
    assert "[1, 4]" in str(half)
    assert_close(trace(lambda n, x: n * x, 2, 3.0, tangents=(None, 1.0)).derivative, 2.0, "exact")


def test_a_function_of_one_mode_says_which():
    def f(x):
        return jax.lax.while_loop(lambda c: c < 10, lambda c: c * 2, x)

    with pytest.raises(ValueError, match="while") as caught:
        trace(f, 1.0)
    assert 'ask for modes=("forward",)' in " ".join(caught.value.__notes__)
    assert float(trace(f, 1.0, modes="forward").derivative) == 16
