"""Expressions as a NumPy program: every shared part is computed once, under its own number."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxcnn.autodiff.symbols.differentiation import in_order
from jaxcnn.autodiff.symbols.scalars import sympy

DEEPEST = 20  # levels in one statement; Python's parser refuses 200 parentheses
# Of scalars; NumPy's own (or SciPy's) for the rest. Heaviside(0) = 1/2 is SymPy's.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Heaviside": lambda x, at_zero=0.5: np.heaviside(x, at_zero),
    "DiracDelta": lambda *_: 0.0,
    "Max": lambda *args: max(args),
    "Min": lambda *args: min(args),
    "stop_gradient": lambda x: x,
}


def numpy_function(
    symbols: Sequence[Any], expressions: Sequence[Any]
) -> Callable[[np.ndarray], list[Any]]:
    """A function of the symbols' values to those of the expressions, in float64."""
    sp = sympy()
    steps, written = _shared(expressions)
    # Already shared: what `lambdify` is given whole it also searches as a tree.
    modules = [FUNCTIONS, "scipy", "numpy"]
    compiled = sp.lambdify([symbols], written, modules, cse=lambda e: (steps, e))

    def compute(values: np.ndarray) -> list[Any]:
        with np.errstate(all="ignore"):  # the branches of a choice are computed, and dropped
            return compiled(values)

    return compute


def _shared(expressions: Any) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """Names for what occurs more than once or lies deep; `sympy.cse` takes many times as long."""
    sp = sympy()
    order = in_order(expressions, lambda node: node.args)
    uses = Counter(part for node in order for part in node.args)
    uses.update(expressions)
    steps, written, depth = [], {}, {}
    for node in order:
        written[node] = _with_parts(node, [written[part] for part in node.args])
        depth[node] = 1 + max((depth[part] for part in node.args), default=-1)
        # A choice is named too: inside a condition SymPy would multiply out its cases.
        named = uses[node] > 1 or depth[node] > DEEPEST or isinstance(node, sp.Piecewise)
        if named and isinstance(node, sp.Expr) and not node.is_Atom:
            name = sp.Symbol(f"_v{len(steps)}", real=True)
            steps.append((name, written[node]))
            written[node], depth[node] = name, 0
    return steps, [written[e] for e in expressions]


def _with_parts(node: Any, parts: list[Any]) -> Any:
    """The same operation on other operands, as it stands."""
    sp = sympy()
    if all(a is b for a, b in zip(node.args, parts, strict=True)):
        return node
    core = sp.core
    evaluates = (sp.Add, sp.Mul, sp.Pow, core.function.Application, core.relational.Relational)
    return node.func(*parts, evaluate=False) if isinstance(node, evaluates) else node.func(*parts)
