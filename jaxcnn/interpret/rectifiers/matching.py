"""Finding rectifiers in a function's graph of values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn

from jaxcnn.interpret.rectifiers.spellings import Pattern, patterns
from jaxcnn.interpret.rectifiers.values import Value, copied, read, users

SWAPPED = {"lt": "gt", "le": "ge"}  # a < b is b > a
COMMUTATIVE = frozenset(["add", "mul", "max", "min"])


class Place(NamedTuple):
    """Where a value can be had: an equation, and which of its operands it is."""

    equation: JaxprEqn
    operand: int


class Found(NamedTuple):
    """A rectifier: its kind, the equation that gives its output, its input and negative slope."""

    kind: str
    equation: JaxprEqn
    x: Place
    slope: Place | float


class Match(NamedTuple):
    """What a pattern's arguments stand for, and the values that belong to it."""

    arguments: Mapping[Value, Value]
    inside: frozenset[Value]


def find(jaxpr: ClosedJaxpr) -> list[Found]:
    """The rectifiers between the inputs of a function and its outputs.

    Args:
        jaxpr: with equations that are told apart by identity, see `rewriting.unshared`.
    """
    _, outputs = read(jaxpr)
    uses = users(outputs)
    by_name: dict[str, list[Value]] = {}
    for value in uses:
        if value.equation is not None and value.follows:
            by_name.setdefault(_operation(value)[0], []).append(value)
    taken: set[Value] = set()
    found = []
    for pattern in patterns():
        for value in by_name.get(_operation(pattern.end)[0], ()):
            match = None if value in taken else _first(pattern, value)
            if match is None:
                continue
            if pattern.kind is not None:
                rectifier = _rectifier(pattern, value, match)
                if rectifier is None:
                    continue
                found.append(rectifier)
            # A value that is used elsewhere as well is still a rectifier there.
            taken |= {value} | {v for v in match.inside if uses[v] <= match.inside}
    return found


def _first(pattern: Pattern, value: Value) -> Match | None:
    start = Match({}, frozenset())
    return next(_matches(pattern, pattern.end, value, start), None)


def _matches(pattern: Pattern, part: Value, value: Value, match: Match) -> Iterator[Match]:
    """The ways in which a part of a pattern can be that value."""
    if part.number is not None:
        if part.number == value.number:
            yield match
        return
    part = copied(part)[-1]
    if part in pattern.arguments:
        known = match.arguments.get(part)
        if known is None and _suits(pattern.arguments[part], value):
            yield match._replace(arguments={**match.arguments, part: value})
        elif known is value or (known and known.number == value.number is not None):
            yield match
        return
    chain = copied(value)
    if chain[-1].equation is None:
        return
    name, operands = _operation(part)
    its_name, its_operands = _operation(chain[-1])
    if name != its_name or len(operands) != len(its_operands):
        return
    match = match._replace(inside=match.inside | set(chain))
    yield from _all(pattern, operands, its_operands, match)
    if name in COMMUTATIVE:
        yield from _all(pattern, operands, its_operands[::-1], match)


def _all(
    pattern: Pattern, parts: Sequence[Value], values: Sequence[Value], match: Match
) -> Iterator[Match]:
    if not parts:
        yield match
        return
    for first in _matches(pattern, parts[0], values[0], match):
        yield from _all(pattern, parts[1:], values[1:], first)


def _operation(value: Value) -> tuple[str, tuple[Value, ...]]:
    equation = value.equation
    assert equation is not None
    name = equation.primitive.name
    if name in SWAPPED:
        return SWAPPED[name], value.operands[::-1]
    if name == "integer_pow":
        name += str(equation.params["y"])
    return name, value.operands


def _suits(role: str, value: Value) -> bool:
    number = value.number
    if role == "x":
        return number is None
    if role == "number":
        return number is not None
    if role == "cap":
        return number is not None and (number < 6 or number == 255)
    if role == "known":
        return number is not None and 0 < number < 1
    if role == "a":
        return not value.follows and (number is None or 0 < number < 1)
    return True


def _rectifier(pattern: Pattern, end: Value, match: Match) -> Found | None:
    """What a match says, if all of it can be had where the rectifier ends."""
    named = {pattern.arguments[part]: value for part, value in match.arguments.items()}
    x = _place(named["x"], end, match)
    slope = named.get("a", named.get("known"))
    a = 0.0 if slope is None else slope.number
    if a is None and slope is not None:
        a = _place(slope, end, match)
    if end.equation is None or x is None or a is None:
        return None
    before: Any = x.equation.invars[x.operand].aval
    after: Any = end.equation.outvars[0].aval
    same = (before.shape, before.dtype) == (after.shape, after.dtype)
    if not same or not jnp.issubdtype(after.dtype, jnp.floating):
        return None
    assert pattern.kind is not None
    return Found(pattern.kind, end.equation, x, a)


def _place(value: Value, end: Value, match: Match) -> Place | None:
    """An equation in the same body as the end that takes the value."""
    for user in match.inside:
        if user.body is end.body and user.equation is not None:
            for i, operand in enumerate(user.operands):
                if operand is value:
                    return Place(user.equation, i)
    return None
