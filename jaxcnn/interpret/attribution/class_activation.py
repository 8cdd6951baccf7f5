"""What a layer tells of a score: its activations, the gradient by them, and Grad-CAM."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxcnn.interpret.layers import run_with_layers, with_layer
from jaxcnn.interpret.targets import Target, argument, images, scores

ROUNDING = 16  # steps of the dtype: what resizing does to a map of one value


class GradCam(NamedTuple):
    """What `grad_cam` gives."""

    raw: Float[Array, "b h w"]
    """The coarse map at the images' size, by bilinear interpolation, in its units."""
    scaled: Float[Array, "b h w"]
    """The raw map from 0 to 1 in each image; zeros where it has one value everywhere."""
    coarse: Float[Array, "b rows columns"]
    """At the layer's size, 0 or more, in units of the score per pixel of the layer."""


def grad_cam(f: Target, x: Float[Array, "b h w c"], layer: str) -> GradCam:
    r"""Where the feature maps are that raise the score: class activation maps by gradients.

    relu(sum_k alpha_k A_k), with the layer's maps A_k and alpha_k the spatial mean of dy / dA_k.

    Args:
        f: images -> one number for each: a class score before softmax.
        x: images, in f's units.
        layer: name of a layer whose output is maps b h w c, often the last of them;
            `layer_shapes(f, x)` tells all names.

    Returns:
        the map at the images' size, the same from 0 to 1, and at the layer's own size.

    Raises:
        ValueError: no layer of that name, one whose output is no maps, or as `saliency`.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> x = jnp.array([1.0, 3.0, 2.0, 2.0]).reshape(1, 1, 2, 2)
        >>> def f(x):  # of two pixels: alpha is half of the weights
        ...     return checkpoint_name(x, "maps").mean((1, 2)) @ jnp.array([-1.0, 2.0])
        >>> grad_cam(f, x, "maps").coarse  # [-1/2 1 + 1 3, -1/2 2 + 1 2]
        Array([[[2.5, 1. ]]], dtype=float32)

    Reference:
        Selvaraju, Cogswell, Das, Vedantam, Parikh & Batra (2017), Grad-CAM, section 3,
        https://arxiv.org/abs/1610.02391.
    """
    return _grad_cam(argument(f), images("grad_cam", x), layer=layer)


@partial(jax.jit, static_argnames="layer")
def _grad_cam(f: Target, x: Array, *, layer: str) -> GradCam:
    gradient, maps = _by_layer("grad_cam", f, x, layer)
    if maps.ndim != 4:
        raise ValueError(
            f"grad_cam: layer must give maps b h w c, got {layer!r} of shape {maps.shape}."
        )
    coarse = jnp.maximum((gradient.mean((1, 2), keepdims=True) * maps).sum(-1), 0)
    raw = jax.image.resize(coarse, (len(coarse), *x.shape[1:3]), "bilinear")
    low, high = (end(raw, (1, 2), keepdims=True) for end in (jnp.min, jnp.max))
    flat = high - low <= ROUNDING * jnp.finfo(raw.dtype).eps * high
    scaled = jnp.where(flat, 0, (raw - low) / jnp.where(flat, 1, high - low))
    return GradCam(raw, scaled, coarse)


def layer_gradient(f: Target, x: Float[Array, "b h w c"], layer: str) -> Float[Array, "b *layer"]:
    r"""The gradient of the score by a layer's output.

    Args:
        f: images -> one number for each.
        x: images, in f's units.
        layer: its name; `layer_shapes(f, x)` tells all.

    Returns:
        the gradient, of the layer's shape.

    Raises:
        ValueError: no layer of that name, or as `saliency`.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> x = jnp.array([1.0, 2.0, -3.0]).reshape(1, 1, 1, 3)
        >>> def f(x):
        ...     return (checkpoint_name(2 * x, "doubled") ** 2).sum((1, 2, 3))
        >>> layer_gradient(f, x, "doubled").ravel()
        Array([  4.,   8., -12.], dtype=float32)
    """
    return _layer_gradient(argument(f), images("layer_gradient", x), layer=layer)


@partial(jax.jit, static_argnames="layer")
def _layer_gradient(f: Target, x: Array, *, layer: str) -> Array:
    return _by_layer("layer_gradient", f, x, layer)[0]


def _by_layer(caller: str, f: Target, x: Array, layer: str) -> tuple[Array, Array]:
    """The gradient of the scores by a layer's output, and that output."""

    def total(delta: Array) -> tuple[Array, Array]:
        score, output = with_layer(caller, f, x, layer, delta)
        return scores(caller, lambda x: score, x).sum(), output

    shape = jax.eval_shape(lambda x: with_layer(caller, f, x, layer)[1], x)
    return jax.grad(total, has_aux=True)(jnp.zeros(shape.shape, shape.dtype))


def activation_maps(
    f: Callable[[Array], Any], x: Float[Array, "b h w c"], layers: Sequence[str] | None = None
) -> dict[str, Array]:
    r"""The outputs of the layers of f.

    Args:
        f: a function of images, whatever it returns; what the layers do not need is not computed.
        x: images, in f's units.
        layers: names of those to return, all where not given; `layer_shapes(f, x)` tells all.

    Returns:
        name -> output, in the order of the flow.

    Raises:
        ValueError: no layer of a name.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> x = jnp.array([1.0, 2.0, -3.0]).reshape(1, 1, 1, 3)
        >>> maps = activation_maps(lambda x: checkpoint_name(2 * x, "doubled").sum(), x)
        >>> {name: y.ravel() for name, y in maps.items()}
        {'doubled': Array([ 2.,  4., -6.], dtype=float32)}
    """
    wanted = None if layers is None else tuple(layers)
    return dict(_activation_maps(argument(f), images("activation_maps", x), layers=wanted))


@partial(jax.jit, static_argnames="layers")
def _activation_maps(
    f: Callable[[Array], Any], x: Array, *, layers: tuple[str, ...] | None
) -> OrderedDict[str, Array]:
    _, found = run_with_layers(f, x, lambda name, y: None)
    for name in layers or ():
        if name not in found:
            with_layer("activation_maps", f, x, name)  # raises
    # jit would sort a dict.
    return OrderedDict((name, y) for name, y in found.items() if layers is None or name in layers)
