"""The computational graph of a function, of its forward derivative or of its gradient."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.autodiff.derivations import Derivation, marked, numbering, output_names
from jaxcnn.autodiff.dot import to_dot
from jaxcnn.autodiff.drawings import Box, Drawing, Edge, Line
from jaxcnn.autodiff.formulas import Name
from jaxcnn.autodiff.gates import Claim, copy_claim, step_claim
from jaxcnn.autodiff.notation import format_number, format_value, name_text
from jaxcnn.autodiff.programs import (
    Constant,
    Program,
    Run,
    Step,
    inputs_of,
    program,
    run,
    zero_tangent,
)
from jaxcnn.autodiff.svg import to_svg
from jaxcnn.autodiff.traces import check_modes, direction_of, seeds_of

MANY = 30  # steps; with more of them layers are drawn in place of operations
SIGNS = {
    "add": "+",
    "add_any": "+",
    "broadcast_in_dim": "broadcast",
    "div": "/",
    "dot_general": "@",
    "integer_pow": "^",
    "log": "ln",
    "logistic": "sigmoid",
    "mul": "×",
    "neg": "−",
    "pow": "^",
    "reduce_max": "max",
    "reduce_sum": "sum",
    "square": "^2",
    "sub": "−",
}


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
    modes: Sequence[str] = ("forward", "reverse"),
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
    check_modes("graph", modes)
    with jax.enable_x64(True):
        ends = None
        if of != "function":
            f, args, names, ends = _derivative(f, args, of, wrt, cotangents)
            line = program(f, *args, order=order, names=names)
            dots = seeds = None
        else:
            line = program(f, *args, order=order)
            dots = direction_of(line, args, wrt, None) if "forward" in modes else None
            seeds = seeds_of(line, cotangents) if "reverse" in modes else None
        found = run(line, dots, seeds)
        v = numbering(line)
        derivations = [Derivation(line, step, v) for step in line.steps]
        claims = _claims(line, derivations, found, v)
        if layers is None:
            layers = len(line.steps) > MANY and any(step.scope for step in line.steps)
        draw = _layers if layers else _operations
        boxes, edges = draw(line, derivations, found, v, claims, digits)
        ends = ends or [name_text(name) for name in output_names(line)]
        boxes += _ends(line, found, ends, digits)
    drawing = Drawing(tuple(boxes), tuple(edges), title)
    return Graph(drawing, tuple(claims.values()), "down" if layers else "right")


def _derivative(
    f: Callable[..., Any], args: Sequence[Any], of: str, wrt: str | None, cotangents: Any
) -> tuple[Callable[..., Any], list[Any], list[str], list[str]]:
    """The jvp or the gradient of f, of f's inputs and their tangents; names of both its ends."""
    g, leaves, names = inputs_of(f, args)
    line = program(g, *leaves, names=names)

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

        return gradient, leaves, names, of_names("bar")
    dots = direction_of(line, leaves, wrt, None)

    def slope(*both: Any) -> Any:
        return jax.jvp(g, both[: len(leaves)], both[len(leaves) :])

    ends = output_names(line)
    both = [name_text(n) for n in (*ends, *(marked(n, "dot") for n in ends))]
    return slope, [*leaves, *dots], names + of_names("dot"), both


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


Claims = Mapping[tuple[str, int], Claim]


def _operations(
    line: Program,
    derivations: Sequence[Derivation],
    found: Run,
    v: Mapping[int, Name],
    claims: Claims,
    digits: int,
) -> tuple[list[Box], list[Edge]]:
    """A box for each input, operation and output."""
    boxes, edges = [], []
    for i, name in enumerate(line.names):
        lines = [Line(name, "title"), *_numbers(i, v, found, digits), *_notes(claims, ("copy", i))]
        boxes.append(Box(f"v{i}", tuple(lines), "input"))
    source = {i: f"v{i}" for i in range(len(line.names))}
    for i, derivation in enumerate(derivations):
        step = derivation.step
        lines = [Line(_sign(step), "title")]
        for number in step.outputs:
            source[number] = f"s{i}"
            lines += _numbers(number, v, found, digits)
        notes = _notes(claims, ("step", i), ("copy", step.outputs[0]))
        boxes.append(Box(f"s{i}", (*lines, *notes), "operation", _path(step.scope)[0]))
        for place, operand in enumerate(step.operands):
            if isinstance(operand, Constant):
                if np.size(operand.value) == 1 or step.name not in SIGNS:
                    continue
                boxes.append(_constant(f"c{i}_{place}", operand.value, digits))
                edges.append(Edge(f"c{i}_{place}", f"s{i}"))
            else:
                label = _factor(found, i, place, step, digits)
                edges.append(Edge(source[operand], f"s{i}", label))
    return boxes, edges + _end_edges(line, source)


