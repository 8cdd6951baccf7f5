import math
import os
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from helpers import assert_close
from jaxcnn import data
from jaxcnn.train import TrainConfig, fit, make_layout
from jaxcnn.train.inputs import load_data, make_augment, make_prepare
from jaxcnn.train.loop import Pace
from jaxcnn.train.populations import Trainer, load_source, unstacked
from jaxcnn.train.setups import optimizer_of, schedule_of, start_state

TINY = TrainConfig(model="tiny", epochs=2, batch_size=128)
QUICK = replace(TINY, optimizer="sgd", schedule="constant", pad_crop=0)  # to compile
SEVERAL = replace(
    TINY,
    model_options={"drop_rate": "0.5", "widths": "[8]"},
    model="mlp",
    optimizer="nesterov",
    schedule="warmup-cosine",
    flip=True,
    cutout=2,
    accumulate=2,
    average=0.9,
    clip_norm=1.0,
    freeze=("*bias",),
)


def trainer_of(config, devices=1):
    return Trainer(config, load_source(config, jax.devices()[:devices]))


@pytest.fixture(scope="module")
def trainer():
    return trainer_of(QUICK)


def alone(config):
    """The state and history of a config by `fit`, as `train_run` calls it."""
    dataset, fed = load_data(config)
    train, validation = data.split_validation(dataset.train, config.validation, seed=config.seed)
    optimizer = optimizer_of(config, schedule_of(config, len(train)))
    return fit(
        start_state(config, fed, optimizer),
        train,
        validation,
        epochs=config.epochs,
        batch_size=config.batch_size,
        key=jax.random.fold_in(jax.random.key(config.seed), 1),
        prepare=make_prepare(fed),
        augment=make_augment(config, len(fed.classes)),
        layout=make_layout(1),
    )


def trained(trainer, configs):
    population = trainer.stack([trainer.member(config) for config in configs])
    history = []
    for epoch in range(trainer.shape.epochs):
        population, rows = trainer.epoch(population, epoch)
        history.append(rows)
    return unstacked(population), list(zip(*history, strict=True))


@pytest.mark.parametrize("base", [TINY, SEVERAL], ids=["tiny", "several"])
def test_members_train_as_runs_do(base):
    configs = [
        replace(base, learning_rate=0.02),
        replace(
            base, learning_rate=0.1, weight_decay=0.1, label_smoothing=0.2, seed=3, momentum=0.5
        ),
    ]
    members, histories = trained(trainer_of(base), configs)
    checked = [0] if base is TINY else [1]  # each is compiled anew
    for config, member, history in [(configs[i], members[i], histories[i]) for i in checked]:
        fitted = alone(config)
        for row, expected in zip(history, fitted.history, strict=True):
            for name in ("train_loss", "val_loss"):
                assert_close(row[name], expected[name], "float32 sums", where=name)
            for name in ("train_accuracy", "val_accuracy"):  # rounding may turn a near tie
                assert row[name] == pytest.approx(expected[name], abs=0.01), name
            assert (row["step"], row["bad_step"]) == (expected["step"], -1)
        for a, e in zip(
            jax.tree.leaves(member.state.variables),
            jax.tree.leaves(fitted.state.variables),
            strict=True,
        ):
            assert_close(a, e, "float32 sums")


@pytest.mark.parametrize("spreads", [False, True], ids=["apart", "spreading"])
def test_one_that_diverges_leaves_the_others_alone(spreads, trainer, monkeypatch):
    """Also where what is not finite spreads over the population, as grouped convolutions may."""
    epoch = Trainer._epoch

    def spreading(trainer, population, number, tick):
        after, rows = epoch(trainer, population, number, tick)
        bad = [row["bad_step"] for row in rows if row["bad_step"] >= 0]
        if len(rows) > 1 and bad:
            params = jax.tree.map(lambda leaf: leaf * np.nan, after.state.params)
            after = after._replace(state=after.state.replace(params=params))
            rows = [row | {"bad_step": bad[0]} for row in rows]
        return after, rows

    sound = [replace(QUICK, learning_rate=rate) for rate in (0.01, 0.05)]
    expected = [trained(trainer, [config])[1][0] for config in sound]
    if spreads:
        monkeypatch.setattr(Trainer, "_epoch", spreading)
    bad = replace(QUICK, learning_rate=1e38)
    _, (gone, *found) = trained(trainer, [bad, *sound])
    for rows, others in zip(found, expected, strict=True):
        for row, other in zip(rows, others, strict=True):
            assert row["bad_step"] == -1
            assert_close(row["val_loss"], other["val_loss"], "float32 sums")
    assert gone[0]["bad_step"] in (1, 2)
    assert not math.isfinite(gone[0]["train_loss"])
    assert gone[1]["bad_step"] == -1  # a sound member in its place


def test_a_population_is_filled_for_the_devices_and_its_memory_told(trainer):
    member = trainer.member(QUICK)
    (back,) = unstacked(trainer.stack([member]))
    for a, e in zip(jax.tree.leaves(back), jax.tree.leaves(member), strict=True):
        keys = jax.numpy.issubdtype(a.dtype, jax.dtypes.prng_key)
        np.testing.assert_array_equal(
            *([jax.random.key_data(k) for k in (a, e)] if keys else (a, e))
        )
    own, images = trainer.memory(trainer.stack([member]))
    assert images == 1438 * (64 + 4)
    assert own > sum(leaf.nbytes for leaf in jax.tree.leaves(member.state.params))
    assert trainer.seconds(trainer.stack([member]), 2) > 0
    with pytest.raises(ValueError, match="Trainer: trains TrainConfig.*, got TrainConfig"):
        trainer.member(replace(QUICK, batch_size=64))


def test_steps_are_told_within_an_epoch(trainer, monkeypatch):
    told = []
    monkeypatch.setattr(trainer, "_pace", Pace())  # as at the start
    trainer.epoch(trainer.stack([trainer.member(QUICK)]), 0, told.append)
    assert told[0] == 1
    assert told == sorted(set(told))
    assert told[-1] == trainer.steps


def test_no_validation_images():
    with pytest.raises(ValueError, match="members are compared by validation, got none of"):
        trainer_of(replace(TINY, validation=1e-9))


SHARDED = """
from dataclasses import replace
import jax
from jaxcnn.train import TrainConfig
from jaxcnn.train.populations import Trainer, load_source, unstacked
base = TrainConfig(
    model="tiny", data="synthetic", image_size=4, batch_size=64, learning_rate=0.05,
    optimizer="sgd", schedule="constant", pad_crop=0,
)
assert len(jax.devices()) == 4
results = []
for devices in (1, 4):
    trainer = Trainer(base, load_source(base, jax.devices()[:devices]))
    members = [trainer.member(replace(base, seed=seed)) for seed in range(3)]
    population, rows = trainer.epoch(trainer.stack(members), 0)
    assert len(population.train.addressable_shards) == devices
    assert len(unstacked(population)) == (3 if devices == 1 else 4)
    results.append([row["val_loss"] for row in rows[:3]])
for a, b in zip(*results):
    assert abs(a - b) < 1e-4 * a, (a, b)
print("alike")
"""


def test_devices_share_the_members():
    flags = "--xla_force_host_platform_device_count=4"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SHARDED]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.stdout == "alike\n", found.stderr
