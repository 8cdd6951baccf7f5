import json
import math
from dataclasses import replace

import numpy as np
import pytest

from helpers import assert_close
from jaxcnn import data
from jaxcnn.train import TrainConfig, create_state, ranges, train_step
from jaxcnn.train.inputs import load_data, make_prepare
from jaxcnn.train.ranges import learning_rate_range
from jaxcnn.train.setups import make_model, optimizer_of

CONFIG = TrainConfig(model="perceptron", optimizer="sgd", pad_crop=0)


def test_the_losses_are_those_of_a_plain_loop(tmp_path):
    """Of more than an epoch, with the learning rate of each step."""
    import jax

    config = replace(CONFIG, batch_size=256, out=tmp_path / "new", seed=2)
    found = learning_rate_range(config, lowest=1e-3, highest=1.0, steps=22)
    dataset, fed = load_data(config)
    train, _ = data.split_validation(dataset.train, config.validation, seed=2)
    x = jax.ShapeDtypeStruct((1, *fed.shape), np.float32)
    rates = np.geomspace(1e-3, 1.0, 22)
    state = create_state(
        make_model(config, 10),
        optimizer_of(config, lambda t: jax.numpy.asarray(rates, np.float32)[t]),
        jax.random.key(2),
        x,
    )
    key, losses, average, smoothed = jax.random.fold_in(jax.random.key(2), 1), [], 0.0, []
    for epoch in range(5):
        shuffled = data.batches(train, 256, key=jax.random.fold_in(key, epoch), drop_last=True)
        for batch in shuffled:
            image = make_prepare(fed)(batch["image"])
            state, metrics = train_step(state, {"image": image, "label": batch["label"]})
            losses.append(float(metrics["loss"]))
            average = 0.9 * average + 0.1 * losses[-1]
            smoothed.append(average / (1 - 0.9 ** len(losses)))
    assert_close(found.rates, rates, "float64")
    assert_close(found.losses, losses[:22], "float32 sums")
    assert_close(found.smoothed, smoothed[:22], "float32 sums")
    assert found.ended == "All 22 steps were taken."
    assert {path.name for path in config.out.iterdir()} == {"lr-range.json", "lr-range.png"}
    written = json.loads((config.out / "lr-range.json").read_text())
    assert written["suggestion"] == found.suggestion
    assert written["losses"] == found.losses.tolist()


def test_it_ends_when_the_loss_has_grown():
    found = learning_rate_range(CONFIG, lowest=1e-4, highest=1e4, steps=120)
    assert len(found.rates) < 120
    assert found.ended == f"The loss grew 4-fold at step {len(found.rates)} of 120."
    assert found.smoothed[-1] > 4 * found.smoothed.min() >= found.smoothed[-2]
    least = found.rates[found.smoothed.argmin()]
    assert found.suggestion == pytest.approx(least / 10)
    assert 1e-4 < found.steepest < least


def test_it_ends_at_a_loss_that_is_not_finite(monkeypatch):
    monkeypatch.setattr(ranges, "WORSE", math.inf)
    found = learning_rate_range(CONFIG, lowest=1e-4, highest=1e38, steps=100)
    assert found.ended == f"The loss was not finite at step {len(found.rates) + 1} of 100."
    assert np.isfinite(found.smoothed).all()


def test_what_is_read_from_a_curve():
    """A loss that falls along a logistic curve, fastest at 0.01, and then grows from 0.1 on."""
    rates = np.geomspace(1e-4, 10, 200)
    losses = 2 - 2 / (1 + (0.01 / rates) ** 2) + np.maximum(np.log10(rates / 0.1), 0) + 0.1
    found = ranges._read(rates, losses, losses)
    assert found.steepest == pytest.approx(0.01, rel=0.1)
    assert found.suggestion == pytest.approx(rates[losses.argmin()] / 10)


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (CONFIG, {"lowest": 1.0, "highest": 0.1}, "needs 0 < lowest < highest, got 1.0 and 0.1"),
        (CONFIG, {"lowest": 0.0}, "needs 0 < lowest < highest"),
        (CONFIG, {"steps": 19}, "needs 20 steps at least, got 19"),
        (replace(CONFIG, accumulate=2), {}, "accumulate must be 1, got 2"),
        (replace(CONFIG, mesh="data=2"), {}, "mesh must be None, got data=2"),
        (CONFIG, {"lowest": 1e3, "highest": 1e4}, "the loss does not fall: choose a smaller"),
    ],
)
def test_errors(config, options, message):
    with pytest.raises(ValueError, match=f"lr-range: {message}"):
        learning_rate_range(config, **options)