def _layers(
    line: Program,
    derivations: Sequence[Derivation],
    found: Run,
    v: Mapping[int, Name],
    claims: Claims,
    digits: int,
) -> tuple[list[Box], list[Edge]]:
    """A box for each module; parameters that only it uses stand inside."""
    rank = _ranks(line)
    of = {}
    members: dict[tuple[str, int], list[int]] = {}
    for i, step in enumerate(line.steps):
        key = (step.scope, rank[i])
        members.setdefault(key, []).append(i)
        of.update(dict.fromkeys(step.outputs, key))
    users = {
        i: {(s.scope, rank[k]) for k, s in enumerate(line.steps) if i in s.operands}
        for i in range(len(line.names))
    }
    inside = {i: next(iter(keys)) for i, keys in users.items() if len(keys) == 1}
    inside = {i: key for i, key in inside.items() if key[0] and "/" in line.names[i]}
    names = {key: f"g{n}" for n, key in enumerate(members)}
    boxes = [
        Box(f"v{i}", (Line(name, "title"), *_numbers(i, v, found, digits)), "input")
        for i, name in enumerate(line.names)
        if i not in inside and users[i]
    ]
    source = {i: f"v{i}" for i in range(len(line.names))} | {n: names[k] for n, k in of.items()}
    edges = []
    for key, own in members.items():
        steps = [line.steps[i] for i in own]
        lines = [Line(_title(key[0], steps), "title"), Line(_listing(steps), "note")]
        for i in [i for i, place in inside.items() if place == key]:
            shape = "×".join(map(str, line.shapes[i].shape))
            lines.append(Line(f"{line.names[i].rsplit('/', 1)[-1]} {shape}", "plain"))
        outs = _leaving(line, steps)
        for number in outs[:2]:
            lines += _numbers(number, v, found, digits)
        held = [claims["step", i] for i in own if ("step", i) in claims]
        lines += [Line(f"{c.at}: {c.gate} {_broken(c)}", "note") for c in held if not c.holds]
        lines += [Line(_word(c), "note") for c in held if "tie" in c.says or "zero" in c.says]
        boxes.append(Box(names[key], tuple(lines), "layer", _path(key[0])[0]))
        before = {o for s in steps for o in s.operands if isinstance(o, int) and of.get(o) != key}
        wanted = dict.fromkeys(source[o] for o in sorted(before) if o not in inside)
        edges += [Edge(name, names[key]) for name in wanted]
    return boxes, edges + _end_edges(line, source)


def _ranks(line: Program) -> list[int]:
    """A number for each step, so that steps of one scope and one number can be one box.

    Arrows between boxes always lead to higher numbers, so boxes have no cycles.
    """
    made = {number: i for i, step in enumerate(line.steps) for number in step.outputs}
    rank: list[int] = []
    users: list[list[int]] = [[] for _ in line.steps]
    for i, step in enumerate(line.steps):
        before = [made[o] for o in step.operands if isinstance(o, int) and o in made]
        for k in before:
            users[k].append(i)
        steps = [rank[k] + (line.steps[k].scope != step.scope) for k in before]
        rank.append(max(steps, default=0))
    for i in reversed(range(len(rank))):  # a bias waits for the sum that it goes into
        if users[i] and all(line.steps[k].scope == line.steps[i].scope for k in users[i]):
            rank[i] = min(rank[k] for k in users[i])
    return rank


