"""The textbook's tables of a function: evaluation, forward derivatives, reverse adjoints."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcnn.autodiff.leaves import double, is_inexact
from jaxcnn.autodiff.traces import rendering
from jaxcnn.autodiff.traces.derivations import Derivation, marked, numbering, output_names
from jaxcnn.autodiff.traces.formulas import Apply, Name, Number, substitute
from jaxcnn.autodiff.traces.programs import (
    Constant,
    Program,
    Run,
    program,
    run,
    value_of,
    zero_tangent,
)


class Line(NamedTuple):
    """One line of a table: name = formula = the formula with numbers put in = value."""

    name: Name
    formula: Any
    numbers: Any
    value: Array


class Trace(NamedTuple):
    """The tables of one function at one place; print it, or take the lines."""

    primal: tuple[Line, ...]
    tangent: tuple[Line, ...]  # empty where forward mode was not asked for
    adjoint: tuple[Line, ...]  # in the order in which they are computed; empty likewise
    value: Any  # what the function returned
    derivative: Any  # its directional derivative, shaped like the value; None likewise
    gradient: dict[str, Array]  # adjoints of the inputs by name; empty likewise
    digits: int

    def __str__(self) -> str:
        return rendering.plain(self)

    def __rich__(self) -> Any:
        return rendering.rich_tables(self)

    def _repr_html_(self) -> str:
        return rendering.html(self)

    def markdown(self) -> str:
        """The tables as Markdown."""
        return rendering.markdown(self)

    def latex(self) -> str:
        """The tables as LaTeX, each an `array` in displayed mathematics."""
        return rendering.latex_arrays(self)

    def html(self) -> str:
        """The tables as one piece of HTML with its own style."""
        return rendering.html(self)


def trace(
    f: Callable[..., Any],
    *args: Any,
    wrt: str | None = None,
    tangents: Sequence[Any] | None = None,
    cotangents: Any = None,
    modes: str | Sequence[str] = ("forward", "reverse"),
    order: str = "level",
    digits: int = 3,
) -> Trace:
    r"""The evaluation trace of f, its forward derivative trace and its reverse adjoint trace.

    Inputs are v_{1-n}, ..., v_0, and v_1, v_2, ... what is computed from them, one line for each
    operation that JAX sees. Forward, v̇_i is the derivative of v_i in the chosen direction; in
    reverse, v̄_i that of the output by v_i, a sum that grows with every use of v_i.

    Args:
        f: any function of pytrees that JAX can trace. Calls are looked into; custom rules, loops
            and branches are one line each.
        args: its arguments; arrays keep their type, and Python's numbers are float64 unless an
            array is of less precision. Whole numbers, such as labels, are held fixed.
        wrt: the input whose derivative the forward trace takes: its name ("x1"), or one element
            of it ("W[0, 1]"); an array without an index is moved along ones. By default the first.
        tangents: in place of wrt, a direction like the arguments; None for what is held fixed.
        cotangents: the adjoints that the outputs start from, shaped like what f returns; ones by
            default.
        modes: "forward" and "reverse", or one of them.
        order: how the lines are numbered: "level" by their distance from the inputs, as textbooks
            do, or "program".
        digits: decimals shown; significant digits below 0.1.

    Raises:
        ValueError: no floating-point argument, no input of that name or no such element, tangents
            or cotangents of another shape, unknown modes or order.

    Example:
        >>> found = trace(lambda x1, x2: jnp.log(x1) + x1 * x2 - jnp.sin(x2), 2.0, 5.0)
        >>> print(found)
        Forward evaluation trace
          v₋₁  = x1                      = 2
          v₀   = x2                      = 5
          v₁   = ln(v₋₁)   = ln(2)       = 0.693
          v₂   = v₋₁ × v₀  = 2 × 5       = 10
          v₃   = sin(v₀)   = sin(5)      = -0.959
          v₄   = v₁ + v₂   = 0.693 + 10  = 10.693
          v₅   = v₄ - v₃   = ...         = 11.652
          y    = v₅                      = 11.652
        ...
        >>> round(float(found.derivative), 3), round(float(found.gradient["x2"]), 3)
        (5.5, 1.716)

    Reference:
        Baydin, Pearlmutter, Radul & Siskind (2018), Automatic differentiation in machine learning:
        a survey, tables 2 and 3, https://arxiv.org/abs/1502.05767.
    """
    modes = checked_modes("trace", modes)
    with double(args):
        line = program(f, *args, order=order)
        dots = bars = None
        if "forward" in modes:
            dots = direction_of(line, args, wrt, tangents)
        if "reverse" in modes:
            bars = seeds_of(line, cotangents)
        found = run(line, dots, bars)
        return _tables(line, found, bars, digits)


def checked_modes(caller: str, modes: str | Sequence[str]) -> tuple[str, ...]:
    """The modes, or a ValueError in the caller's name."""
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if not modes or set(modes) - {"forward", "reverse"}:
        raise ValueError(f'{caller}: modes are "forward" and "reverse", got {modes!r}.')
    return modes


