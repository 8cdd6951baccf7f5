"""Checkpoints by Orbax: in a run's directory, the newest one and the best one."""

from pathlib import Path
from typing import Any, Literal

import jax
import orbax.checkpoint as ocp

from jaxcnn.train.steps import State

Which = Literal["newest", "best"]


def save(directory: Path, which: Which, state: State, position: Any) -> None:
    """Write a checkpoint whole, then remove the one it replaces.

    One of the same step is left as it is: a training that a kill made do an epoch again comes to
    the same numbers.

    Args:
        directory: of the run.
        which: "newest" or "best".
        state: the training state.
        position: where training stands, a pytree of numbers.
    """
    items = {
        "variables": _variables(state),
        "optimization": _optimization(state),
        "position": position,
    }
    with _manager(directory, which) as manager:
        if int(state.step) in manager.all_steps():
            return
        saves = {name: ocp.args.StandardSave(item) for name, item in items.items()}
        manager.save(int(state.step), args=ocp.args.Composite(**saves), force=True)


def restore(directory: Path, which: Which, state: State) -> State:
    """The state of a checkpoint.

    Args:
        directory: of the run.
        which: "newest" or "best".
        state: a state of the same structure, for its shapes and functions.

    Raises:
        FileNotFoundError: no such checkpoint.
    """
    state = restore_variables(directory, which, state)
    saved = _read(directory, which, "optimization", _optimization(state))
    key = jax.random.wrap_key_data(saved.pop("key"), impl=jax.random.key_impl(state.key))
    return state.replace(**saved, key=key)


def restore_variables(directory: Path, which: Which, state: State) -> State:
    """The state with a checkpoint's parameters and batch statistics, whatever the optimizer."""
    return state.replace(**_read(directory, which, "variables", _variables(state)))


def restore_position(directory: Path, which: Which, position: Any) -> Any:
    """Where training stood at a checkpoint; `position` is one of the same structure."""
    return _read(directory, which, "position", position)


def _read(directory: Path, which: Which, item: str, target: Any) -> Any:
    missing = FileNotFoundError(f"restore: no {which} checkpoint in {directory}.")
    if not (directory / "checkpoints" / which).is_dir():
        raise missing
    with _manager(directory, which) as manager:
        step = manager.latest_step()
        if step is None:
            raise missing
        found = manager.restore(
            step, args=ocp.args.Composite(**{item: ocp.args.StandardRestore(target)})
        )
    return found[item]


def _manager(directory: Path, which: Which) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    return ocp.CheckpointManager((directory / "checkpoints" / which).absolute(), options=options)


def _variables(state: State) -> dict[str, Any]:
    return {"params": state.params, "batch_stats": state.batch_stats}


def _optimization(state: State) -> dict[str, Any]:
    return {
        "step": state.step,
        "opt_state": state.opt_state,
        "key": jax.random.key_data(state.key),
    }
