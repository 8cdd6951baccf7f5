"""What a function costs: floating-point operations counted on its jaxpr, loops included."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from jaxcnn.autodiff.costs.flop_rules import COMBINATIONS, FLOPS, FREE, PRODUCTS, Rule, floating
from jaxcnn.autodiff.costs.loops import UNKNOWN, Path, runs
from jaxcnn.autodiff.jaxprs import ONCE, definition, inner_jaxprs, opened


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one call."""

    by_primitive: Mapping[str, int]
    """By the name of JAX's operation, dearest first; free ones are left out."""
    uncounted: tuple[str, ...] = ()
    """Operations that yield floating-point numbers and for which there is no rule."""

    @property
    def total(self) -> int:
        """The sum over all operations."""
        return sum(self.by_primitive.values())

    @property
    def multiply_adds(self) -> int:
        """Of dot products and convolutions alone; each is two floating-point operations."""
        return sum(self.by_primitive.get(name, 0) for name in PRODUCTS) // 2

    def __str__(self) -> str:
        head = f"{self.total:,} FLOPs, {self.multiply_adds:,} multiply-adds"
        wide = max(map(len, self.by_primitive), default=0)
        digits = len(f"{self.total:,}")
        lines = [
            f"  {name:<{wide}}  {count:>{digits},}  {count / self.total:6.1%}"
            for name, count in self.by_primitive.items()
        ]
        if self.uncounted:
            lines.append(f"  not counted: {', '.join(self.uncounted)}")
        return "\n".join([head, *lines])


class UnknownTurnsError(ValueError):
    """A loop that turns an unknown number of times stands in the way of a count."""


def count_flops(f: Callable[..., Any], *args: Any) -> Flops:
    r"""How many floating-point operations f(*args) takes, as its jaxpr says.

    A multiply-add of a dot product or a convolution is 2, whatever the dtype: a dot product of
    length n is 2 n, a convolution 2 b prod(out) c_out prod(window) c_in / groups. Padding counts;
    zeros between the pixels of a transposed convolution do not. Each number that arithmetic or a
    transcendental function yields is 1 (sin like add; a complex one like a real one), x^n is its
    multiplications, a sum or maximum of n numbers n - 1, a pooling window of n taps likewise.
    Factorizations and FFTs count their leading terms. Integers outside of products, truths,
    comparisons, random bits and the moving of data are free.

    jit, remat, custom derivatives and branches are followed, and so are the primitives of jaxcnn.
    A `scan` (a `fori_loop` of fixed length) counts its body times its length; XLA's own cost
    analysis counts it once. Of a `cond` the dearest branch counts. A `while` counts every turn:
    where the turns depend on no argument, its counter alone is run; where they do, f is run once
    with counters in its loops, and everything counts as often as it ran, branches too, which takes
    arrays for arguments. What stands in the jaxpr counts even where nobody uses it and a compiler
    drops it.

    Args:
        f: any traceable function; options belong into a lambda.
        args: its arguments: arrays or `jax.ShapeDtypeStruct`s, or pytrees of them.

    Returns:
        `.total`, `.by_primitive`, `.multiply_adds`, and `.uncounted`; prints as a table.

    Raises:
        ValueError: operations in a while loop whose turns depend on arguments without a value, or
            in what else runs its inside an unknown number of times (kernels).

    Example:
        >>> import jax.numpy as jnp
        >>> x, kernel = jnp.ones((2, 3)), jnp.ones((3, 4))
        >>> print(count_flops(lambda x, kernel: jnp.sin(x @ kernel), x, kernel))
        56 FLOPs, 24 multiply-adds
          dot_general  48   85.7%
          sin           8   14.3%
        >>> count_flops(lambda x: jax.lax.fori_loop(0, 100, lambda _, x: 2 * x, x), x).total
        600

    Reference:
        Griewank & Walther (2008), Evaluating Derivatives, sections 2.5 and 4.5 (how costs add up).
    """
    jaxpr = jax.make_jaxpr(f)(*args)
    counter = _count("count_flops", jaxpr, FLOPS, jax.tree.leaves(args))
    found = {name: count for name, count in counter.most_common() if count}
    return Flops(found, tuple(sorted(_uncounted(jaxpr))))


def count_products(name: str, f: Callable[..., Any], *args: Any) -> int:
    """Multiply-adds of dot products and convolutions; `name` is the caller's, for its errors."""
    return _count(name, jax.make_jaxpr(f)(*args), PRODUCTS, ()).total()


def _count(name: str, jaxpr: ClosedJaxpr, rules: Mapping[str, Rule], args: Any) -> Counter[str]:
    """Without running anything that depends on the arguments if possible, else by a run."""
    try:
        return _local(name, rules, jaxpr)
    except UnknownTurnsError:
        if len(args) != len(jaxpr.in_avals) or not all(map(_concrete, (*args, *jaxpr.consts))):
            raise
        return _Counting(name, rules, runs(jaxpr, args)).total(jaxpr)


