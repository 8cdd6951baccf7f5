"""Where the boxes, frames and edges of a drawing go: a layered layout that needs no Graphviz."""

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from jaxcnn.autodiff.drawing.alignment import Margins, Segment, align
from jaxcnn.autodiff.drawing.columns import FRAME_PAD, LANE, Columns, title_width
from jaxcnn.autodiff.drawing.curves import Point, Rectangle, bend, label_middles
from jaxcnn.autodiff.drawing.drawings import Box, Drawing, Edge, check
from jaxcnn.autodiff.drawing.drawings import Line as Line  # whoever draws finds all parts here
from jaxcnn.autodiff.drawing.letters import FRAME, LABEL, TEXT, text_width
from jaxcnn.autodiff.drawing.ranks import Cluster, Ranked, rank

PAD = (12.0, 8.0)  # from a box's border to its text, in x and y
_LEAST = (40.0, 32.0)  # width and height of a box
_APART = 22.0  # between the boxes of a layer
_PORTS = 14.0  # between the ends of edges at one box, if there is room
_MARGIN = 20.0


class PlacedBox(NamedTuple):
    """A box and its rectangle; x and y are the upper left corner."""

    box: Box
    x: float
    y: float
    width: float
    height: float
    layer: int


class PlacedEdge(NamedTuple):
    """An edge and its curve: cubic Bezier pieces, so 3 n + 1 points for n pieces."""

    edge: Edge
    points: tuple[Point, ...]
    label: Point | None  # the middle of the label


class Frame(NamedTuple):
    """The frame around a group; its title is the last name of the group's path."""

    path: str
    x: float
    y: float
    width: float
    height: float


class Placed(NamedTuple):
    """A drawing with positions, in pixels, y pointing down."""

    boxes: tuple[PlacedBox, ...]
    edges: tuple[PlacedEdge, ...]
    frames: tuple[Frame, ...]  # the outer ones first
    width: float
    height: float


def place(drawing: Drawing, *, direction: str = "right") -> Placed:
    """Positions of all parts of a drawing, from its inputs on the left (or top) to its outputs.

    Layers by longest paths with inputs next to their use, crossings reduced by barycentres,
    positions by medians. The same drawing always gets the same layout. Boxes of a group that stand
    in neighbouring layers share a frame; a group that turns up again elsewhere gets another one.

    Args:
        drawing: boxes and edges.
        direction: where edges point: "right" or "down".

    Returns:
        rectangles, curves and the total size.

    Raises:
        ValueError: two boxes of one name, an edge that names no box, a cycle, an unknown kind or
            direction.

    Example:
        >>> from jaxcnn.autodiff.drawing.drawings import Line
        >>> boxes = (Box("x", (Line("x"),)), Box("y", (Line("y"),)))
        >>> placed = place(Drawing(boxes, (Edge("x", "y"),)))
        >>> [(b.x, b.y, b.width, b.height) for b in placed.boxes]
        [(20.0, 20.0, 40.0, 32.0), (108.0, 20.0, 40.0, 32.0)]

    Reference:
        Sugiyama, Tagawa & Toda (1981), Methods for visual understanding of hierarchical system
        structures.
    """
    check("place", drawing, direction)
    number = {box.name: i for i, box in enumerate(drawing.boxes)}
    ends = [(number[edge.source], number[edge.target]) for edge in drawing.edges]
    ranked = rank(ends, [box.group for box in drawing.boxes])
    sizes = [box_size(box) for box in drawing.boxes]
    if direction == "down":
        sizes = [(height, width) for width, height in sizes]
    # From here on (along, across): along the edges, and along the layers.
    count = len(sizes)
    across = [size for _, size in sizes] + [0.0] * (len(ranked.home) - count)
    weights = _weights(ranked)
    ports = _ports(ranked, across, weights)
    segments = _segments(ranked, ports, weights, count)
    x, sides = align(ranked, segments, _margins(drawing, ranked, across, direction))
    columns = Columns.of(drawing, ranked, [size for size, _ in sizes], segments, x, direction)
    boxes = [
        (columns.middle(layer) - along / 2, x[i] - width / 2, along, width)
        for i, ((along, width), layer) in enumerate(zip(sizes, ranked.layer, strict=False))
    ]
    curves = [
        _curve(chain, start, end, boxes, x, ranked.layer, columns)
        for chain, (start, end) in zip(ranked.chains, ports, strict=True)
    ]
    frames = _frames(ranked, boxes, sides, columns)
    return _assemble(drawing, ranked, boxes, curves, frames, direction)


