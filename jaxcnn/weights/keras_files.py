"""Arrays in Keras's HDF5 files, `.h5` and `.weights.h5`.

Reference: https://keras.io/guides/serialization_and_saving/; links and storage as in h5py's
documentation, https://docs.h5py.org.
"""

from pathlib import Path

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
    arrays = {}

    def visit(name: str, link: object) -> None:
        if not isinstance(link, h5py.HardLink):
            raise Refused(f"{name:.100} is a link to another place")
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset):
            return
        if dataset.external or dataset.is_virtual:
            raise Refused(f"{name:.100} lies in other files")
        if dataset.shape is None or dataset.dtype.kind not in "biufc":
            raise Refused(f"{name:.100} has no numbers, but {dataset.dtype}")
        if sum(a.nbytes for a in arrays.values()) + dataset.nbytes > limit:
            raise Refused(f"its arrays would take more than {limit} bytes, far above its own size")
        arrays[name] = dataset[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems_links(visit)
    except (OSError, RuntimeError) as error:
        raise ValueError(str(error)) from error
    return {name: np.asarray(a, a.dtype.newbyteorder("=")) for name, a in arrays.items()}
