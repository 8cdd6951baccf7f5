"""Steps of an epoch: many in one compiled loop over data on the device, or one by one as they come.

Both run the same step on the same batches: the same key gives the same numbers.
"""

import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import PRNGKeyArray

from jaxcnn.data import Split, batches
from jaxcnn.lowering import compiler_options
from jaxcnn.train.parallel import Layout, place, place_batch, shard, state_shardings
from jaxcnn.train.steps import Batch, State, train_step

AUGMENTATION = 1  # folded into a step's key, so that augmentation draws apart from dropout
ROOM = 0.4  # share of a device's memory that a data set on it may take
Totals = dict[str, Array]
Prepare = Callable[[Any], Any]
Augment = Callable[[PRNGKeyArray, Array, Array], tuple[Array, Array]]
Step = Callable[[State, Totals, Batch], tuple[State, Totals]]


class Advanced(NamedTuple):
    """What some steps made, and what they took besides computing."""

    state: State
    totals: Totals
    compiled: float  # seconds
    waited: float  # seconds that the device waited for data


# (state, totals, first, last): trains on an epoch's batches from first up to last, each call where
# the one before ended; state and totals are used up.
Feed = Callable[[State, Totals, int, int], Advanced]


def empty_totals() -> Totals:
    """The sums over an epoch's images before its first step."""
    names = ("loss", "accuracy", "count", "images")
    return {name: jnp.float32(0) for name in names} | {"bad_step": jnp.int32(-1)}


@lru_cache(maxsize=8)  # one compiled program for every `fit` with the same functions
def counted_step(prepare: Prepare, augment: Augment | None, layout: Layout | None) -> Step:
    """`train_step` that adds its metrics up on the device, so that no step waits for the host."""

    def step(state: State, totals: Totals, batch: Batch) -> tuple[State, Totals]:
        number, images, labels = state.step, batch["image"], batch["label"]
        if augment is not None:
            key = jax.random.fold_in(jax.random.fold_in(state.key, number), AUGMENTATION)
            images, labels = augment(key, images, labels)
        state, metrics = train_step(state, {**batch, "image": prepare(images), "label": labels})
        if layout is not None:
            state = lax.with_sharding_constraint(state, state_shardings(state, layout))
        first_bad = (totals["bad_step"] < 0) & ~jnp.isfinite(metrics["loss"])
        return state, {
            "loss": totals["loss"] + metrics["count"] * metrics["loss"],
            "accuracy": totals["accuracy"] + metrics["count"] * metrics["accuracy"],
            "count": totals["count"] + metrics["count"],
            "images": totals["images"] + images.shape[0],
            "bad_step": jnp.where(first_bad, number, totals["bad_step"]),
        }

    return step


@lru_cache(maxsize=8)
def _one_step(prepare: Prepare, augment: Augment | None, layout: Layout) -> Callable[..., Any]:
    step = counted_step(prepare, augment, layout)
    return jax.jit(step, donate_argnums=(0, 1), compiler_options=compiler_options())


@lru_cache(maxsize=8)
def _many_steps(
    prepare: Prepare, augment: Augment | None, layout: Layout, batch_size: int
) -> Callable[..., Any]:
    step = counted_step(prepare, augment, layout)

    @partial(jax.jit, donate_argnums=(0, 1), compiler_options=compiler_options())
    def steps(
        state: State, totals: Totals, data: Batch, order: Array, first: Any, last: Any
    ) -> tuple[State, Totals]:
        def body(i: Array, carry: tuple[State, Totals]) -> tuple[State, Totals]:
            chosen = lax.dynamic_slice_in_dim(order, i * batch_size, batch_size)
            chosen = lax.with_sharding_constraint(chosen, layout.over_batch)
            return step(*carry, {name: values[chosen] for name, values in data.items()})

        # Bounds that vary: one program serves an epoch whole, in parts, and from its middle on.
        return lax.fori_loop(first, last, body, (state, totals))

    return steps


def fits(split: Split, layout: Layout) -> bool:
    """Whether the images are in memory and leave room on a device for the training."""
    if not isinstance(split.images, np.ndarray):
        return False
    device = layout.mesh.local_devices[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")  # a CPU tells none
    return limit is None or split.images.nbytes <= ROOM * limit


def resident(
    split: Split,
    batch_size: int,
    layout: Layout,
    *,
    prepare: Prepare,
    augment: Augment | None = None,
) -> Callable[[PRNGKeyArray, int], Feed]:
    """Feeds over data that lie on the devices, whole on each: a compiled loop without a host.

    Returns:
        (key of the shuffle, batch to start from) -> the feed of one epoch.
    """
    data = place({"image": split.images, "label": split.labels}, layout.replicated)
    steps = _many_steps(prepare, augment, layout, batch_size)
    n = len(split)
    shuffle = jax.jit(partial(jax.random.permutation, x=n), out_shardings=layout.replicated)

    def epoch(key: PRNGKeyArray, start: int) -> Feed:
        order = shuffle(key)

        def feed(state: State, totals: Totals, first: int, last: int) -> Advanced:
            compiled = 0.0
            if first == start:  # no steps, but the program
                began = time.perf_counter()
                state, totals = steps(state, totals, data, order, first, first)
                compiled = time.perf_counter() - began
            state, totals = steps(state, totals, data, order, first, last)
            return Advanced(state, totals, compiled, waited=0.0)

        return feed

    return epoch


def streamed(
    split: Split,
    batch_size: int,
    layout: Layout,
    *,
    prepare: Prepare,
    augment: Augment | None = None,
    workers: int = 0,
) -> Callable[[PRNGKeyArray, int], Feed]:
    """Feeds over batches that the host reads, each process its share, while the devices compute.

    Returns:
        (key of the shuffle, batch to start from) -> the feed of one epoch.
    """
    step = _one_step(prepare, augment, layout)

    def epoch(key: PRNGKeyArray, start: int) -> Feed:
        read = batches(
            split, batch_size, key=key, drop_last=True, start=start, workers=workers, shard=shard()
        )

        def feed(state: State, totals: Totals, first: int, last: int) -> Advanced:
            compiled = waited = 0.0
            for i in range(first, last):
                began, idle = time.perf_counter(), _ready(totals)
                batch = next(read)
                # What the device did meanwhile is known at both ends; in between, half counts.
                waited += (time.perf_counter() - began) * (idle + _ready(totals)) / 2
                began = time.perf_counter()
                state, totals = step(state, totals, place_batch(batch, layout))
                if i == start:  # a call returns when the program is there, and not its result
                    compiled = time.perf_counter() - began
            return Advanced(state, totals, compiled, waited)

        return feed

    return epoch


def _ready(totals: Totals) -> bool:
    count: Any = totals["count"]
    return count.is_ready()
