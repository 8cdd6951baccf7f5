"""The training loop: epochs of steps, validation, checkpoints, metrics, clean stops."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PRNGKeyArray

from jaxcnn.data import Split, steps_per_epoch
from jaxcnn.train.checkpoints import Position, Save, restore, steps_on_disk, writing
from jaxcnn.train.epochs import (
    Augment,
    Feed,
    Prepare,
    Totals,
    empty_totals,
    fits,
    resident,
    streamed,
)
from jaxcnn.train.interrupts import interruptible
from jaxcnn.train.metrics import Row, best_epoch, read_metrics, write_metrics
from jaxcnn.train.parallel import (
    Layout,
    anywhere,
    first_process,
    make_layout,
    place,
    placed,
    state_shardings,
    whole_gradients,
)
from jaxcnn.train.reporting import progress
from jaxcnn.train.steps import State, evaluate


class Fit(NamedTuple):
    """What `fit` returns: the last state, a row for each epoch, and how it ended."""

    state: State
    history: list[Row]
    status: Literal["finished", "interrupted", "diverged"]
    step: int  # of the optimizer: the last one, or the first whose loss was not finite


def fit(
    state: State,
    train: Split,
    validation: Split | None,
    *,
    epochs: int,
    batch_size: int,
    key: PRNGKeyArray,
    prepare: Prepare = jnp.asarray,
    augment: Augment | None = None,
    learning_rate: Callable[[int], Any] | None = None,
    directory: Path | None = None,
    resume: bool = False,
    layout: Layout | None = None,
    stream: bool = False,
    workers: int = 0,
    keep: int = 3,
    checkpoint_steps: int | None = None,
) -> Fit:
    """Train for a number of epochs.

    Images in memory that fit on the device stay there, and many steps are one compiled loop; else
    the host reads each batch while the device computes. Both give the same numbers. Every epoch
    shuffles with a key of its own, so that the same key gives the same training, also when it is
    stopped, killed and resumed. The last short batch of an epoch is left out of training (of
    another shuffle, the next epoch), never of evaluation.

    Args:
        state: of `create_state`; it is copied, not consumed.
        train: images and labels.
        validation: evaluated after each epoch; None for no validation.
        epochs: in all, those before a resume included.
        batch_size: images in a step, of all devices together.
        key: of the shuffles.
        prepare: makes a batch's images what the model takes; runs jitted, on the device.
        augment: (key, images, labels) -> changed images and labels, before `prepare`; jitted, too.
        learning_rate: the schedule, to log its value.
        directory: where metrics.jsonl and the checkpoints go; None writes nothing.
        resume: go on from the directory's newest checkpoint.
        layout: of `make_layout`: the devices; by default all there are.
        stream: read batches on the host even where the images would fit on the device.
        workers: processes that read images from disk; 0 reads in this one.
        keep: how many of the newest checkpoints are kept, beside the best.
        checkpoint_steps: steps after which a long epoch is saved in its middle, too.

    Returns:
        a `Fit`. It is "interrupted" by Ctrl-C or SIGTERM, after a checkpoint in mid-epoch, and
        "diverged" at a loss or a parameter that is not finite, the last good checkpoint kept.

    Raises:
        ValueError: no training images, a batch size below 1 or one that the devices do not divide,
            or a directory that holds checkpoints already and is not resumed.
        FileNotFoundError: nothing to resume from.
        OSError: a checkpoint that could not be written.
    """
    layout = layout or make_layout()
    _check(train, batch_size, layout, checkpoint_steps)
    batch_size = min(batch_size, len(train))
    state = place(state, state_shardings(state, layout))
    if layout.shard_optimizer:
        state = whole_gradients(state, layout)
    state, position, history = _begin(state, directory, resume)
    steps = steps_per_epoch(len(train), batch_size, drop_last=True)
    options: dict[str, Any] = {"prepare": prepare, "augment": augment}
    if stream or not fits(train, layout):
        feeds = streamed(train, batch_size, layout, workers=workers, **options)
    else:
        feeds = resident(train, batch_size, layout, **options)
    validate = _validation(validation, batch_size, layout, prepare, workers)
    done = position["epoch"] * steps + position["batch"]
    pace = Pace()
    with (
        interruptible() as interrupted,
        progress(epochs, epochs * steps, start=done, silent=not first_process()) as bar,
        _saving(directory, keep) as save,
    ):
        for epoch in range(position["epoch"], epochs):
            feed = feeds(jax.random.fold_in(key, epoch), position["batch"])
            best = best_epoch(history)["step"] if history else None
            position = {**position, "epoch": epoch}
            totals = place(_arrays(position["totals"]), layout.replicated)
            parts = _parts(feed, state, totals, position, steps, pace, checkpoint_steps)
            bad, stop = -1, False
            for state, position in parts:
                if bar.due():
                    bar.refresh(epoch, epoch * steps + position["batch"], _means(position))
                (stop,) = anywhere(interrupted())
                bad = position["totals"]["bad_step"]
                if bad >= 0 or stop or position["batch"] == steps:
                    break
                if checkpoint_steps and position["batch"] % checkpoint_steps == 0:
                    save(state, position, best)
            if bad >= 0 or not _finite(state):
                return Fit(state, history, "diverged", int(bad) if bad >= 0 else int(state.step))
            if position["batch"] < steps:
                save(state, position, best)
                return Fit(state, history, "interrupted", int(state.step))
            row = _row(state, position, learning_rate) | validate(state)
            history.append(row)
            bar.line(row)
            position = {**_start(), "epoch": epoch + 1}
            if directory is not None:  # first: a kill in between is resumed from the checkpoint
                write_metrics(directory, history)
            save(state, position, best_epoch(history)["step"])
            if stop and epoch + 1 < epochs:
                return Fit(state, history, "interrupted", int(state.step))
    return Fit(state, history, "finished", int(state.step))


@dataclass
class Pace:
    """How many steps go between two looks at the clock: as many as take about half a second."""

    steps: int = 1

    def learn(self, seconds: float) -> None:
        """Adapt to the seconds that the last steps took, alike in all processes."""
        fast, slow = anywhere(seconds < 0.25, seconds > 1)
        if fast:
            self.steps *= 2
        elif slow:
            self.steps = max(self.steps // 2, 1)


def _check(train: Split, batch_size: int, layout: Layout, checkpoint_steps: int | None) -> None:
    if not len(train) or batch_size < 1:
        raise ValueError(
            f"fit: needs training images and a batch size of at least 1, got {len(train)} "
            f"images and {batch_size}."
        )
    devices, size = layout.mesh.size, min(batch_size, len(train))
    if size % devices:
        raise ValueError(
            f"fit: the batch size must be a multiple of the {devices} devices, got {size}; use a "
            "layout of fewer devices (--mesh data=N), or another batch size."
        )
    if checkpoint_steps is not None and checkpoint_steps < 1:
        raise ValueError(f"fit: checkpoint_steps must be at least 1, got {checkpoint_steps}.")


def _begin(state: State, directory: Path | None, resume: bool) -> tuple[State, Position, list[Row]]:
    """Where training starts: at nothing, or where the directory's newest checkpoint stands."""
    if resume and directory is None:
        raise ValueError("fit: resume needs a directory, got None.")
    if directory is not None and resume:
        state, position = restore(directory, state)
        return state, position, read_metrics(directory)[: position["epoch"]]
    if directory is not None and steps_on_disk(directory):
        raise ValueError(f"fit: {directory} holds checkpoints already: resume, or choose another.")
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    return state, _start(), []


