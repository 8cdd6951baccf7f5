"""The report of a comparison of modes: a table to print, with a recommendation under it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ModeCost:
    """What one program costs."""

    name: str
    """function, jvp, vjp, jacfwd, jacrev or numerical."""
    passes: int
    """Evaluations of f, each with or without its derivative in one direction."""
    flops: int | None
    """As `count_flops` counts, None where it cannot."""
    temporary_bytes: int | None
    """At most, beside inputs and results; None where the compiler does not tell."""
    note: str = ""
    """Why there is no such program, or why it was left out."""
    uncounted: tuple[str, ...] = ()
    """Primitives that the FLOPs leave out."""
    seconds: float | None = None
    """The median of interleaved runs."""


@dataclass(frozen=True)
class ModeComparison:
    """Forward and reverse mode side by side for one function."""

    inputs: int
    """m, floating-point numbers in."""
    outputs: int
    """n, floating-point numbers out."""
    costs: Mapping[str, ModeCost]
    """By program: function, jvp, vjp, jacfwd, jacrev, numerical."""
    disagreements: Mapping[str, float]
    """By pair: relative to the largest entry, for jvp against vjp to |J v| |u|."""
    recommendation: str
    """ "forward" or "reverse"."""
    why: str
    """The costs that were compared."""

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:-1], widths[1:-1]), row[-1]])
            for row in cells
        ]
        return "\n".join([self._head(), "", *(line.rstrip() for line in lines), "", *self._foot()])

    def markdown(self) -> str:
        """The same as a table in Markdown."""
        head, *rows = self._cells()
        ruler = ["---", *["---:"] * (len(head) - 2), "---"]
        lines = [f"| {' | '.join(row)} |" for row in (head, ruler, *rows)]
        return "\n\n".join([self._head(), "\n".join(lines), *self._foot()])

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def _head(self) -> str:
        return f"{many(self.inputs, 'input')}, {many(self.outputs, 'output')}"

    def _foot(self) -> list[str]:
        apart = [f"{pair} {value:.1e}" for pair, value in self.disagreements.items()]
        return [
            *([f"Disagreement: {', '.join(apart)}."] if apart else []),
            f"Recommended: {self.recommendation} mode ({self.why}).",
        ]

    def _cells(self) -> list[Sequence[str]]:
        """The head of the table and a row for each program, like beside like."""
        base = self.costs["function"]
        rows: list[Sequence[str]] = [
            ("program", "passes", "FLOPs", "x f", "temporary", "time", "x f", "")
        ]
        for cost in self.costs.values():
            rows.append(
                (
                    NAMES[cost.name],
                    short(cost.passes),
                    "" if cost.flops is None else short(cost.flops),
                    _times(cost.flops, base.flops),
                    "" if cost.temporary_bytes is None else _bytes(cost.temporary_bytes),
                    "" if cost.seconds is None else _seconds(cost.seconds),
                    _times(cost.seconds, base.seconds),
                    cost.note,
                )
            )
        return rows


NAMES = {
    "function": "f alone",
    "jvp": "one direction: jvp",
    "vjp": "one direction: vjp",
    "jacfwd": "whole Jacobian: jacfwd",
    "jacrev": "whole Jacobian: jacrev",
    "numerical": "whole Jacobian: central differences",
}


def short(number: int) -> str:
    """A count that can be read: 12,345 or 1.23 million."""
    if number >= 1e15:
        return f"{number:.2e}"
    for power, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= power:
            return f"{number / power:,.3g} {word}"
    return f"{number:,}"


def many(number: int, noun: str, ending: str = "s") -> str:
    """1 input, 2 inputs."""
    return f"{number:,} {noun}{ending * (number != 1)}"


def _times(cost: float | None, base: float | None) -> str:
    return f"{cost / base:,.1f}" if cost is not None and base else ""


def _bytes(number: int) -> str:
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= power:
            return f"{number / power:.1f} {unit}"
    return f"{number} B"


def _seconds(number: float) -> str:
    for power, unit in ((1, "s"), (1e-3, "ms")):
        if number >= power:
            return f"{number / power:.2f} {unit}"
    return f"{number * 1e6:.0f} us"
