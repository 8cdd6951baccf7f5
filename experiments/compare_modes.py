"""Four ways to differentiate, side by side: forward, reverse, numerical and symbolic.

(a) Whole Jacobians of a network with m inputs and n outputs: where the modes cross.
(b) Memory against depth, with and without `jax.checkpoint`.
(c) A CNN's loss: one gradient by reverse mode, one directional derivative by forward mode.
(d) LeNet trained with forward gradients and with backpropagation.
(e) Errors of finite differences against their step.
(f) Operations of derivatives as formulas and as programs.
(g) Products with the Hessian in the three orders.

Command:  python experiments/compare_modes.py
Hardware: 2 CPU cores (AMD EPYC) that had other work to do, jax 0.10.2, float32, SymPy 1.14
Time:     4 min
Result:   (a) FLOPs and memory cross where m = n, time at 47 inputs for 64 outputs, 199 for 256.
          (b) From 4 to 256 layers reverse mode goes from 1.5 to 84 MB, with each layer
              checkpointed to 17, with blocks of 16 layers to 6.8; forward mode stays at 0.33 MB.
          (c) A gradient takes 2.9 (LeNet) and 3.6 times (ResNet-18) the loss's time, 3.2 and 2.9
              times its FLOPs: the bound of 5 holds. One directional derivative takes 2.1 and 2.9
              times its time; all 11.2 million of ResNet-18's would take 900 hours (extrapolated).
          (d) Backpropagation has 94 % of the digits right after 50 steps (half a second), the mean
              of 16 forward gradients 92 % after 2000 (39 s), one 87 % after 9600 (29 s).
          (e) Slopes 1.00 and 2.00; errors of 2e-8, 5e-12 and none but rounding at the best step.
          (f) Nested 8 times, the logistic map's derivative is 13,824 operations as a formula, 157
              with its shared parts named, 64 in jax.grad's jaxpr.
          (g) A product with LeNet's Hessian takes 1.9 to 2.1 gradients, in whichever order; FLOPs
              are the jaxpr's, of which XLA drops what is not used.
          (results/compare_modes.md and compare_modes_*.png)

Reference: Baydin, Pearlmutter, Radul & Siskind (2018), Automatic differentiation in machine
learning: a survey, https://jmlr.org/papers/v18/17-468.html; (f) is its table 1. Griewank & Walther
(2008), Evaluating Derivatives, section 4.5 (the bound of 5). Baydin et al. (2022), Gradients
without backpropagation, https://arxiv.org/abs/2202.08587 (d). Squire & Trapp (1998), Using complex
variables to estimate derivatives, https://doi.org/10.1137/S003614459631241X (e).
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import tyro
from matplotlib.figure import Figure
from mode_formulas import steps, swell
from mode_networks import hessians, networks, training
from mode_sweeps import depth, sweep
from recording import RESULTS, record, save_table

from jaxcnn import plots


@dataclass(frozen=True)
class Config:
    """What to run."""

    seconds: float = 1.0
    """The unit of all timing: programs take turns for 4 to 15 times as long."""
    smoke: bool = False
    """The smallest of each, nothing written."""


def table(found: dict[str, Any]) -> dict[str, dict[str, object]]:
    """The headline figures, a line for each."""
    rows: dict[str, str] = {}
    for key, name in (("flops", "FLOPs"), ("seconds", "time"), ("bytes", "memory")):
        ms = ", ".join(f"{m:.0f} at {n}" for n, m in found[f"crossing_{key}"].items())
        rows[f"(a) inputs from which jacfwd takes more {name} than jacrev"] = ms
    shallow, *_, deep = found["depth"].items()
    for mode, name in (
        ("jvp", "forward"),
        ("vjp", "reverse"),
        ("vjp_each", "reverse, layers checkpointed"),
        ("vjp_blocks", "reverse, blocks checkpointed"),
    ):
        sizes = [f"{row[f'{mode}_bytes'] / 1e6:.2f} MB at {at}" for at, row in (shallow, deep)]
        rows[f"(b) memory, {name}"] = ", ".join(sizes)
    for name, row in found["networks"].items():
        rows[f"(c) {name}: gradient / loss"] = (
            f"{row['gradient_time_ratio']:.2f} of time, {row['gradient_FLOPs_ratio']:.2f} of FLOPs"
        )
        rows[f"(c) {name}: directional derivative / loss"] = (
            f"{row['jvp_time_ratio']:.2f} of time, {row['jvp_FLOPs_ratio']:.2f} of FLOPs"
        )
        seconds = 3600 * row["gradient_by_forward_hours_extrapolated"]
        rows[f"(c) {name}: its gradient by {row['inputs']:,} forward passes (extrapolated)"] = (
            f"{seconds:.0f} s" if seconds < 3600 else f"{seconds / 3600:,.0f} hours"
        )
    for name, row in found["training"].items():
        rows[f"(d) {name}"] = (
            f"{row['test_accuracy']:.1f} % after {row['steps']:,} steps, {row['seconds']:.0f} s"
        )
    for name, row in found["steps"].items():
        rows[f"(e) {name}"] = (
            f"slope {row['slope']:.2f}, at best {max(row['best_relative_error'], 1e-16):.0e} "
            f"with h = {row['best_step']:.0e}"
        )
    for name, row in found.get("swell", {}).items():
        last, count = list(row.items())[-1]
        rows[f"(f) {name}, {last}"] = f"{count:,} operations"
    for order, row in found["hessian_products"].items():
        rows[f"(g) {order} / gradient"] = (
            f"{row['time_ratio']:.2f} of time, {row['FLOPs_ratio']:.2f} of FLOPs, "
            f"{row['memory_ratio']:.2f} of memory"
        )
    return {name: {"found": text} for name, text in rows.items()}


def main(config: Config) -> dict[str, Any]:
    """All seven parts, their figures and the table."""
    start = perf_counter()
    seconds = 0.0 if config.smoke else config.seconds
    parts = {
        "crossing": lambda: sweep(config.smoke, seconds),
        "depth": lambda: depth(config.smoke, seconds),
        "networks": lambda: networks(config.smoke, 15 * seconds),
        "training": lambda: training(config.smoke),
        "steps": lambda: steps(config.smoke),
        "swell": lambda: swell(config.smoke),
        "hessian": lambda: hessians(config.smoke, 4 * seconds),
    }
    found: dict[str, Any] = {}
    for name, part in parts.items():
        began = perf_counter()
        result, drawing = part()
        found |= result
        found[f"{name}_part_seconds"] = round(perf_counter() - began, 1)
        if config.smoke or not drawing:
            continue
        figure = (
            drawing
            if isinstance(drawing, Figure)
            else plots.line_panels(drawing, columns=2 if len(drawing) == 4 else 3)
        )
        plots.save(figure, RESULTS / f"compare_modes_{name}.png")
    found["seconds"] = round(perf_counter() - start, 1)
    if not config.smoke:
        save_table("compare_modes", table(found))
    record("compare_modes", found, config.smoke)
    return found


if __name__ == "__main__":
    main(tyro.cli(Config))
