"""Formulas of primitives and of their derivatives, as a textbook writes them.

Operands are a and b, the result is v, its adjoint g. What is not listed here is still traced:
JAX's own rules give the numbers, and the formula names the primitive.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxcnn.autodiff.traces.parsing import parse

# primitive -> (value, derivative by a, derivative by b); of numbers, or element by element. What
# compares has no derivative.
ELEMENTWISE: dict[str, tuple[str, ...]] = {
    "abs": ("abs(a)", "2 * (a >= 0) - 1"),
    "acos": ("acos(a)", "-1 / sqrt(1 - a^2)"),
    "add": ("a + b", "1", "1"),
    "add_any": ("a + b", "1", "1"),
    "asin": ("asin(a)", "1 / sqrt(1 - a^2)"),
    "atan": ("atan(a)", "1 / (1 + a^2)"),
    "cos": ("cos(a)", "-sin(a)"),
    "cosh": ("cosh(a)", "sinh(a)"),
    "div": ("a / b", "1 / b", "-v / b"),
    "erf": ("erf(a)", "2 / sqrt(pi) * exp(-a^2)"),
    "exp": ("exp(a)", "v"),
    "exp2": ("2^a", "v * ln(2)"),
    "eq": ("a == b",),
    "expm1": ("expm1(a)", "v + 1"),
    "ge": ("a >= b",),
    "gt": ("a > b",),
    "le": ("a <= b",),
    "log": ("ln(a)", "1 / a"),
    "log1p": ("log1p(a)", "1 / (1 + a)"),
    "logistic": ("sigmoid(a)", "v * (1 - v)"),
    "lt": ("a < b",),
    "max": ("max(a, b)", "greater(a, b)", "greater(b, a)"),
    "min": ("min(a, b)", "greater(b, a)", "greater(a, b)"),
    "mul": ("a * b", "b", "a"),
    "ne": ("a != b",),
    "neg": ("-a", "-1"),
    "pow": ("a^b", "b * a^(b - 1)", "v * ln(where(a == 0, 1, a))"),
    "relu": ("relu(a)", "step(a)"),
    "rsqrt": ("1 / sqrt(a)", "-v / (2 * a)"),
    "sign": ("sign(a)", "0"),
    "sin": ("sin(a)", "cos(a)"),
    "sinh": ("sinh(a)", "cosh(a)"),
    "stop_gradient": ("stop_gradient(a)", "0"),
    "sqrt": ("sqrt(a)", "1 / (2 * v)"),
    "square": ("a^2", "2 * a"),
    "sub": ("a - b", "1", "-1"),
    "tan": ("tan(a)", "1 + v^2"),
    "tanh": ("tanh(a)", "1 - v^2"),
}
# Linear in each operand by itself: their tangents are sums of the formula of their values.
LINEAR = frozenset(
    "broadcast_in_dim conv conv_general_dilated convert_element_type cumsum dot_general "
    "dynamic_slice expand_dims gather reduce_sum reshape rev slice squeeze sum_pool "
    "transpose".split()
)
# Linear in all numbers together: the tangent is the formula of the value, with all operands moved.
JOINTLY_LINEAR = frozenset(["concatenate", "pad", "select_n"])

Shape = tuple[int, ...]


class Rule(NamedTuple):
    """Formulas of one step; those that are missing, JAX's own rules evaluate."""

    value: Any = None
    partials: tuple[Any, ...] = ()  # element by element: by a, by b
    adjoints: tuple[Any, ...] = ()  # of what is linear in each operand: what a and b receive


