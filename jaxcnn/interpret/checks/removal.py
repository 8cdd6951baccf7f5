"""Does the score fall when the pixels an attribution ranks first are taken away?"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Shaped

from jaxcnn.interpret.targets import Target, argument, broadcastable, images, scores

STEPS = 64  # by default, where there are so many pixels


class DeletionInsertion(NamedTuple):
    """Scores while pixels go or come, the highest-ranked first."""

    deletion: Float[Array, " b"]
    """Area under the deletion curve: the lower, the better the ranking."""
    insertion: Float[Array, " b"]
    """Area under the insertion curve: the higher, the better."""
    deletion_curve: Float[Array, "b points"]
    insertion_curve: Float[Array, "b points"]
    shares: Float[Array, " points"]
    """Of all pixels, those changed at each point, 0 to 1."""


def deletion_insertion(
    f: Target,
    x: Float[Array, "b h w c"],
    attribution: Float[Array, "b h w ..."],
    *,
    steps: int | None = None,
    baseline: float | Shaped[Array, "..."] = 0.0,
    canvas: float | Shaped[Array, "..."] | None = None,
    absolute: bool = False,
) -> DeletionInsertion:
    r"""Areas under the score's curve as pixels are deleted from an image, and inserted into none.

    A pixel's rank is by its attribution summed over the channels, the highest first, ties in
    reading order. At point t of T the first k_t = round(h w t / T) pixels are the baseline's in
    the image (deletion), or the image's on the canvas (insertion). Areas are by trapezoids over
    k_t / (h w). Low deletion and high insertion together speak for a ranking.

    Args:
        f: the probability of a class, such as `softmax(logits)[:, k]`.
        x: the images.
        attribution: of x's shape, or b h w.
        steps: T, from 1 to h w; by default 64, or h w where that is less.
        baseline: what deleted pixels become: anything that broadcasts to x's shape.
        canvas: what insertion starts from; by default the baseline. The source has a blurred
            image here, for constant colour with sharp holes looks like no photo.
        absolute: sum magnitudes, for methods whose sign is not evidence for or against.

    Returns:
        areas and curves of f's values, and the shares of pixels.

    Raises:
        ValueError: steps out of range, attribution of another shape, or a baseline or canvas that
            does not fit x.

    Example:
        >>> f = lambda x: x.sum((1, 2, 3)) / 10
        >>> x = jnp.array([4.0, 3.0, 2.0, 1.0]).reshape(1, 2, 2, 1)
        >>> found = deletion_insertion(f, x, x)
        >>> [round(v, 3) for v in found.deletion_curve[0].tolist()]  # 10, then less 4, 3, 2, 1
        [1.0, 0.6, 0.3, 0.1, 0.0]
        >>> round(float(found.deletion[0]), 3), round(float(found.insertion[0]), 3)
        (0.375, 0.625)

    Reference:
        Petsiuk, Das & Saenko (2018), RISE, section 4.2, https://arxiv.org/abs/1806.07421.
    """
    x, attribution = images("deletion_insertion", x), jnp.asarray(attribution)
    if attribution.shape not in (x.shape, x.shape[:3]):
        raise ValueError(
            f"deletion_insertion: attribution needs x's shape {x.shape} or {x.shape[:3]}, got "
            f"{attribution.shape}."
        )
    pixels = x.shape[1] * x.shape[2]
    steps = min(pixels, STEPS) if steps is None else steps
    if not 1 <= steps <= pixels:
        raise ValueError(
            f"deletion_insertion: steps must be 1 to {pixels}, the number of pixels, got {steps}."
        )
    canvas = baseline if canvas is None else canvas
    return _curves(
        argument(f),
        x,
        attribution,
        broadcastable("deletion_insertion", "baseline", baseline, x),
        broadcastable("deletion_insertion", "canvas", canvas, x),
        steps=steps,
        absolute=absolute,
    )


@partial(jax.jit, static_argnames=("steps", "absolute"))
def _curves(
    f: Target,
    x: Array,
    attribution: Array,
    baseline: Array,
    canvas: Array,
    *,
    steps: int,
    absolute: bool,
) -> DeletionInsertion:
    b, h, w, _ = x.shape
    weights = (jnp.abs(attribution) if absolute else attribution).reshape(b, h * w, -1).sum(2)
    order = jnp.argsort(weights, axis=1, descending=True, stable=True)
    place = jnp.argsort(order, axis=1).reshape(b, h, w, 1)
    # round(n t / T) in whole numbers
    changed = jnp.array([(2 * h * w * t + steps) // (2 * steps) for t in range(steps + 1)])

    def score(point: tuple[Array, Array]) -> Array:
        inserting, count = point
        early = place < count
        shown = jnp.where(
            inserting, jnp.where(early, x, canvas), jnp.where(early, baseline, x)
        )  # one call of f for both curves: it is compiled once
        return scores("deletion_insertion", f, shown)

    kinds = jnp.repeat(jnp.array([False, True]), steps + 1)
    values = lax.map(score, (kinds, jnp.tile(changed, 2)))
    curves = values.reshape(2, steps + 1, b).swapaxes(1, 2)
    shares = (changed / (h * w)).astype(values.dtype)
    areas = jnp.trapezoid(curves, shares, axis=2)
    return DeletionInsertion(areas[0], areas[1], curves[0], curves[1], shares)
