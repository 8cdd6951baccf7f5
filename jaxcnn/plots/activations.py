"""An image layer by layer: the maps of the channels that it activates most."""

from collections.abc import Mapping

import numpy as np
from jax import Array
from jaxtyping import Float
from matplotlib.figure import Figure

from jaxcnn.plots import style, tiles

SIDE = 1.2  # inches of a map


def activation_sheet(
    maps: Mapping[str, Float[Array | np.ndarray, "_ _ _"]],
    *,
    channels: int = 8,
    title: str | None = None,
) -> Figure:
    """Draw a row for each layer with its strongest channels, the one of the largest value first.

    All maps of a row share its scale bar, which goes from zero to the row's largest value; what
    is below zero is drawn as zero.

    Args:
        maps: activations h w c of one image by the layer's name, in the order of the flow.
        channels: of each layer, at most.
        title: over all; else how many layers.

    Returns:
        a figure with, for each layer, one axes for each channel and one for its scale bar.

    Raises:
        ValueError: no layers, or one that is not finite h w c; fewer than one channel.

    Example:
        >>> import numpy as np
        >>> maps = {"conv1": np.arange(12.0).reshape(2, 2, 3)}
        >>> figure = activation_sheet(maps, channels=2)
        >>> [axes.get_title() for axes in figure.axes]
        ['channel 2', 'channel 1', '']
    """
    drawn = {name: _checked(name, y) for name, y in maps.items()}
    if not drawn:
        raise ValueError("activation_sheet: maps needs at least one layer, got none.")
    if channels < 1:
        raise ValueError(f"activation_sheet: channels needs at least 1, got {channels}.")
    wide = min(channels, max(y.shape[-1] for y in drawn.values()))
    figure = style.figure((SIDE + 0.1) * wide + 2.1, (SIDE + 0.3) * len(drawn) + 0.6)
    grid = figure.subplots(len(drawn), wide + 1, squeeze=False, width_ratios=[*[1] * wide, 0.12])
    for row, (name, y) in zip(grid, drawn.items(), strict=True):
        strongest = np.argsort(-y.max(axis=(0, 1)), kind="stable")[:wide]
        end = max(float(y.max()), 0.0) or 1.0
        for axes, channel in zip(row, strongest, strict=False):
            tiles.draw(axes, tiles.coloured(y[..., channel], style.AMOUNT, 0, end))
            tiles.caption(axes, f"channel {channel}")
        for axes in row[len(strongest) : -1]:
            axes.remove()
        size = "x".join(map(str, y.shape))
        row[0].set_ylabel(
            f"{name}\n{size}", rotation=0, ha="right", va="center", color=style.INK,
            fontsize=tiles.TEXT,
        )  # fmt: skip
        tiles.upright_bar(row[-1], style.AMOUNT, end)
    default = f"{len(drawn)} layer{'s' * (len(drawn) > 1)}, the strongest channels of each"
    tiles.heading(figure, default if title is None else title)
    return figure


def _checked(name: str, y: Array | np.ndarray) -> np.ndarray:
    found = np.asarray(y).astype(np.float64)
    if found.ndim != 3 or not found.size or not np.isfinite(found).all():
        raise ValueError(
            f"activation_sheet: layer {name!r} needs finite maps h w c, none empty, got shape "
            f"{found.shape}{'' if np.isfinite(found).all() else ' with NaN or infinity'}."
        )
    return found
