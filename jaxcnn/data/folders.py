"""A folder of pictures: one directory per class."""

from pathlib import Path

import numpy as np

from jaxcnn.data.batching import split_validation
from jaxcnn.data.datasets import Dataset, Split, from_splits
from jaxcnn.data.images import image_header, read_image

TEST_SEED = 0  # of the held-out fifth


def load_folder(root: Path, size: tuple[int, int] | None = None) -> Dataset:
    """The pictures under ROOT/CLASS/, or ROOT/train/CLASS/ and ROOT/test/CLASS/.

    Where train/ holds the classes, the test is in test/, or in val/ if there is no test/;
    otherwise, and where neither is there, a stratified fifth is held out, always the same.
    Classes are sorted by name. Names that begin with a dot are passed over, and every other file
    must be an image.

    All of it is held in memory.

    Args:
        root: the folder.
        size: (height, width) in pixels of every image; None takes the first one's, the first
            class's first by name.

    Returns:
        gray images where all are gray, else RGB.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no classes, an empty class, an unknown class in the test, or a file that is
            no image.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"folder: there is no directory {root}.")
    train_root = root / "train" if _directories(root / "train") else root
    test_root = next((p for n in ("test", "val") if _directories(p := root / n)), None)
    classes = [d.name for d in _directories(train_root)]
    if not classes:
        raise ValueError(f"folder: {train_root} holds no classes, one directory each.")
    files = _labelled_files(train_root, classes)
    test_files = _labelled_files(test_root, classes) if test_root else []
    headers = [image_header(path) for path, _ in files + test_files]
    height, width = headers[0][:2] if size is None else size
    channels = max(c for _, _, c in headers)
    train = _read(files, (height, width), channels)
    if test_files:
        test = _read(test_files, (height, width), channels)
    else:
        train, test = split_validation(train, 0.2, seed=TEST_SEED)
        if not len(test):
            raise ValueError(
                f"folder: {train_root} holds {len(train)} images, too few to hold out a test."
            )
    return from_splits(f"folder:{root}", train, test, classes)


def _directories(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _labelled_files(root: Path, classes: list[str]) -> list[tuple[Path, int]]:
    files = []
    for directory in _directories(root):
        if directory.name not in classes:
            raise ValueError(f"folder: {directory} is a class that the training images lack.")
        inside = sorted(p for p in directory.iterdir() if not p.name.startswith("."))
        if not inside:
            raise ValueError(f"folder: the class {directory} is empty.")
        for path in inside:
            if not path.is_file():
                raise ValueError(f"folder: {path} should be an image, and is no file.")
            files.append((path, classes.index(directory.name)))
    return files


def _read(files: list[tuple[Path, int]], size: tuple[int, int], channels: int) -> Split:
    images = np.empty((len(files), *size, channels), np.uint8)
    for i, (path, _) in enumerate(files):
        images[i] = read_image(path, channels, size)
    return Split(images, np.array([label for _, label in files], np.int32))
