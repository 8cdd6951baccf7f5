"""What image files show: the most probable classes, by a run's model or by published weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcnn import data, weights
from jaxcnn.train.features import BATCH
from jaxcnn.train.inputs import make_prepare
from jaxcnn.train.runs import Run
from jaxcnn.train.steps import predict


class Guess(NamedTuple):
    """A class that an image may show."""

    label: int  # index into the classes
    name: str
    probability: float


def predict_run(run: Run, paths: Sequence[Path], *, top: int = 5) -> list[list[Guess]]:
    """The most probable classes of image files by a run's best checkpoint, the likeliest first.

    Args:
        run: of `load_run`.
        paths: image files, resized and converted to what the model takes.
        top: how many classes for each.

    Raises:
        FileNotFoundError: a file that is not there.
        ValueError: a file that is no image, or a top below 1.
    """
    _check_top("predict_run", top)
    h, w, c = run.input.shape
    images = np.stack([data.read_image(path, c, (h, w)) for path in paths])
    logits = predict(run.state, make_prepare(run.input)(images))
    return _likeliest(logits, run.input.classes, top)


def predict_pretrained(
    name: str, source: str | Path, paths: Sequence[Path], *, top: int = 5
) -> list[list[Guess]]:
    """The most probable classes of image files by a model with weights from elsewhere.

    The images are prepared as `jaxcnn.weights.preprocessing(name, source)` says. Weights of 1000
    classes are taken for ImageNet's; of other classes only the numbers are known.

    Args:
        name: one of `jaxcnn.models.names()` that has published weights.
        source: of the weights, as `jaxcnn.weights.load` takes it.
        paths: image files.
        top: how many classes for each.

    Raises:
        FileNotFoundError: a file that is not there.
        ValueError: a file that is no image, weights that do not fit the model, a model of unknown
            preprocessing, or a top below 1.
    """
    _check_top("predict_pretrained", top)
    preprocessing = weights.preprocessing(name, source)
    model, variables = weights.pretrained(name, source)
    apply, variables = jax.jit(model.apply), jax.device_put(variables)
    guesses = []
    for start in range(0, len(paths), BATCH):
        logits = apply(variables, weights.preprocess(paths[start : start + BATCH], preprocessing))
        known = weights.imagenet_classes()
        if logits.shape[-1] != len(known):
            known = tuple(f"class {k}" for k in range(logits.shape[-1]))
        guesses += _likeliest(logits, known, top)
    return guesses


def _check_top(function: str, top: int) -> None:
    if top < 1:
        raise ValueError(f"{function}: top must be at least 1, got {top}.")


def _likeliest(logits: Array, classes: tuple[str, ...], top: int) -> list[list[Guess]]:
    probabilities = np.asarray(jax.nn.softmax(logits.astype(jnp.float32)))
    order = np.argsort(-probabilities, axis=-1)[:, :top]
    return [
        [Guess(int(k), classes[k], float(row[k])) for k in best]
        for row, best in zip(probabilities, order, strict=True)
    ]
