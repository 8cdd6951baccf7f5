import json

import numpy as np
import pytest

from jaxcnn.train import TrainConfig
from jaxcnn.train.searches import Search, configs, description, points, rungs, survivors

RATES = {"learning_rate": (0.001, 0.1)}


def test_a_grid_with_seeds():
    search = Search(TrainConfig(seed=5), {**RATES, "batch_size": (32, 64)}, seeds=2)
    found = [(c.learning_rate, c.batch_size, c.seed) for c in configs(search)]
    assert found[:3] == [(0.001, 32, 5), (0.001, 32, 6), (0.001, 64, 5)]
    assert len(found) == 8
    assert points(Search(TrainConfig(), {})) == [{}]


def test_random_draws():
    lists = {
        **RATES,
        "weight_decay": (0.0, 1.0),
        "momentum": (0.5, 0.9),
        "optimizer": ("momentum", "adam"),
    }
    search = Search(TrainConfig(seed=1), lists, random=400)
    drawn = points(search)
    assert drawn == points(search)
    assert drawn != points(Search(TrainConfig(seed=2), lists, random=400))
    rates = np.log10([point["learning_rate"] for point in drawn])
    assert -3 <= rates.min() < -2.9
    assert -1.1 < rates.max() <= -1
    assert abs(rates.mean() + 2) < 0.1  # logarithmic
    decays = np.array([point["weight_decay"] for point in drawn])
    assert abs(decays.mean() - 0.5) < 0.06  # linear: it starts at 0
    assert 0.5 <= min(point["momentum"] for point in drawn) < 0.52
    assert {point["optimizer"] for point in drawn} == {"momentum", "adam"}


@pytest.mark.parametrize(
    ("epochs", "values", "eta", "expected"),
    [(27, 9, 3, [3, 9]), (27, 27, 3, [1, 3, 9]), (10, 8, 2, [2, 3, 5]), (4, 100, 4, [1]),
     (1, 9, 3, []), (20, 1, 2, [])],
)  # fmt: skip
def test_rungs(epochs, values, eta, expected):
    search = Search(
        TrainConfig(epochs=epochs), {"learning_rate": range(1, values + 1)}, halving=eta
    )
    assert rungs(search) == expected


def test_survivors():
    search = Search(TrainConfig(epochs=8), {"learning_rate": range(1, 8)}, halving=2)
    assert [survivors(search, epoch) for epoch in rungs(search)] == [3, 1]


def test_description_is_json_and_leaves_out_what_changes_no_number(tmp_path):
    a = description(Search(TrainConfig(out=tmp_path, data_path=tmp_path), RATES))
    assert a == json.loads(json.dumps(description(Search(TrainConfig(), RATES))))
    assert a != description(Search(TrainConfig(epochs=3), RATES))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lists": {"epochs": (1, 2)}}, "takes lists of learning_rate, .*, got one of epochs"),
        ({"lists": {"learning_rate": (1, 1)}}, "learning_rate needs values that differ, got"),
        ({"lists": {"learning_rate": ()}}, "learning_rate needs values that differ"),
        (
            {"lists": {"momentum": (0.5, 0.9)}},
            "momentum is an option of momentum, nesterov, rmsprop",
        ),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"random": 0}, "random must be at least 1"),
        ({"random": 2, "lists": {}}, "random draws between values, got no option"),
        ({"halving": 1}, "halving must be at least 2"),
        ({"config": TrainConfig(mesh="data=2")}, "mesh must be None, got data=2"),
        (
            {"config": TrainConfig(validation=0)},
            "members are compared by validation, got validation 0",
        ),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=f"sweep: {message}"):
        Search(**{"config": TrainConfig(), "lists": RATES, **options})


def test_a_member_that_no_run_can_be():
    with pytest.raises(ValueError, match="train: learning_rate must be positive"):
        configs(Search(TrainConfig(), {"learning_rate": (-1.0, 1.0)}))
