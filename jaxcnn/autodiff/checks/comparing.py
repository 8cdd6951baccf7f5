"""Products with the Jacobian beside differences: which are right, wrong, or at a kink."""

from typing import NamedTuple

import numpy as np

from jaxcnn.autodiff.checks.differences import Slopes
from jaxcnn.autodiff.checks.subjects import Line, Subject

# From good to bad: the worst is what a report shows.
OK, INCONCLUSIVE, KINK, WRONG_AT_KINK, WRONG, NOT_FINITE = range(6)
STATUS = ("ok", "inconclusive", "kink", "wrong", "wrong", "not finite")
SIGMAS = 4  # estimated errors of a difference that a comparison allows
SUSPECTS = 8  # how many of the worst are looked at again
VAGUE = 0.1  # of the largest derivative: a comparison that allows more says little


class Judged(NamedTuple):
    """Derivatives beside differences, elementwise."""

    status: np.ndarray
    expected: np.ndarray
    found: np.ndarray
    allowed: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @property
    def excess(self) -> np.ndarray:
        """How many times what is allowed they are apart."""
        apart = np.abs(self.found - self.expected)
        return np.where(np.isfinite(apart), apart / np.maximum(self.allowed, 1e-300), np.inf)

    @property
    def worst(self) -> int:
        """The element of the worst status, and of those the one farthest apart."""
        return int(np.lexsort((self.excess, self.status))[-1])

    def pick(self, k: int) -> "Judged":
        """One element by itself."""
        return Judged(*(values[k : k + 1] for values in self))


def judge(
    slope: Slopes, found: np.ndarray, *, rtol: float, eps: float, scale: float | np.ndarray
) -> Judged:
    """Each derivative's status; `scale` is the largest of those beside it."""
    expected = slope.value
    with np.errstate(invalid="ignore"):
        allowed = rtol * np.abs(expected) + SIGMAS * slope.error + 32 * eps * scale
        # A function that does not move at all gives rounding no scale but one.
        still = (expected == 0) & (slope.error == 0)
        allowed = np.where(still, np.maximum(allowed, eps), allowed)
        margin = rtol * np.maximum(np.abs(slope.left), np.abs(slope.right)) + slope.side_error
        margin = np.where(np.isfinite(margin), margin, 0) + 32 * eps * scale
        between = (found >= np.minimum(slope.left, slope.right) - margin) & (
            found <= np.maximum(slope.left, slope.right) + margin
        )
        wrong = np.abs(found - expected) > allowed
        vague = (allowed > VAGUE * scale) & ((found != 0) | (expected != 0)) & ~still
    status = np.where(wrong, WRONG, np.where(vague, INCONCLUSIVE, OK))
    status = np.where(slope.kinked, np.where(between, KINK, WRONG_AT_KINK), status)
    # Steps may leave the function's domain; that says nothing about a finite derivative.
    status = np.where(np.isfinite(slope.error) | slope.kinked, status, INCONCLUSIVE)
    status = np.where(np.isfinite(found) & slope.defined, status, NOT_FINITE)
    left, right = (np.where(slope.kinked, side, 0) for side in (slope.left, slope.right))
    return Judged(status, expected, found, allowed, left, right)


class Suspect(NamedTuple):
    """The worst element along one direction."""

    judged: Judged
    output: int
    support: np.ndarray

    @property
    def badness(self) -> tuple[int, bool, float]:
        """By status, then those of one input, then how far apart they are."""
        judged = self.judged
        return int(judged.status[0]), len(self.support) == 1, float(judged.excess[0])


class Mode:
    """One mode's comparison as it grows: counts, and the worst elements so far."""

    def __init__(self, subject: Subject, mode: str, weights: np.ndarray, rtol: float) -> None:
        self.subject, self.mode, self.rtol = subject, mode, rtol
        self.weights, self.rng = weights, np.random.default_rng(0)  # rng: for narrowing down
        self.counts = np.zeros(NOT_FINITE + 1, int)
        self.scale = self.difference = 0.0
        self.worst: list[Suspect] = []
        # Sums of the outputs by the rows of `weights` are compared in place of the outputs.
        each = weights.shape[0] == weights.shape[1]
        self.sums = None if mode == "forward" or each else weights
        self.gradients = np.zeros((0, subject.point.size))
        if mode == "reverse":
            self.gradients = np.stack([subject.product("reverse", u) for u in weights])

    def judged(self, v: np.ndarray, line: Line) -> Judged:
        """What the mode says about the slopes along v, beside the differences."""
        forward = self.mode == "forward"
        found = self.subject.product("forward", v) if forward else self.gradients @ v
        slope = self.subject.slopes(line, self.sums)
        for size in (np.abs(found), np.abs(slope.value)):
            self.scale = max(self.scale, np.max(size, initial=0, where=np.isfinite(size)))
        return judge(slope, found, rtol=self.rtol, eps=self.subject.eps, scale=self.scale)

    def add(self, support: np.ndarray, v: np.ndarray, line: Line) -> np.ndarray:
        """Compare along v and count; gives what the mode found."""
        judged = self.judged(v, line)
        self.counts += np.bincount(judged.status, minlength=len(self.counts))
        apart = np.abs(judged.found - judged.expected)[judged.status == OK]
        if self.scale:
            self.difference = max(self.difference, float(np.max(apart, initial=0) / self.scale))
        k = judged.worst
        self.worst.append(Suspect(judged.pick(k), k, support))
        self.worst = sorted(self.worst, key=lambda suspect: suspect.badness)[-SUSPECTS:]
        return judged.found
