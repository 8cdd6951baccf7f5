"""A model's layers as a table: output shapes, parameters, multiply-adds, receptive fields."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxcnn.functional.shapes import count_parameters, multiply_adds
from jaxcnn.models.intermediates import activations, watch
from jaxcnn.models.receptive import receptive_fields


class Layer(NamedTuple):
    """One row: a module that contains no other, in the order of the flow."""

    name: str
    kind: str
    output_shape: tuple[int, ...]  # without the batch
    parameters: int
    multiply_adds: int  # for one image
    receptive_field: tuple[int, ...]  # pixels of the image along each axis


def summarize(model: nn.Module, input_shape: Sequence[int]) -> list[Layer]:
    """The layers of a model on one image, without computing anything.

    Args:
        model: a Linen module.
        input_shape: h, w, c of the image.

    Returns:
        a `Layer` for each innermost module.

    Example:
        >>> from jaxcnn.models import create
        >>> [layer.multiply_adds for layer in summarize(create("tiny"), (3, 3, 1))]
        [27, 0]
    """
    x = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    calls: list[tuple[nn.Module, Any]] = []

    def outputs(variables: Any, x: Array) -> Any:
        calls.clear()
        with nn.intercept_methods(watch(lambda module, args, y: calls.append((module, args)))):
            return activations(model, variables, x)

    shapes = jax.eval_shape(outputs, variables, x)
    fields = dict(zip(shapes, receptive_fields(outputs, variables, x), strict=True))
    layers = []
    for (name, y), (module, args) in zip(shapes.items(), calls, strict=True):
        if any(other.startswith(f"{name}/") for other in shapes):
            continue
        own = {kind: _inside(tree, module.path) for kind, tree in variables.items()}
        arrays = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in args if isinstance(a, Array)]
        layers.append(
            Layer(
                name=name,
                kind=_kind(module),
                output_shape=y.shape[1:],
                parameters=count_parameters(own.get("params", {})) if ":" not in name else 0,
                multiply_adds=multiply_adds(module.clone(parent=None).apply, own, *arrays),
                receptive_field=fields[name],
            )
        )
    return layers


def _inside(tree: Mapping[str, Any], path: Sequence[str]) -> Any:
    """The part of a variable collection that belongs to the module of that path."""
    for name in path:
        tree = tree.get(name, {})
    return tree


def _kind(module: nn.Module) -> str:
    function = getattr(module, "function", None)
    if function is None:
        return type(module).__name__
    return getattr(function, "__name__", None) or function.func.__name__
