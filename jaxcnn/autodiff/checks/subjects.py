"""A function under test: its values along a line, its products with the Jacobian in both modes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.autodiff.checks.differences import (
    NOISE_POINTS,
    Slopes,
    ladder,
    noise_level,
    representable,
    slopes,
)
from jaxcnn.autodiff.checks.flattening import Elements, FlatFunction
from jaxcnn.autodiff.checks.probing import on

Line = tuple[np.ndarray, np.ndarray]  # (step, output): at x + h v and at x - h v


class Subject(NamedTuple):
    """A function of a flat vector, at a point; `fixed` are its other arguments."""

    taken: tuple[str, ...]  # the modes of the derivatives that it already is, the last one first
    call: Callable[..., Any]  # (x, *fixed), compiled
    fixed: tuple[np.ndarray, ...]
    point: np.ndarray
    inputs: Elements
    outputs: Elements
    steps: np.ndarray
    base: np.ndarray  # the outputs at the point
    near: np.ndarray  # (line, point, output): so close together that rounding tells them apart
    noise: np.ndarray
    products: dict[str, Callable[..., Any]]  # by mode: (x, v, *fixed) -> Jv or J'v, compiled

    @property
    def eps(self) -> float:
        """The coarsest precision at work."""
        return float(max(self.inputs.eps.max(), self.outputs.eps.max()))

    def value(self, x: np.ndarray) -> np.ndarray:
        """The outputs at x."""
        return np.asarray(self.call(x.astype(self.point.dtype), *self.fixed), np.float64)

    def product(self, mode: str, v: np.ndarray) -> np.ndarray:
        """Jv in forward mode, J'v in reverse mode."""
        found = self.products[mode](self.point, v.astype(self.point.dtype), *self.fixed)
        return np.asarray(found, np.float64)

    def direction(self, rng: np.random.Generator, support: np.ndarray) -> np.ndarray:
        """A random direction in those inputs, to the scale of each.

        However many they are, together they go about as far as one would by itself: a network's
        kinks then lie as far away, counted in steps.
        """
        scale = np.maximum(1, np.abs(self.point)) / len(support) ** 0.5
        v = on(rng, support, self.point.size) * scale
        return representable(v, self.point, self.inputs.eps, self.steps)

    def line(self, v: np.ndarray) -> Line:
        """The outputs at x + h v and at x - h v for each step h."""
        plus = np.stack([self.value(self.point + h * v) for h in self.steps])
        return plus, np.stack([self.value(self.point - h * v) for h in self.steps])

    def slopes(self, line: Line, weights: np.ndarray | None = None) -> Slopes:
        """Slopes of the outputs along a line, or of their sums by the rows of `weights`."""
        plus, minus = line
        if weights is None:
            return slopes(self.base, plus, minus, self.steps, self.noise)
        summed = noise_level(self.near @ weights.T, np.zeros(len(weights)))
        noise = np.maximum(summed, np.sqrt(weights**2 @ self.noise**2))
        return slopes(weights @ self.base, plus @ weights.T, minus @ weights.T, self.steps, noise)


def function_subject(rng: np.random.Generator, flat: FlatFunction) -> Subject:
    """The function itself."""
    return _subject(rng, (), jax.jit(flat.call), (), flat.point, flat.inputs, flat.outputs)


def derivative_subject(rng: np.random.Generator, subject: Subject, mode: str) -> Subject:
    """x -> J(x) v or x -> J(x)'u for a random v or u: the first derivative as a function."""
    if mode == "forward":
        label, elements, size = "jvp", subject.outputs, subject.inputs.size
    else:
        label, elements, size = "vjp", subject.inputs, subject.outputs.size
    along = on(rng, np.arange(size), size).astype(subject.point.dtype)
    outputs = elements._replace(paths=tuple(f"{label}({path})" for path in elements.paths))
    return _subject(
        rng,
        (mode, *subject.taken),
        subject.products[mode],
        (along, *subject.fixed),
        subject.point,
        subject.inputs,
        outputs,
    )


def _subject(
    rng: np.random.Generator,
    taken: tuple[str, ...],
    call: Callable[..., Any],
    fixed: tuple[np.ndarray, ...],
    point: np.ndarray,
    inputs: Elements,
    outputs: Elements,
) -> Subject:
    steps = ladder(float(max(inputs.eps.max(), outputs.eps.max())))
    empty = np.zeros((1, 1, outputs.size))  # until they are measured
    products = {"forward": jax.jit(_jvp(call)), "reverse": jax.jit(_vjp(call))}
    subject = Subject(
        taken, call, fixed, point, inputs, outputs, steps, empty[0, 0], empty, empty[0, 0], products
    )
    n = point.size
    near = []
    for spacing in steps[[-1, -2, -1, -2]]:
        v = subject.direction(rng, np.arange(n))
        # Not at the point itself, where the function may have a kink or jump.
        points = [point + k * spacing * v for k in range(1, NOISE_POINTS + 1)]
        near.append([subject.value(x) for x in points])
    near, base = np.array(near), subject.value(point)
    return subject._replace(base=base, near=near, noise=noise_level(near, outputs.eps))


def _jvp(call: Callable[..., Any]) -> Callable[..., Any]:
    def forward(x: Any, v: Any, *fixed: Any) -> Any:
        return jax.jvp(lambda x: call(x, *fixed), (x,), (v,))[1]

    return forward


def _vjp(call: Callable[..., Any]) -> Callable[..., Any]:
    def reverse(x: Any, u: Any, *fixed: Any) -> Any:
        y, pull = jax.vjp(lambda x: call(x, *fixed), x)
        return pull(jnp.asarray(u, y.dtype))[0]

    return reverse
