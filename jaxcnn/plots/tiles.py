"""Images as tiles: how one is drawn, its colour bar, and a bar that says how large a pixel is."""

import numpy as np
from jax import Array
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure

from jaxcnn.plots import style

SIDE = 1.7  # inches
SMALL = 120  # pixels: up to this size an image's pixels are seen as squares
TEXT = 8


def pictures(caller: str, images: Array | np.ndarray) -> np.ndarray:
    """Images b h w c in NumPy, at least one.

    Raises:
        ValueError: where they are not, or c is neither 1 nor 3.
    """
    found = np.asarray(images).astype(np.float64)
    if found.ndim != 4 or not found.size or found.shape[-1] not in (1, 3):
        raise ValueError(
            f"{caller}: images needs shape (b, h, w, c) with c 1 or 3, none empty, got "
            f"{found.shape}."
        )
    return found


def colours(image: np.ndarray, limits: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """An image h w c as RGB from 0 to 1; pixels that are NaN have the colour of the background."""
    low, high = limits
    scaled = np.clip((image - low) / (high - low), 0, 1)
    nothing = np.isnan(scaled).any(axis=-1, keepdims=True)
    return np.where(nothing, to_rgb(style.EMPTY), scaled)


def draw(axes: Axes, image: np.ndarray) -> None:
    """An RGB image on an axes with nothing else on it."""
    small = max(image.shape[:2]) <= SMALL
    axes.imshow(image, interpolation="nearest" if small else "antialiased", aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])
    style.no_frame(axes)


def caption(axes: Axes, text: str, *, below: float | None = None) -> None:
    """A few words over a tile, or so many points below it."""
    if below is not None:
        axes.set_xlabel(text, color=style.INK, fontsize=TEXT, labelpad=below)
    else:
        axes.set_title(text, color=style.INK, fontsize=TEXT, pad=4)


def coloured(values: np.ndarray, cmap: str, low: float, high: float) -> np.ndarray:
    """Values h w as RGB by a colour map."""
    return colormaps[cmap](Normalize(low, high)(values))[..., :3]


def colour_bar(axes: Axes, cmap: str, low: float, high: float, opacity: float = 1.0) -> None:
    """A thin scale inside an axes of its own: colours from low to high, and their numbers."""
    ramp = coloured(np.linspace(low, high, 256)[None], cmap, low, high)
    ramp = opacity * ramp + (1 - opacity) * 0.5
    axes.imshow(ramp, aspect="auto", extent=(low, high, 0, 1), interpolation="nearest")
    ticks = [low, 0, high] if low < 0 < high else [low, high]
    axes.set_xticks(ticks, [number(tick) for tick in ticks], fontsize=TEXT - 1)
    labels = axes.get_xticklabels()  # the outer numbers end where the bar does
    labels[0].set_horizontalalignment("left")
    labels[-1].set_horizontalalignment("right")
    axes.set_yticks([])
    style.no_frame(axes)
    axes.tick_params(pad=1)


def upright_bar(axes: Axes, cmap: str, high: float) -> None:
    """The same from 0 below to high above, its numbers at the right."""
    ramp = coloured(np.linspace(high, 0, 256)[:, None], cmap, 0, high)
    axes.imshow(ramp, aspect="auto", extent=(0, 1, 0, high), interpolation="nearest")
    axes.yaxis.tick_right()
    axes.set_yticks([0, high], ["0", number(high)], fontsize=TEXT - 1)
    axes.set_xticks([])
    style.no_frame(axes)
    axes.tick_params(pad=1)


def number(value: float) -> str:
    """Two digits, and zero without a sign."""
    return f"{value:.2g}" if value else "0"


def pixel_bar(axes: Axes, width: int) -> None:
    """Below a tile of so many pixels: a line as long as a round number of them."""
    length = max((n for n in _ROUND if n <= max(width / 2, 1)), default=1)
    place = axes.get_xaxis_transform()
    axes.plot(
        [-0.5, length - 0.5], [-0.05, -0.05], transform=place, color=style.INK, linewidth=2.5,
        solid_capstyle="butt", clip_on=False,
    )  # fmt: skip
    axes.annotate(
        f"{length} pixel{'s' * (length > 1)}", (-0.5, -0.05), (0, -4), xycoords=place,
        textcoords="offset points", va="top", color=style.INK, fontsize=TEXT,
        annotation_clip=False,
    )  # fmt: skip
    axes.set_xlim(-0.5, width - 0.5)


_ROUND = [digit * 10**power for power in range(5) for digit in (1, 2, 5)]


def heading(figure: Figure, text: str) -> None:
    """A title over all of a figure, at its left edge."""
    figure.suptitle(text, x=0.01, ha="left", color=style.INK, fontsize=12, fontweight="bold")
