"""What a drawing of a directed graph is made of, before anything has a place."""

from collections.abc import Iterable
from typing import NamedTuple

# Fill and border. The colours are tints and lines of the palette that Okabe & Ito (2008), Color
# universal design, chose for people with any colour vision: https://jfly.uni-koeln.de/color/.
BOX_COLOURS = {
    "input": ("#e4f1fb", "#0072b2"),
    "operation": ("#ffffff", "#5f6b76"),
    "output": ("#fdf0d5", "#d98f00"),
    "constant": ("#eeeeee", "#999999"),
    "layer": ("#f6f7f9", "#333f4a"),
}
LINE_COLOURS = {
    "title": "#1a1f24",
    "value": "#1a1f24",
    "tangent": "#009e73",
    "adjoint": "#d55e00",
    "note": "#66707a",
    "plain": "#333b42",
}
DIRECTIONS = ("right", "down")


class Line(NamedTuple):
    """A line of text inside a box; its kind gives colour and weight."""

    text: str
    kind: str = "plain"  # a key of LINE_COLOURS


class Box(NamedTuple):
    """A node: a unique name, which is not shown, and what it shows."""

    name: str
    lines: tuple[Line, ...]
    kind: str = "operation"  # a key of BOX_COLOURS
    group: str = ""  # a path such as "LeNet/conv1"; boxes of one group share a titled frame


class Edge(NamedTuple):
    """An arrow between two boxes, by their names."""

    source: str
    target: str
    label: str = ""


class Drawing(NamedTuple):
    """A directed graph without cycles."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    title: str = ""


def check(caller: str, drawing: Drawing, direction: str) -> None:
    """Raises ValueError, in the caller's name, for a drawing that cannot be drawn.

    Args:
        caller: the function that was called.
        drawing: boxes and edges.
        direction: "right" or "down".

    Raises:
        ValueError: two boxes of one name, an edge that names no box, a cycle, an unknown kind or
            direction.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f'{caller}: direction takes "right" or "down", got {direction!r}.')
    names = set()
    for box in drawing.boxes:
        if box.name in names:
            raise ValueError(f"{caller}: two boxes have the name {box.name!r}.")
        names.add(box.name)
        _check_kind(caller, f"the kind of box {box.name!r}", box.kind, BOX_COLOURS)
        for line in box.lines:
            _check_kind(caller, f"the kind of a line of box {box.name!r}", line.kind, LINE_COLOURS)
    for source, target, _ in drawing.edges:
        for name in (source, target):
            if name not in names:
                raise ValueError(f"{caller}: edge {source} -> {target} names no box {name!r}.")
    cycle = _cycle(drawing)
    if cycle:
        raise ValueError(f"{caller}: edges need to lead onwards, got {' -> '.join(cycle)}.")


def _check_kind(caller: str, what: str, kind: str, kinds: Iterable[str]) -> None:
    if kind not in kinds:
        raise ValueError(f"{caller}: {what} is one of {', '.join(kinds)}, got {kind!r}.")


def _cycle(drawing: Drawing) -> list[str]:
    """The names along a cycle, the first one again at the end; empty if there is none."""
    sources: dict[str, list[str]] = {box.name: [] for box in drawing.boxes}
    todo = dict.fromkeys(sources, 0)
    for source, target, _ in drawing.edges:
        sources[target].append(source)
        todo[source] += 1
    ready = [name for name, count in todo.items() if not count]
    while ready:  # takes away what leads to nothing else, again and again
        name = ready.pop()
        del todo[name]
        for source in sources[name]:
            todo[source] -= 1
            if not todo[source]:
                ready.append(source)
    if not todo:
        return []
    # Every box that is left leads to another one, so some path among them meets itself.
    targets = {source: target for source, target, _ in drawing.edges if target in todo}
    path = [next(iter(todo))]
    while path[-1] not in path[:-1]:
        path.append(targets[path[-1]])
    return path[path.index(path[-1]) :]
