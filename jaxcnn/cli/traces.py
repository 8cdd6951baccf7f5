"""The verb `trace`: evaluation and derivative traces of a formula or model, and its graph."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from jaxcnn import models
from jaxcnn.autodiff.graphs.computational import graph
from jaxcnn.autodiff.traces.parsing import formula_function, parse_value
from jaxcnn.autodiff.traces.tables import trace as evaluation_trace


def trace(
    formula: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FORMULA NAME=VALUE ...")
    ] = (),
    model: str | None = None,
    wrt: str | None = None,
    order: Literal["level", "program"] = "level",
    modes: tuple[Literal["forward", "reverse"], ...] = ("forward", "reverse"),
    digits: int = 3,
    format: Literal["terminal", "text", "markdown", "latex", "html"] = "terminal",
    graph_of: Literal["function", "jvp", "gradient"] = "function",
    graph_file: Annotated[Path | None, tyro.conf.arg(name="graph")] = None,
) -> int:
    """Print the evaluation trace, forward derivatives and reverse adjoints of a formula or model.

    Example: jaxcnn trace "ln(x1) + x1*x2 - sin(x2)" x1=2 x2=5. Formulas have + - * / ^, @ for
    products of matrices, indices w[0], and functions such as ln, exp, sin, relu, sigmoid, sum, max.

    Args:
        formula: What to evaluate, in quotes, and a value for each of its variables: numbers,
            vectors or matrices, such as x='[0.2, 0.4]'.
        model: Model by name in place of a formula: its loss on two random images of the smallest
            size, as a function of its parameters and of the images.
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
    if (model is None) != bool(formula):
        given = "both" if formula else "neither"
        raise ValueError(f"trace: takes a FORMULA or --model NAME, got {given}.")
    if model is None:
        f, arguments = _parsed(formula[0], formula[1:])
    else:
        f, *arguments = models.example_loss(model)
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
        drawn = graph(f, *arguments, of=graph_of, wrt=wrt, modes=modes, order=order, digits=digits)
        print(f"Graph: {drawn.save(graph_file)}")
    return 0


def _parsed(formula: str, values: Sequence[str]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The formula as a function, and its arguments."""
    names = {}
    for given in values:
        name, equals, value = given.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"trace: values are NAME=VALUE, got {given!r}.")
        if name in names:
            raise ValueError(f"trace: {name} is given twice.")
        names[name] = parse_value(value)
    return formula_function(formula, tuple(names)), tuple(names.values())
