"""Where the experiments' results go: one JSON file for each experiment, with what ran it."""

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parent / "results"


def recorded(name: str) -> dict[str, Any]:
    """What results/NAME.json holds, nothing where there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text("utf-8"))["result"] if path.exists() else {}


def record(name: str, result: Mapping[str, Any], smoke: bool) -> None:
    """Print an experiment's result and write it to results/NAME.json; a smoke run writes nothing.

    Args:
        name: the experiment's file without its ending.
        result: plain numbers and strings, or rows of them by name.
        smoke: two steps prove that the code runs, not what it claims.
    """
    for key, value in result.items():
        print(f"{key}: {value:.6g}" if isinstance(value, float) else f"{key}: {value}")
    if not smoke:
        save(name, result)


def save(name: str, result: Mapping[str, Any]) -> None:
    """Write results/NAME.json, the part of `record` that experiments of hours do as they go."""
    device = jax.devices()[0]
    entry = {
        "experiment": name,
        "date": datetime.date.today().isoformat(),
        "jax": jax.__version__,
        "platform": device.platform,
        "device": device.device_kind,
        "cores": os.cpu_count(),
        "result": dict(result),
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(entry, indent=2, allow_nan=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def save_table(name: str, rows: Mapping[str, Mapping[str, object]]) -> None:
    """Write results/NAME.md, a table for people: a line for each name, in columns of one name.

    Args:
        name: the experiment's file without its ending.
        rows: what stands in each column, by the line's name; columns are the first row's.
    """
    columns = list(next(iter(rows.values())))
    lines = [["", *columns], ["---"] + ["---:"] * len(columns)]
    lines += [[key, *(str(row.get(c, "")) for c in columns)] for key, row in rows.items()]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
