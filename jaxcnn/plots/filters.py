"""What the kernels of a convolution look like."""

import jax
import numpy as np
from jax import Array
from jaxtyping import Float
from matplotlib.figure import Figure

from jaxcnn.interpret import filters
from jaxcnn.plots import style

GAP = 0.12  # between tiles, in tiles
DRAWN = 32  # input channels, and filters of each, where each has a tile of its own
FILTERS = DRAWN**2  # otherwise


def filter_grid(
    kernel: Float[Array | np.ndarray, "h w c_in c_out"], *, per_channel: bool = False
) -> Figure:
    """Draw a convolution's kernel, one tile per filter (output channel), from left to right.

    Three input channels are shown as red, green and blue, one as grey, any other number as the
    grey of its mean over input channels. Each tile is scaled to its own range,
    (k - min k) / (max k - min k), so that tiles compare in pattern and not in strength; a
    constant filter is mid-grey.

    Args:
        kernel: a two-dimensional convolution's, finite.
        per_channel: a grey tile for each input channel (row) of each filter (column), 32x32 of
            them at most; of whole filters 1,024 are drawn at most. The title says what is left out.

    Returns:
        a figure with one axes that holds an image for each tile.

    Raises:
        ValueError: a kernel that has not four axes, has an empty one, or is not finite.

    Example:
        >>> import numpy as np
        >>> figure = filter_grid(np.arange(54.0).reshape(3, 3, 1, 6))
        >>> figure.axes[0].get_title(loc="left")
        '6 filters of 3x3x1'
        >>> figure = filter_grid(np.ones((3, 3, 2, 512)), per_channel=True)
        >>> figure.axes[0].get_title(loc="left"), len(figure.axes[0].images)
        ('The first 32 of 512 filters of 3x3x2', 64)
    """
    kernel = np.asarray(jax.device_get(kernel))
    drawn = kernel[:, :, :DRAWN, :DRAWN] if per_channel else kernel[..., :FILTERS]
    grid = np.asarray(filters.filter_grid(drawn, per_channel=per_channel))
    if not np.isfinite(kernel).all():
        raise ValueError("filter_grid: kernel needs finite values, got NaN or infinity.")
    rows, columns, h, w = grid.shape[:4]
    wide, tall = w / max(h, w), h / max(h, w)
    unit = min(1.4, 9 / max(columns * wide, rows * tall))  # inches
    figure = style.figure(unit * (wide + GAP) * columns + 0.3, unit * (tall + GAP) * rows + 0.9)
    axes = figure.add_subplot()
    for row, column in np.ndindex(rows, columns):
        tile = grid[row, column]
        if np.isnan(tile).any():
            continue  # no more filters
        left, top = column * (wide + GAP), row * (tall + GAP)
        axes.imshow(
            tile if tile.shape[-1] == 3 else tile[..., 0],
            cmap="gray",
            vmin=0,
            vmax=1,
            interpolation="nearest",
            extent=(left, left + wide, top + tall, top),
        )
    axes.set_facecolor(style.EMPTY)
    axes.set_xlim(-GAP, columns * (wide + GAP))
    axes.set_ylim(rows * (tall + GAP), -GAP)
    axes.set_xticks([])
    axes.set_yticks([])
    style.no_frame(axes)
    style.title(axes, _title(kernel, drawn))
    axes.set_xlabel(
        f"{_shown(kernel, drawn, per_channel)}; each scaled to its own range",
        loc="left",
        color=style.INK,
        fontsize=9,
    )
    return figure


def _title(kernel: np.ndarray, drawn: np.ndarray) -> str:
    h, w, c_in, c_out = kernel.shape
    first = f"The first {drawn.shape[3]} of " if drawn.shape[3] < c_out else ""
    return f"{first}{c_out} filter{'s' * (c_out > 1)} of {h}x{w}x{c_in}"


def _shown(kernel: np.ndarray, drawn: np.ndarray, per_channel: bool) -> str:
    c_in, rows = kernel.shape[2], drawn.shape[2]
    if per_channel:
        first = f"the first {rows} of {c_in}" if rows < c_in else f"{c_in}"
        return f"rows: {first} input channel{'s' * (c_in > 1)}, columns: filters"
    return {1: "grey", 3: "red, green, blue"}.get(c_in, f"mean over {c_in} input channels")
