"""How often the loops and branches of a jaxpr run: its equations run with counters beside them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jaxcnn.autodiff.jaxprs import (
    ONCE,
    evaluate,
    has,
    inner_jaxprs,
    opened,
    scan_lengths,
)

# Where a loop or branch stands: the equations' numbers from the outside in, and which inside.
Path = tuple[int | str, ...]
Counts = dict[Path, Any]
UNKNOWN = None  # in place of a value that nobody gave, or that depends on one
BRANCHING = ("while", "cond")


def runs(jaxpr: Jaxpr | ClosedJaxpr, args: Sequence[Any]) -> dict[Path, int]:
    """How often each `while` turns, and each branch of a `cond` is taken, in one run of a jaxpr.

    Arguments may be UNKNOWN; then what depends on them is not run, and loops and branches that
    depend on them are missing from the result.

    Args:
        jaxpr: what to run, under `jax.jit`.
        args: arrays, or UNKNOWN.

    Returns:
        by path: (3,) is the `while` of equation 3, (3, "branch 1") branch 1 of the `cond` that is
        equation 3, (2, "body", 0) the `while` that is equation 0 of what equation 2 runs.
    """
    if not has(jaxpr, ["while"]):
        return {}
    with jax.ensure_compile_time_eval():  # now, even if the caller is being traced
        counts = jax.jit(lambda args: _run(jaxpr, args, ())[1])(tuple(args))
        return {path: int(count) for path, count in counts.items()}


def _run(jaxpr: Jaxpr | ClosedJaxpr, args: Sequence[Any], path: Path) -> tuple[list[Any], Counts]:
    inner, consts = opened(jaxpr)
    # What the caller is being traced for has no value either.
    known = [UNKNOWN if isinstance(const, Tracer) else const for const in consts]
    values: dict[Any, Any] = dict(zip(inner.constvars, known, strict=True))
    values.update(zip(inner.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return jnp.asarray(atom.val, _dtype(atom)) if isinstance(atom, Literal) else values[atom]

    counts: Counts = {}
    for number, equation in enumerate(inner.eqns):
        given = [read(atom) for atom in equation.invars]
        found, inside = _step(equation, given, (*path, number))
        values.update(zip(equation.outvars, found, strict=True))
        counts |= inside
    return [read(atom) for atom in inner.outvars], counts


def _dtype(atom: Any) -> Any:
    return atom.aval.dtype


def _step(equation: JaxprEqn, given: list[Any], path: Path) -> tuple[list[Any], Counts]:
    name = equation.primitive.name
    if name in ONCE:
        (inner,) = inner_jaxprs(equation)
        return _run(inner, given, (*path, "body"))
    if name in BRANCHING or (name == "scan" and has(equation.params["jaxpr"], BRANCHING)):
        return LOOPS[name](equation, given, path)
    if any(value is UNKNOWN for value in given):
        return [UNKNOWN] * len(equation.outvars), {}
    return evaluate(equation, *given), {}


def _known(jaxpr: Jaxpr | ClosedJaxpr, given: Sequence[bool]) -> list[bool]:
    """Which outputs can be computed from the inputs that are given."""
    inner, _ = opened(jaxpr)
    missing = {variable for variable, known in zip(inner.invars, given, strict=True) if not known}
    for equation in inner.eqns:
        if any(atom in missing for atom in equation.invars if not isinstance(atom, Literal)):
            missing.update(equation.outvars)
    return [isinstance(atom, Literal) or atom not in missing for atom in inner.outvars]


def _carried(
    body: Any, before: Sequence[Any], carry: Sequence[Any], xs: Sequence[Any]
) -> list[int]:
    """Which numbers of a loop's carry stay known from turn to turn."""
    given = [value is not UNKNOWN for value in (*before, *xs)]
    known = [value is not UNKNOWN for value in carry]
    while True:
        mask = [*given[: len(before)], *known, *given[len(before) :]]
        after = [a and b for a, b in zip(known, _known(body, mask), strict=False)]
        if after == known:
            return [place for place, is_known in enumerate(known) if is_known]
        known = after


