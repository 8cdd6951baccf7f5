"""What a run feeds its model: the data set at the model's size, normalized and augmented."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
from jax import Array

from jaxcnn import data, models, weights
from jaxcnn.train.config import TrainConfig


class Input(NamedTuple):
    """What the model is fed: shape in pixels, statistics per channel, and the classes' names."""

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]


def load_data(config: TrainConfig) -> tuple[data.Dataset, Input]:
    """The data set, its images of the size asked for, their own, or the model's usual one.

    With published weights the images get the channels and the statistics that these were trained
    with, else the data set's own.
    """
    size = None if config.image_size is None else (config.image_size, config.image_size)
    options: dict[str, Any] = {"path": config.data_path}
    if config.data.startswith("folder:"):  # other sets are in memory as they are
        options |= {"stream": config.stream, "skip_corrupt": config.skip_corrupt}
    dataset = data.load(config.data, size=size, **options)
    entry = models.entry(config.model)
    if size is None and min(dataset.train.images.shape[1:3]) < entry.smallest:
        size = entry.input_shape[:2]
        dataset = data.load(config.data, size=size, **options)
    mean, std = dataset.mean, dataset.std
    if config.weights is not None and weights.published(config.model):
        known = weights.preprocessing(config.model, config.weights)
        mean, std = known.mean, known.std
        dataset = _with_channels(dataset, entry.input_shape[2])
    _, h, w, c = dataset.train.images.shape
    return dataset, Input((h, w, c), mean, std, dataset.classes)


def _with_channels(dataset: data.Dataset, channels: int) -> data.Dataset:
    def changed(split: data.Split) -> data.Split:
        if isinstance(split.images, data.Pictures):
            return replace(split, images=replace(split.images, channels=channels))
        return replace(split, images=data.to_channels(split.images, channels))

    return replace(dataset, train=changed(dataset.train), test=changed(dataset.test))


def make_prepare(fed: Input) -> Callable[[Any], Any]:
    """Pixels 0 to 255 to what the model takes."""
    return partial(data.normalize, mean=fed.mean, std=fed.std)


def make_augment(
    config: TrainConfig, classes: int
) -> Callable[[Array, Array, Array], tuple[Array, Array]] | None:
    """The random changes of training images and labels that a config asks for."""
    if not (config.flip or config.pad_crop or config.cutout or config.mixup):
        return None

    def augment(key: Array, images: Array, labels: Array) -> tuple[Array, Array]:
        crop_key, flip_key, cutout_key, mixup_key = jax.random.split(key, 4)
        if config.pad_crop:
            images = data.pad_crop(crop_key, images, config.pad_crop)
        if config.flip:
            images = data.flip(flip_key, images)
        if config.cutout:
            images = data.cutout(cutout_key, images, config.cutout)
        if config.mixup:
            given = jax.nn.one_hot(labels, classes)
            return data.mixup(mixup_key, images, given, config.mixup)
        return images, labels

    return augment
