"""Which layer each node of a directed graph is in.

Reference:
    Gansner, Koutsofios, North & Vo (1993), A technique for drawing directed graphs, section 2.
"""

from collections import defaultdict
from collections.abc import Sequence


def layers(edges: Sequence[tuple[int, int]], groups: Sequence[str]) -> list[int]:
    """Each node's layer: as early as its sources allow, inputs just before their first use.

    A node moves towards its targets, with all that serves it alone, where that makes edges shorter
    in sum. A group starts behind all that it takes from outside, its parameters too, so that
    groups one after the other share no layers.

    Args:
        edges: (source, target) of each edge.
        groups: each node's group.

    Returns:
        a number from 0 for each node.

    Example:
        >>> layers([(0, 1), (1, 2), (3, 2)], ["", "", "", ""])  # 3 stands beside 1
        [0, 1, 2, 1]
        >>> layers([(0, 1), (1, 2), (3, 2)], ["", "", "f", "f"])  # 2 and 3 come after 1
        [0, 1, 3, 2]

    """
    count = len(groups)
    arcs = [(source, target, 1) for source, target in edges]
    starts = _starts(edges, groups)
    arcs += starts
    size = max([count, *(max(a, b) + 1 for a, b, _ in starts)])
    above, below = neighbours(size, edges)
    outgoing: list[list[tuple[int, int]]] = [[] for _ in range(size)]
    todo, layer = [0] * size, [0] * size
    for a, b, length in arcs:
        outgoing[a].append((b, length))
        todo[b] += 1
    order = [node for node in range(size) if not todo[node]]
    for node in order:  # grows as it runs
        for target, length in outgoing[node]:
            layer[target] = max(layer[target], layer[node] + length)
            todo[target] -= 1
            if not todo[target]:
                order.append(target)
    for node in reversed(order):
        slack = min((layer[b] - length for b, length in outgoing[node]), default=0) - layer[node]
        if slack <= 0:
            continue
        servants = _servants(node, above, outgoing)
        entering = sum(source not in servants for s in servants for source in above[s])
        if node >= count or entering < len(below[node]):
            for servant in servants:
                layer[servant] += slack
    return layer[:count]


def _starts(edges: Sequence[tuple[int, int]], groups: Sequence[str]) -> list[tuple[int, int, int]]:
    """Arcs (from, to, least length) through one more node per group: its start.

    A group gets none where something outside lies between two of its nodes.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for node, group in enumerate(groups):
        for path in paths(group):
            members[path].append(node)
    reached = defaultdict(set)  # node -> nodes right behind it
    for source, target in edges:
        reached[source].add(target)
    arcs = []
    for i, (_, nodes) in enumerate(members.items()):
        inside, start = set(nodes), len(groups) + i
        entering = {a for a, b in edges if b in inside and a not in inside}
        behind, todo = set(nodes), list(nodes)
        while todo:
            new = reached[todo.pop()] - behind
            behind |= new
            todo += new
        if behind.isdisjoint(entering):
            arcs += [(node, start, 1) for node in sorted(entering)]
            arcs += [(start, node, 0) for node in nodes]
            reached[start] = inside
            for node in entering:
                reached[node].add(start)
    return arcs


def paths(group: str) -> list[str]:
    """A group's path and those of all groups around it, the outermost first.

    Args:
        group: names with slashes between.

    Returns:
        paths.

    Example:
        >>> paths("LeNet/conv1")
        ['LeNet', 'LeNet/conv1']

    """
    names = [name for name in group.split("/") if name]
    return ["/".join(names[: i + 1]) for i in range(len(names))]


def _servants(node: int, above: list[list[int]], outgoing: list[list[tuple[int, int]]]) -> set[int]:
    """The node and all nodes whose every path goes through it."""
    found, todo = {node}, list(above[node])
    while todo:
        candidate = todo.pop()
        targets = {target for target, _ in outgoing[candidate]}
        if candidate not in found and targets <= found:
            found.add(candidate)
            todo += above[candidate]
    return found


def neighbours(
    count: int, edges: Sequence[tuple[int, int]]
) -> tuple[list[list[int]], list[list[int]]]:
    """For each node the sources and the targets of its edges, in the order of the edges.

    Args:
        count: how many nodes.
        edges: (source, target) of each edge.

    Returns:
        what is above each node, and what is below.
    """
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        above[target].append(source)
        below[source].append(target)
    return above, below
