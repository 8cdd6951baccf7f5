import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import zoo_recipe as recipe
from PIL import Image
from safetensors.numpy import save_file

from helpers import assert_close
from jaxcnn import data, models, weights
from jaxcnn.train import (
    TrainConfig,
    create_state,
    guesses,
    predict,
    predict_pretrained,
    predict_run,
)
from jaxcnn.train.inputs import Input, make_prepare
from jaxcnn.train.runs import Run

NET = "squeezenet1_1"  # the quickest to compile among those with published weights


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    rng = np.random.default_rng(0)
    paths = [tmp_path_factory.mktemp("photos") / f"{i}.png" for i in range(4)]
    for i, path in enumerate(paths):
        small = rng.integers(0, 256, (4, 5 + i, 3), np.uint8)
        Image.fromarray(small).resize((300, 240 + i)).save(path)
    return paths


def test_predict_run(photos):
    fed = Input((8, 9, 1), (0.4,), (0.3,), ("a", "b", "c"))
    model = models.create("mlp", num_classes=3, widths=(4,))
    state = create_state(model, optax.identity(), jax.random.key(0), jnp.ones((1, *fed.shape)))
    run = Run(TrainConfig(), fed, model, state)
    found = predict_run(run, photos, top=10)
    images = np.stack([data.read_image(path, 1, (8, 9)) for path in photos])
    expected = jax.nn.softmax(predict(state, make_prepare(fed)(images)))
    for row, probabilities in zip(found, expected, strict=True):
        assert [g.name for g in row] == ["abc"[g.label] for g in row]
        assert [g.probability for g in row] == sorted((g.probability for g in row), reverse=True)
        assert_close([g.probability for g in sorted(row)], probabilities)
    assert predict_run(run, photos, top=2) == [row[:2] for row in found]
    with pytest.raises(ValueError, match="predict_run: top must be at least 1, got 0"):
        predict_run(run, photos, top=0)


@pytest.mark.usefixtures("two_fires")
def test_predict_pretrained(tmp_path, photos, monkeypatch):
    """By ImageNet's names, what the model says of the prepared photos; more photos than a batch."""
    path = tmp_path / "weights.safetensors"
    save_file(recipe.state(NET, num_classes=1000), path)
    monkeypatch.setattr(guesses, "BATCH", 2)
    found = predict_pretrained(NET, path, photos, top=1000)
    variables = weights.load(NET, path)
    x = weights.preprocess(photos, weights.preprocessing(NET))
    expected = jax.nn.softmax(jax.jit(models.create(NET).apply)(variables, jnp.asarray(x)))
    assert min(abs(expected[i] - expected[i - 1]).max() for i in range(4)) > 1e-3  # they differ
    for row, probabilities in zip(found, expected, strict=True):
        assert [g.name for g in row] == [weights.imagenet_classes()[g.label] for g in row]
        assert [g.probability for g in row] == sorted((g.probability for g in row), reverse=True)
        by_label = sorted(row)
        assert [g.label for g in by_label] == list(range(1000))
        assert_close([g.probability for g in by_label], probabilities)


@pytest.mark.usefixtures("two_fires")
def test_other_classes_have_numbers(tmp_path, photos):
    path = tmp_path / "weights.safetensors"
    save_file(recipe.state(NET, num_classes=7), path)
    (row,) = predict_pretrained(NET, str(path), photos[:1], top=6)
    assert len(row) == 6
    assert {g.name for g in row} < {f"class {k}" for k in range(7)}
    assert [g.name for g in row] == [f"class {g.label}" for g in row]


def test_errors(tmp_path, photos):
    with pytest.raises(ValueError, match="predict_pretrained: top must be at least 1, got 0"):
        predict_pretrained(NET, tmp_path / "weights", photos, top=0)
    with pytest.raises(ValueError, match="preprocessing: no weights of lenet are published"):
        predict_pretrained("lenet", tmp_path / "weights", photos)
    with pytest.raises(FileNotFoundError, match="weights"):
        predict_pretrained(NET, tmp_path / "weights", photos)
