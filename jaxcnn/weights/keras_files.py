"""Arrays in Keras's HDF5 files, `.h5` and `.weights.h5`.

Reference: https://keras.io/guides/serialization_and_saving/; links and storage as in h5py's
documentation, https://docs.h5py.org.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.data.unpickling import Refused


def read_h5(path: Path, limit: int) -> dict[str, np.ndarray]:
    """Each dataset by its path in the file.

    A dataset can lie in other files, be a reference to anything, or be larger than what is there
    of it; a link can lead out of the file.

    Raises:
        ImportError: h5py is not installed.
        Refused: anything but numbers in the file itself, or more than `limit` bytes of them.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"read: {path} is an HDF5 file, which takes h5py: pip install 'jaxcnn[h5]'."
        ) from error
    arrays: dict[str, np.ndarray] = {}
    try:
        with h5py.File(path, "r") as file:
            groups: list[Any] = [file]
            seen: set[Any] = {file}
            for group in groups:
                for name in group:
                    where = f"{group.name.rstrip('/')}/{name}".lstrip("/")
                    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                        raise Refused(f"{where:.100} is a link to another place")
                    item = group[name]
                    if isinstance(item, h5py.Dataset):
                        arrays[where] = _array(item, where, limit)
                        limit -= arrays[where].nbytes
                    elif isinstance(item, h5py.Group) and item not in seen:  # they may form a ring
                        groups.append(item)
                        seen.add(item)
    except (OSError, RuntimeError) as error:
        raise ValueError(str(error)) from error
    return arrays


def _array(dataset: Any, where: str, limit: int) -> np.ndarray:
    if dataset.external or dataset.is_virtual:
        raise Refused(f"{where:.100} lies in other files")
    if dataset.shape is None or dataset.dtype.kind not in "biufc":
        raise Refused(f"{where:.100} has {dataset.dtype}, no array of numbers")
    if dataset.nbytes > limit:
        raise Refused("its arrays would take far more than its own size")
    return np.asarray(dataset[()], dataset.dtype.newbyteorder("="))