def _filled(length: int, places: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """`values` in their places, UNKNOWN elsewhere."""
    full: list[Any] = [UNKNOWN] * length
    for place, value in zip(places, values, strict=True):
        full[place] = value
    return full


def _while(equation: JaxprEqn, given: list[Any], path: Path) -> tuple[list[Any], Counts]:
    split = equation.params["cond_nconsts"]
    start = split + equation.params["body_nconsts"]
    before_test, before, init = given[:split], given[split:start], given[start:]
    test, body = equation.params["cond_jaxpr"], equation.params["body_jaxpr"]
    places = _carried(body, before, init, ())

    def full(carry: Sequence[Any]) -> list[Any]:
        return _filled(len(init), places, carry)

    def asked(carry: Sequence[Any]) -> tuple[Any, Counts]:
        (go,), inside = _run(test, [*before_test, *full(carry)], (*path, "cond"))
        return go, inside

    def turn(state: Any) -> Any:
        go, carry, counts = state
        found, inside = _run(body, [*before, *full(carry)], (*path, "body"))
        carry = [_where(go, found[place], old) for place, old in zip(places, carry, strict=True)]
        go, inside_test = asked(carry)
        return go, carry, _sum(counts, {path: 1, **inside, **inside_test})

    go, inside = asked([init[place] for place in places])
    if go is UNKNOWN:
        return [UNKNOWN] * len(init), {}
    carry = [jnp.asarray(init[place]) for place in places]
    shapes = jax.eval_shape(lambda c: turn((go, c, {}))[2], carry)
    counts = _sum({key: jnp.zeros((), int) for key in shapes}, inside)
    _, carry, counts = lax.while_loop(lambda state: jnp.any(state[0]), turn, (go, carry, counts))
    return full(carry), counts


def _scan(equation: JaxprEqn, given: list[Any], path: Path) -> tuple[list[Any], Counts]:
    start, carried = scan_lengths(equation)
    end = start + carried
    before, init, xs = given[:start], given[start:end], given[end:]
    body = equation.params["jaxpr"]
    places = _carried(body, before, init, xs)

    def turn(carry: list[Any], xs: list[Any]) -> Any:
        full = _filled(len(init), places, carry)
        found, counts = _run(body, [*before, *full, *xs], (*path, "body"))
        counts = {key: jnp.asarray(count) for key, count in counts.items()}
        return [found[place] for place in places], (found[len(init) :], counts)

    carry, (ys, counts) = lax.scan(
        turn,
        [jnp.asarray(init[place]) for place in places],
        xs,
        length=equation.params["length"],
        reverse=equation.params["reverse"],
    )
    counts = {key: count.sum(dtype=int) for key, count in counts.items()}
    return [*_filled(len(init), places, carry), *ys], counts


def _cond(equation: JaxprEqn, given: list[Any], path: Path) -> tuple[list[Any], Counts]:
    index, *operands = given
    branches = equation.params["branches"]
    if index is UNKNOWN:
        return [UNKNOWN] * len(equation.outvars), {}
    masks = [_known(branch, [x is not UNKNOWN for x in operands]) for branch in branches]
    places = [place for place, known in enumerate(zip(*masks, strict=True)) if all(known)]

    def taken(number: int) -> Callable[[Any], tuple[list[Any], Counts]]:
        inside = (*path, f"branch {number}")

        def run(operands: Any) -> tuple[list[Any], Counts]:
            found, counts = _run(branches[number], operands, inside)
            return [found[place] for place in places], {**counts, inside: 1}

        return run

    keys = {k for n in range(len(branches)) for k in jax.eval_shape(taken(n), operands)[1]}

    def alike(number: int) -> Callable[[Any], tuple[list[Any], Counts]]:
        """A branch whose counts have the keys of all branches."""

        def run(operands: Any) -> tuple[list[Any], Counts]:
            found, counts = taken(number)(operands)
            return found, {
                key: jnp.asarray(counts.get(key, 0), int) for key in sorted(keys, key=str)
            }

        return run

    found, counts = lax.switch(index, [alike(n) for n in range(len(branches))], operands)
    return _filled(len(equation.outvars), places, found), counts


def _where(go: Any, new: Any, old: Any) -> Any:
    """Under vmap each example of a batch stops by itself, and all wait for the last."""
    return jnp.where(jnp.reshape(go, go.shape + (1,) * (jnp.ndim(new) - go.ndim)), new, old)


def _sum(a: Counts, b: Counts) -> Counts:
    return {key: jnp.asarray(a.get(key, 0) + b.get(key, 0), int) for key in {**a, **b}}


LOOPS = {"while": _while, "scan": _scan, "cond": _cond}
