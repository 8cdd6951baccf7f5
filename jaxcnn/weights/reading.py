"""Weight files of any kind as arrays by name; their content tells the kind, not their suffix."""

import reprlib
from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.data.unpickling import Refused, faults
from jaxcnn.weights.keras_files import read_h5
from jaxcnn.weights.safetensors_files import read_safetensors
from jaxcnn.weights.tensors import Tensor
from jaxcnn.weights.torch_files import MAGIC, read_legacy, read_zip

# Views share storages and compression shortens; more than this is what a bomb asks for.
LARGEST, SMALLEST_LIMIT = 16, 1 << 26  # times the file's size; bytes
LISTED = 20  # entries that an error names


def read(path: str | Path, *, state: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of a weight file by their names there.

    PyTorch is not needed, and nothing that a file asks for is run. Hostile files are refused before
    they take memory, but for HDF5: its own library reads that, and a file may lead it astray.

    Args:
        path: a file of safetensors, of PyTorch (`.pth`, `.pt`), or of Keras (`.h5`; it takes the
            extra `h5`).
        state: the entry of a PyTorch checkpoint that has the parameters; by default the checkpoint
            itself or the only entry that consists of tensors.

    Returns:
        name -> array in the file's dtype.

    Raises:
        ValueError: a file of another kind, truncated, corrupt, with more than arrays and plain
            containers in it, or without one state to be found.
        FileNotFoundError: no such file.
        ImportError: an extra that is not installed.

    Example:
        >>> import tempfile
        >>> from safetensors.numpy import save_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file({"fc.bias": np.ones(2)}, f"{folder}/fc.safetensors")
        ...     read(f"{folder}/fc.safetensors")
        {'fc.bias': array([1., 1.])}

    """
    path = Path(path)
    with open(path, "rb") as file:
        beginning = file.read(32)
        limit = max(LARGEST * file.seek(0, 2), SMALLEST_LIMIT)
    choose = partial(_state, name=state)
    with faults(f"read: {path}"):
        if beginning.startswith(b"PK\3\4"):
            return read_zip(path, choose, limit)
        if MAGIC.to_bytes(10, "little") in beginning:
            return read_legacy(path, choose, limit)
        if state is not None:
            raise Refused(f"it is no checkpoint of PyTorch, so it has no entry {state}")
        if beginning.startswith(b"\x89HDF\r\n\x1a\n"):
            return read_h5(path, limit)
        if beginning[8:9] == b"{":  # behind the header's length
            return read_safetensors(path)[0]
        raise Refused("it is no file of safetensors, PyTorch (since 2017) or HDF5")


def _state(content: Any, name: str | None) -> Mapping[str, Tensor]:
    """The checkpoint itself where it consists of tensors, or the entry that does."""
    if type(content) is not dict:
        raise Refused(f"it holds a {type(content).__name__}, not tensors by name")
    if name is None and _is_state(content):
        return content
    if name is not None and _is_state(content.get(name)):
        return content[name]
    distinct = {id(v): v for v in content.values()}  # many entries can share one dictionary
    of_tensors = {i for i, v in distinct.items() if _is_state(v)}
    states = {k: v for k, v in content.items() if id(v) in of_tensors}
    # A number beside the state, such as the best accuracy, is often a tensor without axes.
    others = [k for k, v in content.items() if type(v) is Tensor and v.shape]
    if name is None and len(states) == 1 and not others:
        return next(iter(states.values()))
    wanted = f"entry {name} of tensors" if name else "single entry of tensors (`state` names one)"
    listed = ", ".join(
        f"{_short(k)} ({'tensors' if k in states else type(v).__name__})"
        for k, v in islice(content.items(), LISTED)
    )
    raise Refused(f"it has no {wanted}; its entries: {listed}")


def _is_state(value: Any) -> bool:
    if type(value) is not dict or not value:
        return False
    return all(type(k) is str and type(v) is Tensor for k, v in value.items())


def _short(key: Any) -> str:
    """A key, cut where it is long: many can share one long text."""
    return key[:60] if type(key) is str else reprlib.repr(key)
