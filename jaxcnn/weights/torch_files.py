"""PyTorch's two file formats, read without PyTorch.

Both are a pickle and the storages that its tensors are views of. Since 2020 they are the entries of
a zip file, uncompressed; before, a sequence of pickles and then the storages.

Reference: `torch.save`, https://docs.pytorch.org/docs/stable/notes/serialization.html; the older
format as `torch/serialization.py` (version 2.13) writes and reads it.
"""

import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.data.unpickling import Refused, unpickle
from jaxcnn.weights.tensors import ADMITTED, Storage, Tensor, admit_sizes, arrays, build

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
Choose = Callable[[Any], Mapping[str, Tensor]]


def read_zip(path: Path, choose: Choose, limit: int) -> dict[str, np.ndarray]:
    """What `choose` takes from a zip file with entries FOLDER/data.pkl and FOLDER/data/KEY."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            folders = [n.removesuffix("/data.pkl") for n in names if n.endswith("/data.pkl")]
            if len(folders) != 1:
                raise Refused("a zip file of PyTorch has one data.pkl, in a folder")

            def entry(name: str) -> bytes:
                return _stored(archive, f"{folders[0]}/{name}", path.stat().st_size)

            order = b"little"  # older files do not say
            if f"{folders[0]}/byteorder" in names:
                order = entry("byteorder")
            if order not in (b"little", b"big"):
                raise Refused(f"its byte order is {order[:20]}, not little or big")
            content = unpickle(
                BytesIO(entry("data.pkl")),
                ADMITTED,
                build=build,
                persistent=lambda pid: _storage(pid, 5),
            )
            return arrays(
                choose(content),
                lambda storage: bytearray(entry(f"data/{storage.key}")),
                limit,
                byteswap=order.decode() != sys.byteorder,
            )
    # An entry may be encrypted, lie before the beginning, or have odd extra fields.
    except (zipfile.BadZipFile, RuntimeError, OSError, struct.error) as error:
        raise ValueError(str(error)) from error


def _stored(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """The content of an uncompressed entry, which is no larger than the file."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise Refused(f"it has no {name:.100}") from None
    compressed = info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size
    if compressed or info.file_size > limit:
        raise Refused(f"{name:.100} must be stored as it is, and no larger than the file")
    return archive.read(info)


def read_legacy(path: Path, choose: Choose, limit: int) -> dict[str, np.ndarray]:
    """What `choose` takes from a sequence of pickles (the fourth is the content) and storages."""
    roots: dict[str, Storage] = {}

    def persistent(pid: Any) -> Storage:
        root = _storage(pid, 6)
        if roots.setdefault(root.key, root) != root:
            raise Refused(f"storage {root.key:.20} has two types or sizes")
        view = pid[5]  # of files from before 2018: (its key, offset, size), in numbers
        if view is None:
            return root
        if type(view) is not tuple or len(view) != 3:
            raise Refused("a storage's view must be a key, an offset and a size")
        admit_sizes(*view[1:])
        if sum(view[1:]) > root.size:
            raise Refused(f"a view of storage {root.key:.20} reaches beyond it")
        return Storage(root.key, root.dtype, view[2], view[1] * root.dtype.itemsize)

    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as stream:

        def plain() -> Any:
            return unpickle(stream, {}, build=build)

        if plain() != MAGIC or plain() != PROTOCOL:
            raise Refused("it has another magic number or version than PyTorch's")
        machine = plain()
        # PyTorch writes storages little-endian even there, but no such file was seen here.
        if type(machine) is not dict or machine.get("little_endian") is not True:
            raise Refused("it was not written by a little-endian machine")
        content = unpickle(stream, ADMITTED, build=build, persistent=persistent)
        places = _places(stream, plain(), roots)

        def read(storage: Storage) -> bytearray:
            if storage.key not in places:
                raise Refused(f"it has no storage {storage.key:.20}")
            start, end = places[storage.key]
            return bytearray(stream[start:end])

        return arrays(choose(content), read, limit, byteswap=sys.byteorder != "little")


def _places(stream: mmap, keys: Any, roots: Mapping[str, Storage]) -> dict[str, tuple[int, int]]:
    """First byte and end of each storage: one after the other, each after its size as an int64."""
    if type(keys) is not list or not all(type(key) is str and key in roots for key in keys):
        raise Refused("its list of storages does not fit its content")
    places = {}
    start = stream.tell()
    for key in keys:
        root = roots[key]
        (size,) = struct.unpack("<q", stream[start : start + 8].ljust(8))
        end = start + 8 + root.size * root.dtype.itemsize
        if end > len(stream):
            raise EOFError(f"storage {key:.20} should end at byte {end} of {len(stream)}")
        if size != root.size:
            raise Refused(f"storage {key:.20} has {size} numbers instead of {root.size}")
        places[key] = (start + 8, end)
        start = end
    return places


def _storage(pid: Any, length: int) -> Storage:
    """The storage that a pickle means by ("storage", type, key, device, size) and more."""
    if type(pid) is not tuple or len(pid) != length or pid[0] != "storage":
        raise Refused("it refers to something outside of its pickle that is no storage")
    _, dtype, key, _, size = pid[:5]
    if not isinstance(dtype, np.dtype) or type(key) is not str:
        raise Refused("a storage must have a type and a name")
    admit_sizes(size)
    return Storage(key, dtype, size)
