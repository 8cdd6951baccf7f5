"""The first half of drawing a directed graph: which layer a node is in, and where in its layer.

The method is Sugiyama's: layers along the edges, then an order within each layer that has few
crossings. Nodes are numbers here; a cluster is a group's boxes in neighbouring layers.

Reference:
    Sugiyama, Tagawa & Toda (1981), Methods for visual understanding of hierarchical system
    structures. Gansner, Koutsofios, North & Vo (1993), A technique for drawing directed graphs,
    section 3, https://www.graphviz.org/documentation/TSE93.pdf.
"""

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from jaxcnn.autodiff.drawing.layering import layers, neighbours, paths

Cluster = tuple[str, int]  # a group's path, and which of its runs of neighbouring layers
_SWEEPS = 12


class Ranked(NamedTuple):
    """Nodes in layers and in order. The nodes after the first ones stand in for long edges."""

    layer: list[int]
    order: list[list[int]]  # the nodes of each layer, from first to last
    home: list[tuple[Cluster, ...]]  # the clusters that hold a node, the outermost first
    chains: list[list[int]]  # for each edge its nodes: source, one in each layer between, target


def rank(edges: Sequence[tuple[int, int]], groups: Sequence[str]) -> Ranked:
    """Layers and orders of the nodes 0 ... len(groups) - 1 of a graph without cycles.

    Args:
        edges: (source, target) of each edge; two may be alike.
        groups: each node's group, as a path with slashes; "" is none.

    Returns:
        each node's layer and place.

    Example:
        >>> found = rank([(0, 1), (1, 2), (0, 2)], ["", "", ""])
        >>> found.layer  # node 3 carries the edge 0 -> 2 through layer 1
        [0, 1, 2, 1]
        >>> found.chains
        [[0, 1], [1, 2], [0, 3, 2]]

    """
    layer = layers(edges, groups)
    home = _clusters(groups, layer)
    chains = _chains(edges, layer, home)
    _fill(layer, home)
    segments = [pair for chain in chains for pair in pairwise(chain)]
    above, below = neighbours(len(layer), segments)
    found = []
    for nodes in (range(len(layer)), _walk(above, below)):
        order: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
        for node in nodes:
            order[layer[node]].append(node)
        found.append(_Orders(order, home, above, below).best())
    return Ranked(layer, min(found, key=lambda pair: pair[0])[1], home, chains)


def _walk(above: list[list[int]], below: list[list[int]]) -> list[int]:
    """All nodes, each as soon as possible after a neighbour: the other order to start from."""
    seen, order = set(), []
    for start in range(len(above)):
        todo = [start]
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                order.append(node)
                todo += reversed(below[node] + above[node])
    return order


def _clusters(groups: Sequence[str], layer: list[int]) -> list[tuple[Cluster, ...]]:
    """The clusters of each node. A group with two empty layers between its nodes falls apart.

    One frame from a layer's forward pass to its backward pass would enclose half of the drawing.
    """
    within = [paths(group) for group in groups]
    used = defaultdict(set)
    for node, names in enumerate(within):
        for name in names:
            used[name].add(layer[node])
    run = {}
    for name, found in used.items():
        number, last = 0, min(found)
        for at in sorted(found):
            number += at - last > 2
            run[name, at], last = number, at
    return [
        tuple((name, run[name, layer[node]]) for name in names) for node, names in enumerate(within)
    ]


def _chains(
    edges: Sequence[tuple[int, int]], layer: list[int], home: list[tuple[Cluster, ...]]
) -> list[list[int]]:
    """Adds the nodes that carry long edges: inside the clusters of either end, while these last."""
    spans: dict[Cluster, tuple[int, int]] = {}
    for at, inside in zip(layer, home, strict=True):
        for cluster in inside:
            first, last = spans.get(cluster, (at, at))
            spans[cluster] = min(first, at), max(last, at)
    chains = []
    for source, target in edges:
        shared = _common(home[source], home[target])
        first = len(layer)
        for at in range(layer[source] + 1, layer[target]):
            layer.append(at)
            leaving = tuple(c for c in home[source] if at <= spans[c][1])
            arriving = tuple(c for c in home[target] if at >= spans[c][0])
            home.append(max(shared, leaving, arriving, key=len))
        chains.append([source, *range(first, len(layer)), target])
    return chains


def _common(a: tuple[Cluster, ...], b: tuple[Cluster, ...]) -> tuple[Cluster, ...]:
    same = [x == y for x, y in zip(a, b, strict=False)]
    return a[: same.index(False) if False in same else len(same)]


