import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from helpers import assert_close
from jaxcnn import data
from jaxcnn.train import (
    TrainConfig,
    evaluate_run,
    load_run,
    read_config,
    restore_variables,
    train_run,
)
from jaxcnn.train.directories import check_resumed, write_config, write_whole
from jaxcnn.train.inputs import Input, load_data

CONFIG = TrainConfig(model="tiny", epochs=2, optimizer="momentum", learning_rate=0.1, pad_crop=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "tiny"
    return directory, train_run(dataclasses.replace(CONFIG, out=directory))


def test_a_run_directory_holds_what_it_promises(run):
    directory, summary = run
    assert {path.name for path in directory.iterdir()} == {
        "config.json", "summary.json", "metrics.jsonl", "checkpoints",
        "curves.png", "confusion.png", "filters.png",
    }  # fmt: skip
    assert [path.name for path in sorted((directory / "checkpoints").iterdir())] == ["40", "80"]
    assert json.loads((directory / "summary.json").read_text()) == summary
    assert summary["status"] == "finished"
    assert summary["parameters"] == 9 * 10 + 10
    assert summary["seconds"] > 0
    assert 0.1 < summary["test_accuracy"] < 1
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert set(rows[0]) == {
        "epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy",
        "learning_rate", "seconds", "images_per_second", "compile_seconds", "data_wait",
    }  # fmt: skip
    for name in ("curves", "confusion", "filters"):
        with Image.open(directory / f"{name}.png") as picture:
            assert min(picture.size) > 100


def test_reading_back_gives_the_same(run):
    directory, summary = run
    loaded = load_run(directory)
    assert loaded.config == dataclasses.replace(CONFIG, out=directory) == read_config(directory)
    found = evaluate_run(loaded)
    assert_close(found.accuracy, summary["test_accuracy"])
    assert_close(found.loss, summary["test_loss"])
    assert found.confusion.sum() == 359


@pytest.mark.optimized
@pytest.mark.usefixtures("unpictured")
def test_resume_raises_the_epochs(tmp_path):
    constant = dataclasses.replace(CONFIG, schedule="constant", pad_crop=1)
    whole = train_run(dataclasses.replace(constant, out=tmp_path / "whole"))
    half = dataclasses.replace(constant, epochs=1, out=tmp_path / "half")
    train_run(half)
    resumed = train_run(dataclasses.replace(half, epochs=2), resume=tmp_path / "half")
    for name in ("test_accuracy", "test_loss", "step", "epochs"):
        assert resumed[name] == whole[name]
    ours = load_run(tmp_path / "half").state.params["conv"]["kernel"]
    np.testing.assert_array_equal(ours, load_run(tmp_path / "whole").state.params["conv"]["kernel"])
    with pytest.raises(
        ValueError, match="cannot resume .* another model .'tiny' there, 'lenet' as"
    ):
        train_run(dataclasses.replace(half, model="lenet"), resume=tmp_path / "half")


@pytest.mark.usefixtures("unpictured")
def test_resume_may_change_what_changes_no_number_and_adds_the_seconds_up(tmp_path):
    config = dataclasses.replace(CONFIG, epochs=1, out=tmp_path / "run")
    summary = train_run(config)
    summary["seconds"] = 1000.0  # as if it had taken that long
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary))
    other = dataclasses.replace(config, epochs=2, stream=True, mesh="data=1", keep=1)
    resumed = train_run(other, resume=tmp_path / "run")
    assert resumed["epochs"] == 2
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["80"]
    assert 1000 < resumed["seconds"] < 1100


@pytest.mark.usefixtures("unpictured")
def test_everything_at_once(tmp_path):
    """Mixup, cutout, accumulated gradients and averaged weights in bfloat16."""
    config = dataclasses.replace(
        CONFIG, dtype="bfloat16", mixup=0.4, cutout=2, accumulate=3, average=0.9, flip=True,
        epochs=3, learning_rate=0.1, batch_norm="per-device", out=tmp_path / "run",
    )  # fmt: skip
    summary = train_run(config)
    run = load_run(tmp_path / "run")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(run.variables)} == {"float32"}
    found = evaluate_run(run)
    assert_close(found.loss, summary["test_loss"], "bfloat16")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_divergence_is_said_and_kept(tmp_path):
    mlp = dataclasses.replace(CONFIG, model="mlp", model_options={"widths": "[4]"})
    wild = dataclasses.replace(mlp, learning_rate=1e30, out=tmp_path / "wild")
    summary = train_run(wild)
    assert summary["status"] == "diverged"
    assert summary["diagnosis"].startswith("Diverged")
    assert "test_accuracy" not in summary
    assert json.loads((tmp_path / "wild" / "summary.json").read_text()) == summary


