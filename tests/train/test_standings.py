import io
from functools import partial

import pytest
from rich.console import Console

from jaxcnn.train import standings as room
from jaxcnn.train.metrics import best_epoch
from jaxcnn.train.standings import named, standing, standings, table


def record(rate, accuracies, status="running"):
    rows = [
        {"epoch": i + 1, "train_loss": 1.0, "val_loss": 1 - a, "val_accuracy": a}
        for i, a in enumerate(accuracies)
    ]
    options = {"learning_rate": rate, "optimizer": "adam", "seed": 0}
    return {"options": options, "status": status, "history": rows, "step": 7}


RECORDS = [record(0.1, [0.2, 0.9, 0.5]), record(0.2, [0.95], "diverged"), record(0.3, [])]


def shown(records, **options):
    console = Console(file=io.StringIO(), width=120)
    console.print(table(records, **options))
    return [line.split() for line in console.file.getvalue().splitlines() if line.strip()]


def test_of_equally_accurate_epochs_the_one_of_the_lowest_loss_is_the_best():
    losses = [0.4, 0.2, 0.3]
    history = [{"epoch": i, "val_accuracy": 0.5, "val_loss": loss} for i, loss in enumerate(losses)]
    assert best_epoch(history)["epoch"] == 1
    assert best_epoch([*history, {"epoch": 3, "val_accuracy": 0.6, "val_loss": 9.0}])["epoch"] == 3
    assert best_epoch([{"epoch": 0}, {"epoch": 1}])["epoch"] == 1


def test_members_are_ranked_by_their_best_epoch():
    assert standing(RECORDS[0]) == pytest.approx((0.9, -0.1))
    assert standing(RECORDS[1]) == standing(RECORDS[2]) == (0.0, -float("inf"))
    lines = shown(RECORDS[::-1])
    assert lines[-3] == ["0.1", "adam", "0", "3", "1.0000", "0.1000", "90.00", "running"]
    assert [
        "0.2",
        "adam",
        "0",
        "1",
        "1.0000",
        "0.0500",
        "95.00",
        "diverged",
        "at",
        "step",
        "7",
    ] in lines
    assert shown(RECORDS, most=1)[-1] == ["...", "and", "2", "more"]


def test_named():
    assert (
        named({"learning_rate": 0.00012345, "batch_size": 64})
        == "learning rate 0.0001234, batch size 64"
    )


def test_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(room, "QUIET", 0)
    with standings(RECORDS, 3) as show:
        show("step 5 of 9")
    assert capsys.readouterr().out == (
        "1 of 3 members ended, 4 of 9 epochs; best 90.00 % (learning rate 0.1, optimizer adam, "
        "seed 0); step 5 of 9\n"
    )


def test_a_table_on_a_terminal(monkeypatch):
    file = io.StringIO()
    terminal = partial(Console, file=file, force_terminal=True, width=120, height=40)
    monkeypatch.setattr(room, "Console", terminal)
    with standings(RECORDS, 3) as show:
        show("step 5 of 9")
    assert "90.00" in file.getvalue()
    assert "step 5 of 9" in file.getvalue()
    assert "diverged at step 7" in file.getvalue()
