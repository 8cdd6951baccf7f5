import os
import random
import re
import subprocess
import sys
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest

from jaxcnn.autodiff.drawing.alignment import isotonic
from jaxcnn.autodiff.drawing.curves import LABEL_HEIGHT, along
from jaxcnn.autodiff.drawing.layering import layers
from jaxcnn.autodiff.drawing.layout import PAD, Box, Drawing, Edge, Line, place
from jaxcnn.autodiff.drawing.letters import LABEL, TEXT, text_width
from jaxcnn.autodiff.drawing.ranks import rank

EPSILON = 1e-6  # pixels


def chain(*names, group=""):
    boxes = tuple(Box(name, (Line(name),), group=group) for name in names)
    return Drawing(boxes, tuple(Edge(a, b) for a, b in pairwise(names)))


def textbook():
    """y = ln(x1) + x1 x2 - sin(x2), the figure of Baydin et al. (2018), section 3."""
    texts = {
        "x1": "v₋₁ = x₁ = 2",
        "x2": "v₀ = x₂ = 5",
        "ln": "v₁ = ln v₋₁",
        "mul": "v₂ = v₋₁ × v₀",
        "sin": "v₃ = sin v₀",
        "add": "v₄ = v₁ + v₂",
        "sub": "v₅ = v₄ − v₃",
    }
    boxes = tuple(
        Box(name, (Line(text, "title"), Line("v̄ = 5.5", "adjoint"), Line("v̇ = ½", "tangent")))
        for name, text in texts.items()
    )
    edges = (
        Edge("x1", "ln", "1/v₋₁ = 0.5"),
        Edge("x1", "mul", "v₀ = 5"),
        Edge("x2", "mul", "v₋₁ = 2"),
        Edge("x2", "sin", "cos v₀ = 0.284"),
        Edge("ln", "add", "1"),
        Edge("mul", "add", "1"),
        Edge("add", "sub", "1"),
        Edge("sin", "sub", "−1"),
    )
    return Drawing(boxes, edges, "y")


def sequential(count=4):
    """Layers in groups, each with a parameter of its own: what a CNN looks like."""
    boxes, edges = [Box("x", (Line("x"),), "input")], []
    for i in range(count):
        group = f"net/layer{i}"
        boxes += [
            Box(f"w{i}", (Line("kernel"),), "input", group),
            Box(f"conv{i}", (Line("conv", "title"), Line("28 × 28 × 6", "note")), group=group),
            Box(f"relu{i}", (Line("relu"),), group=group),
        ]
        edges += [
            Edge(f"relu{i - 1}" if i else "x", f"conv{i}"),
            Edge(f"w{i}", f"conv{i}", "W"),
            Edge(f"conv{i}", f"relu{i}"),
        ]
    return Drawing(tuple(boxes), tuple(edges), "net")


def scattered(seed, count=40, groups=True):
    """A random graph whose groups lie across each other, with parallel edges and labels."""
    draw = random.Random(seed)
    boxes, edges = [], []
    for i in range(count):
        group = f"net/part{i // 15}/piece{draw.randrange(3)}" if groups and i % 5 else ""
        text = draw.choice(["conv", "relu", "+", "batch norm", "v̄₄ = ∂y/∂v₄ × √2"])
        boxes.append(Box(f"n{i}", (Line(text, "title"), Line(f"{i / 7:.3f}")), group=group))
        for _ in range(draw.randrange(3) if i else 0):
            source = max(0, i - 1 - int(draw.expovariate(0.15)))
            edges.append(Edge(f"n{source}", f"n{i}", draw.choice(["", "", "x", "∂/∂x = 0.25"])))
    return Drawing(tuple(boxes), tuple(edges))


DRAWINGS = {
    "textbook": textbook(),
    "sequential": sequential(),
    "one": chain("x"),
    "none": Drawing((), ()),
    "skip": chain("a", "b", "c", "d")._replace(
        edges=(Edge("a", "b"), Edge("b", "c"), Edge("c", "d"), Edge("a", "d"))
    ),
    "square": Drawing(chain("x", "y").boxes, (Edge("x", "y", "x"), Edge("x", "y", "x"))),
    **{f"scattered {seed}": scattered(seed) for seed in range(4)},
    "no groups": scattered(9, groups=False),
}