def direction_of(
    line: Program, args: Sequence[Any], wrt: str | None, tangents: Sequence[Any] | None
) -> list[Array]:
    """The tangents of a program's inputs that wrt or tangents name, as `trace` explains them."""
    zeros = [jnp.zeros_like(a) for a in line.arguments]
    if tangents is not None:
        given = jax.tree.leaves(tuple(tangents), is_leaf=lambda t: t is None)
        pairs = zip(given, jax.tree.leaves(tuple(args)), strict=False)
        leaves = [leaf for leaf, arg in pairs if is_inexact(arg)]
        shapes = [jnp.shape(leaf) for leaf in leaves]
        if shapes != [a.shape for a in line.arguments]:
            wanted = [a.shape for a in line.arguments]
            raise ValueError(f"{line.caller}: tangents need shapes {wanted}, got {shapes}.")
        return [jnp.asarray(t, z.dtype) for t, z in zip(leaves, zeros, strict=True)]
    wanted = wrt or line.names[0]
    whole = wanted in line.names
    match = re.fullmatch(r"(.*?)\[([\d, ]*)\]", wanted)
    name, place = (wanted, None) if whole or match is None else match.groups()
    if name not in line.names:
        raise ValueError(f"{line.caller}: no input {name!r}; inputs are {', '.join(line.names)}.")
    i = line.names.index(name)
    if place is None:
        zeros[i] = jnp.ones_like(zeros[i])
        return zeros
    index = tuple(int(n) for n in place.replace(" ", "").split(",") if n)
    shape = zeros[i].shape
    if len(index) != len(shape) or any(n >= size for n, size in zip(index, shape, strict=True)):
        raise ValueError(f"{line.caller}: {name} has shape {shape}, got index {list(index)}.")
    zeros[i] = zeros[i].at[index].set(1)
    return zeros


def seeds_of(line: Program, cotangents: Any) -> list[Array | None]:
    """The adjoints that outputs start from, ones if none are given; integers have none."""
    shapes = [
        line.shapes[o] if isinstance(o, int) else jax.typeof(jnp.asarray(o.value))
        for o in line.outputs
    ]
    if cotangents is None:
        return [jnp.ones(s.shape, s.dtype) if is_inexact(s) else None for s in shapes]
    given = jax.tree.leaves(cotangents)
    if [jnp.shape(g) for g in given] != [s.shape for s in shapes]:
        raise ValueError(
            f"{line.caller}: cotangents need shapes {[s.shape for s in shapes]}, "
            f"got {[jnp.shape(g) for g in given]}."
        )
    return [
        jnp.asarray(g, s.dtype) if is_inexact(s) else None
        for g, s in zip(given, shapes, strict=True)
    ]


