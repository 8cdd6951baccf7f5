import re

import pytest

from jaxcnn.autodiff.drawing.dot import to_dot
from jaxcnn.autodiff.drawing.drawings import BOX_COLOURS, LINE_COLOURS, Box, Drawing, Edge, Line

QUOTED = r'"(?:[^"\\]|\\.)*"'


def box(name, *texts, kind="operation", group=""):
    return Box(name, tuple(Line(text) for text in texts), kind, group)


def unquote(text):
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def nesting(dot):
    """The names of the clusters around each box."""
    around, inside, found = [], False, {}
    for line in dot.splitlines():
        if line.strip().startswith("subgraph"):
            inside = True
        elif inside:
            around.append(unquote(re.search(rf"label=({QUOTED})", line)[1]))
            inside = False
        elif line.strip() == "}" and around:
            around.pop()
        elif match := re.match(rf"\s*({QUOTED}) \[label=", line):
            found[unquote(match[1])] = tuple(around)
    return found


def test_dot_of_a_small_graph():
    drawing = Drawing(
        (box("x", "x", "3", kind="input"), box("y")), (Edge("x", "y", "w"), Edge("x", "y")), "f"
    )
    fill, stroke = BOX_COLOURS["input"]
    font = f'<FONT COLOR="{LINE_COLOURS["plain"]}">'
    lines = to_dot(drawing).splitlines()
    assert lines[0] == "digraph {"
    assert lines[1] == "  rankdir=LR;"
    assert 'label="f"' in lines[2]
    assert lines[5] == (
        f'  "x" [label=<{font}x</FONT><BR/>{font}3</FONT>>, fillcolor="{fill}", color="{stroke}"];'
    )
    assert lines[6].startswith('  "y" [label="", ')
    assert lines[7:] == ['  "x" -> "y" [label="w"];', '  "x" -> "y";', "}"]
    assert "  rankdir=TB;" in to_dot(drawing, direction="down").splitlines()


def test_dot_colours_and_weights_by_kind():
    for kind, colour in LINE_COLOURS.items():
        dot = to_dot(Drawing((Box("x", (Line("1", kind),)),), ()))
        text = "<B>1</B>" if kind == "title" else "1"
        assert f'label=<<FONT COLOR="{colour}">{text}</FONT>>' in dot


def test_dot_clusters_are_nested_by_path():
    groups = {
        "x": "",
        "c": "net/conv1",
        "r": "net/conv1/relu",
        "d": "net",
        "e": "other",
        "f": "net/conv1",
    }
    drawing = Drawing(tuple(box(name, name, group=group) for name, group in groups.items()), ())
    dot = to_dot(drawing)
    assert nesting(dot) == {
        name: tuple(group.split("/")) if group else () for name, group in groups.items()
    }
    clusters = re.findall(r"subgraph (\w+) \{", dot)
    assert len(clusters) == len(set(clusters)) == 4
    assert all(cluster.startswith("cluster_") for cluster in clusters)  # else none is drawn
    assert dot.count("{") == dot.count("}") == 5


def test_dot_escapes():
    name = 'a "quoted\\" <name> & \\'
    text = '<b> & "v̄₄" \\n'
    drawing = Drawing((box(name, text, group=text), box("y")), (Edge(name, "y", name),), text)
    dot = to_dot(drawing)
    assert '&lt;b&gt; &amp; "v̄₄" \\n</FONT>' in dot
    (edge,) = (line for line in dot.splitlines() if "->" in line)
    source, target, label = re.fullmatch(
        rf"  ({QUOTED}) -> ({QUOTED}) \[label=({QUOTED})\];", edge
    ).groups()
    assert [unquote(part) for part in (source, target, label)] == [name, "y", name]
    assert nesting(dot)[name] == (text,)
    assert 'label="line one\\nline two"' in to_dot(Drawing((), (), "line one\nline two"))


def test_dot_errors():
    with pytest.raises(ValueError, match=r"^to_dot: edge x -> y names no box 'y'\.$"):
        to_dot(Drawing((box("x"),), (Edge("x", "y"),)))
    with pytest.raises(ValueError, match=r"^to_dot: edges need to lead onwards, got x -> x\.$"):
        to_dot(Drawing((box("x"),), (Edge("x", "x"),)))
    with pytest.raises(ValueError, match=r"^to_dot: direction takes .*, got 'LR'\.$"):
        to_dot(Drawing((), ()), direction="LR")
