import json

import pytest
import tyro

from jaxcnn.cli import sweeps
from jaxcnn.train.config import from_json


def call(verb, *arguments):
    return tyro.cli(verb, args=[str(argument) for argument in arguments])


TINY = ("--model", "perceptron", "--epochs", 1, "--batch-size", 128, "--pad-crop", 0)
TINY += ("--optimizer", "sgd")


@pytest.mark.usefixtures("unpictured")
def test_a_sweep(tmp_path, capsys):
    out = tmp_path / "sweep"
    rates = ("--learning-rate", 0.001, 0.1, "--weight-decay", 0, 0.1)
    assert call(sweeps.sweep, *TINY, *rates, "--seeds", 2, "--together", "never", "--out", out) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"Sweep: {out}\n8 members, each in a program of its own\n")
    found = json.loads((out / "sweep.json").read_text())
    assert found["search"]["lists"] == {"learning_rate": [0.001, 0.1], "weight_decay": [0.0, 0.1]}
    best = json.loads((out / "best.json").read_text())
    assert from_json(best["config"]).learning_rate == 0.1
    assert printed.endswith(f"{best['command']}\n")
    assert f"Run: {out / 'best'}\n" in printed
    assert f"Picture: {out / 'sweep.png'}\n" in printed


def test_all_diverged(tmp_path, capsys):
    arguments = (*TINY, "--learning-rate", 1e38, "--out", tmp_path)
    assert call(sweeps.sweep, *arguments) == 1
    assert capsys.readouterr().out.endswith("All members diverged.\n")


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweeps, "run_sweep", stopped)
    with pytest.raises(KeyboardInterrupt):
        call(sweeps.sweep, "--out", tmp_path)
    assert capsys.readouterr().err == f"jaxcnn: stopped; the same with --out {tmp_path} goes on.\n"


def test_the_plan_reaches_the_search(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = sweeps.Options(momentum=(0.5, 0.9), optimizer=("momentum", "nesterov"))
    search = sweeps._search(options, 3, 5, 2)
    assert (search.seeds, search.random, search.halving) == (3, 5, 2)
    assert (search.config.optimizer, search.config.momentum) == ("momentum", 0.5)
    assert set(search.lists) == {"momentum", "optimizer"}
    assert search.config.out.parts[0] == "runs"
    assert search.config.out.name.endswith("-sweep-lenet")
    search.config.out.mkdir(parents=True)
    names = {sweeps._search(options, 3, 5, 2).config.out.name for _ in range(2)}
    assert search.config.out.name not in names


def test_a_range_test(tmp_path, capsys):
    out = tmp_path / "range"
    options = ("--model", "perceptron", "--lowest", 1e-4, "--highest", 1, "--steps", 40)
    assert call(sweeps.lr_range, *options, "--out", out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("Steepest descent at learning rate ")
    assert lines[2].startswith("Suggested largest learning rate: ")
    assert lines[3] == f"Picture: {out / 'lr-range.png'}"
    assert (out / "lr-range.png").exists()


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="sweep: learning_rate needs at least one value"):
        call(sweeps.sweep, "--learning-rate", "--out", tmp_path)
    with pytest.raises(ValueError, match="train: learning_rate must be positive"):
        call(sweeps.sweep, "--learning-rate", "0", "--out", tmp_path)
    assert list(tmp_path.iterdir()) == []
