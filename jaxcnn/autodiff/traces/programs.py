"""A function as a straight line of steps on numbered values, with what each derivative mode adds.

Traces and graphs are two views of the same thing: `program` flattens a jaxpr (calls are inlined,
what does not depend on the differentiable inputs is computed and becomes a constant) and `run`
evaluates it step by step: values, tangents, adjoints, and each step's part of each adjoint.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jaxcnn.autodiff.jaxprs import CALLS, NO_RULE, evaluate, inner_jaxprs
from jaxcnn.autodiff.leaves import is_inexact, moving, parameter_names


class Constant(NamedTuple):
    """An operand that no differentiable input moves."""

    value: Any


Operand = int | Constant  # a value by its number in the program, or a constant


class Step(NamedTuple):
    """One equation: outputs = primitive(operands)."""

    equation: JaxprEqn
    operands: tuple[Operand, ...]
    outputs: tuple[int, ...]
    scope: str  # names of the modules and scopes that it stands in, with slashes between

    @property
    def name(self) -> str:
        """The primitive's name; for a custom rule that of the function it belongs to.

        JAX's own functions, such as relu, go by their name; with others it says nothing about what
        they compute, so that theirs begins with "custom".
        """
        inside = self.equation.params.get("call_jaxpr")
        debug = getattr(getattr(inside, "jaxpr", None), "debug_info", None)
        if debug is None:
            return self.equation.primitive.name
        of_jax = "/jax/_src/" in str(debug.func_filename).replace("\\", "/")
        return debug.func_name if of_jax else f"custom_{debug.func_name}"


class Program(NamedTuple):
    """Inputs are the values 0, 1, ..., each step's outputs are further ones."""

    caller: str  # whose errors these are
    names: tuple[str, ...]  # of the inputs
    arguments: tuple[Array, ...]  # the inputs
    steps: tuple[Step, ...]
    outputs: tuple[Operand, ...]
    shapes: Mapping[int, jax.ShapeDtypeStruct]  # of the values
    out_tree: Any


class Run(NamedTuple):
    """What a program computes, by number of the value."""

    values: Mapping[int, Array]
    tangents: Mapping[int, Array]  # empty where forward mode was not asked for
    adjoints: Mapping[int, Array]  # of the values that reach an output; empty likewise
    parts: Mapping[tuple[int, int], Array]  # (step, operand) -> what it adds to an adjoint


def program(
    f: Callable[..., Any],
    *args: Any,
    order: str = "level",
    names: Sequence[str] | None = None,
    caller: str = "trace",
) -> Program:
    """Flatten f at args.

    Args:
        f: any function that JAX can trace.
        args: its arguments, pytrees of arrays and numbers; floating-point leaves are the inputs,
            the others constants.
        order: of the steps: "program" as the function says, or "level": by the longest path from
            an input, as textbooks draw them.
        names: of the inputs; by default the parameters', with the paths inside them.
        caller: whose errors these are.

    Raises:
        ValueError: another order, or no floating-point input.
    """
    if order not in ("level", "program"):
        raise ValueError(f'{caller}: order is "level" or "program", got {order!r}.')
    g, inputs, paths = moving(caller, f, args)
    closed, shape = jax.make_jaxpr(g, return_shape=True)(*inputs)
    numbers = itertools.count()
    steps: list[Step] = []
    outputs = _inline(closed, [next(numbers) for _ in inputs], "", steps, numbers)
    steps = _needed(steps, outputs)
    if order == "level":
        steps = _by_level(steps)
    shapes = {i: jax.ShapeDtypeStruct(a.shape, a.dtype) for i, a in enumerate(inputs)}
    for step in steps:
        for number, variable in zip(step.outputs, step.equation.outvars, strict=True):
            aval: Any = variable.aval
            shapes[number] = jax.ShapeDtypeStruct(aval.shape, aval.dtype)
    tree = jax.tree.structure(shape)
    chosen = tuple(_names(f, paths, len(args)) if names is None else names)
    return Program(caller, chosen, tuple(inputs), tuple(steps), tuple(outputs), shapes, tree)


def run(
    line: Program,
    tangents: Sequence[Array] | None,
    cotangents: Sequence[Array | None] | None,
) -> Run:
    """Evaluate a program, forward and in reverse.

    Args:
        line: the program.
        tangents: one for each input; None leaves forward mode out.
        cotangents: one for each output, None for integers; None leaves reverse mode out.
    """

    @jax.jit
    def whole(arguments: Any, dots: Any, seeds: Any) -> Any:
        return tuple(_run(line._replace(arguments=arguments), dots, seeds))

    try:
        return Run(*whole(line.arguments, tangents, cotangents))
    except NO_RULE as error:
        if tangents is not None and cotangents is not None:
            error.add_note(
                f'{line.caller}: where a function has only one mode, ask for modes=("forward",) '
                'or modes=("reverse",).'
            )
        raise


def _run(line: Program, tangents: Any, cotangents: Any) -> Run:
    values: dict[int, Array] = dict(enumerate(line.arguments))
    dots: dict[int, Array] = dict(enumerate(tangents or ()))
    pullbacks = []
    for step in line.steps:
        operands = [value_of(o, values) for o in step.operands]
        places = moved_places(step, values)
        function, primals = of_moved(step, places, operands)
        if cotangents is None or not places or step.name == "stop_gradient":
            outs, pullback = function(*primals), None
        else:
            outs, pullback = jax.vjp(function, *primals)
        values.update(zip(step.outputs, outs, strict=True))
        pullbacks.append(pullback)
        if tangents is not None:
            slopes = [zero_tangent(out) for out in outs]
            if places:
                given = [dots[o] for o in step.operands if isinstance(o, int) and o in dots]
                _, slopes = jax.jvp(function, primals, given)
            pairs = zip(step.outputs, slopes, strict=True)
            dots.update((number, slope) for number, slope in pairs if is_inexact(slope))
    bars: dict[int, Array] = {}
    parts: dict[tuple[int, int], Array] = {}
    if cotangents is not None:
        bars, parts = _reverse(line, values, pullbacks, cotangents)
    return Run(values, dots, bars, parts)


