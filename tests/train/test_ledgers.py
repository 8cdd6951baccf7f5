import csv
import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import tyro

from jaxcnn.train import TrainConfig
from jaxcnn.train.config import from_json
from jaxcnn.train.ledgers import begin, command, write, write_best, write_table
from jaxcnn.train.searches import Search

SEARCH = Search(TrainConfig(), {"learning_rate": (0.1, 0.2)}, seeds=2)
ROW = {"epoch": 1, "val_accuracy": 0.5, "val_loss": 1.0, "train_accuracy": 0.4, "train_loss": 2.0}


def test_what_ended_is_kept_and_the_rest_starts_again(tmp_path):
    records = begin(tmp_path / "new", SEARCH)
    assert [r["options"]["seed"] for r in records] == [0, 1, 0, 1]
    assert not (tmp_path / "new").exists()
    for record, status in zip(records, ("finished", "running", "diverged", "stopped"), strict=True):
        record |= {"status": status, "history": [ROW]}
    write(tmp_path / "new", SEARCH, records)
    again = begin(tmp_path / "new", SEARCH)
    assert [r["status"] for r in again] == ["finished", "waiting", "diverged", "stopped"]
    assert [len(r["history"]) for r in again] == [1, 0, 1, 1]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["sweep.json"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(SEARCH, seeds=3), r"another seeds \(seeds 2 there, 3 asked for\)"),
        (
            replace(SEARCH, config=TrainConfig(epochs=3)),
            r"another epochs \(epochs 20 there, 3 asked",
        ),
        (replace(SEARCH, lists={"learning_rate": (0.1, 0.3)}), r"another learning_rate \("),
    ],
)
def test_another_search_is_refused(tmp_path, other, message):
    write(tmp_path, SEARCH, begin(tmp_path, SEARCH))
    with pytest.raises(ValueError, match=f"sweep: .* holds a sweep with {message}"):
        begin(tmp_path, other)


def test_the_table_has_each_member(tmp_path):
    records = begin(tmp_path, SEARCH)
    records[1] |= {"status": "finished", "history": [ROW, {**ROW, "epoch": 2, "val_accuracy": 0.1}]}
    write_table(tmp_path, records)
    with (tmp_path / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert (rows[1]["learning_rate"], rows[1]["seed"], rows[1]["status"]) == (
        "0.1",
        "1",
        "finished",
    )
    assert (rows[1]["epochs"], rows[1]["best_epoch"], rows[1]["best_val_loss"]) == ("2", "1", "1.0")
    assert rows[0]["best_epoch"] == ""


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(),
        TrainConfig(learning_rate=1e-5, flip=True, model_options={"widths": "[1, 2]", "a": "b"}),
        TrainConfig(freeze=("layer[12]/*", "a b"), multipliers={"fc/*": 10.0}, clip_norm=0.5),
        TrainConfig(data_path=Path("a dir"), optimizer="lion", dtype="bfloat16", image_size=12),
    ],
    ids=["default", "options", "globs", "paths"],
)
def test_the_command_line_gives_the_config(config, tmp_path):
    words = shlex.split(command(config))
    assert words[:2] == ["jaxcnn", "train"]
    assert tyro.cli(TrainConfig, args=words[2:]) == config
    write_best(tmp_path, config, {"history": [ROW]})
    found = json.loads((tmp_path / "best.json").read_text())
    assert from_json(found["config"]) == config
    assert found["best_epoch"] == ROW
