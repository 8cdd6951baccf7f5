"""Forward against reverse mode: what each costs for a function, which is cheaper, and Jacobians."""

import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import jax
import numpy as np

from jaxcnn.autodiff.costs.comparison import ModeComparison, ModeCost, many, short
from jaxcnn.autodiff.costs.flops import UnknownTurnsError, count_flops
from jaxcnn.autodiff.costs.mode_programs import Program, flat, normal, numbers, programs, real
from jaxcnn.autodiff.jaxprs import NO_RULE, has
from jaxcnn.autodiff.leaves import is_inexact

FULL = {"jacfwd": "forward", "jacrev": "reverse", "numerical": "numerical"}


def compare_modes(
    f: Callable[..., Any],
    *args: Any,
    seconds: float = 1.0,
    max_passes: int = 1024,
    max_bytes: int = 2**31,
) -> ModeComparison:
    r"""What derivatives of f cost by forward and by reverse mode, and which to use.

    For m inputs (all floating-point numbers of args) and n outputs, one directional derivative
    (jvp) stands beside one gradient of a weighted sum of the outputs (vjp), and the whole Jacobian
    by m forward passes (jacfwd) beside n reverse passes (jacrev) and 2 m evaluations (central
    differences): FLOPs by `count_flops`, temporary memory from the compiled program, the median
    time of interleaved runs. The modes are held against each other: jvp and vjp by
    <J v, u> = <v, J' u>, the Jacobians number by number.

    Recommended is the mode whose passes cost less in all: m (FLOPs(jvp) + m + n) against
    n (FLOPs(vjp) + m + n). The m + n numbers that a pass reads and writes stand for what is moved;
    without them a function that only picks numbers would cost nothing.

    Args:
        f: any traceable function; options belong into a lambda.
        args: its arguments, arrays or pytrees of them; integers stay as they are.
        seconds: how long the timing lasts, about; every program runs at least three times.
        max_passes: a Jacobian that takes more passes than this is left out.
        max_bytes: so is one that takes more memory than this, result included.

    Returns:
        a report: prints as a table; `.recommendation` is "forward" or "reverse", and `.why`;
        `.costs` by program, `.disagreements`, `.inputs` and `.outputs`. A function with neither
        mode gets "numerical".

    Raises:
        ValueError: no floating-point inputs or outputs.

    Example:
        >>> import jax.numpy as jnp
        >>> report = compare_modes(lambda x: (x**2).sum(), jnp.ones(100), seconds=0.01)
        >>> report.recommendation, report.costs["jacfwd"].passes, report.costs["jacrev"].passes
        ('reverse', 100, 1)
        >>> report.why
        '100 forward passes at 599 are 59,900, 1 reverse pass at 500 is 500'

    Reference:
        Griewank & Walther (2008), Evaluating Derivatives, sections 3.2, 3.3 and 4.5.
    """
    g, xs, ys = real("compare_modes", f, args)
    m, n = numbers(xs), numbers(ys)
    keys = jax.random.split(jax.random.key(0))
    given = (xs, normal(keys[0], xs), normal(keys[1], ys))
    passes = {"function": 1, "jvp": 1, "vjp": 1, "jacfwd": m, "jacrev": n, "numerical": 2 * m}
    made = {
        name: _prepare(program, given, passes[name], max_passes, max_bytes, name in FULL)
        for name, program in programs(g).items()
    }
    runs = {name: run for name, (run, _) in made.items() if run is not None}
    times = _interleaved({name: lambda run=run: run(*given) for name, run in runs.items()}, seconds)
    costs = {
        name: ModeCost(name, passes[name], *figures, seconds=times.get(name))
        for name, (_, figures) in made.items()
    }
    exists = {name: costs[name].note == "" for name in ("jvp", "vjp")}
    flops = {name: costs[name].flops for name in ("jvp", "vjp")}
    recommendation, why = _cheaper(m, n, exists, flops)
    missing = costs["function"].uncounted
    if missing:
        why += f"; not counted: {', '.join(missing)}"
    results = {name: run(*given) for name, run in runs.items()}
    return ModeComparison(m, n, costs, _disagreements(results, given), recommendation, why)


def jacobian(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, mode: str = "auto"
) -> Callable[..., Any]:
    """The Jacobian of f, as `jax.jacobian`, by the mode that is cheaper.

    "auto" counts when the function is traced and runs nothing: m (FLOPs(jvp) + m + n) against
    n (FLOPs(vjp) + m + n), as `compare_modes` does, or m against n where FLOPs cannot be counted;
    a mode that f does not have is not taken. Put it into `jax.jit`, and it counts once.

    Args:
        f: any function of pytrees that JAX differentiates.
        argnums: by which arguments.
        mode: "auto", "forward" (m passes) or "reverse" (n passes).

    Returns:
        a function of f's arguments: outputs' pytree of inputs' pytree of arrays, (*out, *in).

    Raises:
        ValueError: another mode, outputs that are no floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> jacobian(lambda x: jnp.stack([x[0] * x[1], x[0]]))(jnp.array([2.0, 3.0]))
        Array([[3., 2.],
               [1., 0.]], dtype=float32)
    """
    ways = {"forward": jax.jacfwd, "reverse": jax.jacrev}
    if mode not in (*ways, "auto"):
        raise ValueError(f'jacobian: mode is "auto", "forward" or "reverse", got {mode!r}.')

    def of(*args: Any) -> Any:
        for leaf in jax.tree.leaves(jax.eval_shape(f, *args)):
            if not is_inexact(leaf):
                raise ValueError(
                    f"jacobian: f must return floating-point numbers, got {leaf.dtype}."
                )
        chosen = _chosen(f, argnums, args) if mode == "auto" else mode
        return ways.get(chosen, jax.jacrev)(f, argnums)(*args)

    return of


