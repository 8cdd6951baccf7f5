"""The verbs `sweep` (many configs together) and `lr-range` (which learning rates can be)."""

import dataclasses
import json
import sys
from typing import Annotated, Literal

import tyro
from rich.console import Console

from jaxcnn.train.config import TrainConfig
from jaxcnn.train.directories import fresh_directory
from jaxcnn.train.optimizers import OptimizerName
from jaxcnn.train.ranges import learning_rate_range
from jaxcnn.train.searches import LISTED, Search
from jaxcnn.train.standings import named, table
from jaxcnn.train.sweeps import sweep as run_sweep


@dataclasses.dataclass(frozen=True)
class Options(TrainConfig):
    """Options of `jaxcnn sweep`: those of `jaxcnn train`, some with a list of values."""

    # One by one, each of them is checked as a `TrainConfig`.
    learning_rate: tuple[float, ...] = (2e-3,)  # pyright: ignore[reportIncompatibleVariableOverride]
    """Largest learning rates of the schedule."""

    weight_decay: tuple[float, ...] = (0.0,)  # pyright: ignore[reportIncompatibleVariableOverride]
    """Weight decays of kernels; biases and norm scales are left out."""

    momentum: tuple[float, ...] = (0.9,)  # pyright: ignore[reportIncompatibleVariableOverride]
    """Momenta, for momentum, nesterov and rmsprop."""

    label_smoothing: tuple[float, ...] = (0.0,)  # pyright: ignore[reportIncompatibleVariableOverride]
    """Shares of each label that are spread evenly over all classes."""

    batch_size: tuple[int, ...] = (32,)  # pyright: ignore[reportIncompatibleVariableOverride]
    """Images in an optimizer step."""

    optimizer: tuple[OptimizerName, ...] = ("adam",)  # pyright: ignore[reportIncompatibleVariableOverride]
    """Optimizers, from Optax."""

    seed: int = 0
    """First seed; also that of the random draws."""

    def __post_init__(self) -> None:
        """Nothing to check here: the members are."""


def sweep(
    options: Annotated[Options, tyro.conf.arg(name="")] = Options(),
    seeds: int = 1,
    random: int | None = None,
    halving: int | None = None,
    together: Literal["auto", "always", "never"] = "auto",
    chunk: int | None = None,
    alone: bool = True,
) -> int:
    """Train a model with each combination of the values given, and compare by validation.

    Members of one shape train together in one program where that is faster. The directory --out
    gets sweep.json, sweep.csv, sweep.png, best.json, whose command trains the best alone, and best,
    the run that this command gives. The same command with the same --out goes on with a sweep that
    was stopped.

    Args:
        options: options as for train; learning rates, weight decays, momenta, label smoothings,
            batch sizes and optimizers may be several.
        seeds: Seeds for each combination, from --seed on.
        random: So many draws between the smallest and the largest of the values, in place of all
            combinations.
        halving: Successive halving: after 1/ETA of the epochs (and 1/ETA of these, ...) only the
            best 1/ETA go on. ETA is 2 or more.
        together: Whether members train in one program; auto measures which way is faster.
        chunk: Members in one program; by default as many as the memory holds, on a CPU at most 32
            for each device.
        alone: Train the best once more by itself, as a run in the directory best.
    """
    search = _search(options, seeds, random, halving)
    directory = search.config.out
    assert directory is not None
    print(f"Sweep: {directory}", flush=True)
    try:
        found = run_sweep(search, chunk=chunk, together=together, alone=alone)
    except KeyboardInterrupt:
        print(f"jaxcnn: stopped; the same with --out {directory} goes on.", file=sys.stderr)
        raise
    Console().print(table(found["members"]))
    print(f"Picture: {directory / 'sweep.png'}")
    if found["best"] is None:
        print("All members diverged.")
        return 1
    best = found["members"][found["best"]]["options"]
    print(f"Best: {named(best)}")
    if alone:
        print(f"Run: {directory / 'best'}")
    print(json.loads((directory / "best.json").read_text("utf-8"))["command"])
    return 0


def lr_range(
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = TrainConfig(),  # noqa: B008  frozen
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 200,
) -> int:
    """Train for a few steps while the learning rate grows, to see which ones can be (Smith 2017).

    Writes lr-range.png and lr-range.json to the directory --out, by default
    runs/DATE-TIME-lr-range-MODEL. The options learning-rate, schedule and epochs do not count.

    Args:
        config: options as for train.
        lowest: First learning rate.
        highest: Last learning rate; the test stops early where the loss is 4 times its smallest.
        steps: How many steps from the first to the last, by a factor that stays the same.
    """
    directory = config.out or fresh_directory(f"lr-range-{config.model}")
    found = learning_rate_range(
        dataclasses.replace(config, out=directory), lowest=lowest, highest=highest, steps=steps
    )
    print(found.ended)
    print(f"Steepest descent at learning rate {found.steepest:.2g}")
    print(f"Suggested largest learning rate: {found.suggestion:.2g}")
    print(f"Picture: {directory / 'lr-range.png'}")
    return 0


def _search(options: Options, seeds: int, random: int | None, halving: int | None) -> Search:
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    given = {name: values.pop(name) for name in LISTED}
    for name, listed in given.items():
        if not listed:
            raise ValueError(f"sweep: {name} needs at least one value, got none.")
    values["out"] = values["out"] or fresh_directory(f"sweep-{options.model}")
    first = {name: listed[0] for name, listed in given.items()}
    config = TrainConfig(**values, **first)
    lists = {name: listed for name, listed in given.items() if len(listed) > 1}
    return Search(config, lists, seeds=seeds, random=random, halving=halving)
