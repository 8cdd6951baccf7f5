"""A drawing as one SVG: no file, font or script beside it, and no Graphviz to make it."""

from xml.sax import saxutils

from jaxcnn.autodiff.drawing.curves import Point
from jaxcnn.autodiff.drawing.drawings import BOX_COLOURS, LINE_COLOURS, Drawing, check
from jaxcnn.autodiff.drawing.layout import Frame, Placed, PlacedBox, PlacedEdge, place
from jaxcnn.autodiff.drawing.letters import FRAME, LABEL, TEXT, Style, text_width

_LEGEND = {"value": "value", "tangent": "tangent", "adjoint": "adjoint"}
_HEADING = Style(15, 34, bold=True)
_KEY = Style(11, 26)
_SIDE = 20.0  # from the picture's border to its heading and its legend
_ARROW = (8.0, 3.4)  # length and half width of an arrowhead
_FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
# Rules start with the class: in a web page they would else reach everything else on it.
_STYLE = """
.jaxcnn-graph text { font-family: FONT; fill: #333b42; }
.jaxcnn-graph .b { font-weight: bold; }
.jaxcnn-graph .m { text-anchor: middle; }
.jaxcnn-graph .edge { fill: none; stroke: #7b8794; stroke-width: 1.3; }
.jaxcnn-graph .head { fill: #7b8794; }
.jaxcnn-graph .frame { fill: #5f6b76; fill-opacity: 0.06; stroke: #b8c0c8; }
.jaxcnn-graph .behind { fill: #ffffff; fill-opacity: 0.85; }
""".replace("FONT", _FONT)


def to_svg(drawing: Drawing, *, direction: str = "right") -> str:
    """The drawing as a self-contained SVG picture.

    Inputs are blue, outputs orange, constants grey; values are dark, tangents green, adjoints red.

    Args:
        drawing: boxes and edges.
        direction: where edges point: "right" or "down".

    Returns:
        one <svg> element, fit for a file, a web page or a notebook.

    Raises:
        ValueError: as `place` does.

    Example:
        >>> from jaxcnn.autodiff.drawing.layout import Box, Line
        >>> svg = to_svg(Drawing((Box("x", (Line("x < 1"),)),), (), title="one box"))
        >>> "x &lt; 1" in svg, svg.count("<rect")  # the background and the box
        (True, 2)

    """
    check("to_svg", drawing, direction)
    placed = place(drawing, direction=direction)
    top = _HEADING.height if drawing.title else 0.0
    legend = _legend(drawing)
    bottom = _KEY.height if legend else 0.0
    heading = text_width(drawing.title, _HEADING.size, bold=True)
    key = sum(_key_width(kind) for kind in legend)
    width = max(placed.width, max(heading, key) + 2 * _SIDE)
    height = placed.height + top + bottom
    title = _escape(drawing.title or "computational graph")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="jaxcnn-graph" role="img" '
        f'viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" height="{_n(height)}">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{_n(width)}" height="{_n(height)}" fill="#ffffff"/>',
    ]
    if drawing.title:
        colour = LINE_COLOURS["title"]
        parts.append(_text(drawing.title, (_SIDE, 25), _HEADING, colour, middle=False))
    parts.append(f'<g transform="translate({_n((width - placed.width) / 2)} {_n(top)})">')
    parts += _picture(placed, direction)
    parts.append("</g>")
    at = _SIDE
    for kind in legend:
        parts += _key(kind, at, height - 16)
        at += _key_width(kind)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _picture(placed: Placed, direction: str) -> list[str]:
    """Frames at the back, then edges, boxes and, in front of all lines, the labels."""
    parts = [_frame(frame) for frame in placed.frames]
    parts += [_edge(edge, direction) for edge in placed.edges]
    parts += [_box(box) for box in placed.boxes]
    parts += [_label(edge.edge.label, edge.label) for edge in placed.edges if edge.label]
    return parts


def _frame(frame: Frame) -> str:
    name = frame.path.rsplit("/", 1)[-1]
    title = _text(name, (frame.x + 10, frame.y + 15), FRAME, LINE_COLOURS["note"], middle=False)
    return f'<rect {_rectangle(frame[1:], radius=10)} class="frame"/>{title}'


