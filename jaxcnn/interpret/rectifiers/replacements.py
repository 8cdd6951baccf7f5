"""Giving the rectifiers of a function another backward rule."""

from collections.abc import Callable, Sequence
from typing import Any

from jax import Array
from jax.extend.core import ClosedJaxpr, JaxprEqn

from jaxcnn.autodiff.jaxprs import evaluate, inner_jaxprs, opened
from jaxcnn.interpret.rectifiers.matching import Found, Place
from jaxcnn.interpret.rewriting import rewrite

# (kind, input, output, negative slope) -> the output, with another derivative by the input
Change = Callable[[str, Array, Array, Any], Array]


def with_rectifiers(
    jaxpr: ClosedJaxpr, found: Sequence[Found], args: Sequence[Any], change: Change
) -> list[Any]:
    """The outputs of a function whose rectifiers are changed.

    Args:
        jaxpr: of the function.
        found: its rectifiers, by `find`.
        args: its inputs.
        change: gives a rectifier's output.
    """
    ends = {id(rectifier.equation): rectifier for rectifier in found}
    needed: dict[int, list[Place]] = {}
    for rectifier in found:
        for place in (rectifier.x, rectifier.slope):
            if isinstance(place, Place):
                needed.setdefault(id(place.equation), []).append(place)
    seen: dict[tuple[int, int], Any] = {}

    def had(place: Place | float) -> Any:
        return seen[_key(place)] if isinstance(place, Place) else place

    def rule(equation: JaxprEqn, values: Sequence[Any]) -> Sequence[Any] | None:
        for place in needed.get(id(equation), ()):
            seen[_key(place)] = values[place.operand]
        rectifier = ends.get(id(equation))
        if rectifier is None:
            return None
        (y,) = evaluate(equation, *values)
        return [change(rectifier.kind, had(rectifier.x), y, had(rectifier.slope))]

    marked = ends.keys() | needed.keys()
    return rewrite(jaxpr, args, rule, lambda equation: _holds(equation, marked))


def _key(place: Place) -> tuple[int, int]:
    return id(place.equation), place.operand


def _holds(equation: JaxprEqn, marked: Any) -> bool:
    return any(
        id(inner) in marked or _holds(inner, marked)
        for jaxpr in inner_jaxprs(equation)
        for inner in opened(jaxpr)[0].eqns
    )
