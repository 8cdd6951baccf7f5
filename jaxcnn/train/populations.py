"""Trainings of one shape together: `jax.vmap` over a population that the devices share.

A convolution of many images by many kernels may be computed as one with zeros between the members,
and zero times what is not finite is not: where members diverge, those suspected are trained again,
alone.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn import data
from jaxcnn.lowering import compiler_options
from jaxcnn.train.config import TrainConfig
from jaxcnn.train.epochs import Totals, counted_step, empty_totals
from jaxcnn.train.inputs import Input, load_data, make_augment, make_prepare
from jaxcnn.train.loop import Pace
from jaxcnn.train.members import (
    Member,
    Traits,
    member_step,
    optimizer_of,
    places,
    shape_of,
    traits_of,
    validated,
)
from jaxcnn.train.metrics import Row
from jaxcnn.train.setups import make_model, schedule_of, start_weights
from jaxcnn.train.setups import optimizer_of as plain_optimizer
from jaxcnn.train.steps import Batch, State, create_state

MEMBERS = "members"  # the mesh's axis


class Source(NamedTuple):
    """What all members of a sweep have in common: images, and the devices that they lie on."""

    split: data.Split
    fed: Input
    mesh: Mesh
    images: Batch  # the split, whole on each device


class Programs(NamedTuple):
    """What is compiled for a population of one size."""

    shuffle: Any  # (population, epoch) -> order
    train: Any  # (population, totals, images, order, first step, last step) -> state, totals
    validate: Any  # (population, images) -> sums


def load_source(config: TrainConfig, devices: Sequence[Any]) -> Source:
    """The training images of a config."""
    dataset, fed = load_data(config)
    mesh = jax.make_mesh((len(devices),), (MEMBERS,), (AxisType.Auto,), devices=devices)
    images = {"image": dataset.train.images, "label": dataset.train.labels}
    placed = jax.device_put(images, NamedSharding(mesh, P()))
    return Source(dataset.train, fed, mesh, placed)


class Trainer:
    """Trains members of one shape; the programs for each size of population are compiled once."""

    def __init__(self, config: TrainConfig, source: Source) -> None:
        """For the members whose `shape_of` is that of `config`."""
        self.shape, self.mesh = shape_of(config), source.mesh
        self._split, self._fed, self._images = source.split, source.fed, source.images
        train, validation = places(source.split, config.validation, seed=0)
        if not len(validation):
            raise ValueError(
                f"sweep: members are compared by validation, got none of {len(train)} images."
            )
        self._batch = min(config.batch_size, len(train))
        self.steps = len(train) // self._batch
        self._rate = schedule_of(self.shape, len(train))  # all are proportional to the largest
        self._weight = np.arange(-(-len(validation) // self._batch) * self._batch) < len(validation)
        self._over_members = NamedSharding(self.mesh, P(MEMBERS))
        self._prepare = make_prepare(source.fed)
        augment = make_augment(self.shape, len(source.fed.classes))
        step = counted_step(self._prepare, augment, None)
        self._step = member_step(self.shape, self._rate, step)
        self._fresh = jax.jit(self._state)  # compiled once, for every key
        self._programs: dict[int, Programs] = {}
        self._pace = Pace()

    def member(self, config: TrainConfig) -> Member:
        """A member before its first step.

        Raises:
            ValueError: a config of another shape.
        """
        if shape_of(config) != self.shape:
            raise ValueError(f"Trainer: trains {self.shape}, got {config}.")
        plain_optimizer(config, self._rate)  # refuses what a run refuses
        variables = start_weights(config, self._fed)
        state = self._fresh(jax.random.key(config.seed), variables)
        train, validation = places(self._split, config.validation, seed=config.seed)
        return Member(
            state,
            {name: np.float32(value) for name, value in traits_of(config).items()},
            jax.random.fold_in(jax.random.key(config.seed), 1),
            train,
            np.pad(validation, (0, len(self._weight) - len(validation))),
        )

    def stack(self, members: Sequence[Member]) -> Member:
        """A population, the last member repeated until the devices divide it."""
        filling = -len(members) % self.mesh.size
        stacked = jax.tree.map(_stacked, *members, *[members[-1]] * filling)
        return jax.device_put(stacked, self._over_members)

    def epoch(
        self, population: Member, epoch: int, tick: Callable[[int], None] = lambda step: None
    ) -> tuple[Member, list[Row]]:
        """Train one epoch, counted from 0, and validate.

        Args:
            population: of `stack`.
            epoch: which one.
            tick: called now and then with the number of steps done.

        Returns:
            the population after it, a sound member in the place of each diverged one, and a row
            for each member, whose "bad_step" is the first that was not finite, or -1.
        """
        after, rows = self._epoch(population, epoch, tick)
        bad = [i for i, row in enumerate(rows) if row["bad_step"] >= 0]
        if not bad:
            return after, rows
        before, members = unstacked(population), unstacked(after)
        if len(rows) > self.mesh.size:
            for i in bad:
                alone, (rows[i], *_) = self._epoch(self.stack([before[i]]), epoch, tick)
                members[i] = unstacked(alone)[0]
        sound = [i for i, row in enumerate(rows) if row["bad_step"] < 0]
        if not sound:
            return population, rows
        members = [members[i if i in sound else sound[0]] for i in range(len(rows))]
        return self.stack(members), rows

    def seconds(self, population: Member, steps: int) -> float:
        """The time that the first steps take once they are compiled and the images shuffled."""
        programs = self._compiled(population)
        order = programs.shuffle(population, 0)
        arguments = population, self._totals(population), self._images, order
        jax.block_until_ready(programs.train(*arguments, 0, 1))
        began = time.perf_counter()
        jax.block_until_ready(programs.train(*arguments, 0, min(steps, self.steps)))
        return time.perf_counter() - began

    def memory(self, population: Member) -> tuple[int, int]:
        """Bytes of a device that training takes for a member, and those of the images beside."""
        images = sum(array.nbytes for array in self._images.values())
        taken = self._compiled(population).train.memory_analysis()
        if taken is None:  # a platform that tells nothing
            return 0, images
        sizes = taken.argument_size_in_bytes, taken.output_size_in_bytes, taken.temp_size_in_bytes
        return max(sum(sizes) - images, 0) * self.mesh.size // _size(population), images

    def _epoch(
        self, population: Member, epoch: int, tick: Callable[[int], None]
    ) -> tuple[Member, list[Row]]:
        programs = self._compiled(population)
        began = part = time.perf_counter()
        totals, order = self._totals(population), programs.shuffle(population, epoch)
        first = 0
        while first < self.steps:  # in parts, between which Ctrl-C is heard
            last = min(first + self._pace.steps, self.steps)
            arguments = population, totals, self._images, order, first, last
            state, totals = jax.block_until_ready(programs.train(*arguments))
            population = population._replace(state=state)
            now = time.perf_counter()
            self._pace.learn(now - part)
            first, part = last, now
            tick(last)
        validation = programs.validate(population, self._images)
        found = jax.device_get({**totals, **validation, "step": population.state.step})
        seconds = (time.perf_counter() - began) / _size(population)
        rows = [{k: v[i].item() for k, v in found.items()} for i in range(_size(population))]
        images = int(self._weight.sum())
        return population, [_row(row, images) | {"seconds": seconds} for row in rows]

    def _totals(self, population: Member) -> Totals:
        size = _size(population)
        zeros = {name: np.full(size, zero, zero.dtype) for name, zero in empty_totals().items()}
        return jax.device_put(zeros, self._over_members)

    def _compiled(self, population: Member) -> Programs:
        """The programs for a population of this size."""
        size = _size(population)
        if size not in self._programs:
            each, same = P(MEMBERS), P()
            mapped = partial(jax.shard_map, mesh=self.mesh, out_specs=each)

            def compiled(function: Callable[..., Any], specs: Any, *arguments: Any) -> Any:
                jitted = jax.jit(mapped(function, in_specs=specs), compiler_options=options)
                return jitted.lower(*arguments).compile()

            options, totals = compiler_options(), self._totals(population)
            shuffle = compiled(_shuffled, (each, same), population, 0)
            order = shuffle(population, 0)
            self._programs[size] = Programs(
                shuffle,
                compiled(
                    self._steps,
                    (each, each, same, each, same, same),
                    *(population, totals, self._images, order, 0, 0),
                ),
                compiled(self._validated, (each, same), population, self._images),
            )
        return self._programs[size]

    def _state(self, key: Any, variables: Any) -> State:
        return create_state(
            make_model(self.shape, len(self._fed.classes)),
            optimizer_of(self.shape, self._rate, traits_of(self.shape)),
            key,
            jax.ShapeDtypeStruct((1, *self._fed.shape), jnp.float32),
            variables=variables,
            average=self.shape.average,
        )

    def _steps(
        self, population: Member, totals: Totals, images: Batch, order: Array, first: Any, last: Any
    ) -> tuple[State, Totals]:
        """A device's part of the population through an epoch's steps from first up to last."""

        def one(state: State, totals: Totals, traits: Traits, chosen: Array) -> Any:
            batch = {name: values[chosen] for name, values in images.items()}
            return self._step(state, totals, traits, batch)

        def body(i: Array, carry: tuple[State, Totals]) -> tuple[State, Totals]:
            chosen = lax.dynamic_slice_in_dim(order, i * self._batch, self._batch, axis=1)
            return jax.vmap(one)(*carry, population.traits, chosen)

        return lax.fori_loop(first, last, body, (population.state, totals))

    def _validated(self, population: Member, images: Batch) -> dict[str, Array]:
        weight = self._weight.reshape(-1, self._batch)
        return jax.vmap(lambda member: validated(member, images, self._prepare, weight))(population)


def _shuffled(population: Member, epoch: Any) -> Array:
    """The places of each member's training images in the order of an epoch."""

    def order(member: Member) -> Array:
        key = jax.random.fold_in(member.shuffle, epoch)
        return jax.random.permutation(key, member.train)

    return jax.vmap(order)(population)


def unstacked(population: Member) -> list[Member]:
    """The members of a population, in the memory of the host."""
    here = jax.tree.map(_fetched, population)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], here) for i in range(_size(population))]


def _fetched(leaf: Any) -> Any:
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)


def _stacked(*leaves: Any) -> Any:
    keys = jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key)
    return jnp.stack(leaves) if keys else np.stack(leaves)


def _size(population: Member) -> int:
    return len(population.train)


def _row(found: Mapping[str, float], images: int) -> Row:
    count, bad = max(found["count"], 1.0), found["bad_step"]
    if bad < 0 and not (found["finite"] and math.isfinite(found["val_loss"])):
        bad = found["step"]
    return {
        "step": found["step"],
        "train_loss": found["loss"] / count,
        "train_accuracy": found["accuracy"] / count,
        "val_loss": found["val_loss"] / images,
        "val_accuracy": found["val_correct"] / images,
        "bad_step": bad,
    }
