"""The directory of a run: which one, its config, and files written whole or not at all."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import flax
import jax

import jaxcnn
from jaxcnn.train.config import TrainConfig, from_json, to_json
from jaxcnn.train.inputs import Input
from jaxcnn.train.parallel import agreed, first_process, together

# What may change when a run is resumed: it changes no number, or only which come next.
FREE = (
    "epochs",
    "out",
    "data_path",
    "mesh",
    "shard_optimizer",
    "stream",
    "workers",
    "keep",
    "checkpoint_steps",
)


def fresh_directory(config: TrainConfig) -> Path:
    """runs/DATE-TIME-MODEL-DATA, where nothing is yet; the same in all processes."""
    source = config.data.rstrip("/").replace(":", "-").split("/")[-1]
    now = datetime.fromtimestamp(agreed(int(time.time())))
    name = f"{now:%Y%m%d-%H%M%S}-{config.model}-{source}"
    directory, n = Path("runs") / name, 1
    while directory.exists():
        n += 1
        directory = Path("runs") / f"{name}-{n}"
    together("directory")
    return directory


def read_config(directory: Path) -> TrainConfig:
    """The config of the run in a directory.

    Raises:
        FileNotFoundError: no run there.
    """
    return from_json(read_config_file(directory)["config"])


def read_config_file(directory: Path) -> dict[str, Any]:
    """The content of config.json: "config", "input" and "versions"."""
    content = read_json(directory / "config.json")
    if not content:
        raise FileNotFoundError(f"no run in {directory}: it has no config.json.")
    return content


def write_config(directory: Path, config: TrainConfig, fed: Input, *, new: bool) -> None:
    """Write config.json, making the directory of a new run; the first process does."""
    if not first_process():
        return together("config")
    if new and (directory / "config.json").exists():
        raise ValueError(
            f"train_run: {directory} holds a run already: resume it, or choose another."
        )
    directory.mkdir(parents=True, exist_ok=True)
    versions = {"jaxcnn": jaxcnn.__version__, "jax": jax.__version__, "flax": flax.__version__}
    content = {"config": to_json(config), "input": fed._asdict(), "versions": versions}
    write_json(directory / "config.json", content)
    return together("config")


def check_resumed(directory: Path, config: TrainConfig) -> None:
    """The run's own config may differ from the one asked for in what is `FREE` alone."""
    own, asked = to_json(read_config(directory)), to_json(config)
    differing = [
        f"{name} ({own[name]!r} there, {asked[name]!r} asked for)"
        for name in own
        if own[name] != asked[name] and name not in FREE
    ]
    if differing:
        raise ValueError(
            f"train_run: cannot resume {directory} with another {', '.join(differing)}."
        )


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file, nothing where there is none."""
    return json.loads(path.read_text()) if path.is_file() else {}


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all: a kill leaves the old file or the new one."""
    written = path.with_name(path.name + ".new")
    written.write_text(json.dumps(content, indent=2) + "\n")
    written.replace(path)
