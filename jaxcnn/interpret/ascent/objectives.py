"""Targets inside a function: a channel, a neuron or a whole layer."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Int

from jaxcnn.interpret.layers import with_layer
from jaxcnn.interpret.targets import Target, argument


def channel_score(
    f: Callable[[Array], Any],
    layer: str,
    channel: int | Int[Array, " b"],
    *,
    place: tuple[int, int] | None = None,
) -> Target:
    """The target "one channel of a layer", averaged over the map, or one neuron of it.

    Targets of the same f and layer share their compiled programs, whatever the channel and place.

    Args:
        f: any function of images that has the layer; what it returns does not matter.
        layer: a name in `layer_shapes(f, x)`, of an output b h w c or b c.
        channel: its index, or one for each image; one that the layer lacks gives NaN.
        place: row and column of one neuron on the map; outside of it the score is NaN.

    Returns:
        a target. Calling it raises ValueError where f has no such layer.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> f = lambda x: checkpoint_name(x * jnp.array([1.0, 10.0]), "scaled")
        >>> x = jnp.arange(4.0).reshape(1, 1, 2, 2)  # pixels (0, 1) and (2, 3)
        >>> channel_score(f, "scaled", 1)(x), channel_score(f, "scaled", 1, place=(0, 1))(x)
        (Array([20.], dtype=float32), Array([30.], dtype=float32))
    """
    # As arrays they are arguments of the compiled program, not parts of it.
    where = None if place is None else tuple(jnp.asarray(i) for i in place)
    return Partial(_channel(layer), argument(f), jnp.asarray(channel), where)


def layer_score(f: Callable[[Array], Any], layer: str) -> Target:
    """The target "a whole layer": the mean of its squares, what a dream makes larger.

    Args:
        f: any function of images that has the layer.
        layer: a name in `layer_shapes(f, x)`.

    Returns:
        a target. Calling it raises ValueError where f has no such layer.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> f = lambda x: checkpoint_name(2 * x, "twice")
        >>> layer_score(f, "twice")(jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1))  # (4 + 36) / 2
        Array([20.], dtype=float32)

    Reference:
        Mordvintsev, Olah & Tyka (2015), Inceptionism,
        https://research.google/blog/inceptionism-going-deeper-into-neural-networks/.
    """
    return Partial(_layer(layer), argument(f))


@cache
def _channel(layer: str) -> Callable[..., Array]:
    """One function for each name: it is by the function that jit finds its program again."""

    def score(f: Partial, channel: Array, place: tuple[Array, Array] | None, x: Array) -> Array:
        _, y = with_layer("channel_score", f, x, layer)
        if place is not None and y.ndim != 4:
            raise ValueError(
                f"channel_score: place needs a layer b h w c, {layer!r} has {y.shape}."
            )
        units = y if place is None else y.at[:, place[0], place[1]].get(mode="fill")
        chosen = units.at[jnp.arange(len(x)), ..., channel].get(mode="fill")
        return chosen.reshape(len(x), -1).mean(1)

    return score


@cache
def _layer(layer: str) -> Callable[..., Array]:
    def score(f: Partial, x: Array) -> Array:
        _, y = with_layer("layer_score", f, x, layer)
        return (y**2).reshape(len(x), -1).mean(1)

    return score
