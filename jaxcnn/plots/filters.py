"""What the kernels of a convolution look like."""

import math

import numpy as np
from jax import Array
from jaxtyping import Float
from matplotlib.figure import Figure

from jaxcnn.plots import style

GAP = 0.12  # between tiles, in tiles


def filter_grid(kernel: Float[Array | np.ndarray, "h w c_in c_out"]) -> Figure:
    """Draw a convolution's kernel, one tile per filter (output channel), from left to right.

    Three input channels are shown as red, green and blue, one as grey, any other number as the
    grey of its mean over input channels. Each tile is scaled to its own range,
    (k - min k) / (max k - min k), so that tiles compare in pattern and not in strength; a
    constant filter is mid-grey.

    Args:
        kernel: a two-dimensional convolution's, finite.

    Returns:
        a figure with one axes that holds c_out images.

    Raises:
        ValueError: a kernel that has not four axes, has an empty one, or is not finite.

    Example:
        >>> import numpy as np
        >>> figure = filter_grid(np.arange(54.0).reshape(3, 3, 1, 6))
        >>> figure.axes[0].get_title(loc="left")
        '6 filters of 3x3x1'
    """
    kernel = np.asarray(kernel).astype(np.float64)
    if kernel.ndim != 4 or not kernel.size:
        raise ValueError(
            f"filter_grid: kernel needs axes (h, w, c_in, c_out), none empty, got {kernel.shape}."
        )
    if not np.isfinite(kernel).all():
        raise ValueError("filter_grid: kernel needs finite values, got NaN or infinity.")
    h, w, c_in, c_out = kernel.shape
    tiles = np.moveaxis(kernel, -1, 0)
    if c_in != 3:
        tiles = tiles.mean(axis=-1)
    wide, tall = w / max(h, w), h / max(h, w)
    columns = _columns(c_out, tall / wide)
    rows = -(-c_out // columns)
    unit = min(1.4, 9 / max(columns * wide, rows * tall))  # inches
    figure = style.figure(unit * (wide + GAP) * columns + 0.3, unit * (tall + GAP) * rows + 0.9)
    axes = figure.add_subplot()
    for i, tile in enumerate(tiles):
        left, top = i % columns * (wide + GAP), i // columns * (tall + GAP)
        axes.imshow(
            _scaled(tile),
            cmap="gray",
            vmin=0,
            vmax=1,
            interpolation="nearest",
            extent=(left, left + wide, top + tall, top),
        )
    axes.set_facecolor("#d8dce2")  # neither black nor white: every tile's edge shows
    axes.set_xlim(-GAP, columns * (wide + GAP))
    axes.set_ylim(rows * (tall + GAP), -GAP)
    axes.set_xticks([])
    axes.set_yticks([])
    style.no_frame(axes)
    style.title(axes, f"{c_out} filter{'s' * (c_out > 1)} of {h}x{w}x{c_in}")
    shown = {1: "grey", 3: "red, green, blue"}.get(c_in, f"mean over {c_in} input channels")
    axes.set_xlabel(
        f"{shown}; each scaled to its own range", loc="left", color=style.INK, fontsize=9
    )
    return figure


def _columns(tiles: int, tall: float) -> int:
    """A grid about 1.6 times as wide as high, and without a ragged last row where it can be."""
    ideal = math.ceil(math.sqrt(1.6 * tiles * tall))
    near = range(max(ideal * 2 // 3, 1), min(ideal * 3 // 2, tiles) + 1)
    return min(near, key=lambda n: (-tiles % n > 0, abs(n - ideal)), default=tiles)


def _scaled(tile: np.ndarray) -> np.ndarray:
    """A filter's values from 0 to 1."""
    low, high = tile.min(), tile.max()
    return (tile - low) / (high - low) if high > low else np.full_like(tile, 0.5)
