"""Arrays in safetensors files, and our own variables as such files.

Reference: https://huggingface.co/docs/safetensors, "Format".
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import ml_dtypes  # noqa: F401  (NumPy knows bfloat16 by it)
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jaxcnn.data.unpickling import Refused, faults

OURS = {"format": "jaxcnn"}
TYPES = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 bfloat16"
    " complex64"
).split()


def read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file, and the texts beside them."""
    try:
        with safe_open(path, "np") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def is_ours(path: str | Path) -> bool:
    """Whether `save_safetensors` wrote the file."""
    try:
        with safe_open(path, "np") as file:
            return (file.metadata() or {}).get("format") == OURS["format"]
    except (SafetensorError, OSError):
        return False


def save_safetensors(
    path: str | Path, variables: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Write variables to a file that is there whole or not at all.

    Args:
        path: what to write or replace; its directory exists.
        variables: nested dictionaries of arrays, as `model.init` gives them; empty ones are not
            kept. An array's name in the file is its path with slashes, `params/conv1/kernel`.
        metadata: texts by name to keep beside them; `format` is taken.

    Raises:
        ValueError: names that are no text, empty or with slashes, leaves that are no arrays of
            numbers, or `format` in the metadata.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "lenet.safetensors")
        ...     save_safetensors(path, {"params": {"fc": {"bias": np.ones(2)}}})
        ...     load_safetensors(path)
        {'params': {'fc': {'bias': array([1., 1.])}}}

    """
    path = Path(path)
    if metadata and "format" in metadata:
        raise ValueError(f"save_safetensors: format is {OURS['format']}, not {metadata['format']}.")
    arrays = {}
    for names, value in flatten_dict(variables).items():
        if not all(type(name) is str and name and "/" not in name for name in names):
            raise ValueError(f"save_safetensors: names are text without slashes, got {names}.")
        name = "/".join(names)
        if not isinstance(value, np.ndarray | np.generic | jax.Array):
            raise ValueError(
                f"save_safetensors: {name} must be an array, got {type(value).__name__}."
            )
        if value.dtype.name not in TYPES:
            raise ValueError(
                f"save_safetensors: {name} must be of {', '.join(TYPES)}, got {value.dtype}."
            )
        arrays[name] = np.asarray(value, order="C")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        save_file(arrays, part, {**(metadata or {}), **OURS})
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load_safetensors(path: str | Path) -> dict[str, Any]:
    """The variables that `save_safetensors` wrote.

    Args:
        path: the file.

    Returns:
        nested dictionaries of NumPy arrays.

    Raises:
        ValueError: a file that `save_safetensors` did not write, truncated or corrupt.
        FileNotFoundError: no such file.
    """
    with faults(f"load_safetensors: {path}"):
        arrays, metadata = read_safetensors(Path(path))
        if metadata.get("format") != OURS["format"]:
            raise Refused(
                "it was not written by save_safetensors; `read` gives its arrays, and `from_torch` "
                "makes variables of those of a PyTorch model"
            )
        return unflatten_dict({tuple(name.split("/")): array for name, array in arrays.items()})
