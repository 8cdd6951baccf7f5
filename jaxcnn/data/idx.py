"""IDX, the format of MNIST's files: a magic number, the lengths of the axes, the numbers."""

import gzip
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxcnn.data.datasets import Dataset, Split, from_splits

# The third byte of the magic number; every type is big-endian.
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MNIST_CLASSES = tuple(str(digit) for digit in range(10))
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an IDX file, plain or gzipped (told by its first bytes, not by its name).

    Args:
        path: the file.

    Returns:
        an array of the file's type and shape.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an empty or truncated file, one that goes on after its last number, a wrong
            magic number, or a corrupt gzip stream.

    Reference:
        LeCun, Cortes & Burges, The MNIST database, section "File formats".
    """
    where = os.fspath(path)
    content = unzipped(path)
    if not content:
        raise ValueError(f"read_idx: {where} is empty.")
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not magic[3]:
        raise ValueError(
            f"read_idx: {where} is no IDX file, its magic number is 0x{magic.hex()} "
            "(0x00000803 for images, 0x00000801 for labels)."
        )
    start = 4 + 4 * magic[3]
    if len(content) < start:
        raise ValueError(f"read_idx: {where} is truncated in its header.")
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], ">u4"))
    dtype = np.dtype(TYPES[magic[2]])
    expected, held = math.prod(shape) * dtype.itemsize, len(content) - start
    if held != expected:
        raise ValueError(
            f"read_idx: {where} {'is truncated' if held < expected else 'goes on too long'}: "
            f"its header promises {expected} bytes, {shape}, and it holds {held}."
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def unzipped(path: str | os.PathLike[str]) -> bytes:
    """All of a file, which may be gzipped or not (its first bytes tell, not its name)."""
    where = os.fspath(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"read_idx: there is no file {where}.")
    content = Path(path).read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except EOFError as error:
        raise ValueError(f"read_idx: {where} is truncated: its gzip stream breaks off.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"read_idx: {where} is corrupt gzip: {error}.") from error


def read_labelled(images: Path, labels: Path, classes: int) -> Split:
    """A pair of IDX files as a split.

    Raises:
        ValueError: files that `read_idx` refuses or that hold something else, no images, two
            counts, or labels outside 0..classes - 1.
    """
    x, y = read_idx(images), read_idx(labels)
    for path, array, what, axes in ((images, x, "images", 3), (labels, y, "labels", 1)):
        if array.ndim != axes or array.dtype != np.uint8:
            raise ValueError(
                f"read_idx: {path} should hold {what}, bytes along {axes} axes; "
                f"it holds {array.dtype.name} {array.shape}."
            )
        if not array.size:
            raise ValueError(f"read_idx: {path} holds no {what}, its shape is {array.shape}.")
    if len(x) != len(y):
        raise ValueError(f"read_idx: {images} holds {len(x)} images, {labels} {len(y)} labels.")
    if y.max() >= classes:
        raise ValueError(
            f"read_idx: {labels} is mislabelled: labels must lie in 0..{classes - 1}, "
            f"label {y.argmax()} is {y.max()}."
        )
    return Split(x[..., None], y.astype(np.int32))


def read_mnist(name: str, files: Sequence[Path]) -> Dataset:
    """MNIST or Fashion-MNIST from its four files, in the order of `MNIST_FILES`."""
    classes = FASHION_CLASSES if name == "fashion-mnist" else MNIST_CLASSES
    train = read_labelled(files[0], files[1], len(classes))
    test = read_labelled(files[2], files[3], len(classes))
    return from_splits(name, train, test, classes)
