"""Training killed by SIGKILL at random moments, during saves too, and resumed: the same weights.

A run of LeNet on the digits, saved in the middle of its epochs too, is trained once without a
break. Then copies of it are killed again and again: half of them after a time drawn at random over
the run's length, half of them as soon as a checkpoint that is being written appears on the disk.
Each copy is resumed until it has finished, and its last weights are compared bit for bit.

Command:  python experiments/kills.py
Hardware: 2 CPU cores (AMD EPYC), jax 0.10.2
Time:     15 min
Result:   20 of 20 end with the same bits (results/kills.md: the moment, what was on the disk)
"""

import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import tyro
from recording import record, save_table

from jaxcnn.train import load_run, restore_variables
from jaxcnn.train.checkpoints import steps_on_disk

SAME = "bit-identical"


@dataclass(frozen=True)
class Config:
    """What to run."""

    kills: int = 20
    """How many runs are killed."""
    epochs: int = 12
    """Epochs of each run."""
    model: str = "lenet"
    """Model by name."""
    data: str = "digits"
    """Data set."""
    seed: int = 0
    """Of the moments."""
    smoke: bool = False
    """One run of one epoch of a tiny net, killed in its second save; nothing written."""


SMOKE = Config(kills=1, epochs=1, model="tiny", data="synthetic", seed=0, smoke=True)


def start(config: Config, directory: Path) -> subprocess.Popen[bytes]:
    """A process that trains: from the start, or from where the run in the directory stands."""
    place = "--resume" if (directory / "config.json").exists() else "--out"
    options = [place, str(directory), "--model", config.model, "--data", config.data]
    options += ["--epochs", str(config.epochs), "--checkpoint-steps", "7"]
    command = [sys.executable, "-m", "jaxcnn.cli", "train", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(config: Config, directory: Path) -> float:
    """Train to the end; the seconds that it took."""
    began = time.perf_counter()
    process = start(config, directory)
    _, complaint = process.communicate()
    if process.returncode:
        raise RuntimeError(complaint.decode()[-2000:])
    return time.perf_counter() - began


def kill_after(config: Config, directory: Path, seconds: float) -> None:
    """Start a run and kill it, if it is not over by then."""
    process = start(config, directory)
    time.sleep(seconds)
    process.kill()
    process.communicate()


def kill_while_saving(config: Config, directory: Path, saves: int) -> None:
    """Start a run and kill it when the checkpoint after so many others appears half-written."""
    process = start(config, directory)
    seen: set[str] = set()
    while process.poll() is None and len(seen) <= saves:
        for path in (directory / "checkpoints").glob("*tmp*"):
            seen.add(path.name)
        time.sleep(1e-3)  # a checkpoint takes many times as long
    process.kill()
    process.communicate()


def weights(directory: Path) -> list[np.ndarray]:
    """The last weights and batch statistics of a run that is over."""
    last = steps_on_disk(directory)[-1]
    state = restore_variables(directory, last, load_run(directory).state)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state.variables)]


def killed(config: Config) -> dict[str, dict[str, str]]:
    """The kills in their order: the moment, what was on the disk, and what came of it."""
    draw = random.Random(config.seed)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        seconds = finish(config, whole)
        expected = weights(whole)
        for i in range(config.kills):
            run = Path(folder) / str(i)
            began = time.perf_counter()
            if i % 2 == 0:
                saves = draw.randrange(2 * config.epochs)
                kill_while_saving(config, run, saves)
                moment = f"writing checkpoint {saves + 1}, "
            else:
                kill_after(config, run, draw.uniform(0, seconds))
                moment = ""
            moment += f"{time.perf_counter() - began:.2f} s"
            whole_ones = steps_on_disk(run)
            halves = [p.name.split(".")[0] for p in (run / "checkpoints").glob("*tmp*")]
            finish(config, run)
            same = all(map(np.array_equal, weights(run), expected))
            rows[str(i + 1)] = {
                "killed at": moment,
                "whole checkpoints (steps)": " ".join(map(str, whole_ones)) or "none",
                "half-written": " ".join(halves) or "none",
                "final weights": SAME if same else "DIFFERENT",
            }
            print(i + 1, *rows[str(i + 1)].values(), sep=" | ", flush=True)
    return rows


def main(config: Config) -> dict[str, int]:
    """How many of the runs that were killed ended with the bits of the one that was not."""
    if config.smoke:
        config = SMOKE
    rows = killed(config)
    identical = sum(row["final weights"] == SAME for row in rows.values())
    if not config.smoke:
        save_table("kills", rows)
    result = {"kills": config.kills, "bit_identical": identical}
    record("kills", result, config.smoke)
    if identical < config.kills:
        raise RuntimeError(f"kills: {config.kills - identical} runs ended with other weights.")
    return result


if __name__ == "__main__":
    main(tyro.cli(Config))
