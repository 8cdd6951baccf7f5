"""The training loop: epochs of steps, validation, checkpoints, metrics, clean stops."""

import json
import math
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PRNGKeyArray

from jaxcnn.data import Split, batches, steps_per_epoch
from jaxcnn.lowering import compiler_options
from jaxcnn.train.checkpoints import restore, restore_position, save
from jaxcnn.train.interrupts import interruptible
from jaxcnn.train.reporting import Progress, progress
from jaxcnn.train.steps import Batch, State, evaluate, train_step

Row = dict[str, Any]
Position = dict[str, Any]
AUGMENTATION = 1  # folded into a step's key, so that augmentation draws apart from dropout


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
    prepare: Callable[[Any], Any] = jnp.asarray,
    augment: Callable[[PRNGKeyArray, Array], Array] | None = None,
    learning_rate: Callable[[int], Any] | None = None,
    directory: Path | None = None,
    resume: bool = False,
) -> Fit:
    """Train for a number of epochs.

    Every epoch shuffles with a key of its own, so that the same key gives the same training, also
    when it is stopped and resumed. The last short batch of an epoch is left out of training (of
    another shuffle, the next epoch), never of evaluation.

    Args:
        state: of `create_state`; it is copied, not consumed.
        train: images and labels.
        validation: evaluated after each epoch; None for no validation.
        epochs: in all, those before a resume included.
        batch_size: images in a step.
        key: of the shuffles.
        prepare: makes a batch's images what the model takes; runs jitted, on the device.
        augment: changes training images by a key, before `prepare`; runs jitted, too.
        learning_rate: the schedule, to log its value.
        directory: where metrics.jsonl and the checkpoints go; None writes nothing.
        resume: go on from the directory's newest checkpoint.

    Returns:
        a `Fit`. It is "interrupted" by Ctrl-C or SIGTERM, after a checkpoint in mid-epoch, and
        "diverged" at a loss or a parameter that is not finite, the last good checkpoint kept.

    Raises:
        ValueError: no training images, a batch size below 1, or a directory that holds
            checkpoints already and is not resumed.
        FileNotFoundError: nothing to resume from.
    """
    if not len(train) or batch_size < 1:
        raise ValueError(
            f"fit: needs training images and a batch size of at least 1, got {len(train)} "
            f"images and {batch_size}."
        )
    state, position, history = _begin(state, directory, resume)
    state = jax.tree.map(jnp.copy, state)
    batch_size = min(batch_size, len(train))
    steps = steps_per_epoch(len(train), batch_size, drop_last=True)
    counted_step = _counted_step(prepare, augment)
    done = int(position["epoch"]) * steps + int(position["batch"])
    with interruptible() as interrupted, progress(epochs, epochs * steps, start=done) as bar:
        for epoch in range(int(position["epoch"]), epochs):
            shuffled = batches(
                train,
                batch_size,
                key=jax.random.fold_in(key, epoch),
                drop_last=True,
                start=int(position["batch"]),
            )
            run = partial(_run_epoch, counted_step, shuffled, bar, interrupted, epoch * steps)
            state, position = run(state, {**position, "epoch": epoch})
            bad = int(position["totals"]["bad_step"])
            if bad >= 0 or not _finite(state):
                return Fit(state, history, "diverged", bad if bad >= 0 else int(state.step))
            if int(position["batch"]) < steps:
                if directory is not None:
                    save(directory, "newest", state, position)
                return Fit(state, history, "interrupted", int(state.step))
            row = _row(state, position, learning_rate)
            if validation is not None:
                found = evaluate(state, batches(validation, batch_size), prepare=prepare)
                row |= {"val_loss": found.loss, "val_accuracy": found.accuracy}
            history.append(row)
            bar.line(row)
            position = {**_start(), "epoch": epoch + 1}
            if directory is not None:
                _write(directory, history, state, position)
    return Fit(state, history, "finished", int(state.step))


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


def _begin(state: State, directory: Path | None, resume: bool) -> tuple[State, Position, list[Row]]:
    """Where training starts: at nothing, or where the directory's newest checkpoint stands."""
    if resume and directory is None:
        raise ValueError("fit: resume needs a directory, got None.")
    if directory is not None and resume:
        state = restore(directory, "newest", state)
        position = restore_position(directory, "newest", _start())
        return state, position, read_metrics(directory)[: int(position["epoch"])]
    if directory is not None and (directory / "checkpoints").exists():
        raise ValueError(f"fit: {directory} holds checkpoints already: resume, or choose another.")
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    return state, _start(), []