def rule(name: str, params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> Rule:
    """The formulas of a primitive, in the names a, b, v and g.

    Args:
        name: the primitive's; relu and other custom rules go by their function's name.
        params: of the equation.
        shapes: of the operands.
        out: the shape of the result.
    """
    if name == "integer_pow":
        return _elementwise(_power(params["y"]))
    if name in ELEMENTWISE:
        return _elementwise(ELEMENTWISE[name])
    if name in ARRAYS:
        written = ARRAYS[name](params, shapes, out)
        if written is not None:
            value, *adjoints = (_read(w) for w in written)
            return Rule(value, adjoints=tuple(adjoints))
    return Rule()


@functools.cache
def _read(written: str) -> Any:
    return parse(written, "abcgv")


@functools.cache
def _elementwise(written: tuple[str, ...]) -> Rule:
    value, *partials = (_read(w) for w in written)
    return Rule(value, tuple(partials))


def _power(y: int) -> tuple[str, str]:
    if y == 2:
        return "a^2", "2 * a"
    if y == -1:
        return "1 / a", "-v^2"
    return f"a^({y})" if y < 0 else f"a^{y}", f"{y} * a^({y - 1})" if y < 1 else f"{y} * a^{y - 1}"


def _reduce_sum(params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> Sequence[str]:
    (shape,), axes = shapes, params["axes"]
    if len(axes) == len(shape):
        return "sum(a)", f"broadcast(g, {list(shape)})"
    kept = [1 if axis in axes else n for axis, n in enumerate(shape)]
    return f"sum(a, {list(axes)})", f"broadcast(reshape(g, {kept}), {list(shape)})"


def _broadcast(params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> Sequence[str]:
    shape = shapes[0]
    places = params["broadcast_dimensions"]
    ones = [1] * len(out)
    for place, n in zip(places, shape, strict=True):
        ones[place] = n
    if math.prod(ones) == math.prod(out):
        return f"reshape(a, {list(out)})", f"reshape(g, {list(shape)})"
    aligned = tuple(places) == tuple(range(len(out) - len(shape), len(out)))
    inner = "a" if aligned else f"reshape(a, {ones})"
    axes = [axis for axis, n in enumerate(out) if ones[axis] != n]
    added = "sum(g)" if len(axes) == len(out) and not shape else f"sum(g, {axes})"
    summed = tuple(n for axis, n in enumerate(out) if axis not in axes)
    back = added if summed == shape else f"reshape({added}, {list(shape)})"
    return f"broadcast({inner}, {list(out)})", back


def _reshape(params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> Sequence[str]:
    return f"reshape(a, {list(out)})", f"reshape(g, {list(shapes[0])})"


def _transpose(params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> Sequence[str]:
    order = list(params["permutation"])
    if order == [1, 0]:
        return "transpose(a)", "transpose(g)"
    back = [order.index(axis) for axis in range(len(order))]
    return f"transpose(a, {order})", f"transpose(g, {back})"


def _dot(params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> Sequence[str] | None:
    left, right = (len(shape) for shape in shapes)
    ((a_axes, b_axes), (a_batch, b_batch)) = params["dimension_numbers"]
    plain = not (a_batch or b_batch) and tuple(a_axes) == (left - 1,) and tuple(b_axes) == (0,)
    adjoints = {
        (1, 1): ("g * b", "g * a"),
        (2, 1): ("outer(g, b)", "transpose(a) @ g"),
        (1, 2): ("b @ g", "outer(a, g)"),
        (2, 2): ("g @ transpose(b)", "transpose(a) @ g"),
    }
    return ("a @ b", *adjoints[left, right]) if plain and (left, right) in adjoints else None


def _slice(params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> Sequence[str] | None:
    if any(stride != 1 for stride in params["strides"] or ()):
        return None
    starts, stops = list(params["start_indices"]), list(params["limit_indices"])
    return f"slice(a, {starts}, {stops})", f"place(g, {starts}, {list(shapes[0])})"


def _select(params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> Sequence[str] | None:
    if len(shapes) != 3:
        return None
    return "where(a, c, b)", "0", "where(a, 0, g)", "where(a, g, 0)"


def _reduce_max(params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> Any:
    return None if out else ("max(a)",)


ARRAYS: dict[str, Callable[..., Sequence[str] | None]] = {
    "broadcast_in_dim": _broadcast,
    "dot_general": _dot,
    "expand_dims": _reshape,
    "reduce_max": _reduce_max,
    "reduce_sum": _reduce_sum,
    "reshape": _reshape,
    "select_n": _select,
    "slice": _slice,
    "squeeze": _reshape,
    "transpose": _transpose,
}
