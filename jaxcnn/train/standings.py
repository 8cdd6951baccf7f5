"""How the members of a sweep stand: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jaxcnn.train.metrics import best_epoch

Record = dict[str, Any]  # "options" with the seed, "status", "history" and, diverged, "step"
SHOWN = 30  # members in a table
QUIET = 2.0  # seconds between two plain lines


def standing(record: Record) -> tuple[float, float]:
    """What members are ranked by: the best epoch's validation accuracy, then its loss."""
    if record["status"] == "diverged" or not record["history"]:
        return 0.0, -float("inf")
    row = best_epoch(record["history"])
    return row["val_accuracy"], -row["val_loss"]


def named(options: dict[str, Any]) -> str:
    """Options as one says them.

    Example:
        >>> named({"learning_rate": 0.1, "seed": 3})
        'learning rate 0.1, seed 3'
    """
    return ", ".join(f"{name.replace('_', ' ')} {_short(v)}" for name, v in options.items())


def table(records: Sequence[Record], most: int = SHOWN) -> Table:
    """The members, the best first."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in records[0]["options"]:
        shown.add_column(name.replace("_", "\n"), justify="right")
    for name in ("epoch", "loss", "val\nloss", "val\n(%)"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("", no_wrap=True)
    for record in sorted(records, key=standing, reverse=True)[:most]:
        numbers = [_short(value) for value in record["options"].values()]
        if record["history"]:
            row, last = best_epoch(record["history"]), record["history"][-1]
            numbers += [str(last["epoch"]), f"{row['train_loss']:.4f}", f"{row['val_loss']:.4f}"]
            numbers += [f"{100 * row['val_accuracy']:.2f}"]
        else:
            numbers += ["0", "", "", ""]
        at = f" at step {record['step']}" if record["status"] == "diverged" else ""
        shown.add_row(*numbers, record["status"] + at)
    if len(records) > most:
        shown.add_row(f"... and {len(records) - most} more")
    return shown


@contextmanager
def standings(records: Sequence[Record], epochs: int) -> Iterator[Callable[[str], None]]:
    """Inside, the yielded function shows how the members stand now, and what is being done."""
    console = Console()
    if console.is_terminal:
        most = max(min(SHOWN, console.height - 7), 1)
        with Live(table(records, most), console=console, transient=True) as live:
            yield lambda doing: live.update(Group(table(records, most), Text(doing)))
        return
    said = time.perf_counter()

    def say(doing: str) -> None:
        nonlocal said
        if time.perf_counter() - said > QUIET:
            said = time.perf_counter()
            line = f"{_line(records, epochs)}; {doing}"
            console.print(line, highlight=False, soft_wrap=True)

    yield say


def _line(records: Sequence[Record], epochs: int) -> str:
    done = sum(len(record["history"]) for record in records)
    ended = sum(record["status"] not in ("waiting", "running") for record in records)
    best = max(records, key=standing)
    accuracy = 100 * standing(best)[0]
    return (
        f"{ended} of {len(records)} members ended, {done} of {epochs * len(records)} epochs; "
        f"best {accuracy:.2f} % ({named(best['options'])})"
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
