"""Our table against a list of torchvision's convolutional classifiers, tests/golden.

`models.costs` is read from a table, which test_figures.py holds against the models themselves.
"""

import csv
from pathlib import Path

from jaxcnn import models

LINES = (Path(__file__).parent.parent / "golden" / "torchvision_models.csv").read_text("utf-8")
ROWS = list(csv.DictReader(line for line in LINES.splitlines() if not line.startswith("#")))


def test_every_one_is_there():
    assert len(ROWS) == 68
    missing = {row["name"] for row in ROWS} - set(models.names())
    assert not missing


def test_parameters():
    ours = {row["name"]: models.costs(row["name"]).parameters for row in ROWS}
    assert ours == {row["name"]: int(row["parameters"]) for row in ROWS}


def test_multiply_adds():
    """torchvision states three decimals, some rounded and some cut."""
    rows = [row for row in ROWS if models.entry(row["name"]).input_shape[0] == int(row["image"])]
    assert len(rows) == 67  # regnet_y_128gf's default weights take 384 pixels
    for row in rows:
        giga = models.costs(row["name"]).multiply_adds / 1e9
        assert abs(giga - float(row["giga_multiply_adds"])) < 1e-3, row["name"]
