"""What methods say of which pixels matter, side by side."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from jax import Array
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxcnn.plots import style, tiles

PERCENTILE = 99  # of all magnitudes: a few extreme pixels would leave the others white
OPACITY = 0.65  # of a map that lies over the image
BAR = 20  # points below a map that its scale bar takes
LETTERS = 26  # of a tile's text in a line
ENDS = (
    f"Summed over channels; colours end at the {PERCENTILE}th percentile of each map's magnitudes."
)
SIGNED = "Red: for, blue: against, white: zero."
OVER = "Over the image in grey: maps without negative values."


def attribution_panels(
    images: Float[Array | np.ndarray, "b h w c"],
    attributions: Mapping[str, Float[Array | np.ndarray, "b h w *c"]],
    *,
    numbers: Mapping[str, str] | None = None,
    captions: Sequence[str] = (),
    columns: int = 5,
    title: str | None = None,
) -> Figure:
    """Draw each image and beside it what every method gives for it.

    Maps are summed over channels. Signed ones are drawn from blue over white, which is zero, to
    red, with limits of equal magnitude, its 99th percentile; those without a negative value, as
    Grad-CAM's, over the image in grey, from zero to their 99th percentile. Each map has its own
    scale bar, in the target's units (per unit of a pixel for gradients).

    Args:
        images: grey or RGB, values from 0 to 1.
        attributions: maps by the method's name; one map for all images or one each channel.
        numbers: what stands below a method's first map, by its name; a comma begins a new line.
        captions: what stands over each image, one each, or none.
        columns: tiles in a row, the image among them; more go on in further rows.
        title: over all; else how many methods and images.

    Returns:
        a figure with, for each image, one axes for it and two for each map: it and its scale bar.

    Raises:
        ValueError: images that are not b h w 1 or b h w 3, maps of another shape or not finite,
            none at all, numbers of unknown methods, captions of another number, or fewer than two
            columns.

    Example:
        >>> import numpy as np
        >>> maps = {"saliency": np.linspace(-1, 1, 64).reshape(1, 8, 8)}
        >>> figure = attribution_panels(np.zeros((1, 8, 8, 1)), maps, numbers={"saliency": "0.37"})
        >>> [axes.get_title() for axes in figure.axes][:2], figure.axes[1].get_xlabel()
        (['image', 'saliency'], '0.37')
    """
    drawn = tiles.pictures("attribution_panels", images)
    maps = {name: _summed(name, a, drawn.shape) for name, a in attributions.items()}
    numbers = numbers or {}
    _check(len(drawn), maps, numbers, captions, columns)
    n, h, w = drawn.shape[:3]
    tall = -(-(len(maps) + 1) // columns)  # rows for each image
    wide = -(-(len(maps) + 1) // tall)  # of equal length
    over = [name for name, values in maps.items() if values.min() >= 0]
    texts = {name: _lines(text) for name, text in numbers.items()}
    lines = max((text.count("\n") + 1 for text in texts.values()), default=0)
    side = min(tiles.SIDE, 12 / wide)  # inches
    width, height = side * w / max(h, w), side * h / max(h, w)
    figure = style.figure(
        max(wide * (width + 0.12), 4.2), n * tall * (height + 0.55) + tall * 0.15 * lines + 0.8
    )
    grid = figure.subplots(n * tall, wide, squeeze=False)
    for i, image in enumerate(drawn):
        block = grid[i * tall : (i + 1) * tall].ravel().tolist()
        tiles.draw(block[0], tiles.colours(image))
        tiles.caption(block[0], captions[i] if captions else "image")
        for axes, name in zip(block[1:], maps, strict=False):
            _map(axes, maps[name][i], image if name in over else None)
            tiles.caption(axes, name)
            if i == 0 and name in texts:
                tiles.caption(axes, texts[name], below=BAR)
        for axes in block[len(maps) + 1 :]:
            axes.remove()
    default = f"{_count(len(maps), 'attribution')} of {_count(n, 'image')}"
    tiles.heading(figure, default if title is None else title)
    kinds = [SIGNED] * (len(over) < len(maps)) + [OVER] * bool(over)
    note = textwrap.fill(" ".join([ENDS, *kinds]), round(16 * figure.get_figwidth()))
    figure.supxlabel(note, x=0.01, ha="left", fontsize=tiles.TEXT, color=style.INK)
    return figure


def _summed(name: str, a: Array | np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    found = np.asarray(a).astype(np.float64)
    if found.shape[:3] != shape[:3] or found.ndim not in (3, 4) or not np.isfinite(found).all():
        raise ValueError(
            f"attribution_panels: {name!r} needs finite maps of shape {shape} or {shape[:3]}, got "
            f"{found.shape}{'' if np.isfinite(found).all() else ' with NaN or infinity'}."
        )
    return found.sum(axis=-1) if found.ndim == 4 else found


def _check(
    n: int,
    maps: Mapping[str, np.ndarray],
    numbers: Mapping[str, str],
    captions: Sequence[str],
    columns: int,
) -> None:
    if not maps:
        raise ValueError("attribution_panels: attributions needs at least one method, got none.")
    unknown = [name for name in numbers if name not in maps]
    if unknown:
        raise ValueError(
            f"attribution_panels: numbers needs names of attributions {list(maps)}, got {unknown}."
        )
    if len(captions) not in (0, n):
        raise ValueError(
            f"attribution_panels: {n} images need as many captions or none, got {len(captions)}."
        )
    if columns < 2:
        raise ValueError(f"attribution_panels: columns needs at least 2, got {columns}.")


def _map(axes: Axes, values: np.ndarray, over: np.ndarray | None) -> None:
    """One map, over an image where one is given, and below it its scale."""
    # Of a map that is zero nearly everywhere the percentile may be zero.
    end = float(np.percentile(np.abs(values), PERCENTILE)) or float(np.abs(values).max()) or 1.0
    bar = axes.inset_axes((0, -0.09, 1, 0.05))
    if over is None:
        tiles.draw(axes, tiles.coloured(values, style.SIGNED, -end, end))
        axes.spines[:].set(visible=True, color=style.GRID)  # white on white has no edge
        tiles.colour_bar(bar, style.SIGNED, -end, end)
        return
    grey = tiles.colours(over).mean(axis=-1, keepdims=True)
    colours = tiles.coloured(values, style.AMOUNT, 0, end)
    tiles.draw(axes, OPACITY * colours + (1 - OPACITY) * grey)
    tiles.colour_bar(bar, style.AMOUNT, 0, end, OPACITY)


def _lines(text: str) -> str:
    """A text as wide as a tile."""
    parts = (textwrap.fill(part.strip(), LETTERS) for part in text.split(","))
    return "\n".join(parts)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"
