"""What a layer's unit sees of an image, and the patches of a data set that activate it most."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Float, Int

from jaxcnn.interpret.layers import with_layer
from jaxcnn.interpret.targets import argument, images
from jaxcnn.models.receptive import View, receptive_views


class Box(NamedTuple):
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int


class TopPatches(NamedTuple):
    """The patches that activate a unit most, the strongest first."""

    scores: Float[np.ndarray, " k"]
    """The channel's value."""
    images: Int[np.ndarray, " k"]
    """Which image of the data set, from 0."""
    positions: Int[np.ndarray, "k 2"]
    """Row and column on the layer's map."""
    boxes: Int[np.ndarray, "k 4"]
    """The receptive field: top, left, height and width in pixels. All have one size, padding
    counted as pixels, so that a box may hang over the edge of the image."""
    patches: Float[np.ndarray, "k height width c"]
    """The pixels in the box; NaN where the unit sees none, as outside of the image."""


class _Best(NamedTuple):
    """The k best of the images so far; image -1 where there is none yet."""

    scores: Array
    images: Array
    positions: Array
    pixels: Array


def receptive_field(
    f: Callable[..., Any],
    x: Array | np.ndarray | jax.ShapeDtypeStruct,
    layer: str,
    position: tuple[int, int] = (0, 0),
) -> Box:
    """The pixels of an image that one position on a layer's map depends on, without computing it.

    It is the smallest rectangle around all pixels by which the value can have a gradient, read
    from the shapes alone.

    Args:
        f: any function of images b h w c.
        x: images, or their shape.
        layer: its name, one of `layer_shapes(f, x)`.
        position: row and column on its map; a dense layer has only (0, 0).

    Returns:
        the rectangle, inside of the image. All of the image for dense layers, and for what comes
        through an operation that mixes pixels in a way of its own, such as a mean over the image
        or a loop; of no height and width where the value depends on no pixel.

    Raises:
        ValueError: no such layer or position.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxcnn.models import create
        >>> model, x = create("lenet"), jnp.zeros((1, 28, 28, 1))
        >>> variables = model.init(jax.random.key(0), x)
        >>> receptive_field(lambda x: model.apply(variables, x), x, "pool2", (1, 0))
        Box(top=2, left=0, height=16, width=14)

    Reference:
        Araujo, Norris & Sim (2019), Computing receptive fields of convolutional neural networks,
        https://distill.pub/2019/computing-receptive-fields.
    """
    views = _trace("receptive_field", f, jax.ShapeDtypeStruct(x.shape, x.dtype), layer)[2]
    sizes = tuple(len(view.seen) for view in views)
    if not all(0 <= place < n for place, n in zip(position, sizes, strict=True)):
        raise ValueError(
            f"receptive_field: position needs row and column on a map of {sizes[0]}x{sizes[1]}, "
            f"got {tuple(position)}."
        )
    (top, bottom), (left, right) = (
        view.seen[place].tolist() for view, place in zip(views, position, strict=True)
    )
    if top > bottom or left > right:
        return Box(0, 0, 0, 0)
    return Box(top, left, bottom - top + 1, right - left + 1)


def top_patches(
    f: Callable[..., Any],
    layer: str,
    channel: int,
    data: Array | np.ndarray | Iterable[Array | np.ndarray],
    k: int = 9,
    *,
    one_per_image: bool = True,
    batch_size: int = 64,
) -> TopPatches:
    """The k image patches that activate a channel of a layer most over a data set.

    One pass, batch by batch; of the data set only the k images and the batch at hand are kept. All
    channels of a layer share one compiled program.

    Args:
        f: any function of images b h w c.
        layer: its name, one of `layer_shapes(f, x)`, with output b h w c; or b c, whose patch is
            the whole image.
        channel: of that layer, from 0.
        data: images b h w c, or an iterable of batches of them. A batch smaller than the first one
            is filled up to its size.
        k: how many.
        one_per_image: an image's best position only; else all positions compete.
        batch_size: images at once, where data is an array.

    Returns:
        the patches and where they are, the strongest first; of equals the one of the earlier image,
        and there the one further up, then further left. NaN is never among them.

    Raises:
        ValueError: no such layer or channel, fewer than k candidates, or batches that are no
            images of one size.

    Example:
        >>> import jax.numpy as jnp
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> def f(x):  # brightness of two pixels below each other
        ...     return checkpoint_name(x[:, 1:] + x[:, :-1], "pairs")
        >>> x = jnp.array([[[1.0, 2], [3, 4], [0, 9]], [[5, 0], [6, 7], [0, 0]]])[..., None]
        >>> found = top_patches(f, "pairs", 0, x, k=2)
        >>> found.scores.tolist(), found.images.tolist(), found.positions.tolist()
        ([13.0, 11.0], [0, 1], [[1, 1], [0, 0]])
        >>> found.boxes.tolist(), found.patches[..., 0].tolist()
        ([[1, 1, 2, 1], [0, 0, 2, 1]], [[[4.0], [9.0]], [[5.0], [6.0]]])

    Reference:
        Zeiler & Fergus (2014), Visualizing and understanding convolutional networks, figure 2,
        https://arxiv.org/abs/1311.2901; Girshick et al. (2014), Rich feature hierarchies, section
        3.1, https://arxiv.org/abs/1311.2524.
    """
    if k < 1:
        raise ValueError(f"top_patches: k needs at least 1, got {k}.")
    best, views, first = None, (), 0
    for x, count in _batches(data, batch_size):
        best = jax.block_until_ready(best) or _none_yet(k, x)  # two batches alive at most
        if x.shape[1:] != best.pixels.shape[1:]:
            raise ValueError(
                f"top_patches: all batches need images of one size, got {best.pixels.shape[1:]} "
                f"and {x.shape[1:]}."
            )
        best, channels, views = _step(
            argument(f),
            best,
            (x, first, count),
            int(channel),
            layer=layer,
            one_per_image=one_per_image,
        )
        if not first and not 0 <= channel < channels:  # to look at it waits for the step
            raise ValueError(
                f"top_patches: channel needs 0 to {channels - 1} in layer {layer!r}, got {channel}."
            )
        first += count
    if best is None or best.images[-1] < 0:
        found = 0 if best is None else int((best.images >= 0).sum())
        raise ValueError(
            f"top_patches: k = {k} patches need as many finite candidates "
            f"({'one an image' if one_per_image else 'all positions'}), got {found} in {first} "
            "images."
        )
    return _cut(best, jax.tree.map(np.asarray, views))


