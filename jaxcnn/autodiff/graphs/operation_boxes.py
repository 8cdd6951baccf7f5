"""Boxes and arrows of a computational graph: one box for each operation."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp

from jaxcnn.autodiff.drawing.drawings import Box, Edge, Line
from jaxcnn.autodiff.graphs.gates import Claim
from jaxcnn.autodiff.leaves import is_inexact
from jaxcnn.autodiff.traces.derivations import Derivation, marked
from jaxcnn.autodiff.traces.formulas import Name
from jaxcnn.autodiff.traces.notation import format_number, format_value, name_text, type_text
from jaxcnn.autodiff.traces.programs import Program, Run, Step, value_of

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


class Scene(NamedTuple):
    """All that a graph shows."""

    line: Program
    derivations: Sequence[Derivation]
    found: Run
    names: Mapping[int, Name]  # of the values
    ends: Sequence[str]  # names of the outputs
    claims: Mapping[tuple[str, int], Claim]  # by ("step", its place) and ("copy", the value)
    digits: int


def operation_boxes(scene: Scene) -> tuple[list[Box], list[Edge]]:
    """A box for each input, operation and output, framed by the module it belongs to."""
    line, digits = scene.line, scene.digits
    boxes, edges = [], []
    for i, name in enumerate(line.names):
        lines = (Line(name, "title"), *numbers(scene, i), *_notes(scene, ("copy", i)))
        boxes.append(Box(f"v{i}", lines, "input"))
    source = {i: f"v{i}" for i in range(len(line.names))}
    for i, step in enumerate(line.steps):
        lines = [Line(sign(step), "title")]
        for number in step.outputs:
            source[number] = f"s{i}"
            lines += numbers(scene, number)
        lines += _notes(scene, ("step", i), ("copy", step.outputs[0]))
        boxes.append(Box(f"s{i}", tuple(lines), "operation", module(step.scope)))
        for place, operand in enumerate(step.operands):
            if isinstance(operand, int):
                label = _factor(scene.found, i, place, step, digits)
                edges.append(Edge(source[operand], f"s{i}", label))
            elif step.name in SIGNS:  # others have shapes and the like among their constants
                shown = Line(format_value(operand.value, digits), "value")
                boxes.append(Box(f"c{i}_{place}", (shown,), "constant"))
                edges.append(Edge(f"c{i}_{place}", f"s{i}"))
    for i, operand in enumerate(line.outputs):
        boxes.append(end_box(scene, i))
        if isinstance(operand, int):
            edges.append(Edge(source[operand], f"y{i}"))
    return boxes, edges


def end_box(scene: Scene, i: int) -> Box:
    """The box of the i-th output."""
    operand = scene.line.outputs[i]
    value = value_of(operand, scene.found.values)
    shown = Line(format_value(value, scene.digits), "value")
    return Box(f"y{i}", (Line(scene.ends[i], "title"), shown), "output")


def sign(step: Step) -> str:
    """What an operation is called in its box."""
    if step.name == "integer_pow":
        return f"^{step.equation.params['y']}"
    return SIGNS.get(step.name, step.name)


def numbers(scene: Scene, number: int) -> list[Line]:
    """Value, tangent and adjoint; of large arrays their shape and norms."""
    found, v, digits = scene.found, scene.names, scene.digits
    value = found.values[number]
    shown = format_value(value, digits)
    if shown.startswith("["):
        shown += f" {type_text(value)}"
    lines = [Line(f"{name_text(v[number])} = {shown}", "value")]
    for mark, kind, table in (
        ("dot", "tangent", found.tangents),
        ("bar", "adjoint", found.adjoints),
    ):
        slope = table.get(number)
        if slope is None or not is_inexact(slope):
            continue
        shown, name = format_value(slope, digits), name_text(marked(v[number], mark))
        if "[" in shown and not shown.startswith("["):  # a shape, which the value has told
            shown, name = format_number(float(jnp.linalg.norm(slope.ravel())), digits), f"|{name}|"
        lines.append(Line(f"{name} = {shown}", kind))
    return lines


def word(claim: Claim) -> str:
    """ "routes (2 ties)", "used 2×: adds", and how far off the rule is where it fails."""
    aside = re.search(r"\(.*\)", claim.says)
    copies = re.search(r"used (\d+) times", claim.says)
    gate = f"used {copies[1]}×: {claim.gate}" if copies else claim.gate
    broken = "" if claim.holds else f"FAILS by {claim.error:.1g}"
    return " ".join(filter(None, [gate, aside and aside[0], broken]))


def _notes(scene: Scene, *keys: tuple[str, int]) -> list[Line]:
    return [Line(word(scene.claims[key]), "note") for key in keys if key in scene.claims]


def _factor(found: Run, i: int, place: int, step: Step, digits: int) -> str:
    """The local derivative, where it is one number and not plain 1 or -1."""
    part = found.parts.get((i, place))
    if part is None or part.ndim or len(step.outputs) != 1:
        return ""
    bar = found.adjoints[step.outputs[0]]
    if bar.ndim or not bar or step.name in ("add", "sub", "neg"):
        return ""
    factor = format_number(float(part / bar), digits)
    return f"×({factor})" if factor.startswith("-") else f"×{factor}"


def module(scope: str) -> str:
    """The modules of a scope, without the marks of JAX's transformations."""
    plain = re.sub(r"\b(?:transpose|jvp|vmap|remat|checkpoint|rematted_computation)\(", "", scope)
    return "/".join(part for part in plain.replace(")", "").split("/") if part)
