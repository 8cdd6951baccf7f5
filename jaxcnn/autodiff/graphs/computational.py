"""The computational graph of a function, of its forward derivative or of its gradient."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxcnn.autodiff.drawing.dot import to_dot
from jaxcnn.autodiff.drawing.drawings import Drawing
from jaxcnn.autodiff.drawing.svg import to_svg
from jaxcnn.autodiff.graphs.gates import Claim, copy_claim, step_claim
from jaxcnn.autodiff.graphs.layer_boxes import layer_boxes
from jaxcnn.autodiff.graphs.operation_boxes import Scene, operation_boxes
from jaxcnn.autodiff.leaves import double, moving
from jaxcnn.autodiff.traces.derivations import Derivation, marked, numbering, output_names
from jaxcnn.autodiff.traces.formulas import Name
from jaxcnn.autodiff.traces.notation import name_text
from jaxcnn.autodiff.traces.programs import Program, Run, program, run, zero_tangent
from jaxcnn.autodiff.traces.tables import checked_modes, direction_of, seeds_of

MANY = 30  # steps; with more of them layers are drawn in place of operations


class Graph(NamedTuple):
    """A drawing of a function, and what its gates were found to do."""

    drawing: Drawing
    claims: tuple[Claim, ...]
    toward: str  # "right" or "down"

    def dot(self) -> str:
        """The graph in DOT, Graphviz's language."""
        return to_dot(self.drawing, direction=self.toward)

    def svg(self) -> str:
        """The graph as one self-contained SVG."""
        return to_svg(self.drawing, direction=self.toward)

    def _repr_svg_(self) -> str:
        return self.svg()

    def save(self, path: str | Path) -> Path:
        """Write it as .svg or .dot, by the path's ending; returns the path."""
        path = Path(path)
        if path.suffix not in (".svg", ".dot"):
            raise ValueError(f"graph: a graph's file ends in .svg or .dot, got {path.name!r}.")
        path.write_text(self.svg() if path.suffix == ".svg" else self.dot(), encoding="utf-8")
        return path


def graph(
    f: Callable[..., Any],
    *args: Any,
    of: str = "function",
    wrt: str | None = None,
    cotangents: Any = None,
    modes: str | Sequence[str] = ("forward", "reverse"),
    order: str = "level",
    layers: bool | None = None,
    digits: int = 3,
    title: str = "",
) -> Graph:
    r"""Draw f: values, tangents and adjoints on its nodes, named by what they do to gradients.

    Add distributes the gradient, max routes it (ties are counted), mul swaps its operands, a
    value that is used more than once adds what comes back. Each such claim is checked on the
    numbers of this graph (`.claims`); one that fails says so in its box.

    Args:
        f: any function of pytrees that JAX can trace.
        args: its arguments, as for `trace`.
        of: "function"; "jvp": its forward derivative as a function of the arguments and their
            tangents; "gradient": the reverse sweep that computes all derivatives of its output.
        wrt: the input or element that tangents are taken by, as for `trace`.
        cotangents: as for `trace`.
        modes: what nodes show beside the values: tangents ("forward"), adjoints ("reverse").
        order: how values are numbered, as for `trace`.
        layers: one box for each module, by its name, instead of one for each operation; by
            default where there are more than 30 operations and some of them have names.
        digits: decimals shown.
        title: over the drawing.

    Returns:
        a Graph: `.svg()`, `.dot()`, `.save(path)`, `.claims`; notebooks show it as it is.

    Raises:
        ValueError: as `trace` does, or an unknown `of`.

    Example:
        >>> found = graph(lambda x, y, z: (x + y) * z, -2.0, 5.0, -4.0)
        >>> for claim in found.claims:
        ...     print(claim.at, claim.gate, claim.holds)
        v₁ distributes True
        v₂ swaps True

    Reference:
        Li, Karpathy & Johnson (2017), CS231n: backpropagation, intuitions, "Patterns in backward
        flow", https://cs231n.github.io/optimization-2/.
    """
    if of not in ("function", "jvp", "gradient"):
        raise ValueError(f'graph: of is "function", "jvp" or "gradient", got {of!r}.')
    modes = checked_modes("graph", modes)
    with double(args):
        ends = None
        if of != "function":
            f, args, names, ends = _derivative(f, args, of, wrt, cotangents)
            line = program(f, *args, order=order, names=names, caller="graph")
            dots = seeds = None
        else:
            line = program(f, *args, order=order, caller="graph")
            dots = direction_of(line, args, wrt, None) if "forward" in modes else None
            seeds = seeds_of(line, cotangents) if "reverse" in modes else None
        found = run(line, dots, seeds)
        v = numbering(line)
        derivations = [Derivation(line, step, v) for step in line.steps]
        claims = _claims(line, derivations, found, v)
        if layers is None:
            layers = len(line.steps) > MANY and any(step.scope for step in line.steps)
        ends = ends or [name_text(name) for name in output_names(line)]
        scene = Scene(line, derivations, found, v, ends, claims, digits)
        boxes, edges = layer_boxes(scene) if layers else operation_boxes(scene)
    drawing = Drawing(tuple(boxes), tuple(edges), title)
    return Graph(drawing, tuple(claims.values()), "down" if layers else "right")


def _derivative(
    f: Callable[..., Any], args: Sequence[Any], of: str, wrt: str | None, cotangents: Any
) -> tuple[Callable[..., Any], tuple[Any, ...], list[str], list[str]]:
    """The jvp or the gradient of f, of f's inputs and their tangents; names of both its ends."""
    line = program(f, *args, caller="graph")
    g, leaves, _ = moving("graph", f, args)
    names = list(line.names)

    def of_names(mark: str) -> list[str]:
        return [name_text(Name(name, mark=mark)) for name in names]

    if of == "gradient":
        seeds = seeds_of(line, cotangents)

        def gradient(*primals: Any) -> Any:
            outputs, pullback = jax.vjp(lambda *p: jax.tree.leaves(g(*p)), *primals)
            bars = [
                zero_tangent(o) if s is None else s for s, o in zip(seeds, outputs, strict=True)
            ]
            return pullback(bars)

        return gradient, tuple(leaves), names, of_names("bar")
    dots = direction_of(line, args, wrt, None)

    def slope(*both: Any) -> Any:
        return jax.jvp(g, both[: len(leaves)], both[len(leaves) :])

    ends = output_names(line)
    both = [name_text(n) for n in (*ends, *(marked(n, "dot") for n in ends))]
    return slope, (*leaves, *dots), names + of_names("dot"), both


def _claims(
    line: Program, derivations: Sequence[Derivation], found: Run, v: Mapping[int, Name]
) -> dict[tuple[str, int], Claim]:
    """By ("step", its place) and ("copy", the value's number)."""
    claims = {}
    for i in range(len(line.names)):
        claims["copy", i] = copy_claim(line, found, i, v[i])
    for i, derivation in enumerate(derivations):
        number = derivation.step.outputs[0]
        claims["step", i] = step_claim(line, i, derivation, found, v[number])
        claims["copy", number] = copy_claim(line, found, number, v[number])
    return {key: claim for key, claim in claims.items() if claim is not None}
