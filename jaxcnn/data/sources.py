"""Sources by name: one table for each kind, and what loads from them."""

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from jaxcnn.data.cifar import read_cifar
from jaxcnn.data.datasets import Dataset, Split, from_splits
from jaxcnn.data.downloads import download as fetch
from jaxcnn.data.embedded import load_digits, load_synthetic
from jaxcnn.data.folders import load_folder
from jaxcnn.data.idx import MNIST_FILES, read_mnist
from jaxcnn.data.images import resize
from jaxcnn.data.locations import Place, cache_directory, find, member, not_found

EMBEDDED: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits,
    "synthetic": load_synthetic,
}


def _read_mnist(name: str, place: Place) -> Dataset:
    paths = [member(place, file) for file in MNIST_FILES]
    return read_mnist(name, [path for path in paths if path])


FILES: dict[str, Callable[[str, Place], Dataset]] = {
    "mnist": _read_mnist,
    "fashion-mnist": _read_mnist,
    "cifar10": read_cifar,
    "cifar100": read_cifar,
}


def names() -> tuple[str, ...]:
    """Every source that `load` knows, as one writes it."""
    return ("digits", *FILES, "folder:PATH", "synthetic")


def load(
    name: str,
    *,
    path: str | os.PathLike[str] | None = None,
    size: tuple[int, int] | None = None,
    download: bool = True,
    stream: bool = False,
    skip_corrupt: bool = False,
) -> Dataset:
    """A data set by name, in memory unless it is streamed.

    "digits" and "synthetic" need no files. For "mnist", "fashion-mnist", "cifar10" and
    "cifar100" these places are looked at in order: `path`, $JAXCNN_DATA, the user's cache
    directory, /usr/share/datasets; in each of them DIR/NAME and then DIR. Files found there are
    verified for their structure (magic numbers, counts, labels). If there are none, they are
    downloaded from the official address into the cache, and verified by SHA-256.
    "folder:PATH" reads the pictures of one directory per class.

    Args:
        name: one of `names()`.
        path: a directory that holds the set, or its archive.
        size: (height, width) in pixels to resize every image to; None keeps the set's own, and
            for a folder takes that of its first image.
        download: whether to ask the network where nothing is found.
        stream: leave the pictures of a folder on the disk, and read each when it is asked for:
            for sets larger than memory. Its channels are then told from 256 files, its mean and
            std from 1,000 training images, evenly spaced.
        skip_corrupt: warn of the pictures of a folder that cannot be decoded and go on without
            them, instead of an error. A streamed one stays in its place, black and with the
            weight 0.

    Raises:
        FileNotFoundError: not found; the message lists every place and the commands to get it.
        ValueError: an unknown name, a file that is damaged, named in the message, or a folder's
            option for another source.

    Example:
        >>> digits = load("digits")
        >>> digits.train.images.shape, len(digits.test), digits.classes[:3]
        ((1438, 8, 8, 1), 359, ('0', '1', '2'))

    """
    kind, _, folder = name.partition(":")
    if kind == "folder":
        root = folder or path
        if not root or (folder and path is not None):
            raise ValueError(f"load: write folder:PATH, the path once, got {name!r}, path={path}.")
        root = Path(root).expanduser()
        return load_folder(root, size, stream=stream, skip_corrupt=skip_corrupt)
    for option, given in (("stream", stream), ("skip_corrupt", skip_corrupt)):
        if given:
            raise ValueError(f"load: {option} is for folder:PATH, got {name!r}.")
    if name in EMBEDDED:
        if path is not None:
            raise ValueError(f"load: {name} needs no files, got path={path}.")
        return _resized(EMBEDDED[name](), size)
    if name not in FILES:
        raise ValueError(
            f"load: no source is called {name!r}.{_hint(name)} There are {', '.join(names())}."
        )
    return _resized(FILES[name](name, _place(name, path, download)), size)


def found() -> dict[str, str | None]:
    """Where each named set would be read from, without reading it; None where it is nowhere.

    Example:
        >>> found()["digits"]
        'scikit-learn'

    """
    table: dict[str, str | None] = {"digits": "scikit-learn"}
    for name in FILES:
        place = find(name).place
        table[name] = str(place.path) if place else None
    return {**table, "synthetic": "generated"}


def _place(name: str, path: str | os.PathLike[str] | None, download: bool) -> Place:
    search = find(name, path)
    if search.place:
        return search.place
    if not download:
        raise not_found(name, search, "downloading was not asked for")
    directory = cache_directory() / name
    try:
        fetch(name, directory)
    except OSError as error:
        raise not_found(name, search, f"the download failed: {error}") from None
    place = find(name, directory).place
    if not place:
        raise not_found(name, search, f"the download into {directory} is not complete")
    return place


def _resized(dataset: Dataset, size: tuple[int, int] | None) -> Dataset:
    if size is None or dataset.train.images.shape[1:3] == tuple(size):
        return dataset
    train, test = (
        Split(resize(s.images[:], size), s.labels) for s in (dataset.train, dataset.test)
    )
    return from_splits(dataset.name, train, test, dataset.classes)


def _hint(name: str) -> str:
    plain = name.lower().replace("_", "-")
    close = difflib.get_close_matches(plain, names(), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