def _tables(line: Program, found: Run, seeds: Sequence[Array | None] | None, digits: int) -> Trace:
    v = numbering(line)
    inputs = [Name(name) for name in line.names]
    ends = output_names(line)
    knowns: dict[Name, Number] = {v[i]: Number(value) for i, value in found.values.items()}
    knowns |= {marked(v[i], "dot"): Number(t) for i, t in found.tangents.items()}

    def put(name: Name, formula: Any, value: Any) -> Line:
        return Line(name, formula, substitute(formula, knowns), value)

    primal = [Line(v[i], inputs[i], None, line.arguments[i]) for i in range(len(inputs))]
    tangent = [
        Line(marked(v[i], "dot"), marked(inputs[i], "dot"), None, found.tangents[i])
        for i in range(len(inputs))
        if found.tangents
    ]
    derivations = [Derivation(line, step, v) for step in line.steps]
    for derivation in derivations:
        for k, number in enumerate(derivation.step.outputs):
            primal.append(put(v[number], derivation.value(k), found.values[number]))
            if found.tangents and is_inexact(found.values[number]):
                dot = marked(v[number], "dot")
                tangent.append(put(dot, derivation.tangent(k), found.tangents[number]))
    for name, operand in zip(ends, line.outputs, strict=True):
        shown = Number(operand.value) if isinstance(operand, Constant) else v[operand]
        value = value_of(operand, found.values)
        primal.append(Line(name, shown, None, value))
        if isinstance(operand, int) and operand in found.tangents:
            dot = marked(v[operand], "dot")
            tangent.append(Line(marked(name, "dot"), dot, None, found.tangents[operand]))
    adjoint = [] if seeds is None else _adjoint_lines(line, found, derivations, v, seeds, knowns)

    gradient = {}
    for i, name in enumerate(inputs if seeds is not None else ()):
        gradient[name.letters] = found.adjoints.get(i, jnp.zeros_like(line.arguments[i]))
        bar = marked(v[i], "bar") if i in found.adjoints else Number(0)
        adjoint.append(Line(marked(name, "bar"), bar, None, gradient[name.letters]))
    values = [value_of(o, found.values) for o in line.outputs]
    slopes = [
        found.tangents.get(o, zero_tangent(value)) if isinstance(o, int) else zero_tangent(value)
        for o, value in zip(line.outputs, values, strict=True)
    ]
    return Trace(
        tuple(primal),
        tuple(tangent),
        tuple(adjoint),
        jax.tree.unflatten(line.out_tree, values),
        jax.tree.unflatten(line.out_tree, slopes) if found.tangents else None,
        gradient,
        digits,
    )


def _adjoint_lines(
    line: Program,
    found: Run,
    derivations: Sequence[Derivation],
    v: Mapping[int, Name],
    seeds: Sequence[Array | None],
    knowns: Mapping[Name, Number],
) -> list[Line]:
    """From the outputs to the inputs; what is used twice gets a second line that adds."""
    lines: list[Line] = []
    now = dict(knowns)  # and each adjoint as far as it has come

    def add(number: int, formula: Any, part: Any) -> None:
        bar = marked(v[number], "bar")
        if bar in now:
            formula, part = Apply("+", (bar, formula)), now[bar].value + part
        lines.append(
            Line(bar, formula, None if formula in ends else substitute(formula, now), part)
        )
        now[bar] = Number(part)

    ends = [marked(name, "bar") for name in output_names(line)]
    for end, operand, seed in zip(ends, line.outputs, seeds, strict=True):
        if isinstance(operand, int) and seed is not None:
            add(operand, end, seed)
    for i, place in sorted(found.parts, key=lambda at: (-at[0], at[1])):
        operand = derivations[i].step.operands[place]
        assert isinstance(operand, int)
        add(operand, derivations[i].adjoint(place, found.adjoints), found.parts[i, place])
    return lines
