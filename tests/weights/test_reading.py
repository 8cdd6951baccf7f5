"""What PyTorch saved, read without it; see golden/make_torch_files.py."""

import pickle
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxcnn.data.unpickling import Refused
from jaxcnn.weights import read
from jaxcnn.weights.reading import _state

FILES = Path(__file__).parent.parent / "golden" / "torch_files"
PATHS = sorted(FILES.glob("*.pth"))


def values(path):
    """name -> array; the committed file has the bytes of each number on a last axis."""
    with np.load(FILES / "values.npz") as file:
        keys = [key.split(":") for key in file.files]
        case = path.stem.removesuffix("_zip").removesuffix("_legacy")
        return {
            name: np.squeeze(file[f"{of}:{name}:{kind}"].view(np.dtype(kind)), -1)
            for of, name, kind in keys
            if of == case
        }


@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_files_of_torch(path):
    arrays, expected = read(path), values(path)
    assert list(arrays) == list(expected)
    for name, array in arrays.items():
        assert type(array) is np.ndarray
        assert array.dtype == expected[name].dtype
        assert array.shape == expected[name].shape, name
        assert array.tobytes() == expected[name].tobytes(), name
        assert array.dtype.isnative
    assert len(PATHS) == 10


def test_every_type_is_there():
    kinds = {array.dtype.name for array in read(FILES / "types_zip.pth").values()}
    assert len(kinds) == 20
    assert {"bfloat16", "float8_e5m2", "uint64", "complex128", "bool"} < kinds
    assert read(FILES / "types_legacy.pth")["bfloat16"].dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_tensors_of_one_storage_share_memory(form):
    arrays = read(FILES / f"views_{form}.pth")
    assert np.shares_memory(arrays["whole"], arrays["same"])
    assert np.shares_memory(arrays["whole"], arrays["transposed"])
    assert not np.shares_memory(arrays["whole"], arrays["alone"])
    arrays["same"][0, 0, 1] = 100.0  # they can be written to
    assert arrays["transposed"][1, 0, 0] == 100.0


def test_the_content_tells_the_kind(tmp_path):
    for file in ("types_zip.pth", "types_legacy.pth"):
        shutil.copy(FILES / file, tmp_path / "weights.safetensors")
        assert len(read(tmp_path / "weights.safetensors")) == 20
    save_file({"x": np.arange(3)}, tmp_path / "weights.pth")
    np.testing.assert_array_equal(read(str(tmp_path / "weights.pth"))["x"], [0, 1, 2])


def test_safetensors(tmp_path):
    path = tmp_path / "x.safetensors"
    arrays = {
        "bfloat16": np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3),
        "float16": np.arange(3, dtype=np.float16),
        "number": np.float32(2.5),
        "none": np.zeros((0, 4), np.int8),
        "bool": np.array([True, False]),
    }
    save_file({k: np.asarray(v) for k, v in arrays.items()}, path)
    found = read(path)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    with pytest.raises(ValueError, match=r"is no checkpoint of PyTorch, so it has no entry ema\.$"):
        read(path, state="ema")


def test_other_files(tmp_path):
    contents = {
        "nothing": b"",
        "text": b"not weights",
        "numpy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'",
        "pickle": pickle.dumps({"weight": [1.0]}),
        "tar": b"./data".ljust(257, b"\0") + b"ustar\x0000".ljust(255, b"\0"),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"^read: .*{name} is refused: it is no file of safet"):
            read(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)


def test_an_error_lists_little_of_many_long_keys():
    content = {("a" * 100_000, i): 1 for i in range(3000)} | {"b" * 100_000: 1}
    with pytest.raises(Refused) as caught:
        _state(content, None)
    assert len(str(caught.value)) < 3000
