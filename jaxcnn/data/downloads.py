"""The official addresses of the named sets, and a download that is verified before it counts."""

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from jaxcnn.data.idx import MNIST_FILES, unzipped

TIMEOUT = 30  # seconds without an answer


@dataclass(frozen=True)
class Remote:
    """A file to download; sha256 is that of its bytes, unzipped where it is gzipped IDX."""

    url: str
    sha256: str
    idx: bool = False

    @property
    def file(self) -> str:
        """The name it is kept under."""
        return self.url.rsplit("/", 1)[1]


def _idx_files(address: str, hashes: tuple[str, ...]) -> tuple[Remote, ...]:
    files = zip(MNIST_FILES, hashes, strict=True)
    return tuple(Remote(f"{address}{file}.gz", sha256, idx=True) for file, sha256 in files)


# MNIST's own host turns downloads away; this mirror is torchvision's. Its hashes and those of
# Fashion-MNIST are of the unzipped files, computed from copies of both sets: gzip's header holds
# a date, and archives restamp it. CIFAR's are those in TensorFlow Datasets,
# tensorflow_datasets/url_checksums/cifar10.txt and cifar100.txt. Of its two versions the binary
# one is downloaded, as it needs no pickle.
REMOTES: dict[str, tuple[Remote, ...]] = {
    "mnist": _idx_files(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion-mnist": _idx_files(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    "cifar10": (
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
    "cifar100": (
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        ),
    ),
}


def download(name: str, directory: Path) -> None:
    """Fetch the files of a named set that the directory lacks.

    A file gets its name only after its hash was verified; before, it is a .part beside it.

    Raises:
        OSError: no network, no such file there, or no room for it here.
        ValueError: a file of another hash, which is removed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for remote in REMOTES[name]:
        target = directory / remote.file
        if target.exists():
            continue
        part = directory / f"{remote.file}.{os.getpid()}.part"  # another process may fetch it too
        print(f"jaxcnn: downloading {remote.url} to {directory}", file=sys.stderr)
        try:
            _fetch(remote.url, part)
            found = _digest(part, remote)
            if found != remote.sha256:
                raise ValueError(
                    f"download: {remote.url} is not what it should be and was removed: "
                    f"SHA-256 {found}, expected {remote.sha256}."
                )
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def _fetch(url: str, path: Path) -> None:
    import pooch

    pooch.HTTPDownloader(timeout=TIMEOUT)(url, str(path), None)


def _digest(path: Path, remote: Remote) -> str:
    if remote.idx:
        try:
            return hashlib.sha256(unzipped(path)).hexdigest()
        except ValueError:
            return "of a damaged gzip file"
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
