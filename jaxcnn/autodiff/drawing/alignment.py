"""The second half of drawing a directed graph: where in its layer each node stands, in pixels.

Nodes keep their order and their distances. Within that they stand where their edges are straight:
each layer in turn moves to the weighted medians of its neighbours, as near as least squares allow.

Reference:
    Gansner, Koutsofios, North & Vo (1993), A technique for drawing directed graphs, section 4.
    Best & Chakravarti (1990), Active set algorithms for isotonic regression.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from jaxcnn.autodiff.drawing.ranks import Cluster, Ranked

_SWEEPS = 10
_ROUNDS = 12
_FREE = 1e-4  # the weight of a node without neighbours
_STAY = 0.1  # how much a path keeps to where it is, beside the weights of edges
_SLACK = 0.5  # pixels that a distance may lack where that makes a path straight
_Distances = list[list[tuple[int, float]]]  # by unknown: (another one, how far away at least)


class Segment(NamedTuple):
    """A piece of an edge, from one layer to the next: straight if high = low + shift."""

    low: int
    high: int
    shift: float
    weight: float


class Margins(NamedTuple):
    """What is kept free, in pixels."""

    nodes: list[float]  # from a node's middle to half of the way to the next node
    half: float  # that half of the way
    before: float  # from a frame's first side to the boxes and frames that it holds
    after: float
    between: float  # from one frame to the next
    least: dict[Cluster, float]  # how long a frame is at least


def align(
    ranked: Ranked, segments: Sequence[Segment], margins: Margins
) -> tuple[list[float], dict[Cluster, tuple[float, float]]]:
    """Positions along the layers: of the nodes' middles, and of both sides of each frame.

    Args:
        ranked: the layers, in order.
        segments: what should be straight, and how much so.
        margins: distances to keep.

    Returns:
        one number per node, one pair per cluster; the least of them is 0.
    """
    rows = _Rows(ranked, segments, margins)
    rows.sweep()
    rows.frame()
    low = min((rows.x[i] - margins.nodes[i] for i in range(len(ranked.home))), default=0.0)
    low = min([low, *(rows.x[first] for first in rows.sides.values())])
    x = [value - low for value in rows.x]
    return x[: len(ranked.home)], {
        cluster: (x[first], x[first + 1]) for cluster, first in rows.sides.items()
    }


class _Rows:
    """The unknowns: a position per node, then two per cluster."""

    def __init__(self, ranked: Ranked, segments: Sequence[Segment], margins: Margins):
        count = len(ranked.home)
        clusters = list(dict.fromkeys(cluster for inside in ranked.home for cluster in inside))
        self.ranked, self.margins = ranked, margins
        self.sides = {cluster: count + 2 * i for i, cluster in enumerate(clusters)}
        self.x = [0.0] * (count + 2 * len(clusters))
        self.gaps: dict[tuple[int, int], float] = {}  # x[b] >= x[a] + gap
        for cluster, first in self.sides.items():
            self.gaps[first, first + 1] = margins.least.get(cluster, 0.0)
        self.steps = [self._distances(nodes) for nodes in ranked.order]
        self.above: list[list[tuple[int, float, float]]] = [[] for _ in range(count)]
        self.below: list[list[tuple[int, float, float]]] = [[] for _ in range(count)]
        for low, high, shift, weight in segments:
            self.above[high].append((low, shift, weight))
            self.below[low].append((high, -shift, weight))

    def _distances(self, nodes: list[int]) -> list[float]:
        """The least distance of each node from the one before, with all frames in between."""
        found = []
        for a, b in zip([None, *nodes], [*nodes, None], strict=True):
            path = self._between(a, b)
            for (u, _), (v, gap) in pairwise(path):
                self.gaps[u, v] = max(gap, self.gaps.get((u, v), 0.0))
            found.append(sum(gap for _, gap in path[1:]))
        return [0.0, *found[1:-1]]

    def _between(self, a: int | None, b: int | None) -> list[tuple[int, float]]:
        """What stands between two nodes: (unknown, its distance from the one before)."""
        m, home = self.margins, self.ranked.home
        left = home[a] if a is not None else ()
        right = home[b] if b is not None else ()
        shared = sum(1 for x, y in zip(left, right, strict=False) if x == y)
        path = [] if a is None else [(a, 0.0)]
        gap = 0.0 if a is None else m.nodes[a]
        for i, cluster in enumerate(reversed(left[shared:])):
            path.append((self.sides[cluster] + 1, m.after + (gap - m.half if i == 0 else 0.0)))
            gap = m.between
        for i, cluster in enumerate(right[shared:]):
            path.append((self.sides[cluster], gap if i == 0 else m.before))
            gap = m.before - m.half
        if b is not None:
            path.append((b, gap + m.nodes[b]))
        return path

    def sweep(self) -> None:
        """Moves each layer to its neighbours, from above, from below and at last from both."""
        for order, steps in zip(self.ranked.order, self.steps, strict=True):
            length, at = sum(steps), 0.0
            for node, step in zip(order, steps, strict=True):
                at += step
                self.x[node] = at - length / 2
        indices = list(range(len(self.ranked.order)))
        for turn in range(_SWEEPS):
            both = turn >= _SWEEPS // 2
            for sides, path in (((1, both), indices), ((both, 1), indices[::-1])):
                for at in path:
                    self._settle(at, *sides)

    def _settle(self, at: int, above: bool | int, below: bool | int) -> None:
        nodes, steps = self.ranked.order[at], self.steps[at]
        wanted, weights, total = [], [], 0.0
        for node, step in zip(nodes, steps, strict=True):
            near = (self.above[node] if above else []) + (self.below[node] if below else [])
            total += step
            wishes = [(self.x[other] + shift, weight) for other, shift, weight in near]
            wanted.append((_median(wishes) if wishes else self.x[node]) - total)
            weights.append(sum(weight for _, _, weight in near) or _FREE)
        total = 0.0
        for node, step, value in zip(nodes, steps, isotonic(wanted, weights), strict=True):
            total += step
            self.x[node] = value + total

    def frame(self) -> None:
        """Gives each cluster one frame for all its layers, and moves what would stand in it."""
        before, after, order = self._constraints()
        x = self.x
        for first in self.sides.values():
            x[first], x[first + 1] = -math.inf, math.inf
        self._size_frames(before, after, tight=True)
        # Two ways to keep all distances: everything too low moves up, or everything too high down.
        # Distances are linear, so the mean of both keeps them too.
        up, down = list(x), list(x)
        for i in order:
            up[i] = max([up[i], *(up[j] + gap for j, gap in before[i])])
        for i in reversed(order):
            down[i] = min([down[i], *(down[j] - gap for j, gap in after[i])])
        self.x = x = [(a + b) / 2 for a, b in zip(up, down, strict=True)]
        paths = self._paths()
        for turn in range(_ROUNDS):
            # Wide frames let their nodes move, tight ones the nodes around them.
            self._size_frames(before, after, tight=turn % 2 == 1)
            for path in paths:  # the longest ones first: what stands beside them adapts
                self._shift(path, before, after)
        self._size_frames(before, after, tight=True)

    def _paths(self) -> list[list[tuple[int, float]]]:
        """Nodes joined by edges that are the weightiest at both ends: (node, how far aside)."""
        following = {}
        for node, found in enumerate(self.below):
            other = _main(found)
            if other is not None and _main(self.above[other[0]], node) is not None:
                following[node] = other[0], -other[1]
        later = {node for node, _ in following.values()}
        starts = [node for node in range(len(self.below)) if node not in later]
        paths = []
        for node in starts:
            path = [(node, 0.0)]
            while path[-1][0] in following:
                other, shift = following[path[-1][0]]
                path.append((other, path[-1][1] + shift))
            paths.append(path)
        return sorted(paths, key=lambda path: (-len(path), self.ranked.layer[path[0][0]]))

    def _shift(self, path: list[tuple[int, float]], before: _Distances, after: _Distances) -> None:
        """Puts a path on one straight line, or on as few as there is room for."""
        x, piece, low, high = self.x, [], -math.inf, math.inf
        for i, aside in path:
            floor = max((x[j] + gap for j, gap in before[i]), default=-math.inf) - aside
            roof = min((x[j] - gap for j, gap in after[i]), default=math.inf) - aside
            if piece and max(low, floor) > min(high, roof) + _SLACK:
                self._straighten(piece, low, high)
                piece, low, high = [], -math.inf, math.inf
            piece.append((i, aside))
            low, high = max(low, floor), min(high, roof)
        self._straighten(piece, low, high)

    def _straighten(self, path: list[tuple[int, float]], low: float, high: float) -> None:
        x, inside = self.x, {node for node, _ in path}
        wishes = [
            (x[j] + shift - aside, weight)
            for i, aside in path
            for j, shift, weight in self.above[i] + self.below[i]
            if j not in inside
        ]
        if len(path) > 1 or not wishes:  # a path does not run after its parameters
            wishes += [(x[i] - aside, _STAY) for i, aside in path]
        line = min(max(_median(wishes), low), high)
        for i, aside in path:
            x[i] = line + aside

    def _size_frames(self, before: _Distances, after: _Distances, *, tight: bool) -> None:
        """Makes each frame as small as what it holds allows, or as large as what is around it."""
        x, firsts = self.x, list(self.sides.values())
        for first in reversed(firsts) if tight else firsts:
            for side, rising in ((first, tight), (first + 1, not tight)):
                if rising:
                    x[side] = min((x[j] - gap for j, gap in after[side]), default=math.inf)
                else:
                    x[side] = max((x[j] + gap for j, gap in before[side]), default=-math.inf)

    def _constraints(self) -> tuple[_Distances, _Distances, list[int]]:
        """The distances by their second and by their first unknown, and an order along them."""
        before: _Distances = [[] for _ in self.x]
        after: _Distances = [[] for _ in self.x]
        for (a, b), gap in self.gaps.items():
            before[b].append((a, gap))
            after[a].append((b, gap))
        todo = [len(found) for found in before]
        order = [i for i, count in enumerate(todo) if not count]
        for i in order:  # grows as it runs
            for j, _ in after[i]:
                todo[j] -= 1
                if not todo[j]:
                    order.append(j)
        return before, after, order


def _main(
    near: list[tuple[int, float, float]], node: int | None = None
) -> tuple[int, float] | None:
    """The neighbour of the weightiest edge and its shift; None if two weigh alike, or not node."""
    ranked = sorted(near, key=lambda n: -n[2])
    if not ranked or (len(ranked) > 1 and ranked[0][2] == ranked[1][2]):
        return None
    return ranked[0][:2] if node in (None, ranked[0][0]) else None


def _median(wishes: list[tuple[float, float]]) -> float:
    """The weighted median of (place, weight); between two places if half the weight is on each."""
    places = sorted(wishes)
    half, total = sum(weight for _, weight in places) / 2, 0.0
    for i, (place, weight) in enumerate(places):
        total += weight
        if abs(total - half) < 1e-9:
            return (place + places[i + 1][0]) / 2
        if total > half:
            return place
    return places[-1][0]


def isotonic(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The numbers nearest to the wanted ones, by weighted squares, of which none is below the last.

    Pool adjacent violators: neighbours in the wrong order share their weighted mean.

    Args:
        wanted: numbers.
        weights: one for each, positive.

    Returns:
        as many numbers.

    Example:
        >>> isotonic([1.0, 5.0, 3.0, 9.0], [1.0, 1.0, 1.0, 1.0])
        [1.0, 4.0, 4.0, 9.0]

    """
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for value, weight in zip(wanted, weights, strict=True):
        mean, total, count = value, weight, 1
        while pools and pools[-1][0] > mean:
            other, more, others = pools.pop()
            mean = (mean * total + other * more) / (total + more)
            total, count = total + more, count + others
        pools.append((mean, total, count))
    return [mean for mean, _, count in pools for _ in range(count)]
