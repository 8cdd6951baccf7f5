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
from jaxcnn.train.parallel import agreed, anywhere, first_process, together

# What may change when a run is resumed: how it is computed and stored, or how long it goes on.
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


def fresh_directory(name: str, parent: str = "runs") -> Path:
    """PARENT/DATE-TIME-NAME, where nothing is yet; the same in all processes."""
    now = datetime.fromtimestamp(agreed(int(time.time())))
    directory = start = Path(parent) / f"{now:%Y%m%d-%H%M%S}-{name}"
    n = 1
    while directory.exists():
        n += 1
        directory = start.with_name(f"{start.name}-{n}")
    together("directory")
    return directory


def run_name(config: TrainConfig) -> str:
    """MODEL-DATA."""
    return f"{config.model}-{config.data.rstrip('/').replace(':', '-').split('/')[-1]}"


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


def write_config(
    directory: Path, config: TrainConfig, fed: Input, images: int, *, new: bool
) -> None:
    """Write config.json, making the directory of a new run; the first process does.

    Raises:
        ValueError: a run where there should be none, or one that was fed other images.
    """
    file = directory / "config.json"
    (there,) = anywhere(file.exists())  # all processes raise alike
    if new and there:
        raise ValueError(
            f"train_run: {directory} holds a run already: resume it, or choose another."
        )
    content = {"input": fed._asdict(), "images": images}
    if not new:
        _check_input(directory, content)
    together("input")
    if first_process():
        directory.mkdir(parents=True, exist_ok=True)
        versions = {"jaxcnn": jaxcnn.__version__, "jax": jax.__version__, "flax": flax.__version__}
        write_json(file, {"config": to_json(config), **content, "versions": versions})
    together("config")


def _check_input(directory: Path, content: dict[str, Any]) -> None:
    """A resumed run goes on with the images that it was fed, prepared as they were."""
    stored = read_config_file(directory)
    pairs = [(name, stored["input"][name], now) for name, now in content["input"].items()]
    pairs.append(("number", stored.get("images", content["images"]), content["images"]))
    for name, then, now in pairs:
        if then != json.loads(json.dumps(now)):
            raise ValueError(
                f"train_run: cannot resume {directory} with other training images: their {name} "
                f"was {then}, and is {now}."
            )


def check_resumed(directory: Path, config: TrainConfig) -> None:
    """The run's own config may differ from the one asked for in what is `FREE` alone."""
    own, asked = to_json(read_config(directory)), to_json(config)
    # A streamed picture keeps its place, skipped or not.
    free = (*FREE, "skip_corrupt") if own["stream"] and asked["stream"] else FREE
    differing = [
        f"{name} ({own[name]!r} there, {asked[name]!r} asked for)"
        for name in own
        if own[name] != asked[name] and name not in free
    ]
    if differing:
        raise ValueError(
            f"train_run: cannot resume {directory} with another {', '.join(differing)}."
        )


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file, nothing where there is none."""
    return json.loads(path.read_text()) if path.is_file() else {}


def write_json(path: Path, content: Any) -> None:
    """Write plain values, whole or not at all."""
    write_whole(path, json.dumps(content, indent=2) + "\n")


def write_whole(path: Path, content: str | bytes | bytearray) -> None:
    """Whole or not at all: a kill leaves the old file or the new one."""
    written = path.with_name(path.name + ".new")
    try:
        written.write_bytes(content.encode() if isinstance(content, str) else content)
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)
