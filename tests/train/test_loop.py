import json
import os
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn.data import Split, batches
from jaxcnn.models import create
from jaxcnn.train import create_state, fit, loop, make_layout
from jaxcnn.train.interrupts import interruptible


def learnable(n=50, seed=0):
    """Three classes of 3x3 images: a bright row each, on noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n).astype(np.int32)
    images = rng.integers(0, 60, (n, 3, 3, 1)).astype(np.uint8)
    images[np.arange(n), labels] += 150
    return Split(images, labels)


def scaled(x):
    return jnp.asarray(x, jnp.float32) / 255


def fresh(learning_rate=0.5):
    image = jax.ShapeDtypeStruct((1, 3, 3, 1), jnp.float32)
    optimizer = optax.sgd(learning_rate, 0.9)
    return create_state(create("tiny"), optimizer, jax.random.key(0), image)


OPTIONS = {"batch_size": 8, "key": jax.random.key(1), "prepare": scaled}


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_learns_and_keeps_a_row_for_each_epoch(tmp_path):
    state = fresh()
    options = {**OPTIONS, "learning_rate": lambda step: 0.5 * step, "directory": tmp_path}
    fitted = fit(state, learnable(), learnable(20, 1), epochs=6, **options)
    assert fitted.status == "finished"
    assert [row["epoch"] for row in fitted.history] == [1, 2, 3, 4, 5, 6]
    last_steps = [6 * epoch - 1 for epoch in range(1, 7)]  # the first is 0
    assert [row["learning_rate"] for row in fitted.history] == [0.5 * i for i in last_steps]
    assert fitted.history[-1]["val_accuracy"] == 1.0
    assert fitted.step == 6 * (50 // 8)
    written = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert written == fitted.history
    assert int(state.step) == 0  # copied, not consumed
    assert jnp.isfinite(state.params["conv"]["kernel"]).all()


@pytest.fixture(scope="module")
def whole():
    """Three epochs without a stop."""
    return fit(fresh(), learnable(), learnable(20, 1), epochs=3, **OPTIONS)


def test_resume_is_bit_exact(whole, tmp_path):
    train, validation = learnable(), learnable(20, 1)
    fit(fresh(), train, validation, epochs=1, directory=tmp_path, **OPTIONS)
    resumed = fit(fresh(), train, validation, epochs=3, directory=tmp_path, resume=True, **OPTIONS)
    same(resumed.state.params, whole.state.params)
    same(resumed.state.opt_state, whole.state.opt_state)
    for ours, theirs in zip(resumed.history, whole.history, strict=True):
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "step"):
            assert ours[name] == theirs[name]


@pytest.mark.parametrize("batch", [3, 10])
def test_interrupt_in_mid_epoch_and_resume(whole, tmp_path, batch):
    """Ctrl-C in the first or second epoch: a checkpoint, and the same end as without it."""
    train, validation = learnable(), learnable(20, 1)
    seen = []

    class Counting(np.ndarray):
        def __getitem__(self, chosen):
            seen.append(1)
            if len(seen) == batch:
                os.kill(os.getpid(), signal.SIGINT)
            return np.asarray(self)[chosen]

    counted = Split(train.images.view(Counting), train.labels)
    cut = fit(
        fresh(), counted, validation, epochs=3, directory=tmp_path / "cut", stream=True, **OPTIONS
    )
    assert cut.status == "interrupted"
    assert batch - 2 <= cut.step < 18
    resumed = fit(
        fresh(), train, validation, epochs=3, directory=tmp_path / "cut", resume=True, **OPTIONS
    )
    assert resumed.status == "finished"
    same(resumed.state.params, whole.state.params)
    for ours, theirs in zip(resumed.history, whole.history, strict=True):
        assert ours["train_loss"] == theirs["train_loss"]


def test_streamed_and_resident_epochs_are_the_same(tmp_path):
    train, validation = learnable(), learnable(20, 1)

    def dark(key, images, labels):
        return images * jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1)), labels

    options = {**OPTIONS, "augment": dark, "epochs": 3}
    resident = fit(fresh(), train, validation, **options)
    streamed = fit(fresh(), train, validation, stream=True, **options)
    same(resident.state.params, streamed.state.params)
    same(resident.state.opt_state, streamed.state.opt_state)
    for ours, theirs in zip(resident.history, streamed.history, strict=True):
        assert ours["train_loss"] == theirs["train_loss"]
        assert ours["data_wait"] == 0 <= theirs["data_wait"] <= 1


def test_a_long_epoch_is_saved_in_its_middle(tmp_path):
    fit(fresh(), learnable(), None, epochs=1, directory=tmp_path, checkpoint_steps=2, **OPTIONS)
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [2, 4, 6]


def test_progress_moves_within_an_epoch(monkeypatch):
    """Each look at the clock lets the bar move, however long the epoch."""
    seen = []
    monkeypatch.setattr(loop.Pace, "learn", lambda self, seconds: seen.append(seconds))
    fit(fresh(), learnable(), None, epochs=2, **OPTIONS)
    assert len(seen) == 12  # one step between two looks, where no time makes them more


def test_pace_follows_the_clock():
    pace = loop.Pace()
    for _ in range(4):
        pace.learn(0.01)
    assert pace.steps == 16
    pace.learn(0.5)
    assert pace.steps == 16
    pace.learn(3.0)
    assert pace.steps == 8


def test_examples_of_weight_0_are_counted(monkeypatch):
    """A picture that could not be read is left out, and the row says how many."""

    def with_a_hole(*args, **options):
        for batch in batches(*args, **options):
            yield {**batch, "weight": np.array([0.0] + [1.0] * 7, np.float32)}

    monkeypatch.setattr("jaxcnn.train.epochs.batches", with_a_hole)
    fitted = fit(fresh(), learnable(), None, epochs=1, stream=True, **OPTIONS)
    assert fitted.history[0]["skipped_images"] == 6


def test_batches_are_cut_over_the_devices_or_refused():
    layout = make_layout()._replace(mesh=jax.sharding.AbstractMesh((3,), ("data",)))
    with pytest.raises(ValueError, match="multiple of the 3 devices, got 8"):
        fit(fresh(), learnable(), None, epochs=1, layout=layout, **OPTIONS)


def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    train, validation = learnable(), learnable(20, 1)
    fit(fresh(), train, validation, epochs=1, directory=tmp_path, **OPTIONS)
    poisoned = {**OPTIONS, "prepare": lambda x: scaled(x) * jnp.where(x.shape[0] == 8, jnp.nan, 1)}
    fitted = fit(fresh(), train, validation, epochs=3, directory=tmp_path, resume=True, **poisoned)
    assert fitted.status == "diverged"
    assert fitted.step == 6  # the first step of the second epoch
    good = fit(fresh(), train, validation, epochs=1, directory=tmp_path, resume=True, **OPTIONS)
    assert good.step == 6
    assert jnp.isfinite(good.state.params["conv"]["kernel"]).all()


def test_augmentation_sees_training_images_alone():
    def blank(key, images, labels):
        return jnp.zeros_like(images), labels

    fitted = fit(fresh(), learnable(), learnable(20, 1), epochs=3, augment=blank, **OPTIONS)
    assert fitted.history[-1]["train_loss"] > 1.0
    assert fitted.history[-1]["train_accuracy"] < 0.6


def test_without_validation_and_with_few_images():
    fitted = fit(fresh(), learnable(5), None, epochs=2, **OPTIONS)
    assert fitted.step == 2  # a batch of five
    assert "val_loss" not in fitted.history[0]


def test_a_directory_with_checkpoints_is_resumed_or_refused(tmp_path):
    """Checkpoints of another training must not pass for this one's."""
    fit(fresh(), learnable(), None, epochs=1, directory=tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match="fit: .* holds checkpoints already: resume, or choose"):
        fit(fresh(), learnable(seed=2), None, epochs=1, directory=tmp_path, **OPTIONS)
    assert fit(fresh(), learnable(), None, epochs=2, directory=tmp_path, resume=True, **OPTIONS)


def test_errors(tmp_path):
    empty = Split(np.zeros((0, 3, 3, 1), np.uint8), np.zeros(0, np.int32))
    with pytest.raises(ValueError, match="fit: needs training images"):
        fit(fresh(), empty, None, epochs=1, **OPTIONS)
    with pytest.raises(ValueError, match="fit: resume needs a directory"):
        fit(fresh(), learnable(), None, epochs=1, resume=True, **OPTIONS)
    with pytest.raises(FileNotFoundError, match="restore: no checkpoint in"):
        fit(fresh(), learnable(), None, epochs=1, resume=True, directory=tmp_path, **OPTIONS)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def foreground():
    """Ctrl-C raises, as in a terminal; a shell starts its background jobs deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_interruptible_answers_once_and_restores_the_handlers(foreground):
    with interruptible() as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGINT)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interruptible_in_a_thread():
    answers = []

    def ask():
        with interruptible() as asked:
            answers.append(asked())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert answers == [False]
