"""Weight files of any kind as arrays by name; the content decides what a file is, not its suffix."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.data.unpickling import Refused, faults
from jaxcnn.weights.tensors import Tensor
from jaxcnn.weights.torch_files import read_legacy, read_zip


def read(path: str | Path, *, state: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of a weight file by their names there.

    Args:
        path: a file of safetensors, of PyTorch (`.pth`, `.pt`), or of Keras (`.h5`; it takes the
            extra `h5`). PyTorch is not needed, and nothing that a file asks for is run.
        state: the entry of a PyTorch checkpoint that holds the parameters, where it has several
            that may; where one does, it is found.

    Returns:
        name -> array in the file's dtype.

    Raises:
        ValueError: a file of another kind, truncated, corrupt, or that asks for more than arrays
            and plain containers need.
        FileNotFoundError: no such file.
    """
    path = Path(path)
    with open(path, "rb") as file:
        beginning = file.read(512)
        size = file.seek(0, 2)
    with faults(f"read: {path}"):
        choose = lambda content: _state(content, state)
        limit = max(16 * size, 1 << 26)
        if beginning.startswith(b"PK"):
            return read_zip(path, choose, limit)
        return read_legacy(path, choose, limit)


def _state(content: Any, name: str | None) -> Mapping[str, Tensor]:
    """The content itself where it holds tensors by name, or else the one entry that does."""
    if type(content) is not dict:
        raise Refused(f"it holds a {type(content).__name__}, not tensors by name")
    if name is None and _is_state(content):
        return content
    states = {k: v for k, v in content.items() if _is_state(v)}
    if name is not None and name in states:
        return states[name]
    # A number beside the state, such as the best accuracy, is often a tensor without axes.
    bare = [k for k, v in content.items() if type(v) is Tensor and v.shape]
    if name is None and len(states) == 1 and not bare:
        return next(iter(states.values()))
    keys = ", ".join(str(k) for k in content)
    raise Refused(
        f"it should hold tensors by name, or one such state, among its keys: {keys:.1000}"
    )


def _is_state(value: Any) -> bool:
    return (
        type(value) is dict
        and len(value) > 0
        and all(type(k) is str and type(v) is Tensor for k, v in value.items())
    )
