"""What a check of gradients found, as numbers and as text."""

import math
from typing import NamedTuple


class Place(NamedTuple):
    """One derivative that was compared: of which output, by which input."""

    status: str  # "wrong", "not finite", "kink", "inconclusive" or "ok"
    output: str
    input: str
    expected: float  # by differences
    found: float  # by JAX
    allowed: float  # |found - expected|
    left: float  # one-sided slopes, where they disagree
    right: float

    def __str__(self) -> str:
        slope = f"d {self.output} / d {self.input}"
        if self.left == self.right:
            return f"{slope}: expected {self.expected:.6g}, found {self.found:.6g}"
        if math.isinf(self.left) or math.isinf(self.right):
            return f"{slope}: the function jumps here, found {self.found:.6g}"
        sides = f"slopes {self.left:.6g} and {self.right:.6g}, found {self.found:.6g}"
        if self.status == "kink":
            return f"{slope}: {sides}"
        return f"{slope}: at a kink, expected between its {sides}"


class Comparison(NamedTuple):
    """Derivatives of one order in one mode against differences, or the two modes' products."""

    name: str
    checked: int = 0
    wrong: int = 0  # those that are not finite included
    kinks: int = 0
    inconclusive: int = 0
    difference: float = 0.0  # the largest, relative to the largest derivative
    worst: Place | None = None
    reason: str = ""  # why nothing could be checked

    @property
    def ok(self) -> bool:
        """Nothing is wrong, and at least half of it could be told."""
        return not self.reason and not self.wrong and 2 * self.inconclusive <= self.checked

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.reason:
            return "failed"
        if self.wrong:
            return "wrong"
        if not self.ok:
            return "inconclusive"
        return "kinks" if self.kinks else "ok"

    def __str__(self) -> str:
        if self.reason:
            return self.reason
        said = [f"{self.checked} compared, differences up to {self.difference:.1e}"]
        if self.wrong:
            said = [f"{self.wrong} of {self.checked}"]
        if self.kinks:
            said.append(f"{self.kinks} at kinks")
        if self.inconclusive:
            said.append(f"{self.inconclusive} inconclusive (differences are too inexact to tell)")
        return ", ".join(said)


class GradientReport(NamedTuple):
    """What `check_gradients` found."""

    title: str
    comparisons: tuple[Comparison, ...]

    @property
    def ok(self) -> bool:
        """Whether each comparison is; kinks are no failures."""
        return all(comparison.ok for comparison in self.comparisons)

    def raise_if_failed(self) -> None:
        """Raise the report's text as an AssertionError, unless all is well."""
        if not self.ok:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        width = max(len(c.name) for c in self.comparisons)
        word = max(len(c.verdict) for c in self.comparisons)
        lines = [self.title]
        for c in self.comparisons:
            lines.append(f"  {c.name:<{width}}  {c.verdict:<{word}}  {c}")
            if c.worst:
                lines.append(f"      {c.worst.status}: {c.worst}")
        return "\n".join(lines)
