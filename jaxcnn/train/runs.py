"""A whole run: data, model, training, test, and the directory that holds what came of it."""

import json
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import Array

import jaxcnn
from jaxcnn import data, models, plots, weights
from jaxcnn.functional.shapes import count_parameters
from jaxcnn.losses import cross_entropy
from jaxcnn.train.checkpoints import restore_variables
from jaxcnn.train.config import TrainConfig, from_json, parse_options, to_json
from jaxcnn.train.diagnosis import diagnose
from jaxcnn.train.inputs import Input, load_data, make_augment, make_prepare
from jaxcnn.train.loop import Fit, best_epoch, fit
from jaxcnn.train.optimizers import make_optimizer
from jaxcnn.train.schedules import Schedule, make_schedule
from jaxcnn.train.steps import Evaluation, State, create_state, evaluate


class Run(NamedTuple):
    """A run read back from its directory."""

    config: TrainConfig
    input: Input
    model: nn.Module
    state: State

    @property
    def variables(self) -> dict[str, Any]:
        """What the model is applied to."""
        own = {"params": self.state.params, "batch_stats": self.state.batch_stats}
        return {name: tree for name, tree in own.items() if tree}


def train_run(config: TrainConfig, *, resume: Path | None = None) -> dict[str, Any]:
    """Train, test, and write a run directory.

    It holds config.json, metrics.jsonl (a line an epoch), checkpoints/newest and checkpoints/best,
    summary.json, and the pictures curves.png, confusion.png and filters.png. The test images are
    seen once, at the end, by the best checkpoint (highest validation accuracy).

    Args:
        config: all options.
        resume: a run directory to go on with, whose config may differ in `epochs` alone. After an
            interrupt it goes on bit for bit; more epochs than before stretch the schedules that
            depend on them (cosine, warmup-cosine, one-cycle).

    Returns:
        the content of summary.json: "status", "directory", "test_accuracy", "test_loss" (nats),
        "seconds", "parameters", "epochs", "diagnosis" and more.

    Raises:
        ValueError: options that do not fit together, or a directory that holds a run already.
        FileNotFoundError: data or a checkpoint that is not there.
    """
    began = time.perf_counter()
    directory = resume or config.out or _fresh_directory(config)
    if resume:
        _check_resumed(resume, config)
    dataset, fed = load_data(config)
    training, validation = dataset.train, None
    if config.validation:
        training, validation = data.split_validation(
            dataset.train, config.validation, seed=config.seed
        )
    schedule = _schedule(config, max(len(training) // config.batch_size, 1))
    model = _model(config, len(fed.classes))
    variables = None if resume else _start_weights(config, fed)
    state = _state(config, fed, model, _optimizer(config, schedule), variables)
    _write_config(directory, config, fed, new=not resume)
    print(
        f"{config.model} ({count_parameters(state.params):,} parameters) on {config.data}: "
        f"{len(training):,} training, {len(validation or ()):,} validation and "
        f"{len(dataset.test):,} test images of {'x'.join(map(str, fed.shape))}"
    )
    fitted = fit(
        state,
        training,
        validation,
        epochs=config.epochs,
        batch_size=config.batch_size,
        key=jax.random.fold_in(jax.random.key(config.seed), 1),
        prepare=make_prepare(fed),
        augment=make_augment(config),
        learning_rate=schedule,
        directory=directory,
        resume=resume is not None,
    )
    summary: dict[str, Any] = {"status": fitted.status, "directory": str(directory)}
    summary |= _results(fed, fitted, directory)
    if fitted.status == "finished" and fitted.history:
        best = restore_variables(directory, "best", state)
        summary |= _test(config, fed, best, dataset.test, directory)
        plots.save(plots.filter_grid(first_filters(model, best, fed)), directory / "filters.png")
    earlier = _read_json(directory / "summary.json").get("seconds", 0.0) if resume else 0.0
    summary["seconds"] = round(earlier + time.perf_counter() - began, 3)
    _write_json(directory / "summary.json", summary)
    return summary


def read_config(directory: Path) -> TrainConfig:
    """The config of the run in a directory.

    Raises:
        FileNotFoundError: no run there.
    """
    return from_json(_read_config_file(directory)["config"])


def load_run(directory: Path) -> Run:
    """A run's config, model and best state.

    Raises:
        FileNotFoundError: no run there, or one without a checkpoint.
    """
    content = _read_config_file(directory)
    config = from_json(content["config"])
    fed = Input(**{name: tuple(value) for name, value in content["input"].items()})
    model = _model(config, len(fed.classes))
    state = _state(config, fed, model, optax.identity())
    return Run(config, fed, model, restore_variables(directory, "best", state))


def evaluate_run(run: Run) -> Evaluation:
    """The best checkpoint of a run on the test images of its data set."""
    dataset, _ = load_data(run.config)
    if dataset.classes != run.input.classes:
        raise ValueError(
            f"evaluate_run: the run knows {len(run.input.classes)} classes "
            f"({', '.join(run.input.classes[:5])}, ...), the data have {len(dataset.classes)} "
            f"({', '.join(dataset.classes[:5])}, ...)."
        )
    return _evaluate(run.state, dataset.test, run.input, run.config.batch_size)


def first_filters(model: nn.Module, state: State, fed: Input) -> Array:
    """The first layer's kernel h w c_in c_out; a dense one takes the shape of the image."""
    for layer in models.summarize(model, fed.shape):
        module = state.params
        for name in layer.name.split("/"):
            module = module.get(name, {})
        kernel = module.get("kernel")
        if kernel is not None and kernel.ndim == 4:
            return kernel
        if kernel is not None and kernel.ndim == 2:
            return kernel.reshape(*fed.shape, -1)
    raise ValueError(f"first_filters: {type(model).__name__} has no convolution or dense layer.")


def _read_config_file(directory: Path) -> dict[str, Any]:
    content = _read_json(directory / "config.json")
    if not content:
        raise FileNotFoundError(f"no run in {directory}: it has no config.json.")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    """The content of a file, nothing where there is none."""
    return json.loads(path.read_text()) if path.is_file() else {}


def _model(config: TrainConfig, classes: int) -> nn.Module:
    return models.create(config.model, num_classes=classes, **_options(config))


def _options(config: TrainConfig) -> dict[str, Any]:
    """The model's options but `num_classes`."""
    options = parse_options(config.model_options)
    for name, source in {"num_classes": "the data set", "dtype": "the option dtype"}.items():
        if name in options:
            raise ValueError(f"train_run: {name} comes from {source}, not from model_options.")
    if config.dtype != "float32":
        options["dtype"] = config.dtype
    return options


def _schedule(config: TrainConfig, steps_per_epoch: int) -> Schedule:
    return make_schedule(
        config.schedule,
        config.learning_rate,
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
        warmup_epochs=config.warmup_epochs,
        decay_factor=config.decay_factor,
        decay_epochs=config.decay_epochs,
    )


def _optimizer(config: TrainConfig, schedule: Schedule) -> optax.GradientTransformation:
    return make_optimizer(
        config.optimizer,
        schedule,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        freeze=config.freeze,
        multipliers=config.multipliers,
    )


def _start_weights(config: TrainConfig, fed: Input) -> Any:
    """The variables of the checkpoint that training starts from, None where there is none."""
    if config.weights is None:
        return None
    return weights.load(
        config.model,
        config.weights,
        num_classes=len(fed.classes),
        input_shape=fed.shape,
        key=jax.random.key(config.seed),
        **_options(config),
    )


def _state(
    config: TrainConfig,
    fed: Input,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    variables: Any = None,
) -> State:
    return create_state(
        model,
        optimizer,
        jax.random.key(config.seed),
        jax.ShapeDtypeStruct((1, *fed.shape), jnp.float32),
        loss=partial(cross_entropy, label_smoothing=config.label_smoothing),
        variables=variables,
    )


def _evaluate(state: State, split: data.Split, fed: Input, batch_size: int) -> Evaluation:
    """On a whole split, by the plain cross-entropy."""
    state = state.replace(loss=cross_entropy)
    return evaluate(state, data.batches(split, batch_size), prepare=make_prepare(fed))


def _results(fed: Input, fitted: Fit, directory: Path) -> dict[str, Any]:
    """What training says of itself, and curves.png."""
    results = {
        "epochs": len(fitted.history),
        "step": fitted.step,
        "parameters": count_parameters(fitted.state.params),
        "diagnosis": diagnose(
            fitted.history, classes=len(fed.classes), diverged=fitted.status == "diverged"
        ),
    }
    if fitted.history:
        plots.save(plots.loss_curves(fitted.history), directory / "curves.png")
        results["best_epoch"] = best_epoch(fitted.history)["epoch"]
    return results


def _test(
    config: TrainConfig, fed: Input, state: State, split: data.Split, directory: Path
) -> dict[str, float]:
    """What the test images say, and confusion.png."""
    found = _evaluate(state, split, fed, config.batch_size)
    plots.save(plots.confusion_matrix(found.confusion, fed.classes), directory / "confusion.png")
    return {"test_accuracy": found.accuracy, "test_loss": found.loss}


def _fresh_directory(config: TrainConfig) -> Path:
    source = config.data.rstrip("/").replace(":", "-").split("/")[-1]
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{config.model}-{source}"
    directory, n = Path("runs") / name, 1
    while directory.exists():
        n += 1
        directory = Path("runs") / f"{name}-{n}"
    return directory


def _write_config(directory: Path, config: TrainConfig, fed: Input, *, new: bool) -> None:
    """Write config.json, making the directory of a new run."""
    if new and (directory / "config.json").exists():
        raise ValueError(
            f"train_run: {directory} holds a run already: resume it, or choose another."
        )
    directory.mkdir(parents=True, exist_ok=True)
    versions = {"jaxcnn": jaxcnn.__version__, "jax": jax.__version__, "flax": flax.__version__}
    content = {"config": to_json(config), "input": fed._asdict(), "versions": versions}
    _write_json(directory / "config.json", content)


def _check_resumed(directory: Path, config: TrainConfig) -> None:
    """The run's own config may differ from the one asked for in `epochs` and `out` alone."""
    own, asked = to_json(read_config(directory)), to_json(config)
    differing = [
        f"{name} ({own[name]!r} there, {asked[name]!r} asked for)"
        for name in own
        if own[name] != asked[name] and name not in ("epochs", "out")
    ]
    if differing:
        raise ValueError(
            f"train_run: cannot resume {directory} with another {', '.join(differing)}."
        )


def _write_json(path: Path, content: Any) -> None:
    """Whole or not at all: a kill leaves the old file or the new one."""
    written = path.with_name(path.name + ".new")
    written.write_text(json.dumps(content, indent=2) + "\n")
    written.replace(path)
