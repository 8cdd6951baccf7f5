"""Deep dream: what a layer sees in a photo, made stronger at one size after another."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, PRNGKeyArray

from jaxcnn.interpret.ascent.maximization import Limits, kept, within
from jaxcnn.interpret.ascent.regularizers import Number
from jaxcnn.interpret.targets import Target, argument, images, scores


class Dream(NamedTuple):
    """Dreamt images, and how each octave went."""

    images: Float[Array, "b h w c"]
    scores: Float[Array, "octaves steps b"]
    """f of the images that each step starts from, shifted; of tiles their mean."""


def deep_dream(
    f: Target,
    image: Float[Array, "b h w c"],
    *,
    octaves: int = 4,
    octave_scale: float = 1.4,
    steps: int = 10,
    step_size: Number = 0.03,
    jitter: int = 32,
    tile: int | None = None,
    limits: Limits | None = None,
    key: PRNGKeyArray | None = None,
) -> Dream:
    r"""Climb a score from an image, first on a small copy, then on ever larger ones.

    At each size (octave) the image is the photo at that size plus what was dreamt into the smaller
    one, enlarged, so that the photo's own detail is put in again; then `steps` times

    x <- x + step_size g / mean |g|,  g = grad_x f(x).

    Args:
        f: one number for each image of any size, such as `layer_score(g, "features/13")`. The
            images of a batch dream each for itself.
        image: images as f takes them.
        octaves: how many sizes, 1 or more.
        octave_scale: how many times as large each is as the one before, above 1.
        steps: at each size; 0 gives the image back, bit for bit.
        step_size: mean change of a number of the image in a step, in the image's own unit.
        jitter: each step sees the image shifted around its borders, up to so many pixels each way.
        tile: compute gradients on squares of so many pixels, one after the other, which bounds
            the memory by theirs; the random shift is then up to a tile's length at least, so that
            tiles meet at other places each time. A score that averages over places fits.
        limits: as for `maximize`.
        key: for the shifts; `jax.random.key(0)` by default. The same key gives the same bits.

    Returns:
        images of the same size, and the scores.

    Raises:
        ValueError: options out of their range, octaves below one pixel, or f that does not give
            one number for each image.

    Example:
        >>> f = lambda x: (x**2).mean((1, 2, 3))
        >>> x = jnp.array([0.5, -0.5]).reshape(1, 1, 2, 1)
        >>> found = deep_dream(f, x, octaves=1, steps=2, step_size=0.25)
        >>> found.images.ravel(), found.scores.ravel()
        (Array([ 1., -1.], dtype=float32), Array([0.25  , 0.5625], dtype=float32))

    Reference:
        Mordvintsev, Olah & Tyka (2015), Inceptionism, and the notebook beside it,
        https://github.com/google/deepdream/blob/master/dream.ipynb (octaves, jitter); its sequel in
        TensorFlow's tutorials (tiles).
    """
    x = images("deep_dream", image)
    _check(octaves, octave_scale, steps, jitter, tile)
    sizes = octave_sizes(x.shape[1], x.shape[2], octaves, octave_scale)
    if steps == 0:
        return Dream(x, jnp.zeros((octaves, 0, x.shape[0]), x.dtype))
    key = jax.random.key(0) if key is None else key
    detail, ys = jnp.zeros((x.shape[0], *sizes[0], x.shape[3]), x.dtype), []
    found, bounds = x, within(limits)
    for i, size in enumerate(sizes):
        own = jax.random.fold_in(key, i)
        found, detail, y = _octave(
            argument(f),
            own,
            x,
            detail,
            step_size,
            jitter,
            bounds,
            size=size,
            steps=steps,
            tile=tile,
        )
        ys.append(y)
    return Dream(found, jnp.stack(ys))


def octave_sizes(h: int, w: int, octaves: int, octave_scale: float) -> list[tuple[int, int]]:
    """Height and width of each octave, in pixels, the smallest first.

    Example:
        >>> octave_sizes(100, 200, 3, 2.0)
        [(25, 50), (50, 100), (100, 200)]
    """
    scales = [octave_scale**i for i in reversed(range(octaves))]
    sizes = [(round(h / scale), round(w / scale)) for scale in scales]
    if min(sizes[0]) < 1:
        raise ValueError(
            f"deep_dream: the smallest octave needs a pixel each way, got {sizes[0]} for "
            f"{octaves} octaves of {octave_scale} on {(h, w)}."
        )
    return sizes


def _check(octaves: int, octave_scale: float, steps: int, jitter: int, tile: int | None) -> None:
    if octaves < 1 or steps < 0 or jitter < 0:
        raise ValueError(
            "deep_dream: octaves must be at least 1, steps and jitter 0 or more, got "
            f"{octaves}, {steps} and {jitter}."
        )
    if octave_scale <= 1:
        raise ValueError(f"deep_dream: octave_scale must be above 1, got {octave_scale}.")
    if tile is not None and tile < 1:
        raise ValueError(f"deep_dream: tile must be at least 1 pixel, got {tile}.")


@partial(jax.jit, static_argnames=("size", "steps", "tile"))
def _octave(
    f: Target,
    key: Array,
    image: Array,
    detail: Array,
    step_size: Number,
    jitter: int | Array,
    limits: tuple[Array, Array] | None,
    *,
    size: tuple[int, int],
    steps: int,
    tile: int | None,
) -> tuple[Array, Array, Array]:
    """The image dreamt at one size, what it has more than the photo, and the scores."""
    shape = (image.shape[0], *size, image.shape[3])
    photo = jax.image.resize(image, shape, "linear")
    x = photo + jax.image.resize(detail, shape, "linear")
    low, high = -jitter, jitter + 1
    if tile is not None and tile < max(size):  # whole tiles: cuts fall on all places alike
        high = tile * jnp.maximum(-(-jitter // tile), 1)
        low = -high

    def step(x: Array, shift: Array) -> tuple[Array, Array]:
        y, gradient = _tiled_gradient(f, jnp.roll(x, shift, (1, 2)), tile or max(size))
        gradient = jnp.roll(gradient, -shift, (1, 2))
        mean = jnp.abs(gradient).mean((1, 2, 3), keepdims=True)
        move = gradient / jnp.where(mean == 0, 1, mean)
        return kept(x + jnp.asarray(step_size, x.dtype) * move, limits), y

    x, ys = lax.scan(step, x, jax.random.randint(key, (steps, 2), low, high))
    return x, x - photo, ys


def _tiled_gradient(f: Target, x: Array, tile: int) -> tuple[Array, Array]:
    """The mean score of tiles and the gradient of each by its own pixels.

    The last tile of a row or column is moved inwards, where it overwrites the one before.
    """
    b, h, w, c = x.shape
    height, width = min(tile, h), min(tile, w)
    tops = [min(i, h - height) for i in range(0, h, height)]
    lefts = [min(j, w - width) for j in range(0, w, width)]
    corners = jnp.array([(i, j) for i in tops for j in lefts])

    def turn(gradient: Array, corner: Array) -> tuple[Array, Array]:
        at = (0, corner[0], corner[1], 0)

        def total(part: Array) -> tuple[Array, Array]:
            y = scores("deep_dream", f, part)
            return y.sum(), y

        part = lax.dynamic_slice(x, at, (b, height, width, c))
        (_, y), slope = jax.value_and_grad(total, has_aux=True)(part)
        return lax.dynamic_update_slice(gradient, slope, at), y

    gradient, ys = lax.scan(turn, jnp.zeros_like(x), corners)
    return ys.mean(0), gradient