def _start() -> Position:
    seconds = {"seconds": 0.0, "compiled": 0.0, "waited": 0.0}
    return {"epoch": 0, "batch": 0, **seconds, "totals": _numbers(empty_totals())}


def _numbers(totals: Totals) -> dict[str, float]:
    """The totals as plain numbers; waits for the device."""
    return {name: value.item() for name, value in jax.device_get(totals).items()}


def _arrays(numbers: dict[str, float]) -> Totals:
    """The totals from plain numbers."""
    zeros = empty_totals()
    return {name: jnp.asarray(numbers[name], zero.dtype) for name, zero in zeros.items()}


@contextmanager
def _saving(directory: Path | None, keep: int) -> Iterator[Save]:
    if directory is None:
        yield lambda state, position, best: None
        return
    with writing(directory, keep=keep) as save:
        yield save


def _validation(
    split: Split | None, batch_size: int, layout: Layout, prepare: Prepare, workers: int
) -> Callable[[State], Row]:
    """What an epoch's row says of the validation images, which stay on the device if they fit."""
    if split is None:
        return lambda state: {}

    read = partial(placed, split, batch_size, layout, workers=workers)
    kept = list(read()) if fits(split, layout) else None

    def validate(state: State) -> Row:
        found = evaluate(state, kept or read(), prepare=prepare)
        return {"val_loss": found.loss, "val_accuracy": found.accuracy}

    return validate


def _parts(
    feed: Feed,
    state: State,
    totals: Totals,
    position: Position,
    steps: int,
    pace: Pace,
    checkpoint_steps: int | None,
) -> Iterator[tuple[State, Position]]:
    """The rest of an epoch in parts, each ending where its state may be looked at or saved."""
    while position["batch"] < steps:
        first = position["batch"]
        last = min(first + pace.steps, steps)
        if checkpoint_steps:
            last = min(last, (first // checkpoint_steps + 1) * checkpoint_steps)
        began = time.perf_counter()
        state, totals, compiled, waited = feed(state, totals, first, last)
        numbers = _numbers(totals)
        seconds = time.perf_counter() - began - compiled
        pace.learn(seconds)
        position = {
            **position,
            "batch": last,
            "seconds": position["seconds"] + seconds,
            "compiled": position["compiled"] + compiled,
            "waited": position["waited"] + waited,
            "totals": numbers,
        }
        yield state, position


def _means(position: Position) -> dict[str, float]:
    totals, seconds = position["totals"], max(position["seconds"], 1e-9)
    count = max(totals["count"], 1.0)
    return {
        "loss": totals["loss"] / count,
        "accuracy": totals["accuracy"] / count,
        "images_per_second": totals["images"] / seconds,
    }


def _row(state: State, position: Position, learning_rate: Callable[[int], Any] | None) -> Row:
    means, totals = _means(position), position["totals"]
    row = {
        "epoch": position["epoch"] + 1,
        "step": int(state.step),
        "train_loss": means["loss"],
        "train_accuracy": means["accuracy"],
        "seconds": position["seconds"],
        "images_per_second": means["images_per_second"],
        "compile_seconds": position["compiled"],
        "data_wait": position["waited"] / max(position["seconds"], 1e-9),
    }
    if skipped := round(totals["images"] - totals["count"]):
        row["skipped_images"] = skipped
    if learning_rate is not None:
        row["learning_rate"] = float(learning_rate(row["step"] - 1))
    return row


@jax.jit
def _all_finite(tree: Any) -> Array:
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


def _finite(state: State) -> bool:
    return bool(_all_finite((state.params, state.batch_stats)))