def box_size(box: Box) -> tuple[float, float]:
    """Width and height of a box, in pixels: its text and the padding around it."""
    styles = [TEXT[line.kind] for line in box.lines]
    widths = [
        text_width(line.text, style.size, bold=style.bold)
        for line, style in zip(box.lines, styles, strict=True)
    ]
    width = max(widths, default=0.0) + 2 * PAD[0]
    height = sum(style.height for style in styles) + 2 * PAD[1]
    return max(_LEAST[0], width), max(_LEAST[1], height)


def _weights(ranked: Ranked) -> list[float]:
    """How much each edge wants to be straight. A parameter makes way for the main path."""
    computed = {chain[-1] for chain in ranked.chains}
    uses = Counter(chain[0] for chain in ranked.chains)
    found = []
    for chain in ranked.chains:
        parameter = chain[0] not in computed and uses[chain[0]] == 1
        found.append((1.0 if len(chain) == 2 else 0.5) * (0.002 if parameter else 1.0))
    return found


def _ports(ranked: Ranked, across: list[float], weights: list[float]) -> list[tuple[float, float]]:
    """Where each edge starts and ends, from the middles of its boxes: spread, in their order.

    The weightiest edge of a side has the middle, so that the main path runs straight on.
    """
    index = {node: i for nodes in ranked.order for i, node in enumerate(nodes)}
    leaving: dict[int, list[tuple[int, int]]] = {}
    arriving: dict[int, list[tuple[int, int]]] = {}
    for i, chain in enumerate(ranked.chains):
        leaving.setdefault(chain[0], []).append((index[chain[1]], i))
        arriving.setdefault(chain[-1], []).append((index[chain[-2]], i))
    offsets: list[dict[int, float]] = []
    for side in (leaving, arriving):
        found = {}
        for node, edges in side.items():
            edges = [i for _, i in sorted(edges)]
            most = max(weights[i] for i in edges)
            main = [k for k, i in enumerate(edges) if weights[i] == most]
            last = len(edges) - 1
            middle = main[0] if len(main) == 1 else last / 2
            farthest = max(middle, last - middle)
            step = min(_PORTS, 0.32 * across[node] / farthest) if last else 0.0
            found |= {i: (k - middle) * step for k, i in enumerate(edges)}
        offsets.append(found)
    return [(offsets[0][i], offsets[1][i]) for i in range(len(ranked.chains))]


def _segments(
    ranked: Ranked, ports: list[tuple[float, float]], weights: list[float], count: int
) -> list[Segment]:
    """The edges' pieces from layer to layer; those far from both ends should be straight most."""
    found = []
    for chain, (start, end), weight in zip(ranked.chains, ports, weights, strict=True):
        for low, high in pairwise(chain):
            shift = (start if low == chain[0] else 0.0) - (end if high == chain[-1] else 0.0)
            inner = low >= count and high >= count
            found.append(Segment(low, high, shift, 16 * weight if inner else weight))
    return found


def _margins(drawing: Drawing, ranked: Ranked, across: list[float], direction: str) -> Margins:
    half = _APART / 2
    room = [size / 2 + half for size in across]
    for i in range(len(drawing.boxes), len(room)):
        room[i] = LANE / 2
    if direction == "right":  # titles lie above what the frames hold
        return Margins(room, half, FRAME_PAD + FRAME.height, FRAME_PAD, _APART, {})
    titles = {c: title_width(c[0]) for inside in ranked.home for c in inside}
    return Margins(room, half, FRAME_PAD, FRAME_PAD, _APART, titles)


