"""Pictures that stay on the disk until they are asked for."""

import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from jaxcnn.data.images import read_image

THREADS = min(8, os.cpu_count() or 1)  # beyond eight they wait for Python's lock


@dataclass(frozen=True, eq=False)
class Pictures:
    """Image files that look like an array (b, h, w, c) of uint8; what is indexed is read.

    Args:
        root: the directory that the files' names start from.
        files: their names as bytes (`os.fsencode`): one array of a million takes some 40 MB.
        size: (height, width) in pixels that every picture is resized to.
        channels: 1 (gray) or 3 (RGB).
        skip_corrupt: a picture that cannot be decoded is black, and a warning names it once;
            otherwise it is a ValueError. A file that is not there is an error always.
        told: the warnings given so far.

    Raises:
        ValueError: a size below one pixel.

    Example:
        >>> from tempfile import mkdtemp
        >>> from PIL import Image
        >>> root = Path(mkdtemp())
        >>> for i in range(3):
        ...     Image.new("L", (2, 2), 10 * i).save(root / f"{i}.png")
        >>> pictures = Pictures(root, np.array([b"0.png", b"1.png", b"2.png"]), (1, 1), 1)
        >>> pictures.shape, pictures[[2, 0]].ravel().tolist()
        ((3, 1, 1, 1), [20, 0])
        >>> pictures.select(slice(1, None)).shape
        (2, 1, 1, 1)

    """

    root: Path
    files: np.ndarray
    size: tuple[int, int]
    channels: int
    skip_corrupt: bool = False
    told: set[str] = field(default_factory=set, repr=False)

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __post_init__(self) -> None:
        if min(self.size) < 1:  # or every picture would seem corrupt
            raise ValueError(
                f"Pictures: size must be at least one pixel each way, got {self.size}."
            )

    def __len__(self) -> int:
        return len(self.files)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(b, h, w, c)."""
        return len(self.files), *self.size, self.channels

    def __getitem__(self, index: Any) -> UInt8[np.ndarray, "*b h w c"]:
        """The pixels at an integer, a slice, a mask or an array of integers."""
        chosen = np.arange(len(self))[index]
        images, faults = self.read(np.atleast_1d(chosen), THREADS)
        self.warn(faults)
        return images if chosen.ndim else images[0]

    def select(self, index: slice | Int[np.ndarray, " b"] | Bool[np.ndarray, " n"]) -> "Pictures":
        """Some of the pictures, unread."""
        return replace(self, files=self.files[index])

    def read(
        self, chosen: Int[np.ndarray, " b"], threads: int = 1
    ) -> tuple[UInt8[np.ndarray, "b h w c"], dict[int, str]]:
        """The pictures at those places; and of each that was skipped the row, and what is wrong.

        Raises:
            ValueError: a picture that cannot be decoded, by its path, unless these are skipped.
            FileNotFoundError: a file that is gone.
        """
        images = np.zeros((len(chosen), *self.size, self.channels), np.uint8)
        faults: dict[int, str] = {}

        def read_row(row: int) -> None:
            path = Path(self.root, os.fsdecode(self.files.item(chosen[row])))
            try:
                images[row] = read_image(path, self.channels, self.size)
            except ValueError as error:
                if not self.skip_corrupt:
                    raise
                faults[row] = str(error)

        if threads == 1:
            for row in range(len(chosen)):
                read_row(row)
        else:  # Pillow lets go of Python's lock while it decodes and resizes
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(read_row, range(len(chosen))):
                    continue
        return images, dict(sorted(faults.items()))  # threads finish in any order

    def warn(self, faults: Mapping[int, str]) -> None:
        """Tells of what was skipped, of each file once."""
        for fault in faults.values():
            if fault not in self.told:
                self.told.add(fault)
                warnings.warn(f"{fault} It is left out.", stacklevel=2)


def evenly(n: int, count: int) -> Int[np.ndarray, " some"]:
    """At most `count` of the places 0..n-1, with equal distances, the first and the last included.

    Example:
        >>> evenly(9, 3).tolist(), evenly(2, 3).tolist()
        ([0, 4, 8], [0, 1])

    """
    return np.linspace(0, n - 1, min(n, count)).round().astype(int)
