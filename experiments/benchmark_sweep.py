"""What training a population of networks in one program gains over one network after the other.

Sixteen members of a sweep (two learning rates, eight seeds) take the same steps both ways:
together, by `jax.vmap` over the population, and one by one, in a population of one. Both are
compiled loops over images on the device, and they take turns. LeNet on Fashion-MNIST (synthetic
images of its size where it is not found), and a perceptron on the same images, whose steps are
mostly what a step costs by itself. Then the wall time of whole trainings, LeNet on the digits, with
compilation and validation: a sweep of sixteen both ways, and sixteen runs, each as `jaxcnn train`
starts it: with a program of its own, checkpoints, a test and pictures.

Command:  python experiments/benchmark_sweep.py
Hardware: 2 CPU cores (AMD EPYC with AVX2), shared; jax 0.10.2 and 0.12.0.1
Time:     8 min, 1 min with --epochs 0
Result:   Together, a LeNet's step of 32 images takes 3.9 ms, one by one 4.5: 1.13 times as fast
          (1.32 on jax 0.12); a perceptron's 0.09 and 0.17: 1.8 times (3.0). On two cores the
          compilation of sixteen networks side by side, 24 s for 6, outweighs that in short
          trainings: ten epochs of sixteen LeNets take 67 s together, 48 s one by one, and 287 s
          as sixteen runs
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal

import jax
import tyro
from recording import RESULTS, record
from timing import elapsed

from jaxcnn import data
from jaxcnn.lowering import keep_memory
from jaxcnn.train import Search, TrainConfig, sweep, train_run
from jaxcnn.train.populations import Trainer, load_source
from jaxcnn.train.searches import configs


@dataclass(frozen=True)
class Config:
    """What to run."""

    members: int = 16
    """Members of the population."""
    steps: int = 20
    """Steps of each member in a turn."""
    turns: int = 7
    """Turns of each way."""
    batch_size: int = 32
    """Images in a step of a member."""
    epochs: int = 10
    """Of the whole trainings; 0 leaves them out."""
    label: str = ""
    """Ending of the record's name, for another machine or version."""
    smoke: bool = False
    """Two steps of two tiny members in one turn, whole trainings of one, nothing written."""


def compare(base: TrainConfig, members: int, steps: int, turns: int) -> dict[str, float]:
    """Milliseconds for a member's step both ways, and how many times faster together is."""
    trainer = Trainer(base, load_source(base, jax.devices()[:1]))
    configs = [
        replace(base, learning_rate=rate, seed=seed)
        for rate in (1e-3, 2e-3)
        for seed in range(members // 2)
    ]
    everyone = [trainer.member(config) for config in configs]
    population, singles = trainer.stack(everyone), [trainer.stack([m]) for m in everyone]
    ways = {
        "together": lambda: trainer.seconds(population, steps),
        "one_by_one": lambda: sum(trainer.seconds(single, steps) for single in singles),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):  # the first is not counted
        for name in sorted(ways, reverse=turn % 2 == 0):
            seconds[name].append(ways[name]())
    counted = {name: values[1:] for name, values in seconds.items()}
    ratios = [a / b for a, b in zip(counted["one_by_one"], counted["together"], strict=True)]
    per_step = 1e3 / (steps * members)
    found = {f"{name}_ms_per_step": per_step * median(v) for name, v in counted.items()}
    return found | {"times_faster_together": median(ratios)}


def whole(search: Search, picture: Path | None) -> dict[str, float]:
    """Wall seconds of trainings as people start them; the sweep's picture is kept."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)

        def swept(together: Literal["always", "never"]) -> None:
            config = replace(search.config, out=out / together)
            sweep(replace(search, config=config), together=together, alone=False)

        def each() -> None:
            for i, config in enumerate(configs(search)):
                train_run(replace(config, out=out / f"run {i}"))

        ways: dict[str, Callable[[], None]] = {
            "sweep_together": lambda: swept("always"),
            "sweep_one_by_one": lambda: swept("never"),
            "runs": each,
        }
        seconds = {f"{name}_s": elapsed(way) for name, way in ways.items()}
        if picture is not None:
            shutil.copy(out / "always" / "sweep.png", picture)
        return seconds


def main(config: Config) -> dict[str, float]:
    """Both models; the names of the numbers begin with the model's."""
    keep_memory()
    members, steps, turns = config.members, config.steps, config.turns
    source = "fashion-mnist" if data.found()["fashion-mnist"] else "synthetic"
    names, size = ("lenet", "perceptron"), 28
    if config.smoke:
        members, steps, turns, source, names, size = 2, 2, 1, "synthetic", ("tiny",), 8
    result = {}
    for model in names:
        base = TrainConfig(
            model=model, data=source, image_size=size, batch_size=config.batch_size, pad_crop=0
        )
        found = compare(base, members, steps, turns)
        result |= {f"{model}_{name}": value for name, value in found.items()}
    name = "benchmark_sweep" + (f"-{config.label}" if config.label else "")
    if config.smoke:
        base = TrainConfig(model="tiny", data=source, image_size=size, epochs=1, batch_size=180)
        result |= whole(Search(base, {"learning_rate": (0.01,)}), None)
    elif config.epochs:
        base = TrainConfig(epochs=config.epochs)
        lists = {"learning_rate": (5e-4, 2e-3, 8e-3, 3.2e-2), "weight_decay": (0.0, 1e-3)}
        result |= whole(Search(base, lists, seeds=2), RESULTS / f"{name}.png")
    record(name, result, config.smoke)
    return result


if __name__ == "__main__":
    main(tyro.cli(Config))
