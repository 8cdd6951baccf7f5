"""What a sweep over options found: accuracy by one option, by two, or by any number of them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxcnn.plots import style
from jaxcnn.plots.scales import Scale, short

LABEL = "validation accuracy (%)"
LINE = 0.04  # of an axis: numbers nearer to each other cannot be read
CELLS = 20  # up to so many values of an option, each is a row or column
SHADES = mpl.colormaps[style.AMOUNT](np.linspace(0, 0.92, 256))  # its yellow is too light on white
COLOURS = LinearSegmentedColormap.from_list("accuracy", SHADES)

Point = tuple[Any, ...]
Means = Mapping[Point, np.ndarray]  # the accuracies (%) of a combination's members


def sweep_results(
    options: Mapping[str, Sequence[Any]], accuracy: Sequence[float], *, best: int | None = None
) -> Figure:
    """Draw the validation accuracy of a sweep's members by the options that vary.

    One option: the mean over members with the same value, an error bar of one standard deviation,
    and each member as a dot. Two: a map of the means where every combination is there, dots of
    their colour elsewhere. More: parallel coordinates, a line for each combination.

    Args:
        options: a value for each member by the option's name: numbers, or words. Members alike in
            all of them differ in their seeds.
        accuracy: of each member, 0 to 1; NaN for one that diverged.
        best: the member whose combination is marked; by default one of the highest mean.

    Returns:
        a figure, with one axes, and another for the colours where there are any.

    Raises:
        ValueError: no options, no members, or not as many values as members.

    Example:
        >>> figure = sweep_results({"learning_rate": [0.1, 0.1, 0.2]}, [0.5, 0.7, 0.9])
        >>> figure.axes[0].get_title(loc="left")
        'Best 90.0 %: learning rate 0.2'
    """
    counts = {len(values) for values in options.values()}
    if counts != {len(accuracy)} or not accuracy:
        raise ValueError(
            f"sweep_results: needs an accuracy and a value of each option for every member, got "
            f"{len(accuracy)} accuracies and { ({k: len(v) for k, v in options.items()}) }."
        )
    several = {name: values for name, values in options.items() if len(set(values)) > 1}
    varied = several or dict(list(options.items())[:1])
    means, scales = _means(varied, accuracy), [Scale(*pair) for pair in varied.items()]
    marked = _best(means) if best is None else tuple(values[best] for values in varied.values())
    whole = math.prod(len(scale.values) for scale in scales) == len(means)
    if len(scales) == 1:
        figure = _curve(scales[0], means, marked)
    elif len(scales) > 2:
        figure = _lines(scales, means, marked)
    elif whole and max(len(scale.values) for scale in scales) <= CELLS:
        figure = _map(scales, means, marked)
    else:
        figure = _dots(scales, means, marked)
    style.title(figure.axes[0], _title(scales, means, marked))
    return figure


def _means(varied: Mapping[str, Sequence[Any]], accuracy: Sequence[float]) -> Means:
    found: dict[Point, list[float]] = {}
    for *point, value in zip(*varied.values(), accuracy, strict=True):
        found.setdefault(tuple(point), []).append(100 * value)
    return {point: np.array(values) for point, values in found.items()}


def _mean(values: np.ndarray) -> float:
    """Over the members that did not diverge; NaN where all did."""
    sound = values[np.isfinite(values)]
    return float(sound.mean()) if sound.size else math.nan


def _spread(values: np.ndarray) -> float:
    """The standard deviation, likewise."""
    sound = values[np.isfinite(values)]
    return float(sound.std()) if sound.size else 0.0


def _best(means: Means) -> Point | None:
    """The combination of the highest mean, a member that diverged counting as 0."""
    scores = {point: np.nan_to_num(values).mean() for point, values in means.items()}
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] > 0 else None


def _title(scales: Sequence[Scale], means: Means, best: Point | None) -> str:
    if best is None:
        return "All members diverged"
    pairs = zip(scales, best, strict=True)
    where = ", ".join(f"{scale.name.replace('_', ' ')} {short(value)}" for scale, value in pairs)
    return f"Best {_mean(means[best]):.1f} %: {where}"


def _curve(scale: Scale, means: Means, best: Point | None) -> Figure:
    figure = style.figure(7.2, 4.4)
    axes = figure.add_subplot()
    style.light_grid(axes)
    points = sorted(means, key=lambda point: scale.place(point[0]))
    places = [scale.place(value) for (value,) in points]
    heights = [_mean(means[point]) for point in points]
    spread = None
    if max(map(len, means.values())) > 1:
        spread = [_spread(means[point]) for point in points]
        for place, point in zip(places, points, strict=True):
            axes.plot(
                [place] * len(means[point]), means[point], "o", color=style.TRAIN, alpha=0.35,
                markersize=5, markeredgewidth=0, clip_on=False,
            )  # fmt: skip
    axes.errorbar(
        places, heights, spread, color=style.TRAIN, linewidth=2, marker="o", markersize=6,
        capsize=4, elinewidth=1.4, linestyle="" if scale.words else "-", zorder=3,
    )  # fmt: skip
    for place, height in zip(places, heights, strict=True):
        if not math.isfinite(height):
            axes.annotate(
                "diverged", (place, 0), (0, 6), xycoords=axes.get_xaxis_transform(),
                textcoords="offset points", rotation=90, ha="center", color=style.FAINT,
            )  # fmt: skip
    if best is not None:
        _ring(axes, scale.place(best[0]), _mean(means[best]))
    _ticks(axes, "x", scale)
    # Also where all diverged and there is nothing to see.
    margin = (0.25 if scale.words else 0.03) * (max(places) - min(places)) or 0.5
    axes.set_xlim(min(places) - margin, max(places) + margin)
    axes.set_ylabel(LABEL + (", mean ± standard deviation" if spread else ""), color=style.INK)
    return figure


def _map(scales: Sequence[Scale], means: Means, best: Point | None) -> Figure:
    """Rows from the bottom up: the option with more values lies along the x axis."""
    across, up = sorted(scales, key=lambda scale: -len(scale.values))
    order = [scales.index(across), scales.index(up)]
    cells = np.full((len(up.values), len(across.values)), np.nan)
    spreads = np.zeros_like(cells)
    for point, values in means.items():
        x, y = (scale.values.index(point[i]) for scale, i in zip((across, up), order, strict=True))
        cells[y, x] = _mean(values)
        spreads[y, x] = _spread(values)
    figure = style.figure(2.6 + 1.05 * cells.shape[1], 1.9 + 0.72 * cells.shape[0])
    axes = figure.add_subplot()
    norm = _norm(cells)
    axes.imshow(cells, COLOURS, norm, aspect="auto", origin="lower")
    several = max(map(len, means.values())) > 1
    for (y, x), value in np.ndenumerate(cells):
        text = f"{value:.1f}" + (f"\n± {spreads[y, x]:.1f}" if several else "")
        found = math.isfinite(value)
        light = not found or sum(_colour(norm, value)[:3]) > 1.7
        axes.text(
            x, y, text if found else "diverged", ha="center", va="center", fontsize=9,
            color=style.INK if light else "white",
        )  # fmt: skip
    axes.set_facecolor(style.EMPTY)
    for name, scale in (("x", across), ("y", up)):
        axes.set(**{f"{name}label": scale.label})
        getattr(axes, f"set_{name}ticks")(range(len(scale.values)), map(short, scale.values))
    if best is not None:
        x, y = (scale.values.index(best[i]) for scale, i in zip((across, up), order, strict=True))
        frame = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, clip_on=False, linewidth=2.5)
        frame.set_edgecolor(style.VALIDATION)
        axes.add_patch(frame)
    style.no_frame(axes)
    _bar(figure, axes, norm)
    return figure


def _dots(scales: Sequence[Scale], means: Means, best: Point | None) -> Figure:
    figure = style.figure(7.6, 5.2)
    axes = figure.add_subplot()
    style.light_grid(axes)
    axes.grid(axis="x", color=style.GRID, linewidth=0.8)
    norm = _norm(np.array([_mean(values) for values in means.values()]))
    for point, values in means.items():
        x, y = (scale.place(value) for scale, value in zip(scales, point, strict=True))
        mean = _mean(values)
        axes.plot(
            x, y, "o" if math.isfinite(mean) else "x", color=_colour(norm, mean), markersize=9,
            markeredgewidth=1.5, clip_on=False,
        )  # fmt: skip
    if best is not None:
        _ring(axes, *(scale.place(value) for scale, value in zip(scales, best, strict=True)))
    for name, scale in zip("xy", scales, strict=True):
        _ticks(axes, name, scale)
    _bar(figure, axes, norm)
    return figure


def _lines(scales: Sequence[Scale], means: Means, best: Point | None) -> Figure:
    """Parallel coordinates: an upright axis for each option, the accuracy as the colour."""
    figure = style.figure(2.2 + 1.9 * len(scales), 4.8)
    axes = figure.add_subplot()
    norm = _norm(np.array([_mean(values) for values in means.values()]))
    for point in sorted(means, key=lambda point: np.nan_to_num(_mean(means[point]))):
        value = _mean(means[point])
        found = math.isfinite(value)
        pairs = zip(scales, point, strict=True)
        heights = [_share(scale, scale.place(option)) for scale, option in pairs]
        axes.plot(
            range(len(scales)), heights, color=_colour(norm, value),
            linewidth=3.5 if point == best else 1.6, alpha=1 if point == best else 0.75,
            linestyle="-" if found else (0, (2, 3)), solid_capstyle="round", clip_on=False,
        )  # fmt: skip
    for place, scale in enumerate(scales):
        axes.plot([place, place], [0, 1], color=style.FAINT, linewidth=1, zorder=1)
        heights: list[float] = []
        for at, text in scale.ticks().items():
            height = _share(scale, at)
            if any(abs(height - other) < LINE for other in heights):
                continue
            heights.append(height)
            axes.annotate(
                text, (place, height), (-6, 0), textcoords="offset points", ha="right",
                va="center", color=style.INK, fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8},
            )  # fmt: skip
    axes.set_xticks(range(len(scales)), [scale.label.replace(" (", "\n(") for scale in scales])
    axes.set_yticks([])
    axes.set(xlim=(-0.35, len(scales) - 0.9), ylim=(-0.04, 1.04))
    style.no_frame(axes)
    _bar(figure, axes, norm)
    return figure


def _share(scale: Scale, place: float) -> float:
    """A place as a share of the way from the axis's lower end to its upper one."""
    ends = [scale.place(value) for value in (scale.values[0], scale.values[-1])]
    return (place - ends[0]) / (ends[1] - ends[0])


def _norm(values: np.ndarray) -> Normalize:
    """The colours' range: that of the values that are finite."""
    sound = values[np.isfinite(values)]
    low, high = (float(sound.min()), float(sound.max())) if sound.size else (0.0, 100.0)
    return Normalize(low, high if high > low else low + 1)


def _colour(norm: Normalize, value: float) -> Any:
    return COLOURS(float(norm(value))) if math.isfinite(value) else to_rgba(style.FAINT)


def _bar(figure: Figure, axes: Axes, norm: Normalize) -> None:
    bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=axes, aspect=30, pad=0.02)
    bar.set_label(LABEL, color=style.INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=style.INK, length=0)


def _ring(axes: Axes, x: float, y: float) -> None:
    axes.plot(
        x, y, "o", color=style.VALIDATION, markersize=14, markerfacecolor="none",
        markeredgewidth=2, zorder=4, clip_on=False,
    )  # fmt: skip


def _ticks(axes: Axes, name: str, scale: Scale) -> None:
    ticks = scale.ticks()
    getattr(axes, f"set_{name}ticks")(list(ticks), list(ticks.values()))
    getattr(axes, f"set_{name}label")(scale.label, color=style.INK)
