"""The verb `trace`: a formula's evaluation and derivative traces, and its computational graph."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from jaxcnn.autodiff.graphs import graph
from jaxcnn.autodiff.parsing import formula_function, parse_value
from jaxcnn.autodiff.traces import trace as evaluation_trace


def trace(
    formula: tyro.conf.Positional[str],
    values: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME=VALUE ...")
    ],
    wrt: str | None = None,
    order: Literal["level", "program"] = "level",
    modes: tuple[Literal["forward", "reverse"], ...] = ("forward", "reverse"),
    digits: int = 3,
    format: Literal["terminal", "text", "markdown", "latex", "html"] = "terminal",
    graph_of: Literal["function", "jvp", "gradient"] = "function",
    graph_file: Annotated[Path | None, tyro.conf.arg(name="graph")] = None,
) -> int:
    """Print a formula's evaluation trace, forward derivatives and reverse adjoints.

    Example: jaxcnn trace "ln(x1) + x1*x2 - sin(x2)" x1=2 x2=5. Formulas have + - * / ^, @ for
    products of matrices, indices w[0], and functions such as ln, exp, sin, relu, sigmoid, sum, max.

    Args:
        formula: What to evaluate; put it in quotes.
        values: A value for each variable: numbers, vectors or matrices, such as x='[0.2, 0.4]'.
        wrt: Variable, or one element such as W[0,1], that the forward derivative is taken by; the
            first by default.
        order: How lines are numbered: by distance from the inputs, as textbooks do, or as the
            formula is evaluated.
        modes: Which derivatives to print.
        digits: Decimals to print.
        format: What to print.
        graph_of: What the graph shows: the function, its forward derivative or its gradient.
        graph_file: Write the computational graph to this .svg or .dot file as well.
    """
    names = {}
    for given in values:
        name, equals, value = given.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"trace: values are NAME=VALUE, got {given!r}.")
        if name in names:
            raise ValueError(f"trace: {name} is given twice.")
        names[name] = parse_value(value)
    f = formula_function(formula, tuple(names))
    arguments = tuple(names.values())
    found = evaluation_trace(f, *arguments, wrt=wrt, modes=modes, order=order, digits=digits)
    if format == "terminal":
        Console().print(found)
    else:
        written = {
            "text": found.__str__,
            "markdown": found.markdown,
            "latex": found.latex,
            "html": found.html,
        }
        print(written[format]().rstrip("\n"))
    if graph_file is not None:
        drawn = graph(f, *arguments, of=graph_of, wrt=wrt, order=order, digits=digits)
        print(f"Graph: {drawn.save(graph_file)}")
    return 0
