"""Forward against reverse mode: where m inputs and n outputs cross, and memory against depth."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from timing import interleaved

from jaxcnn.autodiff.costs.flops import count_flops
from jaxcnn.plots import Panel

HIDDEN = 256
Cost = dict[str, float]


def costs(
    programs: Mapping[tuple[Any, str], tuple[Callable[..., Any], tuple[Any, ...]]], seconds: float
) -> dict[Any, dict[str, Cost]]:
    """FLOPs, temporary bytes and median seconds of each program, all of them by turns.

    Args:
        programs: function and arguments, by (where it stands, its name).
        seconds: how long the timing lasts, about.
    """
    compiled = {key: jax.jit(f).lower(*args).compile() for key, (f, args) in programs.items()}
    calls = {
        str(key): lambda run=run, args=programs[key][1]: jax.block_until_ready(run(*args))
        for key, run in compiled.items()
    }
    times = interleaved(calls, seconds)
    found: dict[Any, dict[str, Cost]] = {}
    for key, run in compiled.items():
        memory = run.memory_analysis()
        assert memory is not None
        f, args = programs[key]
        place, name = key
        found.setdefault(place, {})[name] = {
            "flops": count_flops(f, *args).total,
            "bytes": memory.temp_size_in_bytes,
            "seconds": times[str(key)],
        }
    return found


def normal(seed: int, *shape: int) -> Array:
    return jax.random.normal(jax.random.key(seed), shape)


def network(m: int, n: int) -> Callable[[Array], Array]:
    """m -> 256 -> 256 -> n with tanh between."""
    kernels = [
        normal(i, a, b) / math.sqrt(a)
        for i, (a, b) in enumerate(itertools.pairwise((m, HIDDEN, HIDDEN, n)))
    ]

    def f(x: Array) -> Array:
        for kernel in kernels[:-1]:
            x = jnp.tanh(x @ kernel)
        return x @ kernels[-1]

    return f


def crossing(xs: Sequence[float], forward: Sequence[float], reverse: Sequence[float]) -> float:
    """Where forward mode becomes dearer, between the last two x on either side, by logarithms."""
    gaps = [math.log(f / r) for f, r in zip(forward, reverse, strict=True)]
    for i in reversed(range(len(gaps) - 1)):
        if gaps[i] <= 0 < gaps[i + 1]:
            share = -gaps[i] / (gaps[i + 1] - gaps[i])
            return math.exp((1 - share) * math.log(xs[i]) + share * math.log(xs[i + 1]))
    return xs[0] if gaps[0] > 0 else xs[-1]


def sweep(smoke: bool, seconds: float) -> tuple[dict[str, Any], list[Panel]]:
    """(a) jacfwd against jacrev of a network with m inputs and n outputs."""
    inputs = [2] if smoke else [1, 4, 16, 64, 256, 1024]
    outputs = [4] if smoke else [4, 16, 64, 256]
    programs = {}
    for m, n in itertools.product(inputs, outputs):
        f, x = network(m, n), normal(9, m)
        programs[(m, n), "jacfwd"] = jax.jacfwd(f), (x,)
        programs[(m, n), "jacrev"] = jax.jacrev(f), (x,)
    grid = costs(programs, 12 * seconds)
    rows = {
        f"{m} x {n}": {f"{mode}_{key}": v for mode, c in cell.items() for key, v in c.items()}
        for (m, n), cell in grid.items()
    }

    def line(mode: str, key: str, n: int, unit: float) -> tuple[Sequence[float], list[float]]:
        return inputs, [grid[m, n][mode][key] / unit for m in inputs]

    crossings = {
        key: [crossing(inputs, *(line(mode, key, n, 1)[1] for mode in PASSES)) for n in outputs]
        for key in ("flops", "bytes", "seconds")
    }
    n = outputs[len(outputs) // 2]
    panels = [
        Panel(
            f"{title} at n = {n} outputs",
            "inputs m",
            label,
            {f"{mode} ({how})": line(mode, key, n, unit) for mode, how in PASSES.items()},
            "xy",
            {f"m = {n}": ([n, n], [1e-12, max(line("jacfwd", key, n, unit)[1])])},
        )
        for title, label, key, unit in (
            ("Time", "milliseconds of a whole Jacobian", "seconds", 1e-3),
            ("FLOPs", "millions of a whole Jacobian", "flops", 1e6),
            ("Memory", "kilobytes, temporary", "bytes", 1e3),
        )
    ]
    panels.append(
        Panel(
            "Where forward becomes dearer",
            "outputs n",
            "inputs m at the crossing",
            {
                f"crossing by {name}": (outputs, crossings[key])
                for name, key in (("time", "seconds"), ("FLOPs", "flops"), ("memory", "bytes"))
            },
            "xy",
            {"m = n": (outputs, outputs)},
        )
    )
    found = {
        f"crossing_{key}": {f"n={n}": round(m, 1) for n, m in zip(outputs, ms, strict=True)}
        for key, ms in crossings.items()
    }
    return {**found, "sweep": rows}, panels


PASSES = {"jacfwd": "m forward passes", "jacrev": "n reverse passes"}
KEPT = {
    "function": "f alone",
    "jvp": "forward: jvp",
    "vjp": "reverse: vjp",
    "vjp_each": "reverse, each layer checkpointed",
    "vjp_blocks": "reverse, blocks of sqrt(L) layers",
}


def depth(smoke: bool, seconds: float) -> tuple[dict[str, Any], list[Panel]]:
    """(b) What a derivative keeps in memory, against the number of layers."""
    depths = [4] if smoke else [4, 16, 64, 256]
    batch, width = 256, 64

    def layer(x: Array, kernel: Array) -> tuple[Array, None]:
        return jnp.tanh(jnp.sin(x @ kernel) * x), None

    def deep(kernels: Array, x: Array) -> Array:
        return (jax.lax.scan(layer, x, kernels)[0] ** 2).mean()

    def each(kernels: Array, x: Array) -> Array:
        return (jax.lax.scan(jax.checkpoint(layer), x, kernels)[0] ** 2).mean()

    def blocks(kernels: Array, x: Array) -> Array:
        many = math.isqrt(len(kernels))
        block = jax.checkpoint(lambda x, kernels: jax.lax.scan(layer, x, kernels))
        kernels = kernels.reshape(many, -1, width, width)
        return (jax.lax.scan(block, x, kernels)[0] ** 2).mean()

    programs: dict[str, Callable[..., Any]] = {
        "function": deep,
        "jvp": lambda k, x: jax.jvp(deep, (k, x), (k, x)),
        "vjp": jax.value_and_grad(deep, argnums=1),
        "vjp_each": jax.value_and_grad(each, argnums=1),
        "vjp_blocks": jax.value_and_grad(blocks, argnums=1),
    }
    table = costs(
        {
            (layers, name): (
                f,
                (normal(0, layers, width, width) / math.sqrt(width), normal(1, batch, width)),
            )
            for layers in depths
            for name, f in programs.items()
        },
        8 * seconds,
    )
    panels = [
        Panel(
            title,
            "layers L",
            label,
            {
                name: (depths, [table[layers][key][quantity] / unit for layers in depths])
                for key, name in KEPT.items()
            },
            "xy",
        )
        for title, label, quantity, unit in (
            ("What it keeps", "temporary megabytes", "bytes", 1e6),
            ("What it computes", "millions of FLOPs", "flops", 1e6),
            ("What it takes", "milliseconds", "seconds", 1e-3),
        )
    ]
    rows = {
        f"{layers} layers": {f"{mode}_{k}": v for mode, c in cell.items() for k, v in c.items()}
        for layers, cell in table.items()
    }
    return {"depth": rows}, panels
