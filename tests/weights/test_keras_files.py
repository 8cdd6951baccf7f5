import sys

import h5py
import numpy as np
import pytest

from jaxcnn.weights import read


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.weights.h5"


def made(path, make):
    with h5py.File(path, "w") as file:
        make(file)


def refused(path, message):
    with pytest.raises(ValueError, match=rf"^read: .*x\.weights\.h5 is .*{message}"):
        read(path)


def test_datasets_by_their_paths(path):
    def make(file):
        file["layers/conv2d/vars/0"] = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
        file["layers/conv2d/vars/1"] = np.arange(3, dtype=">f8")
        file["optimizer/iterations"] = 7
        file["half"] = np.ones(2, np.float16)
        file.create_dataset("packed", data=np.zeros((100, 100)), compression="gzip")
        file["again"] = file["half"]
        file["layers/ring"] = file["layers"]
        file.attrs["backend"] = "jax"
        file.create_group("empty")

    made(path, make)
    arrays = read(path)
    assert set(arrays) == {
        "layers/conv2d/vars/0",
        "layers/conv2d/vars/1",
        "optimizer/iterations",
        "half",
        "again",
        "packed",
    }
    assert arrays["layers/conv2d/vars/0"].tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert arrays["layers/conv2d/vars/1"].tolist() == [0, 1, 2]
    assert arrays["optimizer/iterations"] == 7
    assert arrays["packed"].shape == (100, 100)
    assert arrays["half"].dtype == np.float16
    assert all(type(a) is np.ndarray and a.dtype.isnative for a in arrays.values())


def test_nothing_outside_is_read(path, tmp_path):
    other = tmp_path / "other.h5"
    made(other, lambda file: file.create_dataset("secret", data=np.ones(4)))
    (tmp_path / "raw").write_bytes(b"secret!!")

    def virtual(file):
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(other), "secret", (4,))
        file.create_virtual_dataset("x", layout)

    def external(file):
        file.create_dataset("x", (8,), "u1", external=[(str(tmp_path / "raw"), 0, 8)])

    cases = {
        "x is a link to another place": [
            lambda file: file.__setitem__("x", h5py.ExternalLink(str(other), "secret")),
            lambda file: file.__setitem__("x", h5py.SoftLink("/nowhere")),
        ],
        "g/x is a link": [lambda file: file.__setitem__("g/x", h5py.SoftLink("/g"))],
        "x lies in other files": [virtual, external],
        "x has object, no array of numbers": [
            lambda file: file.create_dataset("x", (2,), dtype=h5py.ref_dtype),
            lambda file: file.create_dataset("x", data="text"),
        ],
        "no array of numbers": [
            lambda file: file.create_dataset("x", data=h5py.Empty("f4")),
            lambda file: file.create_dataset("x", data=np.zeros(2, "f4,i4")),
        ],
        "far more than its own size": [
            lambda file: file.create_dataset("x", (2**40,), "f4", chunks=(1024,)),
            lambda file: [file.create_dataset(f"{i}", (2**22,), "f4") for i in range(5)],
        ],
    }
    for message, makes in cases.items():
        for make in makes:
            made(path, make)
            refused(path, message)


def test_truncated_files(path):
    made(path, lambda file: file.__setitem__("g/a", np.arange(6.0)))
    content = path.read_bytes()
    for n in (*range(8, 200), *range(200, len(content), 97), len(content) - 1):
        path.write_bytes(content[:n])
        refused(path, "truncated or corrupt")


def test_without_h5py(path, monkeypatch):
    made(path, lambda file: file.__setitem__("a", 1))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"takes h5py: pip install 'jaxcnn\[h5\]'"):
        read(path)
