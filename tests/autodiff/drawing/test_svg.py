import re
import xml.etree.ElementTree as ElementTree

import pytest

from jaxcnn.autodiff.drawing.drawings import BOX_COLOURS, LINE_COLOURS
from jaxcnn.autodiff.drawing.layout import Box, Drawing, Edge, Line, place
from jaxcnn.autodiff.drawing.letters import text_width
from jaxcnn.autodiff.drawing.svg import to_svg

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "<b a='1' b=\"2\"> & ]]> v̄₄ × ∂"

PRODUCT = Drawing(
    (
        Box(
            "x", (Line("x", "title"), Line("3", "value"), Line("ẋ = 1", "tangent")), "input", "a/b"
        ),
        Box("y", (Line("x × x", "title"), Line("9", "value"), Line("ȳ = 1", "adjoint")), "output"),
        Box("c", (Line("2", "note"),), "constant", "a/c"),
    ),
    (Edge("x", "y", "x = 3"), Edge("x", "y", "x = 3"), Edge("c", "y")),
    "y = x²",
)


def parsed(drawing, **options):
    return ElementTree.fromstring(to_svg(drawing, **options))


def texts(root):
    return [element.text for element in root.iter(SVG + "text")]


def rectangles(root, name=None):
    return [
        tuple(float(element.get(key, 0)) for key in ("x", "y", "width", "height"))
        for element in root.iter(SVG + "rect")
        if element.get("class") == name
    ]


@pytest.mark.parametrize("direction", ["right", "down"])
def test_svg_shows_every_part(direction):
    root = parsed(PRODUCT, direction=direction)
    assert root.tag == SVG + "svg"
    assert root.get("role") == "img"
    assert root.find(SVG + "title").text == "y = x²"
    shown = texts(root)
    assert shown[0] == "y = x²"
    for box in PRODUCT.boxes:
        for line in box.lines:
            assert line.text in shown
    assert shown.count("x = 3") == 2
    assert {"a", "b", "c"} <= set(shown)  # the frames' titles
    assert shown[-3:] == ["value", "tangent", "adjoint"]
    paths = [element.get("class") for element in root.iter(SVG + "path")]
    assert paths.count("edge") == paths.count("head") == 3


def test_svg_is_where_the_layout_says():
    root, placed = parsed(PRODUCT), place(PRODUCT)
    drawn = rectangles(root)
    for box in placed.boxes:
        expected = (box.x, box.y, box.width, box.height)
        assert any(found == pytest.approx(expected, abs=0.051) for found in drawn)
    frames = rectangles(root, "frame")
    expected = [(f.x, f.y, f.width, f.height) for f in placed.frames]
    assert frames == [pytest.approx(frame, abs=0.051) for frame in expected]
    heads = [e.get("d") for e in root.iter(SVG + "path") if e.get("class") == "head"]
    for head, edge in zip(heads, placed.edges, strict=True):
        tip = [float(number) for number in re.findall(r"-?[\d.]+", head)[:2]]
        assert tip == pytest.approx(list(edge.points[-1]), abs=0.051)


@pytest.mark.parametrize("direction", ["right", "down"])
def test_svg_text_is_inside_the_picture(direction):
    long = "a title that is a good deal longer than its picture is wide"
    root = parsed(PRODUCT._replace(title=long), direction=direction)
    width, height = (float(value) for value in root.get("viewBox").split()[2:])
    assert (width, height) == (float(root.get("width")), float(root.get("height")))
    (group,) = (element for element in root if element.tag == SVG + "g")
    aside, below = map(float, re.findall(r"[\d.]+", group.get("transform")))
    moved = set(group.iter())
    for element in root.iter(SVG + "text"):
        dx, dy = (aside, below) if element in moved else (0, 0)
        names = (element.get("class") or "").split()
        length = text_width(element.text, float(element.get("font-size")), bold="b" in names)
        start = float(element.get("x")) + dx - (length / 2 if "m" in names else 0)
        assert start >= 0
        assert start + length <= width
        assert 10 <= float(element.get("y")) + dy <= height


def test_svg_is_self_contained():
    svg = to_svg(PRODUCT)
    assert not re.findall(r"<(script|image|link|use|foreignObject|a)\b", svg)
    assert not re.findall(r"href|url\(|@import|@font-face|\bon\w+=|\bid=", svg)
    assert re.findall(r"https?:[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
    style = ElementTree.fromstring(svg).find(SVG + "style").text
    rules = [line for line in style.splitlines() if line]
    assert rules
    assert all(rule.startswith(".jaxcnn-graph ") for rule in rules)  # none reaches a page's rest


def test_svg_escapes():
    drawing = Drawing(
        (Box(NASTY, (Line(NASTY),), group=NASTY), Box("y", ())), (Edge(NASTY, "y", NASTY),), NASTY
    )
    root = parsed(drawing)
    name = NASTY.rsplit("/", 1)[-1]
    assert texts(root) == [NASTY, name, NASTY, NASTY]
    titles = [element.text for element in root.iter(SVG + "title")]
    assert titles == [NASTY, f"{NASTY} → y", NASTY, "y"]


def test_svg_colours_by_kind():
    for kind, (fill, stroke) in BOX_COLOURS.items():
        (box,) = (
            element
            for element in parsed(Drawing((Box("x", (), kind),), ())).iter(SVG + "rect")
            if element.get("stroke")
        )
        assert (box.get("fill"), box.get("stroke")) == (fill, stroke)
    for kind, colour in LINE_COLOURS.items():
        root = parsed(Drawing((Box("x", (Line("1", kind),)),), ()))
        assert next(root.iter(SVG + "text")).get("style") == f"fill:{colour}"
    assert LINE_COLOURS["tangent"] == "#009e73"
    assert LINE_COLOURS["adjoint"] == "#d55e00"


def test_svg_has_a_legend_only_for_colours():
    values = Drawing((Box("x", (Line("1", "value"),)),), ())
    assert texts(parsed(values)) == ["1"]
    adjoints = Drawing((Box("x", (Line("1", "adjoint"),)),), ())
    assert texts(parsed(adjoints)) == ["1", "adjoint"]


def test_svg_of_nothing():
    root = parsed(Drawing((), ()))
    assert texts(root) == []
    assert root.find(SVG + "title").text == "computational graph"


def test_svg_errors():
    with pytest.raises(ValueError, match=r"^to_svg: edge x -> y names no box 'y'\.$"):
        to_svg(Drawing((Box("x", ()),), (Edge("x", "y"),)))
    with pytest.raises(ValueError, match=r"^to_svg: two boxes have the name 'x'\.$"):
        to_svg(Drawing((Box("x", ()), Box("x", ())), ()))
    with pytest.raises(ValueError, match=r"^to_svg: direction takes .*, got 'left'\.$"):
        to_svg(PRODUCT, direction="left")


def test_control_characters_leave_valid_xml():
    drawing = Drawing((Box("x\x1b", (Line("a\x00b\nc"),)),), ())
    assert "a b c" in "".join(parsed(drawing).itertext())
