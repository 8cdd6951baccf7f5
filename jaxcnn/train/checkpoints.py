"""Checkpoints by Orbax: the newest few and the best one, each whole or not there at all."""

import glob
import hashlib
import json
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath
from jax import Array, lax
from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    LatestN,
    PreservationPolicy,
)

from jaxcnn.train.parallel import first_process, together
from jaxcnn.train.steps import State

Position = dict[str, Any]
Save = Callable[[State, Position, int | None], None]


class _Best(PreservationPolicy):
    """Keep the checkpoint that is the best at the time."""

    step: int | None = None

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        return [checkpoint.step == self.step for checkpoint in checkpoints]


@contextmanager
def writing(directory: Path, *, keep: int = 3) -> Iterator[Save]:
    """Inside, checkpoints are written while the training goes on; at its end all of them are.

    Args:
        directory: of the run.
        keep: how many of the newest are kept, beside the best.

    Yields:
        save(state, position, best): the training state, where training stands (plain numbers in
        dictionaries), and the step whose checkpoint is the best so far, None where there is none.
        It copies the state and returns; one checkpoint is written at a time. One of the same step
        is left as it is: a training that a kill made do an epoch again comes to the same numbers.

    Raises:
        OSError: a checkpoint could not be written; those before it are there.
    """
    best = _Best()
    options = ocp.CheckpointManagerOptions(
        preservation_policy=AnyPreservationPolicy([LatestN(keep), best]),
        cleanup_tmp_directories=True,
    )
    manager = _manager(directory, options)

    def save(state: State, position: Position, best_step: int | None) -> None:
        best.step = best_step
        step = int(state.step)
        if step in manager.all_steps():
            return
        items = jax.tree.map(jnp.copy, _items(state))  # the step after this one reuses its memory
        record = {
            "position": position,
            "digest": _digest(position),
            "checksums": {name: _checksums(item) for name, item in items.items()},
        }
        saves = {name: ocp.args.StandardSave(item) for name, item in items.items()}
        with _said(directory):
            manager.save(
                step, args=ocp.args.Composite(**saves, record=ocp.args.JsonSave(record)), force=True
            )

    lost = False
    try:
        yield save
    except jax.errors.JaxRuntimeError:  # another process is gone: waiting for it would be in vain
        lost = jax.process_count() > 1
        raise
    finally:
        if not lost:
            with _said(directory):
                manager.close()


def steps_on_disk(directory: Path) -> list[int]:
    """The steps of the checkpoints in a run's directory, the oldest first.

    Only those that are whole have a plain number for a name.
    """
    if not _place(directory).is_dir():
        return []
    return sorted(int(path.name) for path in _place(directory).iterdir() if path.name.isdecimal())


def restore(directory: Path, state: State) -> tuple[State, Position]:
    """The newest checkpoint that is whole, and where training stood.

    A damaged one is put aside, as damaged/STEP, with a warning, and the one before it is taken.

    Args:
        directory: of the run.
        state: a state of the same structure; the restored arrays lie where its own do.

    Raises:
        FileNotFoundError: no checkpoint.
        ValueError: none that can be read as this state.
    """
    steps = steps_on_disk(directory)
    if not steps:
        raise FileNotFoundError(f"restore: no checkpoint in {directory}.")
    damaged: dict[int, str] = {}
    for step in reversed(steps):
        try:
            found, position = _read(directory, step, _items(state))
        except ValueError as error:
            damaged[step] = str(error)
            continue
        for bad, reason in damaged.items():
            aside = _put_aside(directory, bad)
            warnings.warn(
                f"restore: {reason} It lies in {aside}; training goes on from step {step}.",
                stacklevel=2,
            )
        return _state(state, found), position
    raise ValueError(" ".join(damaged.values()))


def restore_variables(directory: Path, step: int, state: State) -> State:
    """A state that evaluates as the one of a checkpoint did, whatever the optimizer.

    Raises:
        ValueError: the checkpoint is damaged, or of another model.
    """
    own = {"params": state.params, "batch_stats": state.batch_stats}
    found, _ = _read(directory, step, {"variables": own})
    return state.replace(**found["variables"], average=None)


def _items(state: State) -> dict[str, Any]:
    """What a checkpoint holds: what the model is evaluated with, and all else apart."""
    own = {} if state.average is None else {"params": state.params, "stats": state.batch_stats}
    optimization = {
        "step": state.step,
        "opt_state": state.opt_state,
        "key": jax.random.key_data(state.key),
        "without_average": own,
    }
    return {"variables": state.variables, "optimization": optimization}


