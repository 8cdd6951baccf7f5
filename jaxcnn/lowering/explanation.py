"""Which form computes each operation of a function, and why."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxcnn.lowering.choice import FITS, XLA, chosen


class Decision(NamedTuple):
    """One operation and the form that computes it."""

    operation: str
    shapes: tuple[tuple[int, ...], ...]  # of its arguments
    form: str
    why: str


def explain(
    function: Callable[..., Any], *args: Any, platform: str | None = None
) -> list[Decision]:
    """The forms of all operations of ours in function(*args), in their order.

    Args:
        function: any traceable function; nothing is computed.
        args: its arguments: arrays or `jax.ShapeDtypeStruct`s, or pytrees of them.
        platform: "cpu", "gpu" or "tpu"; JAX's default backend where not given.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x, kernel = jnp.ones((1, 8, 8, 4)), jnp.ones((1, 1, 4, 2))
        >>> (decision,) = explain(jaxcnn.functional.conv, x, kernel, platform="cpu")
        >>> decision.operation, decision.form
        ('conv', 'dot')
    """
    platform = platform or jax.default_backend()
    return list(_decisions(jax.make_jaxpr(function)(*args).jaxpr, platform))


def _decisions(jaxpr: Jaxpr, platform: str) -> Iterator[Decision]:
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name in FITS:
            avals = [variable.aval for variable in equation.invars]
            shapes = tuple(a.shape for a in avals)
            if platform == "cpu":
                rule = chosen(name, avals, equation.params["how"])
                yield Decision(name, shapes, rule.form, rule.why)
            else:
                yield Decision(name, shapes, XLA, f"XLA's own kernels on a {platform}")
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, ClosedJaxpr | Jaxpr):
                    yield from _decisions(getattr(inner, "jaxpr", inner), platform)
