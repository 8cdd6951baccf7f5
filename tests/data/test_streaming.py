import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxcnn.data.batching import batches
from jaxcnn.data.folders import load_folder

KEY = jax.random.key(7)


def same(first, second):
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for name, values in a.items():
            assert type(b[name]) is np.ndarray
            assert b[name].flags.writeable
            assert b[name].dtype == values.dtype
            np.testing.assert_array_equal(b[name], values)


def names_of(pictures, chosen):
    return [pictures.root / pictures.files[i].decode() for i in chosen]


def soon(done):
    for _ in range(100):
        if done():
            return True
        time.sleep(0.1)
    return False


def holds_shared_memory():
    maps = Path("/proc/self/maps")  # Linux
    return maps.exists() and "/dev/shm/psm" in maps.read_text()


@pytest.fixture
def train(write_folder):
    """22 pictures on the disk."""
    return load_folder(write_folder(28), stream=True, skip_corrupt=False).train


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_batches_are_those_of_memory(train, workers, monkeypatch):
    # A worker that asks JAX for a device would fail: there is no such platform.
    monkeypatch.setenv("JAX_PLATFORMS", "nothing")
    memory = load_folder(train.images.root).train
    expected = list(batches(memory, 4, key=KEY))
    assert [b["weight"].sum() for b in expected] == [4, 4, 4, 4, 4, 2]
    same(expected, batches(train, 4, key=KEY, workers=workers))
    assert not multiprocessing.active_children()
    assert soon(lambda: not holds_shared_memory())


@pytest.mark.parametrize("workers", [0, 1])
def test_start_and_shards_read_their_own_pictures_only(train, workers):
    expected = batches(load_folder(train.images.root).train, 4, key=KEY, start=3, shard=(1, 2))
    order = np.asarray(jax.random.permutation(KEY, 22))
    needed = [i for start in (12, 16, 20) for i in order[start + 2 : start + 4]]
    for path in names_of(train.images, set(range(22)) - set(needed)):
        path.unlink()
    same(list(expected), batches(train, 4, key=KEY, start=3, shard=(1, 2), workers=workers))
    assert list(batches(train, 4, start=6, workers=workers)) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_picture_is_named(train, workers):
    (path,) = names_of(train.images, [9])
    path.write_bytes(path.read_bytes()[:80])
    epoch = batches(train, 4, workers=workers)
    for _ in range(2):  # what comes before arrives
        next(epoch)
    with pytest.raises(
        ValueError, match=f"^read_image: {re.escape(str(path))} cannot be decoded"
    ) as caught:
        next(epoch)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert len(caught.traceback) < 5
    assert not multiprocessing.active_children()


def test_a_picture_that_is_gone_is_an_error_always(train):
    skipping = replace(train, images=replace(train.images, skip_corrupt=True))
    (path,) = names_of(train.images, [9])
    path.unlink()
    with pytest.raises(
        FileNotFoundError, match=f"^read_image: there is no file {re.escape(str(path))}"
    ):
        list(batches(skipping, 4))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_picture_is_skipped(train, workers):
    corrupt = names_of(train.images, [9, 21])
    for path in corrupt:
        path.write_bytes(b"no image")
    skipping = replace(train, images=replace(train.images, skip_corrupt=True))
    with pytest.warns(UserWarning, match="is no image that Pillow can read. It is left") as told:
        first, again = (list(batches(skipping, 4, workers=n)) for n in (workers, 0))
    assert len(told) == len(corrupt)
    assert all(str(path) in str(w.message) for path, w in zip(corrupt, told, strict=True))
    same(first, again)
    weights = np.concatenate([b["weight"] for b in first])
    assert np.flatnonzero(weights == 0).tolist() == [9, 21, 22, 23]
    images = np.concatenate([b["image"] for b in first])
    assert np.flatnonzero(~images.any((1, 2, 3))).tolist() == [9, 21, 22, 23]
    labels = np.concatenate([b["label"] for b in first])
    np.testing.assert_array_equal(labels[:22], train.labels)


