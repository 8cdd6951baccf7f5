"""The layers of a function: what they are called, what they give, and gradients by that.

Linen modules are found by themselves, inside any function that calls them, under the names that
`jaxcnn.models.activations` gives them. In any other function a layer is what
`jax.ad_checkpoint.checkpoint_name(y, "conv1")` names.
"""

import difflib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import linen as nn
from flax.linen.module import InterceptorContext
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import ClosedJaxpr, JaxprEqn

from jaxcnn.autodiff.jaxprs import has, inner_jaxprs
from jaxcnn.interpret.rewriting import REMAT, rewrite
from jaxcnn.models.intermediates import unused_name

NAME = "name"  # the primitive of `checkpoint_name`


def trace(f: Callable[..., Any], x: Any) -> tuple[ClosedJaxpr, Any]:
    """The jaxpr of f(x) with the outputs of Linen modules named in it, and the shape of f(x)."""
    f = _unjitted(f)
    taken: set[str] = set()

    def named(call: Any, args: Any, options: Any, context: InterceptorContext) -> Any:
        y = call(*args, **options)
        path = "/".join(context.module.path)
        if context.method_name != "__call__" or not path or not isinstance(y, Array):
            return y
        name = unused_name(path, taken)
        taken.add(name)
        return checkpoint_name(y, name)

    def fresh(x: Any) -> Any:  # of f itself JAX may know an earlier trace, one without names
        return f(x)

    with nn.intercept_methods(named):
        return jax.make_jaxpr(fresh, return_shape=True)(x)


def _unjitted(f: Callable[..., Any]) -> Callable[..., Any]:
    """f without `jax.jit` around it, whose cached trace may be one without names."""
    if isinstance(f, functools.partial):  # jax.tree_util.Partial is one
        return type(f)(_unjitted(f.func), *f.args, **f.keywords)
    inside = getattr(f, "__wrapped__", None) if hasattr(f, "lower") else None
    return f if inside is None else _unjitted(inside)


def _opens(equation: JaxprEqn) -> bool:
    """Calls that hold a name are gone into; what runs many times or not at all has no one value."""
    single = equation.primitive.name not in ("scan", "while", "cond")
    return single and any(has(inner, [NAME]) for inner in inner_jaxprs(equation))


def run_with_layers(
    f: Callable[..., Any], x: Array, changes: Callable[[str, Array], Array | None]
) -> tuple[Any, dict[str, Array]]:
    """f(x), and the output of each layer; some may be changed on the way.

    Args:
        f: a function of x.
        x: its argument.
        changes: (name, output) -> what to go on with, or None to leave it.

    Returns:
        f(x); name -> the layer's output, as changed, in the order of the flow.
    """
    jaxpr, shape = trace(f, x)
    found: dict[str, Array] = {}

    def rule(equation: JaxprEqn, values: Sequence[Any]) -> Sequence[Any] | None:
        if equation.primitive.name in REMAT and _opens(equation):
            # In line: what is computed inside a remat cannot be had outside of it.
            return rewrite(inner_jaxprs(equation)[0], values, rule, _opens)
        if equation.primitive.name != NAME:
            return None
        name, (value,) = unused_name(equation.params["name"], found), values
        changed = changes(name, value)
        found[name] = value if changed is None else changed
        return [found[name]]

    outputs = rewrite(jaxpr, jax.tree.leaves(x), rule, _opens)
    return jax.tree.unflatten(jax.tree.structure(shape), outputs), found


def with_layer(
    caller: str, f: Callable[..., Any], x: Array, layer: str, delta: Array | None = None
) -> tuple[Any, Array]:
    """f(x), and a layer's output after delta is added to it: its gradient is the layer's.

    Raises:
        ValueError: no layer of that name, with the nearest one.
    """
    result, found = run_with_layers(
        f, x, lambda name, y: y + delta if name == layer and delta is not None else None
    )
    if layer not in found:
        close = difflib.get_close_matches(layer, found, n=1)
        guess = f"; did you mean {close[0]!r}?" if close else "."
        known = ", ".join(found) or (
            "none: name values with jax.ad_checkpoint.checkpoint_name, and pass functions that "
            "are not jitted inside"
        )
        raise ValueError(f"{caller}: f has no layer {layer!r}{guess} Layers: {known}.")
    return result, found[layer]


def layer_shapes(f: Callable[..., Any], x: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """The layers of f and the shapes of their outputs, in the order of the flow.

    Args:
        f: any function of x.
        x: an array or its shape.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxcnn.models import create
        >>> model, x = create("tiny"), jnp.ones((1, 3, 3, 1))
        >>> variables = model.init(jax.random.key(0), x)
        >>> list(layer_shapes(lambda x: model.apply(variables, x), x))
        ['conv', 'logits']
    """
    names: list[str] = []

    def outputs(x: Array) -> list[Array]:
        _, found = run_with_layers(f, x, lambda name, y: None)
        names[:] = found  # a dict would come back sorted
        return list(found.values())

    shapes = jax.eval_shape(outputs, x)
    return dict(zip(names, shapes, strict=True))


def last_maps(f: Callable[..., Any], x: Any) -> str:
    """The last layer whose output still has a height and a width: where Grad-CAM looks.

    Raises:
        ValueError: no layer has.
    """
    shapes = layer_shapes(f, x)
    for name, shape in reversed(shapes.items()):
        if len(shape.shape) == 4 and min(shape.shape[1:3]) > 1:
            return name
    raise ValueError(f"last_maps: f has no layer of feature maps b h w c; layers: {list(shapes)}.")
