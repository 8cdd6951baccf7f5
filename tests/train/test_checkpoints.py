import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn.models import create
from jaxcnn.train import checkpoints, create_state, restore, restore_variables, train_step, writing

ROOT = Path(__file__).parents[2]
BATCH = {"image": np.ones((4, 3, 3, 1), np.float32), "label": np.arange(4, dtype=np.int32) % 3}


def fresh(average=0.0, model="tiny"):
    image = jax.ShapeDtypeStruct((1, 3, 3, 1), jnp.float32)
    optimizer = optax.adam(0.1)
    return create_state(create(model), optimizer, jax.random.key(0), image, average=average)


def saved(directory, steps=3, keep=3, best=None, **options):
    """The states of some training steps, each saved."""
    states = [fresh(**options)]
    with writing(directory, keep=keep) as save:
        for step in range(1, steps + 1):
            states.append(train_step(states[-1], BATCH)[0])
            save(states[-1], {"epoch": step, "totals": {"loss": 0.1 * step}}, best)
    return states


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    directory = tmp_path_factory.mktemp("three")
    return directory, saved(directory)


@pytest.fixture
def states(three, tmp_path):
    """The states of three training steps, each saved in `tmp_path`."""
    shutil.copytree(three[0], tmp_path, dirs_exist_ok=True)
    return three[1]


def same(a, b):
    key = {"key": jax.random.key_data(a.key)}, {"key": jax.random.key_data(b.key)}
    a, b = (jax.tree.leaves(s.replace(key=k["key"])) for s, k in zip((a, b), key, strict=True))
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def files(directory, step, item):
    """The data files of an item of a checkpoint, the largest first."""
    found = (directory / "checkpoints" / str(step) / item).rglob("*")
    return sorted((p for p in found if p.is_file()), key=lambda p: -p.stat().st_size)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_restored_as_saved(tmp_path, average):
    states = saved(tmp_path, average=average)
    state, position = restore(tmp_path, fresh(average=average))
    same(state, states[-1])
    assert position == {"epoch": 3, "totals": {"loss": 0.1 * 3}}
    evaluated = restore_variables(tmp_path, 2, fresh())
    for x, y in zip(*map(jax.tree.leaves, (evaluated.variables, states[2].variables)), strict=True):
        np.testing.assert_array_equal(x, y)


def test_the_newest_and_the_best_are_kept(tmp_path):
    saved(tmp_path, steps=6, keep=2, best=3)
    assert checkpoints.steps_on_disk(tmp_path) == [3, 5, 6]


def test_saving_goes_on_behind_the_training(tmp_path):
    """The state may be used up as soon as `save` returns."""
    state = train_step(fresh(), BATCH)[0]
    kept = jax.tree.map(np.array, state.params)
    with writing(tmp_path) as save:
        save(state, {}, None)
        jax.tree.map(lambda a: a.delete(), (state.params, state.opt_state))
    restored = restore_variables(tmp_path, 1, fresh())
    for x, y in zip(*map(jax.tree.leaves, (restored.params, kept)), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("item", ["variables", "optimization", "record"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_newest_checkpoint_is_put_aside(tmp_path, states, item, damage):
    file = files(tmp_path, 3, item)[0]
    content = bytearray(file.read_bytes())
    if damage == "gone":
        shutil.rmtree(tmp_path / "checkpoints" / "3" / item)
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0x10
        file.write_bytes(content)
    with pytest.warns(UserWarning, match=r"checkpoint of step 3 .* goes on from step 2"):
        state, position = restore(tmp_path, fresh())
    same(state, states[2])
    assert position["epoch"] == 2
    assert checkpoints.steps_on_disk(tmp_path) == [1, 2]
    assert (tmp_path / "damaged" / "3").is_dir()


@pytest.mark.usefixtures("states")
def test_changed_numbers_are_seen(tmp_path, monkeypatch):
    """Even where the files themselves are whole."""
    told = checkpoints._checksums
    monkeypatch.setattr(checkpoints, "_checksums", lambda tree: told(jax.tree.map(jnp.cos, tree)))
    with pytest.raises(ValueError, match="step 3 .* is damaged: its variables are not the numbers"):
        restore(tmp_path, fresh())


def test_checksums_tell_every_word_and_its_place():
    a = jnp.arange(12.0).reshape(3, 4)
    (base,) = checkpoints._checksums([a])
    changed = [a.at[i, j].add(1e-6 + 1e-6 * float(a[i, j])) for i in range(3) for j in range(4)]
    swapped = a.at[0, 0].set(a[0, 1]).at[0, 1].set(a[0, 0])
    for b in [*changed, swapped]:
        assert checkpoints._checksums([b]) != [base]
    assert checkpoints._checksums([a.astype(jnp.bfloat16), a > 3, a.astype(jnp.int8)])


@pytest.mark.usefixtures("states")
def test_another_structure_is_refused_and_nothing_is_lost(tmp_path):
    with pytest.raises(ValueError, match="the checkpoint of step 3 in .* cannot be read"):
        restore(tmp_path, fresh(model="perceptron"))
    assert checkpoints.steps_on_disk(tmp_path) == [1, 2, 3]


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="restore: no checkpoint in"):
        restore(tmp_path, fresh())


def run_elsewhere(body, directory, **options):
    """Python in a process of its own, whose limits and rights may differ."""
    code = f"""
        import sys
        sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}, {str(ROOT / "tests")!r}]
        from pathlib import Path
        from test_checkpoints import *
        directory = Path({str(directory)!r})
    """
    code = textwrap.dedent(code) + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, **options
    )


def test_a_full_disk_is_told_and_the_earlier_checkpoints_stay(tmp_path):
    """A limit on the size of files, which writing meets as it meets a full disk."""
    saved(tmp_path, steps=1)
    done = run_elsewhere(
        """
        import resource
        state = train_step(train_step(fresh(), BATCH)[0], BATCH)[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            with writing(directory) as save:
                save(state, {}, None)
        except OSError as error:
            print("told:", error)
        """,
        tmp_path,
    )
    assert "told: a checkpoint in" in done.stdout, done.stderr[-2000:]
    assert "could not be written: File too large" in done.stdout
    assert checkpoints.steps_on_disk(tmp_path) == [1]
    assert restore(tmp_path, fresh())[1] == {"epoch": 1, "totals": {"loss": 0.1}}


def test_a_lost_process_is_no_full_disk(tmp_path):
    with (
        pytest.raises(jax.errors.JaxRuntimeError, match="UNAVAILABLE"),
        checkpoints._said(tmp_path),
    ):
        raise jax.errors.JaxRuntimeError("UNAVAILABLE: connection reset by peer")
