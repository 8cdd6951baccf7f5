"""Receptive fields of any function of images, read off its jaxpr.

Every array that depends on the images carries, for each spatial axis, a `Span`: output pixel i
sees the input pixels jump i + low ... jump i + high. Convolutions, pooling, padding and slices
move and widen the spans, elementwise operations unite them (Araujo, Norris & Sim (2019), Computing
receptive fields of convolutional neural networks, https://distill.pub/2019/computing-receptive-fields).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jaxcnn.autodiff.jaxprs import definition


class Span(NamedTuple):
    """What pixel i of an axis sees: the input pixels jump i + low ... jump i + high."""

    jump: int
    low: int
    high: int


Field = tuple[Span, ...] | str | None  # one span an axis; WHOLE; None: independent of the images
WHOLE = "whole"

ELEMENTWISE = frozenset(
    """abs add add_any and atan2 cbrt ceil clamp convert_element_type copy copy_p cos cosh div eq
    erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max
    min mul name ne neg not optimization_barrier or pow rem round rsqrt select_n sign sin sinh sqrt
    square stop_gradient sub tan tanh xor""".split()
)


def receptive_fields(
    f: Callable[..., Any], constants: Any, x: jax.ShapeDtypeStruct
) -> list[tuple[int, ...]]:
    """Pixels of x, along each spatial axis, that one output pixel of f(constants, x) depends on.

    Args:
        f: a function of (constants, images) to a pytree of arrays.
        constants: a pytree of arrays or their shapes, such as a model's variables.
        x: the shape of the images, b *space c.

    Returns:
        one tuple for each array in f's result. Padding counts as pixels, so that a field may be
        larger than the image. What sees all pixels (dense layers, means over the image), or goes
        through an operation with no rule here, gets the image's own size.
    """
    space = x.shape[1:-1]
    jaxpr = jax.make_jaxpr(f)(constants, x)
    one_pixel: Field = tuple(Span(1, 0, 0) for _ in space)
    inputs: list[Field] = [None] * (len(jaxpr.jaxpr.invars) - 1)
    fields = _walk(jaxpr.jaxpr, [*inputs, one_pixel], len(space))
    return [
        tuple(s.high - s.low + 1 for s in field) if isinstance(field, tuple) else space
        for field in fields
    ]


def _walk(jaxpr: Jaxpr, inputs: Sequence[Field], axes: int) -> list[Field]:
    fields: dict[Any, Field] = dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Field:
        return None if isinstance(atom, Literal) else fields.get(atom)

    for eqn in jaxpr.eqns:
        seen = [read(atom) for atom in eqn.invars]
        if all(field is None for field in seen):
            continue
        inner = _inner_jaxpr(eqn)
        if inner is not None:
            out = _walk(inner, seen, axes)
        elif WHOLE in seen:
            out = [WHOLE] * len(eqn.outvars)
        else:
            out = [_rule(eqn, seen, axes)] * len(eqn.outvars)
        fields.update(zip(eqn.outvars, out, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _inner_jaxpr(eqn: JaxprEqn) -> Jaxpr | None:
    """The body of what is run once as it stands: jit, remat, custom derivatives, our operations."""
    ours = definition(eqn)
    if ours is not None:
        return ours
    if eqn.primitive.name in ("scan", "while", "cond"):
        return None
    for value in eqn.params.values():
        jaxpr = value.jaxpr if isinstance(value, ClosedJaxpr) else value
        if isinstance(jaxpr, Jaxpr) and len(jaxpr.invars) == len(eqn.invars):
            return jaxpr
    return None


def _rule(eqn: JaxprEqn, seen: Sequence[Field], axes: int) -> Field:
    """The field of an equation's outputs, where no input of it sees the whole image."""
    name, params = eqn.primitive.name, eqn.params
    fields = [field for field in seen if isinstance(field, tuple)]
    if name in ELEMENTWISE:
        return _unite(fields)
    if name == "concatenate" and params["dimension"] > axes:
        return _unite(fields)
    field = fields[0]
    if len(fields) > 1 or seen[0] is None:
        return WHOLE
    space = range(1, axes + 1)
    if name == "pad":
        config = [params["padding_config"][a] for a in space]
        if any(interior for _, _, interior in config):
            return WHOLE
        return _slide(field, low=[int(low) for low, _, _ in config])
    if name == "slice":
        strides = params["strides"] or [1] * (axes + 2)
        return _slide(
            field,
            low=[-params["start_indices"][a] for a in space],
            stride=[strides[a] for a in space],
        )
    if name == "conv_general_dilated":
        layout = params["dimension_numbers"]
        if tuple(layout.lhs_spec[2:]) != tuple(space) or set(params["lhs_dilation"]) != {1}:
            return WHOLE
        return _slide(
            field,
            low=[int(low) for low, _ in params["padding"]],
            stride=params["window_strides"],
            window=[_shape(eqn.invars[1])[a] for a in layout.rhs_spec[2:]],
            dilation=params["rhs_dilation"],
        )
    if name.startswith("reduce_window"):
        return _slide(
            field,
            low=[int(params["padding"][a][0]) for a in space],
            stride=[params["window_strides"][a] for a in space],
            window=[params["window_dimensions"][a] for a in space],
            dilation=[params["window_dilation"][a] for a in space],
        )
    return field if _keeps_pixels(eqn, axes) else WHOLE


def _keeps_pixels(eqn: JaxprEqn, axes: int) -> bool:
    """Whether batch and space come out first and unmixed, whatever becomes of the channels."""
    name, params = eqn.primitive.name, eqn.params
    leading = tuple(range(axes + 1))
    if name == "dot_general":
        (contracted, _), (batched, _) = params["dimension_numbers"]
        return not batched and min(contracted) > axes
    if name == "transpose":
        return tuple(params["permutation"][: axes + 1]) == leading
    if name == "broadcast_in_dim" and params["broadcast_dimensions"][: axes + 1] != leading:
        return False
    if name == "split":
        return params["axis"] > axes
    if name in ("reshape", "squeeze", "broadcast_in_dim"):
        before, after = _shape(eqn.invars[0]), _shape(eqn.outvars[0])
        return before[: axes + 1] == after[: axes + 1]
    return name.startswith("reduce_") and min(params.get("axes", (0,))) > axes


def _shape(atom: Any) -> tuple[int, ...]:
    return atom.aval.shape


def _slide(
    field: tuple[Span, ...],
    *,
    low: Sequence[int],
    stride: Sequence[int] | None = None,
    window: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
) -> Field:
    ones = [1] * len(field)
    spans = []
    for span, pad, s, k, d in zip(
        field, low, stride or ones, window or ones, dilation or ones, strict=True
    ):
        start = span.low - pad * span.jump
        end = span.high - pad * span.jump + d * (k - 1) * span.jump
        spans.append(Span(span.jump * s, start, end))
    return tuple(spans)


def _unite(fields: Sequence[tuple[Span, ...]]) -> Field:
    spans = []
    for along in zip(*fields, strict=True):
        if len({span.jump for span in along}) > 1:
            return WHOLE
        low, high = min(s.low for s in along), max(s.high for s in along)
        spans.append(Span(along[0].jump, low, high))
    return tuple(spans)