def _curve(
    chain: list[int],
    start: float,
    end: float,
    boxes: list[Rectangle],
    x: list[float],
    layer: list[int],
    columns: Columns,
) -> list[Point]:
    """Straight through each layer, where the nodes keep a lane free, and bent in the gaps."""
    first, last = boxes[chain[0]], boxes[chain[-1]]
    lanes = [x[chain[0]] + start, *(x[node] for node in chain[1:-1]), x[chain[-1]] + end]
    corners = [(first[0] + first[2], lanes[0]), (columns.stops[layer[chain[0]]], lanes[0])]
    for node, lane in zip(chain[1:-1], lanes[1:-1], strict=True):
        corners += [(columns.starts[layer[node]], lane), (columns.stops[layer[node]], lane)]
    corners += [(columns.starts[layer[chain[-1]]], lanes[-1]), (last[0], lanes[-1])]
    return bend(corners)


def _frames(
    ranked: Ranked,
    boxes: list[Rectangle],
    sides: dict[Cluster, tuple[float, float]],
    columns: Columns,
) -> dict[Cluster, Rectangle]:
    """The frames' rectangles, the outer ones first: each around its boxes and inner frames."""
    held: dict[Cluster, list[tuple[float, float]]] = {}
    frames: dict[Cluster, Rectangle] = {}
    for box, inside in zip(boxes, ranked.home, strict=False):
        for cluster in inside:
            held.setdefault(cluster, []).append((box[0], box[0] + box[2]))
    parents = {c: inside[:depth] for inside in ranked.home for depth, c in enumerate(inside)}
    for cluster in sorted(held, key=lambda c: -len(parents[c])):
        before, behind = columns.reach[cluster]
        start = min(a for a, _ in held[cluster]) - before
        stop = max(b for _, b in held[cluster]) + behind
        low, high = sides[cluster]
        frames[cluster] = (start, low, stop - start, high - low)
        for parent in parents[cluster][-1:]:
            held[parent].append((start, stop))
    return dict(reversed(frames.items()))


def _assemble(
    drawing: Drawing,
    ranked: Ranked,
    boxes: list[Rectangle],
    curves: list[list[Point]],
    frames: dict[Cluster, Rectangle],
    direction: str,
) -> Placed:
    """Turns (along, across) into (x, y), moves all into the first quadrant, places the labels."""
    parts = [*boxes, *frames.values()]
    ends = [(a, b) for a, b, _, _ in parts] + [(a + c, b + d) for a, b, c, d in parts]
    ends += [point for curve in curves for point in curve]
    x0, y0 = (min((end[axis] for end in ends), default=0.0) - _MARGIN for axis in (0, 1))
    width = max((end[0] for end in ends), default=0.0) - x0 + _MARGIN
    height = max((end[1] for end in ends), default=0.0) - y0 + _MARGIN

    def turn(a: float, b: float) -> Point:
        return (a, b) if direction == "right" else (b, a)

    def rectangle(part: Rectangle) -> Rectangle:
        return (*turn(part[0] - x0, part[1] - y0), *turn(part[2], part[3]))

    rectangles = [rectangle(part) for part in boxes]
    points = [tuple(turn(a - x0, b - y0) for a, b in curve) for curve in curves]
    widths = [text_width(edge.label, LABEL.size) for edge in drawing.edges]
    labels = label_middles(points, widths, rectangles)
    return Placed(
        tuple(
            PlacedBox(box, *part, layer)
            for box, part, layer in zip(drawing.boxes, rectangles, ranked.layer, strict=False)
        ),
        tuple(map(PlacedEdge, drawing.edges, points, labels)),
        tuple(Frame(cluster[0], *rectangle(part)) for cluster, part in frames.items()),
        *turn(width, height),
    )
