"""The verbs `export` (a run for those without jaxcnn) and `profile` (where a step's time goes)."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxcnn.train import TrainConfig, load_run
from jaxcnn.train.exports import FORMATS
from jaxcnn.train.profiles import Profile, profile_steps


def export(
    run: tyro.conf.Positional[Path],
    format: Literal["stablehlo", "safetensors"] = "stablehlo",
    out: Path | None = None,
    weights: bool = False,
    overwrite: bool = False,
) -> int:
    """Write the best model of a run for those who have no jaxcnn.

    As stablehlo, a program for any batch size on CPUs, GPUs and TPUs: pixels 0 to 255 in, logits
    out; it needs only jax and flatbuffers. A .json file beside it says how to load it. As
    safetensors, the weights that `train --weights FILE` and `jaxcnn.weights.load` take.

    Args:
        run: Run directory.
        format: What to write.
        out: File to write; by default MODEL.stablehlo or MODEL.safetensors in the run's directory.
        weights: Write the weights beside the program as well.
        overwrite: Replace files that are there.
    """
    loaded = load_run(run)
    path = out or run / f"{loaded.config.model}.{format}"
    files = FORMATS[format](loaded, path, overwrite=overwrite)
    if weights and format != "safetensors":
        beside = path.with_suffix(".safetensors")
        files += FORMATS["safetensors"](loaded, beside, overwrite=overwrite)
    for file in files:
        print(f"{file}: {file.stat().st_size:,} bytes")
    return 0


def profile(
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = TrainConfig(),  # noqa: B008  frozen
    steps: int = 20,
    top: int = 20,
) -> int:
    """Run a few training steps and print the costliest operations of the compiled program.

    Writes perfetto_trace.json.gz, which https://ui.perfetto.dev shows, to the directory --out, by
    default profiles/DATE-TIME-MODEL. Time in which several operations run is shared among them.

    Args:
        config: options as for train.
        steps: How many steps to time, and to trace.
        top: How many operations to print.
    """
    if top < 1:
        raise ValueError(f"profile: top must be at least 1, got {top}.")
    found = profile_steps(config, steps=steps)
    print(
        f"{config.model} on {config.data}, {found.device}: {1e3 * found.step_seconds:.2f} ms a step"
        f" ({1e3 * found.traced_seconds:.2f} while traced), {found.images_per_second:,.0f} images/s"
    )
    Console().print(_table(found, top))
    print(f"Trace, for https://ui.perfetto.dev: {found.trace}")
    return 0


def _table(found: Profile, top: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("operation", "kind", "layer"):
        table.add_column(column, overflow="fold")
    for column in ("calls", "ms", "share"):
        table.add_column(column, justify="right", no_wrap=True)

    def row(name: str, kind: str, layer: str, calls: str, seconds: float) -> None:
        share = f"{seconds / found.traced_seconds:.1%}"
        table.add_row(name, kind, escape(layer), calls, f"{1e3 * seconds:.3f}", share)

    for cost in found.costs[:top]:
        what = cost.instruction
        layer = f"{what.layer} (backward)" if what.backward else what.layer
        row(cost.name, what.kind, layer, f"{cost.calls:g}", cost.seconds)
    rest, total = found.costs[top:], sum(cost.seconds for cost in found.costs)
    table.add_section()
    if rest:
        calls = sum(cost.calls for cost in rest)
        row(f"{len(rest)} others", "", "", f"{calls:g}", sum(cost.seconds for cost in rest))
    row("between operations", "", "", "", max(found.traced_seconds - total, 0.0))
    return table
