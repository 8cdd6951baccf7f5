"""Devices as a mesh: where the state and the batches lie, in one process or in many.

A batch is cut over the axis "data", the state is the same on every device. The step is written for
the whole batch, and XLA's partitioner makes the devices' programs of it (GSPMD): batch norm sees
all of the batch, dropout and augmentation draw what one device would draw.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn.data import Split, batches
from jaxcnn.train.steps import State

DATA = "data"  # the mesh's axis
HEARTBEAT = 30  # seconds without a sign of life after which a process counts as dead
SHORT = 1024  # numbers of an array that is not cut
INITIALIZATION = 120  # seconds that processes wait for one another at the start


class Layout(NamedTuple):
    """A mesh, and whether the optimizer's state is cut over it too."""

    mesh: Mesh
    shard_optimizer: bool = False

    @property
    def replicated(self) -> NamedSharding:
        """The same on every device."""
        return NamedSharding(self.mesh, P())

    @property
    def over_batch(self) -> NamedSharding:
        """The first axis cut over the devices."""
        return NamedSharding(self.mesh, P(DATA))


def join(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Make this process one of several that train together; before anything else of JAX's.

    Every process calls it; from then on `jax.devices()` are those of all. A process that dies
    ends the others within a minute.

    Args:
        coordinator: HOST:PORT of process 0, alike in all processes; "auto" lets JAX find all three
            from Slurm, MPI or Kubernetes; None joins nobody.
        num_processes: how many there are.
        process_id: which one this is.

    Raises:
        ValueError: some of the three without the others.
        ConnectionError: the others cannot be found.
    """
    numbers = (num_processes, process_id)
    if coordinator is None and numbers == (None, None):
        return
    alone = coordinator == "auto" and numbers == (None, None)
    if not alone and (None in numbers or coordinator in (None, "auto")):
        raise ValueError(
            "join: needs coordinator (HOST:PORT), num_processes and process_id, or coordinator "
            f"'auto' alone, got {coordinator!r}, {num_processes} and {process_id}."
        )
    if num_processes is not None and not 0 <= (process_id or 0) < num_processes:
        raise ValueError(f"join: process_id must lie in 0..{num_processes - 1}, got {process_id}.")
    address = None if alone else coordinator
    try:
        jax.distributed.initialize(
            address,
            num_processes,
            process_id,
            initialization_timeout=INITIALIZATION,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=HEARTBEAT,
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConnectionError(
            f"join: process {process_id} did not find the others at {coordinator}: {reason}"
        ) from error


def make_layout(devices: int | None = None, *, shard_optimizer: bool = False) -> Layout:
    """A mesh of the first devices, all of them by default.

    Args:
        devices: how many; every process's devices take part.
        shard_optimizer: cut the optimizer's state over the devices (Rajbhandari et al. (2020),
            ZeRO, section 5.1, https://arxiv.org/abs/1910.02054): each updates its part of the
            parameters.

    Raises:
        ValueError: more devices than there are, or, with several processes, not all of them.
    """
    present = jax.devices()
    devices = len(present) if devices is None else devices
    fewest = len(present) if jax.process_count() > 1 else 1
    if not fewest <= devices <= len(present):
        found = f"{len(present)} device(s) of {jax.process_count()} process(es)"
        raise ValueError(f"make_layout: found {found}, got a mesh of {devices}.")
    mesh = jax.make_mesh((devices,), (DATA,), (AxisType.Auto,), devices=present[:devices])
    return Layout(mesh, shard_optimizer)


def parse_mesh(text: str) -> int:
    """The devices of a mesh as the command line writes it.

    Example:
        >>> parse_mesh("data=8")
        8
    """
    name, _, number = text.partition("=")
    if name != DATA or not number.isdecimal() or int(number) < 1:
        raise ValueError(f"mesh: write data=N, N devices over which batches are cut, got {text!r}.")
    return int(number)


def state_shardings(state: State, layout: Layout) -> State:
    """Where each array of a state lies: on every device, or as `shard_optimizer` cuts it.

    An array of the optimizer's is cut along the longest axis that the devices divide; short ones
    are not worth the exchange.
    """
    devices = layout.mesh.size

    def cut(array: Any) -> NamedSharding:
        fitting = [(n, -axis) for axis, n in enumerate(array.shape) if n % devices == 0]
        if not fitting or array.size < SHORT:
            return layout.replicated
        axis = -max(fitting)[1]
        return NamedSharding(layout.mesh, P(*[None] * axis, DATA))

    everywhere = jax.tree.map(lambda _: layout.replicated, state)
    if not layout.shard_optimizer:
        return everywhere
    return everywhere.replace(opt_state=jax.tree.map(cut, state.opt_state))


def whole_gradients(state: State, layout: Layout) -> State:
    """The state with an optimizer that gets its gradients summed, before it takes its part of them.

    Otherwise the cut of the optimizer's state spreads into the backward pass, and costs gathers.
    """
    inner = state.optimizer

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        updates = lax.with_sharding_constraint(updates, layout.replicated)
        return inner.update(updates, state, params, **extra)

    return state.replace(optimizer=optax.GradientTransformationExtraArgs(inner.init, update))


def place(tree: Any, shardings: Any) -> Any:
    """Arrays of this process, the same in every process, on the devices of a mesh; copies."""
    tree = jax.tree.map(lambda a: jnp.copy(a) if isinstance(a, Array) else a, tree)
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)
    return jax.jit(lambda t: t, out_shardings=shardings)(tree)


def place_batch(batch: Mapping[str, Any], layout: Layout) -> dict[str, Array]:
    """This process's rows of a batch as its part of the whole batch."""
    return {
        name: jax.make_array_from_process_local_data(layout.over_batch, np.asarray(rows))
        for name, rows in batch.items()
    }


def per_device(apply: Callable[..., Any], layout: Layout) -> Callable[..., Any]:
    """A model's `apply` whose batch norm normalises each device's part of the batch by itself.

    In training only. The running statistics become the mean of the devices', and each device draws
    dropout by a key of its own.
    """

    def applied(variables: Any, x: Array, *, train: bool, **options: Any) -> Any:
        if not train:
            return apply(variables, x, train=False, **options)
        mutable, rngs = options["mutable"], options["rngs"]

        def local(variables: Any, x: Array, rngs: Any) -> tuple[Array, dict[str, Any]]:
            rngs = jax.tree.map(lambda key: jax.random.fold_in(key, lax.axis_index(DATA)), rngs)
            logits, updated = apply(variables, x, train=True, mutable=mutable, rngs=rngs)
            statistics = lax.pmean(updated.get("batch_stats", {}), DATA)
            return logits, {"batch_stats": statistics, "auxiliary": updated.get("auxiliary", {})}

        specs = (P(DATA), {"batch_stats": P(), "auxiliary": P(DATA)})
        mapped = jax.shard_map(
            local, mesh=layout.mesh, in_specs=(P(), P(DATA), P()), out_specs=specs
        )
        return mapped(variables, x, rngs)

    return applied


def anywhere(*flags: bool) -> tuple[bool, ...]:
    """Whether each flag is up in any process; all processes have to ask together."""
    if jax.process_count() == 1:
        return flags
    found = np.asarray(multihost_utils.process_allgather(np.asarray(flags)))
    up = found.reshape(-1, len(flags)).any(axis=0)
    return tuple(map(bool, np.nditer(up)))


def agreed(number: int) -> int:
    """The first process's number, in all processes."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def together(name: str) -> None:
    """Wait until all processes are here."""
    multihost_utils.sync_global_devices(name)


def first_process() -> bool:
    """Whether this is the process that prints and writes."""
    return jax.process_index() == 0


def shard() -> tuple[int, int]:
    """This process's number, and how many there are."""
    return jax.process_index(), jax.process_count()


def placed(
    split: Split, batch_size: int, layout: Layout, *, workers: int = 0
) -> Iterator[dict[str, Array]]:
    """All of a split in order, in batches on the devices; each process reads its share."""
    for batch in batches(split, batch_size, workers=workers, shard=shard()):
        yield place_batch(batch, layout)
