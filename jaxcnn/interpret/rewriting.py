"""Evaluating a jaxpr with some of its equations replaced.

Rewriting goes where the code goes: into jit, remat, custom derivatives, scans, loops and branches.
What it does not open is bound as it stands, custom derivative rules included.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jaxcnn.autodiff.jaxprs import (
    CUSTOM_RULES,
    ONCE,
    definition,
    evaluate,
    inner_jaxprs,
    opened,
    scan_lengths,
)

REMAT = frozenset(["remat2", "checkpoint"])
OPENED = ONCE | REMAT | {"scan", "cond", "while"}  # what `rewrite` can go into
Rule = Callable[[JaxprEqn, Sequence[Any]], Sequence[Any] | None]


def rewrite(
    jaxpr: Jaxpr | ClosedJaxpr,
    args: Sequence[Any],
    rule: Rule,
    opens: Callable[[JaxprEqn], bool],
) -> list[Any]:
    """The outputs of a jaxpr, where a rule may compute equations in its own way.

    Values keep their identity (`is`) from the equation that makes them to those that use them,
    through jit and other calls as well: a rule may remember facts about them.

    Args:
        jaxpr: of any function.
        args: its inputs.
        rule: (equation, values of its operands) -> its outputs, or None to leave it as it is.
        opens: whether to go inside an equation that holds functions. jit is always gone into;
            custom derivative rules that are opened give way to derivatives of what they hold.
    """
    inside, constants = opened(jaxpr)
    values: dict[Any, Any] = dict(zip(inside.constvars, constants, strict=True))
    values.update(zip(inside.invars, args, strict=True))
    for equation in inside.eqns:
        operands = [v.val if isinstance(v, Literal) else values[v] for v in equation.invars]
        found = rule(equation, operands)
        if found is None:
            found = _outputs(equation, operands, rule, opens)
        values.update(zip(equation.outvars, found, strict=True))
    return [v.val if isinstance(v, Literal) else values[v] for v in inside.outvars]


def unshared(jaxpr: Any) -> Any:
    """The same function with each equation an object of its own, which a rule may know by `id`.

    JAX keeps one jaxpr for all calls of the same function with the same shapes.
    """
    inside, _ = opened(jaxpr)
    if inside is not jaxpr:
        return jaxpr.replace(jaxpr=unshared(inside))
    return jaxpr.replace(eqns=[_copy(equation) for equation in jaxpr.eqns])


def _copy(equation: JaxprEqn) -> JaxprEqn:
    params = equation.params
    if equation.primitive.name in OPENED:
        params = {name: _unshared(value) for name, value in params.items()}
    return equation.replace(params=params)


def _unshared(value: Any) -> Any:
    if isinstance(value, tuple) and value and isinstance(value[0], Jaxpr | ClosedJaxpr):
        return tuple(map(unshared, value))  # the branches of cond
    return unshared(value) if isinstance(value, Jaxpr | ClosedJaxpr) else value


def _outputs(
    equation: JaxprEqn, operands: list[Any], rule: Rule, opens: Callable[[JaxprEqn], bool]
) -> Sequence[Any]:
    name = equation.primitive.name
    if definition(equation) is not None or not inner_jaxprs(equation):
        return evaluate(equation, *operands)
    transparent = name in ONCE and name not in CUSTOM_RULES | REMAT
    if not transparent and not opens(equation):
        return evaluate(equation, *operands)

    def body(inner: Any) -> Callable[..., list[Any]]:
        return lambda *args: rewrite(inner, args, rule, opens)

    if name in REMAT:
        run = jax.checkpoint(  # pyright: ignore[reportPrivateImportUsage]
            body(inner_jaxprs(equation)[0]),
            policy=equation.params["policy"],
            prevent_cse=equation.params["prevent_cse"],
        )
        return run(*operands)
    if name in ONCE:
        return body(inner_jaxprs(equation)[0])(*operands)
    if name == "scan":
        return _scan(equation, operands, body)
    if name == "cond":
        return _cond(equation, operands, body)
    if name == "while":
        return _while(equation, operands, body)
    return evaluate(equation, *operands)


def _cond(equation: JaxprEqn, operands: list[Any], body: Any) -> list[Any]:
    which, *rest = operands
    branches = [body(branch) for branch in equation.params["branches"]]
    platforms = equation.params.get("branches_platforms")
    if platforms is None:
        return lax.switch(which, branches, *rest)
    named = {
        name: branch
        for names, branch in zip(platforms, branches, strict=True)
        for name in names or ["default"]
    }
    return lax.platform_dependent(*rest, **named)


def _scan(equation: JaxprEqn, operands: list[Any], body: Any) -> list[Any]:
    constants, carried = scan_lengths(equation)
    step = body(equation.params["jaxpr"])

    def turn(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        found = step(*operands[:constants], *carry, *x)
        return found[:carried], found[carried:]

    carry, ys = lax.scan(
        turn,
        operands[constants : constants + carried],
        operands[constants + carried :],
        length=equation.params["length"],
        reverse=equation.params["reverse"],
        unroll=equation.params["unroll"],
    )
    return [*carry, *ys]


def _while(equation: JaxprEqn, operands: list[Any], body: Any) -> list[Any]:
    for_cond, for_body = equation.params["cond_nconsts"], equation.params["body_nconsts"]
    cond, step = body(equation.params["cond_jaxpr"]), body(equation.params["body_jaxpr"])
    first = operands[:for_cond]
    second = operands[for_cond : for_cond + for_body]
    return lax.while_loop(
        lambda carry: cond(*first, *carry)[0],
        lambda carry: step(*second, *carry),
        operands[for_cond + for_body :],
    )
