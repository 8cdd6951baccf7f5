import json
import shlex
from dataclasses import replace
from types import SimpleNamespace

import pytest
import tyro

from helpers import assert_close
from jaxcnn.train import TrainConfig, sweeps, train_run
from jaxcnn.train.metrics import read_metrics
from jaxcnn.train.populations import Trainer
from jaxcnn.train.searches import Search
from jaxcnn.train.sweeps import Group, sweep

BASE = TrainConfig(model="perceptron", epochs=2, batch_size=128, pad_crop=0, optimizer="sgd")
RATES = {"learning_rate": (0.001, 0.01, 0.1)}
PAIR = {"learning_rate": (0.01, 0.1)}


def last(result):
    return [record["history"][-1]["val_loss"] for record in result["members"]]


@pytest.mark.usefixtures("unpictured")
def test_together_or_one_by_one_and_the_best_alone(tmp_path, capsys):
    out = tmp_path / "sweep"
    search = Search(replace(BASE, out=out), {**PAIR, "weight_decay": (0.0, 0.01)}, seeds=2)
    found = sweep(search, together="always")
    assert capsys.readouterr().out.startswith("8 members, 8 in one program\n")
    never = replace(search, config=replace(BASE, out=tmp_path / "never"))
    one_by_one = sweep(never, together="never", alone=False)
    assert_close(last(found), last(one_by_one), "float32 sums")
    assert found["best"] == one_by_one["best"]
    assert {record["status"] for record in found["members"]} == {"finished"}
    files = {"sweep.json", "sweep.csv", "sweep.png", "best.json", "best"}
    assert {path.name for path in out.iterdir()} == files
    written = json.loads((out / "sweep.json").read_text())
    assert written["members"] == found["members"]
    best = json.loads((out / "best.json").read_text())
    words = [*shlex.split(best["command"])[2:], "--out", str(tmp_path / "run")]
    train_run(tyro.cli(TrainConfig, args=words))
    row, ours = read_metrics(tmp_path / "run")[-1], found["members"][found["best"]]
    for name in ("train_loss", "val_loss"):  # the same bits
        assert read_metrics(out / "best")[-1][name] == row[name]
    assert ours["options"]["learning_rate"] == 0.1
    # Alone it is another program than among the eight: rounding may turn a near tie.
    assert row["val_accuracy"] == pytest.approx(ours["history"][-1]["val_accuracy"], abs=0.01)
    assert_close(ours["history"][-1]["val_loss"], row["val_loss"], "float32 sums")