def _box(placed: PlacedBox) -> str:
    box, x, y, width, height, _ = placed
    fill, stroke = BOX_COLOURS[box.kind]
    radius = 6 if box.kind in ("operation", "layer") else min(14.0, height / 2)
    shape = _rectangle((x, y, width, height), radius=radius)
    parts = [f"<g><title>{_escape(box.name)}</title>"]
    parts.append(f'<rect {shape} fill="{fill}" stroke="{stroke}" stroke-width="1.3"/>')
    top = y + (height - sum(TEXT[line.kind].height for line in box.lines)) / 2
    for text, kind in box.lines:
        style = TEXT[kind]
        baseline = top + style.height / 2 + 0.36 * style.size
        parts.append(_text(text, (x + width / 2, baseline), style, LINE_COLOURS[kind]))
        top += style.height
    return "".join([*parts, "</g>"])


def _edge(placed: PlacedEdge, direction: str) -> str:
    """The curve up to the arrowhead, whose tip touches the box."""
    points = list(placed.points)
    (x, y), (length, half) = points[-1], _ARROW
    if direction == "right":
        points[-1] = (x - length + 1, y)
        head = [(x, y), (x - length, y - half), (x - length, y + half)]
    else:
        points[-1] = (x, y - length + 1)
        head = [(x, y), (x - half, y - length), (x + half, y - length)]
    curves = " ".join(f"C{_points(points[i : i + 3])}" for i in range(1, len(points), 3))
    title = _escape(f"{placed.edge.source} → {placed.edge.target}")
    return (
        f'<g><title>{title}</title><path class="edge" d="M{_points(points[:1])} {curves}"/>'
        f'<path class="head" d="M{_points(head)}Z"/></g>'
    )


def _label(text: str, middle: Point) -> str:
    x, y = middle
    width, height = text_width(text, LABEL.size) + 4, LABEL.height
    behind = _rectangle((x - width / 2, y - height / 2, width, height), radius=3)
    drawn = _text(text, (x, y + 4), LABEL, LINE_COLOURS["plain"])
    return f'<rect {behind} class="behind"/>{drawn}'


def _legend(drawing: Drawing) -> list[str]:
    """Which kinds of lines need a key: those in colour, and then the values beside them."""
    used = {line.kind for box in drawing.boxes for line in box.lines}
    return [kind for kind in _LEGEND if kind in used] if used & {"tangent", "adjoint"} else []


def _key_width(kind: str) -> float:
    return text_width(_LEGEND[kind], _KEY.size) + 36


def _key(kind: str, x: float, y: float) -> list[str]:
    colour = LINE_COLOURS[kind]
    return [
        f'<rect {_rectangle((x, y - 9, 10, 10), radius=2)} fill="{colour}"/>',
        _text(_LEGEND[kind], (x + 15, y), _KEY, colour, middle=False),
    ]


def _text(text: str, at: Point, style: Style, colour: str, *, middle: bool = True) -> str:
    names = [name for name, on in (("b", style.bold), ("m", middle)) if on]
    kind = f' class="{" ".join(names)}"' if names else ""
    place = f'x="{_n(at[0])}" y="{_n(at[1])}" font-size="{_n(style.size)}"'
    return f'<text {place}{kind} style="fill:{colour}">{_escape(text)}</text>'


def _rectangle(part: tuple[float, ...], *, radius: float) -> str:
    names = ("x", "y", "width", "height")
    sides = " ".join(f'{name}="{_n(value)}"' for name, value in zip(names, part, strict=True))
    return f'{sides} rx="{_n(radius)}"'


def _points(points: list[Point]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _n(value: float) -> str:
    """A number with at most one decimal, -0 written as 0."""
    return f"{round(value, 1) + 0.0:g}" if abs(value) < 1e5 else f"{value:.1f}"


def _escape(text: str) -> str:
    """For XML, which has no place for control characters either."""
    return saxutils.escape("".join(c if c.isprintable() else " " for c in text))
