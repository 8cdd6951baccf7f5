"""What one step computes and what each mode makes of it, as formulas of the program's values."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxcnn.autodiff.jaxprs import evaluate
from jaxcnn.autodiff.leaves import is_inexact
from jaxcnn.autodiff.traces.formulas import Apply, Name, Number, Opaque, substitute
from jaxcnn.autodiff.traces.programs import (
    Constant,
    Program,
    Step,
    moved_places,
    of_moved,
    zero_tangent,
)
from jaxcnn.autodiff.traces.rules import JOINTLY_LINEAR, LINEAR, Rule, rule

A, B, C, G, V = (Name(letter) for letter in "abcgv")


def numbering(line: Program) -> dict[int, Name]:
    """v_{1-n}, ..., v_0 for the inputs, then v_1, v_2, ... in the order of the steps."""
    n = len(line.names)
    names = {i: Name("v", i + 1 - n) for i in range(n)}
    computed = [number for step in line.steps for number in step.outputs]
    return names | {number: Name("v", i + 1) for i, number in enumerate(computed)}


def output_names(line: Program) -> list[Name]:
    """y, or y_1, y_2, ...; another letter where an input is called y."""
    letter = next(name for name in ("y", "f", "z", "output") if name not in line.names)
    if len(line.outputs) == 1:
        return [Name(letter)]
    return [Name(letter, i + 1) for i in range(len(line.outputs))]


def marked(name: Name, mark: str) -> Name:
    """The tangent ("dot") or adjoint ("bar") of a value."""
    return name._replace(mark=mark)


class Derivation:
    """The formulas of one step in the numbered values."""

    def __init__(self, line: Program, step: Step, v: Mapping[int, Name]) -> None:
        self.step = step
        self.operands: list[Any] = [
            Number(o.value) if isinstance(o, Constant) else v[o] for o in step.operands
        ]
        self.outputs = [v[number] for number in step.outputs]
        self.shapes = [
            np.shape(o.value) if isinstance(o, Constant) else line.shapes[o].shape
            for o in step.operands
        ]
        self.out_shapes = [line.shapes[number] for number in step.outputs]
        self.out = self.out_shapes[0].shape
        self.rule: Rule = rule(step.name, step.equation.params, self.shapes, self.out)
        self.moves = moved_places(step, line.shapes)

    def partial(self, place: int) -> Any:
        """The derivative by one operand, of what works element by element; else None."""
        return self._written(self.rule.partials[place]) if self.rule.partials else None

    def value(self, k: int) -> Any:
        """Of the k-th output."""
        if self.rule.value is not None:
            return self._written(self.rule.value)
        return self._primitive(k, self.operands)

    def tangent(self, k: int) -> Any:
        """Of the k-th output, from the tangents of the operands."""
        dots = {i: marked(self.operands[i], "dot") for i in self.moves}
        if self.rule.partials:
            parts = [product(dots[i], self.partial(i)) for i in self.moves]
        elif self.step.name in LINEAR:
            parts = [self._moved(k, {i: dots[i]}) for i in self.moves]
        elif self.step.name in JOINTLY_LINEAR:
            parts = [self._moved(k, {**self._still(), **dots})]
        else:
            return self._jvp(k, list(dots.values()))
        total = parts[0] if parts else Number(0)
        for part in parts[1:]:
            if isinstance(part, Apply) and part.function == "negative":
                total = Apply("-", (total, part.arguments[0]))
            else:
                total = Apply("+", (total, part))
        return total

    def adjoint(self, place: int, reached: Container[int]) -> Any:
        """What the step adds to the adjoint of one operand.

        Args:
            place: the operand's.
            reached: the values that have an adjoint.
        """
        bars = [
            marked(out, "bar") if number in reached else Number(zero_tangent(shape))
            for out, number, shape in zip(
                self.outputs, self.step.outputs, self.out_shapes, strict=True
            )
        ]
        partial = self.partial(place)
        if partial is not None:
            whole = _quotient(bars[0], partial) or Apply("×", (bars[0], partial))
            return self._folded(whole, self.shapes[place])
        if self.rule.adjoints:
            return self._written(self.rule.adjoints[place])
        return self._vjp(place, bars)

    def _moved(self, k: int, replaced: Mapping[int, Any]) -> Any:
        operands = [replaced.get(i, o) for i, o in enumerate(self.operands)]
        if self.rule.value is None:
            return self._primitive(k, operands)
        return self._written(self.rule.value, operands)

    def _still(self) -> dict[int, Any]:
        """Zeros for the numbers that no input moves; what chooses among them stays."""
        return {
            i: Number(np.zeros(np.shape(o.value)))
            for i, o in enumerate(self.step.operands)
            if isinstance(o, Constant) and is_inexact(o.value)
        }

    def _written(self, formula: Any, operands: Sequence[Any] | None = None) -> Any:
        given = operands or self.operands
        names: dict[Name, Any] = dict(zip((A, B, C), given, strict=False))
        names |= {V: self.outputs[0], G: marked(self.outputs[0], "bar")}
        return substitute(formula, names)

    def _folded(self, formula: Any, shape: tuple[int, ...]) -> Any:
        """Summed over the axes along which the operand was stretched."""
        if shape == self.out:
            return formula
        if not shape:
            return Apply("sum", (formula,))
        axes = [i for i, (n, full) in enumerate(zip(shape, self.out, strict=True)) if n != full]
        summed = Apply("sum", (formula, Number(np.array(axes))))
        return Apply("reshape", (summed, Number(np.array(shape))))

    def _primitive(self, k: int, operands: Sequence[Any]) -> Any:
        def function(*values: Any) -> Any:
            return evaluate(self.step.equation, *values)[k]

        return Apply(Opaque(self.step.name, function), tuple(operands))

    def _jvp(self, k: int, dots: Sequence[Any]) -> Any:
        def function(*values: Any) -> Any:
            primals, slopes = values[: len(self.operands)], values[len(self.operands) :]
            g, moved = of_moved(self.step, self.moves, primals)
            return jax.jvp(g, moved, list(slopes))[1][k]

        return Apply(Opaque(f"jvp_{self.step.name}", function), (*self.operands, *dots))

    def _vjp(self, place: int, bars: Sequence[Any]) -> Any:
        def function(*values: Any) -> Any:
            primals, given = values[: len(self.operands)], values[len(self.operands) :]
            g, moved = of_moved(self.step, self.moves, primals)
            return jax.vjp(g, *moved)[1](list(given))[self.moves.index(place)]

        name = f"vjp_{self.step.name}" + (f"_{place + 1}" if len(self.moves) > 1 else "")
        return Apply(Opaque(name, function), (*self.operands, *bars))


def product(left: Any, right: Any) -> Any:
    """left × right, without ones: -left for -1, and left / b for 1 / b."""
    if _is_one(right):
        return left
    if isinstance(right, Apply) and right.function == "negative":
        return Apply("negative", (product(left, right.arguments[0]),))
    return _quotient(left, right) or Apply("×", (left, right))


def _quotient(left: Any, right: Any) -> Any:
    """left / b where right is 1 / b; else None."""
    if isinstance(right, Apply) and right.function == "/" and _is_one(right.arguments[0]):
        return Apply("/", (left, right.arguments[1]))
    return None


def _is_one(formula: Any) -> bool:
    return isinstance(formula, Number) and not np.ndim(formula.value) and float(formula.value) == 1
