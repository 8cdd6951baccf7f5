"""Which configs a sweep trains, and which go on: grids, random draws, successive halving."""

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from jaxcnn.train.config import TrainConfig, only_defaults, to_json

# How a random search draws an option, where it is a range. Of the others it takes what is listed.
RANGES: Mapping[str, Literal["logarithmic", "linear"]] = {
    "learning_rate": "logarithmic",
    "weight_decay": "logarithmic",
    "momentum": "linear",
    "label_smoothing": "linear",
}
MOMENTUM = ("momentum", "nesterov", "rmsprop")  # the optimizers that have any
LISTED = (*RANGES, "batch_size", "optimizer")  # what a sweep varies, beside the seed
# What a member leaves to `jaxcnn train`: how one run lies on many devices and on the disk.
ALONE = ("mesh", "shard_optimizer", "batch_norm", "stream", "workers", "checkpoint_steps", "keep")
Point = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Search:
    """What a sweep looks through."""

    config: TrainConfig
    """What all members share; its seed is the first member's."""

    lists: Mapping[str, Sequence[Any]]
    """Values by the option, of `LISTED`."""

    seeds: int = 1
    """Seeds for each point, one after the other."""

    random: int | None = None
    """So many draws between the smallest and the largest value of each list, for the grid."""

    halving: int | None = None
    """Successive halving: after an ETA-th of an ETA-th ... of the epochs, the best ETA-th go on."""

    def __post_init__(self) -> None:
        """Reject what cannot be searched."""
        if unknown := [name for name in self.lists if name not in LISTED]:
            known = ", ".join(LISTED)
            raise ValueError(f"sweep: takes lists of {known}, got one of {unknown[0]}.")
        for name, values in self.lists.items():
            if not values or len(set(values)) < len(values):
                raise ValueError(f"sweep: {name} needs values that differ, got {list(values)}.")
        optimizers = {*self.lists.get("optimizer", ()), self.config.optimizer}
        if len(self.lists.get("momentum", ())) > 1 and not optimizers & set(MOMENTUM):
            raise ValueError(
                f"sweep: momentum is an option of {', '.join(MOMENTUM)}, got a list of it for "
                f"{', '.join(sorted(optimizers))}."
            )
        only_defaults("sweep", self.config, ALONE)
        for name, least in {"seeds": 1, "random": 1, "halving": 2}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"sweep: {name} must be at least {least}, got {value}.")
        if self.random is not None and not self.lists:
            raise ValueError("sweep: random draws between values, got no option with two of them.")
        if not self.config.validation:
            raise ValueError("sweep: members are compared by validation, got validation 0.")


def points(search: Search) -> list[Point]:
    """The values of each point, without the seed.

    Example:
        >>> search = Search(TrainConfig(), {"learning_rate": (0.1, 0.2), "momentum": (0.9,)})
        >>> points(search)
        [{'learning_rate': 0.1, 'momentum': 0.9}, {'learning_rate': 0.2, 'momentum': 0.9}]
    """
    if search.random is None:
        values = itertools.product(*search.lists.values())
        return [dict(zip(search.lists, chosen, strict=True)) for chosen in values]
    rng = np.random.default_rng(search.config.seed)
    return [
        {name: _draw(rng, name, values) for name, values in search.lists.items()}
        for _ in range(search.random)
    ]


def configs(search: Search) -> list[TrainConfig]:
    """Each point with each seed: the points in their order, the seeds of one together."""
    seeds = range(search.config.seed, search.config.seed + search.seeds)
    base = replace(search.config, out=None)
    return [replace(base, **point, seed=seed) for point in points(search) for seed in seeds]


def rungs(search: Search) -> list[int]:
    """The epochs after which successive halving chooses, the last one not among them.

    Example:
        >>> search = Search(TrainConfig(epochs=27), {"learning_rate": range(1, 10)}, halving=3)
        >>> rungs(search)
        [3, 9]
    """
    epochs, eta = search.config.epochs, search.halving
    if eta is None:
        return []
    most = min(len(points(search)), epochs)
    powers = itertools.takewhile(lambda power: power <= most, (eta**k for k in itertools.count(1)))
    return sorted({math.ceil(epochs / power) for power in powers} - {epochs})


def survivors(search: Search, epoch: int) -> int:
    """How many points go on after a rung, those that diverged counted among all: at least one.

    Example:
        >>> search = Search(TrainConfig(epochs=9), {"learning_rate": range(1, 10)}, halving=3)
        >>> [survivors(search, epoch) for epoch in rungs(search)]
        [3, 1]
    """
    assert search.halving is not None
    cut = search.halving ** (rungs(search).index(epoch) + 1)
    return max(len(points(search)) // cut, 1)


def description(search: Search) -> dict[str, Any]:
    """A search as plain JSON values, without what changes no number."""
    config = to_json(search.config)
    for name in ("out", "data_path", *ALONE):
        del config[name]
    lists = {name: list(values) for name, values in search.lists.items()}
    plan = {"seeds": search.seeds, "random": search.random, "halving": search.halving}
    return json.loads(json.dumps({"config": config, "lists": lists, **plan}))


def _draw(rng: np.random.Generator, name: str, values: Sequence[Any]) -> Any:
    if name not in RANGES:
        return values[int(rng.integers(len(values)))]
    low, high = min(values), max(values)
    if RANGES[name] == "logarithmic" and low > 0:
        return float(math.exp(rng.uniform(math.log(low), math.log(high))))
    return float(rng.uniform(low, high))
