import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from helpers import array, assert_close
from jaxcnn import data, models, weights
from jaxcnn.train import TrainConfig, dataset_features, extract, photo_features

NAME = "squeezenet1_1"


@pytest.fixture(scope="module")
def source(tmp_path_factory, two_fires):
    """A file of small weights, of five classes."""
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    model = models.create(NAME, num_classes=5)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(lambda a: rng.normal(0, 0.2, a.shape).astype(np.float32), shapes)
    weights.save_safetensors(path, drawn)
    return path


def test_extract_takes_any_layer():
    model = models.create("lenet")
    x = array(6, 12, 12, 1)
    variables = jax.jit(model.init)(jax.random.key(0), x)
    flow = jax.jit(partial(models.activations, model))(variables, x)
    batches = [x[:4], x[4:]]
    assert_close(extract(model, variables, batches), flow["relu4"])  # what the logits see
    assert_close(extract(model, variables, batches, layer="pool1"), flow["pool1"])
    with pytest.raises(ValueError, match="extract: LeNet has no layer 'pool9'; .* conv1, relu1,"):
        extract(model, variables, batches, layer="pool9")
    with pytest.raises(ValueError, match="extract: needs at least one batch"):
        extract(model, variables, [])


def test_photos(source, tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.jpg"]
    for seed, path in enumerate(paths):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    found = photo_features(NAME, source, paths)
    assert found["images"].tolist() == [str(path) for path in paths]
    variables = weights.load(NAME, source)
    x = weights.preprocess(paths, weights.preprocessing(NAME))
    expected = jax.jit(models.create(NAME, num_classes=0).apply)(variables, x)
    assert_close(found["features"], expected)
    assert found["features"].shape == (2, 32)


def test_dataset(source, monkeypatch):
    small = data.load("synthetic")
    config = TrainConfig(model=NAME, weights=str(source), data="synthetic", image_size=32)
    found = dataset_features(config, layer="features/0")
    assert found["train_labels"].tolist() == small.train.labels.tolist()
    assert found["test_features"].shape == (len(small.test), 15, 15, 64)
    assert found["classes"].tolist() == list(small.classes)
    with pytest.raises(ValueError, match="dataset_features: needs weights, got None"):
        dataset_features(dataclasses.replace(config, weights=None))
