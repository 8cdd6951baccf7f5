import json
import os
import random
import re
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from jaxcnn.weights import load_safetensors, read, save_safetensors

VARIABLES = {
    "params": {
        "conv1": {"kernel": np.arange(6.0).reshape(2, 3).T, "bias": jnp.ones(3, jnp.bfloat16)},
        "layer1": {"0": {"layer_scale": np.float32(0.5)}},
    },
    "batch_stats": {
        "bn": {"mean": np.arange(3, dtype=">f4"), "none": np.zeros((0, 2), np.float16)}
    },
    "seen": np.array([True, False]),
}


def test_variables_come_back(tmp_path):
    path = tmp_path / "x.safetensors"
    save_safetensors(path, VARIABLES, {"epoch": "3"})
    found = load_safetensors(str(path))
    assert jax.tree.structure(found) == jax.tree.structure(VARIABLES)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(VARIABLES), strict=True):
        assert type(ours) is np.ndarray
        assert ours.dtype.name == np.asarray(theirs).dtype.name
        np.testing.assert_array_equal(ours, theirs)
    assert list(tmp_path.iterdir()) == [path]
    with safe_open(path, "np") as file:  # anyone can read it
        assert file.metadata() == {"format": "jaxcnn", "epoch": "3"}
        assert "params/conv1/kernel" in file.keys()  # noqa: SIM118
    assert read(path)["params/layer1/0/layer_scale"] == 0.5


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    save_safetensors(path, {"params": {"a": np.ones(3)}})
    before = path.read_bytes()

    def interrupted(arrays, part, metadata):
        part.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("jaxcnn.weights.safetensors_files.save_file", interrupted)
    for target in (path, tmp_path / "new.safetensors"):
        with pytest.raises(OSError, match="no space left"):
            save_safetensors(target, {"params": {"a": np.zeros(3)}})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    synced = []

    def fsync(descriptor, sync=os.fsync):
        synced.append((os.fstat(descriptor).st_ino, path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    save_safetensors(path, {"params": {"a": np.ones(3)}})
    assert (path.stat().st_ino, False) in synced


def test_what_cannot_be_saved(tmp_path):
    path = tmp_path / "x.safetensors"
    cases = {
        "names are text without slashes, got ('a', 'b/c')": {"a": {"b/c": np.ones(1)}},
        "names are text without slashes, got ('a', '')": {"a": {"": np.ones(1)}},
        "names are text without slashes, got ('a', 1)": {"a": {1: np.ones(1)}},
        "a/b must be an array, got list": {"a": {"b": [1.0]}},
        "a must be an array, got float": {"a": 1.0},
        "complex64, got complex128": {"a": np.ones(1, np.complex128)},
        "complex64, got <U1": {"a": np.array(["x"])},
        "complex64, got object": {"a": np.array([None])},
        "complex64, got key<fry>": {"a": jax.random.key(0)},
    }
    for message, variables in cases.items():
        with pytest.raises(ValueError, match=f"^save_safetensors: .*{re.escape(message)}"):
            save_safetensors(path, variables)
    with pytest.raises(ValueError, match="save_safetensors: format is jaxcnn, not pt"):
        save_safetensors(path, {"a": np.ones(1)}, {"format": "pt"})
    assert not path.exists()


def test_files_of_others_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"a": np.ones(1)}, path, metadata)
        with pytest.raises(
            ValueError, match=r"x\.safetensors is refused: it was not .*`from_torch`"
        ):
            load_safetensors(path)
    path.write_bytes(b"PK\3\4")
    with pytest.raises(ValueError, match="load_safetensors: .* is truncated or corrupt"):
        load_safetensors(path)
    save_file({"a": np.ones(1), "a/b": np.ones(1)}, path, {"format": "jaxcnn"})
    with pytest.raises(ValueError, match="load_safetensors: .* is truncated or corrupt"):
        load_safetensors(path)
    with pytest.raises(FileNotFoundError):
        load_safetensors(tmp_path / "missing")


def made(header, data=b"", length=None):
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content + data


def test_hostile_files(tmp_path):
    path = tmp_path / "x.safetensors"
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    cases = {
        "huge header": made({"a": one}, bytes(8), 2**60),
        "header of 2^64 - 1": made({"a": one}, bytes(8), 2**64 - 1),
        "longer than the file": made({"a": one}, bytes(8), 1000),
        "beyond the data": made({"a": {**one, "data_offsets": [0, 2**40]}}, bytes(8)),
        "backwards": made({"a": {**one, "data_offsets": [8, 0]}}, bytes(8)),
        "negative": made({"a": {**one, "data_offsets": [-8, 0]}}, bytes(8)),
        "another size": made({"a": {**one, "shape": [3]}}, bytes(8)),
        "huge shape": made({"a": {**one, "shape": [2**40, 2**40]}}, bytes(8)),
        "overflow": made({"a": {**one, "shape": [2**62, 4, 2]}}, bytes(8)),
        "negative shape": made({"a": {**one, "shape": [-2]}}, bytes(8)),
        "overlap": made({"a": one, "b": one}, bytes(8)),
        "hole": made({"a": one}, bytes(16)),
        "type": made({"a": {**one, "dtype": "O"}}, bytes(8)),
        "type without array": made({"a": {**one, "dtype": "F8_E4M3", "shape": [8]}}, bytes(8)),
        "nested": made(b'{"a":' + b"[" * 100_000, bytes(8)),
        "no text": made(b'{"\xff\xfe": 1}'),
        "no end": made(b'{"a'),
    }
    for name, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"^read: .*x\.safetensors is truncated or corrupt"):
            raise AssertionError(f"{name}: {read(path)}")


def test_damaged_files_give_arrays_or_an_error(tmp_path):
    path = tmp_path / "x.safetensors"
    save_safetensors(path, {"a": np.ones((2, 3)), "b": np.zeros((), np.int8)})
    content = path.read_bytes()
    choose = random.Random(0)
    changes = [content[:n] for n in range(len(content))]
    for _ in range(1000):
        changed = bytearray(content)
        changed[choose.randrange(len(content))] = choose.randrange(256)
        changes.append(bytes(changed))
    errors = 0
    for changed in changes:
        with open(path, "r+b") as file:
            file.write(changed)
            file.truncate()
        try:
            assert all(type(v) is np.ndarray for v in read(path).values())
        except ValueError as error:
            assert str(error).startswith(f"read: {path} is ")  # noqa: PT017
            errors += 1
    assert errors > len(content)