@cache
def placed_as(name, direction):
    return place(DRAWINGS[name], direction=direction)


CASES = [(name, direction) for name in DRAWINGS for direction in ("right", "down")]
each_case = pytest.mark.parametrize(("name", "direction"), CASES)


def rectangle(part):
    return part.x, part.y, part.x + part.width, part.y + part.height


def overlap(a, b):
    return all(min(a[i + 2], b[i + 2]) - max(a[i], b[i]) > EPSILON for i in (0, 1))


def holds(outer, inner):
    return all(outer[i] <= inner[i] and inner[i + 2] <= outer[i + 2] for i in (0, 1))


def label_rectangle(edge):
    (x, y), width = edge.label, text_width(edge.edge.label, LABEL.size)
    return x - width / 2, y - LABEL_HEIGHT / 2, x + width / 2, y + LABEL_HEIGHT / 2


@each_case
def test_boxes_stand_apart_and_inside_the_picture(name, direction):
    placed = placed_as(name, direction)
    assert [part.box for part in placed.boxes] == list(DRAWINGS[name].boxes)
    parts = [rectangle(part) for part in placed.boxes]
    assert not [pair for pair in combinations(parts, 2) if overlap(*pair)]
    whole = (0, 0, placed.width, placed.height)
    assert all(holds(whole, part) for part in [*parts, *map(rectangle, placed.frames)])
    points = [point for edge in placed.edges for point in edge.points]
    assert all(0 <= x <= placed.width and 0 <= y <= placed.height for x, y in points)


@each_case
def test_text_fits_its_box(name, direction):
    for part in placed_as(name, direction).boxes:
        for text, kind in part.box.lines:
            style = TEXT[kind]
            assert (
                text_width(text, style.size, bold=style.bold) <= part.width - 2 * PAD[0] + EPSILON
            )
        heights = sum(TEXT[line.kind].height for line in part.box.lines)
        assert heights <= part.height - 2 * PAD[1] + EPSILON


@each_case
def test_edges_lead_from_border_to_border_and_forward(name, direction):
    placed = placed_as(name, direction)
    boxes = {part.box.name: part for part in placed.boxes}
    axis = 0 if direction == "right" else 1
    assert [part.edge for part in placed.edges] == list(DRAWINGS[name].edges)
    for edge in placed.edges:
        source, target = boxes[edge.edge.source], boxes[edge.edge.target]
        assert source.layer < target.layer
        a, b, start, end = rectangle(source), rectangle(target), edge.points[0], edge.points[-1]
        assert abs(start[axis] - a[axis + 2]) < EPSILON
        assert abs(end[axis] - b[axis]) < EPSILON
        other = 1 - axis
        assert a[other] < start[other] < a[other + 2]
        assert b[other] < end[other] < b[other + 2]
        assert len(edge.points) % 3 == 1
        assert all(p[axis] <= q[axis] + EPSILON for p, q in pairwise(edge.points))
        # The arrowhead points along the last tangent, so that lies along the axis.
        assert abs(edge.points[-1][other] - edge.points[-2][other]) < EPSILON


