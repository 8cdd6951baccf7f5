"""Occlusion: how far the score falls where a window of the image is covered."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxcnn.functional.windows import PerAxis, per_axis
from jaxcnn.interpret.targets import Target, argument, broadcastable, images, scores


def occlusion(
    f: Target,
    x: Float[Array, "b h w c"],
    *,
    window: PerAxis,
    stride: PerAxis | None = None,
    baseline: ArrayLike = 0.0,
) -> Float[Array, "b h w c"]:
    r"""How far the score falls when a window over the pixel is covered, mean over these windows.

    a[p] = mean over windows W that hold p of f(x) - f(x with W set to the baseline).

    Windows start at 0, stride, 2 stride and so on until they reach the end of the image; the last
    one may hang over it. They cover all channels, so that a is the same in all.

    Args:
        f: images -> one number for each.
        x: images, in f's units.
        window: pixels along height and width, one number for both or one for each.
        stride: pixels from one window to the next, no more than the window; 1 where not given,
            which takes about h w evaluations of f.
        baseline: what covers, a number or an array that broadcasts to x.

    Returns:
        the means, in units of the score.

    Raises:
        ValueError: a window larger than the image, a stride that leaves pixels out, a baseline
            that does not fit, or as `saliency`.

    Example:
        >>> x = jnp.array([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1)  # falls by 3 and 6
        >>> occlusion(lambda x: x.sum((1, 2, 3)), x, window=(1, 2)).ravel()
        Array([3. , 4.5, 6. ], dtype=float32)

    Reference:
        Zeiler & Fergus (2014), Visualizing and understanding convolutional networks, section 4.2,
        https://arxiv.org/abs/1311.2901. The mean over windows: Captum's `Occlusion`,
        https://captum.ai/api/occlusion.html.
    """
    x = images("occlusion", x)
    windows = per_axis("occlusion", "window", window, 2)
    strides = (1, 1) if stride is None else per_axis("occlusion", "stride", stride, 2)
    size = x.shape[1:3]
    if any(k > n for k, n in zip(windows, size, strict=True)):
        raise ValueError(f"occlusion: window must fit into the image {size}, got {windows}.")
    if any(s > k for s, k in zip(strides, windows, strict=True)):
        raise ValueError(
            f"occlusion: stride must be no more than the window {windows}, got {strides}."
        )
    cover = broadcastable("occlusion", "baseline", baseline, x)
    return _occlusion(argument(f), x, cover, windows=tuple(windows), strides=tuple(strides))


@partial(jax.jit, static_argnames=("windows", "strides"))
def _occlusion(
    f: Target, x: Array, baseline: Array, *, windows: tuple[int, int], strides: tuple[int, int]
) -> Array:
    rows, columns = map(_covered, x.shape[1:3], windows, strides)

    def covered_score(row: Array, column: Array) -> Array:
        inside = (row[:, None] & column)[..., None]
        return scores("occlusion", f, jnp.where(inside, baseline, x))

    def along(row: Array) -> Array:
        return lax.map(lambda column: covered_score(row, column), jnp.asarray(columns))

    fall = scores("occlusion", f, x) - lax.map(along, jnp.asarray(rows))  # rows columns b
    down, across = (jnp.asarray(a / a.sum(0), fall.dtype) for a in (rows, columns))
    means = jnp.einsum("rcb,rh,cw->bhw", fall, down, across, precision=lax.Precision.HIGHEST)
    return jnp.broadcast_to(means[..., None], x.shape).astype(x.dtype)


def _covered(size: int, window: int, stride: int) -> np.ndarray:
    """Which pixels of an axis each window covers, windows by pixels."""
    starts = np.arange(-(-(size - window) // stride) + 1)[:, None] * stride
    pixels = np.arange(size)
    return (starts <= pixels) & (pixels < starts + window)
