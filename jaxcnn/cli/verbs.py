"""The verbs of `jaxcnn`: each calls a room, prints, and returns an exit code."""

import fnmatch
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
from jaxcnn.cli.processes import joined
from jaxcnn.train import (
    TrainConfig,
    dataset_features,
    evaluate_run,
    load_run,
    parse_options,
    photo_features,
    predict_pretrained,
    predict_run,
    read_config,
    save_features,
    train_run,
)
from jaxcnn.train.parallel import first_process
from jaxcnn.weights import published

Json = Annotated[bool, tyro.conf.arg(name="json")]
EXIT_CODES = {"finished": 0, "diverged": 1, "interrupted": 130}


def training(default: TrainConfig) -> Callable[..., int]:
    """The verb `train`, its options starting from `default`."""

    def train(
        config: Annotated[TrainConfig, tyro.conf.arg(name="")] = default,
        resume: Path | None = None,
        coordinator: str | None = None,
        num_processes: int | None = None,
        process_id: int | None = None,
    ) -> int:
        """Train a model and write a run directory; with no options, LeNet on digits.

        Args:
            config: the run's options.
            resume: Run directory to go on with; its options hold. --epochs may be raised,
                which stretches the schedules that depend on it.
            coordinator: HOST:PORT of process 0 where several processes train together, each
                started with this same command and its own --process-id; auto finds all three
                from Slurm, MPI or Kubernetes.
            num_processes: How many processes there are.
            process_id: Which one this is, from 0.
        """
        with joined(coordinator, num_processes, process_id):
            result = train_run(config, resume=resume)
            if not first_process():
                return EXIT_CODES[result["status"]]
        print()
        print(result["diagnosis"])
        if result["status"] == "interrupted":
            print(f"Stopped at step {result['step']}.")
            print(f"Go on with: jaxcnn train --resume {result['directory']}")
        elif result["status"] == "diverged":
            print(f"The loss was not finite at step {result['step']}.")
            if list(Path(result["directory"]).glob("checkpoints/*")):
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
    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PATH ...")],
    model: str | None = None,
    weights: str | None = None,
    top: int = 5,
    json_output: Json = False,
) -> int:
    """Classify image files: predict RUN IMAGE ..., or --model NAME --weights FILE IMAGE ...

    Args:
        paths: A run directory, whose best checkpoint is used, and image files; with a model and
            its weights, image files alone.
        model: Model by name; its images are prepared as its published weights want them.
        weights: Its weights: a file of torchvision's, timm's or ours, or hub:OWNER/NAME@...
        top: How many classes to print for each, the most probable first.
        json_output: Print one JSON object a line instead of text.
    """
    if (model is None) != (weights is None):
        raise ValueError(
            f"predict: --model and --weights go together, got {model or weights} alone."
        )
    images = paths[1:] if model is None else paths
    if not images:
        raise ValueError("predict: needs at least one image file, got none.")
    if model is None or weights is None:
        found = predict_run(load_run(paths[0]), images, top=top)
    elif paths[0].is_dir():
        raise ValueError(f"predict: takes a run or a model, got {paths[0]} and {model}.")
    else:
        found = predict_pretrained(model, weights, images, top=top)
    for path, guesses in zip(images, found, strict=True):
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


def features(
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE ...")],
    model: str,
    weights: str,
    layer: str | None = None,
    data: str | None = None,
    data_path: Path | None = None,
    image_size: int | None = None,
    out: Path = Path("features.npz"),
) -> int:
    """Write what a layer makes of image files or of a data set to an .npz file.

    Args:
        images: Image files, prepared as the published weights want it.
        model: Model by name.
        weights: Its weights: a file of torchvision's, timm's or ours, or hub:OWNER/NAME@...
        layer: Module whose output is taken, such as layer4; by default what the last layer sees.
        data: Data set in place of image files; its labels are written as well.
        data_path: Directory of the data set's files; by default as for train.
        image_size: Height and width of the data set's images, in pixels; by default their own.
        out: File to write.
    """
    if (data is None) != bool(images):
        given = f"{len(images)} image files and data set {data}"
        raise ValueError(f"features: takes image files or --data NAME, got {given}.")
    if data is None and image_size is not None:
        raise ValueError("features: --image-size goes with --data; the weights size image files.")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"features: there is no directory {out.parent} for {out.name}.")
    if data is None:
        found = photo_features(model, weights, images, layer=layer)
    else:
        config = TrainConfig(
            model=model, weights=weights, data=data, data_path=data_path, image_size=image_size
        )
        found = dataset_features(config, layer=layer)
    save_features(out, found)
    for name, values in found.items():
        print(f"{name}: {'x'.join(map(str, values.shape))}")
    print(f"Features: {out}")
    return 0


def zoo(
    glob: tyro.conf.Positional[str] = "*",
    json_output: Json = False,
) -> int:
    """List the models: image, parameters, multiply-adds, published weights and their accuracy.

    Args:
        glob: Which models, such as 'resnet*'.
        json_output: Print one JSON object a line instead of a table.
    """
    names = fnmatch.filter(models.names(), glob)
    if not names:
        raise ValueError(f"models: no model's name matches {glob!r}.")
    table = Table(
        title="Published top-1 (%) of the first of the weights for ImageNet-1k",
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    table.add_column("model", no_wrap=True)
    for column in ("image", "parameters", "multiply-\nadds (M)", "top-1"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("weights", overflow="fold")
    for name in names:
        shape, costs, known = models.entry(name).input_shape, models.costs(name), published(name)
        if json_output:
            row = {"name": name, "input_shape": shape, **costs._asdict()}
            row["weights"] = [{"tag": w.tag, "url": w.url, "top1": w.top1} for w in known]
            print(json.dumps(row))
            continue
        table.add_row(
            name,
            "x".join(map(str, shape)),
            f"{costs.parameters:,}",
            f"{costs.multiply_adds / 1e6:,.1f}",
            f"{known[0].top1:.2f}" if known else "",
            " ".join(w.tag.removeprefix("IMAGENET1K_") for w in known),
        )
    if not json_output:
        Console().print(table)
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