@each_case
def test_edges_and_labels_cover_no_box(name, direction):
    placed = placed_as(name, direction)
    for edge in placed.edges:
        pieces = range(len(edge.points) // 3)
        points = [along(edge.points, piece, t / 8) for piece in pieces for t in range(9)]
        for part in placed.boxes:
            x0, y0, x1, y1 = rectangle(part)
            inside = (EPSILON < x - x0 < x1 - x0 - EPSILON and y0 < y < y1 for x, y in points)
            if part.box.name not in edge.edge[:2]:
                assert not any(inside), (edge.edge, part.box.name)
            if edge.label is not None:
                assert not overlap(label_rectangle(edge), rectangle(part))
        assert (edge.label is None) == (edge.edge.label == "")
        if edge.label is not None:
            points = [along(edge.points, piece, t / 100) for piece in pieces for t in range(101)]
            assert np.hypot(*(np.array(points) - edge.label).T).min() < 5


@pytest.mark.parametrize("direction", ["right", "down"])
def test_labels_stand_apart(direction):
    for drawing in (textbook(), sequential(), DRAWINGS["square"]):
        placed = place(drawing, direction=direction)
        labels = [label_rectangle(edge) for edge in placed.edges if edge.label is not None]
        assert not [pair for pair in combinations(labels, 2) if overlap(*pair)]


@each_case
def test_frames_hold_their_group_and_nothing_else(name, direction):
    placed = placed_as(name, direction)
    frames = [(frame.path, rectangle(frame)) for frame in placed.frames]
    for part in placed.boxes:
        group, here = part.box.group, rectangle(part)
        for path, frame in frames:
            if overlap(frame, here):
                assert (group + "/").startswith(path + "/"), (part.box.name, path)
        if group:
            assert sum(path == group and holds(frame, here) for path, frame in frames) == 1
    for (a, first), (b, second) in combinations(frames, 2):
        if overlap(first, second):
            assert b.startswith(a + "/"), (a, b)  # the outer one is drawn first
            assert holds(first, second)


def test_groups_in_a_row_share_no_layer():
    placed = place(sequential(), direction="down")
    used = {}
    for part in placed.boxes:
        used.setdefault(part.box.group, set()).add(part.layer)
    assert len(used) == 5
    assert sum(map(len, used.values())) == len(set().union(*used.values()))
    assert placed.frames[0].path == "net"
    assert len(placed.frames) == 5


def test_a_group_that_turns_up_again_gets_another_frame():
    middle = chain(*"bcdef")
    boxes = (Box("a", (), group="g"), *middle.boxes, Box("z", (), group="g"))
    edges = (Edge("a", "b"), *middle.edges, Edge("f", "z"), Edge("a", "z"))
    assert [frame.path for frame in place(Drawing(boxes, edges)).frames] == ["g", "g"]
    near = (Edge("a", "b"), Edge("b", "z"))
    boxes = (boxes[0], boxes[1], boxes[-1])
    assert [frame.path for frame in place(Drawing(boxes, near)).frames] == ["g"]


def test_the_main_path_and_long_edges_are_straight():
    for direction in ("right", "down"):
        placed = place(sequential(), direction=direction)
        middles = {
            part.box.name: part.y + part.height / 2
            if direction == "right"
            else part.x + part.width / 2
            for part in placed.boxes
        }
        for i in range(4):
            assert abs(middles[f"conv{i}"] - middles[f"relu{i}"]) < EPSILON
    names = [f"c{i}" for i in range(8)]
    straight = chain(*names)
    skip = straight._replace(edges=(*straight.edges, Edge("c0", "c7")))
    placed = place(skip)
    assert len({round(part.y + part.height / 2, 6) for part in placed.boxes}) == 1
    lanes = [point[1] for point in placed.edges[-1].points]
    assert len({round(y, 6) for y in lanes[3:-3]}) == 1
    assert np.ptp(lanes) > 20


def test_parallel_edges_are_drawn_apart():
    first, second = place(DRAWINGS["square"]).edges
    assert abs(first.points[0][1] - second.points[0][1]) > 5
    assert abs(first.points[-1][1] - second.points[-1][1]) > 5
    assert abs(first.label[1] - second.label[1]) > 5 or abs(first.label[0] - second.label[0]) > 10


def test_layers_are_longest_paths_with_inputs_near():
    assert layers([(0, 1), (1, 2), (0, 2)], [""] * 3) == [0, 1, 2]
    # 3 -> 4 -> 2: what serves a late node alone stands right before it.
    assert layers([(0, 1), (1, 5), (5, 6), (6, 2), (3, 4), (4, 2)], [""] * 7)[3:5] == [2, 3]
    # Node 1 takes two inputs that are used early anyway, so it stays.
    edges = [(0, 1), (2, 1), (0, 3), (2, 3), (3, 4), (4, 5), (1, 5)]
    assert layers(edges, [""] * 6)[1] == 1


def test_crossings_of_a_tangled_ladder_are_undone():
    # A ladder of 5 strands, each layer listed in another order, has a drawing without crossings.
    draw, strands, names = random.Random(0), 5, []
    for layer in range(6):
        row = [f"{strand}.{layer}" for strand in range(strands)]
        draw.shuffle(row)
        names += row
    number = {name: i for i, name in enumerate(names)}
    edges = [
        (number[f"{a}.{layer}"], number[f"{b}.{layer + 1}"])
        for layer in range(5)
        for a in range(strands)
        for b in (a, a + 1)
        if b < strands
    ]
    found = rank(edges, [""] * len(names))
    place_of = {node: i for nodes in found.order for i, node in enumerate(nodes)}
    crossings = sum(
        found.layer[a] == found.layer[c]
        and (place_of[a] - place_of[c]) * (place_of[b] - place_of[d]) < 0
        for (a, b), (c, d) in combinations(edges, 2)
    )
    assert crossings == 0


def test_isotonic_is_the_nearest_rising_sequence():
    draw = np.random.default_rng(0)
    wanted, weights = draw.normal(size=7), draw.uniform(0.1, 2, size=7)
    found = np.array(isotonic(list(wanted), list(weights)))
    assert (np.diff(found) >= 0).all()

    def cost(x):
        return (weights * (x - wanted) ** 2).sum()

    for _ in range(2000):
        other = np.sort(found + draw.normal(size=7) * draw.choice([0.01, 0.1, 1]))
        assert cost(found) <= cost(other)


SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:]
from test_layout import place, scattered
print(place(scattered(3)))
"""


def test_layout_is_deterministic():
    drawing = scattered(3)
    here = place(drawing)
    assert place(drawing) == here
    # Sets of strings have another order in each process; none may reach the drawing.
    for seed in ("1", "2"):
        command = [sys.executable, "-c", SCRIPT, os.path.dirname(__file__)]
        ran = subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True
        )
        assert ran.stdout.strip() == str(here), ran.stderr


def test_text_width():
    assert text_width("", 12) == 0
    assert text_width("v̄₄", 10) == pytest.approx(5.92 + 0.7 * 6.36)
    assert text_width("v̇", 10) == text_width("v", 10)
    assert text_width("é", 10) == text_width("e", 10)
    assert text_width("ab", 20) == 2 * text_width("ab", 10)
    assert text_width("ab", 10, bold=True) > text_width("ab", 10)
    assert text_width("積", 10) == 10
    for letter in "∂×−√αβ₀²ᵀ→≤…∞Σ∇":  # DejaVu Sans's own widths, from its file
        assert 2.5 < text_width(letter, 10) <= 10 or letter == "…"


ERRORS = [
    (
        Drawing((Box("x", ()),), (Edge("x", "y"),)),
        "edge x -> y names no box 'y'.",
    ),
    (Drawing((Box("y", ()),), (Edge("x", "y"),)), "edge x -> y names no box 'x'."),
    (Drawing((Box("x", ()), Box("x", ())), ()), "two boxes have the name 'x'."),
    (
        Drawing(chain(*"xabc").boxes, tuple(Edge(*pair) for pair in ("xa", "ab", "bc", "ca"))),
        "edges need to lead onwards, got a -> b -> c -> a.",
    ),
    (
        Drawing((Box("x", ()),), (Edge("x", "x"),)),
        "edges need to lead onwards, got x -> x.",
    ),
    (
        Drawing((Box("x", (), "leaf"),), ()),
        "the kind of box 'x' is one of input, operation, output, constant, layer, got 'leaf'.",
    ),
    (
        Drawing((Box("x", (Line("1", "number"),)),), ()),
        "the kind of a line of box 'x' is one of title, value, tangent, adjoint, note, plain, "
        "got 'number'.",
    ),
]


@pytest.mark.parametrize(("drawing", "message"), ERRORS)
def test_errors(drawing, message):
    with pytest.raises(ValueError, match="^" + re.escape(f"place: {message}") + "$"):
        place(drawing)


def test_direction_errors():
    with pytest.raises(ValueError, match='place: direction takes "right" or "down", got \'up\''):
        place(chain("x"), direction="up")