def _concrete(value: Any) -> bool:
    numbers = (jax.Array, np.ndarray, np.generic, int, float, complex)
    return isinstance(value, numbers) and not isinstance(value, Tracer)


def _local(name: str, rules: Mapping[str, Rule], jaxpr: Jaxpr | ClosedJaxpr) -> Counter[str]:
    """One run of a jaxpr of whose inputs nothing is known."""
    inner, _ = opened(jaxpr)
    known = runs(jaxpr, [UNKNOWN] * len(inner.invars))
    # Not the branches, even where it is known which is taken: the dearest counts.
    loops = {path: count for path, count in known.items() if isinstance(path[-1], int)}
    return _Counting(name, rules, loops).total(jaxpr)


@dataclass(frozen=True)
class _Counting:
    """One way through a jaxpr: what is counted, and what is known of its loops."""

    name: str
    rules: Mapping[str, Rule]
    known: Mapping[Path, int]

    def total(self, jaxpr: Jaxpr | ClosedJaxpr, times: int = 1, path: Path = ()) -> Counter[str]:
        found: Counter[str] = Counter()
        for number, equation in enumerate(jaxpr.eqns):
            found.update(self.one(equation, times, (*path, number)))
        return found

    def one(self, equation: JaxprEqn, times: int, path: Path) -> Counter[str]:
        """What an equation takes that runs so many times in all."""
        name, params = equation.primitive.name, equation.params
        if name in self.rules:
            return Counter({name: times * self.rules[name](equation)})
        ours = definition(equation)
        if ours is not None:
            return _times(times, self.alone(ours))
        if name in ONCE:
            (inner,) = inner_jaxprs(equation)
            return self.total(inner, times, (*path, "body"))
        if name == "scan":
            return self.total(params["jaxpr"], times * params["length"], (*path, "body"))
        if name == "while":
            return self.loop(equation, times, path)
        if name == "cond":
            return self.branches(equation, times, path)
        return self.others(equation, times)

    def alone(self, jaxpr: Jaxpr | ClosedJaxpr) -> Counter[str]:
        return _local(self.name, self.rules, jaxpr)

    def loop(self, equation: JaxprEqn, times: int, path: Path) -> Counter[str]:
        test, body = equation.params["cond_jaxpr"], equation.params["body_jaxpr"]
        if path in self.known:
            turns = self.known[path]
            found = self.total(body, turns, (*path, "body"))
            found.update(self.total(test, times + turns, (*path, "cond")))
            return found
        return self.unknown(equation)

    def branches(self, equation: JaxprEqn, times: int, path: Path) -> Counter[str]:
        branches = equation.params["branches"]
        paths = [(*path, f"branch {number}") for number in range(len(branches))]
        if paths[0] not in self.known:
            return _times(times, max(map(self.alone, branches), key=Counter.total))
        found: Counter[str] = Counter()
        for branch, inside in zip(branches, paths, strict=True):
            found.update(self.total(branch, self.known[inside], inside))
        return found

    def others(self, equation: JaxprEqn, times: int) -> Counter[str]:
        name, params = equation.primitive.name, equation.params
        if name in COMBINATIONS:
            return _times(times * COMBINATIONS[name](equation), self.alone(params["jaxpr"]))
        if name == "custom_linear_solve":
            return _times(times, self.alone(params["jaxprs"].solve))
        if name == "shard_map":
            axes = params["mesh"].shape
            devices = int(np.prod([axes[axis] for axis in params["newly_manual_axes"]]))
            return _times(times * devices, self.alone(params["jaxpr"]))
        return self.unknown(equation)

    def unknown(self, equation: JaxprEqn) -> Counter[str]:
        """Nothing where there is nothing inside to count, else an error."""
        if not any(self.alone(jaxpr).total() for jaxpr in inner_jaxprs(equation)):
            return Counter()
        what = "products" if self.rules is PRODUCTS else "operations"
        raise UnknownTurnsError(
            f"{self.name}: the {what} inside {equation.primitive.name!r} run an unknown number of "
            "times; count the function inside it, or use a loop of fixed length (`jax.lax.scan`)."
        )


def _times(times: int, found: Counter[str]) -> Counter[str]:
    return Counter({name: times * count for name, count in found.items()})


def _uncounted(jaxpr: Jaxpr | ClosedJaxpr) -> set[str]:
    """Primitives that yield floating-point numbers, hold no function and have no rule."""
    found: set[str] = set()
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        ours = definition(equation)
        inside = inner_jaxprs(equation) if ours is None else [ours]
        for inner in inside:
            found |= _uncounted(inner)
        if (
            not inside
            and name not in FREE
            and name not in FLOPS
            and any(map(floating, equation.outvars))
        ):
            found.add(name)
    return found
