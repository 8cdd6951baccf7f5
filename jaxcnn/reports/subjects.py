"""What a report is about: a model with its weights, and the images that are looked at."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array
from jax.tree_util import Partial

from jaxcnn import data, models, weights
from jaxcnn.train import load_run
from jaxcnn.train.inputs import Input, load_data, make_prepare

LOOKED_AT = 4  # test images of a run that are looked at where none are given


class Subject(NamedTuple):
    """A model, what it has learnt, and images as it takes them."""

    title: str
    origin: str
    """Where the weights come from."""
    model: nn.Module
    variables: Any
    logits: Callable[[Any, Array], Array]
    """(variables, images) -> scores of the classes, before softmax; jitted."""
    score: Callable[..., Array]
    """(variables, labels, images) -> the logit of one class for each image."""
    probability: Callable[..., Array]
    """The same after softmax."""
    classes: tuple[str, ...]
    images: Array
    """Images b h w c, normalized."""
    captions: tuple[str, ...]
    """What each image is called."""
    mean: tuple[float, ...]
    """Of each channel of the images scaled to [0, 1]."""
    std: tuple[float, ...]
    dataset: data.Dataset | None = None
    """The run's, at the size that the model takes."""
    run: Path | None = None


def subject(
    source: str, paths: Sequence[Path], *, weights_source: str | Path | None = None
) -> Subject:
    """A run, or a model by name, and images.

    Args:
        source: a run directory, or one of `models.names()`.
        paths: image files; of a run, test images of its data set where there are none.
        weights_source: of a model by name, as `weights.load` takes it; without it the parameters
            are drawn afresh.

    Raises:
        ValueError: neither a run nor a model, a run with weights, or a model without images.
        OSError: files that are not there.
    """
    if Path(source).is_dir():
        if weights_source is not None:
            raise ValueError(f"inspect: the run {source} has weights of its own, got more.")
        return _of_run(Path(source), paths)
    if source not in models.names():
        models.entry(source)  # names the nearest model
    if not paths:
        raise ValueError(f"inspect: a model by name needs image files, got none for {source}.")
    return _of_model(source, weights_source, paths)


def class_scores(about: Subject, labels: Array | np.ndarray) -> Partial:
    """The target of `interpret`'s methods: for each image the logit of a class of its own.

    All such targets of a subject share their compiled programs.
    """
    return Partial(about.score, about.variables, jnp.asarray(labels))


def class_probabilities(about: Subject, labels: Array | np.ndarray) -> Partial:
    """For each image the probability of a class of its own."""
    return Partial(about.probability, about.variables, jnp.asarray(labels))


def shown(about: Subject, images: Array | np.ndarray) -> np.ndarray:
    """Images as the model takes them, back on a scale from 0 to 1."""
    return np.clip(np.asarray(images) * np.array(about.std) + np.array(about.mean), 0, 1)


def normal(about: Subject, pixels: np.ndarray) -> Array:
    """Pixels 0 to 255 as the model takes them."""
    return jnp.asarray(data.normalize(pixels, about.mean, about.std))


def _of_run(directory: Path, paths: Sequence[Path]) -> Subject:
    run = load_run(directory)
    dataset, _ = load_data(run.config)
    if paths:
        h, w, c = run.input.shape
        pixels = np.stack([data.read_image(path, c, (h, w)) for path in paths])
        captions = tuple(path.name for path in paths)
    else:
        chosen = _of_different_classes(dataset.test.labels, LOOKED_AT)
        pixels = dataset.test.images[chosen]
        labels = dataset.test.labels[chosen]
        captions = tuple(
            f"test image {i}: {dataset.classes[label]}"
            for i, label in zip(chosen, labels, strict=True)
        )
    return _subject(
        f"{run.config.model} on {run.config.data}",
        f"the best checkpoint of {directory}",
        run.model,
        run.variables,
        run.input,
        make_prepare(run.input)(pixels),
        captions,
    )._replace(dataset=dataset, run=directory)


def _of_different_classes(labels: np.ndarray, n: int) -> list[int]:
    """The first image of each of the first classes."""
    _, first = np.unique(labels, return_index=True)
    return sorted(first.tolist())[:n]


def _of_model(name: str, source: str | Path | None, paths: Sequence[Path]) -> Subject:
    captions = tuple(path.name for path in paths)
    if weights.published(name):
        how = weights.preprocessing(name, source)
        x = weights.preprocess(paths, how)
        if how.channels != "RGB":
            raise ValueError(f"inspect: {name} takes {how.channels} images, only RGB are shown.")
        mean, std = how.mean, how.std
    else:
        h, w, c = models.entry(name).input_shape
        mean, std = (0.5,) * c, (0.5,) * c
        x = data.normalize(
            np.stack([data.read_image(path, c, (h, w)) for path in paths]), mean, std
        )
    if source is None:
        model = models.create(name)
        variables = jax.jit(model.init)(jax.random.key(0), jnp.asarray(x[:1]))
        origin = "parameters drawn at random: nothing is learnt yet"
    else:
        model, variables = weights.pretrained(name, source)
        origin = f"the weights {Path(str(source)).name}"
    _, h, w, c = x.shape
    logits = jax.eval_shape(model.apply, variables, x[:1])
    classes = weights.imagenet_classes()
    if logits.shape[-1] != len(classes):
        classes = tuple(f"class {k}" for k in range(logits.shape[-1]))
    fed = Input((h, w, c), mean, std, classes)
    return _subject(name, origin, model, variables, fed, x, captions)


def _subject(
    title: str,
    origin: str,
    model: nn.Module,
    variables: Any,
    fed: Input,
    x: Any,
    captions: tuple[str, ...],
) -> Subject:
    def logits(variables: Any, x: Array) -> Any:
        return model.apply(variables, x)

    def score(variables: Any, labels: Array, x: Array) -> Array:
        return logits(variables, x)[jnp.arange(x.shape[0]), labels]

    def probability(variables: Any, labels: Array, x: Array) -> Array:
        return jax.nn.softmax(logits(variables, x))[jnp.arange(x.shape[0]), labels]

    return Subject(
        title=title,
        origin=origin,
        model=model,
        variables=jax.device_put(variables),
        logits=jax.jit(logits),
        score=score,
        probability=probability,
        classes=fed.classes,
        images=jnp.asarray(x),
        captions=captions,
        mean=fed.mean,
        std=fed.std,
    )
