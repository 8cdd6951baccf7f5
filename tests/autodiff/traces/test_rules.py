import jax
import jax.numpy as jnp
import pytest
from jax import lax

from helpers import array, assert_close
from jaxcnn.autodiff.traces.formulas import Name, evaluate_formula
from jaxcnn.autodiff.traces.rules import ARRAYS, ELEMENTWISE, JOINTLY_LINEAR, LINEAR, rule

A, B, C, G, V = (Name(letter) for letter in "abcgv")
COMPARISONS = {"eq", "ge", "gt", "le", "lt", "ne"}  # without a derivative
# What the table's names are in JAX.
PRIMITIVES = {
    **{name: getattr(lax, name) for name in ELEMENTWISE if hasattr(lax, name)},
    "add_any": lax.add,
    "relu": jax.nn.relu,
}


def first(f, *args):
    """The last equation of f's jaxpr, for its parameters."""
    return jax.make_jaxpr(f)(*args).eqns[-1].params


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_rules_are_jax(name, x64):
    f = PRIMITIVES[name]
    count = max(len(ELEMENTWISE[name]) - 1, 2 if name in COMPARISONS else 1)
    third = [0.0, 1.5] if name == "pow" else [0.5, 0.5]  # a tie
    for values in ([0.3, 0.7], [0.6, 0.2], third):
        args = [jnp.array(v) for v in values[:count]]
        found = rule(name, {}, [()] * count, ())
        known = {A: args[0], B: args[-1]}
        known[V] = evaluate_formula(found.value, known)
        assert_close(known[V], f(*args), "float64")
        for i, partial in enumerate(found.partials):
            assert_close(evaluate_formula(partial, known), jax.grad(f, i)(*args), "float64")


@pytest.mark.parametrize("y", [-3, -1, 0, 1, 2, 3, 5])
def test_integer_power(y, x64):
    a = jnp.array(-0.7)
    found = rule("integer_pow", {"y": y}, [()], ())
    known = {A: a}
    known[V] = evaluate_formula(found.value, known)
    assert_close(known[V], a**y, "float64")
    slope = evaluate_formula(found.partials[0], known)
    assert_close(slope, jax.grad(lambda a: lax.integer_pow(a, y))(a), "float64")


CASES = [
    ("broadcast_in_dim", lambda a: lax.broadcast_in_dim(a, (4, 2, 3), (1, 2)), [(2, 3)]),
    ("broadcast_in_dim", lambda a: lax.broadcast_in_dim(a, (2, 4, 3), (0, 2)), [(2, 3)]),
    ("broadcast_in_dim", lambda a: lax.broadcast_in_dim(a, (2, 3), ()), [()]),
    ("broadcast_in_dim", lambda a: lax.broadcast_in_dim(a, (1, 3), (1,)), [(3,)]),
    ("broadcast_in_dim", lambda a: lax.broadcast_in_dim(a, (2, 3), (0, 1)), [(2, 1)]),
    ("dot_general", jnp.dot, [(3,), (3,)]),
    ("dot_general", jnp.dot, [(2, 3), (3,)]),
    ("dot_general", jnp.dot, [(3,), (3, 2)]),
    ("dot_general", jnp.dot, [(2, 3), (3, 4)]),
    ("expand_dims", lambda a: lax.expand_dims(a, (1,)), [(3,)]),
    ("reduce_sum", jnp.sum, [(2, 3)]),
    ("reduce_sum", lambda a: jnp.sum(a, axis=(0, 2)), [(2, 3, 4)]),
    ("reshape", lambda a: jnp.reshape(a, (3, 2)), [(2, 3)]),
    ("select_n", lambda b, c: lax.select_n(jnp.array([True, False]), b, c), [(2,), (2,)]),
    ("slice", lambda a: a[1:3, :2], [(4, 3)]),
    ("squeeze", lambda a: lax.squeeze(a, (0,)), [(1, 3)]),
    ("transpose", jnp.transpose, [(2, 3)]),
    ("transpose", lambda a: jnp.transpose(a, (2, 0, 1)), [(2, 3, 4)]),
]


@pytest.mark.parametrize(("name", "f", "shapes"), CASES)
def test_array_rules_are_jax(name, f, shapes, x64):
    args = [array(*shape, seed=i) for i, shape in enumerate(shapes)]
    y, pullback = jax.vjp(f, *args)
    g = array(*y.shape, seed=9)
    operands, params = args, first(f, *args)
    if name == "select_n":
        operands = [jnp.array([True, False]), *args]
    if name == "expand_dims":
        params = {}
    found = rule(name, params, [o.shape for o in operands], y.shape)
    known = {**dict(zip((A, B, C), operands, strict=False)), G: g}
    assert_close(evaluate_formula(found.value, known), y, "float64")
    adjoints = found.adjoints[-len(args) :]
    for adjoint, expected in zip(adjoints, pullback(g), strict=True):
        assert_close(evaluate_formula(adjoint, known), expected, "float64")


def test_the_tables_are_tested():
    assert set(PRIMITIVES) >= set(ELEMENTWISE)
    assert set(ARRAYS) - {"reduce_max"} <= LINEAR | JOINTLY_LINEAR
    assert {name for name, *_ in CASES} == set(ARRAYS) - {"reduce_max"}


def test_unknown_primitives_have_no_rule():
    assert rule("conv", {}, [(1, 4, 4, 1), (3, 3, 1, 1)], (1, 4, 4, 1)).value is None
    swapped = {"dimension_numbers": (((0,), (0,)), ((), ()))}
    assert rule("dot_general", swapped, [(3, 2), (3, 2)], (2, 2)).value is None
