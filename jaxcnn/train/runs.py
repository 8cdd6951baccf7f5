"""A whole run: data, model, training, test, and the directory that holds what came of it."""

import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
from flax import linen as nn
from jax import Array

from jaxcnn import data, models, plots
from jaxcnn.functional.shapes import count_parameters
from jaxcnn.losses import cross_entropy
from jaxcnn.train.checkpoints import restore_variables, steps_on_disk
from jaxcnn.train.config import TrainConfig, from_json
from jaxcnn.train.diagnosis import diagnose
from jaxcnn.train.directories import (
    check_resumed,
    fresh_directory,
    read_config_file,
    read_json,
    run_name,
    write_config,
    write_json,
)
from jaxcnn.train.inputs import Input, load_data, make_augment, make_prepare
from jaxcnn.train.loop import Fit, fit
from jaxcnn.train.metrics import Row, best_epoch, read_metrics
from jaxcnn.train.parallel import (
    Layout,
    first_process,
    make_layout,
    parse_mesh,
    per_device,
    placed,
)
from jaxcnn.train.setups import (
    make_model,
    optimizer_of,
    schedule_of,
    start_state,
    start_weights,
)
from jaxcnn.train.steps import Evaluation, State, evaluate


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

    It holds config.json, metrics.jsonl (a line an epoch), checkpoints/STEP (the newest ones and the
    best), summary.json, and the pictures curves.png, confusion.png and filters.png. The test images
    are seen once, at the end, by the best checkpoint (highest validation accuracy). With several
    processes all of them call this alike, and the first one writes.

    Args:
        config: all options.
        resume: a run directory to go on with, whose config may differ in `epochs` and in what
            changes no number (`FREE`). After an interrupt or a kill it goes on bit for bit, on as
            many devices (from the start, if no checkpoint was written yet); more epochs than
            before stretch the schedules that depend on them (cosine, warmup-cosine, one-cycle).

    Returns:
        the content of summary.json: "status", "directory", "test_accuracy", "test_loss" (nats),
        "seconds", "parameters", "epochs", "diagnosis" and more.

    Raises:
        ValueError: options that do not fit together, or a directory that holds a run already.
        FileNotFoundError: data or a checkpoint that is not there.
        OSError: a checkpoint or another file that cannot be written.
    """
    began = time.perf_counter()
    directory = resume or config.out or fresh_directory(run_name(config))
    if resume:
        check_resumed(resume, config)
    resumed = resume is not None and bool(steps_on_disk(directory))
    layout = _layout(config)
    dataset, fed = load_data(config)
    training, validation = dataset.train, None
    if config.validation:
        training, validation = data.split_validation(
            dataset.train, config.validation, seed=config.seed
        )
        if not len(validation):
            raise ValueError(
                f"train_run: validation {config.validation} holds out none of "
                f"{len(dataset.train)} training images: choose more, or 0."
            )
    schedule = schedule_of(config, len(training))
    variables = None if resumed else start_weights(config, fed)
    state = start_state(config, fed, optimizer_of(config, schedule), variables)
    if config.batch_norm == "per-device":
        state = state.replace(apply=per_device(state.apply, layout))
    write_config(directory, config, fed, len(dataset.train), new=not resume)
    if first_process():
        print(
            f"{config.model} ({count_parameters(state.params):,} parameters) on {config.data}: "
            f"{len(training):,} training, {len(validation or ()):,} validation and "
            f"{len(dataset.test):,} test images of {'x'.join(map(str, fed.shape))}"
            f"{_devices(layout)}"
        )
    fitted = fit(
        state,
        training,
        validation,
        epochs=config.epochs,
        batch_size=config.batch_size,
        key=jax.random.fold_in(jax.random.key(config.seed), 1),
        prepare=make_prepare(fed),
        augment=make_augment(config, len(fed.classes)),
        learning_rate=lambda step: schedule(step // config.accumulate),
        directory=directory,
        resume=resumed,
        layout=layout,
        stream=config.stream,
        workers=config.workers,
        keep=config.keep,
        checkpoint_steps=config.checkpoint_steps,
    )
    summary: dict[str, Any] = {"status": fitted.status, "directory": str(directory)}
    summary |= _results(fed, fitted)
    if fitted.status == "finished" and fitted.history:
        row, best = _best(directory, fitted.state)
        test = _evaluate(best, dataset.test, fed, config, layout)
        summary |= {"best_epoch": row["epoch"]}
        summary |= {"test_accuracy": test.accuracy, "test_loss": test.loss}
        if first_process():
            model = make_model(config, len(fed.classes))
            grid = plots.filter_grid(first_filters(model, best, fed))
            plots.save(grid, directory / "filters.png")
            confusion = plots.confusion_matrix(test.confusion, fed.classes)
            plots.save(confusion, directory / "confusion.png")
    earlier = read_json(directory / "summary.json").get("seconds", 0.0) if resume else 0.0
    summary["seconds"] = round(earlier + time.perf_counter() - began, 3)
    if first_process():
        if fitted.history:
            plots.save(plots.loss_curves(fitted.history), directory / "curves.png")
        write_json(directory / "summary.json", summary)
    return summary


def load_run(directory: Path) -> Run:
    """A run's config, model and best state.

    Raises:
        FileNotFoundError: no run there, or one without a checkpoint.
    """
    content = read_config_file(directory)
    config = from_json(content["config"])
    fed = Input(**{name: tuple(value) for name, value in content["input"].items()})
    model = make_model(config, len(fed.classes))
    state = start_state(config, fed, optax.identity())
    return Run(config, fed, model, _best(directory, state)[1])


def evaluate_run(run: Run) -> Evaluation:
    """The best checkpoint of a run on the test images of its data set."""
    dataset, _ = load_data(run.config)
    if dataset.classes != run.input.classes:
        raise ValueError(
            f"evaluate_run: the run knows {len(run.input.classes)} classes "
            f"({', '.join(run.input.classes[:5])}, ...), the data have {len(dataset.classes)} "
            f"({', '.join(dataset.classes[:5])}, ...)."
        )
    return _evaluate(run.state, dataset.test, run.input, run.config)


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


def _evaluate(
    state: State,
    split: data.Split,
    fed: Input,
    config: TrainConfig,
    layout: Layout | None = None,
) -> Evaluation:
    """On a whole split, by the plain cross-entropy."""
    state = state.replace(loss=cross_entropy)
    layout = layout or make_layout(1)
    found = placed(split, config.batch_size, layout, workers=config.workers)
    return evaluate(state, found, prepare=make_prepare(fed))


def _layout(config: TrainConfig) -> Layout:
    devices = None if config.mesh is None else parse_mesh(config.mesh)
    return make_layout(devices, shard_optimizer=config.shard_optimizer)


def _devices(layout: Layout) -> str:
    """What to say of the devices where there are several."""
    devices, processes = layout.mesh.size, jax.process_count()
    if devices == 1:
        return ""
    return f" on {devices} devices" + (f" of {processes} processes" if processes > 1 else "")


def _best(directory: Path, state: State) -> tuple[Row, State]:
    """The best epoch of those whose checkpoints are there and whole, and its state."""
    steps = steps_on_disk(directory)  # a kill leaves the metrics of others
    rows = [row for row in read_metrics(directory) if row["step"] in steps]
    if not rows:
        raise FileNotFoundError(f"load_run: {directory} holds no checkpoint of a whole epoch.")
    while True:
        row = best_epoch(rows)
        try:
            return row, restore_variables(directory, row["step"], state)
        except ValueError as error:
            rows.remove(row)
            if not rows:
                raise
            warnings.warn(f"load_run: {error} The best of the others is taken.", stacklevel=2)


def _results(fed: Input, fitted: Fit) -> dict[str, Any]:
    """What training says of itself."""
    results = {
        "epochs": len(fitted.history),
        "step": fitted.step,
        "parameters": count_parameters(fitted.state.params),
        "diagnosis": diagnose(
            fitted.history, classes=len(fed.classes), diverged=fitted.status == "diverged"
        ),
    }
    if fitted.history:
        results["best_epoch"] = best_epoch(fitted.history)["epoch"]
        if skipped := max(row.get("skipped_images", 0) for row in fitted.history):
            results["skipped_images"] = skipped
    return results
