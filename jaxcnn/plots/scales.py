"""Where the values of an option stand on an axis, and how the axis says them."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

UNITS = {"batch_size": "images"}
SPAN = 8  # values that span more than this factor have a logarithmic axis
TICKS = 8  # up to so many values of an option, each has its number on the axis


class Scale:
    """Where the values of an option stand on an axis: evenly, by their logarithm, or in order."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        self.name, self.words = name, not all(isinstance(v, int | float) for v in values)
        self.values = list(dict.fromkeys(values)) if self.words else sorted(set(values))
        positive = [] if self.words else [v for v in self.values if v > 0]
        self._logarithmic = (
            bool(positive) and self.values[0] >= 0 and positive[-1] >= SPAN * positive[0]
        )
        if self._logarithmic:  # zero stands apart from the others, as far as they from each other
            reach = math.log10(positive[-1] / positive[0])
            self._zero = math.log10(positive[0]) - reach / max(len(positive) - 1, 4)

    @property
    def label(self) -> str:
        """The option with its unit, and how its axis is divided."""
        notes = [UNITS[self.name]] if self.name in UNITS else []
        notes += ["log scale"] if self._logarithmic else []
        return self.name.replace("_", " ") + (f" ({', '.join(notes)})" if notes else "")

    def place(self, value: Any) -> float:
        """Where a value stands."""
        if self.words:
            return float(self.values.index(value))
        if self._logarithmic:
            return math.log10(value) if value > 0 else self._zero
        return float(value)

    def ticks(self) -> dict[float, str]:
        """The numbers on the axis by their places."""
        if self.words or len(self.values) <= TICKS:
            return {self.place(value): short(value) for value in self.values}
        low, high = min(v for v in self.values if v > 0 or not self._logarithmic), self.values[-1]
        if not self._logarithmic:
            round_numbers = MaxNLocator(6).tick_values(low, high)
        else:
            exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            steps = (1,) if high / low > 1e3 else (1, 2, 5)
            round_numbers = [step * 10.0**k for k in exponents for step in steps]
        chosen = [v for v in round_numbers if low <= v <= high]
        chosen = [0, *chosen] if self._logarithmic and self.values[0] == 0 else chosen
        return {self.place(value): short(value) for value in chosen}


def short(value: Any) -> str:
    """A value as an axis says it.

    Example:
        >>> short(0.0005), short(1e-5), short(0.01), short(64), short("adam")
        ('0.0005', '1e-5', '0.01', '64', 'adam')
    """
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e")
