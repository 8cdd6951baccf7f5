"""Receptive fields of any function of images, read off its jaxpr.

Every array that depends on the images carries, for each spatial axis, a `View`. Its `Span` is the
rule: output pixel i sees the input pixels jump i + low ... jump i + high. Convolutions, pooling,
padding and slices move and widen it, elementwise operations unite it (Araujo, Norris & Sim (2019),
Computing receptive fields of convolutional neural networks,
https://distill.pub/2019/computing-receptive-fields). What of that each pixel really sees, with the
edges of the image and of all maps between, is followed pixel by pixel beside it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jaxcnn.autodiff.jaxprs import definition


class Span(NamedTuple):
    """What pixel i of an axis sees: the input pixels jump i + low ... jump i + high."""

    jump: int
    low: int
    high: int


class View(NamedTuple):
    """What the pixels of an axis see of that axis of the images."""

    span: Span
    """By rule, padding counted as pixels; jump 0 where all pixels see the same."""
    seen: np.ndarray
    """The first and the last pixel of the image that each pixel depends on, shape (pixels, 2);
    the first comes after the last where it depends on none."""


Field = tuple[View, ...] | str | None  # one view an axis; WHOLE; None: independent of the images
WHOLE = "whole"
NOTHING = (np.iinfo(np.int32).max, -1)  # what unites with any pixels to those pixels

ELEMENTWISE = frozenset(
    """abs add add_any and atan2 cbrt ceil clamp convert_element_type copy copy_p cos cosh div eq
    erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max
    min mul name ne neg not optimization_barrier or pow reduce_precision rem round rsqrt select_n
    sign sin sinh sqrt square stop_gradient sub tan tanh xor""".split()
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
        through an operation with no rule here, gets the image's own size; what depends on no
        pixel gets zeros.
    """
    views = receptive_views(jax.make_jaxpr(f)(constants, x))
    return [tuple(view.span.high - view.span.low + 1 for view in along) for along in views]


def receptive_views(jaxpr: ClosedJaxpr) -> list[tuple[View, ...]]:
    """What the pixels of each output of a jaxpr see of its last input, images b *space c.

    Args:
        jaxpr: of any function, such as `jax.make_jaxpr` gives it.

    Returns:
        for each output one view an axis. What sees all pixels, or goes through an operation with
        no rule here (loops and branches have none), has the span 0 i + 0 ... 0 i + n - 1 of an
        axis of n pixels.

    Example:
        >>> import jax.numpy as jnp
        >>> jaxpr = jax.make_jaxpr(lambda x: x[:, 1::2])(jnp.zeros((1, 5, 3, 1)))
        >>> rows, columns = receptive_views(jaxpr)[0]
        >>> rows.span, rows.seen.tolist()
        (Span(jump=2, low=1, high=1), [[1, 1], [3, 3]])
    """
    inside, x = jaxpr.jaxpr, jaxpr.in_avals[-1]
    space = x.shape[1:-1]
    one_pixel: Field = tuple(View(Span(1, 0, 0), _pixels(n)) for n in space)
    inputs: list[Field] = [None] * (len(inside.invars) - 1)
    fields = _walk(inside, [*inputs, one_pixel], len(space))
    shapes = [aval.shape for aval in jaxpr.out_avals]
    return [_completed(field, shape, space) for field, shape in zip(fields, shapes, strict=True)]


def _pixels(n: int) -> np.ndarray:
    """Each pixel sees itself."""
    return np.stack([np.arange(n)] * 2, axis=-1)


def _completed(field: Field, shape: Sequence[int], space: Sequence[int]) -> tuple[View, ...]:
    """A field as views, also where it is the whole image or nothing."""
    if isinstance(field, tuple):
        return field
    sizes = shape[1:-1] if len(shape) == len(space) + 2 else [1] * len(space)
    return tuple(
        View(Span(0, 0, n - 1), np.tile([0, n - 1], (size, 1)))
        if field == WHOLE
        else View(Span(0, 0, -1), np.tile(NOTHING, (size, 1)))
        for n, size in zip(space, sizes, strict=True)
    )


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
        return _slide(eqn, field, low=[int(low) for low, _, _ in config])
    if name == "slice":
        strides = params["strides"] or [1] * (axes + 2)
        return _slide(
            eqn,
            field,
            low=[-params["start_indices"][a] for a in space],
            stride=[strides[a] for a in space],
        )
    if name == "conv_general_dilated":
        layout = params["dimension_numbers"]
        channels_last = (0, axes + 1, *space)
        if (layout.lhs_spec, layout.out_spec) != (channels_last, channels_last) or set(
            params["lhs_dilation"]
        ) != {1}:
            return WHOLE
        return _slide(
            eqn,
            field,
            low=[int(low) for low, _ in params["padding"]],
            stride=params["window_strides"],
            window=[_shape(eqn.invars[1])[a] for a in layout.rhs_spec[2:]],
            dilation=params["rhs_dilation"],
        )
    if name.startswith("reduce_window") and set(params["base_dilation"]) == {1}:
        return _slide(
            eqn,
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
    eqn: JaxprEqn,
    field: tuple[View, ...],
    *,
    low: Sequence[int],
    stride: Sequence[int] | None = None,
    window: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
) -> Field:
    """The field of a window that slides over an array with `low` pixels put before it."""
    ones = [1] * len(field)
    sizes = _shape(eqn.outvars[0])[1 : len(field) + 1]
    views = []
    for (span, seen), n, pad, s, k, d in zip(
        field, sizes, low, stride or ones, window or ones, dilation or ones, strict=True
    ):
        start = span.low - pad * span.jump
        end = span.high - pad * span.jump + d * (k - 1) * span.jump
        # Row t of `taps`: where each window has its tap t.
        taps = s * np.arange(n) + d * np.arange(k)[:, None] - pad
        inside = (taps >= 0) & (taps < len(seen))
        found = np.where(inside[..., None], seen[np.clip(taps, 0, len(seen) - 1)], NOTHING)
        views.append(View(Span(span.jump * s, start, end), _extent(found)))
    return tuple(views)


def _unite(fields: Sequence[tuple[View, ...]]) -> Field:
    views = []
    for along in zip(*fields, strict=True):
        spans = [view.span for view in along]
        if len({span.jump for span in spans}) > 1:
            return WHOLE
        low, high = min(s.low for s in spans), max(s.high for s in spans)
        seen = _extent(np.stack([view.seen for view in along]))
        views.append(View(Span(spans[0].jump, low, high), seen))
    return tuple(views)


def _extent(seen: np.ndarray) -> np.ndarray:
    """From the first to the last pixel of all that are united along the first axis."""
    return np.stack([seen[..., 0].min(axis=0), seen[..., 1].max(axis=0)], axis=-1)
