"""How the equations of a jaxpr are read: what they run inside, and running one by itself."""

from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

# Primitives that run the function inside them once. What else holds a function may run it any
# number of times (`while`, kernels over a grid, shards of a mesh).
CALLS = frozenset(["jit", "closed_call", "core_call", "composite", "remat2"])
CUSTOM_RULES = frozenset(["custom_jvp_call", "custom_vjp_call"])


def inner_jaxprs(equation: JaxprEqn) -> list[Jaxpr | ClosedJaxpr]:
    """What an equation runs inside itself: the bodies of jit, remat, loops and branches."""
    found = []
    for value in equation.params.values():
        values = value if isinstance(value, tuple) else (value,)
        found += [v for v in values if isinstance(v, Jaxpr | ClosedJaxpr)]
    return found


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
