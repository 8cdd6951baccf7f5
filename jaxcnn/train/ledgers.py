"""The files of a sweep: what it looks through, how its members did, and the best of them."""

import csv
import dataclasses
import io
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcnn.train.config import TrainConfig, to_json
from jaxcnn.train.directories import write_whole
from jaxcnn.train.metrics import best_epoch
from jaxcnn.train.searches import Search, description, points
from jaxcnn.train.standings import Record

ENDED = ("finished", "stopped", "diverged")


def begin(directory: Path, search: Search) -> list[Record]:
    """A record for each member; of a sweep that goes on, those that ended are kept.

    Raises:
        ValueError: the directory holds another sweep.
    """
    base = search.config.seed
    fresh: list[Record] = [
        {"options": {**point, "seed": seed}, "status": "waiting", "history": []}
        for point in points(search)
        for seed in range(base, base + search.seeds)
    ]
    file = directory / "sweep.json"
    if not file.exists():
        return fresh
    found = json.loads(file.read_text("utf-8"))
    ours, theirs = (_flat(plan) for plan in (description(search), found["search"]))
    if differing := [name for name in ours | theirs if ours.get(name) != theirs.get(name)]:
        name = differing[0]
        raise ValueError(
            f"sweep: {directory} holds a sweep with another {', '.join(differing)} ({name} "
            f"{theirs.get(name)!r} there, {ours.get(name)!r} asked for): choose another directory."
        )
    kept = zip(found["members"], fresh, strict=True)
    return [there if there["status"] in ENDED else new for there, new in kept]


def write(directory: Path, search: Search, records: Sequence[Record], best: Any = None) -> None:
    """Write sweep.json, whole or not at all, and make its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    content = {"search": description(search), "members": list(records), "best": best}
    write_whole(directory / "sweep.json", json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_table(directory: Path, records: Sequence[Record]) -> None:
    """Write sweep.csv: a line for each member, with its best epoch's numbers."""
    numbers = ("epoch", "val_accuracy", "val_loss", "train_accuracy", "train_loss")
    file = io.StringIO(newline="")
    table = csv.writer(file)
    table.writerow([*records[0]["options"], "status", "epochs", *(f"best_{n}" for n in numbers)])
    for record in records:
        history = record["history"]
        row = best_epoch(history) if history else {}
        own = [*record["options"].values(), record["status"], len(history)]
        table.writerow([*own, *(row.get(name, "") for name in numbers)])
    write_whole(directory / "sweep.csv", file.getvalue())


def write_best(directory: Path, config: TrainConfig, record: Record) -> None:
    """Write best.json: the best member's config, and the command that trains it alone."""
    row = best_epoch(record["history"])
    content = {"command": command(config), "config": to_json(config), "best_epoch": row}
    write_whole(directory / "best.json", json.dumps(content, indent=2, allow_nan=False) + "\n")


def command(config: TrainConfig) -> str:
    """The command line of a config.

    Example:
        >>> command(TrainConfig(learning_rate=0.1, flip=True, model_options={"drop_rate": "0.2"}))
        'jaxcnn train --model-options drop_rate 0.2 --learning-rate 0.1 --flip'
    """
    words, default = ["jaxcnn", "train"], TrainConfig()
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == getattr(default, field.name):
            continue
        option = field.name.replace("_", "-")
        match value:
            case bool():
                words.append(f"--{option}" if value else f"--no-{option}")
            case dict():
                words += [f"--{option}", *(str(word) for pair in value.items() for word in pair)]
            case tuple():
                words += [f"--{option}", *map(str, value)]
            case _:
                words += [f"--{option}", str(value)]
    return shlex.join(words)


def _flat(plan: dict[str, Any]) -> dict[str, Any]:
    """The names of a plan's options beside its own; those of its lists count once."""
    rest = {name: value for name, value in plan.items() if name not in ("config", "lists")}
    return plan["config"] | plan["lists"] | rest
