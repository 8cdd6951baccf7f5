"""Features of images: what a model with weights from elsewhere makes of them inside."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax import Array

from jaxcnn import data, models, weights
from jaxcnn.train.config import TrainConfig
from jaxcnn.train.inputs import load_data, make_prepare

BATCH = 32  # images that are held and computed at once


def extract(
    model: nn.Module, variables: Any, batches: Iterable[Any], *, layer: str | None = None
) -> np.ndarray:
    """What one layer of a model gives, in evaluation mode.

    Args:
        model: a Linen module.
        variables: its parameters and batch statistics.
        batches: images b h w c, as the model takes them.
        layer: one of the names in `jaxcnn.models.activations`; by default what the last layer,
            that of the classes, sees.

    Returns:
        the outputs of all batches as one float32 array.

    Raises:
        ValueError: no layer of that name, or no images.
    """
    headless = model.clone(num_classes=0)
    variables = jax.device_put(variables)

    @jax.jit
    def features(variables: Any, x: Array) -> Any:
        if layer is None:
            return headless.apply(variables, x)
        flow = models.activations(model, variables, x)
        if layer not in flow:
            raise ValueError(
                f"extract: {type(model).__name__} has no layer {layer!r}; its outermost are "
                f"{', '.join(name for name in flow if '/' not in name)}."
            )
        return flow[layer]

    parts = [np.asarray(features(variables, x), np.float32) for x in batches]
    if not parts:
        raise ValueError("extract: needs at least one batch of images, got none.")
    return np.concatenate(parts)


def photo_features(
    name: str,
    source: str | Path,
    paths: Sequence[Path],
    *,
    layer: str | None = None,
) -> dict[str, np.ndarray]:
    """Features of image files, prepared as the published weights want it.

    Args:
        name: one of `jaxcnn.models.names()` that has published weights.
        source: of the weights, as `jaxcnn.weights.load` takes it.
        paths: image files.
        layer: as for `extract`.

    Returns:
        "features", and "images": the paths.

    Raises:
        ValueError: as `extract` and `jaxcnn.weights` say.
    """
    how = weights.preprocessing(name, source)
    model, variables = weights.pretrained(name, source)
    starts = range(0, len(paths), BATCH)
    batches = (weights.preprocess(paths[i : i + BATCH], how) for i in starts)
    features = extract(model, variables, batches, layer=layer)
    return {"features": features, "images": np.array([str(path) for path in paths])}


def dataset_features(config: TrainConfig, *, layer: str | None = None) -> dict[str, np.ndarray]:
    """Features of a data set's images, not augmented.

    Args:
        config: `model`, `weights`, `data`, `data_path` and `image_size` count.
        layer: as for `extract`.

    Returns:
        "train_features", "train_labels", "test_features", "test_labels", and "classes", the
        labels' names.

    Raises:
        ValueError: no weights, or as `extract` and `jaxcnn.weights` say.
    """
    if config.weights is None:
        raise ValueError("dataset_features: needs weights, got None.")
    dataset, fed = load_data(config)
    model, variables = weights.pretrained(config.model, config.weights, input_shape=fed.shape)
    prepare = make_prepare(fed)
    found = {"classes": np.array(fed.classes)}
    for part, split in (("train", dataset.train), ("test", dataset.test)):
        batches = (prepare(batch["image"]) for batch in data.batches(split, BATCH))
        features = extract(model, variables, batches, layer=layer)
        found |= {f"{part}_features": features[: len(split)], f"{part}_labels": split.labels}
    return found


def save_features(path: Path, features: Mapping[str, Any]) -> None:
    """Write arrays to an .npz file, whole or not at all."""
    written = path.with_name(path.name + ".new")
    with open(written, "wb") as file:
        np.savez(file, **features)
    written.replace(path)
