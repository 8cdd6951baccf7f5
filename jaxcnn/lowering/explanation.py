"""Which form computes each operation of a function, and why."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxcnn.autodiff.jaxprs import inner_jaxprs
from jaxcnn.lowering.choice import XLA, chosen
from jaxcnn.lowering.operations import Operation


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
        >>> import jax.numpy as jnp
        >>> from jaxcnn.functional import conv
        >>> x, kernel = jnp.ones((1, 8, 8, 64)), jnp.ones((1, 1, 64, 2))
        >>> (decision,) = explain(conv, x, kernel, platform="cpu")
        >>> decision.operation, decision.form
        ('conv', 'dot')
    """
    platform = platform or jax.default_backend()
    return list(_decisions(jax.make_jaxpr(function)(*args), platform))


def _decisions(jaxpr: Jaxpr | ClosedJaxpr, platform: str) -> Iterator[Decision]:
    for equation in jaxpr.eqns:
        if isinstance(equation.primitive, Operation):
            name = equation.primitive.name
            avals: list[Any] = [variable.aval for variable in equation.invars]
            shapes = tuple(a.shape for a in avals)
            if platform == "cpu":
                rule = chosen(name, avals, equation.params["how"])
                yield Decision(name, shapes, rule.form, rule.why)
            else:
                yield Decision(name, shapes, XLA, f"XLA's own kernels on a {platform}")
        for inner in inner_jaxprs(equation):
            yield from _decisions(inner, platform)
