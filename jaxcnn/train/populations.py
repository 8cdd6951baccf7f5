"""Trainings of one shape as one compiled program: `jax.vmap` over a population of members.

Each member draws its parameters, shuffles, dropout and augmentation as `train_run` of its config
does; what else tells members apart are numbers that the program takes as arguments.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcnn import data
from jaxcnn.losses import cross_entropy, weights_mask
from jaxcnn.lowering import compiler_options
from jaxcnn.train.config import TrainConfig
from jaxcnn.train.epochs import Step, Totals, counted_step, empty_totals
from jaxcnn.train.inputs import Input, make_augment, make_prepare
from jaxcnn.train.optimizers import DECOUPLED, OPTIMIZERS, freezing, multiplying
from jaxcnn.train.schedules import Schedule
from jaxcnn.train.setups import schedule_of, start_state, start_weights
from jaxcnn.train.steps import Loss, State, predict

MEMBERS = "members"  # the mesh's axis
TRAITS = ("learning_rate", "weight_decay", "momentum", "label_smoothing")
Row = dict[str, float]


class Member(NamedTuple):
    """A training, or with a first axis more a population of them."""

    state: State
    traits: dict[str, Any]  # what the program takes as numbers: `TRAITS`
    shuffle: Any  # the key of the shuffles
    train: Any  # its training images' places in the data set
    validation: Any  # and its validation images', then zeros that fill the last batch


class Outcome(NamedTuple):
    """What an epoch made of a population: its members after it, and a row for each."""

    population: Member
    rows: list[Row]  # "bad_step": the first step that was not finite, or -1


def shape_of(config: TrainConfig) -> TrainConfig:
    """A config without what members of one program may differ in: equal for equal programs."""
    fixed: dict[str, Any] = dict.fromkeys(TRAITS, 0.0) | {"learning_rate": 1.0}
    if config.optimizer == "rmsprop":  # without momentum its state is another one
        fixed["momentum"] = config.momentum
    return replace(config, **fixed, seed=0, out=None)


class Trainer:
    """Trains populations of one shape; a program for each size is compiled once."""

    def __init__(self, config: TrainConfig, dataset: data.Dataset, fed: Input, mesh: Mesh) -> None:
        """The program of the members whose `shape_of` is that of `config`."""
        self.config, self.fed, self.mesh = shape_of(config), fed, mesh
        self._split = dataset.train
        self._over_members = NamedSharding(mesh, P(MEMBERS))
        given = {"image": dataset.train.images, "label": dataset.train.labels}
        self._data = jax.device_put(given, NamedSharding(mesh, P()))
        train, validation = _places(dataset.train, config.validation, seed=0)
        self.images, self._validated = len(train), len(validation)
        self.batch_size = min(config.batch_size, self.images)
        self.steps = self.images // self.batch_size
        self._rate = schedule_of(self.config, self.images)  # every schedule is proportional to eta
        self._functions: State | None = None  # one state's, for all: equal trees have equal ones
        self._programs: dict[int, tuple[Any, Any]] = {}

    def member(self, config: TrainConfig) -> Member:
        """A member before its first step."""
        numbers = {name: getattr(config, name) for name in TRAITS}
        optimizer = _optimizer(self.config, self._rate, numbers)
        state = start_state(config, self.fed, optimizer, start_weights(config, self.fed))
        functions = self._functions = self._functions or state
        train, validation = _places(self._split, config.validation, seed=config.seed)
        filling = -len(validation) % self.batch_size
        return Member(
            state.replace(apply=functions.apply, optimizer=functions.optimizer, loss=cross_entropy),
            {name: jnp.float32(value) for name, value in numbers.items()},
            jax.random.fold_in(jax.random.key(config.seed), 1),
            jnp.asarray(train),
            jnp.asarray(np.pad(validation, (0, filling))),
        )

    def stack(self, members: Sequence[Member]) -> Member:
        """Members as a population, cut over the devices."""
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
        return jax.device_put(stacked, self._over_members)

    def epoch(self, population: Member, epoch: int) -> Outcome:
        """Train one epoch, counted from 0, and validate."""
        began = time.perf_counter()
        state, totals = self._train(population, epoch, self.steps)
        population = population._replace(state=state)
        _, validate = self._compiled(population)
        found = jax.device_get({**totals, **validate(population, self._data), "step": state.step})
        seconds = (time.perf_counter() - began) / len(found["step"])
        return Outcome(population, [self._row(found, i, seconds) for i in range(len(found["step"]))])

    def seconds(self, population: Member, steps: int) -> float:
        """The time that so many steps of the first epoch take, once they are compiled."""
        jax.block_until_ready(self._train(population, 0, 1))
        began = time.perf_counter()
        jax.block_until_ready(self._train(population, 0, min(steps, self.steps)))
        return time.perf_counter() - began

    def memory(self, population: Member) -> tuple[int, int]:
        """Bytes of a device that a population takes in training, and those of the data beside."""
        size = len(population.train) // self.mesh.size
        taken = self._compiled(population)[0].memory_analysis()
        data = sum(array.nbytes for array in self._data.values())
        if taken is None:  # a platform that tells nothing
            return 0, data
        own = taken.argument_size_in_bytes - data  # and again in the result
        return (own + taken.output_size_in_bytes + taken.temp_size_in_bytes) // size, data

    def _row(self, found: dict[str, np.ndarray], i: int, seconds: float) -> Row:
        one = {name: values[i].item() for name, values in found.items()}
        count, bad = max(one["count"], 1.0), one["bad_step"]
        if bad < 0 and not (one["finite"] and np.isfinite(one["val_loss"])):
            bad = one["step"]
        return {
            "step": one["step"],
            "train_loss": one["loss"] / count,
            "train_accuracy": one["accuracy"] / count,
            "val_loss": one["val_loss"],
            "val_accuracy": one["val_accuracy"],
            "seconds": seconds,
            "bad_step": bad,
        }

    def _train(self, population: Member, epoch: int, steps: int) -> tuple[State, Totals]:
        train, _ = self._compiled(population)
        return train(population, self._totals(population), self._data, epoch, steps)

    def _totals(self, population: Member) -> Totals:
        size = len(population.train)
        zeros = {name: np.full(size, zero, zero.dtype) for name, zero in empty_totals().items()}
        return jax.device_put(zeros, self._over_members)

    def _compiled(self, population: Member) -> tuple[Any, Any]:
        """The programs that train and that validate, for a population of this size."""
        size = len(population.train)
        if size not in self._programs:
            rest, config = (self._data, self.batch_size), self.config
            prepare = make_prepare(self.fed)
            augment = make_augment(config, len(self.fed.classes))
            step = _member_step(config, self._rate, counted_step(prepare, augment, None))
            train = partial(_train, step, self.batch_size, self.images)
            weight = np.arange(population.validation.shape[1]) < self._validated
            validate = partial(_validate, prepare, self.batch_size, weight)
            mapped = partial(jax.shard_map, mesh=self.mesh, out_specs=P(MEMBERS))
            each, same = P(MEMBERS), P()
            options = compiler_options()
            trained = jax.jit(
                mapped(train, in_specs=(each, each, same, same, same)), compiler_options=options
            )
            validated = jax.jit(mapped(validate, in_specs=(each, same)), compiler_options=options)
            totals = self._totals(population)
            self._programs[size] = (
                trained.lower(population, totals, self._data, 0, 1).compile(),
                validated.lower(population, self._data).compile(),
            )
        return self._programs[size]
