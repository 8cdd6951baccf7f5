"""The verbs of `jaxcnn`: each calls a room, prints, and returns an exit code."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import jax
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from jaxcnn import data, models
from jaxcnn.train import (
    TrainConfig,
    evaluate_run,
    load_run,
    parse_options,
    predict_run,
    read_config,
    train_run,
)

Json = Annotated[bool, tyro.conf.arg(name="json")]
EXIT_CODES = {"finished": 0, "diverged": 1, "interrupted": 130}


def training(default: TrainConfig) -> Callable[..., int]:
    """The verb `train`, its options starting from `default`."""

    def train(
        config: Annotated[TrainConfig, tyro.conf.arg(name="")] = default,
        resume: Path | None = None,
    ) -> int:
        """Train a model and write a run directory; with no options, LeNet on digits.

        Args:
            config: the run's options.
            resume: Run directory to go on with; its options hold. --epochs may be raised,
                which stretches the schedules that depend on it.
        """
        result = train_run(config, resume=resume)
        print()
        print(result["diagnosis"])
        if result["status"] == "interrupted":
            print(f"Stopped at step {result['step']}.")
            print(f"Go on with: jaxcnn train --resume {result['directory']}")
        elif result["status"] == "diverged":
            print(f"The loss was not finite at step {result['step']}.")
            if (Path(result["directory"]) / "checkpoints" / "newest").exists():
                print("The last good checkpoint is kept.")
        else:
            print(
                f"Test accuracy {100 * result['test_accuracy']:.2f} %, "
                f"loss {result['test_loss']:.4f} nats (checkpoint of epoch "
                f"{result['best_epoch']}), {result['seconds']:.1f} s in all."
            )
        pictures = sorted(str(p) for p in Path(result["directory"]).glob("*.png"))
        print(f"Run: {result['directory']}")
        if pictures:
            print(f"Pictures: {' '.join(pictures)}")
        return EXIT_CODES[result["status"]]

    return train


def resumed_config(arguments: Sequence[str]) -> TrainConfig:
    """The config that `train` starts from: that of the run to resume, or the default one."""
    for i, word in enumerate(arguments):
        if word.startswith("--resume="):
            return read_config(Path(word.split("=", 1)[1]))
        if word == "--resume" and i + 1 < len(arguments):
            return read_config(Path(arguments[i + 1]))
    return TrainConfig()


def evaluate(
    run: tyro.conf.Positional[Path],
    json_output: Json = False,
) -> int:
    """Test the best checkpoint of a run on its data set's test images.

    Args:
        run: Run directory.
        json_output: Print one JSON object instead of text.
    """
    found = evaluate_run(load_run(run))
    if json_output:
        print(json.dumps({"test_accuracy": found.accuracy, "test_loss": found.loss}))
    else:
        print(
            f"Test accuracy {100 * found.accuracy:.2f} %, loss {found.loss:.4f} nats "
            f"on {found.confusion.sum():,} images."
        )
    return 0


def predict(
    run: tyro.conf.Positional[Path],
    images: tyro.conf.Positional[tuple[Path, ...]],
    top: int = 5,
    json_output: Json = False,
) -> int:
    """Classify image files with the best checkpoint of a run.

    Args:
        run: Run directory.
        images: Image files.
        top: How many classes to print for each, the most probable first.
        json_output: Print one JSON object a line instead of text.
    """
    if not images:
        raise ValueError("predict: needs at least one image file, got none.")
    for path, guesses in zip(images, predict_run(load_run(run), images, top=top), strict=True):
        if json_output:
            top_classes = [
                {"index": g.label, "name": g.name, "probability": g.probability} for g in guesses
            ]
            print(json.dumps({"image": str(path), "top": top_classes}))
            continue
        print(path)
        for guess in guesses:
            print(f"  {100 * guess.probability:6.2f} %  {guess.name}")
    return 0


def summary(
    name: tyro.conf.Positional[str],
    input_shape: tuple[int, int, int] | None = None,
    model_options: dict[str, str] | None = None,
) -> int:
    """Print a model's layers: output shapes, parameters, multiply-adds, receptive fields.

    Args:
        name: Model by name.
        input_shape: Height, width and channels of the image; by default the model's usual ones.
        model_options: Options of the model as NAME VALUE pairs.
    """
    shape = input_shape or models.entry(name).input_shape
    model = models.create(name, **parse_options(model_options or {}))
    layers = models.summarize(model, shape)
    table = Table(
        title=f"{name} on {shape[0]}x{shape[1]}x{shape[2]}",
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    table.add_column("layer")
    table.add_column("kind")
    for column in ("output", "parameters", "multiply-adds", "receptive field"):
        table.add_column(column, justify="right")
    for layer in layers:
        table.add_row(
            layer.name,
            layer.kind,
            "x".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}",
            "x".join(map(str, layer.receptive_field)),
        )
    table.add_section()
    table.add_row(
        "total",
        "",
        "",
        f"{sum(layer.parameters for layer in layers):,}",
        f"{sum(layer.multiply_adds for layer in layers):,}",
        "",
    )
    Console().print(table)
    return 0


def doctor() -> int:
    """Print versions, devices, memory preallocation, and where each data set was found."""
    packages = ("jaxcnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    sections = {
        "Versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "Data": {name: place or "not found" for name, place in data.found().items()},
        "Devices": {},
    }
    code = 0
    try:
        sections["Devices"] = {f"{d.platform}:{d.id}": d.device_kind for d in jax.devices()}
        sections["Devices"]["preallocation"] = _preallocation()
    except Exception as error:  # noqa: BLE001  whatever a broken backend raises is the finding
        reason = f"{type(error).__name__} {error}".strip()
        sections["Devices"]["none"] = f"{reason} (JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS')})"
        code = 1
    for title, rows in sections.items():
        print(title)
        for name, value in rows.items():
            print(f"  {name:<18} {value}")
    return code


def _preallocation() -> str:
    if jax.default_backend() != "gpu":
        return "none (only on GPUs)"
    if os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "true").lower() in ("false", "0"):
        return "off (XLA_PYTHON_CLIENT_PREALLOCATE=false)"
    share = os.environ.get("XLA_CLIENT_MEM_FRACTION") or os.environ.get(
        "XLA_PYTHON_CLIENT_MEM_FRACTION", "0.75"
    )
    return f"{float(share):.0%} of the GPU's memory (XLA_CLIENT_MEM_FRACTION)"
