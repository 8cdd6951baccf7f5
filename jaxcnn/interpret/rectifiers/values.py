"""A function as a graph of values: which equation made each of them, from which others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jaxcnn.autodiff.jaxprs import ONCE, definition, inner_jaxprs, opened, scan_lengths
from jaxcnn.interpret.rewriting import REMAT

# Equations that give the values of their operand in another shape, type or memory.
COPIES = frozenset(
    ["broadcast_in_dim", "reshape", "squeeze", "convert_element_type", "copy", "copy_p", "name"]
)


@dataclass(eq=False, slots=True)
class Value:
    """One value of a function.

    The outputs of loops and branches have the outputs of their bodies among the operands; calls
    are gone through, so that a value is the same inside and outside of them.

    Args:
        equation: that made it; None for inputs and constants.
        operands: of that equation.
        body: the function it is computed in: the whole, or the body of a loop, branch or remat.
        number: what it is everywhere, where that is one known number.
        follows: whether it depends on the whole function's inputs.
    """

    equation: JaxprEqn | None = None
    operands: "tuple[Value, ...]" = ()
    body: Jaxpr | None = None
    number: float | None = None
    follows: bool = False


def read(jaxpr: ClosedJaxpr) -> tuple[list[Value], list[Value]]:
    """The values of a function's inputs and outputs."""
    inputs = [Value(body=jaxpr.jaxpr, follows=True) for _ in jaxpr.jaxpr.invars]
    return inputs, _outputs(jaxpr, inputs, jaxpr.jaxpr)


def users(outputs: Sequence[Value]) -> dict[Value, set[Value]]:
    """The values that the outputs are made from, each with the values made from it directly."""
    found: dict[Value, set[Value]] = {}
    end = Value(operands=tuple(outputs))  # what leaves the function is used as well
    stack = [end]
    while stack:
        user = stack.pop()
        for value in user.operands:
            if value not in found:
                found[value] = set()
                stack.append(value)
            found[value].add(user)
    return found


def copied(value: Value) -> list[Value]:
    """A value, what it is a copy of, what that is a copy of, and so on."""
    chain = [value]
    while (equation := chain[-1].equation) is not None and equation.primitive.name in COPIES:
        chain.append(chain[-1].operands[0])
    return chain


def _outputs(jaxpr: Jaxpr | ClosedJaxpr, inputs: Sequence[Value], body: Jaxpr) -> list[Value]:
    inside, constants = opened(jaxpr)
    known: dict[Any, Value] = dict(zip(inside.invars, inputs, strict=True))
    for variable, constant in zip(inside.constvars, constants, strict=True):
        known[variable] = Value(number=_number(constant), body=body)

    def value(atom: Any) -> Value:
        return Value(number=_number(atom.val)) if isinstance(atom, Literal) else known[atom]

    for equation in inside.eqns:
        made = _made(equation, tuple(value(v) for v in equation.invars), body)
        known.update(zip(equation.outvars, made, strict=True))
    return [value(v) for v in inside.outvars]


def _number(constant: Any) -> float | None:
    """Of a scalar that is known while tracing; larger arrays are parameters."""
    if np.ndim(constant) or isinstance(constant, Tracer):
        return None
    kind = jnp.result_type(constant)
    real = any(jnp.issubdtype(kind, k) for k in (jnp.integer, jnp.floating))
    return float(constant) if real else None


def _made(equation: JaxprEqn, operands: tuple[Value, ...], body: Jaxpr) -> list[Value]:
    name = equation.primitive.name
    inner = inner_jaxprs(equation)
    if definition(equation) is None and inner:
        if name in REMAT:
            return _outputs(inner[0], operands, opened(inner[0])[0])
        if name in ONCE:
            return _outputs(inner[0], operands, body)
        if name == "scan":
            return _scanned(equation, operands, body)
        if name == "cond":
            return _branched(equation, operands, body)
        if name == "while":
            return _looped(equation, operands, body)
    number = operands[0].number if name in COPIES else None
    return _values(equation, operands, body, number)


def _values(
    equation: JaxprEqn,
    operands: tuple[Value, ...],
    body: Jaxpr,
    number: float | None = None,
) -> list[Value]:
    follows = any(v.follows for v in operands)
    return [Value(equation, operands, body, number, follows) for _ in equation.outvars]


def _scanned(equation: JaxprEqn, operands: tuple[Value, ...], body: Jaxpr) -> list[Value]:
    constants, _ = scan_lengths(equation)
    step = equation.params["jaxpr"]
    made = _turn(step, operands[:constants], operands[constants:])
    return _values(equation, (*operands, *made), body)


def _looped(equation: JaxprEqn, operands: tuple[Value, ...], body: Jaxpr) -> list[Value]:
    for_cond, for_body = equation.params["cond_nconsts"], equation.params["body_nconsts"]
    carry = operands[for_cond + for_body :]
    made = _turn(equation.params["cond_jaxpr"], operands[:for_cond], carry)
    constants = operands[for_cond : for_cond + for_body]
    made += _turn(equation.params["body_jaxpr"], constants, carry)
    return _values(equation, (*operands, *made), body)


def _turn(
    step: ClosedJaxpr, constants: tuple[Value, ...], changing: tuple[Value, ...]
) -> list[Value]:
    """What one turn of a loop gives: its constants are known, the rest is new in each turn."""
    follows = any(v.follows for v in (*constants, *changing))
    fresh = [Value(body=step.jaxpr, follows=follows) for _ in changing]
    return _outputs(step, [*constants, *fresh], step.jaxpr)


def _branched(equation: JaxprEqn, operands: tuple[Value, ...], body: Jaxpr) -> list[Value]:
    which, *rest = operands
    branches = [_outputs(j, rest, opened(j)[0]) for j in equation.params["branches"]]
    joined = zip(*branches, strict=True)
    return [_values(equation, (which, *made), body)[0] for made in joined]