def _chosen(f: Callable[..., Any], argnums: int | Sequence[int], args: Sequence[Any]) -> str:
    """The mode by count; everything is traced, nothing run."""
    places = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def of_these(*these: Any) -> Any:
        full = list(args)
        for place, value in zip(places, these, strict=True):
            full[place] = value
        return f(*full)

    g, xs, ys = real("jacobian", of_these, [args[place] for place in places])
    made = programs(g)
    flops: dict[str, int | None] = {"jvp": None, "vjp": None}
    exists = dict.fromkeys(flops, True)
    shapes = [[jax.ShapeDtypeStruct(a.shape, a.dtype) for a in part] for part in (xs, xs, ys)]
    for name in flops:
        try:
            jaxpr = jax.make_jaxpr(made[name])(*shapes)
        except NO_RULE:
            exists[name] = False
            continue
        # The tangent of a custom_vjp can be traced, though not run.
        exists[name] = not has(jaxpr, ["custom_lin"])
        with contextlib.suppress(UnknownTurnsError):
            flops[name] = count_flops(made[name], *shapes).total
    return _cheaper(numbers(xs), numbers(ys), exists, flops)[0]


def _cheaper(
    m: int, n: int, exists: Mapping[str, bool], flops: Mapping[str, int | None]
) -> tuple[str, str]:
    """The mode whose passes cost less, and why; of equals, the one with fewer passes."""
    if not any(exists.values()):
        return "numerical", "the function has neither jvp nor vjp"
    if not all(exists.values()):
        mode, other = ("forward", "vjp") if exists["jvp"] else ("reverse", "jvp")
        return mode, f"the function has no {other}"
    forward, reverse = flops["jvp"], flops["vjp"]
    if forward is None or reverse is None:
        return ("forward", "reverse")[n < m], f"{m:,} forward passes, {n:,} reverse; FLOPs unknown"
    moved = m + n
    costs = (m * (forward + moved), m), (n * (reverse + moved), n)
    words = [
        f"{many(passes, f'{mode} pass', 'es')} at {short(flops + moved)} "
        f"{'is' if passes == 1 else 'are'} {short(cost)}"
        for (cost, passes), mode, flops in zip(
            costs, ("forward", "reverse"), (forward, reverse), strict=True
        )
    ]
    return ("forward", "reverse")[costs[1] < costs[0]], ", ".join(words)


def _prepare(
    program: Program, given: Any, passes: int, max_passes: int, max_bytes: int, full: bool
) -> tuple[Program | None, tuple[int | None, int | None, str, tuple[str, ...]]]:
    """The compiled program or None; its FLOPs, temporary bytes, why it is left out, uncounted."""
    if full and passes > max_passes:
        note = f"left out: {many(passes, 'pass', 'es')}, more than {max_passes:,}"
        return None, (None, None, note, ())
    try:
        compiled = jax.jit(program).lower(*given).compile()
    except NO_RULE as error:
        return None, (None, None, f"none: {_first_sentence(error)}", ())
    flops, uncounted = None, ()
    with contextlib.suppress(UnknownTurnsError):
        counted = count_flops(program, *given)
        flops, uncounted = counted.total, tuple(counted.uncounted)
    memory = compiled.memory_analysis()
    if memory is None:
        return compiled, (flops, None, "", uncounted)
    temporary = memory.temp_size_in_bytes
    taken = temporary + memory.output_size_in_bytes
    if full and taken > max_bytes:
        note = f"left out: {taken:,} bytes, more than {max_bytes:,}"
        return None, (flops, temporary, note, uncounted)
    return compiled, (flops, temporary, "", uncounted)


def _first_sentence(error: Exception) -> str:
    return str(error).splitlines()[0].partition(". ")[0].rstrip(".")


def _interleaved(calls: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Median seconds of a call of each: all by turns in random order, so that all wait alike."""
    for call in calls.values():
        jax.block_until_ready(call())
    taken: dict[str, list[float]] = {name: [] for name in calls}
    names, shuffle = list(calls), random.Random(0)
    end, turns = time.perf_counter() + seconds, 0
    while turns < 3 or time.perf_counter() < end:
        for name in shuffle.sample(names, len(names)):
            began = time.perf_counter()
            jax.block_until_ready(calls[name]())
            taken[name].append(time.perf_counter() - began)
        turns += 1
    return {name: median(times) for name, times in taken.items()}


def _disagreements(results: Mapping[str, Any], given: Any) -> dict[str, float]:
    """How far the modes are apart, relative; nothing where only one of a pair was run."""
    found = {}
    _, v, u = map(flat, given)
    if "jvp" in results and "vjp" in results:
        forward, back = flat(results["jvp"][1]), flat(results["vjp"][1])
        scale = np.linalg.norm(forward) * np.linalg.norm(u)
        found["jvp against vjp"] = _ratio(abs(forward @ u - v @ back), scale)
    full = {name: flat(results[name]) for name in FULL if name in results}
    for i, (a, left) in enumerate(full.items()):
        for b, right in list(full.items())[i + 1 :]:
            found[f"{a} against {b}"] = _ratio(abs(left - right).max(), abs(left).max())
    return found


def _ratio(difference: Any, scale: Any) -> float:
    return float(difference / scale) if scale else float(difference)
