"""Matching a template: normalized cross-correlation."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from jaxcnn.functional.windows import check_axes, check_dtypes, pad_pairs, taps, wide


def normalized_cross_correlation(
    x: Float[Array, "b *space c"], template: Float[Array, "*window c"]
) -> Float[Array, "b *out"]:
    r"""How well each window of an image matches a template, up to brightness and contrast.

    r = <p - mean(p), t - mean(t)> / (||p - mean(p)|| ||t - mean(t)||) for every window p of
    x, taken over its pixels and channels: 1 is a perfect match, -1 the negative.

    Args:
        x: images, channels last.
        template: the pattern sought, no larger than the images.

    Returns:
        correlations in [-1, 1], one per place where the template lies inside the image, in x's
        dtype, computed in float32 at least; 0 where the window (or the template) is flat: where
        its standard deviation is at most 1.2e-7 times its mean (2.2e-16 times in float64), which
        is rounding.

    Raises:
        ValueError: ranks, channels or dtypes that do not match, or a template that does not fit.

    Gradient:
        0 at flat windows, where the formula has none.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([0.0, 1.0, 5.0, 7.0, 5.0, 5.0, 5.0]).reshape(1, 7, 1)
        >>> r = normalized_cross_correlation(x, jnp.array([1.0, 2.0]).reshape(2, 1))
        >>> [round(float(v), 3) for v in r[0]]
        [1.0, 1.0, 1.0, -1.0, 0.0, 0.0]

    Reference:
        Lewis (1995), Fast normalized cross-correlation, equation 2.
    """
    function = "normalized_cross_correlation"
    check_axes(function, x, template[..., None])
    check_dtypes(function, x, template)
    if template.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"{function}: template has {template.shape[-1]} channels, x has {x.shape[-1]}."
        )
    *window, _ = template.shape
    ones = (1,) * len(window)
    pad_pairs(function, "VALID", lengths=x.shape[1:-1], window=window, stride=ones, dilation=ones)
    pixels, pattern = wide(x), wide(template)
    level = _window_means(pattern[None], window)
    pattern = pattern - level
    pattern = pattern - pattern.mean()  # what rounding left: a large level in x multiplies it
    mean = _window_means(pixels, window)
    score, energy = _score_and_energy(pixels, pattern, mean)
    contrast = jnp.sum(pattern**2)
    # Pixels this near to their mean differ from it by its own rounding.
    step = jnp.finfo(pixels.dtype).eps
    flat = (energy <= template.size * (step * mean) ** 2) | (
        contrast <= template.size * (step * level) ** 2
    )
    r = score * lax.rsqrt(jnp.where(flat, 1, energy)) * lax.rsqrt(jnp.where(flat, 1, contrast))
    return jnp.where(flat, 0, jnp.clip(r, -1, 1)).astype(x.dtype)


def _window_means(x: Array, window: Sequence[int]) -> Array:
    """The mean of every window over its pixels and channels, one axis at a time.

    Each mean is taken of differences from its first term, so that it is rounded only once and
    that of equal numbers is exact.
    """
    first = x[..., 0]
    mean = first + jnp.mean(x - first[..., None], axis=-1)
    for axis, k in enumerate(window, start=1):
        first, *rest = taps(mean, axis, window=k, stride=1)
        mean = first + sum(tap - first for tap in rest) / k
    return mean


def _score_and_energy(x: Array, pattern: Array, mean: Array) -> tuple[Array, Array]:
    """sum (p - mean) pattern and sum (p - mean)^2 over every window p.

    Each window's own mean comes off first: in sum p^2 - n mean^2 a level far above the contrast
    would cancel, and convolutions may round to fewer digits. Tap by tap in a loop, so that memory
    and program do not grow with the window, in the backward pass either.
    """
    # One channel at a time: with a sum over 3 of them the loop took 40 times as long on a CPU.
    planes = jnp.moveaxis(x, -1, 0)
    offsets = jnp.asarray([(c, 0, *u) for *u, c in np.ndindex(*pattern.shape)], jnp.int32)

    @jax.checkpoint
    def add_tap(sums: tuple[Array, ...], tap: tuple[Array, Array]) -> tuple[Any, None]:
        offset, weight = tap
        deviation = lax.dynamic_slice(planes, offset, (1, *mean.shape))[0] - mean
        score, energy, rest = sums
        return (score + weight * deviation, energy + deviation**2, rest + deviation), None

    zeros = (jnp.zeros_like(mean),) * 3
    (score, energy, rest), _ = lax.scan(add_tap, zeros, (offsets, pattern.ravel()))
    # The mean's own rounding shifted every deviation by rest / n (Chan, Golub & LeVeque, 1983).
    return score, energy - rest**2 / pattern.size