def test_a_damaged_best_checkpoint_is_told_and_the_next_is_taken(run, tmp_path):
    directory, summary = run
    shutil.copytree(directory, tmp_path / "run")
    best, other = (80, 40) if summary["best_epoch"] == 2 else (40, 80)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / str(best) / "variables")
    with pytest.warns(UserWarning, match=f"step {best} .* The best of the others is taken"):
        found = load_run(tmp_path / "run")
    expected = restore_variables(directory, other, found.state)
    for a, e in zip(
        jax.tree.leaves(found.state.params), jax.tree.leaves(expected.params), strict=True
    ):
        np.testing.assert_array_equal(a, e)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / str(other) / "variables")
    with pytest.warns(UserWarning, match="others"), pytest.raises(ValueError, match="cannot be re"):
        load_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "value"), [("images", 7), ("input", {"mean": [0.5]}), ("input", {"classes": ["a"]})]
)
def test_other_images_are_refused(run, tmp_path, name, value):
    """Such as those of a folder that has grown, or of one that is streamed now."""
    directory, _ = run
    content = json.loads((directory / "config.json").read_text())
    value = {**content["input"], **value} if name == "input" else value
    (tmp_path / "config.json").write_text(json.dumps({**content, name: value}))
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ValueError, match="cannot resume .* with other training images: their"):
        train_run(CONFIG, resume=tmp_path)
    assert (tmp_path / "config.json").read_bytes() == before


def test_skip_corrupt_may_change_while_streaming(tmp_path):
    fed = Input((8, 8, 1), (0.5,), (0.5,), ("a", "b"))
    config = dataclasses.replace(CONFIG, stream=True)
    write_config(tmp_path, config, fed, 5, new=True)
    check_resumed(tmp_path, dataclasses.replace(config, skip_corrupt=True))
    with pytest.raises(ValueError, match="cannot resume .* with another skip_corrupt"):
        check_resumed(tmp_path, dataclasses.replace(CONFIG, skip_corrupt=True))


def test_a_validation_of_no_images(tmp_path):
    config = dataclasses.replace(CONFIG, validation=1e-9, out=tmp_path / "a")
    with pytest.raises(ValueError, match="validation 1e-09 holds out none of 1438 training images"):
        train_run(config)
    assert not (tmp_path / "a").exists()


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    write_whole(tmp_path / "a", "old")
    with pytest.raises(TypeError):
        write_whole(tmp_path / "a", 3)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_errors(run, tmp_path):
    directory, _ = run
    with pytest.raises(ValueError, match="train_run: .* holds a run already"):
        train_run(dataclasses.replace(CONFIG, out=directory))
    with pytest.raises(FileNotFoundError, match="no run in .*nothing: it has no config.json"):
        load_run(tmp_path / "nothing")
    for name in ("num_classes", "dtype"):
        given = dataclasses.replace(CONFIG, model_options={name: "1"}, out=tmp_path / "a")
        with pytest.raises(ValueError, match=f"train_run: {name} comes from the"):
            train_run(given)
    with pytest.raises(ValueError, match="tiny has no option 'drop'"):
        train_run(dataclasses.replace(CONFIG, model_options={"drop": "1"}, out=tmp_path / "a"))
    assert not (tmp_path / "a").exists()


BAD = {
    "epochs": 0,
    "batch_size": 0,
    "image_size": 0,
    "learning_rate": 0.0,
    "weight_decay": -1.0,
    "clip_norm": 0.0,
    "label_smoothing": 2.0,
    "pad_crop": -1,
    "validation": 1.0,
    "cutout": -1,
    "mixup": -0.5,
    "accumulate": 0,
    "average": 1.0,
    "workers": -1,
    "keep": 0,
    "checkpoint_steps": 0,
    "seed": -1,
}


@pytest.mark.parametrize("name", BAD)
def test_impossible_options_are_refused_at_once(name):
    with pytest.raises(ValueError, match=f"train: {name} must be .* got {BAD[name]}"):
        TrainConfig(**{name: BAD[name]})


def test_a_folder_is_fed_to_training_and_predict_alike(tmp_path):
    """Pictures of several sizes: what `predict` sees of a file is what training saw of it."""
    rng = np.random.default_rng(0)
    for c in range(2):
        (tmp_path / "pictures" / f"class{c}").mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 256, (16 + i, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / f"class{c}" / f"{i}.png")
    config = TrainConfig(model="tiny", data=f"folder:{tmp_path / 'pictures'}", image_size=24)
    dataset, fed = load_data(config)
    assert fed.shape == (24, 24, 3)
    file = tmp_path / "pictures" / "class0" / "9.png"
    seen = data.read_image(file, 3, (24, 24))
    every = np.concatenate([dataset.train.images, dataset.test.images])
    assert (every == seen).all((1, 2, 3)).any()


@pytest.mark.optimized  # computes more than it compiles
@pytest.mark.usefixtures("unpictured")
def test_the_default_run_reaches_98_percent(tmp_path):
    summary = train_run(TrainConfig(out=tmp_path / "default"))
    assert summary["test_accuracy"] >= 0.98