def _numbers(number: int, v: Mapping[int, Name], found: Run, digits: int) -> list[Line]:
    """Value, tangent and adjoint; of large arrays their shape and norms."""
    value = found.values[number]
    lines = [Line(f"{name_text(v[number])} = {format_value(value, digits)}", "value")]
    for mark, kind, table in (
        ("dot", "tangent", found.tangents),
        ("bar", "adjoint", found.adjoints),
    ):
        slope = table.get(number)
        if slope is None or not jnp.issubdtype(slope.dtype, jnp.inexact):
            continue
        shown, name = format_value(slope, digits), name_text(marked(v[number], mark))
        if "[" in shown and not shown.startswith("["):  # a shape, which the value has told
            shown, name = format_number(float(jnp.linalg.norm(slope.ravel())), digits), f"|{name}|"
        lines.append(Line(f"{name} = {shown}", kind))
    return lines


def _notes(claims: Claims, *keys: tuple[str, int]) -> list[Line]:
    return [Line(_word(claims[key]), "note") for key in keys if key in claims]


def _word(claim: Claim) -> str:
    """ "routes (2 ties)", or the rule's failure."""
    aside = re.search(r"\(.*\)", claim.says)
    copies = re.search(r"used (\d+) times", claim.says)
    word = f"used {copies[1]}×: {claim.gate}" if copies else claim.gate
    return " ".join(filter(None, [word, aside and aside[0], _broken(claim)]))


def _broken(claim: Claim) -> str:
    return "" if claim.holds else f"FAILS by {claim.error:.1g}"


def _factor(found: Run, i: int, place: int, step: Step, digits: int) -> str:
    """The local derivative, where it is one number and not plain 1 or -1."""
    part = found.parts.get((i, place))
    if part is None or part.ndim or len(step.outputs) != 1:
        return ""
    bar = found.adjoints[step.outputs[0]]
    if bar.ndim or not bar or step.name in ("add", "sub", "neg"):
        return ""
    return f"×{format_number(float(part / bar), digits)}"


def _constant(name: str, value: Any, digits: int) -> Box:
    return Box(name, (Line(format_value(value, digits), "value"),), "constant")


def _ends(line: Program, found: Run, names: Sequence[str], digits: int) -> list[Box]:
    boxes = []
    for i, (name, operand) in enumerate(zip(names, line.outputs, strict=True)):
        value = operand.value if isinstance(operand, Constant) else found.values[operand]
        lines = (Line(name, "title"), Line(format_value(value, digits), "value"))
        boxes.append(Box(f"y{i}", lines, "output"))
    return boxes


def _end_edges(line: Program, source: Mapping[int, str]) -> list[Edge]:
    return [Edge(source[o], f"y{i}") for i, o in enumerate(line.outputs) if isinstance(o, int)]


def _leaving(line: Program, steps: Sequence[Step]) -> list[int]:
    """The values that others take from these steps."""
    own = {number for step in steps for number in step.outputs}
    inside = {id(step) for step in steps}
    taken = [o for s in line.steps if id(s) not in inside for o in s.operands]
    wanted = {o for o in (*taken, *line.outputs) if isinstance(o, int)}
    return sorted(own & wanted, reverse=True)


def _sign(step: Step) -> str:
    if step.name == "integer_pow":
        return f"^{step.equation.params['y']}"
    return SIGNS.get(step.name, step.name)


def _listing(steps: Sequence[Step]) -> str:
    signs = list(dict.fromkeys(_sign(step) for step in steps))
    return ", ".join(signs[:5]) + (f" and {len(signs) - 5} more" if len(signs) > 5 else "")


def _path(scope: str) -> tuple[str, bool]:
    """The modules of a scope without JAX's marks, and whether it is of the reverse sweep."""
    backward = "transpose(" in scope
    plain = re.sub(r"\b(?:transpose|jvp|vmap|remat|checkpoint|rematted_computation)\(", "", scope)
    parts = [part for part in plain.replace(")", "").split("/") if part]
    return "/".join(parts[:-1]), backward


def _title(scope: str, steps: Sequence[Step]) -> str:
    plain = re.sub(r"\b(?:transpose|jvp|vmap)\(|\)", "", scope).strip("/")
    last = plain.rsplit("/", 1)[-1]
    if not last:
        return f"{len(steps)} operations" if len(steps) > 1 else _sign(steps[0])
    return f"{last}, backwards" if _path(scope)[1] else last
