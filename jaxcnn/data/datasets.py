"""What a source gives: images with labels, for training and for the test."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, UInt8

from jaxcnn.data.pictures import THREADS, Pictures, evenly

LOOKED_AT = 1000  # pictures on the disk, for the statistics


@dataclass(frozen=True, eq=False)
class Split:
    """Images and the class of each, as an index into `Dataset.classes`.

    The images are in memory, or files that are read when they are indexed.
    """

    images: UInt8[np.ndarray | Pictures, "b h w c"]
    labels: Int32[np.ndarray, " b"]

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(
                "Split: images must be uint8 with axes (b, h, w, c), "
                f"got {self.images.dtype} {self.images.shape}."
            )
        if self.labels.dtype != np.int32 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"Split: labels must be int32, one for each of {len(self.images)} images, "
                f"got {self.labels.dtype} {self.labels.shape}."
            )

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A source, loaded; mean and std are per channel of the train images scaled to [0, 1]."""

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def from_splits(name: str, train: Split, test: Split, classes: Sequence[str]) -> Dataset:
    """A data set of two splits, with the train images' statistics.

    Raises:
        ValueError: an empty split, images of two sizes, or a label that names no class.
    """
    for part, split in (("train", train), ("test", test)):
        if not len(split):
            raise ValueError(f"{name}: the {part} split is empty.")
        if split.labels.min() < 0 or split.labels.max() >= len(classes):
            raise ValueError(
                f"{name}: {part} labels must lie in 0..{len(classes) - 1}, "
                f"got {split.labels.min()}..{split.labels.max()}."
            )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"{name}: train and test images need one size, "
            f"got {train.images.shape[1:]} and {test.images.shape[1:]}."
        )
    mean, std = statistics(train.images)
    return Dataset(name, train, test, tuple(classes), mean, std)


def statistics(
    images: UInt8[np.ndarray | Pictures, "b h w c"],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of images scaled to [0, 1].

    Both come from a histogram: exact, and without a copy of the images as floats. A constant
    channel has the deviation 1, so that normalizing it gives zeros. Of pictures on the disk at
    most 1,000 are read, evenly spaced in their order.

    Raises:
        ValueError: no picture that can be read.

    Example:
        >>> statistics(np.array([0, 255, 0, 255], np.uint8).reshape(1, 2, 2, 1))
        ((0.5,), (0.5,))

    """
    channels = images.shape[-1]
    counts = np.zeros((channels, 256))
    for some in _parts(images):
        for c in range(channels):
            counts[c] += np.bincount(some[..., c].ravel(), minlength=256)
    if not counts.any():
        raise ValueError(f"statistics: none of {len(images)} images has pixels that can be read.")
    share = counts / counts.sum(axis=1, keepdims=True)
    levels = np.arange(256) / 255
    mean = share @ levels
    std = np.sqrt(np.sum(share * (levels - mean[:, None]) ** 2, axis=1))
    std = np.where(std > 1e-6, std, 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())


def _parts(images: UInt8[np.ndarray | Pictures, "b h w c"]) -> Iterator[np.ndarray]:
    """What the statistics look at, a part at a time: bincount makes eight bytes of each."""
    if isinstance(images, Pictures):
        chosen = evenly(len(images), LOOKED_AT)
        for start in range(0, len(chosen), 20):  # of any size
            some, faults = images.read(chosen[start : start + 20], THREADS)
            images.warn(faults)
            yield np.delete(some, list(faults), axis=0)
    else:
        for start in range(0, len(images), 1000):
            yield images[start : start + 1000]
