"""How the equations of a jaxpr are read: what they run inside, and running one by itself."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

# Primitives that run the function inside them once. What else holds a function may run it any
# number of times (`while`, kernels over a grid, shards of a mesh). From jax 0.12 on, "eval_jaxpr"
# is the first pass of remat.
CALLS = frozenset(["jit", "closed_call", "core_call", "composite", "eval_jaxpr", "remat2"])
CUSTOM_RULES = frozenset(["custom_jvp_call", "custom_vjp_call"])
ONCE = CALLS | CUSTOM_RULES  # all that runs the one function inside it once
# What JAX raises where a function has no derivative of a mode: custom_vjp has no jvp, a while loop
# no vjp.
NO_RULE = (TypeError, ValueError, NotImplementedError)


def inner_jaxprs(equation: JaxprEqn) -> list[Jaxpr | ClosedJaxpr]:
    """What an equation runs inside itself: the bodies of jit, remat, loops and branches."""
    found = []
    for value in equation.params.values():
        values = value if isinstance(value, tuple) else (value,)
        found += [v for v in values if isinstance(v, Jaxpr | ClosedJaxpr)]
    return found


def opened(jaxpr: Jaxpr | ClosedJaxpr) -> tuple[Jaxpr, Sequence[Any]]:
    """A jaxpr and its constants."""
    return (jaxpr.jaxpr, jaxpr.consts) if isinstance(jaxpr, ClosedJaxpr) else (jaxpr, ())


def has(jaxpr: Jaxpr | ClosedJaxpr, names: Iterable[str]) -> bool:
    """Whether one of these primitives stands in a jaxpr, or inside one of its equations."""
    return any(
        equation.primitive.name in names or any(has(j, names) for j in inner_jaxprs(equation))
        for equation in jaxpr.eqns
    )


def scan_lengths(equation: JaxprEqn) -> tuple[int, int]:
    """How many of a scan's inputs are constants of its body, and how many are carried on."""
    tree = equation.params.get("ft_in")  # from jax 0.12 on
    if tree is None:
        return equation.params["num_consts"], equation.params["num_carry"]
    constants, carry, _ = tree.unpack()
    return len(constants), len(carry)


def definition(equation: JaxprEqn) -> Jaxpr | None:
    """An equation in JAX's own operations, if its primitive has a `definition`; else None.

    A primitive from outside JAX may carry one: a function of its arrays and parameters.
    """
    function = getattr(equation.primitive, "definition", None)
    if function is None:
        return None
    avals: list[Any] = [variable.aval for variable in equation.invars]
    shapes = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals)
    return jax.make_jaxpr(lambda *args: function(*args, **equation.params))(*shapes).jaxpr


def evaluate(equation: JaxprEqn, *args: Any) -> list[Any]:
    """The outputs of one equation, for any arrays or tracers in place of its inputs."""
    params = equation.primitive.get_bind_params(equation.params)
    found = equation.primitive.bind(*args, **params)
    return list(found) if equation.primitive.multiple_results else [found]
