"""metrics.jsonl: a row for each epoch, and which of them was the best."""

import json
from pathlib import Path
from typing import Any

from jaxcnn.train.directories import write_whole
from jaxcnn.train.parallel import first_process

Row = dict[str, Any]


def best_epoch(history: list[Row]) -> Row:
    """The row of highest validation accuracy, of these the lowest loss; without one, the last."""
    if "val_loss" not in history[-1]:
        return history[-1]
    return max(history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))


def read_metrics(directory: Path) -> list[Row]:
    """The rows of a run's metrics.jsonl, which appears with the end of the first epoch."""
    file = directory / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


def write_metrics(directory: Path, history: list[Row]) -> None:
    """The rows so far, whole or not at all, by the first process."""
    if not first_process():
        return
    lines = "".join(json.dumps(row) + "\n" for row in history)
    write_whole(directory / "metrics.jsonl", lines)
