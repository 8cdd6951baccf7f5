import gzip
import struct

import numpy as np
import pytest
from PIL import Image

MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(array, magic=None):
    code = {"u1": 0x08, "i2": 0x0B, "f4": 0x0D}[array.dtype.str[1:]]
    head = struct.pack(">BBBB", 0, 0, code, array.ndim) if magic is None else magic
    big_endian = array.astype(array.dtype.newbyteorder(">"))
    return head + struct.pack(f">{array.ndim}I", *array.shape) + big_endian.tobytes()


@pytest.fixture
def write_idx():
    """Writes an array as IDX; gzipped where the name says so."""

    def write(path, array, magic=None):
        content = idx_bytes(array, magic)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path

    return write


@pytest.fixture
def write_mnist(write_idx):
    """Writes a set of 20 train and 10 test images of 4x4 pixels into a directory."""

    def write(directory, *, end="", seed=0):
        rng = np.random.default_rng(seed)
        for part, n in ((0, 20), (2, 10)):
            images = rng.integers(0, 256, (n, 4, 4), np.uint8)
            labels = (np.arange(n) % 10).astype(np.uint8)
            write_idx(directory / (MNIST_FILES[part] + end), images)
            write_idx(directory / (MNIST_FILES[part + 1] + end), labels)
        return directory

    return write


@pytest.fixture
def write_folder(tmp_path):
    """Writes random pictures, alternating between the classes a and b."""

    def write(n, *, size=(6, 5), channels=3):
        rng = np.random.default_rng(0)
        for c in "ab":
            (tmp_path / c).mkdir()
        for i in range(n):
            pixels = rng.integers(0, 256, (*size, channels), np.uint8)
            picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
            picture.save(tmp_path / "ab"[i % 2] / f"{i:04}.png")
        return tmp_path

    return write


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """An empty machine: no $JAXCNN_DATA, and cache and system directories that are not there."""
    monkeypatch.delenv("JAXCNN_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: str(tmp_path / "cache" / name))
    monkeypatch.setattr("jaxcnn.data.locations.SYSTEM", tmp_path / "system")
    return tmp_path