def ends_when_closed(epoch):
    epoch.close()


def ends_when_dropped(epoch):
    pass


def ends_when_the_consumer_fails(epoch):
    with pytest.raises(ZeroDivisionError):
        consume_badly(epoch)


def consume_badly(epoch):
    for _ in epoch:
        raise ZeroDivisionError


@pytest.mark.parametrize("end", [ends_when_closed, ends_when_dropped, ends_when_the_consumer_fails])
def test_the_workers_are_gone_when_it(end, train):
    threads = threading.active_count()
    epoch = batches(train, 2, workers=1)
    assert not multiprocessing.active_children()
    next(epoch)
    assert len(multiprocessing.active_children()) == 1
    end(epoch)
    del epoch
    assert not multiprocessing.active_children()
    epoch = batches(train, 2)
    next(epoch)
    end(epoch)
    del epoch
    # Grain keeps four threads that free shared memory; a reading one may finish its batch.
    assert soon(lambda: threading.active_count() <= threads + 4)


@pytest.mark.slow
def test_a_worker_that_dies_is_told_of(train):
    epoch = batches(train, 1, workers=1)
    next(epoch)
    (worker,) = multiprocessing.active_children()
    time.sleep(0.5)  # till it waits for us: killed at work it could leave memory unaccounted for
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(OSError, match="batches: a worker that reads pictures died: .*code -9"):
        list(epoch)


SCRIPT = """
import multiprocessing, os, signal, sys
from jaxcnn import data

def main():
    train = data.load("folder:" + sys.argv[1], stream=True).train
    epoch = data.batches(train, 2, workers=2)
    print(next(epoch)["weight"].tolist())
    print(*(p.pid for p in multiprocessing.active_children()), flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    globals()["still_open"] = epoch

GUARD
    main()
"""


def run_script(root, name, how, guard='if __name__ == "__main__":'):
    script = root / name
    script.write_text(SCRIPT.replace("GUARD", guard))
    arguments = [sys.executable, script, root, how]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60)


# A console command is a script without an ending.
@pytest.mark.parametrize("name", [pytest.param(".script.py", marks=pytest.mark.slow), ".command"])
def test_a_script_ends_cleanly_with_an_open_iterator(train, name):
    run = run_script(train.images.root, name, "ended")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("[1.0, 1.0]\n")


@pytest.mark.slow
def test_the_workers_of_a_killed_process_end(train):
    run = run_script(train.images.root, ".script.py", "killed")
    assert run.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in run.stdout.splitlines()[1].split()]
    assert len(pids) == 2
    assert soon(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


@pytest.mark.slow
def test_a_script_without_a_guard_is_told(train):
    run = run_script(train.images.root, ".script.py", "ended", guard="if True:")
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("OSError: batches: a worker that reads pictures died")
    assert "__main__" in last


MEMORY = """
import os, re, sys
from jaxcnn import data

def peak():  # of this program; getrusage would count the one that started it
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

def read(folder):
    dataset = data.load("folder:" + folder, stream=True)
    for split in (dataset.train, dataset.test):
        for batch in data.batches(split, 8):
            pass
    return dataset

kept = [read(sys.argv[1])]
small = peak()
kept.append(read(sys.argv[2]))
print(peak() - small)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own account")
def test_memory_does_not_grow_with_the_set(tmp_path):
    picture = tmp_path / "picture.png"
    Image.new("RGB", (320, 320), "red").save(picture)
    for name, n in (("small", 50), ("large", 1000)):
        (tmp_path / name / "a").mkdir(parents=True)
        for i in range(n):
            (tmp_path / name / "a" / f"{i}.png").hardlink_to(picture)
    command = [sys.executable, "-c", MEMORY, tmp_path / "small", tmp_path / "large"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    held = 1000 * 320 * 320 * 3 / 2**20
    assert held > 290
    assert float(run.stdout) < 100  # MiB
