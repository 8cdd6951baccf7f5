"""Derivatives of many expressions that share parts: each shared part is differentiated once.

SymPy's own `diff` walks every expression as a tree. The loss of a small CNN is a small graph and a
huge tree, and so are its derivatives.
"""

from collections.abc import Callable, Sequence
from typing import Any

from jaxcnn.autodiff.symbols.scalars import choose, extreme, is_condition, stopped, sympy


def parts(expression: Any) -> Sequence[Any]:
    """The subexpressions through which an expression varies."""
    sp = sympy()
    if isinstance(expression, sp.Piecewise):
        return [value for value, _ in expression.args]
    flat = (stopped(), sp.sign, sp.floor, sp.ceiling, sp.Heaviside)
    return () if isinstance(expression, flat) or is_condition(expression) else expression.args


def in_order(roots: Sequence[Any], parts: Callable[[Any], Sequence[Any]] = parts) -> list[Any]:
    """Every subexpression once, after its own parts."""
    found: dict[Any, None] = {}
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if node in found:
            continue
        if ready:
            found[node] = None
        else:
            stack.append((node, True))
            stack += [(part, False) for part in parts(node)]
    return list(found)


def differentiate(
    expressions: Sequence[Any], symbols: Sequence[Any], limit: int
) -> list[list[Any]]:
    """The derivative of every expression by every symbol: one list per symbol.

    Args:
        expressions: of real scalars.
        symbols: by which.
        limit: how many derivatives of subexpressions are taken at most.

    Raises:
        ValueError: more would be needed.
    """
    zero = sympy().S.Zero
    order = in_order(expressions)
    bits = {symbol: 1 << i for i, symbol in enumerate(symbols)}
    reach: dict[Any, int] = {}  # the symbols that a subexpression depends on, as bits
    for node in order:
        mask = bits.get(node, 0)
        for part in parts(node):
            mask |= reach[part]
        reach[node] = mask
    steps = sum(mask.bit_count() for mask in reach.values())
    if steps > limit:
        raise ValueError(
            f"jacobian: {len(expressions):,} expressions by {len(symbols):,} symbols take "
            f"{steps:,} derivatives of subexpressions, more than {limit:,}: use smaller shapes or "
            "fewer arguments, or raise limit= of `symbolic`."
        )
    partials: dict[tuple[Any, int], Any] = {}
    columns = []
    for symbol in symbols:
        slopes: dict[Any, Any] = {symbol: sympy().S.One}
        for node in order:
            if reach[node] & bits[symbol] and node != symbol:
                slopes[node] = _slope(node, slopes, partials)
        columns.append([slopes.get(e, zero) for e in expressions])
    return columns


def _slope(node: Any, slopes: dict[Any, Any], partials: dict[tuple[Any, int], Any]) -> Any:
    """One step of the chain rule."""
    sp = sympy()
    zero = sp.S.Zero
    if isinstance(node, sp.Add):
        return sp.Add(*(slopes.get(part, zero) for part in node.args))
    if isinstance(node, sp.Piecewise):
        return choose(*((slopes.get(e, zero), c) for e, c in node.args))
    terms = []
    for i, part in enumerate(node.args):
        if part in slopes:
            if (node, i) not in partials:
                partials[node, i] = _partial(node, i)
            terms.append(partials[node, i] * slopes[part])
    return sp.Add(*terms)


def _partial(node: Any, i: int) -> Any:
    """The derivative of an elementary function by its i-th argument, as SymPy has it."""
    sp = sympy()
    others = node.args[:i] + node.args[i + 1 :]
    if isinstance(node, sp.Mul):
        return sp.Mul(*others)
    if isinstance(node, sp.Pow):
        base, power = node.args
        return node * sp.log(base) if i else power * base ** (power - 1)
    if isinstance(node, sp.Max):
        return sp.Heaviside(node.args[i] - extreme("max", *others))
    if isinstance(node, sp.Min):
        return sp.Heaviside(extreme("min", *others) - node.args[i])
    return node.fdiff(i + 1)
