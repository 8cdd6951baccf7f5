"""A folder of pictures: one directory per class."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxcnn.data.batching import split_validation
from jaxcnn.data.datasets import Dataset, Split, from_splits
from jaxcnn.data.images import image_header
from jaxcnn.data.pictures import THREADS, Pictures, evenly

TEST_SEED = 0  # of the held-out fifth
OPENED = 256  # files of a streamed folder whose headers are read


def load_folder(
    root: Path,
    size: tuple[int, int] | None = None,
    *,
    stream: bool = False,
    skip_corrupt: bool = False,
) -> Dataset:
    """The pictures under ROOT/CLASS/, or ROOT/train/CLASS/ and ROOT/test/CLASS/.

    Where train/ holds the classes, the test is in test/, or in val/ if there is no test/;
    otherwise, and where neither is there, a stratified fifth is held out, always the same.
    Classes are sorted by name. Names that begin with a dot are passed over, and every other file
    must be an image.

    Args:
        root: the folder.
        size: (height, width) in pixels of every image; None takes the first one's, the first
            class's first by name.
        stream: leave the pictures on the disk, as `Pictures`, instead of in memory. Then only 256
            files are looked into for the channels, evenly spaced. Mean and std are, both ways,
            those of at most 1,000 training images.
        skip_corrupt: warn of pictures that cannot be decoded, and leave them out of the split, or
            where they are streamed of the weights.

    Returns:
        gray images where all (that were looked into) are gray, else RGB.

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
    files = _labelled_files(root, train_root, classes)
    test_files = _labelled_files(root, test_root, classes) if test_root else []
    names = np.array([os.fsencode(name) for name, _ in files + test_files])
    labels = np.array([label for _, label in files + test_files], np.int32)
    first, channels = _form(root, names, stream, skip_corrupt)
    every = Pictures(root, names, size or first, channels, skip_corrupt)
    train = Split(every.select(slice(len(files))), labels[: len(files)])
    if test_files:
        test = Split(every.select(slice(len(files), None)), labels[len(files) :])
    else:
        train, test = split_validation(train, 0.2, seed=TEST_SEED)
        if not len(test):
            raise ValueError(
                f"folder: {train_root} holds {len(train)} images, too few to hold out a test."
            )
    streamed = from_splits(f"folder:{root}", train, test, classes)
    if stream:
        return streamed
    return replace(streamed, train=_in_memory(train), test=_in_memory(test))


def _directories(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _labelled_files(root: Path, part: Path, classes: list[str]) -> list[tuple[str, int]]:
    """The files of each class's directory in `part`, named from `root`, and their labels."""
    files = []
    for directory in _directories(part):
        if directory.name not in classes:
            raise ValueError(f"folder: {directory} is a class that the training images lack.")
        with os.scandir(directory) as entries:  # a Path for each of a million takes a gigabyte
            inside = [e for e in entries if not e.name.startswith(".")]
        if not inside:
            raise ValueError(f"folder: the class {directory} is empty.")
        label, below = classes.index(directory.name), directory.relative_to(root)
        for entry in sorted(inside, key=lambda e: os.path.normcase(e.name)):
            if not entry.is_file():
                raise ValueError(f"folder: {entry.path} should be an image, and is no file.")
            files.append((os.path.join(below, entry.name), label))
    return files


def _form(
    root: Path, files: np.ndarray, stream: bool, skip_corrupt: bool
) -> tuple[tuple[int, int], int]:
    """The first picture's size, and the channels that hold all, from the headers."""

    def headers(some: np.ndarray) -> Iterator[tuple[int, int, int]]:
        for file in some:
            try:
                yield image_header(root / os.fsdecode(file))
            except ValueError:  # `Pictures` warns of it when it is read
                if not skip_corrupt:
                    raise

    first = next(headers(files), None)
    if first is None:
        raise ValueError(f"folder: none of the {len(files)} files in {root} is an image.")
    looked_into = files[evenly(len(files), OPENED)] if stream else files
    return first[:2], max([first[2], *(c for _, _, c in headers(looked_into))])


def _in_memory(split: Split) -> Split:
    pictures, labels = split.images, split.labels
    assert isinstance(pictures, Pictures)
    images, faults = pictures.read(np.arange(len(pictures)), THREADS)
    pictures.warn(faults)
    if faults:
        images, labels = (np.delete(x, list(faults), axis=0) for x in (images, labels))
    return Split(images, labels)
