"""The whole report of a run and of a model by name: what it promises is there."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo_recipe as recipe
from PIL import Image
from safetensors.numpy import save_file

from helpers import assert_close
from jaxcnn import interpret, models
from jaxcnn.reports import answers, looks, subject, write_report
from jaxcnn.reports.subjects import class_probabilities, class_scores, normal, shown
from jaxcnn.train import TrainConfig, train_run


@pytest.fixture(autouse=True, scope="module")
def coarse_pictures():
    """Few pixels: what is drawn is tested with the plots."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxcnn.plots.style.DPI", 40)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("reports") / "run"
    train_run(TrainConfig(model="tiny", epochs=1, out=directory))
    return directory


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def about(run):
    return subject(str(run), [])


def test_a_run_brings_images_of_different_classes(about):
    assert about.title == "tiny on digits"
    assert len(about.images) == len(about.captions) == 4
    labels = [caption.split(": ")[1] for caption in about.captions]
    assert len(set(labels)) == 4
    assert about.dataset is not None
    first = int(about.captions[0].removeprefix("test image ").split(":")[0])
    pixels = about.dataset.test.images[first]
    assert_close(shown(about, about.images)[0], pixels / 255.0)
    assert_close(normal(about, pixels[None])[0], about.images[0])


def test_targets_are_the_models(about):
    labels = np.array([0, 1, 2, 3])
    logits = np.asarray(about.logits(about.variables, about.images))
    assert_close(class_scores(about, labels)(about.images), np.diagonal(logits))
    powers = np.exp(logits)
    expected = np.diagonal(powers / powers.sum(-1, keepdims=True))
    assert_close(class_probabilities(about, labels)(about.images), expected)


def test_only_the_last_layer_is_drawn_anew(about):
    model = models.create("mlp", widths=(2, 2))
    shapes = jax.eval_shape(model.init, jax.random.key(0), about.images)
    ones = jax.tree.map(lambda a: np.ones(a.shape, a.dtype), shapes)
    about = about._replace(model=model, variables=ones)
    anew = answers.with_last_layer_drawn_anew(about)
    before, after = about.variables["params"], anew.variables["params"]
    assert not np.array_equal(before["logits"]["kernel"], after["logits"]["kernel"])
    np.testing.assert_array_equal(before["dense2"]["kernel"], after["dense2"]["kernel"])


@pytest.fixture(scope="module")
def report(about, tmp_path_factory):
    """The page, and what was said of it."""
    said = []
    before = jax.tree.map(np.array, about.variables)
    some = {"saliency", "integrated_gradients", "guided_backprop", "grad_cam"}

    def some_methods(**options):  # each is compiled; all of them are tested in tests/interpret
        return {k: method for k, method in interpret.methods(**options).items() if k in some}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looks, "LOOKED_THROUGH", 100)
        patch.setattr(looks, "UNITS", 1)
        patch.setattr(answers, "REMOVALS", 4)
        patch.setattr(answers, "WORST", 2)
        patch.setattr(answers, "methods", some_methods)
        page = write_report(about, tmp_path_factory.mktemp("report") / "out", say=said.append)
    jax.tree.map(np.testing.assert_array_equal, before, about.variables)
    return page, said


def test_report_of_a_run(report):
    page, said = report
    titles = """The images, Attributions and their tests, The model, Filters, Activations; layer by
        layer, Top patches, Ascent of the classes, The run"""
    found = ", ".join(line.rsplit(maxsplit=2)[0].replace(",", ";") for line in said)
    assert found.split() == titles.split()
    html = page.read_text("utf-8")
    pictures = sorted(path.stem for path in page.parent.glob("*.png"))
    assert html.count("data:image/png") == len(pictures) > 10
    assert {"images", "attributions", "filters", "ascent", "confusion", "mistakes"} < set(pictures)
    for name in ("saliency", "integrated_gradients", "grad_cam"):
        assert name in html


def test_the_worst_mistakes_have_the_largest_losses(about, tmp_path, monkeypatch):
    sheets = []
    monkeypatch.setattr(answers, "WORST", 3)
    monkeypatch.setattr(answers.plots, "image_sheet", lambda images, _: sheets.append(images))
    monkeypatch.setattr(answers.plots, "save", lambda _, path: path)
    answers.run_section(about, tmp_path)
    test = about.dataset.test
    logits = np.asarray(about.logits(about.variables, normal(about, test.images)))
    shifted = logits - logits.max(-1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(len(test)), test.labels]
    mistaken = logits.argmax(-1) != test.labels
    assert mistaken.sum() > 3
    worst = np.argsort(np.where(mistaken, -losses, 0))[:3]
    assert_close(sheets[0], test.images[worst] / 255)


def test_a_method_that_finds_no_place_says_so(about, report):
    assert (
        interpret.count_rectifiers(class_scores(about, np.zeros(4, int)), about.images).total == 0
    )
    html = report[0].read_text("utf-8")
    assert "<p>guided_backprop: f needs a ReLU" in html
    rows = dict(re.findall(r'<tr><th scope="row">(\w+)</th><td>(.*?)</td></tr>', html))
    assert rows["guided_backprop"].split("</td><td>") == list("----")
    assert 0 <= float(rows["saliency"].split("</td><td>")[1]) <= 1


def test_drawn_layers_follow_the_flow():
    model = models.create("resnet20", num_classes=3)
    images = jnp.ones((1, 32, 32, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    variables = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
    chosen = looks.drawn_layers(model.apply, variables, images, 3)
    flow = list(interpret.layer_shapes(lambda x: model.apply(variables, x), images))
    assert sorted(chosen, key=flow.index) == chosen
    assert len(chosen) == 3


def test_a_model_by_name(photo, tmp_path):
    file = tmp_path / "own.safetensors"
    save_file(recipe.state("squeezenet1_1", num_classes=5), file)
    about = subject("squeezenet1_1", [photo], weights_source=str(file))
    assert about.classes == tuple(f"class {k}" for k in range(5))
    assert about.images.shape == (1, 224, 224, 3)
    assert about.origin == "the weights own.safetensors"
    untrained = subject("tiny", [photo])
    assert "at random" in untrained.origin


def test_errors(run, photo):
    with pytest.raises(ValueError, match="inspect: a model by name needs image files"):
        subject("lenet", [])
    with pytest.raises(ValueError, match=r"no model named 'lenett'; did you mean 'lenet'\?"):
        subject("lenett", [photo])
    with pytest.raises(ValueError, match="has weights of its own"):
        subject(str(run), [], weights_source="file.pth")
    with pytest.raises(FileNotFoundError):
        subject("lenet", [photo.with_name("none.png")])


@pytest.mark.slow
@pytest.mark.optimized  # computes more than it compiles
def test_report_of_lenet(tmp_path):
    directory = tmp_path / "run"
    train_run(TrainConfig(epochs=2, out=directory))
    page = write_report(subject(str(directory), []), directory / "inspect")
    html = page.read_text("utf-8")
    assert all(name in html for name in interpret.methods(layer="conv1", window=2))
