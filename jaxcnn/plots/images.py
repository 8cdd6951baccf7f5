"""Images in rows and columns, each with its title."""

from collections.abc import Sequence

import numpy as np
from jax import Array
from jaxtyping import Float
from matplotlib.figure import Figure

from jaxcnn.plots import style, tiles

COLUMNS = 8


def image_sheet(
    images: Float[Array | np.ndarray, "b h w c"],
    titles: Sequence[str] = (),
    *,
    columns: int | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    title: str | None = None,
) -> Figure:
    """Draw images as tiles, from left to right, with a bar that says how large a pixel is.

    Args:
        images: grey or RGB; pixels that are NaN, as outside of a photo, are left empty.
        titles: what stands over each image, one each, or none.
        columns: images in a row; up to 8 where not given.
        limits: the values that are black and white; what lies beyond is cut.
        title: over all; else how many images of which size.

    Returns:
        a figure with one axes for each image.

    Raises:
        ValueError: images that are not b h w 1 or b h w 3, titles of another number, no column, or
            limits that do not rise.

    Example:
        >>> import numpy as np
        >>> figure = image_sheet(np.zeros((2, 8, 8, 1)), ["a 4", "a 9"])
        >>> [axes.get_title() for axes in figure.axes]
        ['a 4', 'a 9']
    """
    drawn = tiles.pictures("image_sheet", images)
    n, h, w = drawn.shape[:3]
    if len(titles) not in (0, n):
        raise ValueError(f"image_sheet: {n} images need as many titles or none, got {len(titles)}.")
    if columns is not None and columns < 1:
        raise ValueError(f"image_sheet: columns needs at least 1, got {columns}.")
    if not limits[0] < limits[1]:
        raise ValueError(f"image_sheet: limits need to rise, got {limits}.")
    wide = min(columns or COLUMNS, n)
    if columns is None and n > COLUMNS:
        wide = -(-n // -(-n // COLUMNS))  # rows of equal length
    tall = -(-n // wide)
    side = min(tiles.SIDE, 14 / wide)  # inches
    lines = max((text.count("\n") + 1 for text in titles), default=0)
    width, height = side * w / max(h, w), side * h / max(h, w) + 0.17 * lines
    figure = style.figure(max(wide * (width + 0.08), 4.2), tall * (height + 0.1) + 0.75)
    grid = figure.subplots(tall, wide, squeeze=False).ravel().tolist()
    for i, axes in enumerate(grid):
        if i >= n:
            axes.remove()
            continue
        tiles.draw(axes, tiles.colours(drawn[i], limits))
        if titles:
            tiles.caption(axes, titles[i])
    tiles.pixel_bar(grid[(tall - 1) * wide], w)
    default = f"{n} image{'s' * (n > 1)} of {h}x{w} pixels"
    tiles.heading(figure, default if title is None else title)
    return figure
