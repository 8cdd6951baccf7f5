"""A trace as aligned text, as rich's tables, as Markdown, LaTeX and HTML: one list of rows."""

import html as escaping
import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxcnn.autodiff.traces.notation import format_value, latex, text, value_latex

WIDEST = 48  # columns that the cells of one line can make all others wait for


class Section(NamedTuple):
    """One table: rows of name, formula, numbers put in (or nothing) and value."""

    title: str
    rows: list[tuple[str, str, str, str]]


def sections(
    trace: Any, write: Callable[..., str] = text, show: Callable[..., str] = format_value
) -> list[Section]:
    """The tables of a trace, cells written by `write` (formulas) and `show` (values)."""

    def rows(lines: Any) -> list[tuple[str, str, str, str]]:
        return [
            (
                write(line.name),
                write(line.formula, trace.digits),
                "" if line.numbers is None else write(line.numbers, trace.digits),
                show(line.value, trace.digits),
            )
            for line in lines
        ]

    found = [Section("Forward evaluation trace", rows(trace.primal))]
    if trace.tangent:
        found.append(Section("Forward derivative trace", rows(trace.tangent)))
    if trace.adjoint:
        title = "Reverse adjoint trace, read from bottom to top"
        found.append(Section(title, rows(trace.adjoint)[::-1]))
    return found


def plain(trace: Any) -> str:
    """Aligned text."""
    parts = []
    for title, rows in sections(trace):
        widths = [min(max(_width(row[i]) for row in rows), WIDEST) for i in range(4)]
        lines = [title]
        for name, formula, numbers, value in rows:
            cells = [_padded(name, widths[0]), "= " + _padded(formula, widths[1])]
            if widths[2]:
                cells.append(("= " if numbers else "  ") + _padded(numbers, widths[2]))
            lines.append("  " + "  ".join([*cells, f"= {value}"]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def rich_tables(trace: Any) -> Any:
    """For `rich.print`: one table below the other, as wide as the terminal allows."""
    from rich import box
    from rich.console import Group
    from rich.table import Table

    tables = []
    for title, rows in sections(trace):
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for heading, style in (
            ("", "bold"),
            ("formula", ""),
            ("numbers", "dim"),
            ("value", "cyan"),
        ):
            table.add_column(heading, style=style, overflow="fold", no_wrap=heading == "")
        for row in rows:
            table.add_row(*(cell.replace("[", r"\[") for cell in row))
        tables.append(table)
    return Group(*tables)


def markdown(trace: Any) -> str:
    """Markdown's tables, each with its title."""
    parts = []
    for title, rows in sections(trace):
        lines = [f"**{title}**", "", "| | formula | numbers | value |", "|---|---|---|---:|"]
        for row in rows:
            cells = [cell.replace("|", r"\|").replace("*", r"\*") for cell in row]
            lines.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def latex_arrays(trace: Any) -> str:
    r"""An `array` in \[ \] for each table; needs amsmath."""
    parts = []
    for title, rows in sections(trace, latex, value_latex):
        lines = [rf"\textbf{{{title}}}", r"\[", r"\begin{array}{llll}"]
        for name, formula, numbers, value in rows:
            cells = [name, f"= {formula}", f"= {numbers}" if numbers else "", f"= {value}"]
            lines.append("  " + " & ".join(cells) + r" \\")
        parts.append("\n".join([*lines, r"\end{array}", r"\]"]))
    return "\n\n".join(parts) + "\n"


def html(trace: Any) -> str:
    """Tables side by side as far as the page is wide."""
    cell = "padding:2px 10px 2px 0;text-align:left;white-space:nowrap;border:none"
    parts = []
    for title, rows in sections(trace):
        body = []
        for name, formula, numbers, value in rows:
            cells = [name, f"= {formula}", f"= {numbers}" if numbers else "", f"= {value}"]
            written = "".join(f'<td style="{cell}">{escaping.escape(c)}</td>' for c in cells)
            body.append(f"<tr>{written}</tr>")
        parts.append(
            f'<table style="border-collapse:collapse"><caption style="text-align:left;'
            f'font-weight:bold;padding-bottom:4px">{escaping.escape(title)}</caption>'
            f"<tbody>{''.join(body)}</tbody></table>"
        )
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:24px;font-family:serif">'
        f"{''.join(parts)}</div>"
    )


def _width(cell: str) -> int:
    """Columns of a terminal: combining marks take none."""
    return sum(not unicodedata.combining(c) for c in cell)


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _width(cell))
