"""Named lines in panels side by side, and named bars in groups."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from jaxcnn.plots import style

MARKERS = "osD^vPX"
MARKED = 25  # up to so many points, each has a marker
TICKS = 8  # up to so many different x, each has its number on the axis
DECADES = 2.2  # a logarithmic axis longer than this has labels at powers of ten alone


class Panel(NamedTuple):
    """One of the panels that `line_panels` draws."""

    title: str
    x: str
    """What is on the horizontal axis, with its unit."""
    y: str
    """What is on the vertical axis, with its unit."""
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    """x and y by the line's name; values that are not finite leave a gap."""
    logarithmic: str = ""
    """Which axes are: "", "x", "y" or "xy"."""
    guides: Mapping[str, tuple[Sequence[float], Sequence[float]]] = {}
    """Faint dashed lines by what stands beside their end: a slope, a bound, a crossing."""


def line_panels(panels: Sequence[Panel], *, columns: int = 3) -> Figure:
    """Draw lines in panels side by side, with one legend for all.

    A name has the same colour and marker in every panel; they are given in the order in which names
    first appear, up to seven.

    Args:
        panels: what to draw.
        columns: panels in a row, at most.

    Returns:
        a figure with one axes for each panel.

    Raises:
        ValueError: no panels, more than seven names, lines whose x and y differ in length, or
            axes other than "x" and "y" to be logarithmic.

    Example:
        >>> square = [1, 2, 3], [1, 4, 9]
        >>> figure = line_panels([Panel("Area", "side (m)", "area (m^2)", {"square": square})])
        >>> figure.axes[0].get_title(loc="left"), figure.axes[0].get_ylabel()
        ('Area', 'area (m^2)')
    """
    names = _names("line_panels", [panel.series for panel in panels])
    for panel in panels:
        _check(panel)
    wide = min(columns, len(panels))
    tall = -(-len(panels) // wide)
    figure = style.figure(max(3.8 * wide, 6.0) + 0.3, 3.1 * tall + 0.4)
    grid = figure.subplots(tall, wide, squeeze=False).ravel().tolist()
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel, names)
    for axes in grid[len(panels) :]:
        axes.remove()
    _legend(figure, grid[: len(panels)], names)
    return figure


def bar_groups(
    groups: Mapping[str, Mapping[str, float]], y: str, *, bound: tuple[str, float] | None = None
) -> Figure:
    """Draw a group of bars for each thing, one bar for each quantity, its value written over it.

    Args:
        groups: value by the bar's name, by the group's name; a bar may be missing.
        y: what the values are, with their unit.
        bound: a faint dashed line across, by its name in the legend and its height.

    Returns:
        a figure with one axes.

    Raises:
        ValueError: no groups, or more than seven names of bars.

    Example:
        >>> figure = bar_groups({"a": {"time": 2, "memory": 3}, "b": {"time": 1}}, "times f's")
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['2', '3', '1']
    """
    names = _names("bar_groups", list(groups.values()))
    figure = style.figure(max(1.2 + 0.62 * sum(len(g) + 1 for g in groups.values()), 5), 4.2)
    axes = figure.add_subplot()
    style.light_grid(axes)
    place, centres = 0.0, []
    for bars in groups.values():
        shown = [name for name in names if name in bars]
        for i, name in enumerate(shown):
            color = style.SERIES[names.index(name)]
            height = bars[name]
            axes.bar(place + i, height, 0.9, color=color, label=name)
            axes.annotate(
                _short(height), (place + i, height), (0, 3), textcoords="offset points",
                ha="center", color=style.INK, fontsize=9,
            )  # fmt: skip
        centres.append(place + (len(shown) - 1) / 2)
        place += len(shown) + 1
    if bound is not None:
        dashes = {"color": style.FAINT, "linestyle": (0, (4, 3)), "linewidth": 1.4}
        axes.axhline(bound[1], label=bound[0], zorder=0, **dashes)
    axes.set_xticks(centres, list(groups), fontsize=10)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(y, color=style.INK)
    _legend(figure, [axes], [*names, *([bound[0]] if bound else [])])
    return figure


def _names(function: str, series: Sequence[Mapping[str, object]]) -> list[str]:
    """All names in the order in which they first appear."""
    names = list(dict.fromkeys(name for named in series for name in named))
    if not 0 < len(names) <= len(style.SERIES):
        raise ValueError(
            f"{function}: from 1 to {len(style.SERIES)} names can be told apart, got {len(names)}."
        )
    return names


def _check(panel: Panel) -> None:
    if panel.logarithmic not in ("", "x", "y", "xy"):
        raise ValueError(
            f'line_panels: logarithmic is "", "x", "y" or "xy", got {panel.logarithmic!r}.'
        )
    for name, (x, y) in {**panel.series, **panel.guides}.items():
        if len(x) != len(y):
            raise ValueError(
                f"line_panels: {name!r} needs as many x as y, got {len(x)} and {len(y)}."
            )


def _draw(axes: Axes, panel: Panel, names: Sequence[str]) -> None:
    style.light_grid(axes)
    for place, (name, (x, y)) in enumerate(panel.series.items()):
        i = names.index(name)
        axes.plot(
            x,
            np.where(np.isfinite(y), y, np.nan),
            color=style.SERIES[i],
            marker=MARKERS[i] if len(x) <= MARKED else "",
            # Thinner and thinner: of lines that run on each other all are seen.
            markersize=max(7 - 1.2 * place, 3),
            linewidth=max(3 - 0.5 * place, 1.2),
            label=name,
        )
    for scale in panel.logarithmic:
        _logarithmic(axes, scale)
    places = sorted({place for x, _ in panel.series.values() for place in x})
    if len(places) <= TICKS:
        axes.set_xticks(places, [f"{place:g}" for place in places])
    if "y" not in panel.logarithmic and axes.get_ylim()[0] > 0:
        axes.set_ylim(bottom=0)
    limits = axes.get_xlim(), axes.get_ylim()
    for name, (x, y) in panel.guides.items():
        axes.plot(x, y, color=style.FAINT, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
        axes.annotate(
            name, (x[-1], y[-1]), (3, 3), textcoords="offset points", color=style.FAINT,
            fontsize=9, annotation_clip=False,
        )  # fmt: skip
    axes.set(xlim=limits[0], ylim=limits[1])
    style.title(axes, panel.title)
    axes.set_xlabel(panel.x, color=style.INK)
    axes.set_ylabel(panel.y, color=style.INK)


def _logarithmic(axes: Axes, name: str) -> None:
    """A logarithmic axis, with numbers that can be read where it is short."""
    getattr(axes, f"set_{name}scale")("log")
    axis = axes.xaxis if name == "x" else axes.yaxis
    low, high = getattr(axes, f"get_{name}lim")()
    if math.log10(high / low) < DECADES:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    if low > 1e-3 and high < 2e4:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _legend(figure: Figure, panels: Sequence[Axes], names: Sequence[str]) -> None:
    """One legend below all panels; none where there is only one name."""
    handles = {}
    for axes in panels:
        found, labels = axes.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
    if len(names) > 1:
        figure.legend(
            [handles[name] for name in names],
            names,
            loc="outside lower center",
            ncols=-(-len(names) // -(-len(names) // 4)),  # rows of equal length, four at most
            frameon=False,
            labelcolor=style.INK,
        )


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"
