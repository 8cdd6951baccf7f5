"""What training says while it runs: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import rich.progress
from rich.console import Console


class Progress:
    """A bar over all steps, refreshed twice a second, and one line for each epoch."""

    def __init__(self, bar: rich.progress.Progress, task: Any, epochs: int) -> None:
        self._bar, self._task, self._epochs = bar, task, epochs
        self._refreshed = time.perf_counter()

    def due(self) -> bool:
        """Whether half a second has gone since the last refresh."""
        return time.perf_counter() - self._refreshed > 0.5

    def refresh(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """Move the bar to `step`, counted over all epochs, and show an epoch's running means."""
        self._refreshed = time.perf_counter()
        text = (
            f"epoch {epoch + 1}/{self._epochs}  loss {metrics['loss']:.4f}  "
            f"accuracy {100 * metrics['accuracy']:.2f} %  "
            f"{metrics['images_per_second']:,.0f} images/s"
        )
        self._bar.update(self._task, completed=step, description=text)

    def line(self, row: Mapping[str, Any]) -> None:
        """Say how an epoch ended."""
        text = (
            f"epoch {row['epoch']:>3}/{self._epochs}  loss {row['train_loss']:.4f}  "
            f"accuracy {100 * row['train_accuracy']:6.2f} %"
        )
        if "val_loss" in row:
            text += f"  validation {row['val_loss']:.4f}  {100 * row['val_accuracy']:6.2f} %"
        text += f"  {row['images_per_second']:>8,.0f} images/s"
        if row["compile_seconds"] > 1:
            text += f"  compiled in {row['compile_seconds']:.1f} s"
        if row["data_wait"] > 0.01:
            text += f"  {100 * row['data_wait']:.0f} % waiting for data"
        if "skipped_images" in row:
            text += f"  {row['skipped_images']} images skipped"
        self._bar.console.print(text, highlight=False, soft_wrap=True)


@contextmanager
def progress(
    epochs: int, steps: int, *, start: int = 0, silent: bool = False
) -> Iterator[Progress]:
    """A `Progress` over `steps` steps in all, of which `start` are done, or one that is silent."""
    console = Console(quiet=silent)
    bar = rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task("compiling", total=steps, completed=start)
        yield Progress(bar, task, epochs)