def _fill(layer: list[int], home: list[tuple[Cluster, ...]]) -> None:
    """Adds a node wherever a cluster has none in a layer between its own: it keeps the place."""
    used: dict[tuple[Cluster, ...], set[int]] = {}
    for node, inside in enumerate(home):
        for depth in range(len(inside)):
            used.setdefault(inside[: depth + 1], set()).add(layer[node])
    for inside, found in sorted(used.items(), key=lambda pair: -len(pair[0])):
        for at in range(min(found), max(found)):
            if at not in found:
                layer.append(at)
                home.append(inside)


class _Orders:
    """Sweeps over the layers that look for an order with few crossings."""

    def __init__(
        self,
        order: list[list[int]],
        home: list[tuple[Cluster, ...]],
        above: list[list[int]],
        below: list[list[int]],
    ):
        self.order, self.home, self.above, self.below = order, home, above, below
        self.place = [0.0] * len(home)
        self.clusters: dict[Cluster, float] = {}

    def best(self) -> tuple[int, list[list[int]]]:
        """The fewest crossings of all sweeps, and their order; the first if some are alike."""
        fewest, best, idle = -1, self.order, 0
        for sweep in range(2 * _SWEEPS):
            self._sweep(down=sweep % 2 == 0)
            self._swap()
            crossings = sum(map(self._crossings, range(len(self.order) - 1)))
            idle += 1
            if fewest < 0 or crossings < fewest:
                fewest, best, idle = crossings, [list(nodes) for nodes in self.order], 0
            if not fewest or idle == 6:
                break
        return fewest, best

    def _sweep(self, down: bool) -> None:
        for at in range(len(self.order)):
            self._number(at)
        self._rank_clusters()
        beside = self.above if down else self.below
        indices = range(len(self.order))
        for at in indices if down else reversed(indices):
            keys = {}
            for node in self.order[at]:
                near = [self.place[other] for other in beside[node]]
                keys[node] = sum(near) / len(near) if near else None
            # What has no neighbour on this side stays beside the one that it follows.
            last = 0.0
            for node in self.order[at]:
                last = keys[node] = last if keys[node] is None else keys[node]
            self.order[at] = self._arrange(self.order[at], keys, 0)
            self._number(at)

    def _number(self, at: int) -> None:
        for i, node in enumerate(self.order[at]):
            self.place[node] = i

    def _rank_clusters(self) -> None:
        """One order of all clusters: two that meet in several layers stand alike in each."""
        places = defaultdict(list)
        for nodes in self.order:
            for i, node in enumerate(nodes):
                for cluster in self.home[node]:
                    places[cluster].append((i + 0.5) / len(nodes))
        means = {cluster: sum(found) / len(found) for cluster, found in places.items()}
        ranked = sorted(means, key=lambda cluster: (means[cluster], cluster))
        self.clusters = {cluster: i for i, cluster in enumerate(ranked)}

    def _arrange(self, nodes: list[int], keys: dict[int, float], depth: int) -> list[int]:
        """Nodes sorted by key, those of a cluster together and clusters in their own order."""
        parts: dict[int | Cluster, list[int]] = {}
        for node in nodes:
            inside = self.home[node]
            parts.setdefault(inside[depth] if depth < len(inside) else node, []).append(node)
        means = {part: sum(keys[n] for n in found) / len(found) for part, found in parts.items()}
        ranked = sorted(parts, key=lambda part: means[part])
        clusters = iter(
            sorted((p for p in ranked if p in self.clusters), key=lambda p: self.clusters[p])
        )
        result = []
        for part in ranked:
            if part in self.clusters:
                result += self._arrange(parts[next(clusters)], keys, depth + 1)
            else:
                result.append(part)
        return result

    def _swap(self) -> None:
        """Swaps neighbours of one home as long as that saves crossings."""
        for _ in range(4):
            saved = 0
            for nodes in self.order:
                for i in range(len(nodes) - 1):
                    a, b = nodes[i], nodes[i + 1]
                    if self.home[a] == self.home[b] and (gain := self._gain(a, b)) > 0:
                        nodes[i], nodes[i + 1] = b, a
                        self.place[a], self.place[b] = i + 1, i
                        saved += gain
            if not saved:
                return

    def _gain(self, a: int, b: int) -> int:
        total = 0
        for beside in (self.above, self.below):
            for x in beside[a]:
                for y in beside[b]:
                    total += (self.place[x] > self.place[y]) - (self.place[x] < self.place[y])
        return total

    def _crossings(self, at: int) -> int:
        """How many pairs of edges cross between a layer and the next."""
        seen, total = [], 0
        for node in self.order[at]:
            ends = sorted(self.place[target] for target in self.below[node])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
        return total
