"""A jaxpr run on SymPy's scalars: every element of every array is an expression of its own."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jaxcnn.autodiff.jaxprs import (
    ONCE,
    definition,
    evaluate,
    inner_jaxprs,
    scan_lengths,
)
from jaxcnn.autodiff.symbols.incidence import (
    aval,
    gathered,
    products,
    reduction,
    scatter_sum,
    size,
    windows,
)
from jaxcnn.autodiff.symbols.scalars import (
    apply,
    choose,
    compare,
    expressions,
    number,
    sympy,
    table,
)

Spend = Callable[[str, int], None]  # (primitive's name, scalar operations); raises above the limit

IDENTITIES = frozenset(
    "copy copy_p reduce_precision optimization_barrier sharding_constraint pvary pcast name".split()
)
# What moves data without changing it, and which of its operands are data (None: all of them).
MOVES: dict[str, tuple[int, ...] | None] = {
    **dict.fromkeys("reshape transpose broadcast_in_dim slice squeeze expand_dims rev".split()),
    **dict.fromkeys("concatenate pad split".split()),
    "dynamic_slice": (0,),
    "gather": (0,),
    "dynamic_update_slice": (0, 1),
    "scatter": (0, 2),
}


def budget(limit: int) -> Spend:
    """Adds up scalar operations and refuses, by name and numbers, to go above the limit."""
    spent = 0

    def spend(name: str, count: int) -> None:
        nonlocal spent
        spent += count
        if spent > limit:
            raise ValueError(
                f"symbolic: {name} takes {count:,} scalar operations, {spent:,} with what came "
                f"before it, more than limit={limit:,}: use smaller shapes, or raise limit=."
            )

    return spend


def is_symbolic(value: Any) -> bool:
    """Whether a value holds expressions; else it is a plain array."""
    return isinstance(value, np.ndarray) and value.dtype == object


def unroll(
    jaxpr: Jaxpr | ClosedJaxpr, args: Sequence[Any], consts: Sequence[Any], spend: Spend
) -> list[Any]:
    """The outputs of a jaxpr of plain arrays and object arrays of expressions."""
    if isinstance(jaxpr, ClosedJaxpr):
        jaxpr, consts = jaxpr.jaxpr, jaxpr.consts
    values: dict[Any, Any] = dict(
        zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True)
    )

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        found = _apply(equation, [read(atom) for atom in equation.invars], spend)
        values.update(zip(equation.outvars, found, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: JaxprEqn, args: list[Any], spend: Spend) -> list[Any]:
    if not any(is_symbolic(a) for a in args):
        return evaluate(equation, *args)
    name = equation.primitive.name
    ours = definition(equation)
    if ours is not None:
        return unroll(ours, args, (), spend)
    if name in ONCE:
        return unroll(inner_jaxprs(equation)[0], args, (), spend)
    if name in CONTROL:
        return CONTROL[name](equation, args, lambda body, args: unroll(body, args, (), spend))
    if name in MOVES:
        return _move(equation, args)
    if name in IDENTITIES:
        return args
    spend(name, _count(equation))
    if name in RULES:
        return [RULES[name](equation, *map(expressions, args))]
    if name in table() and not _integers(equation):
        return [apply(table()[name], *map(expressions, args))]
    raise ValueError(
        f"symbolic: the primitive {name!r} has no symbolic form here for values that depend on "
        "inputs: write that step with element-wise operations, products and sums, or make it "
        "depend on integer inputs alone, which keep their values."
    )


def _integers(equation: JaxprEqn) -> bool:
    """Whether an equation does arithmetic on integers that depend on inputs."""
    return jnp.issubdtype(aval(equation.outvars[0]).dtype, jnp.integer)


def _count(equation: JaxprEqn) -> int:
    """Scalar operations of an equation, at most."""
    name, params = equation.primitive.name, equation.params
    out = size(equation.outvars[0])
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return out * math.prod(aval(equation.invars[0]).shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        channels = params["dimension_numbers"].rhs_spec[0]
        kernel = equation.invars[1]
        return out * (size(kernel) // max(1, aval(kernel).shape[channels]))
    if name.startswith("reduce_window"):
        return out * math.prod(params["window_dimensions"])
    return max(out, size(equation.invars[0]))


def _move(equation: JaxprEqn, args: list[Any]) -> list[Any]:
    """Run on integers that number the elements, then put the elements in their places."""
    name, params = equation.primitive.name, dict(equation.params)
    moved = MOVES[name] or range(len(args))
    rest = [a for i, a in enumerate(args) if i not in moved]
    if any(is_symbolic(a) for a in rest):
        raise ValueError(
            f"symbolic: {name} takes its places from values that depend on inputs; "
            "take them from integer inputs, which keep their values."
        )
    elements, numbered, start = [], list(args), 0
    for i in moved:
        data = expressions(args[i])
        elements += list(data.ravel())
        numbered[i] = jnp.arange(start, start + data.size).reshape(data.shape)
        start += data.size
    if params.get("fill_value") is not None:  # of a gather, for what lies outside
        elements.append(expressions(params["fill_value"]).item())
        params["fill_value"] = start
    found = evaluate(equation.replace(params=params), *numbered)
    holder = np.empty(len(elements), dtype=object)
    holder[:] = elements
    return [np.asarray(holder[np.asarray(f)], dtype=object) for f in found]


def _reduce(name: str) -> Callable[..., np.ndarray]:
    def rule(equation: JaxprEqn, x: np.ndarray) -> np.ndarray:
        axes = equation.params["axes"]
        kept = [axis for axis in range(x.ndim) if axis not in axes]
        out = equation.outvars[0]
        rows = x.transpose(*kept, *axes).reshape(size(out), math.prod(x.shape[a] for a in axes))
        return gathered([list(row) for row in rows], reduction(name), out)

    return rule


def _cumulate(name: str) -> Callable[..., np.ndarray]:
    def rule(equation: JaxprEqn, x: np.ndarray) -> np.ndarray:
        axis = equation.params["axis"]
        turn = partial(np.flip, axis=axis) if equation.params["reverse"] else (lambda a: a)
        return turn(np.frompyfunc(reduction(name), 2, 1).accumulate(turn(x), axis=axis))

    return rule


def _convert(equation: JaxprEqn, x: np.ndarray) -> np.ndarray:
    old, new = aval(equation.invars[0]).dtype, aval(equation.outvars[0]).dtype
    if old == new or (jnp.issubdtype(old, jnp.inexact) and jnp.issubdtype(new, jnp.inexact)):
        return x
    zero = sympy().S.Zero
    if jnp.issubdtype(new, bool):
        return apply(lambda a: compare("ne", a, zero), x)
    if jnp.issubdtype(old, bool):
        return apply(number, x)
    if jnp.issubdtype(new, jnp.inexact):
        return x
    raise ValueError(
        f"symbolic: {old} that depends on inputs became {new}; take integers from integer inputs, "
        "which keep their values."
    )


def _select(equation: JaxprEqn, which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    true = sympy().true
    if jnp.issubdtype(aval(equation.invars[0]).dtype, bool):
        return apply(lambda w, no, yes: choose((yes, w), (no, true)), which, *cases)
    return apply(_pick, which, *cases)


def _pick(which: Any, *values: Any) -> Any:
    """The value whose place is `which`."""
    sp = sympy()
    tests = (compare("eq", which, sp.Integer(i)) for i in range(len(values) - 1))
    return choose(*zip(values, [*tests, sp.true], strict=True))


def _scan(equation: JaxprEqn, args: list[Any], run: Callable[..., list[Any]]) -> list[Any]:
    p = equation.params
    n, width = scan_lengths(equation)
    consts, carry, xs = args[:n], args[n : n + width], args[n + width :]
    rows = []
    for i in reversed(range(p["length"])) if p["reverse"] else range(p["length"]):
        slices = [x[i, ...] if is_symbolic(x) else jnp.asarray(x)[i] for x in xs]
        found = run(p["jaxpr"], [*consts, *carry, *slices])
        carry = found[:width]
        rows.append(found[width:])
    rows = rows[::-1] if p["reverse"] else rows
    if not rows:
        return [*carry, *(np.zeros(aval(v).shape) for v in equation.outvars[len(carry) :])]
    return [
        *carry,
        *(np.stack([expressions(a) for a in column]) for column in zip(*rows, strict=True)),
    ]


def _while(equation: JaxprEqn, args: list[Any], run: Callable[..., list[Any]]) -> list[Any]:
    p = equation.params
    tests, bodies = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    carry = args[bodies:]
    while True:
        (going,) = run(p["cond_jaxpr"], [*args[:tests], *carry])
        if is_symbolic(going):
            raise ValueError(
                "symbolic: the number of turns of a while loop depends on inputs; "
                "use a loop of fixed length (`jax.lax.scan`)."
            )
        if not going:
            return carry
        carry = run(p["body_jaxpr"], [*args[tests:bodies], *carry])


def _cond(equation: JaxprEqn, args: list[Any], run: Callable[..., list[Any]]) -> list[Any]:
    branches = equation.params["branches"]
    if not is_symbolic(args[0]):
        return run(branches[int(np.clip(int(args[0]), 0, len(branches) - 1))], args[1:])
    cases = (map(expressions, run(branch, args[1:])) for branch in branches)
    return [apply(_pick, args[0], *values) for values in zip(*cases, strict=True)]


CONTROL: dict[str, Callable[..., list[Any]]] = {"scan": _scan, "while": _while, "cond": _cond}
RULES: dict[str, Callable[..., np.ndarray]] = {
    "dot_general": products,
    "conv_general_dilated": products,
    "scatter-add": scatter_sum,
    "scatter_add": scatter_sum,
    **{f"reduce_{name}": _reduce(name) for name in ("sum", "prod", "max", "min", "and", "or")},
    **{f"reduce_window_{name}": windows(name) for name in ("sum", "max", "min")},
    "cumsum": _cumulate("sum"),
    "cumprod": _cumulate("prod"),
    "cummax": _cumulate("max"),
    "cummin": _cumulate("min"),
    "convert_element_type": _convert,
    "select_n": _select,
    "integer_pow": lambda equation, x: apply(lambda a: a ** equation.params["y"], x),
}
