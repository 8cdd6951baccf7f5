"""How alike two attributions order the pixels."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def rank_agreement(
    a: Float[Array, "b *image"], b: Float[Array, "b *image"], *, absolute: bool = False
) -> Float[Array, " b"]:
    r"""Spearman's rank correlation of two attributions, for each image.

    With the ranks r and s of an image's n numbers, 1 to n, tied ones at the mean of theirs, and
    m = (n + 1) / 2,

    rho = sum (r - m)(s - m) / sqrt(sum (r - m)^2 sum (s - m)^2)

    Args:
        a: attributions of any shape after the batch, such as b h w c or b h w.
        b: others, for the same images.
        absolute: rank magnitudes; a map and its negative then agree fully.

    Returns:
        -1 to 1; 1 where both order the pixels alike. 0 where either is constant in an image, for
        it orders nothing (SciPy gives NaN there). NaN where there is a NaN.

    Raises:
        ValueError: attributions that differ in shape.

    Example:
        >>> a = jnp.array([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
        >>> rank_agreement(a, jnp.array([[0.1, 0.2, 9.0], [1.0, 3.0, 2.0]]))
        Array([1. , 0.5], dtype=float32)

    Reference:
        Spearman (1904); as a measure of attributions: Adebayo et al. (2018), section 4,
        https://arxiv.org/abs/1810.03292.
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    if a.ndim < 2 or a.shape != b.shape:
        raise ValueError(
            "rank_agreement: needs two attributions of one shape, b and more axes, got "
            f"{a.shape} and {b.shape}."
        )
    return _agreement(a, b, absolute=absolute)


@partial(jax.jit, static_argnames="absolute")
def _agreement(a: Array, b: Array, *, absolute: bool) -> Array:
    dtype = jnp.promote_types(jnp.result_type(a, b), jnp.float32)
    if absolute:
        a, b = jnp.abs(a), jnp.abs(b)
    rows = jnp.concatenate([a, b]).reshape(2 * len(a), -1)
    r, s = jnp.split(jax.vmap(_centred_ranks)(rows).astype(dtype), 2)
    norms = jnp.sqrt((r * r).sum(1) * (s * s).sum(1))
    rho = (r * s).sum(1) / jnp.where(norms == 0, 1, norms)
    return jnp.clip(rho, -1, 1)  # rounding aside, and NaN stays NaN


def _centred_ranks(row: Array) -> Array:
    """r - m over a power of two, which is exact and keeps the squares' sums small."""
    n = len(row)
    ordered = jnp.sort(row)
    below, up_to = (jnp.searchsorted(ordered, row, side=side) for side in ("left", "right"))
    centred = (below + up_to - n) / 2 ** n.bit_length()
    return jnp.where(jnp.isnan(row).any(), jnp.nan, centred)
