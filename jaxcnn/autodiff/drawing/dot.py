"""A drawing as text in DOT, the language of Graphviz."""

from collections.abc import Iterator
from xml.sax.saxutils import escape

from jaxcnn.autodiff.drawing.drawings import (
    BOX_COLOURS,
    LINE_COLOURS,
    Box,
    Drawing,
    Edge,
    Line,
    check,
)

_RANKDIR = {"right": "LR", "down": "TB"}
_FONT = 'fontname="Helvetica,Arial,sans-serif"'


def to_dot(drawing: Drawing, *, direction: str = "right") -> str:
    """The drawing in DOT: what Graphviz, or any tool that reads DOT, turns into a picture.

    Groups are clusters, nested by their paths. Colours are those of `to_svg`.

    Args:
        drawing: boxes and edges.
        direction: where edges point: "right" or "down".

    Returns:
        a digraph; `dot -Tsvg` draws it.

    Raises:
        ValueError: as `place` does.

    Example:
        >>> from jaxcnn.autodiff.drawing.drawings import Edge
        >>> boxes = (Box("x", (Line("x"),), "input", "f"), Box("y", (Line("x < 1"),)))
        >>> lines = to_dot(Drawing(boxes, (Edge("x", "y", "x"),))).splitlines()
        >>> lines[1:2], lines[-2:]  # and how boxes look, and the cluster of f
        (['  rankdir=LR;'], ['  "x" -> "y" [label="x"];', '}'])

    Reference:
        https://graphviz.org/doc/info/lang.html and https://graphviz.org/doc/info/shapes.html#html.
    """
    check("to_dot", drawing, direction)
    title = _label(drawing.title)
    lines = [
        "digraph {",
        f"  rankdir={_RANKDIR[direction]};",
        f'  graph [{_FONT}, fontsize=13, labelloc=t, labeljust=l, label="{title}"];',
        f'  node [{_FONT}, fontsize=12, shape=box, style="rounded,filled"];',
        f'  edge [{_FONT}, fontsize=11, color="#7b8794", arrowsize=0.7];',
        *_boxes(drawing.boxes),
        *(_edge(edge) for edge in drawing.edges),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _boxes(boxes: tuple[Box, ...]) -> Iterator[str]:
    """Each group's boxes in a cluster inside its parent's, groups in the order of their boxes."""
    groups: dict[tuple[str, ...], list[Box]] = {(): []}
    for box in boxes:
        names = tuple(name for name in box.group.split("/") if name)
        for depth in range(len(names)):
            groups.setdefault(names[: depth + 1], [])
        groups[names].append(box)
    number = {path: i for i, path in enumerate(groups)}

    def within(path: tuple[str, ...], indent: str) -> Iterator[str]:
        for box in groups[path]:
            yield f"{indent}{_id(box.name)} [{_look(box)}];"
        for inner in groups:
            if inner and inner[:-1] == path:
                yield f"{indent}subgraph cluster_{number[inner]} {{"
                yield f'{indent}  label="{_label(inner[-1])}"; style=rounded; color="#b8c0c8";'
                yield from within(inner, indent + "  ")
                yield f"{indent}}}"

    return within((), "  ")


def _look(box: Box) -> str:
    fill, stroke = BOX_COLOURS[box.kind]
    text = "<BR/>".join(_line(line) for line in box.lines if line.text)
    label = f"<{text}>" if text else '""'
    return f'label={label}, fillcolor="{fill}", color="{stroke}"'


def _line(line: Line) -> str:
    """A line in Graphviz's HTML-like text, where &, < and > are XML's."""
    text = escape(line.text)
    bold = f"<B>{text}</B>" if line.kind == "title" else text
    return f'<FONT COLOR="{LINE_COLOURS[line.kind]}">{bold}</FONT>'


def _edge(edge: Edge) -> str:
    label = f' [label="{_label(edge.label)}"]' if edge.label else ""
    return f"  {_id(edge.source)} -> {_id(edge.target)}{label};"


def _id(name: str) -> str:
    """A quoted name. A backslash is doubled, or at the end it would take the quote with it."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _label(text: str) -> str:
    r"""Text inside quotes, where \n, \l, \N and the like would mean something."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