def _start() -> Position:
    totals = {"loss": 0.0, "accuracy": 0.0, "count": 0.0}
    return {
        "epoch": 0,
        "batch": 0,
        "seconds": 0.0,
        "totals": {
            **{name: jnp.float32(value) for name, value in totals.items()},
            "bad_step": jnp.int32(-1),
        },
    }


@lru_cache(maxsize=8)  # one compiled program for every `fit` with the same functions
def _counted_step(
    prepare: Callable[[Any], Any], augment: Callable[[PRNGKeyArray, Array], Array] | None
) -> Callable[..., tuple[State, Any]]:
    """`train_step` that adds its metrics up on the device, so that no step waits for the host."""

    @partial(jax.jit, donate_argnums=(0, 1), compiler_options=compiler_options())
    def counted_step(state: State, totals: Any, batch: Batch) -> tuple[State, Any]:
        step, images = state.step, batch["image"]
        if augment is not None:
            key = jax.random.fold_in(jax.random.fold_in(state.key, step), AUGMENTATION)
            images = augment(key, images)
        state, metrics = train_step(state, {**batch, "image": prepare(images)})
        first_bad = (totals["bad_step"] < 0) & ~jnp.isfinite(metrics["loss"])
        return state, {
            "loss": totals["loss"] + metrics["count"] * metrics["loss"],
            "accuracy": totals["accuracy"] + metrics["count"] * metrics["accuracy"],
            "count": totals["count"] + metrics["count"],
            "bad_step": jnp.where(first_bad, step, totals["bad_step"]),
        }

    return counted_step


def _run_epoch(
    counted_step: Callable[..., tuple[State, Any]],
    shuffled: Any,
    bar: Progress,
    interrupted: Callable[[], bool],
    first_step: int,
    state: State,
    position: Position,
) -> tuple[State, Position]:
    """The steps of an epoch, up to its end, an interrupt or a loss that is not finite."""
    totals, batch = position["totals"], int(position["batch"])
    began = time.perf_counter() - float(position["seconds"])
    for images in shuffled:
        state, totals = counted_step(state, totals, images)
        batch += 1
        if interrupted():
            break
        if bar.due():
            jax.block_until_ready(totals)
            means = _means(totals, time.perf_counter() - began)
            bar.refresh(int(position["epoch"]), first_step + batch, means)
            if not math.isfinite(means["loss"]):
                break
    jax.block_until_ready(totals)
    seconds = time.perf_counter() - began
    return state, {**position, "batch": batch, "seconds": seconds, "totals": totals}


def _means(totals: Any, seconds: float) -> dict[str, float]:
    count = max(float(totals["count"]), 1.0)
    return {
        "loss": float(totals["loss"]) / count,
        "accuracy": float(totals["accuracy"]) / count,
        "images_per_second": count / seconds,
    }


def _row(state: State, position: Position, learning_rate: Callable[[int], Any] | None) -> Row:
    means = _means(position["totals"], position["seconds"])
    row = {
        "epoch": int(position["epoch"]) + 1,
        "step": int(state.step),
        "train_loss": means["loss"],
        "train_accuracy": means["accuracy"],
        "seconds": float(position["seconds"]),
        "images_per_second": means["images_per_second"],
    }
    if learning_rate is not None:
        row["learning_rate"] = float(learning_rate(row["step"] - 1))
    return row


@jax.jit
def _all_finite(tree: Any) -> Array:
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


def _finite(state: State) -> bool:
    return bool(_all_finite((state.params, state.batch_stats)))


def _write(directory: Path, history: list[Row], state: State, position: Position) -> None:
    """Metrics first, checkpoint last: what a kill leaves behind is resumed from the checkpoint."""
    lines = "".join(json.dumps(row) + "\n" for row in history)
    written = directory / "metrics.jsonl.new"
    written.write_text(lines)
    written.replace(directory / "metrics.jsonl")
    if best_epoch(history) is history[-1]:
        save(directory, "best", state, position)
    save(directory, "newest", state, position)
