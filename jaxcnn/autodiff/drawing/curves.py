"""The curves of a drawing's edges, and where their labels stand."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Point = tuple[float, float]
Rectangle = tuple[float, float, float, float]  # x, y, width, height

LABEL_HEIGHT = 15.0
# Where on a bend a label may stand, the best place first.
_PLACES = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74)
_BENDS = 4  # how many bends of an edge are tried
_SAMPLES = 9


def bend(corners: Sequence[Point]) -> list[Point]:
    """A smooth curve through corners that leaves and meets each of them along the first axis.

    Args:
        corners: at least two, with rising first coordinates.

    Returns:
        3 n + 1 points of n cubic Bezier pieces.

    Example:
        >>> bend([(0.0, 0.0), (2.0, 4.0)])
        [(0.0, 0.0), (1.0, 0.0), (1.0, 4.0), (2.0, 4.0)]

    """
    points = [corners[0]]
    for (a, b), (c, d) in pairwise(corners):
        if (a, b) != (c, d):
            points += [((a + c) / 2, b), ((a + c) / 2, d), (c, d)]
    return points


def along(points: Sequence[Point], piece: int, t: float) -> Point:
    """A point on a piece of a Bezier curve.

    Args:
        points: 3 n + 1 points.
        piece: 0 ... n - 1.
        t: from 0, the start of the piece, to 1, its end.

    Returns:
        x and y.

    Example:
        >>> along([(0.0, 0.0), (1.0, 0.0), (1.0, 4.0), (2.0, 4.0)], 0, 0.5)
        (1.0, 2.0)

    """
    s = 1 - t
    factors = (s**3, 3 * s * s * t, 3 * s * t * t, t**3)
    four = points[3 * piece : 3 * piece + 4]
    x, y = (sum(f * p[axis] for f, p in zip(factors, four, strict=True)) for axis in (0, 1))
    return x, y


def label_middles(
    curves: Sequence[Sequence[Point]], widths: Sequence[float], obstacles: Sequence[Rectangle]
) -> list[Point | None]:
    """Where on its curve each label stands: clear of boxes and labels, then of other curves.

    Args:
        curves: the Bezier points of each edge.
        widths: the width of each edge's label, 0 for none.
        obstacles: the rectangles of the boxes.

    Returns:
        the middle of each label; None where there is none.
    """
    taken = np.array(obstacles, float).reshape(-1, 4)
    steps = [(i + 0.5) / _SAMPLES for i in range(_SAMPLES)]
    pieces = [(i, k) for i, points in enumerate(curves) for k in range(len(points) // 3)]
    samples = np.array([along(curves[i], k, t) for i, k in pieces for t in steps]).reshape(-1, 2)
    owners = np.repeat([i for i, _ in pieces], _SAMPLES)
    middles: list[Point | None] = []
    for i, (points, width) in enumerate(zip(curves, widths, strict=True)):
        if not width:
            middles.append(None)
            continue
        size = (width, LABEL_HEIGHT)
        best = _clearest(_candidates(points), size, taken, samples[owners != i])
        middles.append(best)
        taken = np.vstack([taken, [best[0] - size[0] / 2, best[1] - size[1] / 2, *size]])
    return middles


def _clearest(
    candidates: list[Point], size: tuple[float, float], taken: np.ndarray, others: np.ndarray
) -> Point:
    """The first place in the clear, or that with the least overlap."""
    costs = []
    for candidate in candidates:
        costs.append(_cost(candidate, size, taken, others))
        if costs[-1] == (0, 0):
            return candidate
    return candidates[costs.index(min(costs))]


def _candidates(points: Sequence[Point]) -> list[Point]:
    """Places on the last bends first, since a label tells what the edge is to its target."""
    pieces = range(len(points) // 3)
    bends = sorted(pieces, key=lambda k: (_length(points, k) < LABEL_HEIGHT, -k))
    return [along(points, piece, t) for piece in bends[:_BENDS] for t in _PLACES]


def _length(points: Sequence[Point], piece: int) -> float:
    (a, b), (c, d) = points[3 * piece], points[3 * piece + 3]
    return abs(c - a) + abs(d - b)


def _cost(
    middle: Point, size: tuple[float, float], taken: np.ndarray, others: np.ndarray
) -> tuple[float, int]:
    half = np.array(size) / 2
    low, high = middle - half - 2, middle + half + 2
    ends = taken[:, :2] + taken[:, 2:]
    overlap = np.clip(np.minimum(high, ends) - np.maximum(low, taken[:, :2]), 0, None)
    crossed = np.count_nonzero(((others > low) & (others < high)).all(axis=1))
    return float(overlap.prod(axis=1).sum()), int(crossed)
