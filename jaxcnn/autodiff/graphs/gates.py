"""What operations do to gradients, as rules that are checked on the numbers at hand.

Add distributes, max routes, mul swaps, and a copy (a value used more than once) adds.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcnn.autodiff.jaxprs import definition
from jaxcnn.autodiff.traces.derivations import Derivation
from jaxcnn.autodiff.traces.formulas import Name, evaluate_formula
from jaxcnn.autodiff.traces.notation import name_text
from jaxcnn.autodiff.traces.programs import Program, Run, value_of


class Claim(NamedTuple):
    """What a gate is said to do to the gradient, and how far from it the numbers are."""

    at: str  # the value it stands at, such as v₄
    gate: str  # what it does, in a word
    says: str  # the rule in full, with the ties it met
    error: float  # largest difference over the largest magnitude
    holds: bool


class Facts(NamedTuple):
    """The numbers of one step."""

    operands: Sequence[Any]
    out: Any
    bar: Any  # the adjoint of the output
    parts: Mapping[int, Any]  # operand -> what the step adds to its adjoint
    params: Mapping[str, Any]  # of the equation


class Pair(NamedTuple):
    """What the rule says and what the numbers are."""

    expected: Any
    actual: Any
    terms: Any = 0.0  # sums of the absolute terms: where they cancel, rounding is no failure


Pairs = Iterable[Pair]


def step_claim(line: Program, i: int, derivation: Derivation, found: Run, at: Name) -> Claim | None:
    """The claim about one step; None where no adjoint passes it or no rule is known.

    Args:
        line: the program.
        i: the place of one of its steps.
        derivation: of that step.
        found: its numbers.
        at: the name of the step's value.
    """
    step = derivation.step
    parts = {place: part for (number, place), part in found.parts.items() if number == i}
    if not parts or len(step.outputs) != 1:
        return None
    operands = [value_of(o, found.values) for o in step.operands]
    (number,) = step.outputs
    facts = Facts(
        operands, found.values[number], found.adjoints[number], parts, step.equation.params
    )
    if step.name in GATES:
        gate, says, rule = GATES[step.name]
        pairs = rule(facts)
        says += _ties(derivation, facts)
    elif derivation.rule.adjoints or derivation.rule.partials:
        gate = "scales" if derivation.rule.partials else "rearranges"
        says = {
            "scales": "multiplies the gradient by the local derivative",
            "rearranges": "puts each number's gradient where the number came from",
        }[gate]
        pairs = _by_formula(derivation, facts, found, at)
    else:
        return None
    return _judged(at, gate, says, pairs)


def copy_claim(line: Program, found: Run, number: int, at: Name) -> Claim | None:
    """The claim about a value that is used more than once; None if it is not."""
    parts = [
        part for (i, place), part in found.parts.items() if line.steps[i].operands[place] == number
    ]
    if len(parts) < 2 or number in line.outputs:
        return None
    says = f"is used {len(parts)} times: the gradients that come back add up"
    pair = Pair(sum(parts[1:], parts[0]), found.adjoints[number], sum(map(jnp.abs, parts)))
    return _judged(at, "adds", says, [pair])


def _judged(at: Name, gate: str, says: str, pairs: Pairs) -> Claim:
    error, eps = 0.0, 0.0
    for expected, actual, terms in pairs:
        eps = max(eps, float(jnp.finfo(jnp.asarray(actual).dtype).eps))
        a, e = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
        sizes = [np.abs(values).max(initial=0) for values in (a, e, np.asarray(terms, np.float64))]
        scale = max(*sizes, 1e-30)
        error = max(error, float(np.abs(a - e).max(initial=0) / scale))
    return Claim(name_text(at), gate, says, error, error <= 1e4 * eps)


def _distributes(*signs: int) -> Callable[[Facts], Pairs]:
    def rule(facts: Facts) -> Pairs:
        return [_folded(signs[i] * facts.bar, part) for i, part in facts.parts.items()]

    return rule


def _swaps(facts: Facts) -> Pairs:
    others = {0: facts.operands[-1], 1: facts.operands[0]}
    return [_folded(facts.bar * others[i], part) for i, part in facts.parts.items()]


def _euler(facts: Facts) -> Pairs:
    """Of what is linear in both operands: <gradient of a, a> = <adjoint, value>, and so for b."""
    whole, terms = jnp.sum(facts.bar * facts.out), jnp.sum(jnp.abs(facts.bar * facts.out))
    return [
        Pair(whole, jnp.sum(part * facts.operands[i]), terms) for i, part in facts.parts.items()
    ]


def _routes(larger: bool) -> Callable[[Facts], Pairs]:
    def rule(facts: Facts) -> Pairs:
        a, b = facts.operands if larger else facts.operands[::-1]
        share = jnp.where(a == b, 0.5, jnp.where(a > b, 1.0, 0.0))
        shares = (share, 1 - share)
        return [_folded(facts.bar * shares[i], part) for i, part in facts.parts.items()]

    return rule


def _routes_one(facts: Facts) -> Pairs:
    """Of a maximum over axes: the winner takes all, winners that are equal share."""
    (a,) = facts.operands
    axes = facts.params["axes"]
    wins = a == jnp.expand_dims(facts.out, axes)
    share = wins / jnp.sum(wins, axis=axes, keepdims=True)
    return [Pair(jnp.expand_dims(facts.bar, axes) * share, facts.parts[0])]


def _routes_windows(facts: Facts) -> Pairs:
    """Of max pooling: no gradient is lost, and it lands on at most one pixel for each window."""
    (part,) = facts.parts.values()
    axes = tuple(range(1, part.ndim - 1))
    landed, sent = jnp.count_nonzero(part), jnp.count_nonzero(facts.bar)
    kept = jnp.sum(facts.bar, axis=axes), jnp.sum(part, axis=axes), jnp.sum(jnp.abs(facts.bar))
    return [Pair(*kept), Pair(0.0, jnp.maximum(landed - sent, 0).astype(part.dtype))]


def _passes(facts: Facts) -> Pairs:
    return [Pair(jnp.where(facts.operands[0] > 0, facts.bar, 0), facts.parts[0])]


def _spreads(facts: Facts) -> Pairs:
    (part,) = facts.parts.values()
    spread = jnp.expand_dims(facts.bar, facts.params["axes"])
    return [Pair(jnp.broadcast_to(spread, part.shape), part)]


def _gathers(facts: Facts) -> Pairs:
    (part,) = facts.parts.values()
    return [Pair(jnp.sum(facts.bar), jnp.sum(part), jnp.sum(jnp.abs(facts.bar)))]


def _by_formula(derivation: Derivation, facts: Facts, found: Run, at: Name) -> Pairs:
    known = {at: facts.out, at._replace(mark="bar"): facts.bar}
    for name, value in zip(derivation.operands, facts.operands, strict=True):
        if isinstance(name, Name):
            known[name] = value
    formulas = {i: derivation.adjoint(i, found.adjoints) for i in facts.parts}
    pairs = []
    for i, part in facts.parts.items():
        local = derivation.partial(i)
        terms = jnp.sum(jnp.abs(facts.bar))
        if local is not None:
            terms = _folded(facts.bar * evaluate_formula(local, known), part).terms
        pairs.append(Pair(evaluate_formula(formulas[i], known), part, terms))
    return pairs


SWAPS = "swaps: each operand's gradient is the incoming one times the other operand"
DISTRIBUTES = "gives every operand the incoming gradient"
LARGER = "routes the gradient to the larger operand; equal ones share it"
GATES: dict[str, tuple[str, str, Callable[[Facts], Pairs]]] = {
    "add": ("distributes", DISTRIBUTES, _distributes(1, 1)),
    "add_any": ("distributes", DISTRIBUTES, _distributes(1, 1)),
    "broadcast_in_dim": ("adds", "adds the gradients of all copies", _gathers),
    "conv": ("swaps", SWAPS, _euler),
    "conv_general_dilated": ("swaps", SWAPS, _euler),
    "dot_general": ("swaps", SWAPS, _euler),
    "max": ("routes", LARGER, _routes(larger=True)),
    "max_pool": ("routes", "routes each window's gradient to one pixel", _routes_windows),
    "min": ("routes", LARGER.replace("larger", "smaller"), _routes(larger=False)),
    "mul": ("swaps", SWAPS, _swaps),
    "reduce_max": ("routes", "routes the gradient to the largest; equal ones share", _routes_one),
    "reduce_sum": ("distributes", "gives every summand the incoming gradient", _spreads),
    "relu": ("routes", "passes the gradient where its input is positive", _passes),
    "sub": ("distributes", DISTRIBUTES + ", the second with a minus", _distributes(1, -1)),
}


def _folded(full: Any, part: Any) -> Pair:
    """The gradient of a small operand that was stretched: summed over its copies."""
    if full.shape == part.shape:
        return Pair(full, part)
    added = full.ndim - part.ndim
    stretched = [i for i in range(full.ndim) if i < added or part.shape[i - added] != full.shape[i]]
    summed, terms = (jnp.sum(values, axis=tuple(stretched)) for values in (full, jnp.abs(full)))
    return Pair(jnp.reshape(summed, part.shape), part, terms)


def _ties(derivation: Derivation, facts: Facts) -> str:
    name = derivation.step.name
    if name in ("max", "min"):
        count = int(jnp.sum(facts.operands[0] == facts.operands[1]))
    elif name == "relu":
        count = int(jnp.sum(facts.operands[0] == 0))
        return f" ({count:,} at zero, where it stops)" if count else ""
    elif name == "reduce_max":
        winners = facts.operands[0] == jnp.expand_dims(facts.out, facts.params["axes"])
        count = int(jnp.sum(winners)) - facts.out.size
    elif name == "max_pool":
        count = _window_ties(derivation, facts)
    else:
        return ""
    return f" ({count:,} {'tie' if count == 1 else 'ties'})" if count else ""


def _window_ties(derivation: Derivation, facts: Facts) -> int:
    """How many windows have their maximum more than once."""
    inside = definition(derivation.step.equation)
    if inside is None:
        return 0
    pools = [e for e in inside.eqns if e.primitive.name == "reduce_window_max"]
    if len(pools) != 1 or pools[0].invars[0] is not inside.invars[0]:
        return 0
    params = pools[0].params
    window, strides = params["window_dimensions"], params["window_strides"]
    x = jnp.pad(facts.operands[0], params["padding"], constant_values=-jnp.inf)
    winners = jnp.zeros(facts.out.shape, int)
    for tap in itertools.product(*(range(n) for n in window)):
        places = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(
                tap, params["window_dilation"], facts.out.shape, strides, strict=True
            )
        )
        winners += x[places] == facts.out
    return int(jnp.sum(winners > 1))
