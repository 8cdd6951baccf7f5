"""Where a data set's files are looked for.

In this order: an explicit path, $JAXCNN_DATA, the user's cache directory, the system's. In each
directory DIR, first DIR/NAME and then DIR itself, and in each of these first the files
themselves, then in the folder that their publisher (or torchvision) puts them in, then in the
publisher's archive, which is read where it lies.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from jaxcnn.data.downloads import REMOTES
from jaxcnn.data.idx import MNIST_FILES, unzipped

SYSTEM = Path("/usr/share/datasets")  # Debian's dataset-fashion-mnist lies there
NO_DIRECTORY, NO_FILES = "no such directory", "none of the files"


@dataclass(frozen=True)
class Form:
    """One of the shapes that a data set comes in: its files, and what they may lie in."""

    files: tuple[str, ...]
    folder: str
    archive: str | None = None

    def __str__(self) -> str:
        inside = f" or {self.archive}" if self.archive else ""
        return f"{', '.join(self.files)} (also in {self.folder}/{inside})"


@dataclass(frozen=True)
class Place:
    """Where a data set was found: a directory, or an archive."""

    form: Form
    path: Path


@dataclass
class Search:
    """What a search found, and what it saw on the way."""

    place: Place | None = None
    notes: list[str] = field(default_factory=list)


FORMS: dict[str, tuple[Form, ...]] = {
    "mnist": (Form(MNIST_FILES, "MNIST/raw"),),
    "fashion-mnist": (Form(MNIST_FILES, "FashionMNIST/raw"),),
    "cifar10": (
        Form(
            (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
            "cifar-10-batches-bin",
            "cifar-10-binary.tar.gz",
        ),
        Form(
            (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
            "cifar-10-batches-py",
            "cifar-10-python.tar.gz",
        ),
    ),
    "cifar100": (
        Form(("train.bin", "test.bin"), "cifar-100-binary", "cifar-100-binary.tar.gz"),
        Form(("train", "test"), "cifar-100-python", "cifar-100-python.tar.gz"),
    ),
}


def cache_directory() -> Path:
    """The user's cache directory for data sets, where downloads go."""
    import pooch

    return Path(pooch.os_cache("jaxcnn"))


def directories(path: str | os.PathLike[str] | None = None) -> list[Path]:
    """The directories to look in, in order."""
    given = [path, os.environ.get("JAXCNN_DATA")]
    return [*(Path(p).expanduser() for p in given if p), cache_directory(), SYSTEM]


def find(name: str, path: str | os.PathLike[str] | None = None) -> Search:
    """Look for a named set.

    Args:
        name: a key of `FORMS`.
        path: looked at first; a directory, or the publisher's archive itself.

    Raises:
        FileNotFoundError: a path that does not exist, or that holds only some of the files: to
            go on elsewhere would hide the mistake.
    """
    search = Search()
    explicit = None if path is None else Path(path).expanduser()
    if explicit is not None and not explicit.exists():
        raise FileNotFoundError(f"load: there is no {explicit} to find {name} in.")
    for directory in directories(path):
        for candidate in (directory / name, directory):
            seen = _examine(name, candidate)
            if isinstance(seen, Place):
                search.place = seen
                return search
            search.notes += [note for note in seen if note not in search.notes]
        wrong = [note for note in search.notes if not note.endswith((NO_DIRECTORY, NO_FILES))]
        if directory == explicit and wrong:
            raise FileNotFoundError(f"load: {name} cannot be read from {wrong[0]}.")
    return search


def member(place: Place, file: str) -> Path | None:
    """Where a file of a found directory lies, as itself or (a set without archives) gzipped."""
    names = (file,) if place.form.archive else (file, f"{file}.gz")
    return next((p for n in names if (p := place.path / n).is_file()), None)


def not_found(name: str, search: Search, failure: str) -> FileNotFoundError:
    """The error that says what was looked for, where, and how to get it."""
    target = cache_directory() / name
    system = f"\n  apt install dataset-{name}   (Debian)" if name == "fashion-mnist" else ""
    lines = [
        f"load: {name} was not found, and {failure}.",
        "Looked for",
        *(f"  {form}" for form in FORMS[name]),
        "in",
        *(f"  {note}" for note in search.notes),
        "To get it:",
        f"  mkdir -p {target}",
        *(f"  curl -fL -o {target / r.file} {r.url}" for r in REMOTES[name]),
    ]
    return FileNotFoundError("\n".join(lines) + system)


def _examine(name: str, directory: Path) -> Place | list[str]:
    """The set in this directory, or what there is instead."""
    if directory.is_file():  # an explicit path
        for form in FORMS[name]:
            if directory.name == form.archive:
                return Place(form, directory)
        return [f"{directory}: it is a file, and none of the archives of {name}"]
    if not directory.is_dir():
        return [f"{directory}: {NO_DIRECTORY}"]
    notes = []
    for form in FORMS[name]:
        for folder in (directory, directory / form.folder):
            place = Place(form, folder)
            missing = [file for file in form.files if not member(place, file)]
            other = None if missing else _other_set(name, place)
            if not missing and not other:
                return place
            if other:
                notes.append(f"{folder}: these are the files of {other}")
            elif len(missing) < len(form.files):
                notes.append(f"{folder}: lacks {', '.join(missing)}")
        if form.archive and (directory / form.archive).is_file():
            return Place(form, directory / form.archive)
    return notes or [f"{directory}: {NO_FILES}"]


def _other_set(name: str, place: Place) -> str | None:
    """MNIST and Fashion-MNIST share their files' names; the test labels' hash tells them apart.

    Any other labels, those of a cut set say, pass as what they are asked for.
    """
    labels = member(place, MNIST_FILES[-1])
    if labels is None:
        return None
    try:
        digest = hashlib.sha256(unzipped(labels)).hexdigest()
    except ValueError:  # a damaged file: whoever reads it will say so
        return None
    others = ("mnist", "fashion-mnist")
    return next((o for o in others if o != name and REMOTES[o][-1].sha256 == digest), None)
