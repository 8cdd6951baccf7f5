"""One self-contained HTML page: headings, text, tables and pictures, all inside the file.

It opens from disk with no network and no script: the style stands in the page, pictures are data.
"""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Picture(NamedTuple):
    """A PNG file on the page."""

    path: Path
    alt: str
    """What it shows, for those who do not see it."""
    caption: str = ""


class Table(NamedTuple):
    """Rows of text under their columns' names; numbers may be aligned at the right."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False
    """Whether it opens on request: for tables longer than a screen."""


class Section(NamedTuple):
    """A heading and what stands under it, in order."""

    title: str
    text: str
    parts: Sequence[Picture | Table] = ()


def write_page(path: Path, title: str, summary: str, sections: Sequence[Section]) -> Path:
    """Write a page.

    Args:
        path: the file; one that exists is replaced.
        title: the page's, and its first heading.
        summary: a sentence or two under it.
        sections: what follows; each is a link in the navigation.

    Returns:
        the path.

    Raises:
        FileNotFoundError: a picture that is not there.
    """
    anchors = [f"s{i + 1}" for i in range(len(sections))]
    links = "".join(
        f'<li><a href="#{anchor}">{html.escape(section.title)}</a></li>'
        for anchor, section in zip(anchors, sections, strict=True)
    )
    body = "".join(map(_section, anchors, sections))
    style = Path(__file__).with_name("page.css").read_text("utf-8")
    path.write_text(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the report</a>\n'
        f"<header><h1>{html.escape(title)}</h1><p>{html.escape(summary)}</p>"
        f'<nav aria-label="Sections"><ol>{links}</ol></nav></header>\n'
        f'<main id="main" tabindex="-1">{body}</main>\n</body>\n</html>\n',
        encoding="utf-8",
    )
    return path


def _section(anchor: str, section: Section) -> str:
    parts = "".join(
        _picture(part) if isinstance(part, Picture) else _table(part) for part in section.parts
    )
    text = "".join(f"<p>{html.escape(line)}</p>" for line in section.text.splitlines() if line)
    return (
        f'\n<section aria-labelledby="{anchor}"><h2 id="{anchor}">{html.escape(section.title)}'
        f"</h2>{text}{parts}</section>"
    )


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
    caption = f"<figcaption>{html.escape(picture.caption)}</figcaption>" if picture.caption else ""
    # What is wider than the page scrolls by itself, with the keyboard too.
    return (
        f'\n<figure><div class="wide" tabindex="0" role="region" '
        f'aria-label="{html.escape(picture.path.stem.replace("_", " "))}">'
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(picture.alt)}"></div>'
        f"{caption}</figure>"
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(c)}</th>' for c in table.columns)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    caption = html.escape(table.caption)
    drawn = (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table>'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
        "</table></div>"
    )
    if table.folded:
        return f"\n<details><summary>{caption}</summary>{drawn}</details>"
    return f"\n{drawn}"
