"""The kernels of a convolution as tiles in a grid."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


def filter_grid(
    kernel: Float[Array | np.ndarray, "h w c_in c_out"], *, per_channel: bool = False
) -> Float[Array, "rows columns h w c"]:
    r"""A convolution's kernel as a grid of tiles, one for each filter, row by row.

    A filter of three input channels is its own red, green and blue, one of a single channel its
    own grey, any other the grey of its mean over input channels. Each tile is scaled to its own
    range,

        tile = (k - min k) / (max k - min k),

    so that tiles compare in pattern and not in strength; a constant one is mid-grey, 0.5.

    Args:
        kernel: a two-dimensional convolution's.
        per_channel: one grey tile for each slice kernel[:, :, i, o], in row i and column o, as
            kernels of deeper layers need it.

    Returns:
        tiles from 0 to 1, c = 3 for colours, else 1, float32 or float64. Without `per_channel` the
        grid is about 1.6 times as wide as high; NaN where the last row has no more filters.

    Raises:
        ValueError: a kernel that has not four axes, or has an empty one.

    Example:
        >>> import jax.numpy as jnp
        >>> tiles = filter_grid(jnp.arange(4.0).reshape(2, 2, 1, 1))
        >>> tiles.shape, (3 * tiles[0, 0, :, :, 0]).tolist()
        ((1, 1, 2, 2, 1), [[0.0, 1.0], [2.0, 3.0]])
        >>> filter_grid(jnp.ones((3, 3, 16, 8)), per_channel=True).shape
        (16, 8, 3, 3, 1)
    """
    if kernel.ndim != 4 or not kernel.size:
        raise ValueError(
            f"filter_grid: kernel needs axes (h, w, c_in, c_out), none empty, got {kernel.shape}."
        )
    return _filter_grid(kernel, per_channel)


@functools.partial(jax.jit, static_argnames="per_channel")
def _filter_grid(kernel: Array, per_channel: bool) -> Array:
    h, w, c_in, c_out = kernel.shape
    kernel = kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))
    if per_channel:
        return _scaled(jnp.moveaxis(kernel, (0, 1), (2, 3))[..., None])
    tiles = jnp.moveaxis(kernel, -1, 0)
    if c_in != 3:
        tiles = tiles.mean(axis=-1, keepdims=True)
    columns = _columns(c_out, h / w)
    missing = -c_out % columns
    tiles = jnp.pad(_scaled(tiles), [(0, missing)] + 3 * [(0, 0)], constant_values=jnp.nan)
    return tiles.reshape(-1, columns, *tiles.shape[1:])


def _scaled(tiles: Array) -> Array:
    """Each tile's values from 0 to 1."""
    axes = (-3, -2, -1)
    low, high = tiles.min(axis=axes, keepdims=True), tiles.max(axis=axes, keepdims=True)
    constant = low == high
    scaled = (tiles - low) / jnp.where(constant, 1, high - low)
    # XLA may multiply by the reciprocal, which leaves the largest value short of 1.
    return jnp.where(constant, 0.5, jnp.where(tiles == high, 1, scaled))


def _columns(tiles: int, tall: float) -> int:
    """A grid about 1.6 times as wide as high, and without a ragged last row where it can be."""
    ideal = math.ceil(math.sqrt(1.6 * tiles * tall))
    near = range(max(ideal * 2 // 3, 1), min(ideal * 3 // 2, tiles) + 1)
    return min(near, key=lambda n: (-tiles % n > 0, abs(n - ideal)), default=tiles)