def _reverse(
    line: Program,
    values: Mapping[int, Array],
    pullbacks: Sequence[Callable[..., Any] | None],
    cotangents: Sequence[Array | None],
) -> tuple[dict[int, Array], dict[tuple[int, int], Array]]:
    bars: dict[int, Array] = {}
    parts = {}
    for operand, seed in zip(line.outputs, cotangents, strict=True):
        if isinstance(operand, int) and seed is not None:
            bars[operand] = bars[operand] + seed if operand in bars else seed
    for i, (step, pullback) in reversed(list(enumerate(zip(line.steps, pullbacks, strict=True)))):
        if pullback is None or not any(o in bars for o in step.outputs):
            continue
        contributions = pullback([bars.get(o, zero_tangent(values[o])) for o in step.outputs])
        for place, part in zip(moved_places(step, values), contributions, strict=True):
            operand = step.operands[place]
            assert isinstance(operand, int)
            parts[i, place] = part
            bars[operand] = bars[operand] + part if operand in bars else part
    return bars, parts


def value_of(operand: Operand, values: Mapping[int, Any]) -> Any:
    """An operand's value: a constant's own, or that of its number."""
    return operand.value if isinstance(operand, Constant) else values[operand]


def moved_places(step: Step, values: Mapping[int, Any]) -> list[int]:
    """Which of a step's operands may have a derivative, by the values or their shapes."""
    return [i for i, o in enumerate(step.operands) if isinstance(o, int) and is_inexact(values[o])]


def of_moved(
    step: Step, places: Sequence[int], operands: Sequence[Any]
) -> tuple[Callable[..., list[Any]], list[Any]]:
    """The step as a function of the operands in some places, and those."""

    def function(*moved: Any) -> list[Any]:
        given = list(operands)
        for place, value in zip(places, moved, strict=True):
            given[place] = value
        return evaluate(step.equation, *given)

    return function, [operands[place] for place in places]


def zero_tangent(value: Any) -> Any:
    """The tangent of a value that does not move; integers and booleans have tangents of no bits."""
    if is_inexact(value):
        return jnp.zeros_like(value)
    return np.zeros(np.shape(value), jax.dtypes.float0)


def _inline(
    closed: ClosedJaxpr, operands: Sequence[Operand], scope: str, steps: list[Step], numbers: Any
) -> list[Operand]:
    """Append the steps of a jaxpr and of all that it calls; returns its outputs."""
    jaxpr: Jaxpr = closed.jaxpr
    known: dict[Any, Operand] = dict(zip(jaxpr.invars, operands, strict=True))
    known.update((v, Constant(c)) for v, c in zip(jaxpr.constvars, closed.consts, strict=True))

    def read(atom: Any) -> Operand:
        return Constant(atom.val) if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        where = "/".join(name for name in (scope, str(equation.source_info.name_stack)) if name)
        constants = [o.value for o in inputs if isinstance(o, Constant)]
        if len(constants) == len(inputs):
            found: Sequence[Operand] = [Constant(v) for v in evaluate(equation, *constants)]
        elif equation.primitive.name in CALLS:
            (inner,) = inner_jaxprs(equation)
            inner = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
            found = _inline(inner, inputs, where, steps, numbers)
        elif _same(equation):
            found = inputs
        else:
            found = [next(numbers) for _ in equation.outvars]
            steps.append(Step(equation, tuple(inputs), tuple(found), where))  # type: ignore
        known.update(zip(equation.outvars, found, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _same(equation: JaxprEqn) -> bool:
    """Whether an equation only renames its input, such as a cast to the type it has."""
    if equation.primitive.name not in ("convert_element_type", "copy", "copy_p", "reshape"):
        return False
    before: Any = equation.invars[0].aval
    after: Any = equation.outvars[0].aval
    return before.shape == after.shape and before.dtype == after.dtype


def _needed(steps: Sequence[Step], outputs: Sequence[Operand]) -> list[Step]:
    wanted = {o for o in outputs if isinstance(o, int)}
    kept = []
    for step in reversed(steps):
        if wanted.intersection(step.outputs):
            kept.append(step)
            wanted.update(o for o in step.operands if isinstance(o, int))
    return kept[::-1]


def _by_level(steps: Sequence[Step]) -> list[Step]:
    level: dict[int, int] = {}
    at = []
    for step in steps:
        own = 1 + max(level.get(o, 0) for o in step.operands if isinstance(o, int))
        level.update(dict.fromkeys(step.outputs, own))
        at.append(own)
    return [step for _, step in sorted(zip(at, steps, strict=True), key=lambda pair: pair[0])]


def _names(f: Callable[..., Any], paths: Sequence[Sequence[Any]], count: int) -> list[str]:
    """A name for each input: its parameter's, and its path inside."""
    parameters = parameter_names(f, count)
    names = []
    for argument, *path in paths:
        rest = jax.tree_util.keystr(tuple(path), simple=True, separator="/")
        names.append("/".join(filter(None, [parameters[argument.idx], rest])))
    return names