def _batches(
    data: Array | np.ndarray | Iterable[Array | np.ndarray], batch_size: int
) -> Iterator[tuple[Array, int]]:
    """Batches of one size, and how many images of each count."""
    if isinstance(data, Array | np.ndarray):
        whole = data
        data = (whole[i : i + batch_size] for i in range(0, len(whole), batch_size))
    size = 0
    for batch in data:
        x = images("top_patches", batch)
        count = len(x)
        if not count:
            continue
        size = size or count
        if count < size:
            x = jnp.concatenate([x, jnp.repeat(x[-1:], size - count, axis=0)])
        yield x, count


def _none_yet(k: int, x: Array) -> _Best:
    return _Best(
        scores=jnp.full(k, -jnp.inf, float),  # not weakly typed: the first step is as the others
        images=jnp.full(k, -1, int),
        positions=jnp.zeros((k, 2), int),
        pixels=jnp.zeros((k, *x.shape[1:]), x.dtype),
    )


@functools.partial(jax.jit, static_argnames=("layer", "one_per_image"))
def _step(
    f: Callable[..., Any],
    best: _Best,
    batch: tuple[Array, Array, Array],
    channel: Array,
    *,
    layer: str,
    one_per_image: bool,
) -> tuple[_Best, int, tuple[View, ...]]:
    """The best with a batch looked through, the layer's channels, and what its positions see."""
    x, first, count = batch
    run, shape, views = _trace("top_patches", f, x, layer)
    (y,) = run(x)
    maps = y.reshape(shape)[..., channel]
    places = maps.shape[1] * maps.shape[2]
    values = maps.reshape(len(x), places).astype(best.scores.dtype)
    values = jnp.where(values == 0, 0, values)  # to `top_k`, -0 is less than 0
    values = jnp.where(jnp.isnan(values) | (jnp.arange(len(x)) >= count)[:, None], -jnp.inf, values)
    if one_per_image:
        place = values.argmax(axis=1)
        scores, image = lax.top_k(values.max(axis=1), min(len(best.scores), len(x)))
        place = place[image]
    else:
        scores, flat = lax.top_k(values.ravel(), min(len(best.scores), values.size))
        image, place = flat // places, flat % places
    positions = jnp.stack(jnp.divmod(place, maps.shape[2]), axis=-1)
    news = _Best(scores, first + image, positions, x[image])
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b.astype(a.dtype)]), best, news)
    # Of equal scores `top_k` takes the first: those that were there before.
    chosen = lax.top_k(both.scores, len(best.scores))[1]
    return jax.tree.map(lambda a: a[chosen], both), shape[-1], views


def _trace(
    caller: str, f: Callable[..., Any], x: Any, layer: str
) -> tuple[Callable[..., list[Array]], tuple[int, ...], tuple[View, ...]]:
    """A layer as a function of x, its shape with a map of 1x1 where it has none, and its views."""
    jaxpr = jax.make_jaxpr(lambda x: with_layer(caller, f, x, layer)[1])(x)
    (shape,) = (aval.shape for aval in jaxpr.out_avals)
    if len(shape) not in (2, 4) or shape[0] != x.shape[0]:
        raise ValueError(
            f"{caller}: layer {layer!r} needs output b h w c or b c for {x.shape[0]} images, "
            f"got {shape}."
        )
    (views,) = receptive_views(jaxpr)
    return jaxpr_as_fun(jaxpr), (shape[0], *(shape[1:-1] or (1, 1)), shape[-1]), views


def _cut(best: _Best, views: tuple[View, ...]) -> TopPatches:
    """The patches out of the images."""
    scores, numbers, positions, pixels = map(np.asarray, best)
    jump, low, high = (
        np.array([getattr(view.span, name) for view in views]) for name in ("jump", "low", "high")
    )
    corners, sizes = jump * positions + low, high - low + 1
    patches = np.full((len(scores), *sizes, pixels.shape[-1]), np.nan, pixels.dtype)
    for patch, image, corner, place in zip(patches, pixels, corners, positions, strict=True):
        seen = [view.seen[i] for view, i in zip(views, place, strict=True)]
        inside = (
            slice(a - start, b - start + 1) for (a, b), start in zip(seen, corner, strict=True)
        )
        patch[tuple(inside)] = image[tuple(slice(a, b + 1) for a, b in seen)]
    boxes = np.concatenate([corners, np.broadcast_to(sizes, corners.shape)], axis=1)
    return TopPatches(scores, numbers, positions, boxes, patches)