def _state(state: State, items: dict[str, Any]) -> State:
    variables, optimization = items["variables"], items["optimization"]
    key = jax.random.wrap_key_data(optimization["key"], impl=jax.random.key_impl(state.key))
    state = state.replace(step=optimization["step"], opt_state=optimization["opt_state"], key=key)
    if state.average is None:
        return state.replace(**variables)
    own = optimization["without_average"]
    return state.replace(params=own["params"], batch_stats=own["stats"], average=variables)


def _read(directory: Path, step: int, targets: dict[str, Any]) -> tuple[dict[str, Any], Position]:
    """Items of a checkpoint and its position, both proven whole."""
    asked = {name: ocp.args.StandardRestore(target) for name, target in targets.items()}
    where = f"the checkpoint of step {step} in {directory}"
    with _manager(directory) as manager:
        try:
            found = manager.restore(
                step, args=ocp.args.Composite(**asked, record=ocp.args.JsonRestore())
            )
        except Exception as error:  # noqa: BLE001  whatever a damaged file raises is the finding
            reason = str(error).strip().splitlines() or [""]
            raise ValueError(
                f"{where} cannot be read ({type(error).__name__}: {reason[0][:200]})."
            ) from None
    items, record = {name: found[name] for name in targets}, found["record"]
    if record.get("digest") != _digest(record.get("position")):
        raise ValueError(f"{where} is damaged: its position is not the one saved.")
    for name, item in items.items():
        if record.get("checksums", {}).get(name) != _checksums(item):
            raise ValueError(f"{where} is damaged: its {name} are not the numbers saved.")
    return items, record["position"]


def _checksums(tree: Any) -> list[int]:
    """A number for each array, in the tree's order; of sharded arrays, too."""
    return [int(total) for total in _weighted_sums(jax.tree.leaves(tree))]


@jax.jit
def _weighted_sums(arrays: list[Array]) -> list[Array]:
    """The bits of each array as 32-bit words, weighted by odd numbers: any changed word shows."""

    def total(a: Array) -> Array:
        a = a.astype(jnp.uint8) if a.dtype == bool else a
        words = lax.bitcast_convert_type(a, f"uint{8 * min(a.dtype.itemsize, 4)}")
        words = words.astype(jnp.uint32)
        weight = jnp.uint32(1)
        for axis in range(words.ndim):
            below = math.prod(words.shape[axis + 1 :])
            place = lax.broadcasted_iota(jnp.uint32, words.shape, axis)
            weight += place * jnp.uint32(2 * below % 2**32)
        return (words * weight).sum(dtype=jnp.uint32)

    return [total(a) for a in arrays]


def _digest(position: Any) -> str:
    return hashlib.sha256(json.dumps(position, sort_keys=True).encode()).hexdigest()


def _put_aside(directory: Path, step: int) -> Path:
    """Move a damaged checkpoint out of the way; nothing is removed."""
    aside, n = directory / "damaged" / str(step), 1
    while aside.exists():
        n += 1
        aside = aside.with_name(f"{step}-{n}")
    together("damaged")
    if first_process():
        aside.parent.mkdir(exist_ok=True)
        (_place(directory) / str(step)).rename(aside)
    together("put aside")
    return aside


@contextmanager
def _said(directory: Path) -> Iterator[None]:
    """What went wrong with a checkpoint, in words: Orbax tells it late, and at length."""
    try:
        yield
    except jax.errors.JaxRuntimeError:  # another process is gone: nothing about this disk
        raise
    except (OSError, ValueError, RuntimeError) as error:
        reason = re.sub(r"\[(os_error_code=|Errno ).*?\]", "", str(error)).split(": ")[-1].strip()
        raise OSError(
            f"a checkpoint in {directory} could not be written: {reason} "
            f"({type(error).__name__}). Those before it are whole: resume when there is room."
        ) from error


def _manager(
    directory: Path, options: ocp.CheckpointManagerOptions | None = None
) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(_LiteralPath(_place(directory)), options=options)


class _LiteralPath(type(epath.Path())):
    """A path with no patterns in it: Orbax looks for files under it, and it may hold a [ or a *."""

    def glob(self, pattern: str) -> Iterator["_LiteralPath"]:
        return (self / name for name in glob.glob(pattern, root_dir=self))


def _place(directory: Path) -> Path:
    return (directory / "checkpoints").absolute()