@pytest.mark.usefixtures("unpictured")
def test_a_killed_sweep_goes_on(tmp_path, monkeypatch):
    search = Search(replace(BASE, out=tmp_path / "whole"), RATES)
    whole = sweep(search, together="never", alone=False)
    search = replace(search, config=replace(BASE, out=tmp_path / "cut"))
    epoch, calls = Trainer.epoch, []

    def killed(trainer, population, number, tick):
        calls.append(number)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return epoch(trainer, population, number, tick)

    monkeypatch.setattr(Trainer, "epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(search, together="never")
    statuses = [
        record["status"]
        for record in json.loads((tmp_path / "cut" / "sweep.json").read_text())["members"]
    ]
    assert statuses == ["finished", "running", "waiting"]
    resumed = sweep(search, together="never")
    assert calls == [0, 1, 0, 1, 0, 1, 0, 1]
    assert last(resumed) == last(whole)
    assert resumed["best"] == whole["best"]
    before = (tmp_path / "cut" / "best" / "summary.json").read_bytes()
    sweep(search)
    assert len(calls) == 8  # nothing is left to train
    assert (tmp_path / "cut" / "best" / "summary.json").read_bytes() == before
    with pytest.raises(ValueError, match="holds a sweep with another epochs"):
        sweep(replace(search, config=replace(search.config, epochs=3)))


@pytest.mark.usefixtures("unpictured")
def test_the_best_run_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    search = Search(replace(BASE, out=tmp_path), PAIR)
    trained, resumed = sweeps.train_run, []

    def stopped(config, *, resume=None):
        resumed.append(resume)
        if resume is not None:
            return trained(config, resume=resume)
        trained(replace(config, epochs=1))
        return {"status": "interrupted"}

    def one_epoch(directory):
        return {"status": "interrupted"} if len(resumed) == 1 else read(directory)

    read = sweeps.read_json
    monkeypatch.setattr(sweeps, "train_run", stopped)
    monkeypatch.setattr(sweeps, "read_json", one_epoch)
    with pytest.raises(KeyboardInterrupt):
        sweep(search)
    sweep(search)
    assert resumed == [None, tmp_path / "best"]
    assert len(read_metrics(tmp_path / "best")) == 2


def test_halving_stops_the_worse_ones(tmp_path):
    config = replace(BASE, epochs=4, out=tmp_path)
    rates = {"learning_rate": (1e-4, 0.1, 1e-3, 0.05)}
    found = sweep(Search(config, rates, halving=2), together="always", alone=False)
    epochs = [len(record["history"]) for record in found["members"]]
    statuses = [record["status"] for record in found["members"]]
    assert sorted(epochs) == [1, 1, 2, 4]
    assert (epochs[0], epochs[2]) == (1, 1)
    assert statuses[0] == statuses[2] == "stopped"
    assert found["members"][found["best"]]["status"] == "finished"
    # The schedule of those that went on was that of the whole length.
    plan = Search(replace(config, out=tmp_path / "whole"), rates)
    whole = sweep(plan, together="never", alone=False)
    for ours, theirs in zip(found["members"], whole["members"], strict=True):
        for row, other in zip(ours["history"], theirs["history"], strict=False):
            assert_close(row["val_loss"], other["val_loss"], "float32 sums")
    again = sweep(Search(config, rates, halving=2), together="always", alone=False)
    assert again == found


def test_halving_counts_those_that_diverged():
    """Nine, of which three are gone before the first rung: three go on, then one."""
    search = Search(replace(BASE, epochs=9), {"learning_rate": range(1, 10)}, halving=3)
    records = [{"status": "running", "history": []} for _ in range(9)]
    for record in records[:3]:
        record["status"] = "diverged"
    for epoch, expected in ((1, [6, 7, 8]), (3, [8])):
        for i, record in enumerate(records):
            if record["status"] == "running":
                row = {"epoch": epoch, "val_accuracy": i / 10, "val_loss": 1.0}
                record["history"] += [row] * (epoch - len(record["history"]))
        sweeps._halve(search, records, epoch)
        assert [i for i, r in enumerate(records) if r["status"] == "running"] == expected


def test_members_that_diverge(tmp_path):
    config = replace(BASE, out=tmp_path / "some")
    rates = {"learning_rate": (0.1, 1e38)}
    found = sweep(Search(config, rates), together="always", alone=False)
    sound, gone = found["members"]
    assert (sound["status"], found["best"]) == ("finished", 0)
    assert (gone["status"], gone["history"]) == ("diverged", [])
    assert 0 <= gone["step"] <= 2
    config = replace(config, out=tmp_path / "all")
    found = sweep(Search(config, {"learning_rate": (1e37, 1e38)}), together="never")
    assert found["best"] is None
    assert not (tmp_path / "all" / "best.json").exists()
    assert (tmp_path / "all" / "sweep.png").exists()


def test_members_of_several_shapes(tmp_path):
    lists = {"batch_size": (64, 128)}
    search = Search(replace(BASE, epochs=1, out=tmp_path), lists)
    found = sweep(search, together="never", alone=False)
    assert [record["history"][0]["step"] for record in found["members"]] == [20, 10]


class Stub:
    """A trainer with known costs."""

    class mesh:
        size = 2
        local_devices = (
            SimpleNamespace(platform="gpu", memory_stats=lambda: {"bytes_limit": 1000}),
        )

    def __init__(self, together=0.5, own=100):
        self.together, self.own = together, own

    def member(self, config):
        return config

    def stack(self, members):
        return list(members)

    def memory(self, population):
        return self.own, 300

    def seconds(self, population, steps):
        return 1.0 if len(population) == 2 else self.together * len(population) / 2


@pytest.mark.parametrize(
    ("trainer", "options", "expected", "line"),
    [
        (Stub(), {}, 5, "20 members, 10 in one program: 2.00 times as fast as one after the other"),
        (Stub(2.0), {}, 1, "20 members one after the other: together they take 2.00 times"),
        (Stub(2.0), {"together": "always"}, 5, "20 members, 10 in one program"),
        (Stub(own=1), {}, 10, "20 members, 20 in one program: 2.00 times"),
        (Stub(own=9999), {}, 1, "20 members, each in a program of its own"),
        (Stub(), {"chunk": 8}, 4, "20 members, 8 in one program: 2.00 times"),
        (Stub(), {"chunk": 1}, 1, "20 members, each in a program of its own"),
        (Stub(), {"together": "never"}, 1, "20 members, each in a program of its own"),
    ],
)
def test_how_many_train_together(trainer, options, expected, line, capsys, unchecked):
    group = Group(dict(enumerate([BASE] * 20)))
    options = {"chunk": None, "together": "auto", **options}
    assert sweeps._width(trainer, group, **options) == expected
    assert capsys.readouterr().out.startswith(line)


def test_errors(tmp_path):
    search = Search(replace(BASE, out=tmp_path / "new"), RATES)
    with pytest.raises(ValueError, match="sweep: chunk must be at least 1, got 0"):
        sweep(search, chunk=0)
    with pytest.raises(ValueError, match="sweep: needs a directory to write to"):
        sweep(replace(search, config=BASE))
    with pytest.raises(ValueError, match="train: learning_rate must be positive"):
        sweep(replace(search, lists={"learning_rate": (-1.0, 1.0)}))
    assert not (tmp_path / "new").exists()
