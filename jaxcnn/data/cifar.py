"""CIFAR-10 and CIFAR-100, in the binary and in the Python version."""

import tarfile
import zlib
from pathlib import Path

import numpy as np

from jaxcnn.data.datasets import Dataset, Split, from_splits
from jaxcnn.data.locations import Place
from jaxcnn.data.pickles import read_pickle

PIXELS = 3 * 32 * 32  # of one image: the red plane, the green, the blue, row by row

CIFAR10_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100_NAMES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
    crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
    keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse
    mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy
    porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper
    snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television
    tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""


def read_cifar(name: str, place: Place) -> Dataset:
    """A CIFAR set from its directory or its archive; of CIFAR-100's labels the 100 fine ones.

    Raises:
        ValueError: a file that is missing, empty, truncated, mislabelled, of another count than
            its neighbours, or a pickle of anything but arrays and plain containers.

    Reference:
        Krizhevsky (2009), Learning multiple layers of features from tiny images;
        https://www.cs.toronto.edu/~kriz/cifar.html, "Dataset layout".
    """
    classes = tuple((CIFAR10_NAMES if name == "cifar10" else CIFAR100_NAMES).split())
    binary = place.form.files[0].endswith(".bin")
    names_file = _names_file(name, binary)
    contents = _contents(place, (*place.form.files, names_file))
    listed = contents.pop(names_file, None)
    if listed is not None:
        classes = _class_names(listed, binary, len(classes), f"{place.path}: {names_file}")
    parts = []
    for file in place.form.files:
        if file not in contents:
            raise ValueError(f"read_cifar: {place.path} lacks {file}.")
        read = _read_binary if binary else _read_python
        parts.append(read(contents.pop(file), f"{place.path}: {file}", len(classes)))
    *train, test = parts
    counts = {len(part) for part in train}
    if len(counts) > 1:
        held = ", ".join(f"{f} {len(p)}" for f, p in zip(place.form.files, train, strict=False))
        raise ValueError(
            f"read_cifar: {place.path} has training files of different counts, one may be "
            f"truncated: {held}."
        )
    together = Split(
        np.concatenate([part.images for part in train]),
        np.concatenate([part.labels for part in train]),
    )
    return from_splits(name, together, test, classes)


def _contents(place: Place, files: tuple[str, ...]) -> dict[str, bytes]:
    """The bytes of those files that are there, from a directory or in one pass of an archive."""
    if place.path.is_dir():
        paths = {file: place.path / file for file in files}
        return {file: path.read_bytes() for file, path in paths.items() if path.is_file()}
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(place.path, "r:*") as archive:
            for entry in archive:
                name = Path(entry.name).name
                if name in files and entry.isfile():  # no links
                    stream = archive.extractfile(entry)
                    contents[name] = stream.read() if stream else b""
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(
            f"read_cifar: {place.path} is no tar archive, or truncated or corrupt: {error}."
        ) from error
    return contents


def _read_binary(content: bytes, where: str, classes: int) -> Split:
    """Records of one label byte (CIFAR-100: a coarse one before it) and 3072 pixels."""
    label_bytes = 2 if classes == 100 else 1
    size = label_bytes + PIXELS
    if not content:
        raise ValueError(f"read_cifar: {where} is empty.")
    if len(content) % size:
        raise ValueError(
            f"read_cifar: {where} is truncated: {len(content)} bytes are no multiple of a "
            f"record's {size}."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    return _split(records[:, label_bytes:], records[:, label_bytes - 1], where, classes)


def _read_python(content: bytes, where: str, classes: int) -> Split:
    """A pickled dictionary of data (n x 3072 bytes) and labels or fine_labels."""
    entries = _by_text(read_pickle(content, where))
    key = "fine_labels" if classes == 100 else "labels"
    if "data" not in entries or key not in entries:
        raise ValueError(f"read_cifar: {where} needs data and {key}, it has {sorted(entries)}.")
    pixels, labels = entries["data"], np.asarray(entries[key])
    right = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8
    if not right or pixels.ndim != 2 or pixels.shape[1] != PIXELS:
        raise ValueError(f"read_cifar: {where}: data must be bytes of shape (n, {PIXELS}).")
    if not len(pixels):
        raise ValueError(f"read_cifar: {where} is empty.")
    if labels.shape != (len(pixels),) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"read_cifar: {where} is mislabelled: {len(pixels)} images and "
            f"{labels.size} labels of type {labels.dtype}."
        )
    return _split(pixels, labels, where, classes)


def _split(pixels: np.ndarray, labels: np.ndarray, where: str, classes: int) -> Split:
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(
            f"read_cifar: {where} is mislabelled: labels must lie in 0..{classes - 1}, "
            f"label {first} is {labels[first]}."
        )
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images), labels.astype(np.int32))


def _names_file(name: str, binary: bool) -> str:
    if name == "cifar10":
        return "batches.meta.txt" if binary else "batches.meta"
    return "fine_label_names.txt" if binary else "meta"


def _class_names(content: bytes, binary: bool, classes: int, where: str) -> tuple[str, ...]:
    """The names as the set's own file gives them."""
    if binary:
        names = content.decode("utf-8", "replace").split()
    else:
        entries = _by_text(read_pickle(content, where))
        listed = entries.get("fine_label_names" if classes == 100 else "label_names", [])
        names = [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in listed]
    if len(names) != classes:
        raise ValueError(
            f"read_cifar: {where} should name {classes} classes, it names {len(names)}."
        )
    return tuple(names)


def _by_text(entries: dict) -> dict:
    """Python 2's keys are bytes."""
    return {k.decode("latin1") if isinstance(k, bytes) else k: v for k, v in entries.items()}
